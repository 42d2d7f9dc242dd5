"""An enrichment as a model of a dbt-duckdb project: a group of its own, run by `.ci/run`."""

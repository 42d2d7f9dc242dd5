"""Targets in a real Postgres and in DuckLake. A group of its own: it needs DuckDB 1.5.5 and its extensions."""

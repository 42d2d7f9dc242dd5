"""Spark's rows asked about and answered, on Sail over Spark Connect: a group of its own, run by `.ci/run`."""

"""Every type that is sent to a model, in Spark's SQL and in DuckDB's."""

from __future__ import annotations

# Each type that is sent: its value in Spark's SQL, and in DuckDB's.
TYPES = {
    "flag": ("true", "true"),
    "tiny": ("CAST(-7 AS TINYINT)", "(-7)::TINYINT"),
    "small": ("CAST(300 AS SMALLINT)", "300::SMALLINT"),
    "whole": ("70000", "70000::INTEGER"),
    "long": ("9007199254740993", "9007199254740993::BIGINT"),
    "single": ("CAST(0.1 AS FLOAT)", "0.1::FLOAT"),
    "precise": ("CAST(0.1 AS DOUBLE)", "0.1::DOUBLE"),
    "price": ("CAST(12.50 AS DECIMAL(10, 2))", "12.50::DECIMAL(10, 2)"),
    "wide": ("CAST('1234567890.123456789' AS DECIMAL(38, 10))", "1234567890.123456789::DECIMAL(38, 10)"),
    "name": ("'Zoë\\n\"quoted\"'", "e'Zoë\\n\"quoted\"'"),
    "day": ("DATE'1931-02-03'", "DATE '1931-02-03'"),
    "moment": ("TIMESTAMP'2024-01-02 03:04:05.123456'", "TIMESTAMPTZ '2024-01-02 03:04:05.123456+00'"),
    "local": ("CAST('2024-01-02 03:04:05.120' AS TIMESTAMP_NTZ)", "TIMESTAMP '2024-01-02 03:04:05.120'"),
    "tags": ("array('a', CAST(NULL AS STRING))", "['a', NULL]"),
    "pair": ("named_struct('a', 1, 'b', CAST(1.5 AS DECIMAL(4, 2)))", "{'a': 1, 'b': 1.5::DECIMAL(4, 2)}"),
    "counts": ("map('k', 1)", "MAP {'k': 1}"),
    "nothing": ("CAST(NULL AS STRING)", "NULL::VARCHAR"),
}  # fmt: skip


def query_of(engine: int) -> str:
    """Return a query of one row with a column of each type, in Spark's SQL (0) or DuckDB's (1)."""
    return "SELECT " + ", ".join(f"{values[engine]} AS {name}" for name, values in TYPES.items())

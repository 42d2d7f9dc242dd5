"""Returned columns: `--returns` as a strict JSON Schema on the way out, checked and typed columns on the way back.

What is asked for. Every column is in the answer; it may be null unless it is NOT NULL, and so may the fields of a
STRUCT, which take NOT NULL, CHECK and COMMENT as columns do. The elements of a list are never null: a model that knows
nothing leaves an element out, and `len` counts what there is. What a CHECK demands is said by a keyword of the schema
where there is one, and in the description where there is none. VARCHAR(10) is VARCHAR, as in DuckDB.

What is accepted. Keys that were not asked for are ignored; one of ours that occurs twice is not. Nothing is converted:
`"3"`, `true` and 3.7 are no INTEGER, though 3.0 is one, as in JSON Schema. A DECIMAL of up to 15 digits is a JSON
number, which carries these digits exactly; a wider one is a string. Digits beyond its scale are refused, not rounded.
TIMESTAMP and TIME take the clock as written and ignore an offset; with TIME ZONE the offset must be there. A comma
before a closing bracket is refused. Text around the JSON is refused as well, unless `--structured json_object` or
`prompt` says that the model may write some. A JSON column takes any value.
"""

from __future__ import annotations

from sqlbatch.returns.definition import JSON_RETURNS, Returns, ReturnsMode, Structured, parse_returns, vector_returns
from sqlbatch.returns.from_json_schema import returns_from_schema
from sqlbatch.returns.types import Check, Column

__all__ = [
    "JSON_RETURNS",
    "Check",
    "Column",
    "Returns",
    "ReturnsMode",
    "Structured",
    "parse_returns",
    "returns_from_schema",
    "vector_returns",
]

"""Parquet between DuckDB and others: the type of a column at the other end, and how its values get there.

A value is written with a type that Parquet returns unchanged, and cast to its type at the other end. A type that the
other end does not have becomes a similar one. Nothing is rounded or dropped, except NUL characters, which Postgres
cannot store, and fractions of a microsecond if the other end has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlbatch.db.sql import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from duckdb import DuckDBPyConnection


class Kind(StrEnum):
    """The kind of the other end, which decides the types there."""

    DUCKDB = "duckdb"
    MOTHERDUCK = "motherduck"
    DUCKLAKE = "ducklake"
    POSTGRES = "postgres"
    SPARK = "spark"


@dataclass(frozen=True)
class Carried:
    """A column in transit: its name, the SQL of its value in the Parquet file, and its SQL type at the other end."""

    name: str
    sql: str
    type: str


# Types that Parquet returns as others, or less exactly: they are written as text and cast back.
_AS_TEXT = frozenset(
    {"hugeint", "uhugeint", "bignum", "interval", "time with time zone", "time_ns", "bit", "enum", "union"}
)
_MICROSECONDS = {"timestamp_s": "TIMESTAMP", "timestamp_ms": "TIMESTAMP"}
# The replacement at each end for a DuckDB type that it does not have.
_LAKE = {"enum": "VARCHAR", "bit": "VARCHAR", "bignum": "VARCHAR", "time_ns": "VARCHAR"}
# Neither Postgres nor Spark has unsigned types; Sail takes them in a Parquet file for signed ones of the same size.
_SIGNED = _LAKE | _MICROSECONDS | {
    "utinyint": "SMALLINT",
    "usmallint": "INTEGER",
    "uinteger": "BIGINT",
    "ubigint": "DECIMAL(20,0)",
    "timestamp_ns": "TIMESTAMP",
    "geometry": "BLOB",
}  # fmt: skip
_POSTGRES = _SIGNED | {"tinyint": "SMALLINT"}
_SPARK = _SIGNED | dict.fromkeys(["uuid", "time", "time with time zone", "interval"], "VARCHAR")
_REPLACED = {
    Kind.DUCKDB: {},
    Kind.MOTHERDUCK: {},
    Kind.DUCKLAKE: _LAKE,
    Kind.POSTGRES: _POSTGRES,
    Kind.SPARK: _SPARK,
}
_NO_HUGEINT = frozenset({Kind.POSTGRES, Kind.SPARK})
_NESTED = frozenset({"list", "array", "struct", "map"})


def carried(con: DuckDBPyConnection, relation: str, kind: Kind) -> tuple[Carried, ...]:
    """Return how the columns of a relation (SQL for FROM) get to a place of a kind.

    A HUGEINT becomes DECIMAL(38,0) if the place has none, or VARCHAR if a value has more digits.
    """
    bound = con.sql(f"SELECT * FROM {relation}")
    columns = list(zip(bound.columns, bound.types, strict=True))
    del bound
    wide = _too_wide(con, relation, columns) if kind in _NO_HUGEINT else frozenset()
    return tuple(_carried(name, each, kind, wide=name in wide) for name, each in columns)


def select_list(columns: Iterable[Carried]) -> str:
    """Return the SELECT list that writes columns into a Parquet file."""
    return ", ".join(f"{each.sql} AS {quote_identifier(each.name)}" for each in columns)


def arriving(columns: Iterable[Carried]) -> str:
    """Return the SELECT list that reads them from the file with their types at the other end."""
    return ", ".join(f"CAST({(name := quote_identifier(each.name))} AS {each.type}) AS {name}" for each in columns)


def _carried(name: str, kind_of_column: Any, kind: Kind, *, wide: bool) -> Carried:
    column = quote_identifier(name)
    arrives = arrival(kind_of_column, kind, wide=wide)
    if kind is Kind.SPARK:
        # Spark reads the file itself, so nothing can be cast afterwards.
        return Carried(name, _cast(column, kind_of_column, arrives), arrives)
    if kind is Kind.POSTGRES and arrives == "JSON":
        text = column if str(kind_of_column) == "JSON" else f"to_json({_finite(column, kind_of_column)})"
        return Carried(name, _json_without_nul(text), arrives)
    value = _cast(column, kind_of_column, _in_parquet(kind_of_column))
    return Carried(name, _without_nul(value, kind_of_column) if kind is Kind.POSTGRES else value, arrives)


def _cast(sql: str, column: Any, wanted: str) -> str:
    if column.id == "variant" or (column.id == "union" and wanted == "JSON"):
        return f"to_json({sql})::VARCHAR"
    return sql if str(column) == wanted else f"CAST({sql} AS {wanted})"


def arrival(column: Any, kind: Kind, *, wide: bool = True) -> str:
    """Return the SQL type of a DuckDB type (a DuckDBPyType) at a place of a kind.

    `wide`: whole numbers may have more than 38 digits.
    """
    if column.id in {"union", "variant"} or str(column) == "JSON" or (kind is Kind.POSTGRES and _as_json(column)):
        return "VARCHAR" if kind is Kind.SPARK else "JSON"
    if column.id in {"hugeint", "uhugeint"} and kind in _NO_HUGEINT:
        return "VARCHAR" if wide else "DECIMAL(38,0)"
    if column.id == "array" and kind not in {Kind.DUCKDB, Kind.MOTHERDUCK}:
        return f"{arrival(_child(column), kind)}[]"
    if column.id in _NESTED:
        return _rebuilt(column, lambda each: arrival(each, kind))
    return _REPLACED[kind].get(column.id, str(column))


def _as_json(column: Any) -> bool:
    """Whether Postgres stores a value as JSON: nested values, except lists of plain values."""
    if column.id in {"struct", "map"} or str(column) == "JSON":
        return True
    return column.id in {"list", "array"} and (_child(column).id in _NESTED or str(_child(column)) == "JSON")


def _in_parquet(column: Any) -> str:
    """Return the type of a value in the file."""
    if column.id in _AS_TEXT:
        return "VARCHAR"
    if column.id == "array":
        return f"{_in_parquet(_child(column))}[]"
    if column.id in _NESTED:
        return _rebuilt(column, _in_parquet)
    if column.id == "geometry":
        return "BLOB"
    return _MICROSECONDS.get(column.id, str(column))


def _rebuilt(column: Any, of: Callable[[Any], str]) -> str:
    """Return a nested type with its parts replaced."""
    if column.id == "list":
        return f"{of(_child(column))}[]"
    if column.id == "array":
        return f"{of(_child(column))}[{column.children[1][1]}]"
    parts = [(name, of(each)) for name, each in column.children]
    if column.id == "map":
        return f"MAP({parts[0][1]}, {parts[1][1]})"
    return f"STRUCT({', '.join(f'{quote_identifier(name)} {each}' for name, each in parts)})"


def _child(column: Any) -> Any:
    return column.children[0][1]


def _without_nul(sql: str, column: Any) -> str:
    """Return a text, or a list of texts, without NUL characters."""
    if column.id == "varchar":
        return f"replace({sql}, chr(0), '')"
    if column.id in {"list", "array"} and _child(column).id == "varchar":
        return f"list_transform({sql}, lambda sqlbatch_x: replace(sqlbatch_x, chr(0), ''))"
    return sql


def _json_without_nul(sql: str) -> str:
    """Return a JSON text without escaped NUL characters.

    The control character that replaces them occurs in no JSON text.
    """
    escaped = rf"replace(({sql})::VARCHAR, '\\', chr(1))"
    return rf"replace(replace({escaped}, '\u0000', ''), chr(1), '\\')"


def _finite(sql: str, column: Any, depth: int = 0) -> str:
    """Return a nested value with NULL instead of NaN and the infinities, which JSON does not have."""
    if not _has_floats(column):
        return sql
    if column.id in {"float", "double"}:
        return f"CASE WHEN isfinite({sql}) THEN {sql} END"
    inner = f"sqlbatch_{depth}"
    if column.id in {"list", "array"}:
        return f"list_transform({sql}, lambda {inner}: {_finite(inner, _child(column), depth + 1)})"
    if column.id == "map":
        key, value = column.children[0][1], column.children[1][1]
        pair = f"{{'k': {_finite(f'{inner}.key', key, depth + 1)}, 'v': {_finite(f'{inner}.value', value, depth + 1)}}}"
        return f"map_from_entries(list_transform(map_entries({sql}), lambda {inner}: {pair}))"
    fields = ", ".join(
        f"{quote_literal(name)}: {_finite(f'{sql}.{quote_identifier(name)}', each, depth)}"
        for name, each in column.children
    )
    return f"CASE WHEN {sql} IS NOT NULL THEN {{{fields}}} END"


def _has_floats(column: Any) -> bool:
    if column.id in _NESTED:
        return any(_has_floats(each) for name, each in column.children if name != "size")
    return column.id in {"float", "double"}


def _too_wide(con: DuckDBPyConnection, relation: str, columns: Sequence[tuple[str, Any]]) -> frozenset[str]:
    """Return the columns with whole numbers of more than 38 digits."""
    huge = [name for name, each in columns if each.id in {"hugeint", "uhugeint"}]
    if not huge:
        return frozenset()
    names = [quote_identifier(name) for name in huge]
    tests = ", ".join(f"count({each}) > count(TRY_CAST({each} AS DECIMAL(38,0)))" for each in names)
    found = con.execute(f"SELECT {tests} FROM {relation}").fetchall()[0]
    return frozenset(name for name, wide in zip(huge, found, strict=True) if wide)

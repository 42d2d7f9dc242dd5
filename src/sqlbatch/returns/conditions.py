"""CHECK conditions, bound by DuckDB to the columns they name."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from typing import TYPE_CHECKING, Any

import duckdb

from sqlbatch.db.sql import quote_identifier
from sqlbatch.errors import InvalidReturns
from sqlbatch.query.returns.kinds import Check, Column, List, Reference, Struct, Type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PREFIX = "SELECT "
_TABLE = "sqlbatch_returns"
_NAME = re.compile(rb'"(?:[^"]|"")*"|[\w$\x80-\xff]+')
# What looks like a column and is a value, if no column has the name.
_VALUES = frozenset(["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"])


def bind(columns: Sequence[Column], checks: Sequence[Check]) -> tuple[tuple[Column, ...], tuple[Check, ...]]:
    """Return columns and conditions, these bound: those of a STRUCT's fields to the fields, all others to the columns.

    Raises InvalidReturns in DuckDB's words: an unknown column or function, a subquery, an aggregate, unfitting types.
    """
    if not checks and not any(_has_check(column) for column in columns):
        return tuple(columns), tuple(checks)
    with connect() as connection:
        binder = _Binder(connection)
        return binder.columns(columns, "--returns: "), tuple(
            binder.check(columns, check, "--returns: ") for check in checks
        )


def connect() -> duckdb.DuckDBPyConnection:
    """Return a connection to an empty database that reaches no files, for a condition has no business there."""
    return _database().cursor()


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"enable_external_access": "false"})


def in_one_line(error: duckdb.Error) -> str:
    """Return DuckDB's message without its kind and without the place in a statement of ours."""
    lines = [line.strip() for line in str(error).split("LINE 1:")[0].splitlines() if line.strip()] or [
        ": no reason given"
    ]
    kept = [
        lines[0].split(": ", 1)[-1],
        *(line for line in lines[1:] if line.startswith(("Candidate", "Did you mean"))),
    ]
    return " ".join(kept).replace("WHERE clause", "a CHECK").replace(" in FROM clause!", " among the columns.")


def _has_check(column: Column) -> bool:
    kind = column.type
    while isinstance(kind, List):
        kind = kind.element
    return column.check is not None or (isinstance(kind, Struct) and any(map(_has_check, kind.fields)))


class _Binder:
    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def columns(self, columns: Sequence[Column], where: str) -> tuple[Column, ...]:
        return tuple(
            dataclasses.replace(
                column,
                type=self._type(column.type, f"{where}{column.name}"),
                check=column.check and self.check(columns, column.check, f"{where}{column.name}: "),
            )
            for column in columns
        )

    def _type(self, kind: Type, where: str) -> Type:
        match kind:
            case List():
                return List(self._type(kind.element, where), kind.size)
            case Struct():
                return Struct(self.columns(kind.fields, f"{where}."))
            case _:
                return kind

    def check(self, columns: Sequence[Column], check: Check, where: str) -> Check:
        where = f"{where}CHECK ({check.text})"
        definitions = ", ".join(f"{quote_identifier(column.name)} {column.type}" for column in columns)
        try:
            self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {_TABLE} ({definitions})").fetchall()
            # As a filter, which like a CHECK knows no aggregates, and unlike it in DuckDB takes lambdas and fields.
            self._connection.execute(f"SELECT 1 FROM {_TABLE} WHERE CAST(({check.text}) AS BOOLEAN)").fetchall()
            parsed = self._connection.execute("SELECT json_serialize_sql(?)", [_PREFIX + check.text]).fetchall()[0][0]
        except duckdb.Error as error:
            raise InvalidReturns(f"{where}: {in_one_line(error)}") from error
        numbers = {column.name.casefold(): i for i, column in enumerate(columns)}
        return Check(check.text, tuple(_references(json.loads(parsed), check.text.encode(), numbers, where)))


def _references(tree: Any, source: bytes, numbers: Mapping[str, int], where: str) -> list[Reference]:
    found: dict[int, Reference] = {}
    for node, hidden in _nodes(tree, frozenset()):
        if node.get("type") == "SUBQUERY":
            raise InvalidReturns(f"{where}: a subquery; a condition sees one answer alone")
        if node.get("type") == "STAR":
            raise InvalidReturns(f"{where}: a star; a condition names its columns")
        if node.get("type") != "COLUMN_REF":
            continue
        name = node["column_names"][0]
        column = numbers.get(name.casefold())
        if name.casefold() in hidden or (column is None and name.casefold() in _VALUES):
            continue
        if column is None:
            raise InvalidReturns(f"{where}: there is no column {name}; a condition names the returned columns alone")
        start = node["query_location"] - len(_PREFIX)
        match = _NAME.match(source, start) if 0 <= start < len(source) else None
        if match is None:
            raise InvalidReturns(f"{where}: the column {name} cannot be found in it; write it in double quotes")
        found[start] = Reference(start, match.end(), column)
    return [found[start] for start in sorted(found)]


def _nodes(tree: Any, hidden: frozenset[str]) -> Iterator[tuple[dict[str, Any], frozenset[str]]]:
    """Yield the nodes of DuckDB's syntax tree, with the names that parameters of lambdas hide there."""
    if isinstance(tree, list):
        for part in tree:
            yield from _nodes(part, hidden)
    elif isinstance(tree, dict) and tree.get("type") == "LAMBDA":
        parameters = [node for node, _ in _nodes(tree.get("lhs"), frozenset()) if node.get("type") == "COLUMN_REF"]
        names = frozenset(node["column_names"][-1].casefold() for node in parameters)
        yield from _nodes(tree.get("expr"), hidden | names)
    elif isinstance(tree, dict):
        yield tree, hidden
        for part in tree.values():
            yield from _nodes(part, hidden)

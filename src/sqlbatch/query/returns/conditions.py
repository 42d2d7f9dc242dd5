"""CHECK conditions: bound by DuckDB, and evaluated over other expressions than columns of a table."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from sqlbatch.errors import InvalidReturns
from sqlbatch.store.queries import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlbatch.query.returns.kinds import Field

_PREFIX = "SELECT "
_NAME = re.compile(rb'"(?:[^"]|"")*"|[\w$\x80-\xff]+')
# What looks like a column and is a value, if no column has the name.
_SPECIAL = frozenset(["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"])


@dataclass(frozen=True)
class Reference:
    """Where a condition names a column: the bytes from `start` to `end` of its text, and the column's number."""

    start: int
    end: int
    column: int


@dataclass(frozen=True)
class Check:
    """A condition, as written, with the columns it names; `column` is the one it stands behind, if any."""

    text: str
    column: int | None
    references: tuple[Reference, ...]

    def with_columns(self, sql: Callable[[int], str]) -> str:
        """Return the condition with every column replaced by what `sql` gives for its number."""
        source = self.text.encode()
        for reference in reversed(self.references):
            source = source[: reference.start] + sql(reference.column).encode() + source[reference.end :]
        return source.decode()


def bind(fields: Sequence[Field], conditions: Sequence[tuple[str, int | None]]) -> tuple[Check, ...]:
    """Return conditions, each given with the column it stands behind, once DuckDB has taken them as it would in CREATE TABLE.

    Raises InvalidReturns in DuckDB's words: an unknown column or function, a subquery, an aggregate, types that do not fit.
    """
    if not conditions:
        return ()
    columns = ", ".join(f"{quote_identifier(field.name)} {field.type}" for field in fields)
    numbers = {field.name.casefold(): i for i, field in enumerate(fields)}
    checks: list[Check] = []
    with _connect() as connection:
        for text, column in conditions:
            where = f"--returns: {fields[column].name}" if column is not None else "--returns"
            try:
                connection.execute(f"CREATE OR REPLACE TABLE sqlbatch_returns ({columns}, CHECK ({text}\n))").fetchall()
                parsed = connection.execute("SELECT json_serialize_sql(?)", [_PREFIX + text]).fetchall()[0][0]
            except duckdb.Error as error:
                raise InvalidReturns(f"{where}: CHECK ({text}): {_in_one_line(error)}") from error
            references = tuple(_references(json.loads(parsed), text.encode(), numbers, f"{where}: CHECK ({text})"))
            checks.append(Check(text, column, references))
    return tuple(checks)


def try_out(check: Check, sql: str) -> None:
    """Refuse a condition that does not bind where answers are checked, by the SQL that checks them with it."""
    with _connect() as connection:
        try:
            connection.execute(f"SELECT {sql} FROM (VALUES (NULL::VARCHAR), ('{{}}')) answers(content)").fetchall()
        except duckdb.Error as error:
            raise InvalidReturns(
                f"--returns: CHECK ({check.text}) cannot be evaluated outside a table: {_in_one_line(error)};"
                " write f(x) rather than x.f()"
            ) from error


def _connect() -> duckdb.DuckDBPyConnection:
    # A condition has no business with files.
    return duckdb.connect(config={"enable_external_access": "false"})


def _references(tree: Any, source: bytes, numbers: Mapping[str, int], where: str) -> Iterator[Reference]:
    found: dict[int, Reference] = {}
    for node, hidden in _nodes(tree, frozenset()):
        if node.get("type") != "COLUMN_REF":
            continue
        name = node["column_names"][0]
        column = numbers.get(name.casefold())
        if name.casefold() in hidden or (column is None and name.casefold() in _SPECIAL):
            continue
        if column is None:
            raise InvalidReturns(f"{where}: there is no column {name}; a condition names the returned columns alone")
        start = node["query_location"] - len(_PREFIX)
        match = _NAME.match(source, start) if 0 <= start < len(source) else None
        if match is None:
            raise InvalidReturns(f"{where}: the column {name} cannot be found in it; write it in double quotes")
        found[start] = Reference(start, match.end(), column)
    yield from (found[start] for start in sorted(found))


def _nodes(tree: Any, hidden: frozenset[str]) -> Iterator[tuple[dict[str, Any], frozenset[str]]]:
    """Yield the nodes of DuckDB's syntax tree, with the names that parameters of lambdas hide there."""
    if isinstance(tree, list):
        for part in tree:
            yield from _nodes(part, hidden)
    elif isinstance(tree, dict):
        if tree.get("type") == "LAMBDA":
            names = frozenset(
                node["column_names"][-1].casefold()
                for node, _ in _nodes(tree.get("lhs"), frozenset())
                if node.get("type") == "COLUMN_REF"
            )
            yield from _nodes(tree.get("expr"), hidden | names)
            return
        yield tree, hidden
        for part in tree.values():
            yield from _nodes(part, hidden)


def _in_one_line(error: duckdb.Error) -> str:
    """Return DuckDB's message without its kind, its candidates and the place in a statement of ours."""
    lines = [line for line in str(error).split("LINE 1:")[0].splitlines() if line.strip()]
    return " ".join(lines[0].split(": ", 1)[-1].split()) if lines else "DuckDB refuses it"

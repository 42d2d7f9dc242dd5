"""A condition that somebody types: SQL that decides which rows are shown, and does nothing else.

It stands as `WHERE (condition)` in SQL of ours. DuckDB's own parser says what it is: the statement must be the same as
with the condition `true` but for that one place, so that no bracket, semicolon or comment ends it early. Inside, it may
read tables and views of the database, and no files: table functions are refused, and so is every name that is no table.
It runs in a read-only transaction, which refuses what would write, and for so many seconds only.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import duckdb

from sqlbatch.errors import DatabaseError, InvalidQuery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.db.session import Session

# What a query inside of a condition may be made of; names are those of DuckDB's parser.
_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "CTE_NODE", "RECURSIVE_CTE_NODE"}
_SOURCES = {"BASE_TABLE", "SUBQUERY", "JOIN", "EMPTY", "EXPRESSION_LIST", "PIVOT", "COLUMN_DATA"}
# Table functions that make rows of their arguments alone.
_MADE_OF_ARGUMENTS = {"unnest", "range", "generate_series"}
# Functions that change something, or tell of the computer rather than of rows.
_REFUSED = {"nextval", "currval", "setseed", "write_log", "getenv", "current_setting"}
_NAME = re.compile(r"[\w ]+")


def check_condition(session: Session, condition: str) -> None:
    """Raise InvalidQuery for a text that is no condition, or one that does more than to choose rows."""
    if all(str(kind).endswith("comment") for _, kind in duckdb.tokenize(condition)):
        raise InvalidQuery("the condition is empty: write one, as year > 1990")
    statement = _parsed(session, condition)
    node = statement["node"]
    where = node.pop("where_clause", None)
    plain = _parsed(session, "true")["node"]
    del plain["where_clause"]
    if where is None or _without_places(node) != _without_places(plain):
        raise InvalidQuery("the condition must be one condition, as year > 1990 AND title LIKE 'The %'")
    known = {str(name).casefold() for (name,) in session.run("view.table_names")}
    for part in _parts(where):
        _check(part, known)


def _parsed(session: Session, condition: str) -> dict[str, Any]:
    sql = f"SELECT 1 FROM sqlbatch_rows WHERE (\n{condition}\n)"
    try:
        found = json.loads(session.run("view.parsed", {"sql": sql})[0][0])
    except DatabaseError as error:
        raise invalid(str(error)) from error
    if found["error"]:
        raise invalid(found["error_message"])
    if len(found["statements"]) != 1:
        raise InvalidQuery("the condition must be one condition, and no statement of its own")
    statement: dict[str, Any] = found["statements"][0]
    return statement


def invalid(message: str) -> InvalidQuery:
    """Return DuckDB's error about the condition as ours."""
    if "Only SELECT" in message:
        return InvalidQuery("the condition must be one condition, and no statement of its own")
    return InvalidQuery(
        f"the condition: {' '.join(message.partition('LINE ')[0].split())}".replace("the database: ", "")
    )


def _check(part: dict[str, Any], known: set[str]) -> None:
    kind, group = part.get("type"), part.get("class")
    if group == "PARAMETER":
        raise InvalidQuery("the condition has a parameter: write the value")
    if group in {"FUNCTION", "WINDOW"} and str(part.get("function_name", "")).casefold() in _REFUSED:
        raise InvalidQuery(f"the condition calls {part['function_name']}, which does more than select rows")
    if group is not None or not isinstance(kind, str):
        return
    if kind.endswith("_NODE"):
        if kind not in _NODES:
            raise InvalidQuery("the condition writes: it can only read")
        return
    # Every source of rows has a place for a sample, and nothing else of the parser's has.
    if "sample" not in part:
        return
    if kind == "TABLE_FUNCTION":
        name = str(part.get("function", {}).get("function_name", "")).casefold()
        if name not in _MADE_OF_ARGUMENTS:
            raise InvalidQuery(f"the condition calls {name}: it can read tables of this database, and nothing else")
    elif kind not in _SOURCES:
        raise InvalidQuery("the condition reads something that is no table of this database")
    elif kind == "BASE_TABLE":
        # A name that is no table's may be that of a query in the condition; a file's has a dot or a slash.
        name = str(part.get("table_name", ""))
        if name.casefold() not in known and not _NAME.fullmatch(name):
            raise InvalidQuery(f"the condition reads {name}, which is no table of this database")


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Return every part of a parsed text, from the outside to the inside."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _parts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _parts(each)


def _without_places(value: Any) -> Any:
    """Return a parsed text without where in the text each part stands."""
    if isinstance(value, dict):
        return {name: _without_places(each) for name, each in value.items() if not name.startswith("query_location")}
    return [_without_places(each) for each in value] if isinstance(value, list) else value

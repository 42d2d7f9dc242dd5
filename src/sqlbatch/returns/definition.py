"""What an enrichment returns: the columns, and all that follows from them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import duckdb

from sqlbatch.errors import InvalidReturns
from sqlbatch.query.returns.checks import check_columns, check_json, check_vector
from sqlbatch.query.returns.conditions import bind, connect, in_one_line
from sqlbatch.query.returns.kinds import Check, Column, List, Scalar
from sqlbatch.query.returns.parse import parse_columns
from sqlbatch.query.returns.schema import check_limits, object_schema
from sqlbatch.query.returns.typed import typed_columns


class ReturnsMode(StrEnum):
    """How the model is asked to answer."""

    TEXT = "text"
    JSON = "json"
    COLUMNS = "columns"
    VECTOR = "vector"


@dataclass(frozen=True)
class Returns:
    """What an enrichment returns.

    `text` is the canonical definition, from which `parse_returns` makes an equal value; `checks` are the conditions
    that stand behind no column.
    """

    mode: ReturnsMode
    columns: tuple[Column, ...]
    text: str
    checks: tuple[Check, ...] = ()

    def json_schema(self) -> dict[str, Any] | None:
        """Return the strict JSON Schema of an answer, or None where none is asked for."""
        if self.mode is not ReturnsMode.COLUMNS:
            return None
        return object_schema(self.columns, self.checks)

    def check_sql(self, content: str, vector: str = "vector") -> str:
        """Return SQL that is NULL where an answer has the asked-for shape, and else says why it has not.

        `content` is SQL of the answer's text, `vector` of its FLOAT[]. Keys that were not asked for are ignored.
        """
        if self.mode is ReturnsMode.TEXT:
            return "CAST(NULL AS VARCHAR)"
        if self.mode is ReturnsMode.VECTOR:
            return check_vector(content, vector, self.columns[0])
        if self.mode is ReturnsMode.JSON:
            return check_json(content)
        return check_columns(self.columns, self.checks, content)

    def typed_sql(self, content: str, vector: str = "vector") -> list[tuple[str, str]]:
        """Return name and SQL of each column, made of a checked answer's text and vector, or NULL; it never raises."""
        if self.mode is ReturnsMode.VECTOR:
            return [(self.columns[0].name, f"TRY_CAST({vector} AS {self.columns[0].sql_type})")]
        if self.mode is ReturnsMode.TEXT:
            return [("response", content)]
        if self.mode is ReturnsMode.JSON:
            return [("response", f"TRY_CAST({content} AS JSON)")]
        return typed_columns(self.columns, content)


TEXT = Returns(ReturnsMode.TEXT, (Column("response", Scalar("VARCHAR")),), "")
JSON = Returns(ReturnsMode.JSON, (Column("response", Scalar("JSON")),), "JSON")


def json_returns() -> Returns:
    """Return what an endpoint gives back whose answer is one JSON value."""
    return JSON


def vector_returns(length: int) -> Returns:
    """Return what an embeddings endpoint gives back: vectors of so many numbers."""
    column = Column("embedding", List(Scalar("FLOAT"), length))
    return Returns(ReturnsMode.VECTOR, (column,), f"embedding {column.sql_type}")


@functools.lru_cache(maxsize=256)
def parse_returns(text: str | None) -> Returns:
    """Read `--returns`: a column list, `JSON`, or nothing for a plain text.

    Raises InvalidReturns, in one line that names the column and says what to do.
    """
    stripped = (text or "").strip()
    if not stripped:
        return TEXT
    if stripped.upper() == "JSON":
        return JSON
    parsed = parse_columns(stripped)
    if not parsed.columns:
        raise InvalidReturns("--returns: it has conditions and no column; name what shall come back")
    columns, checks = bind(parsed.columns, parsed.checks)
    definitions = [*(column.definition for column in columns), *(f"CHECK ({check.text})" for check in checks)]
    returns = Returns(ReturnsMode.COLUMNS, columns, ", ".join(definitions), checks)
    check_limits(object_schema(columns, checks))
    if "CHECK (" in returns.text:
        _try_out(returns)
    return returns


def _try_out(returns: Returns) -> None:
    """Refuse conditions that bind to a table and not where answers are checked."""
    with connect() as connection:
        try:
            check = returns.check_sql("content")
            connection.execute(f"SELECT {check} FROM (VALUES (NULL::VARCHAR), ('{{}}')) answers(content)").fetchall()
        except duckdb.Error as error:
            raise InvalidReturns(
                f"--returns: a CHECK cannot be evaluated outside a table: {in_one_line(error)};"
                " write f(x) rather than x.f()"
            ) from error

"""What an enrichment returns: the columns, how the model is asked for them, and the SQL that reads its answers."""

from __future__ import annotations

import dataclasses
import functools
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import duckdb

from sqlbatch.errors import InvalidReturns
from sqlbatch.returns.convert import json_in_text, typed_columns
from sqlbatch.returns.types import Check, Column, Json, List, Scalar
from sqlbatch.returns.validate import check_columns, check_json, check_vector

# parse and json_schema are imported where they are used, because importing sqlglot takes as long as importing duckdb.

_MARK = re.compile(r"/\* structured: (\w+) \*/ *")


class ReturnsMode(StrEnum):
    """The kinds of answers: one text, one JSON object, typed columns, or an embedding."""

    TEXT = "text"
    JSON = "json"
    COLUMNS = "columns"
    VECTOR = "vector"


class Structured(StrEnum):
    """How the model is made to return JSON, from the strictest way to the one that every model supports.

    `json_schema`: a response format with the schema. `json_object`: a response format that says JSON, and the schema in
    the system message. `prompt`: the system message alone. The last two accept text around the JSON: Markdown fences,
    everything before `</think>`, a sentence before or after.
    """

    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    PROMPT = "prompt"


@dataclass(frozen=True)
class Returns:
    """What an enrichment returns.

    `text` is the canonical definition, from which `parse_returns` makes an equal value; it is part of each request's
    custom_id. `checks` are the conditions that belong to no single column.
    """

    mode: ReturnsMode
    columns: tuple[Column, ...]
    text: str
    checks: tuple[Check, ...] = ()
    structured: Structured = Structured.JSON_SCHEMA

    def json_schema(self) -> dict[str, Any] | None:
        """Return the JSON Schema of an answer, or None if it has none."""
        from sqlbatch.returns.json_schema import root_schema  # noqa: PLC0415

        return root_schema(self.columns, self.checks) if self.mode is ReturnsMode.COLUMNS else None

    def is_strict(self) -> bool:
        """Return whether the schema is within the strict subset, as all are except some with JSON columns."""
        from sqlbatch.returns.json_schema import is_strict  # noqa: PLC0415

        return is_strict(self.json_schema() or {}) if "JSON" in self.text else True

    def check_sql(self, content: str, vector: str = "vector") -> str:
        """Return SQL that is NULL if an answer has the requested shape, and otherwise says what is wrong.

        `content` is SQL of the answer's text, `vector` of its FLOAT[]. Extra keys are ignored.
        """
        if self.mode is ReturnsMode.TEXT:
            return "CAST(NULL AS VARCHAR)"
        if self.mode is ReturnsMode.VECTOR:
            return check_vector(content, vector, self.columns[0])
        if self.mode is ReturnsMode.JSON:
            return check_json(self._json(content))
        return check_columns(self.columns, self.checks, self._json(content))

    def typed_sql(self, content: str, vector: str = "vector") -> list[tuple[str, str]]:
        """Return name and SQL of each column, from a checked answer's text and vector, or NULL.

        The SQL never raises.
        """
        if self.mode is ReturnsMode.VECTOR:
            return [(self.columns[0].name, f"TRY_CAST({vector} AS {self.columns[0].sql_type})")]
        if self.mode is ReturnsMode.TEXT:
            return [("response", content)]
        if self.mode is ReturnsMode.JSON:
            return [("response", f"TRY_CAST({self._json(content)} AS JSON)")]
        return typed_columns(self.columns, self._json(content))

    def _json(self, content: str) -> str:
        """Return SQL of the JSON in an answer; by default the whole answer must be JSON."""
        return content if self.structured is Structured.JSON_SCHEMA else json_in_text(content)


TEXT = Returns(ReturnsMode.TEXT, (Column("response", Scalar("VARCHAR")),), "")
JSON_RETURNS = Returns(ReturnsMode.JSON, (Column("response", Json()),), "JSON")


def vector_returns(length: int) -> Returns:
    """Return the definition for an embeddings endpoint: vectors of so many numbers."""
    column = Column("embedding", List(Scalar("FLOAT"), length))
    return Returns(ReturnsMode.VECTOR, (column,), f"embedding {column.sql_type}")


@functools.lru_cache(maxsize=256)
def parse_returns(text: str | None, structured: str | None = None) -> Returns:
    """Read `--returns`: a column list, `JSON`, or nothing for a plain text; the canonical text includes `structured`.

    Raises InvalidReturns, in one line that names the column and says what to do.
    """
    stripped = (text or "").strip()
    if mark := _MARK.match(stripped):
        structured, stripped = structured or mark[1], stripped[mark.end() :]
    if not stripped:
        return TEXT
    returns = JSON_RETURNS if stripped.upper() == "JSON" else _parse_columns(stripped)
    how = Structured(structured or Structured.JSON_SCHEMA)
    if how is Structured.JSON_SCHEMA:
        return returns
    return dataclasses.replace(returns, text=f"/* structured: {how} */ {returns.text}", structured=how)


def _parse_columns(text: str) -> Returns:
    from sqlbatch.returns.conditions import bind  # noqa: PLC0415
    from sqlbatch.returns.json_schema import check_limits, root_schema  # noqa: PLC0415
    from sqlbatch.returns.parse import parse_columns  # noqa: PLC0415

    unbound, beside = parse_columns(text)
    if not unbound:
        raise InvalidReturns("--returns: it has conditions and no column; name the columns that should come back")
    columns, checks = bind(unbound, beside)
    definitions = [*(column.definition for column in columns), *(f"CHECK ({check.text})" for check in checks)]
    returns = Returns(ReturnsMode.COLUMNS, columns, ", ".join(definitions), checks)
    check_limits(root_schema(columns, checks))
    if "CHECK (" in returns.text:
        _try_out(returns)
    return returns


def _try_out(returns: Returns) -> None:
    """Refuse conditions that are valid for a table but not where answers are checked."""
    from sqlbatch.returns.conditions import connect, in_one_line  # noqa: PLC0415

    with connect() as connection:
        try:
            check = returns.check_sql("content")
            connection.execute(f"SELECT {check} FROM (VALUES (NULL::VARCHAR), ('{{}}')) answers(content)").fetchall()
        except duckdb.Error as error:
            raise InvalidReturns(
                f"--returns: a CHECK cannot be evaluated outside a table: {in_one_line(error)};"
                " write f(x) rather than x.f()"
            ) from error

"""What an enrichment returns: the columns, and all that follows from them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlbatch.errors import InvalidReturns
from sqlbatch.query.returns.checks import check_columns, check_json
from sqlbatch.query.returns.conditions import Check, bind, try_out
from sqlbatch.query.returns.keywords import keywords
from sqlbatch.query.returns.kinds import Field, Scalar, field_definition
from sqlbatch.query.returns.parse import parse_columns
from sqlbatch.query.returns.schema import check_limits, object_schema
from sqlbatch.query.returns.typed import typed_columns


class ReturnsMode(StrEnum):
    """How the model is asked to answer."""

    TEXT = "text"
    JSON = "json"
    COLUMNS = "columns"


@dataclass(frozen=True)
class Column(Field):
    """A returned column: a name and a type, and what its values must be like."""

    check: Check | None = None


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
        conditions = {column.name: (column, column.check.text) for column in self.columns if column.check}
        said = {name: keywords(*condition) for name, condition in conditions.items()}
        schema = object_schema(
            self.columns,
            {name: found for name, (found, _) in said.items()},
            {name: _must_hold(text) for name, (_, text) in conditions.items() if not said[name][1]},
        )
        if self.checks:
            schema["description"] = _must_hold(" AND ".join(check.text for check in self.checks))
        return schema

    def check_sql(self, content: str) -> str:
        """Return SQL that is NULL where an answer has the asked-for shape, and else says why it has not.

        `content` is SQL of the answer's text. Keys that were not asked for are ignored.
        """
        if self.mode is ReturnsMode.TEXT:
            return "CAST(NULL AS VARCHAR)"
        if self.mode is ReturnsMode.JSON:
            return check_json(content)
        own = [column.check for column in self.columns if column.check]
        return check_columns(self.columns, [*own, *self.checks], content)

    def typed_sql(self, content: str) -> list[tuple[str, str]]:
        """Return name and SQL of each column, made of a checked answer's text or NULL; it never raises."""
        if self.mode is ReturnsMode.TEXT:
            return [("response", content)]
        if self.mode is ReturnsMode.JSON:
            return [("response", f"TRY_CAST({content} AS JSON)")]
        return typed_columns(self.columns, content)


TEXT = Returns(ReturnsMode.TEXT, (Column("response", Scalar("VARCHAR")),), "")
JSON = Returns(ReturnsMode.JSON, (Column("response", Scalar("JSON")),), "JSON")


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
    fields = [column.field for column in parsed.columns]
    if not fields:
        raise InvalidReturns("--returns: it has conditions and no column; name what shall come back")
    conditions: list[tuple[str, int | None]] = [
        (column.check, i) for i, column in enumerate(parsed.columns) if column.check is not None
    ]
    conditions.extend((check, None) for check in parsed.checks)
    checks = bind(fields, conditions)
    own = {check.column: check for check in checks if check.column is not None}
    columns = tuple(
        Column(field.name, field.type, field.not_null, field.comment, own.get(i)) for i, field in enumerate(fields)
    )
    returns = Returns(
        ReturnsMode.COLUMNS,
        columns,
        ", ".join(
            [
                *(field_definition(column, column.check.text if column.check else None) for column in columns),
                *(f"CHECK ({check})" for check in parsed.checks),
            ]
        ),
        tuple(check for check in checks if check.column is None),
    )
    check_limits(returns.json_schema() or {})
    for check in checks:
        try_out(check, check_columns(columns, [check], "content"))
    return returns


def _must_hold(condition: str) -> str:
    """Return what the model is told of a condition that a schema has no keyword for."""
    return f"It must satisfy this SQL condition: {condition}"

"""A JSON Schema read into returned columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlbatch.errors import InvalidReturns

if TYPE_CHECKING:
    from sqlbatch.query.returns.definition import Returns


def returns_from_schema(schema: dict[str, Any]) -> Returns:
    """Derive the columns of a JSON Schema."""
    raise InvalidReturns("--json-schema: not read yet")

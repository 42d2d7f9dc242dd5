"""Checked answers as typed values, in SQL that never raises."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlbatch.query.returns.kinds import Column, Decimal, Enum, List, Scalar, Struct, Type
from sqlbatch.store.queries import quote_literal

if TYPE_CHECKING:
    from collections.abc import Sequence

# Types whose text DuckDB's JSON reader is not asked to read: they are cast from the string, as a scalar is.
_FROM_TEXT = {
    "DATE",
    "TIME",
    "TIME WITH TIME ZONE",
    "TIMESTAMP",
    "TIMESTAMP_S",
    "TIMESTAMP_MS",
    "TIMESTAMP WITH TIME ZONE",
    "UUID",
}


def pointer(column: Column) -> str:
    """Return the path of a field; a JSON pointer, for that can say every name."""
    return "/" + column.name.replace("~", "~0").replace("/", "~1")


def pointers(fields: Sequence[Column], *before: str) -> str:
    """Return SQL of the list of paths of the fields, behind other paths."""
    return f"[{', '.join(map(quote_literal, [*before, *map(pointer, fields)]))}]"


def typed_columns(fields: Sequence[Column], content: str) -> list[tuple[str, str]]:
    """Return name and SQL of each column; the common part is the same text, so DuckDB reads an answer once."""
    texts = f"TRY(json_extract_string({content}, {pointers(fields)}))"
    return [(field.name, typed(field.type, f"{texts}[{i}]")) for i, field in enumerate(fields, 1)]


def typed(kind: Type, text: str) -> str:
    """Return SQL of this type from SQL of the text of a JSON value: of a string its content, of all else its JSON."""
    match kind:
        case Scalar("VARCHAR"):
            return text
        case List() | Struct():
            value = f"TRY(json_transform({text}, {quote_literal(json.dumps(_carrier(kind), ensure_ascii=False))}))"
            return value if _is_carried(kind) else f"TRY_CAST({value} AS {kind})"
        case Decimal() if not kind.is_text:
            # By way of a double, which is exact here; DuckDB cannot cast '1e-7' to DECIMAL(15,15).
            return f"TRY_CAST(TRY_CAST({text} AS DOUBLE) AS {kind})"
        case _:
            return f"TRY_CAST({text} AS {kind})"


def _carrier(kind: Type) -> Any:
    """Return the structure that DuckDB's JSON reader is asked for; what it could change travels as text."""
    match kind:
        case List():
            return [_carrier(kind.element)]
        case Struct():
            return {field.name: _carrier(field.type) for field in kind.fields}
        case Decimal() if not kind.is_text:
            return "DOUBLE"
        case _:
            return str(kind) if _is_carried(kind) else "VARCHAR"


def _is_carried(kind: Type) -> bool:
    match kind:
        case List():
            return kind.size is None and _is_carried(kind.element)
        case Struct():
            return all(_is_carried(field.type) for field in kind.fields)
        case Scalar(name):
            return name not in _FROM_TEXT
        case Decimal() | Enum():
            return False

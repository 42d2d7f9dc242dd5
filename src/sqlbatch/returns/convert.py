"""An answer's text as JSON, and checked answers as typed values, in SQL that never raises."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlbatch.db.sql import quote_literal
from sqlbatch.returns.types import Column, Decimal, Json, List, Scalar, Struct, Type

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# This many columns share one reading of an answer; if all did, the SQL would grow with their square.
_READ_AT_ONCE = 20


def pointer(column: Column) -> str:
    """Return the path of a field as a JSON pointer, which works for every name."""
    return "/" + column.name.replace("~", "~0").replace("/", "~1")


def literals(texts: Iterable[str]) -> str:
    """Return texts as a SQL list of literals."""
    return f"[{', '.join(map(quote_literal, texts))}]"


def json_in_text(content: str) -> str:
    """Return SQL for the JSON object in a text, for models that write more than JSON; without one, the text as it is.

    Text before `</think>` is left out, as is a thought without an end. The object reaches from the first brace to the
    last, or fills a Markdown fence. A text with two different objects has none, because nothing says which one is the
    answer.
    """
    braces = r"[regexp_extract(sqlbatch_rest, '(?s)\{.*\}')]"
    fenced = r"regexp_extract_all(sqlbatch_rest, '(?s)```\w*\s*(\{[^`]*\})\s*```', 1)"
    objects = f"list_distinct(list_filter({braces} || {fenced}, lambda sqlbatch_part: json_valid(sqlbatch_part)))"
    thought = "regexp_replace(sqlbatch_said, '(?s)^.*</think(ing)?>|^\\s*<think.*', '')"
    found = f"list_transform([{thought}], lambda sqlbatch_rest: {objects})[1]"
    only = (
        f"list_transform([{found}], lambda sqlbatch_found: CASE len(sqlbatch_found) WHEN 1 THEN sqlbatch_found[1] END)"
    )
    return (
        f"list_transform([{content}], lambda sqlbatch_said: "
        f"CASE WHEN json_valid(sqlbatch_said) THEN sqlbatch_said ELSE coalesce({only}[1], sqlbatch_said) END)[1]"
    )


def typed_columns(columns: Sequence[Column], content: str) -> list[tuple[str, str]]:
    """Return name and SQL of each column; DuckDB evaluates a text that several columns share once."""
    found: list[tuple[str, str]] = []
    for start in range(0, len(columns), _READ_AT_ONCE):
        group = columns[start : start + _READ_AT_ONCE]
        texts = f"TRY(json_extract_string({content}, {literals(map(pointer, group))}))"
        for i, column in enumerate(group, 1):
            if isinstance(column.type, Json):  # of a string in JSON, the text would be no JSON
                value = f"TRY(json_extract({content}, {quote_literal(pointer(column))}))"
                found.append((column.name, f"nullif({value}, 'null'::JSON)"))
            else:
                found.append((column.name, typed(column.type, f"{texts}[{i}]")))
    return found


def typed(kind: Type, text: str) -> str:
    """Return SQL of this type from SQL of the text of a JSON value: a string's content, or anything else as JSON."""
    match kind:
        case Scalar("VARCHAR"):
            return text
        case List() | Struct():
            value = f"TRY(json_transform({text}, {quote_literal(json.dumps(_carrier(kind), ensure_ascii=False))}))"
            return value if _is_carried(kind) else f"TRY_CAST({value} AS {kind})"
        case Decimal() if not kind.is_text:
            # The cast goes through a double, which is exact here; DuckDB cannot cast '1e-7' to DECIMAL(15,15).
            return f"TRY_CAST(TRY_CAST({text} AS DOUBLE) AS {kind})"
        case _:
            return f"TRY_CAST({text} AS {kind})"


def _carrier(kind: Type) -> Any:
    """Return the structure for DuckDB's JSON reader, which knows no arrays, no ENUM and no exact DECIMAL."""
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
        case _:
            return isinstance(kind, Scalar | Json)

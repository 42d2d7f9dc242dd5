"""One schema of every type at once: valid, strict, and rules of strict mode that can say no."""

from __future__ import annotations

from typing import Any

import pytest

from sqlbatch.returns import parse_returns
from tests.query.returns_support import is_valid, reason, schema_of, strict_faults, typed, types
from tests.query.test_returns_types import TYPES

OBJECT = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def test_a_schema_of_every_type_is_valid_and_strict_and_takes_an_answer_of_all() -> None:
    columns: list[str] = []
    values: list[str] = []
    texts: dict[str, str | None] = {}
    for i, (sql, _, written) in enumerate(TYPES):
        value, text = next(iter(written.items()))
        columns += [
            f"plain{i} {sql} NOT NULL COMMENT 'told'", f"nullable{i} {sql}", f"list{i} {sql}[]",
            f"array{i} {sql}[2] NOT NULL", f"struct{i} STRUCT(a {sql}, b STRUCT(c {sql}[])[])",
        ]  # fmt: skip
        values += [
            f'"plain{i}": {value}', f'"nullable{i}": null', f'"list{i}": [{value}]', f'"array{i}": [{value}, {value}]',
            f'"struct{i}": {{"a": {value}, "b": [{{"c": [{value}]}}]}}',
        ]  # fmt: skip
        texts[f"plain{i}"], texts[f"nullable{i}"] = text, None
    returns = parse_returns(", ".join(columns))
    answer = "{" + ", ".join(values) + "}"
    schema = schema_of(returns)
    assert list(schema["properties"]) == schema["required"]
    assert len(schema["required"]) == 5 * len(TYPES)
    assert is_valid(returns, answer)
    assert reason(returns, answer) is None
    assert typed(returns, answer, "VARCHAR").items() >= texts.items()
    assert len(types(returns)) == 5 * len(TYPES)


def of(part: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose one property is this."""
    return OBJECT | {"properties": {"x": part}, "required": ["x"]}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}},
        {"anyOf": [OBJECT], "type": "object"},
        of({"type": "string"}) | {"required": []},
        of({"type": "string"}) | {"additionalProperties": True},
        of({"type": "string", "minLength": 1}),
        of({"type": "string", "format": "uri"}),
        of({"type": "string", "default": "a"}),
        of({"type": ["string", "integer"]}),
        of({"type": "integer", "allOf": []}),
        of({"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
        of({"type": "string", "enum": [str(i) for i in range(1001)]}),
        of({"type": "string", "enum": ["x" * 60 + str(i) for i in range(251)]}),
        of({"type": "object", "properties": {"a" * 120_001: {"type": "string"}}, "required": ["a" * 120_001],
            "additionalProperties": False}),
    ],
    ids=lambda schema: str(schema)[:60],
)  # fmt: skip
def test_the_rules_find_what_leaves_the_strict_subset(schema: dict[str, Any]) -> None:
    assert list(strict_faults(schema)) != []

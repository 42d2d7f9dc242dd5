"""A JSON Schema instead of a column list: what becomes of it, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from sqlbatch.errors import InvalidReturns
from sqlbatch.returns import parse_returns, returns_from_schema
from tests.query.returns_support import reason, schema_of


def derived(schema: dict[str, Any], required: bool = True) -> str:
    """Return the column list that is made of an object with one property."""
    properties = {"type": "object", "properties": {"x": schema}, "required": ["x"] if required else []}
    returns = returns_from_schema(properties)
    assert parse_returns(returns.text) == returns
    schema_of(returns)
    return returns.text


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, '"x" VARCHAR NOT NULL'),
        ({"type": ["string", "null"]}, '"x" VARCHAR'),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, '"x" VARCHAR'),
        ({"oneOf": [{"type": "null"}, {"type": "string"}], "description": "a"}, "\"x\" VARCHAR COMMENT 'a'"),
        ({"type": "string", "nullable": True}, '"x" VARCHAR'),
        ({"type": "string", "description": "it's"}, "\"x\" VARCHAR NOT NULL COMMENT 'it''s'"),
        ({"type": "string", "title": "X", "default": "a", "examples": ["b"]}, '"x" VARCHAR NOT NULL'),
        ({"type": "string", "format": "date"}, '"x" DATE NOT NULL'),
        ({"type": "string", "format": "date-time"}, '"x" TIMESTAMP WITH TIME ZONE NOT NULL'),
        ({"type": "string", "format": "time"}, '"x" TIME WITH TIME ZONE NOT NULL'),
        ({"type": "string", "format": "uuid"}, '"x" UUID NOT NULL'),
        (
            {"type": "string", "format": "email", "description": "a"},
            "\"x\" VARCHAR NOT NULL COMMENT 'a Format: email.'",
        ),
        ({"type": "string", "pattern": "^a'b$"}, "\"x\" VARCHAR NOT NULL CHECK (regexp_matches(\"x\", '^a''b$'))"),
        (
            {"type": "string", "minLength": 1, "maxLength": 9},
            '"x" VARCHAR NOT NULL CHECK (length("x") >= 1 AND length("x") <= 9)',
        ),
        ({"type": "string", "enum": ["a", "it's"]}, "\"x\" ENUM('a', 'it''s') NOT NULL"),
        ({"enum": ["a", None]}, "\"x\" ENUM('a')"),
        ({"type": ["string", "null"], "enum": ["a", None]}, "\"x\" ENUM('a')"),
        ({"const": "a"}, "\"x\" ENUM('a') NOT NULL"),
        ({"type": "integer"}, '"x" BIGINT NOT NULL'),
        ({"type": "integer", "format": "int32"}, '"x" BIGINT NOT NULL'),
        ({"type": "integer", "minimum": 0, "maximum": 255}, '"x" UTINYINT NOT NULL'),
        ({"type": "integer", "minimum": 1, "maximum": 5}, '"x" BIGINT NOT NULL CHECK ("x" >= 1 AND "x" <= 5)'),
        ({"type": "integer", "multipleOf": 5}, '"x" BIGINT NOT NULL CHECK ("x" % 5 = 0)'),
        ({"enum": [1, 2]}, '"x" BIGINT NOT NULL CHECK ("x" IN (1, 2))'),
        ({"type": "number"}, '"x" DOUBLE NOT NULL'),
        (
            {"type": ["number", "null"], "exclusiveMinimum": 0.5, "exclusiveMaximum": 1},
            '"x" DOUBLE CHECK ("x" > 0.5 AND "x" < 1)',
        ),
        ({"type": "boolean"}, '"x" BOOLEAN NOT NULL'),
        ({"type": "array", "items": {"type": "string"}}, '"x" VARCHAR[] NOT NULL'),
        ({"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}, '"x" DOUBLE[3] NOT NULL'),
        (
            {"type": "array", "items": {"enum": ["a"]}, "minItems": 1, "maxItems": 3},
            '"x" ENUM(\'a\')[] NOT NULL CHECK (len("x") >= 1 AND len("x") <= 3)',
        ),
        (
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "a b": {"type": "number", "minimum": 0, "description": "one"},
                        "c": {"type": ["boolean", "null"]},
                        "d": {"type": "string"},
                    },
                    "required": ["a b", "c"],
                    "additionalProperties": False,
                },
            },
            '"x" STRUCT("a b" DOUBLE NOT NULL CHECK ("a b" >= 0) COMMENT \'one\', "c" BOOLEAN, "d" VARCHAR)[] NOT NULL',
        ),
    ],
)
def test_a_schema_becomes_columns(schema: dict[str, Any], expected: str) -> None:
    assert derived(schema) == expected


def test_what_is_not_required_may_be_null() -> None:
    assert derived({"type": "string"}, required=False) == '"x" VARCHAR'


def test_references_are_followed() -> None:
    schema = {
        "$defs": {
            "Money": {"type": "object", "properties": {"sum": {"$ref": "#/$defs/Sum"}}, "required": ["sum"]},
            "Sum": {"type": "number"},
        },
        "type": "object",
        "properties": {
            "price": {"$ref": "#/$defs/Money", "description": "now"},
            "was": {"anyOf": [{"$ref": "#/$defs/Money"}, {"type": "null"}]},
            "all": {"allOf": [{"$ref": "#/$defs/Sum"}]},
        },
        "required": ["price", "was", "all"],
    }
    assert returns_from_schema(schema).text == (
        '"price" STRUCT("sum" DOUBLE NOT NULL) NOT NULL COMMENT \'now\','
        ' "was" STRUCT("sum" DOUBLE NOT NULL), "all" DOUBLE NOT NULL'
    )


def test_the_response_format_of_a_request_is_taken_too() -> None:
    schema = {
        "type": "object",
        "properties": {"x": {"type": "boolean"}},
        "required": ["x"],
        "additionalProperties": False,
    }
    named = {"name": "row", "strict": True, "schema": schema}
    for wrapped in (schema, named, {"type": "json_schema", "json_schema": named}):
        assert returns_from_schema(wrapped).text == '"x" BOOLEAN NOT NULL'


@pytest.mark.parametrize(
    "columns",
    [
        "a VARCHAR, b INT NOT NULL, c UBIGINT, d DOUBLE, e BOOLEAN COMMENT 'yes?', f DATE, g UUID, h ENUM('x', 'y')",
        "a VARCHAR[], b INTEGER[3], c STRUCT(d INTEGER NOT NULL, e VARCHAR COMMENT 'e')[] NOT NULL, f DOUBLE[][]",
        "a SMALLINT, b UTINYINT NOT NULL, c TIMESTAMP WITH TIME ZONE, d TIME WITH TIME ZONE",
    ],
)
def test_the_schema_of_columns_becomes_the_same_columns(columns: str) -> None:
    returns = parse_returns(columns)
    assert returns_from_schema(schema_of(returns)) == returns


def test_bounds_and_patterns_go_out_as_they_came_and_are_held_to_the_answer() -> None:
    inner: dict[str, Any] = {"e": {"type": "number", "exclusiveMinimum": 0}}
    properties = {
        "a": {"type": "integer", "minimum": 1, "maximum": 5},
        "b": {"type": "string", "pattern": "^[a-z]+$"},
        "c": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "d": {"type": "object", "properties": inner, "required": ["e"], "additionalProperties": False},
    }
    returns = returns_from_schema({"type": "object", "properties": properties, "required": list(properties)})
    assert schema_of(returns)["properties"] == properties
    good = {"a": 1, "b": "x", "c": ["y"], "d": {"e": 0.5}}
    assert reason(returns, good) is None
    assert reason(returns, good | {"a": 6}) == '$.a: 6 violates CHECK ("a" >= 1 AND "a" <= 5)'
    assert reason(returns, good | {"d": {"e": 0}}) == '$.d.e: 0 violates CHECK ("e" > 0)'


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (
            {"type": "string", "contentEncoding": "base64"},
            "$.x: contentEncoding cannot be said by a column of type string",
        ),
        ({"type": "number", "multipleOf": 0.01}, "$.x: multipleOf cannot be said by a column of type number"),
        ({"type": ["string", "integer"]}, '$.x: type ["string", "integer"]; a column has one type, and null'),
        ({"type": "null"}, '$.x: type "null"; use one of'),
        ({}, "$.x: type null; use one of"),
        ({"type": "text"}, '$.x: type "text"; use one of'),
        (True, "$.x: expected a schema, not true"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "$.x: anyOf of several types; a column has one"),
        ({"allOf": [{"type": "string"}, {"minLength": 1}]}, "$.x: allOf of several types; a column has one"),
        ({"type": "array"}, "$.x: an array without items; say of what type they are"),
        ({"type": "array", "items": {"type": ["string", "null"]}}, "$.x[]: null in a list; a list here has none"),
        ({"type": "array", "items": {"type": "integer", "minimum": 1}}, "$.x[]: an element of a list takes no bounds"),
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, "$.x: uniqueItems cannot be said"),
        ({"type": "object"}, "$.x: an object without properties; name its fields"),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            "$.x: additionalProperties; a strict schema names",
        ),
        ({"enum": ["a", 1]}, "$.x: type null; use one of"),
        ({"type": "string", "enum": ["a", 1]}, '$.x: enum ["a", 1]; values are all texts, all numbers'),
        ({"type": "string", "enum": []}, "$.x: enum []; values are all texts, all numbers"),
        ({"type": "integer", "minimum": "1"}, '$.x: minimum "1" is no number'),
        ({"$ref": "#/$defs/Nothing"}, "$.x: nothing is at #/$defs/Nothing; references go to $defs of the same file"),
        ({"$ref": "other.json"}, "$.x: nothing is at other.json"),
        ({"$ref": "#"}, "it refers to itself; columns are not recursive"),
        ({"type": "string", "pattern": "(?=a)"}, "invalid perl operator"),
        ({"type": "object", "properties": {"": {"type": "string"}}}, "--json-schema: x: a name is empty; give it one"),
    ],
)
def test_what_columns_cannot_say_is_refused_with_the_path(schema: Any, message: str) -> None:
    with pytest.raises(InvalidReturns) as caught:
        derived(schema)
    assert message in str(caught.value)
    assert str(caught.value).startswith("--json-schema: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "schema", [{}, {"type": "array", "items": {"type": "string"}}, {"type": "string"}, {"type": "object"}]
)
def test_the_root_is_an_object_with_properties(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidReturns, match=r"--json-schema: \$: "):
        returns_from_schema(schema)

"""Turn a JSON Schema into returned columns.

Everything that a column list can express is taken over: types, null, descriptions, bounds, patterns and enums, as CHECK
conditions if needed. What it cannot express is refused, not dropped, except words about the schema itself (`title`,
`examples`) and the description of the root, which belongs in the instructions.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import InvalidReturns
from sqlbatch.returns.definition import Returns, ReturnsMode, parse_returns
from sqlbatch.returns.types import INTEGERS, Check, Column, Enum, Json, List, Scalar, Struct, Type

_ABOUT = frozenset(
    [
        *["title", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "name", "strict"],
        *["$schema", "$id", "$comment", "$anchor", "$defs", "definitions"],
    ]
)
_TYPES = {
    "string": {"pattern", "format", "minLength", "maxLength"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "format"},
    "boolean": set[str](),
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties"},
}
_EVERYWHERE = {"type", "description", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "nullable"}
_STRING_FORMATS = {
    "date": "DATE",
    "time": "TIME WITH TIME ZONE",
    "date-time": "TIMESTAMP WITH TIME ZONE",
    "uuid": "UUID",
}
_OPERATORS = {
    "minimum": "{x} >= {v}",
    "maximum": "{x} <= {v}",
    "exclusiveMinimum": "{x} > {v}",
    "exclusiveMaximum": "{x} < {v}",
    "multipleOf": "{x} % {v} = 0",
    "minLength": "length({x}) >= {v}",
    "maxLength": "length({x}) <= {v}",
    "minItems": "len({x}) >= {v}",
    "maxItems": "len({x}) <= {v}",
}
_OR_JSON = ", or name it in --returns as a column of type JSON, beside --json-schema"
_DEEPEST = 100

Schema = dict[str, Any]


def returns_from_schema(schema: dict[str, Any], columns: str | None = None) -> Returns:
    """Return the returned columns of a JSON Schema, or of the `response_format` of a request around one.

    If a column list is given, it defines the columns, and the schema's properties go unchanged into its JSON columns.
    Raises InvalidReturns, which names the path, if the schema needs what columns cannot express.
    """
    for wrapper in ("json_schema", "schema"):
        if isinstance(schema.get(wrapper), dict) and "properties" not in schema:
            schema = schema[wrapper]
    if columns is not None:
        return _with_json_columns(columns, schema)
    struct = _Converter(schema).kind(schema, "$", 0)[0]
    if not isinstance(struct, Struct):
        raise _error("$", "the root must be an object with properties; each becomes a column")
    try:
        return parse_returns(", ".join(column.definition for column in struct.fields))
    except InvalidReturns as error:
        raise InvalidReturns(str(error).replace("--returns", "--json-schema", 1)) from error


def _with_json_columns(text: str, schema: Schema) -> Returns:
    """Return a column list whose JSON columns are described by the schema's properties of the same names."""
    returns, properties = parse_returns(text), schema.get("properties")
    if not any(column.type == Json() for column in returns.columns) or returns.mode is not ReturnsMode.COLUMNS:
        raise InvalidReturns(
            "--returns and --json-schema are two ways to say what comes back: give one of them, or name in --returns a "
            "column of type JSON for the schema to describe"
        )
    definitions = []
    for column in returns.columns:
        if column.type == Json():
            part = properties.get(column.name) if isinstance(properties, dict) else None
            if not isinstance(part, dict):
                raise _error("$", f"it has no property {column.name}, a JSON column of --returns")
            if "#/" in json.dumps(part):
                part = part | {word: schema[word] for word in ("$defs", "definitions") if word in schema}
            whole = json.dumps(part, ensure_ascii=False, separators=(",", ":"))
            definitions.append(dataclasses.replace(column, type=Json(whole)).definition)
        else:
            definitions.append(column.definition)
    return parse_returns(", ".join([*definitions, *(f"CHECK ({check.text})" for check in returns.checks)]))


class _Converter:
    """Reads the parts of one schema, following its references."""

    def __init__(self, root: Schema) -> None:
        self._root = root

    def column(self, name: str, schema: Any, required: bool, path: str, depth: int) -> Column:
        inner, nullable = self._plain(schema, path, depth)
        kind, conditions, notes = self._kind(inner, name, path, depth)
        check = Check(" AND ".join(conditions)) if conditions else None
        texts = dict.fromkeys([_description(schema), _description(inner), *notes])
        comment = " ".join(text for text in texts if text)
        return Column(name, kind, not nullable and required, comment or None, check)

    def kind(self, schema: Any, path: str, depth: int) -> tuple[Type, bool]:
        """Return the type of a schema without a name for conditions, and whether null is allowed."""
        inner, nullable = self._plain(schema, path, depth)
        kind, conditions, _ = self._kind(inner, "_", path, depth)
        if conditions:
            raise _error(
                path, "an element of a list takes no bounds or pattern; make the elements objects with a field"
            )
        return kind, nullable

    def _plain(self, schema: Any, path: str, depth: int) -> tuple[Schema, bool]:
        """Return a schema without references and alternatives, and whether null is allowed beside it."""
        if depth > _DEEPEST:
            raise _error(path, "it refers to itself; columns are not recursive, so say how deep it goes")
        if not isinstance(schema, dict):
            raise _error(path, f"expected a schema, not {json.dumps(schema)}")
        nullable = schema.get("nullable") is True
        if "$ref" in schema:
            inner, null = self._plain(self._resolve(schema["$ref"], path), path, depth + 1)
            return _merged(inner, schema, "$ref"), nullable or null
        for word in ("anyOf", "oneOf", "allOf"):
            if word in schema:
                others = [one for one in schema[word] if one != {"type": "null"}]
                if len(others) != 1 or (word == "allOf" and len(schema[word]) != 1):
                    raise _error(
                        path, f"{word} of several types; a column has one: use an object with a field for each"
                    )
                inner, null = self._plain(others[0], path, depth + 1)
                return _merged(inner, schema, word), nullable or null or len(others) < len(schema[word])
        names = schema.get("type")
        if isinstance(names, list):
            others = [name for name in names if name != "null"]
            if len(others) != 1:
                raise _error(path, f"type {json.dumps(names)}; a column has one type, and null")
            values = {"enum": [one for one in schema["enum"] if one is not None]} if "enum" in schema else {}
            return schema | {"type": others[0]} | values, nullable or "null" in names
        if None in schema.get("enum", ()):
            return schema | {"enum": [one for one in schema["enum"] if one is not None]}, True
        return schema, nullable

    def _resolve(self, reference: Any, path: str) -> Any:
        found: Any = self._root
        for step in str(reference).removeprefix("#").split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, dict) else None
        if not str(reference).startswith("#") or found is None:
            raise _error(path, f"nothing is at {reference}; references go to $defs of the same file")
        return found

    def _kind(self, schema: Schema, name: str, path: str, depth: int) -> tuple[Type, list[str], list[str]]:
        """Return the type of a schema, the conditions on a column of this name, and the text for the model."""
        values = [schema["const"]] if "const" in schema else schema.get("enum")
        word = schema.get("type") or _type_of(values, schema)
        if word not in _TYPES:
            raise _error(path, f"type {json.dumps(word)}; use one of {', '.join(_TYPES)}{_OR_JSON}")
        unknown = sorted(schema.keys() - _ABOUT - _EVERYWHERE - _TYPES[word])
        if unknown:
            raise _error(path, f"{unknown[0]} cannot be said by a column of type {word}; leave it away")
        bounds = {key: schema[key] for key in _OPERATORS if key in schema}
        kind: Type
        notes: list[str] = []
        match word:
            case "object":
                kind = self._struct(schema, path, depth)
            case "array":
                kind, bounds = self._list(schema, path, depth, bounds)
            case "boolean":
                kind = Scalar("BOOLEAN")
            case "integer":
                kind, bounds = _integer(bounds)
            case "number":
                kind = Scalar("DOUBLE")
            case _:
                kind = Scalar(_STRING_FORMATS.get(schema.get("format", ""), "VARCHAR"))
                if "format" in schema and kind == Scalar("VARCHAR"):
                    notes.append(f"Format: {schema['format']}.")
        column = quote_identifier(name)
        if values is not None:
            kind, bounds_of_values = _one_of(values, kind, column, path)
        else:
            bounds_of_values = []
        conditions = [_OPERATORS[key].format(x=column, v=_number(value, path, key)) for key, value in bounds.items()]
        if "pattern" in schema:
            conditions.append(f"regexp_matches({column}, {quote_literal(str(schema['pattern']))})")
        return kind, [*conditions, *bounds_of_values], notes

    def _struct(self, schema: Schema, path: str, depth: int) -> Struct:
        properties, required = schema.get("properties"), schema.get("required", [])
        if schema.get("additionalProperties", False) is not False:
            reason = "a strict schema names every key: use a list of key and value"
            raise _error(path, f"additionalProperties; {reason}{_OR_JSON}")
        if not isinstance(properties, dict) or not properties:
            raise _error(path, "an object without properties; name its fields")
        return Struct(
            tuple(
                self.column(name, part, name in required, f"{path}.{name}", depth + 1)
                for name, part in properties.items()
            )
        )

    def _list(self, schema: Schema, path: str, depth: int, bounds: Schema) -> tuple[Type, Schema]:
        if "items" not in schema:
            raise _error(path, "an array without items; say of what type they are")
        element, nullable = self.kind(schema["items"], f"{path}[]", depth + 1)
        if nullable:
            raise _error(f"{path}[]", "null in a list; a list here has none: leave null away")
        least, greatest = schema.get("minItems"), schema.get("maxItems")
        if least is not None and least == greatest and least > 0:
            return List(element, int(least)), {}
        return List(element), bounds


def _integer(bounds: Schema) -> tuple[Type, Schema]:
    """Return the integer type that has exactly these bounds, or BIGINT and the bounds."""
    given = (bounds.get("minimum"), bounds.get("maximum"))
    name = next((name for name, bounds_of_type in INTEGERS.items() if bounds_of_type == given), None)
    if name is None:
        return Scalar("BIGINT"), bounds
    return Scalar(name), {key: value for key, value in bounds.items() if key not in {"minimum", "maximum"}}


def _one_of(values: Any, kind: Type, column: str, path: str) -> tuple[Type, list[str]]:
    if kind == Scalar("VARCHAR") and values and all(isinstance(value, str) for value in values):
        return Enum(tuple(dict.fromkeys(values))), []
    if kind == Scalar("BOOLEAN") and values and all(isinstance(value, bool) for value in values):
        return kind, [f"{column} = {json.dumps(values[0])}"] if len(set(values)) == 1 else []
    if str(kind) in {*INTEGERS, "DOUBLE"} and values:
        return kind, [f"{column} IN ({', '.join(_number(value, path, 'enum') for value in values)})"]
    raise _error(path, f"enum {json.dumps(values)}; values are all texts, all numbers or true and false")


def _number(value: Any, path: str, key: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _error(path, f"{key} {json.dumps(value)} is no number")
    return str(value)


def _type_of(values: Any, schema: Schema) -> str | None:
    """Return the type of a schema that does not name it."""
    if values and all(isinstance(value, str) for value in values):
        return "string"
    if values and all(isinstance(value, bool) for value in values):
        return "boolean"
    if values and all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return "integer"
    return "object" if "properties" in schema else "array" if "items" in schema else None


def _merged(inner: Schema, outer: Schema, word: str) -> Schema:
    """Return a schema merged with the keys beside its reference or alternative.

    The description of those comes first.
    """
    beside = {key: value for key, value in outer.items() if key not in {word, "description", "nullable"}}
    return inner | beside


def _description(schema: Schema) -> str | None:
    text = schema.get("description")
    return str(text) if text else None


def _error(path: str, message: str) -> InvalidReturns:
    return InvalidReturns(" ".join(f"--json-schema: {path}: {message}".split()))

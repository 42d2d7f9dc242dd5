"""Fields as a JSON Schema of the strict subset, which constrains a model's answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlbatch.errors import InvalidReturns
from sqlbatch.returns.conditions import allows_nothing, keywords, narrowed
from sqlbatch.returns.types import (
    FLOATS,
    FORMATS,
    INTEGERS,
    Check,
    Column,
    Decimal,
    Enum,
    Json,
    List,
    Scalar,
    Struct,
    Type,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Schema = dict[str, Any]

# The provider's limits for a strict schema.
MAX_LEVELS = 10
MAX_PROPERTIES = 5_000
MAX_ENUM_VALUES = 1_000
MAX_TEXT = 120_000
LARGE_ENUM, MAX_LARGE_ENUM_TEXT = 250, 15_000


def root_schema(columns: Sequence[Column], checks: Sequence[Check] = ()) -> Schema:
    """Return the schema of an answer; definitions that its JSON columns refer to are at its root."""
    schema = object_schema(columns, checks)
    definitions: Schema = {}
    for part in _schemas(schema):
        for word in ("$defs", "definitions"):
            if word in part:
                definitions.setdefault(word, {}).update(part.pop(word))
    return schema | definitions


def is_strict(schema: Any) -> bool:
    """Return whether a schema has only closed objects whose keys are all required, as strict mode demands."""
    if not isinstance(schema, dict) or not schema.keys() & {"type", "anyOf", "$ref", "enum", "const"}:
        return False
    properties = schema.get("properties", {})
    if "object" in str(schema.get("type")) and (
        schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties)
    ):
        return False
    parts = [*properties.values(), *schema.get("anyOf", ()), *schema.get("$defs", {}).values()]
    return all(map(is_strict, [*parts, schema["items"]] if "items" in schema else parts))


def object_schema(columns: Sequence[Column], checks: Sequence[Check] = ()) -> Schema:
    """Return the schema of an object with these columns or fields, all of them required.

    Conditions that no keyword expresses (`checks`, and those of the columns) go into the description for the model.
    """
    schema = {
        "type": "object",
        "properties": {column.name: _column_schema(column) for column in columns},
        "required": [column.name for column in columns],
        "additionalProperties": False,
    }
    return schema | ({"description": _must_hold(" AND ".join(check.text for check in checks))} if checks else {})


def _column_schema(column: Column) -> Schema:
    kind, check = column.type, column.check
    if isinstance(kind, Json) and kind.schema is not None:
        return dict(json.loads(kind.schema))
    said, complete = keywords(column, check.text) if check else ({}, True)
    schema = narrowed(_type_schema(kind), said)
    if allows_nothing(schema):
        raise InvalidReturns(f"--returns: {column.name}: no {kind} satisfies its CHECK; correct one of them")
    texts = [column.comment, _type_note(kind), _must_hold(check.text) if check and not complete else None]
    description = " ".join(text for text in texts if text)
    described = {"description": description} if description else {}
    if column.not_null or isinstance(kind, Json):
        return schema | described
    if isinstance(kind, List | Struct):
        # Providers refuse the short form {"type": ["array", "null"]}, which they accept for scalars.
        return {"anyOf": [schema, {"type": "null"}]} | described
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    return schema | {"type": [schema["type"], "null"]} | described


def _must_hold(condition: str) -> str:
    return f"It must satisfy this SQL condition: {condition}"


def _type_schema(kind: Type) -> Schema:  # noqa: PLR0911 (one a type)
    match kind:
        case Struct():
            return object_schema(kind.fields)
        case List():
            size = {} if kind.size is None else {"minItems": kind.size, "maxItems": kind.size}
            # An element has no name and no comment of its own.
            note = _type_note(kind.element)
            items = _type_schema(kind.element) | ({"description": note} if note else {})
            return {"type": "array", "items": items} | size
        case Json(text):
            return dict(json.loads(text or "{}"))
        case Enum():
            return {"type": "string", "enum": list(kind.values)}
        case Decimal():
            return _decimal_schema(kind)
        # Schema readers cannot hold bounds of 128 bits; the answer itself is checked against them.
        case Scalar("HUGEINT"):
            return {"type": "integer"}
        case Scalar("UHUGEINT"):
            return {"type": "integer", "minimum": 0}
        case Scalar(name) if name in INTEGERS:
            least, greatest = INTEGERS[name]
            return {"type": "integer", "minimum": least, "maximum": greatest}
        case Scalar(name) if name in FLOATS:
            return {"type": "number"}
        case Scalar("BOOLEAN"):
            return {"type": "boolean"}
        case Scalar(name):
            return {"type": "string"} | ({"format": FORMATS[name]} if name in FORMATS else {})


def _decimal_schema(kind: Decimal) -> Schema:
    whole = kind.precision - kind.scale
    if not kind.is_text:
        # multipleOf is not used: 19.99 is no multiple of 0.01 in binary, and validators disagree.
        return {"type": "number", "exclusiveMinimum": -(10**whole), "exclusiveMaximum": 10**whole}
    digits = "0" if whole == 0 else f"[0-9]{{1,{whole}}}"
    fraction = f"(\\.[0-9]{{1,{kind.scale}}})?" if kind.scale else ""
    return {"type": "string", "pattern": f"^-?{digits}{fraction}$"}


def _type_note(kind: Type) -> str | None:
    if not isinstance(kind, Decimal) or (kind.scale == 0 and not kind.is_text):
        return None
    number = "A decimal number as text" if kind.is_text else "A number"
    places = f" with at most {kind.scale} digit{'s' * (kind.scale != 1)} after the point" if kind.scale else ""
    return f"{number}{places}."


def check_limits(schema: Schema) -> None:
    """Refuse a schema that is too large for the provider, because every line of a batch would fail."""
    parts = list(_schemas(schema))
    names = [name for part in parts for name in part.get("properties", ())]
    enums = [part["enum"] for part in parts if "enum" in part]
    lengths = [sum(len(str(value)) for value in enum) for enum in enums]
    large = max((length for enum, length in zip(enums, lengths, strict=True) if len(enum) > LARGE_ENUM), default=0)
    # The root is level 0; a STRUCT or list in a column is level 1.
    _at_most(_levels(schema) - 1, MAX_LEVELS, "levels of STRUCT and lists inside each other", "flatten them")
    _at_most(len(names), MAX_PROPERTIES, "columns and fields", "ask for fewer at once")
    _at_most(
        sum(map(len, enums)),
        MAX_ENUM_VALUES,
        "ENUM values (NULL counts)",
        "use VARCHAR instead",
    )
    _at_most(large, MAX_LARGE_ENUM_TEXT, "characters in one long ENUM", "shorten them")
    _at_most(sum(map(len, names)) + sum(lengths), MAX_TEXT, "characters in names and ENUM values", "shorten them")


def _at_most(count: int, limit: int, what: str, instead: str) -> None:
    if count > limit:
        raise InvalidReturns(f"--returns: {count:,} {what}, and a strict schema takes {limit:,}; {instead}")


def _levels(schema: Schema) -> int:
    """Return how deeply objects and arrays are nested."""
    inner = max((_levels(part) for part in _parts(schema)), default=0)
    return inner + ("properties" in schema or "items" in schema)


def _parts(schema: Schema) -> Iterator[Schema]:
    for part in [*schema.get("properties", {}).values(), *schema.get("anyOf", []), schema.get("items")]:
        if isinstance(part, dict):  # a part of a JSON column may be anything
            yield part


def _schemas(schema: Schema) -> Iterator[Schema]:
    yield schema
    for part in _parts(schema):
        yield from _schemas(part)

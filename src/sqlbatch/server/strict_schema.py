"""The rules of OpenAI's strict subset of JSON Schema."""

from __future__ import annotations

from collections import Counter
from typing import Any

_FORBIDDEN = ("allOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else", "default", "oneOf")
_TEXT, _MAX_LEVELS = "characters in names and values", 10
_LIMITS = {"properties": 5_000, "enum values": 1_000, _TEXT: 120_000}
_MANY_VALUES, _MAX_MANY_TEXT = 250, 15_000  # an enum of more values may have this many characters


class InvalidSchema(ValueError):
    """No answer can be made for the schema; the message says why."""


def check_strict(schema: Any) -> str | None:
    """Return the message with which OpenAI would refuse a strict schema, or None."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        kind = schema.get("type") if isinstance(schema, dict) else None
        shown = f"'type: \"{kind}\"'" if kind else "'type: \"None\"'"
        return f"schema must be a JSON Schema of 'type: \"object\"', got {shown}."
    if "anyOf" in schema:
        return "schema must have type 'object' and not have 'anyOf' at the top level."
    counts: Counter[str] = Counter()
    refusal = _check(schema, (), 0, counts)
    too_many = (things for things, limit in _LIMITS.items() if counts[things] > limit)
    return refusal or next(
        (f"the schema has {counts[one]} {one}, which exceeds the limit of {_LIMITS[one]}." for one in too_many), None
    )


def _check(schema: Any, where: tuple[str, ...], level: int, counts: Counter[str]) -> str | None:
    if not isinstance(schema, dict):
        return f"In context={where!r}, schema must be an object."
    for keyword in _FORBIDDEN:
        if keyword in schema:
            return f"In context={where!r}, '{keyword}' is not permitted."
    if level > _MAX_LEVELS:
        return f"{level} levels of nesting exceeds limit of {_MAX_LEVELS}."
    refusal = _check_enum(schema, where, counts)
    kinds = schema.get("type")
    if not refusal and (kinds == "object" or (isinstance(kinds, list) and "object" in kinds)):
        refusal = _check_object(schema, where, level, counts)
    if not refusal and (kinds == "array" or (isinstance(kinds, list) and "array" in kinds)):
        if "items" not in schema:
            return f"In context={where!r}, array schema missing items."
        refusal = _check(schema["items"], (*where, "items"), level + 1, counts)
    for number, option in enumerate(schema.get("anyOf", ())):
        refusal = refusal or _check(option, (*where, "anyOf", str(number)), level, counts)
    for keyword in ("$defs", "definitions"):
        for name, definition in schema.get(keyword, {}).items():
            counts[_TEXT] += len(name)
            refusal = refusal or _check(definition, (*where, keyword, name), 0, counts)
    return refusal


def _check_enum(schema: dict[str, Any], where: tuple[str, ...], counts: Counter[str]) -> str | None:
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    text = sum(len(str(value)) for value in values)
    counts["enum values"] += len(values) if "enum" in schema else 0
    counts[_TEXT] += text
    if len(values) > _MANY_VALUES and text > _MAX_MANY_TEXT:
        return f"In context={where!r}, the enum has {text} characters, which exceeds the limit of {_MAX_MANY_TEXT}."
    return None


def _check_object(schema: dict[str, Any], where: tuple[str, ...], level: int, counts: Counter[str]) -> str | None:
    properties = schema.get("properties", {})
    if schema.get("additionalProperties") is not False:
        return f"In context={where!r}, 'additionalProperties' is required to be supplied and to be false."
    required = schema.get("required", [])
    for name in properties:
        if name not in required:
            return (
                f"In context={where!r}, 'required' is required to be supplied and to be an array "
                f"including every key in properties. Missing '{name}'."
            )
    for name in required:
        if name not in properties:
            return f"In context={where!r}, 'required' has the extra key '{name}'."
    counts["properties"] += len(properties)
    counts[_TEXT] += sum(map(len, properties))
    for name, value in properties.items():
        refusal = _check(value, (*where, "properties", name), level + 1, counts)
        if refusal:
            return refusal
    return None

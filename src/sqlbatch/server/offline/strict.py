"""The rules of OpenAI's strict subset of JSON Schema (contract section 5)."""

from __future__ import annotations

from typing import Any

_FORBIDDEN = ("allOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else", "default", "oneOf")
_MAX_PROPERTIES, _MAX_LEVELS, _MAX_ENUM, _MAX_TEXT = 5_000, 10, 1_000, 120_000
_MANY_VALUES, _MAX_MANY_TEXT = 250, 15_000


class _Counts:
    def __init__(self) -> None:
        self.properties = 0
        self.enum = 0
        self.text = 0

    def refusal(self) -> str | None:
        """Return which limit of a whole schema is exceeded, or None."""
        for count, limit, things in (
            (self.properties, _MAX_PROPERTIES, "properties"),
            (self.enum, _MAX_ENUM, "enum values"),
            (self.text, _MAX_TEXT, "characters in names and values"),
        ):
            if count > limit:
                return f"the schema has {count} {things}, which exceeds the limit of {limit}."
        return None


def check_strict(schema: Any) -> str | None:
    """Return why OpenAI would refuse a strict schema, in its words, or None."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        kind = schema.get("type") if isinstance(schema, dict) else None
        shown = f"'type: \"{kind}\"'" if kind else "'type: \"None\"'"
        return f"schema must be a JSON Schema of 'type: \"object\"', got {shown}."
    if "anyOf" in schema:
        return "schema must have type 'object' and not have 'anyOf' at the top level."
    counts = _Counts()
    return _check(schema, (), 0, counts) or counts.refusal()


def _check(schema: Any, where: tuple[str, ...], level: int, counts: _Counts) -> str | None:
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
            counts.text += len(name)
            refusal = refusal or _check(definition, (*where, keyword, name), 0, counts)
    return refusal


def _check_enum(schema: dict[str, Any], where: tuple[str, ...], counts: _Counts) -> str | None:
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    text = sum(len(str(value)) for value in values)
    counts.enum += len(values) if "enum" in schema else 0
    counts.text += text
    if len(values) > _MANY_VALUES and text > _MAX_MANY_TEXT:
        return f"In context={where!r}, the enum has {text} characters, which exceeds the limit of {_MAX_MANY_TEXT}."
    return None


def _check_object(schema: dict[str, Any], where: tuple[str, ...], level: int, counts: _Counts) -> str | None:
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
    counts.properties += len(properties)
    counts.text += sum(map(len, properties))
    for name, value in properties.items():
        refusal = _check(value, (*where, "properties", name), level + 1, counts)
        if refusal:
            return refusal
    return None

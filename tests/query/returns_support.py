"""What the tests of returned columns share: a DuckDB that checks and types answers, and the rules of strict schemas."""

from __future__ import annotations

import functools
import importlib
import json
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.returns import Returns


@functools.cache
def connection() -> duckdb.DuckDBPyConnection:
    """Return one database for all tests, for none of them writes."""
    found = duckdb.connect()
    found.execute("SET TimeZone='UTC'")
    return found


def reasons(returns: Returns, *answers: str | None) -> list[str | None]:
    """Return what is wrong with each answer, all of them checked in one query as in real life."""
    sql = f"SELECT {returns.check_sql('a.content')} FROM (SELECT unnest(?::VARCHAR[]) AS content) a"
    return [row[0] for row in connection().execute(sql, [list(answers)]).fetchall()]


def reason(returns: Returns, answer: Any) -> str | None:
    """Return what is wrong with an answer, given as text or as the value that its JSON stands for."""
    return reasons(returns, answer if isinstance(answer, str) else dumps(answer))[0]


def typed(returns: Returns, answer: str | None, cast: str | None = None) -> dict[str, Any]:
    """Return the typed columns of an answer, by name; `cast` is the type to read them as."""
    columns = returns.typed_sql("a.content")
    sql = ", ".join(f"({sql}){f'::{cast}' if cast else ''}" for _, sql in columns)
    row = connection().execute(f"SELECT {sql} FROM (SELECT ?::VARCHAR AS content) a", [answer]).fetchall()[0]
    return dict(zip([name for name, _ in columns], row, strict=True))


def types(returns: Returns) -> list[str]:
    """Return the types that DuckDB gives the columns."""
    sql = ", ".join(f"{sql} AS c{i}" for i, (_, sql) in enumerate(returns.typed_sql("content")))
    return [row[1] for row in connection().execute(f"DESCRIBE SELECT {sql} FROM (SELECT '' AS content)").fetchall()]


def same_type(sql: str) -> str:
    """Return a type as DuckDB prints it."""
    return str(connection().execute(f"SELECT typeof(NULL::{sql})").fetchall()[0][0])


def schema_of(returns: Returns) -> dict[str, Any]:
    """Return the schema of columns, which must be a valid one, and one that strict mode takes."""
    schema = returns.json_schema()
    assert schema is not None
    Draft202012Validator.check_schema(schema)
    assert list(strict_faults(schema)) == []
    return schema


def property_of(returns: Returns, name: str = "x") -> dict[str, Any]:
    """Return the schema of one column."""
    found: dict[str, Any] = schema_of(returns)["properties"][name]
    return found


def is_valid(returns: Returns, answer: str) -> bool:
    """Tell whether an independent validator takes an answer by the schema."""
    return bool(Draft202012Validator(schema_of(returns)).is_valid(json.loads(answer)))


def dumps(value: Any) -> str:
    """Return JSON as a model writes it."""
    return json.dumps(value, ensure_ascii=False)


# Imported by name, for it has no types.
Draft202012Validator: Any = importlib.import_module("jsonschema").Draft202012Validator

STRING_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
KEYWORDS = {
    "string": {"pattern", "format"},
    "number": {"multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"},
    "integer": {"multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"},
    "boolean": set[str](),
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties"},
}


def strict_faults(schema: dict[str, Any]) -> Iterator[str]:
    """Yield where a schema leaves the strict subset, as the provider documents it."""
    if schema.get("type") != "object" or "anyOf" in schema:
        yield "the root is not an object"
    yield from _faults(schema, "$", 0)
    parts = list(_parts(schema))
    enums = [part["enum"] for part in parts if "enum" in part]
    names = [name for part in parts for name in part.get("properties", ())]
    if len(names) > 5000:
        yield "more than 5,000 properties"
    if sum(map(len, enums)) > 1000:
        yield "more than 1,000 enum values"
    if sum(map(len, names)) + sum(len(str(value)) for enum in enums for value in enum) > 120_000:
        yield "more than 120,000 characters"
    if any(len(enum) > 250 and sum(len(str(value)) for value in enum) > 15_000 for enum in enums):
        yield "a large enum of more than 15,000 characters"


def _parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for part in [*schema.get("properties", {}).values(), *schema.get("anyOf", ()), schema.get("items")]:
        if part is not None:
            yield from _parts(part)


def _faults(schema: dict[str, Any], path: str, level: int) -> Iterator[str]:
    if "anyOf" in schema:
        if schema.keys() - {"anyOf", "description"}:
            yield f"{path}: keywords beside anyOf"
        for part in schema["anyOf"]:
            if part != {"type": "null"}:
                yield from _faults(part, path, level)
        return
    kind, *others = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if others not in ([], ["null"]) or (others and kind in {"object", "array"}):
        yield f"{path}: type {schema['type']}"
    if schema.keys() - {"type", "description", "enum"} - KEYWORDS[kind]:
        yield f"{path}: {schema.keys()}"
    if schema.get("format", "date") not in STRING_FORMATS:
        yield f"{path}: format {schema['format']}"
    if "enum" in schema and (not schema["enum"] or (None in schema["enum"]) != ("null" in others)):
        yield f"{path}: enum {schema['enum']}"
    if kind in {"object", "array"}:
        yield from _faults_inside(schema, path, level)


def _faults_inside(schema: dict[str, Any], path: str, level: int) -> Iterator[str]:
    if level > 10:
        yield f"{path}: deeper than 10 levels"
    if schema["type"] == "array":
        yield from _faults(schema["items"], f"{path}[]", level + 1)
        return
    if schema["required"] != list(schema["properties"]) or schema["additionalProperties"] is not False:
        yield f"{path}: an open object"
    for name, part in schema["properties"].items():
        yield from _faults(part, f"{path}.{name}", level + 1)

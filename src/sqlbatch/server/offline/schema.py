"""JSON Schemas as makers of values: every keyword of the strict subset, so that each value made is valid."""

from __future__ import annotations

import functools
import json
import marshal
import math
from typing import TYPE_CHECKING, Any

from sqlbatch.server.offline.leaves import number_maker, string_maker
from sqlbatch.server.offline.nodes import NOTHING, AnyOf, Array, Asked, InvalidSchema, Maker, Node, Object, Ref
from sqlbatch.server.offline.strict import check_strict
from sqlbatch.server.offline.values import Labels, Name, Numbers, guess_boolean

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlbatch.server.offline.text import Text


class Compiler:
    """Turns one JSON Schema into a maker of values."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._refs: dict[tuple[str, str], Ref] = {}

    def compile(self) -> Node:
        """Return the maker; raises InvalidSchema for a schema that no value, or none that we can make, is valid for."""
        node = self._node(self._root, "", "")
        nodes, queue = {id(node): node}, [node]
        while queue:
            for part in queue.pop().parts():
                if id(part) not in nodes:
                    nodes[id(part)] = part
                    queue.append(part)
        changed = True
        while changed:
            changed = False
            for one in nodes.values():
                measured = one.measure()
                if measured < one.height:
                    one.height, changed = measured, True
        if node.height == math.inf:
            raise InvalidSchema("no finite value is valid for this schema")
        return node

    def _node(self, schema: Any, name: str, description: str) -> Node:
        if schema is True or schema == {}:
            schema = {"type": "string"}
        if not isinstance(schema, dict):
            raise InvalidSchema(f"{json.dumps(schema)} is not a schema that allows a value")
        description = str(schema.get("description", description))
        if "$ref" in schema:
            return self._ref(str(schema["$ref"]), name)
        if "const" in schema:
            return Maker(lambda _asked, _optional: schema["const"])
        if "enum" in schema:
            return self._enum(schema)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._any_of(list(schema[keyword]), name, description)
        kind = schema.get("type") or self._implied_type(schema)
        if isinstance(kind, list):
            if len(kind) != 1:
                return self._any_of([{**schema, "type": one} for one in kind], name, description)
            kind = kind[0]
        return self._typed(kind, schema, name, description)

    @staticmethod
    def _implied_type(schema: dict[str, Any]) -> str:
        return "object" if "properties" in schema else "array" if "items" in schema else "string"

    def _typed(self, kind: str, schema: dict[str, Any], name: str, description: str) -> Node:
        if kind == "object":
            properties = schema.get("properties", {})
            nodes = {key: self._node(value, key, "") for key, value in properties.items()}
            return Object(nodes, frozenset(schema.get("required", ())))
        if kind == "array":
            return self._array(schema, name, description)
        named = Name(name, description)
        if kind == "string":
            return string_maker(schema, named)
        if kind in {"number", "integer"}:
            return number_maker(Numbers(schema, whole=kind == "integer"), named)
        if kind == "boolean":
            return Maker(lambda asked, _optional: guess_boolean(asked.text, named))
        if kind == "null":
            return Maker(lambda _asked, _optional: None)
        raise InvalidSchema(f"{json.dumps(kind)} is not a type")

    def _array(self, schema: dict[str, Any], name: str, description: str) -> Node:
        items = schema.get("items", {"type": "string"})
        if schema.get("maxItems", math.inf) < schema.get("minItems", 0):
            raise InvalidSchema("no list is as short as maxItems and as long as minItems")
        resolved = self._look_up(items["$ref"]) if isinstance(items, dict) and "$ref" in items else items
        kind = resolved.get("type") if isinstance(resolved, dict) else None
        named = Name(name, description)
        if isinstance(resolved, dict) and "enum" in resolved:
            ranked = Labels(list(resolved["enum"])).ranked
            offers: Callable[[Text], int] = lambda text: max(1, min(2, len(ranked(text))))  # noqa: E731
        elif kind in {"number", "integer"}:
            offers = lambda text: len(text.numbers)  # noqa: E731
        elif kind == "string" and named.kind == "keyword":
            offers = lambda text: len(text.labels if named.topical else text.keywords)  # noqa: E731
        elif kind == "string" and named.kind in {"person", "place", "title"}:
            offers = lambda text: max(1, len(text.names))  # noqa: E731
        elif kind == "string" and named.kind in {"date", "time", "number"}:
            field = {"date": "dates", "time": "times", "number": "numbers"}[named.kind]
            offers = lambda text: len(getattr(text, field))  # noqa: E731
        else:
            offers = lambda _text: 1 if kind == "string" else 2  # noqa: E731
        return Array(self._node(items, name, description), schema, offers)

    def _any_of(self, schemas: list[Any], name: str, description: str) -> Node:
        nullable = [one for one in schemas if isinstance(one, dict) and one.get("type") == "null"]
        others = [self._node(one, name, description) for one in schemas if one not in nullable]
        return AnyOf(others, nullable=bool(nullable))

    def _enum(self, schema: dict[str, Any]) -> Node:
        values = schema["enum"]
        if not isinstance(values, list) or not values:
            raise InvalidSchema("enum must be a list of values")
        kinds = schema.get("type")
        allowed = [value for value in values if kinds is None or _has_type(value, kinds)]
        if not allowed:
            raise InvalidSchema("no value of the enum has the type")
        found = Labels(allowed)

        def make(asked: Asked, optional: bool) -> Any:
            ranked = found.ranked(asked.text)
            if ranked:
                return ranked[asked.turn % len(ranked)]
            if optional:
                return NOTHING
            if None in allowed:
                return None
            return found.fallback(asked.text) if not asked.turn else allowed[asked.turn % len(allowed)]

        return Maker(make)

    def _ref(self, pointer: str, name: str) -> Node:
        key = (pointer, name)
        if key not in self._refs:
            self._refs[key] = ref = Ref()
            ref.target = self._node(self._look_up(pointer), name, "")
        return self._refs[key]

    def _look_up(self, pointer: str) -> Any:
        if not pointer.startswith("#"):
            raise InvalidSchema(f"the reference {pointer} leads outside the schema")
        found: Any = self._root
        for part in pointer[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, dict) and key in found:
                found = found[key]
            else:
                raise InvalidSchema(f"the reference {pointer} leads nowhere")
        return found


def _has_type(value: object, kinds: object) -> bool:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
    name = names.get(type(value), "object")
    allowed = kinds if isinstance(kinds, list) else [kinds]
    return name in allowed or (name == "integer" and "number" in allowed)


@functools.lru_cache(maxsize=256)
def _compiled(frozen: bytes, strict: bool) -> Node | InvalidSchema:
    schema = marshal.loads(frozen)  # noqa: S302 - our own dump of parsed JSON, a few lines below
    try:
        if strict and (refusal := check_strict(schema)):
            return InvalidSchema(refusal)
        node = Compiler(schema).compile()
    except InvalidSchema as error:
        return error
    except (RecursionError, TypeError, ValueError, AttributeError, OverflowError) as error:
        return InvalidSchema(f"the schema cannot be read: {error}")
    return node


def make_value(schema: dict[str, Any], text: Text, *, strict: bool) -> Any:
    """Return a value for `text` that is valid for `schema`; raises InvalidSchema."""
    compiled = _compiled(marshal.dumps(schema), strict)
    if isinstance(compiled, InvalidSchema):
        raise compiled
    return compiled.make(Asked(text), False)

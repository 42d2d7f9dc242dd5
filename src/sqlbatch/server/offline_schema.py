"""JSON Schemas as makers of values: every keyword of the strict subset, so that each value made is valid."""

from __future__ import annotations

import functools
import itertools
import json
import marshal
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sqlbatch.server.offline_pattern import Pattern, UnknownConstruct
from sqlbatch.server.offline_strict import check_strict
from sqlbatch.server.offline_values import Labels, Name, Numbers, guess_boolean, guess_format, guess_text, labels, seed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlbatch.server.offline_text import Text

_DEEP = 3  # levels of recursion after which values are made as small as they may be
_ITEMS = 3  # items of a list where the schema leaves it open
_FORMATS = frozenset(["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"])


class InvalidSchema(ValueError):  # noqa: N818 - says what is invalid
    """The schema cannot be asked for; the message says why."""


class Nothing:
    """Stands for `the text says nothing about this` where null may be answered."""


NOTHING = Nothing()


class Asked:
    """The making of one answer: its text, how deep in a recursion it is, which item of a list, which numbers are used."""

    __slots__ = ("depth", "text", "turn", "used")

    def __init__(self, text: Text) -> None:
        self.text = text
        self.depth = 0
        self.turn = 0
        self.used = 0


class Node:
    """One schema. `height` is how many levels its smallest value has; infinite while no finite value is known."""

    height = 0.0

    def make(self, asked: Asked, optional: bool) -> Any:
        """Return a value; NOTHING is allowed when `optional` and the text says nothing."""
        raise NotImplementedError

    def parts(self) -> list[Node]:
        """Return the schemas inside."""
        return []

    def measure(self) -> float:
        """Return the height as far as those of the parts are known."""
        return 0.0


class Maker(Node):
    """A schema without parts, made by a function."""

    def __init__(self, make: Callable[[Asked, bool], Any]) -> None:
        self._make = make

    def make(self, asked: Asked, optional: bool) -> Any:
        """Return a value."""
        return self._make(asked, optional)


class Object(Node):
    """An object: its properties in the schema's order."""

    height = math.inf

    def __init__(self, properties: dict[str, Node], required: frozenset[str]) -> None:
        self._properties = properties
        self._required = required

    def make(self, asked: Asked, optional: bool) -> Any:  # noqa: ARG002
        """Return an object; properties that are not required are left out deep in a recursion."""
        deep = asked.depth > _DEEP
        return {
            name: node.make(asked, False)
            for name, node in self._properties.items()
            if name in self._required or (not deep and node.height < math.inf)
        }

    def parts(self) -> list[Node]:
        """Return the properties."""
        return list(self._properties.values())

    def measure(self) -> float:
        """Return one level more than the highest required property."""
        return 1 + max(
            (self._properties[name].height for name in self._required if name in self._properties), default=0
        )


class Array(Node):
    """A list; its length is bounded by the schema, by what the text offers, and by recursion."""

    height = math.inf

    def __init__(self, item: Node, schema: dict[str, Any], offers: Callable[[Text], int]) -> None:
        self._item = item
        self._least = max(0, int(schema.get("minItems", 0)))
        self._most = int(schema.get("maxItems", max(self._least, _ITEMS)))
        self._offers = offers
        self._unique = bool(schema.get("uniqueItems"))

    def make(self, asked: Asked, optional: bool) -> Any:  # noqa: ARG002
        """Return a list without repetitions where the text allows that."""
        wanted = max(self._least, min(self._offers(asked.text), self._most, max(self._least, _ITEMS)))
        if asked.depth > _DEEP or self._item.height == math.inf:
            wanted = self._least
        outer, made = asked.turn, list[Any]()
        for turn in itertools.count():
            if len(made) >= wanted or turn > 2 * wanted + 20:
                break
            asked.turn = outer + turn
            value = self._item.make(asked, False)
            if value not in made or (turn >= wanted and not self._unique):
                made.append(value)
        while len(made) < self._least:
            made.append(self._item.make(asked, False))
        asked.turn = outer
        return made

    def parts(self) -> list[Node]:
        """Return the item's schema."""
        return [self._item]

    def measure(self) -> float:
        """Return one level more than an item, where there must be one."""
        return 1 + (self._item.height if self._least else 0)


class AnyOf(Node):
    """One of several schemas; null only where the text says nothing."""

    height = math.inf

    def __init__(self, options: list[Node], *, nullable: bool) -> None:
        self._options = options
        self._nullable = nullable

    def make(self, asked: Asked, optional: bool) -> Any:
        """Return a value of the first schema that finds something; deep in a recursion, the smallest."""
        if asked.depth > _DEEP and (self._nullable or not self._options):
            return None
        options = [option for option in self._options if option.height < math.inf]
        if asked.depth > _DEEP:
            options = [min(options, key=lambda option: option.height)]
        for option in options:
            value = option.make(asked, True)
            if value is not NOTHING:
                return value
        if self._nullable:
            return None
        return NOTHING if optional else options[0].make(asked, False)

    def parts(self) -> list[Node]:
        """Return the schemas to choose from."""
        return self._options

    def measure(self) -> float:
        """Return the least height among the schemas; null has none."""
        return 0.0 if self._nullable else min((option.height for option in self._options), default=math.inf)


class Ref(Node):
    """A reference, bound once the whole schema is known."""

    height = math.inf

    def __init__(self) -> None:
        self.target: Node | None = None

    def make(self, asked: Asked, optional: bool) -> Any:
        """Return a value of the schema referred to, one level deeper."""
        if self.target is None:
            raise InvalidSchema("a reference leads nowhere")
        asked.depth += 1
        try:
            return self.target.make(asked, optional)
        finally:
            asked.depth -= 1

    def parts(self) -> list[Node]:
        """Return the schema referred to."""
        return [self.target] if self.target else []

    def measure(self) -> float:
        """Return one level more than the schema referred to."""
        return 1 + self.target.height if self.target else math.inf


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
            return _string(schema, named)
        if kind in {"number", "integer"}:
            return _number(Numbers(schema, whole=kind == "integer"), named)
        if kind == "boolean":
            return Maker(lambda asked, _optional: guess_boolean(asked.text, named))
        if kind == "null":
            return Maker(lambda _asked, _optional: None)
        raise InvalidSchema(f"{json.dumps(kind)} is not a type")

    def _array(self, schema: dict[str, Any], name: str, description: str) -> Node:
        items = schema.get("items", {"type": "string"})
        if schema.get("maxItems", 1) < schema.get("minItems", 0):
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
            offers = lambda text: len(labels(text, topical=named.topical))  # noqa: E731
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


def _string(schema: dict[str, Any], name: Name) -> Node:
    form = schema.get("format") if schema.get("format") in _FORMATS else None
    least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
    pattern = None
    if "pattern" in schema:
        try:
            pattern = Pattern(str(schema["pattern"]))
        except (UnknownConstruct, RecursionError) as error:
            raise InvalidSchema(f"the pattern {schema['pattern']} is not supported: {error}") from error
        made = pattern.make()
        if made is None:
            raise InvalidSchema(f"no text was found that matches the pattern {schema['pattern']}")

    def make(asked: Asked, optional: bool) -> Any:
        text = asked.text
        if form:
            value, found = guess_format(text, form)
            if optional and not found:
                return NOTHING
        else:
            value = guess_text(text, name, asked.turn)
        if pattern:
            suggestions = [value] if form else [value, *_suggestions(text, name, asked.turn)]
            fitting = pattern.find(suggestions, text.plain)
            if fitting is None and optional:
                return NOTHING
            value = made if fitting is None else fitting
        elif optional and not value:
            return NOTHING
        if most is not None and len(value) > most:
            value = value[:most].rstrip() if len(value[:most].rstrip()) >= least else value[:most]
        return value.ljust(least, ".") if len(value) < least else value

    return Maker(make)


def _suggestions(text: Text, name: Name, turn: int) -> list[str]:
    """Return what a pattern may be meant for: numbers with decimals, dates, times, words."""
    numbers = text.numbers[turn:] or text.numbers
    rounded = [
        f"{float(number):.{places}f}" for number in numbers[:3] if len(number) < 16 for places in (2, 1, 3, 4, 6)
    ]
    times = [part for time in text.times[:2] for part in (time, time[:5])]
    stamps = [
        f"{date}{between}{time}"
        for date in text.dates[:1]
        for time in text.times[:1] or ["00:00:00"]
        for between in "T "
    ]
    return [*numbers[:3], *rounded, *stamps, *text.dates[:3], *times, *text.keywords[:3], *sorted(name.stems)]


def _number(numbers: Numbers, name: Name) -> Node:
    def make(asked: Asked, optional: bool) -> Any:
        text = asked.text
        own = text.fields.get(name.key)
        candidates = [own] if own and own in text.numbers else text.numbers
        fitting = [number for one in candidates if numbers.fits(number := Fraction(one))]
        if fitting:
            value = fitting[(asked.used if len(fitting) > 1 else 0) % len(fitting)]
            asked.used += 1
            return numbers.shown(value)
        if optional and numbers.low is None:
            return NOTHING
        sentiment = text.sentiment
        share = 0.5 + 0.25 * max(-2, min(2, sentiment)) if sentiment else (seed(text) + asked.turn) % 100 / 100
        made = numbers.fallback(share)
        if made is None:
            raise InvalidSchema("no number keeps all of the schema's limits")
        return numbers.shown(made)

    return Maker(make)


@functools.lru_cache(maxsize=256)
def _compiled(frozen: bytes, strict: bool) -> Node | InvalidSchema:
    schema = marshal.loads(frozen)  # noqa: S302 - our own dump of parsed JSON, a few lines below
    try:
        if strict:
            refusal = check_strict(schema)
            if refusal:
                raise InvalidSchema(refusal)
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

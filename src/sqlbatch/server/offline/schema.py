"""A valid value for any JSON Schema, from what a text says; every keyword of the strict subset is kept."""

from __future__ import annotations

import functools
import json
import marshal
import math
import operator
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlbatch.server.offline.lexicon import UNDECIDED, indicators
from sqlbatch.server.offline.messages import count_schema_tokens
from sqlbatch.server.offline.patterns import read_pattern
from sqlbatch.server.offline.strict import InvalidSchema, check_strict
from sqlbatch.server.offline.text import FORMATS, Text, read_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.server.offline.text import Name

_DEEP = 3  # levels of recursion after which values are made as small as they may be
_ITEMS = 3  # items of a list where the schema leaves it open
_LONGEST = 100_000  # items or characters of a value; a schema that asks for more is refused or not kept
_LONGEST_WORD = 100  # characters of a word of the text that is tried against a pattern
_NOTHING = object()  # the text says nothing about this, where null may be answered
_LIMITS = {
    "minimum": operator.ge,
    "exclusiveMinimum": operator.gt,
    "maximum": operator.le,
    "exclusiveMaximum": operator.lt,
}
_HOLDERS = {"properties": "object", "items": "array"}
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null", list: "array"}


class Maker:
    """Makes values for one schema; `make` is the one recursive function."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.tokens = count_schema_tokens(root)
        self._root = root
        # How many references deep the smallest value of each reference goes; none are known at first.
        self._levels = dict.fromkeys((str(found["$ref"]) for found in _schemas(root) if "$ref" in found), math.inf)
        self._enums: dict[int, _Enum] = {}
        for _ in range(len(self._levels)):
            self._levels = {pointer: 1 + self._smallest(self._look_up(pointer)) for pointer in self._levels}
        if self._smallest(root) == math.inf:
            raise InvalidSchema("no finite value is valid for this schema")

    def answer(self, text: Text) -> Any:
        """Return the value for one text."""
        return self.make(self._root, _State(text), "", "")

    def make(  # noqa: PLR0911, PLR0912 - one branch for each kind of schema
        self, schema: Any, state: _State, name: str, about: str, optional: bool = False
    ) -> Any:
        """Return a value of `schema`, a property called `name`; _NOTHING is allowed when `optional`."""
        if schema is True or schema == {}:
            schema = {"type": "string"}
        if not isinstance(schema, dict):
            raise InvalidSchema(f"{json.dumps(schema)} is not a schema that allows a value")
        about = schema.get("description", about)
        if "$ref" in schema:
            state.depth += 1
            made = self.make(self._look_up(schema["$ref"]), state, name, "", optional)
            state.depth -= 1
            return made
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._one_of(schema, state, optional)
        options = schema.get("anyOf") or schema.get("oneOf")
        kind = schema.get("type") or next((_HOLDERS[key] for key in _HOLDERS if key in schema), "string")
        if isinstance(kind, list):
            options = [{**schema, "type": one} for one in kind]
        if options:
            return self._any_of(options, state, name, about, optional)
        if kind == "object":
            required, deep = schema.get("required", ()), state.depth > _DEEP
            return {
                key: self.make(value, state, key, "")
                for key, value in schema.get("properties", {}).items()
                if key in required or not (deep or self._smallest(value) == math.inf)
            }
        if kind == "array":
            return self._list(schema, state, name, about)
        if kind == "null":
            return None
        asked = read_name(name, str(about))
        if kind == "boolean":
            stems = state.text.stems
            return bool(asked.stems & stems) or len(asked.told & stems) >= 2
        if kind in {"number", "integer"}:
            return _number(schema, state, asked, optional, whole=kind == "integer")
        if kind == "string":
            return self._string(schema, state, asked, optional)
        raise InvalidSchema(f"{json.dumps(kind)} is not a type")

    def _any_of(self, options: list[Any], state: _State, name: str, about: str, optional: bool) -> Any:
        """Return a value of the first schema that finds something, else null; deep in a recursion, the smallest."""
        nullable = any(isinstance(one, dict) and one.get("type") == "null" for one in options)
        if state.depth > _DEEP and nullable:
            return None
        others = [one for one in options if not (isinstance(one, dict) and one.get("type") == "null")]
        possible = [one for one in others if self._smallest(one) < math.inf]
        if state.depth > _DEEP:
            possible = sorted(possible, key=self._smallest)[:1]
        for option in possible:
            made = self.make(option, state, name, about, True)
            if made is not _NOTHING:
                return made
        return None if nullable else _NOTHING if optional else self.make(possible[0], state, name, about)

    def _list(self, schema: dict[str, Any], state: _State, name: str, about: str) -> list[Any]:
        """Return a list without repetitions where the text allows that, as long as the schema and the text allow."""
        items = schema.get("items", {"type": "string"})
        least, most = max(0, int(schema.get("minItems", 0))), schema.get("maxItems", math.inf)
        if most < least or least > _LONGEST:
            raise InvalidSchema("no list is as short as maxItems and as long as minItems")
        wanted = least
        if state.depth <= _DEEP and self._smallest(items) < math.inf:
            wanted = max(least, min(self._offered(items, state, name, about), most, max(least, _ITEMS)))
        outer, made = state.turn, list[Any]()
        for turn in range(2 * wanted + 21):
            if len(made) >= wanted:
                break
            state.turn = outer + turn
            value = self.make(items, state, name, about)
            if value not in made or (turn >= wanted and not schema.get("uniqueItems")):
                made.append(value)
        while len(made) < least:
            made.append(self.make(items, state, name, about))
        state.turn = outer
        return made

    def _offered(self, items: Any, state: _State, name: str, about: str) -> int:
        """Return how many items the text offers for a list."""
        while isinstance(items, dict) and "$ref" in items:
            items = self._look_up(items["$ref"])
        if not isinstance(items, dict):
            return 1
        if "enum" in items:
            return max(1, min(2, len(self._enum(items).ranked(state.text))))
        if items.get("type") in {"number", "integer"}:
            return len(state.text.numbers)
        if items.get("type") == "string":
            asked = read_name(name, str(about))
            if asked.kind in {"topic", "keyword", "date", "time", "number"}:
                return len(state.text.told(asked))
            return max(1, len(state.text.names)) if asked.kind in {"person", "place", "title"} else 1
        return 2

    def _one_of(self, schema: dict[str, Any], state: _State, optional: bool) -> Any:
        known = self._enum(schema)
        ranked = known.ranked(state.text)
        if ranked:
            return ranked[state.turn % len(ranked)]
        if optional:
            return _NOTHING
        if None in known.values:
            return None
        return (
            known.values[(known.undecided if known.undecided is not None else state.text.seed) % len(known.values)]
            if not state.turn
            else known.values[state.turn % len(known.values)]
        )

    def _enum(self, schema: dict[str, Any]) -> _Enum:
        if id(schema) not in self._enums:  # the schema lives as long as this maker
            self._enums[id(schema)] = _Enum(schema)
        return self._enums[id(schema)]

    def _string(self, schema: dict[str, Any], state: _State, asked: Name, optional: bool) -> Any:
        text, form = state.text, schema.get("format")
        if form in FORMATS:
            value, found = text.in_format(form)
        else:
            value = text.say(asked, state.turn)
            found = bool(value)
        if "pattern" in schema:
            pattern = read_pattern(str(schema["pattern"]))
            fitting = pattern.find(
                [value] if form in FORMATS else chain([value], _suggestions(text, asked, state.turn))
            )
            value, found = fitting or pattern.made, fitting is not None
        if optional and not found:
            return _NOTHING
        return value[: schema.get("maxLength")].ljust(min(schema.get("minLength", 0), _LONGEST), ".")

    def _smallest(self, schema: Any) -> float:
        """Return how many references deep the smallest value of a schema goes; infinite where it has no end."""
        if not self._levels or not isinstance(schema, dict) or "const" in schema or "enum" in schema:
            return 0.0
        if "$ref" in schema:
            return self._levels.get(str(schema["$ref"]), math.inf)
        if options := schema.get("anyOf") or schema.get("oneOf"):
            return min(map(self._smallest, options))
        if isinstance(schema.get("type"), list) and not {"object", "array"}.issuperset(schema["type"]):
            return 0.0
        if schema.get("minItems"):
            return self._smallest(schema.get("items"))
        properties = schema.get("properties", {})
        return max((self._smallest(properties.get(name)) for name in schema.get("required", ())), default=0.0)

    def _look_up(self, pointer: Any) -> Any:
        """Return the schema that a reference within the schema leads to."""
        found: Any = self._root
        if not isinstance(pointer, str) or not pointer.startswith("#"):
            raise InvalidSchema(f"the reference {pointer} leads outside the schema")
        for part in pointer[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, dict) and key in found:
                found = found[key]
            else:
                raise InvalidSchema(f"the reference {pointer} leads nowhere")
        return found


class _State:
    """The making of one answer: its text, the depth of recursion, which item of a list, which numbers are used."""

    __slots__ = ("depth", "text", "turn", "used")

    def __init__(self, text: Text) -> None:
        self.text = text
        self.depth = 0
        self.turn = 0
        self.used: set[Fraction] = set()


class _Enum:
    """The values of an enum, to choose the best-matching one."""

    def __init__(self, schema: dict[str, Any]) -> None:
        values, kinds = schema["enum"], schema.get("type")
        if not isinstance(values, list) or not values:
            raise InvalidSchema("enum must be a list of values")
        allowed = kinds if isinstance(kinds, list) else [kinds]
        self.values = [value for value in values if kinds is None or _type_of(value, allowed)]
        if not self.values:
            raise InvalidSchema("no value of the enum has the type")
        self._speaking = [indicators(value) if isinstance(value, str) else frozenset() for value in self.values]
        undecided = (n for n, v in enumerate(self.values) if isinstance(v, str) and v.strip().lower() in UNDECIDED)
        self.undecided = next(undecided, None)

    def ranked(self, text: Text) -> list[Any]:
        """Return the values that something in the text speaks for, the best first."""
        scores = [len(speaking & text.stems) for speaking in self._speaking]
        for number, value in enumerate(self.values):
            if isinstance(value, str) and len(value) > 1 and scores[number] and value.lower() in text.raw.lower():
                scores[number] += 2
            elif not isinstance(value, str | bool) and value is not None and str(value) in text.numbers:
                scores[number] += 1
        return [self.values[n] for n in sorted(range(len(scores)), key=lambda n: -scores[n]) if scores[n]]


def _suggestions(text: Text, asked: Name, turn: int) -> Iterator[str]:
    """Yield what a pattern may be meant for: numbers with decimals, dates, times, words."""
    numbers = (text.numbers[turn:] or text.numbers)[:3]
    yield from numbers
    yield from (f"{float(number):.{places}f}" for number in numbers if len(number) < 16 for places in (2, 1, 3, 4, 6))
    for date in text.dates[:1]:
        yield from (f"{date}{between}{time}" for time in text.times[:1] or ["00:00:00"] for between in "T ")
    yield from text.dates[:3]
    yield from (part for time in text.times[:2] for part in (time, time[:5]))
    yield from text.keywords[:3]
    yield from sorted(asked.stems)
    yield from (word.strip(".,;:!?()\"'")[:_LONGEST_WORD] for word in text.plain.split())


def _number(schema: dict[str, Any], state: _State, asked: Name, optional: bool, *, whole: bool) -> int | float:
    """Return a number of the text that keeps the schema's limits, else one between them."""
    limits = {key: limit for key in _LIMITS if (limit := _exact(schema.get(key))) is not None}
    step = _exact(schema.get("multipleOf")) or None
    if whole:
        step = Fraction(step.numerator) if step else Fraction(1)  # the smallest whole number that is a multiple

    def fits(number: Fraction) -> bool:
        kept = all(_LIMITS[key](number, limit) for key, limit in limits.items())
        return kept and (step is None or (number / step).denominator == 1)

    text = state.text
    own = text.fields.get(asked.key)
    found = [number for number in ([Fraction(own)] if own and own in text.numbers else text.values) if fits(number)]
    if asked.money:  # prices are written with decimals more often than other numbers are
        decimals = {Fraction(number) for number in text.numbers if "." in number}
        found.sort(key=lambda number: number not in decimals)
    low = max((limits[key] for key in ("minimum", "exclusiveMinimum") if key in limits), default=None)
    high = min((limits[key] for key in ("maximum", "exclusiveMaximum") if key in limits), default=None)
    if found:
        value = next((number for number in found if number not in state.used), found[0])
        state.used.add(value)
    elif optional and low is None:
        return _NOTHING  # type: ignore[return-value]
    else:
        mood = max(-2, min(2, text.sentiment))
        share = Fraction(mood + 2, 4) if mood else Fraction((text.seed + state.turn) % 100, 100)
        start = low + (high - low) * share if low is not None and high is not None else Fraction(0)
        width = step or ((high - low) / 100 if low is not None and high is not None and high > low else Fraction(1))
        near = [start, *(limit for limit in (low, high) if limit is not None)]
        around = [(one / width).__floor__() * width + turn * width for one in near for turn in (0, 1, 2, -1)]
        value = next((one for one in (*near, *around) if fits(one)), None)  # type: ignore[assignment]
        if value is None:
            raise InvalidSchema("no number keeps all of the schema's limits")
    return value.numerator if value.denominator == 1 else float(value)


def _exact(value: object) -> Fraction | None:
    return Fraction(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _type_of(value: object, allowed: list[Any]) -> bool:
    name = _TYPES.get(type(value), "object")
    return name in allowed or (name == "integer" and "number" in allowed)


def _schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every object inside a schema."""
    if isinstance(schema, dict):
        yield schema
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from _schemas(part)


@functools.lru_cache(maxsize=256)
def _maker(frozen: bytes, strict: bool) -> Maker | InvalidSchema:
    schema = marshal.loads(frozen)  # noqa: S302 - our own dump of parsed JSON, a few lines below
    try:
        if strict and (refusal := check_strict(schema)):
            return InvalidSchema(refusal)
        return Maker(schema)
    except InvalidSchema as error:
        return error


def make_value(schema: dict[str, Any], text: Text, *, strict: bool) -> tuple[Any, int]:
    """Return a value for `text` that is valid for `schema`, and the schema's tokens; raises InvalidSchema."""
    try:
        maker = _maker(marshal.dumps(schema), strict)
        if isinstance(maker, InvalidSchema):
            raise maker
        return maker.answer(text), maker.tokens
    except (RecursionError, TypeError, ValueError, AttributeError, OverflowError, KeyError) as error:
        if isinstance(error, InvalidSchema):
            raise
        raise InvalidSchema(f"the schema cannot be read: {error}") from error

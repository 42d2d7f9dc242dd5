"""A valid value for any JSON Schema, from what a text says; every keyword of the strict subset is kept."""

from __future__ import annotations

import functools
import json
import marshal
import math
import operator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sqlbatch.server.offline.lexicon import UNDECIDED, indicators
from sqlbatch.server.offline.patterns import read_pattern
from sqlbatch.server.offline.text import FORMATS, Text, read_name
from sqlbatch.server.offline.tokens import count_schema_tokens
from sqlbatch.server.strict_schema import InvalidSchema, check_strict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.server.offline.text import Name

_DEEP = 3  # levels of recursion after which values are made as small as they may be
_ITEMS = 3  # items of a list where the schema leaves it open
_LONGEST = 100_000  # items or characters of a value; a schema that asks for more is refused or not kept
_ANYTHING = {"type": "string"}  # what a schema without a keyword gives
_NOTHING: Any = object()  # the text says nothing about this, where null may be answered
_LIMITS = {
    "minimum": operator.ge,
    "exclusiveMinimum": operator.gt,
    "maximum": operator.le,
    "exclusiveMaximum": operator.lt,
}
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null", list: "array"}


class Maker:
    """Makes values for one schema; `make` is the one recursive function."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.tokens = count_schema_tokens(root)
        self._root = root
        # The schemas of one type each that a schema of several types stands for, by its identity.
        self._of_kinds: dict[int, list[dict[str, Any]]] = {}
        # How many references deep the smallest value of each reference goes; none are known at first.
        self._levels = dict.fromkeys((str(found["$ref"]) for found in _schemas(root) if "$ref" in found), math.inf)
        for _ in range(len(self._levels)):
            self._levels = {pointer: 1 + self._smallest(self._look_up(pointer)) for pointer in self._levels}
        if self._smallest(root) == math.inf:
            raise InvalidSchema("no finite value is valid for this schema")

    def answer(self, text: Text) -> Any:
        """Return the value for one text."""
        return self.make(self._root, text, "", "", 0, 0)

    def make(
        self, schema: Any, text: Text, name: str, about: str, depth: int, turn: int, optional: bool = False
    ) -> Any:
        """Return a value of `schema`, a property called `name`; _NOTHING is allowed when `optional`.

        `depth` counts references, `turn` the items of a list.
        """
        if schema is True or schema == {}:
            schema = _ANYTHING
        if not isinstance(schema, dict):
            raise InvalidSchema(f"{json.dumps(schema)} is not a schema that allows a value")
        if "$ref" in schema:
            return self.make(self._look_up(schema["$ref"]), text, name, "", depth + 1, turn, optional)
        if "const" in schema:
            return schema["const"]
        about = str(schema.get("description", about))
        holds = "object" if "properties" in schema else "array" if "items" in schema else "string"
        kind = schema.get("type", holds)
        options = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(kind, list) and "enum" not in schema:
            options = self._of_kinds.setdefault(id(schema), [{**schema, "type": one} for one in kind])
        if options:
            return self._any_of(options, text, name, about, depth, turn, optional)
        if kind == "object":
            required = schema.get("required", ())
            return {
                key: self.make(value, text, key, "", depth, turn)
                for key, value in schema.get("properties", {}).items()
                if key in required or not (depth > _DEEP or self._smallest(value) == math.inf)
            }
        if kind == "array":
            return self._list(schema, text, name, about, depth, turn)
        # The items of a list are made one by one, of the same values.
        key = (id(schema), name, about, optional)
        if key not in text.values:
            text.values[key] = _leaf(schema, kind, text, read_name(name, about), optional)
        found = text.values[key]
        return found[turn % len(found)]

    def _any_of(
        self, options: list[Any], text: Text, name: str, about: str, depth: int, turn: int, optional: bool
    ) -> Any:
        """Return a value of the first schema that finds something, else null; deep in a recursion, the smallest."""
        others = [one for one in options if not (isinstance(one, dict) and one.get("type") == "null")]
        nullable = len(others) < len(options)
        if depth > _DEEP and nullable:
            return None
        possible = [one for one in others if self._smallest(one) < math.inf]
        if depth > _DEEP:
            possible = sorted(possible, key=self._smallest)[:1]
        for option in possible:
            made = self.make(option, text, name, about, depth, turn, optional=True)
            if made is not _NOTHING:
                return made
        return None if nullable else _NOTHING if optional else self.make(possible[0], text, name, about, depth, turn)

    def _list(self, schema: dict[str, Any], text: Text, name: str, about: str, depth: int, turn: int) -> list[Any]:
        """Return as many different items as the text has, up to a few, within the schema's limits."""
        items = schema.get("items", _ANYTHING)
        least, most = max(0, int(schema.get("minItems", 0))), schema.get("maxItems", math.inf)
        if most < least or least > _LONGEST:
            raise InvalidSchema("no list is as short as maxItems and as long as minItems")
        small = depth > _DEEP or self._smallest(items) == math.inf
        wanted = least if small else min(most, max(least, _ITEMS))
        made: list[Any] = []
        for number in range(min(2 * wanted + 20, _LONGEST) if wanted else 0):
            value = self.make(items, text, name, about, depth, turn + number)
            if value not in made:
                made.append(value)
            elif len(made) >= least:
                break
            if len(made) == wanted:
                break
        return made + [self.make(items, text, name, about, depth, turn) for _ in range(least - len(made))]

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
        try:
            for part in pointer[1:].split("/")[1:]:
                key = part.replace("~1", "/").replace("~0", "~")
                found = found[int(key) if isinstance(found, list) else key]
        except (LookupError, ValueError, TypeError):
            raise InvalidSchema(f"the reference {pointer} leads nowhere") from None
        return found


def _leaf(schema: dict[str, Any], kind: Any, text: Text, asked: Name, optional: bool) -> list[Any]:
    """Return values of a schema without others inside, the best first."""
    nothing: list[Any] = [_NOTHING] if optional else []
    if "enum" in schema:
        return _ranked(schema, text) or nothing or [_unmatched(schema, text)]
    if kind == "null":
        return [None]
    if kind == "boolean":
        return [bool(asked.stems & text.stems) or len(asked.described & text.stems) > 1]
    if kind in {"number", "integer"}:
        return _numbers(schema, text, asked, optional, whole=kind == "integer")
    if kind != "string":
        raise InvalidSchema(f"{json.dumps(kind)} is not a type")
    form = schema.get("format")
    if form in FORMATS:
        said = text.in_format(form)
        found = [said] if said else nothing or [text.made_up(form)]
    else:
        found = text.of(asked) or ([text.first_sentence] if text.first_sentence else nothing or [""])
    if "pattern" in schema and found != [_NOTHING]:
        pattern = read_pattern(str(schema["pattern"]))
        found = (
            pattern.matching(found if form in FORMATS else [*found, *_suggestions(text)]) or nothing or [pattern.made]
        )
    least, most = min(schema.get("minLength", 0), _LONGEST), schema.get("maxLength")
    if not least and most is None:
        return found
    return [one if one is _NOTHING else one[:most].ljust(least, ".") for one in found]


def _ranked(schema: dict[str, Any], text: Text) -> list[Any]:
    """Return the values of an enum that something in the text speaks for, the best first."""
    scores = []
    for value in _values(schema):
        if isinstance(value, str):
            score = len(indicators(value) & text.stems)
            score += 2 * (len(value) > 1 and score > 0 and value.lower() in text.raw.lower())
        else:
            score = not isinstance(value, bool) and value is not None and str(value) in text.numbers
        scores.append((-score, value))
    return [value for score, value in sorted(scores, key=operator.itemgetter(0)) if score]


def _unmatched(schema: dict[str, Any], text: Text) -> Any:
    """Return the value of an enum for a text that speaks for none of them: null, neutral or the like, or any."""
    values = _values(schema)
    undecided = (value for value in values if isinstance(value, str) and value.strip().lower() in UNDECIDED)
    return None if None in values else next(undecided, values[text.seed % len(values)])


def _values(schema: dict[str, Any]) -> list[Any]:
    values, kinds = schema["enum"], schema.get("type")
    if not isinstance(values, list) or not values:
        raise InvalidSchema("enum must be a list of values")
    allowed = kinds if isinstance(kinds, list) else [kinds]
    if "number" in allowed:
        allowed = [*allowed, "integer"]
    found = [value for value in values if kinds is None or _TYPES.get(type(value), "object") in allowed]
    if not found:
        raise InvalidSchema("no value of the enum has the type")
    return found


def _suggestions(text: Text) -> Iterator[str]:
    """Yield what a pattern may be meant for: numbers with decimals, dates, words."""
    yield from text.numbers[:3]
    yield from (f"{float(number):.{places}f}" for number in text.numbers[:3] for places in range(1, 7))
    yield from text.dates[:3]
    yield from (word.strip(".,;:!?()\"'")[:100] for word in text.plain.split())


def _numbers(schema: dict[str, Any], text: Text, asked: Name, optional: bool, *, whole: bool) -> list[Any]:
    """Return the numbers of the text that keep the schema's limits, else one between them."""
    limits = {key: limit for key in _LIMITS if (limit := _exact(schema.get(key))) is not None}
    step = _exact(schema.get("multipleOf")) or None
    if whole:
        step = Fraction(step.numerator) if step else Fraction(1)  # the smallest whole number that is a multiple

    def fits(number: Fraction) -> bool:
        kept = all(_LIMITS[key](number, limit) for key, limit in limits.items())
        return kept and (step is None or (number / step).denominator == 1)

    own = text.fields.get(asked.key)
    found = [number for number in map(Fraction, [own] if own in text.numbers else text.numbers) if fits(number)]
    if not found and optional:
        return [_NOTHING]
    if not found:
        ends = [*limits.values(), Fraction(0)]
        middle = sum(ends[:-1], Fraction(0)) / max(1, len(limits))
        width = step or (max(ends[:-1]) - min(ends[:-1])) / 100 if limits else Fraction(1)
        width = width or Fraction(1)
        around = ((end / width).__floor__() * width + turn * width for end in ends for turn in (0, 1, 2, -1))
        found = [one for one in (middle, *ends, *around) if fits(one)][:1]
    if not found:
        raise InvalidSchema("no number keeps all of the schema's limits")
    return [number.numerator if number.denominator == 1 else float(number) for number in found]


def _exact(value: object) -> Fraction | None:
    return Fraction(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None


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

"""Makes a value for any JSON Schema from a text. The value is valid for every keyword of the strict subset."""

from __future__ import annotations

import functools
import json
import math
import operator
import zlib
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sqlbatch.server.offline.lexicon import UNDECIDED, label_stems
from sqlbatch.server.offline.patterns import read_pattern
from sqlbatch.server.offline.text import FORMATS, Text, read_property
from sqlbatch.server.offline.tokens import count_schema_tokens
from sqlbatch.server.strict_schema import InvalidSchema, check_strict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlbatch.server.offline.text import Property

_MAX_DEPTH = 3  # levels of references after which values are as small as the schema allows
_ITEMS = 3  # items of a list, unless the schema limits them; also the number of different objects or lists
_MAX_FOUND = 100  # values that are taken from a text for one property
_MAX_LENGTH = 100_000  # the longest list or string that is made
_ANYTHING = {"type": "string"}  # the schema used for a schema without keywords
_LIMITS = {
    "minimum": operator.ge,
    "exclusiveMinimum": operator.gt,
    "maximum": operator.le,
    "exclusiveMaximum": operator.lt,
}
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null", list: "array"}


class Maker:
    """Makes values for one schema; `values` is the one recursive function."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.tokens = count_schema_tokens(root)
        self._root = root
        # How many references deep the smallest value of each reference goes. Each round finds one level more.
        self._levels = dict.fromkeys(_references(root), math.inf)
        for _ in range(len(self._levels)):
            self._levels = {pointer: 1 + self._smallest(self._look_up(pointer)) for pointer in self._levels}
        if self._smallest(root) == math.inf:
            raise InvalidSchema("no finite value is valid for this schema")

    def answer(self, text: Text) -> Any:
        """Return the value for one text."""
        return self.values(self._root, text, read_property("", ""), 0)[0]

    def values(self, schema: Any, text: Text, wanted: Property, depth: int, *, optional: bool = False) -> list[Any]:
        """Return valid values for `schema`, which is the schema of the property `wanted`; the best value comes first.

        If the text suggests no value, return a default value, or an empty list if `optional`. `depth` is the number of
        references on the way to this schema.
        """
        if schema is True or schema == {}:
            schema = _ANYTHING
        if not isinstance(schema, dict):
            raise InvalidSchema(f"{json.dumps(schema)} is not a schema that allows a value")
        if "$ref" in schema:
            target = self._look_up(schema["$ref"])
            return self.values(target, text, read_property(wanted.name, ""), depth + 1, optional=optional)
        if "const" in schema:
            return [schema["const"]]
        if "description" in schema:
            wanted = read_property(wanted.name, str(schema["description"]))
        kind = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else "string")
        options = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(kind, list) and "enum" not in schema:
            options = [{**schema, "type": one} for one in kind]
        if options:
            return self._any_of(options, text, wanted, depth, optional=optional)
        if kind == "object":
            return self._objects(schema, text, depth)
        if kind == "array":
            return self._lists(schema, text, wanted, depth)
        return _leaves(schema, kind, text, wanted)[:_MAX_FOUND] or ([] if optional else [_default(schema, kind, text)])

    def _any_of(self, options: list[Any], text: Text, wanted: Property, depth: int, *, optional: bool) -> list[Any]:
        """Return values of the first schema that finds something in the text, otherwise null if it is allowed.

        Deep in a recursion, return null or values of the smallest schema.
        """
        schemas = [one for one in options if not (isinstance(one, dict) and one.get("type") == "null")]
        null = [None] if len(schemas) < len(options) else []
        possible = [one for one in schemas if self._smallest(one) < math.inf]
        if depth > _MAX_DEPTH:
            if null:
                return null
            possible = [min(possible, key=self._smallest)]
        for schema in possible:
            if found := self.values(schema, text, wanted, depth, optional=True):
                return found
        return null or ([] if optional else self.values(possible[0], text, wanted, depth))

    def _objects(self, schema: dict[str, Any], text: Text, depth: int) -> list[dict[str, Any]]:
        """Return objects: the first has the best value of each property, the second the second best, and so on."""
        found = {
            name: self.values(part, text, read_property(name, ""), depth)
            for name, part in schema.get("properties", {}).items()
            if name in schema.get("required", ()) or (depth <= _MAX_DEPTH and self._smallest(part) < math.inf)
        }
        count = min(_ITEMS, max(map(len, found.values()), default=1))
        return [{name: values[turn % len(values)] for name, values in found.items()} for turn in range(count)]

    def _lists(self, schema: dict[str, Any], text: Text, wanted: Property, depth: int) -> list[list[Any]]:
        """Return lists of a few different items within the schema's limits; each list starts with another item."""
        items = schema.get("items", _ANYTHING)
        least, most = max(0, int(schema.get("minItems", 0))), schema.get("maxItems", math.inf)
        if most < least or least > _MAX_LENGTH:
            raise InvalidSchema("no list is as short as maxItems and as long as minItems")
        small = depth > _MAX_DEPTH or self._smallest(items) == math.inf
        length = least if small else min(most, max(least, _ITEMS))
        if not length:
            return [[]]
        found = self.values(items, text, wanted, depth)
        different = [one for number, one in enumerate(found) if one not in found[:number]]
        lists = ((different[turn:] + different[:turn])[:length] for turn in range(min(_ITEMS, len(different))))
        return [one + one[:1] * (least - len(one)) for one in lists]

    def _smallest(self, schema: Any) -> float:
        """Return how many references deep the smallest value of a schema goes; infinite if it never ends."""
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
        """Return the part of the schema that a reference points to."""
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


def _leaves(schema: dict[str, Any], kind: Any, text: Text, wanted: Property) -> list[Any]:
    """Return the values that the text suggests for a schema with no other schema inside, the best first."""
    if "enum" in schema:
        return _ranked(_enum(schema), text)
    if kind == "null":
        return [None]
    if kind == "boolean":
        return [bool(wanted.stems & text.stems) or len(wanted.description_stems & text.stems) > 1]
    if kind in {"number", "integer"}:
        own = text.field(wanted.name)
        return _fitting(schema, kind, map(Fraction, [own] if own in text.numbers else text.numbers))
    if kind != "string":
        raise InvalidSchema(f"{json.dumps(kind)} is not a type")
    if schema.get("format") in FORMATS:
        found = suggestions = text.find_format(schema["format"])
    else:
        found = text.find(wanted) or ([text.first_sentence] if text.first_sentence else [])
        suggestions = [*found, *_suggestions(text)] if "pattern" in schema else []
    if "pattern" in schema:
        found = read_pattern(str(schema["pattern"])).matching(suggestions)
    return [_with_length(one, schema) for one in found]


def _default(schema: dict[str, Any], kind: str, text: Text) -> Any:
    """Return a value of such a schema for a text that suggests none."""
    if "enum" in schema:
        values = _enum(schema)
        undecided = (value for value in values if isinstance(value, str) and value.strip().lower() in UNDECIDED)
        any_value = values[zlib.crc32(text.raw.encode("utf-8", "surrogatepass")) % len(values)]
        return None if None in values else next(undecided, any_value)
    if kind in {"number", "integer"}:
        return _default_number(schema, kind)
    if "pattern" in schema:
        return _with_length(read_pattern(str(schema["pattern"])).made, schema)
    return _with_length(text.default_format(schema["format"]) if schema.get("format") in FORMATS else "", schema)


def _ranked(values: list[Any], text: Text) -> list[Any]:
    """Return the values of an enum that words or numbers of the text point to, the best first."""
    scores = []
    for value in values:
        if isinstance(value, str):
            score = len(label_stems(value) & text.stems)
            score += 2 * (len(value) > 1 and score > 0 and value.lower() in text.raw.lower())
        else:
            score = not isinstance(value, bool) and value is not None and str(value) in text.numbers
        scores.append((-score, value))
    return [value for score, value in sorted(scores, key=operator.itemgetter(0)) if score]


def _enum(schema: dict[str, Any]) -> list[Any]:
    """Return the values of an enum that are of the schema's types."""
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
    """Yield texts that a pattern may match: numbers, numbers with decimal places, dates, words."""
    yield from text.numbers[:3]
    yield from (f"{float(number):.{places}f}" for number in text.numbers[:3] for places in range(1, 7))
    yield from text.dates[:3]
    yield from (word.strip(".,;:!?()\"'")[:100] for word in text.plain.split())


def _with_length(text: str, schema: dict[str, Any]) -> str:
    return text[: schema.get("maxLength")].ljust(min(schema.get("minLength", 0), _MAX_LENGTH), ".")


def _step(schema: dict[str, Any], kind: str) -> Fraction | None:
    """Return the number that each value must be a multiple of, if there is one."""
    step = _exact(schema.get("multipleOf")) or None
    return Fraction(step.numerator if step else 1) if kind == "integer" else step


def _fitting(schema: dict[str, Any], kind: str, numbers: Iterable[Fraction]) -> list[int | float]:
    """Return the numbers that are within the schema's limits."""
    limits = [(keeps, limit) for key, keeps in _LIMITS.items() if (limit := _exact(schema.get(key))) is not None]
    step = _step(schema, kind)
    fitting = (number for number in numbers if all(keeps(number, limit) for keeps, limit in limits))
    found = [number for number in fitting if step is None or (number / step).denominator == 1]
    return [number.numerator if number.denominator == 1 else float(number) for number in found]


def _default_number(schema: dict[str, Any], kind: str) -> int | float:
    """Return a number within the schema's limits, near their middle."""
    lower, upper = (
        [limit for key in keys if (limit := _exact(schema.get(key))) is not None]
        for keys in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum"))
    )
    ends = [*sorted(lower)[-1:], *sorted(upper)[:1]]
    middle = sum(ends, Fraction(0)) / max(1, len(ends))
    step = _step(schema, kind) or Fraction(1)
    multiples = [(middle // step + turn) * step for turn in (0, 1, -1)]
    found = _fitting(schema, kind, [middle, *ends, Fraction(0), *multiples])
    if not found:
        raise InvalidSchema("no number keeps all of the schema's limits")
    return found[0]


def _exact(value: object) -> Fraction | None:
    return Fraction(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _references(schema: Any) -> set[str]:
    """Return the references anywhere inside a schema."""
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    own = {str(schema["$ref"])} if isinstance(schema, dict) and "$ref" in schema else set[str]()
    return own.union(*map(_references, parts))


@functools.lru_cache(maxsize=256)
def _maker(schema_text: str, strict: bool) -> Maker:
    schema = json.loads(schema_text)
    if strict and (refusal := check_strict(schema)):
        raise InvalidSchema(refusal)
    return Maker(schema)


def make_value(schema: dict[str, Any], text: Text, *, strict: bool) -> tuple[Any, int]:
    """Return a value for `text` that is valid for `schema`, and the schema's tokens; raises InvalidSchema."""
    try:
        maker = _maker(json.dumps(schema), strict)
        return maker.answer(text), maker.tokens
    except InvalidSchema:
        raise
    except (RecursionError, TypeError, ValueError, AttributeError, OverflowError, KeyError) as error:
        raise InvalidSchema(f"the schema cannot be read: {error}") from error

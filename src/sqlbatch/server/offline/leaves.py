"""Makers of single strings and numbers."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sqlbatch.server.offline.nodes import NOTHING, Asked, InvalidSchema, Maker, Node
from sqlbatch.server.offline.pattern import Pattern, UnknownConstruct
from sqlbatch.server.offline.values import Name, Numbers, guess_format, guess_text, seed

if TYPE_CHECKING:
    from sqlbatch.server.offline.text import Text

_FORMATS = frozenset(["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"])


def string_maker(schema: dict[str, Any], name: Name) -> Node:
    """Return the maker of a string with its format, pattern and lengths; raises InvalidSchema."""
    form = schema.get("format") if schema.get("format") in _FORMATS else None
    least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
    pattern, made = None, ""
    if "pattern" in schema:
        try:
            pattern = Pattern(str(schema["pattern"]))
        except (UnknownConstruct, RecursionError) as error:
            raise InvalidSchema(f"the pattern {schema['pattern']} is not supported: {error}") from error
        found_text = pattern.make()
        if found_text is None:
            raise InvalidSchema(f"no text was found that matches the pattern {schema['pattern']}")
        made = found_text

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


def number_maker(numbers: Numbers, name: Name) -> Node:
    """Return the maker of a number within its limits."""

    def make(asked: Asked, optional: bool) -> Any:
        text = asked.text
        own = text.fields.get(name.key)
        candidates = [Fraction(own)] if own and own in text.numbers else text.exact_numbers
        fitting = [number for number in candidates if numbers.fits(number)]
        if name.money:  # prices are written with decimals more often than other numbers are
            fitting.sort(key=lambda number: number not in text.decimals)
        if fitting:
            value = next((number for number in fitting if number not in asked.used), fitting[0])
            asked.used.add(value)
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

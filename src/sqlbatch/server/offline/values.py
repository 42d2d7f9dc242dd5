"""The offline model's guesses for single values, from the text and the name of what is asked."""

from __future__ import annotations

import re
import uuid
import zlib
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sqlbatch.server.offline.lexicon import STOPWORDS, UNDECIDED, indicators, stem, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.server.offline.text import Text

_NAME_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_HOST = re.compile(r"\b(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}\b", re.IGNORECASE)
_IPV4 = re.compile(r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b")
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s\"'<>]+")
_SPAN = re.compile(r"\b(\d{1,4})\s*(?:-\s*)?(second|sec|minute|min|hour|hr|day|week|month|year)s?\b", re.IGNORECASE)
_UNITS = {
    "sec": "T{}S",
    "min": "T{}M",
    "hou": "T{}H",
    "hr": "T{}H",
    "day": "{}D",
    "wee": "{}W",
    "mon": "{}M",
    "yea": "{}Y",
}

_KINDS = {
    "summary": words(
        "summary overview description caption abstract synopsis text content sentence plot gist alt answer response"
    ),
    "keyword": words(
        """keyword keywords tag tags category categories genre genres topic topics theme themes subject subjects label
        labels"""
    ),
    "title": words("title headline heading name product"),
    "sentiment": words("sentiment mood tone polarity"),
    "reason": words("reason reasons reasoning explanation rationale why justification evidence because"),
    "language": words("language lang"),
    "person": words("person people character characters author director actor actors protagonist hero"),
    "place": words("place city country location setting region"),
    "date": words("date day born released published"),
    "time": words("time clock"),
    "number": words("price amount cost total number quantity year age"),
    "email": words("email mail"),
    "url": words("url link website"),
}
_KIND_OF = {word: kind for kind, known in _KINDS.items() for word in known}
_MONEY = words("price cost amount total sum fee")
_TOPICAL = words("category categories genre genres topic topics theme themes")
_PLACE = re.compile(r"\b(?:in|at|near|from|to)\s+((?:[A-Z][\w'\u2019-]+\s?){1,3})")


class Name:
    """The name of a property, with what it and its description say about the wanted value."""

    def __init__(self, name: str, description: str = "") -> None:
        self.words = [word.lower() for word in _NAME_PART.findall(name)]
        told = [word.lower() for word in _NAME_PART.findall(description)]
        named = [_KIND_OF[word] for word in reversed(self.words) if word in _KIND_OF]
        self.kind = (named or [_KIND_OF[word] for word in told if word in _KIND_OF] or [""])[0]
        self.topical = any(word in _TOPICAL for word in self.words) or (not named and any(w in _TOPICAL for w in told))
        skipped = STOPWORDS | {"is", "has", "mentions", "contains", "true", "false", "whether", "if"}
        self.stems = frozenset(stem(word) for word in self.words if word not in skipped)
        self.told = frozenset(stem(word) for word in told if word not in skipped)
        self.key = name.lower()
        self.money = not _MONEY.isdisjoint(self.words)


def guess_text(text: Text, name: Name, turn: int = 0) -> str:
    """Return the text that fits a name best; `turn` counts the items of a list."""
    kind = name.kind
    own = text.fields.get(name.key)
    if own and not turn and kind != "keyword":
        return own
    if kind == "keyword":
        found = text.labels if name.topical else text.keywords
    elif kind == "title":
        found = [text.title, *text.names]
    elif kind == "sentiment":
        found = ["positive" if text.sentiment > 0 else "negative" if text.sentiment < 0 else "neutral"]
    elif kind == "reason":
        found = ["The text mentions " + _listed(text.keywords[:3]) + "."] if text.keywords else []
    elif kind == "language":
        found = ["English" if sum(word in STOPWORDS for word in text.words) * 5 >= len(text.words) else "unknown"]
    elif kind == "person":
        found = text.names
    elif kind == "place":
        found = [" ".join(place.split()) for place in _PLACE.findall(text.plain)] or text.names[::-1]
    elif kind in {"date", "time", "number"}:
        found = {"date": text.dates, "time": text.times, "number": text.numbers}[kind]
    elif kind in {"email", "url"}:
        found = [guess_format(text, "email" if kind == "email" else "uri")[0]]
    else:
        found = []
    if not found and (turn or kind in {"person", "place"}):
        found = text.keywords
    return found[turn % len(found)] if found else text.first_sentence


def _listed(found: Sequence[str]) -> str:
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"


def seed(text: Text) -> int:
    """Return a number that depends on the text alone."""
    return zlib.crc32(text.raw.encode("utf-8", "surrogatepass"))


class Labels:
    """The values of an enum, to choose the best-matching one."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values
        self._indicators = [indicators(value) if isinstance(value, str) else frozenset() for value in values]
        self._undecided = next((v for v in values if isinstance(v, str) and v.strip().lower() in UNDECIDED), None)

    def ranked(self, text: Text) -> list[Any]:
        """Return the values that something in the text speaks for, the best first."""
        stems = text.stems
        scores = [len(speaking & stems) for speaking in self._indicators]
        for number, value in enumerate(self.values):
            if isinstance(value, str) and len(value) > 1 and scores[number] and value.lower() in text.raw.lower():
                scores[number] += 2
            elif not isinstance(value, str | bool) and value is not None and str(value) in text.numbers:
                scores[number] += 1
        found = [number for number in range(len(scores)) if scores[number]]
        return [self.values[number] for number in sorted(found, key=lambda number: -scores[number])]

    def fallback(self, text: Text) -> Any:
        """Return the value for a text that speaks for none: an undecided one where there is one."""
        return self._undecided if self._undecided is not None else self.values[seed(text) % len(self.values)]


def guess_boolean(text: Text, name: Name) -> bool:
    """Return whether the text has a word of the property's name, or two of its description."""
    return bool(name.stems & text.stems) or len(name.told & text.stems) >= 2


class Numbers:
    """The limits of a number in JSON Schema, and the number of a text that keeps them."""

    def __init__(self, schema: dict[str, Any], *, whole: bool) -> None:
        self._whole = whole
        step = _exact(schema.get("multipleOf"))
        self._step = step if step and step > 0 else None
        if whole and self._step:  # the smallest whole number that is a multiple of the step
            self._step = Fraction(self._step.numerator)
        lows = [_exact(schema.get("minimum")), _exact(schema.get("exclusiveMinimum"))]
        highs = [_exact(schema.get("maximum")), _exact(schema.get("exclusiveMaximum"))]
        self.low = max((low for low in lows if low is not None), default=None)
        self.high = min((high for high in highs if high is not None), default=None)
        self._open_low = lows[1] is not None and lows[1] == self.low
        self._open_high = highs[1] is not None and highs[1] == self.high

    def fits(self, number: int | Fraction) -> bool:
        """Whether a number keeps all limits."""
        if self._whole and number.denominator != 1:
            return False
        if self.low is not None and (number < self.low or (self._open_low and number == self.low)):
            return False
        if self.high is not None and (number > self.high or (self._open_high and number == self.high)):
            return False
        return self._step is None or (Fraction(number) / self._step).denominator == 1

    def fallback(self, share: float) -> Fraction | None:
        """Return the number at `share` (0 to 1) of the way from the lower to the upper limit; None when none fits."""
        low, high = self.low, self.high
        step = self._step or (Fraction(1) if self._whole else None)
        if low is None and high is None:
            return Fraction(0)
        if low is None or high is None:
            start = high if low is None else low
            direction = -1 if low is None else 1
            wished = [Fraction(0), *_near(start or Fraction(0), step or Fraction(1), direction)]
        else:
            wished = [
                *_near(
                    low + (high - low) * Fraction(share).limit_denominator(100),
                    step or (high - low) / 100 or Fraction(1),
                    1,
                ),
                *_near(low, step or (high - low) / 2 or Fraction(1), 1),
            ]
        return next((one for one in wished if self.fits(one)), None)

    def shown(self, number: int | Fraction) -> int | float:
        """Return a number as JSON has it."""
        return number.numerator if self._whole or number.denominator == 1 else float(number)


def _near(start: Fraction, step: Fraction, direction: int) -> list[Fraction]:
    first = (start / step).__floor__() * step
    return [start, *(first + direction * count * step for count in (0, 1, 2, -1))]


def _exact(value: object) -> Fraction | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Fraction(str(value))


def guess_format(text: Text, form: str) -> tuple[str, bool]:
    """Return a text in one of JSON Schema's formats, and whether it was found in the text rather than made up."""
    plain = text.plain
    if form in {"date", "date-time"}:
        date = text.dates[0] if text.dates else "2000-01-01"
        if form == "date":
            return date, bool(text.dates)
        return f"{date}T{text.times[0] if text.times else '00:00:00'}Z", bool(text.dates)
    if form == "time":
        return (f"{text.times[0]}Z", True) if text.times else ("00:00:00Z", False)
    if form == "duration":
        span = _SPAN.search(plain)
        return ("P" + _UNITS[span[2].lower()[:3]].format(int(span[1])), True) if span else ("PT0S", False)
    finder, made = {
        "email": (_EMAIL, "nobody@example.com"),
        "hostname": (_HOST, "example.com"),
        "ipv4": (_IPV4, "192.0.2.1"),
        "uuid": (_UUID, str(uuid.uuid5(uuid.NAMESPACE_OID, plain.encode("ascii", "backslashreplace").decode()))),
        "uri": (_URL, "https://example.com/"),
    }.get(form, (None, "2001:db8::1" if form == "ipv6" else text.first_sentence))
    found = finder.search(plain) if finder else None
    return (found[0], True) if found else (made, False)

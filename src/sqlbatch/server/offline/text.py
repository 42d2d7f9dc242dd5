"""What the offline model finds in a text: sentences, keywords, topics, names, numbers, dates and the like."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
import zlib
from collections import Counter
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlbatch.server.offline.lexicon import GENERAL_TOPICS, STOPWORDS, TOPIC_STEMS, TOPICS, TOPICS_BY_STEM, stem, words

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOKED_AT = 4_000  # characters; what comes later changes no answer, so that long texts stay cheap
_LONGEST_SENTENCE = 400  # characters
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTH = "|".join(f"{month}|{month[:3]}" for month in _MONTHS)
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_END = re.compile(r"[.!?…]+[\"'\u201d\u2019)\]]*(?=\s)|\n\s*\n")
_ABBREVIATIONS = words("mr mrs ms dr prof st sr jr vs etc no vol e.g i.e approx dept inc ltd")
_NUMBER = re.compile(
    r"(?<![\w.,])(?<![\w-]-)-?(?:\d{1,3}(?:,\d{3})+(?:\.\d{1,30})?(?![\w,]|\.\d)|\d{1,30}(?:\.\d{1,30})?(?!\w|[.,]\d))"
)
_FIELD = re.compile(r"^[ \t]*([A-Za-z][\w -]{0,30}):[ \t]+(\S.*)$", re.MULTILINE)
_NAME = re.compile(r"[A-Z\u00c0-\u00de][\w'\u2019-]+(?:\s+[A-Z\u00c0-\u00de][\w'\u2019-]+)*")
_LEADING_CAPITALS = re.compile(r"^(?:[^\W\d_a-z][\w'\u2019:-]*\s+){2,}")
_CLAUSE_END = re.compile(r"[,;:.!?(]")
_PLACE = re.compile(r"\b(?:in|at|near|from|to)\s+((?:[A-Z][\w'\u2019-]+\s?){1,3})")
_YEAR = re.compile(r"\b(1[5-9]\d\d|20\d\d)\b")
_DATES = (  # year, month and day by name
    re.compile(r"\b(?P<y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})\b"),
    re.compile(
        rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<m>{_MONTH})\.?,?\s+(?P<y>\d{{4}})\b", re.IGNORECASE
    ),
    re.compile(rf"\b(?P<m>{_MONTH})\.?\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<y>\d{{4}})\b", re.IGNORECASE),
)
_TIME = re.compile(r"\b([01]?\d|2[0-3])[:.h]([0-5]\d)(?::([0-5]\d))?\s*(am|pm)?(?![\w:])", re.IGNORECASE)
_SPAN = re.compile(r"\b(\d{1,4})\s*-?\s*(second|sec|minute|min|hour|hr|day|week|month|year)s?\b", re.IGNORECASE)
_UNITS = {"s": "T{}S", "mi": "T{}M", "h": "T{}H", "d": "{}D", "w": "{}W", "mo": "{}M", "y": "{}Y"}
_FORMATS = {
    "email": (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "nobody@example.com"),
    "hostname": (re.compile(r"\b(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}\b", re.IGNORECASE), "example.com"),
    "ipv4": (re.compile(r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b"), "192.0.2.1"),
    "ipv6": (re.compile(r"(?!)"), "2001:db8::1"),
    "uuid": (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE), ""),
    "uri": (re.compile(r"https?://[^\s\"'<>]+"), "https://example.com/"),
}
FORMATS = frozenset([*_FORMATS, "date", "date-time", "time", "duration"])
# What the name of a property asks for.
_KINDS = {
    word: kind
    for kind, words in {
        "summary": "summary overview description caption abstract synopsis text content sentence plot gist answer",
        "topic": "category categories genre genres topic topics theme themes",
        "keyword": "keyword keywords tag tags subject subjects label labels",
        "title": "title headline heading name product",
        "sentiment": "sentiment mood tone polarity",
        "reason": "reason reasons reasoning explanation rationale why justification evidence because",
        "language": "language lang",
        "person": "person people character characters author director actor actors protagonist hero",
        "place": "place city country location setting region",
        "date": "date day born released published",
        "time": "time clock",
        "number": "price amount cost total number quantity year age",
        "email": "email mail",
        "uri": "url link website",
    }.items()
    for word in words.split()
}
_MONEY = words("price cost amount total sum fee")
_NAME_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
_NO_SUBJECT = STOPWORDS | words("is has mentions contains true false whether if")
_Found = TypeVar("_Found")


class lazy(Generic[_Found]):  # noqa: N801 - reads as a decorator
    """A property that is made when first asked for, without the lock of functools.cached_property."""

    def __init__(self, make: Callable[[Any], _Found]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __get__(self, owner: Any, _type: type | None = None) -> _Found:
        """Make the value and leave it in the property's place."""
        found = owner.__dict__[self._make.__name__] = self._make(owner)
        return found


class Name:
    """The name of a property, with what it and its description say about the wanted value."""

    def __init__(self, name: str, description: str) -> None:
        own = [word.lower() for word in _NAME_PART.findall(name)]
        told = [word.lower() for word in _NAME_PART.findall(description)]
        self.kind = next((_KINDS[word] for word in [*reversed(own), *told] if word in _KINDS), "")
        self.stems = frozenset(stem(word) for word in own if word not in _NO_SUBJECT)
        self.told = frozenset(stem(word) for word in told if word not in _NO_SUBJECT)
        self.key = name.lower()
        self.money = not _MONEY.isdisjoint(own)


@lru_cache(maxsize=4_096)
def read_name(name: str, description: str) -> Name:
    """Return what a property's name and description ask for."""
    return Name(name, description)


class Text:
    """One input and what can be found in it; each finding is made when first asked for."""

    def __init__(self, raw: str) -> None:
        self.raw = raw[:_LOOKED_AT]

    @lazy
    def seed(self) -> int:
        """A number that depends on the text alone."""
        return zlib.crc32(self.raw.encode("utf-8", "surrogatepass"))

    @lazy
    def fields(self) -> dict[str, str]:
        """Named parts of the text: of a JSON object, or of lines such as `Title: Casablanca`."""
        text = self.raw.strip()
        if text.startswith("{"):
            try:
                found = json.loads(text)
            except (ValueError, RecursionError):
                found = None
            if isinstance(found, dict):
                return {str(key).lower(): _plain(value) for key, value in found.items() if value is not None}
        return {match[1].strip().lower(): match[2].strip() for match in _FIELD.finditer(text)} if ": " in text else {}

    @lazy
    def main(self) -> str:
        """The longest named part where there are any, else the whole text."""
        return max(self.fields.values(), key=len) if self.fields else self.raw.strip()

    @lazy
    def plain(self) -> str:
        """The text without the names of its parts."""
        return "\n".join(self.fields.values()) if self.fields else self.raw

    @lazy
    def first_sentence(self) -> str:
        """The first sentence of the main part, on one line."""
        main = self.main
        for match in _END.finditer(main):
            before = main[: match.start()].rsplit(None, 1)
            last = before[-1].lower() if before else ""
            if match[0] == "." and (last in _ABBREVIATIONS or (len(last) == 1 and last.isalpha())):
                continue
            main = main[: match.end()]
            break
        return " ".join(main[:_LONGEST_SENTENCE].split())

    @lazy
    def counts(self) -> Counter[str]:
        """How often each word occurs, in lower case."""
        return Counter(_WORD.findall(self.plain.lower()))

    @lazy
    def stems(self) -> frozenset[str]:
        """The stems of all words."""
        return frozenset(map(stem, self.counts))

    @lazy
    def keywords(self) -> list[str]:
        """Words that carry a topic, the most frequent first, names after other words."""
        counts = self.counts
        names = {word for name in self.names for word in name.lower().split()}
        found = [word for word in counts if len(word) > 2 and word not in STOPWORDS]
        return sorted(found, key=lambda word: -counts[word] + (0.5 if word in names else 0))[:20]

    @lazy
    def topics(self) -> list[str]:
        """The strongest well-known topics; with fewer than two of them also the keywords."""
        scores: dict[int, int] = {}
        for one in self.stems & TOPIC_STEMS:
            for number in TOPICS_BY_STEM[one]:
                scores[number] = scores.get(number, 0) + 1
        ranked = sorted(scores, key=lambda number: (-scores[number], number))
        found = [GENERAL_TOPICS[n] for n in ranked if scores[n] >= 2][:3] or [GENERAL_TOPICS[n] for n in ranked[:2]]
        return found if len(found) >= 2 else list(dict.fromkeys([*found, *self.keywords]))

    @lazy
    def names(self) -> list[str]:
        """Capitalised words inside sentences, without repetitions."""
        main, found = self.main, dict[str, None]()
        for match in _NAME.finditer(main):
            before = main[max(0, match.start() - 2) : match.start()]
            if before and not before[-1].isalnum() and before[0] not in ".!?\u2026":
                found[" ".join(match[0].split())] = None
        return list(found)

    @lazy
    def title(self) -> str:
        """The part named `title` or the like, else the capitalised or else the first few words."""
        for key in ("title", "name", "headline", "product", "product_name"):
            if self.fields.get(key):
                return self.fields[key]
        leading = _LEADING_CAPITALS.match(self.main)
        return leading[0].strip() if leading else " ".join(_CLAUSE_END.split(self.first_sentence, 1)[0].split()[:6])

    @lazy
    def numbers(self) -> list[str]:
        """Numbers as they stand, without thousands separators."""
        return [number.replace(",", "") for number in _NUMBER.findall(self.plain)]

    @lazy
    def values(self) -> list[Fraction]:
        """The same numbers, exact."""
        return [Fraction(number) for number in self.numbers]

    @lazy
    def dates(self) -> list[str]:
        """Dates as `YYYY-MM-DD`; a lone year stands for its first day."""
        found = [(match.start(), _date(match)) for form in _DATES for match in form.finditer(self.plain)]
        dates = [date for _, date in sorted(found) if date]
        return dates or [f"{match[1]}-01-01" for match in _YEAR.finditer(self.plain)]

    @lazy
    def times(self) -> list[str]:
        """Times of day as `HH:MM:SS`."""
        found = []
        for match in _TIME.finditer(self.plain):
            hour, half = int(match[1]), (match[4] or "").lower()
            if half and 1 <= hour <= 12:
                hour = hour % 12 + (12 if half == "pm" else 0)
            found.append(f"{hour:02}:{match[2]}:{match[3] or '00'}")
        return found

    @lazy
    def sentiment(self) -> int:
        """Above zero for more friendly words than unfriendly ones, below for fewer."""
        return len(TOPICS["positive"] & self.stems) - len(TOPICS["negative"] & self.stems)

    def told(self, name: Name) -> list[str]:
        """Return what the text says of the kind that a property's name asks for; empty where it says nothing."""
        return _TOLD[name.kind](self) if name.kind in _TOLD else []

    @lazy
    def places(self) -> list[str]:
        """Names after `in`, `at` and the like, else all names, the last first."""
        return [" ".join(place.split()) for place in _PLACE.findall(self.plain)] or self.names[::-1]

    @lazy
    def language(self) -> str:
        """`English` where a fifth of the words are common English ones."""
        known = sum(count for word, count in self.counts.items() if word in STOPWORDS)
        return "English" if known * 5 >= self.counts.total() else "unknown"

    @lazy
    def mood(self) -> str:
        """The sentiment in a word."""
        return "positive" if self.sentiment > 0 else "negative" if self.sentiment < 0 else "neutral"

    def say(self, name: Name, turn: int) -> str:
        """Return the text that fits a property's name best; `turn` counts the items of a list."""
        if not turn and name.kind not in {"keyword", "topic"} and self.fields.get(name.key):
            return self.fields[name.key]
        found = self.told(name) or (self.keywords if turn else [])
        return found[turn % len(found)] if found else self.first_sentence

    def in_format(self, form: str) -> tuple[str, bool]:
        """Return a text in one of JSON Schema's formats, and whether it was found rather than made up."""
        if form == "date":
            return (self.dates[0], True) if self.dates else ("2000-01-01", False)
        if form == "time":
            return (f"{self.times[0]}Z", True) if self.times else ("00:00:00Z", False)
        if form == "date-time":
            date, found = self.in_format("date")
            return f"{date}T{self.in_format('time')[0]}", found
        if form == "duration":
            if not (span := _SPAN.search(self.plain)):
                return "PT0S", False
            unit = span[2].lower()
            return f"P{_UNITS.get(unit[:2]) or _UNITS[unit[:1]]}".format(int(span[1])), True
        finder, made = _FORMATS[form]
        found_text = finder.search(self.plain)
        if form == "uuid":
            made = str(uuid.uuid5(uuid.NAMESPACE_OID, self.plain.encode("ascii", "backslashreplace").decode()))
        return (found_text[0], True) if found_text else (made, False)


_TOLD: dict[str, Callable[[Text], list[str]]] = {
    "topic": lambda text: text.topics,
    "keyword": lambda text: text.keywords,
    "title": lambda text: [text.title, *text.names],
    "sentiment": lambda text: [text.mood],
    "reason": lambda text: [f"The text mentions {', '.join(text.keywords[:3])}."] if text.keywords else [],
    "language": lambda text: [text.language],
    "person": lambda text: text.names or text.keywords,
    "place": lambda text: text.places or text.keywords,
    "date": lambda text: text.dates,
    "time": lambda text: text.times,
    "number": lambda text: text.numbers,
    "email": lambda text: [text.in_format("email")[0]],
    "uri": lambda text: [text.in_format("uri")[0]],
}


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _date(match: re.Match[str]) -> str | None:
    month = match["m"].lower()
    number = int(month) if month.isdigit() else 1 + next(n for n, m in enumerate(_MONTHS) if m.startswith(month[:3]))
    try:
        return dt.date(int(match["y"]), number, int(match["d"])).isoformat()
    except ValueError:
        return None

"""What the offline model sees in a text: sentences, keywords, topics, numbers, dates and the like."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlbatch.server.offline.lexicon import GENERAL_TOPICS, STOPWORDS, TOPIC_STEMS, TOPICS, TOPICS_BY_STEM, stem, words

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOKED_AT = 4_000  # characters; what comes later changes no answer, so that long texts stay cheap
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_END = re.compile(r"[.!?…]+[\"'\u201d\u2019)\]]*(?=\s)|\n\s*\n")
_ABBREVIATIONS = words("mr mrs ms dr prof st sr jr vs etc no vol e.g i.e approx dept inc ltd")
_NUMBER = re.compile(r"\d(?:[\d,]*\d)?(?:\.\d+)?")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_FIELD = re.compile(r"^[ \t]*([A-Za-z][\w -]{0,30}):[ \t]+(\S.*)$", re.MULTILINE)
_NAME = re.compile(r"[A-Z\u00c0-\u00de][\w'\u2019-]+(?:\s+[A-Z\u00c0-\u00de][\w'\u2019-]+)*")
_CAPITALISED = re.compile(r"^(?:[^\W\d_a-z][\w'\u2019:-]*\s+)+")
_CLAUSE_END = re.compile(r"[,;:.!?(]")
_ISO_DATE = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTH = "|".join(f"{month}|{month[:3]}" for month in _MONTHS)
_DAY_MONTH = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({_MONTH})\.?,?\s+(\d{{4}})\b", re.IGNORECASE)
_MONTH_DAY = re.compile(rf"\b({_MONTH})\.?\s+(\d{{1,2}})(?:st|nd|rd|th)?,?\s+(\d{{4}})\b", re.IGNORECASE)
_YEAR = re.compile(r"\b(1[5-9]\d\d|20\d\d)\b")
_TIME = re.compile(r"\b([01]?\d|2[0-3])[:.h]([0-5]\d)(?::([0-5]\d))?\s*(am|pm)?(?![\w:])", re.IGNORECASE)
_LONGEST_SENTENCE = 400  # characters


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


class Text:
    """One input and what can be found in it; each finding is made when first asked for."""

    def __init__(self, raw: str) -> None:
        self.raw = raw[:_LOOKED_AT]

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
        if ": " not in text:
            return {}
        return {match[1].strip().lower(): match[2].strip() for match in _FIELD.finditer(text)}

    @lazy
    def main(self) -> str:
        """Find the longest named part where there are any, else the whole text."""
        if self.fields:
            return max(self.fields.values(), key=len)
        return self.raw.strip()

    @lazy
    def plain(self) -> str:
        """Leave out the names of its parts."""
        return "\n".join(self.fields.values()) if self.fields else self.raw

    @lazy
    def first_sentence(self) -> str:
        """Find the first sentence of the main part, on one line."""
        main = self.main
        for match in _END.finditer(main):
            words = main[: match.start()].rsplit(None, 1)
            last = words[-1].lower() if words else ""
            if match[0] == "." and (last in _ABBREVIATIONS or (len(last) == 1 and last.isalpha())):
                continue
            main = main[: match.end()]
            break
        return " ".join(main[:_LONGEST_SENTENCE].split())

    @lazy
    def words(self) -> list[str]:
        """Every word in lower case, in order."""
        return _WORD.findall(self.plain.lower())

    @lazy
    def counts(self) -> Counter[str]:
        """Count how often each word occurs."""
        return Counter(self.words)

    @lazy
    def stems(self) -> frozenset[str]:
        """Find the stems of all words."""
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
        """Find well-known topics that two words of the text speak for, or at least one; the strongest come first."""
        scores: dict[int, int] = {}
        for one in self.stems & TOPIC_STEMS:
            for number in TOPICS_BY_STEM[one]:
                scores[number] = scores.get(number, 0) + 1
        ranked = sorted((-score, number) for number, score in scores.items())
        strong = [GENERAL_TOPICS[number] for score, number in ranked if score <= -2]
        return strong or [GENERAL_TOPICS[number] for _, number in ranked[:2]]

    @lazy
    def labels(self) -> list[str]:
        """Find the three strongest topics, or with fewer than two also the keywords."""
        found = self.topics[:3]
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
        """Take the part named `title` or `name`, else the capitalised or else the first few words."""
        for key in ("title", "name", "headline", "product", "product_name"):
            if self.fields.get(key):
                return self.fields[key]
        leading = _CAPITALISED.match(self.main)
        if leading and len(leading[0].split()) > 1:
            return leading[0].strip()
        return " ".join(_CLAUSE_END.split(self.first_sentence, maxsplit=1)[0].split()[:6])

    @lazy
    def numbers(self) -> list[str]:
        """Numbers as they stand, without thousands separators."""
        plain, found = self.plain, []
        for match in _NUMBER.finditer(plain):
            number, before, after = match[0], plain[max(0, match.start() - 2) : match.start()], plain[match.end() :][:2]
            sign = "-" if before[-1:] == "-" and not before[:-1].isalnum() else ""
            if before[-1:].isalnum() or before[-1:] in {".", ",", "_"} or (before[-1:] == "-" and not sign):
                continue
            if (
                after[:1].isalnum()
                or after[:1] == "_"
                or (after[:1] == "." and after[1:].isdigit())
                or len(number) > 30
            ):
                continue
            if "," not in number:
                found.append(sign + number)
            elif _THOUSANDS.fullmatch(number):
                found.append(sign + number.replace(",", ""))
        return found

    @lazy
    def exact_numbers(self) -> list[int | Fraction]:
        """Turn the numbers into numbers."""
        return [Fraction(number) if "." in number else int(number) for number in self.numbers]

    @lazy
    def decimals(self) -> frozenset[int | Fraction]:
        """Pick the numbers that are written with decimals."""
        return frozenset(Fraction(number) for number in self.numbers if "." in number)

    @lazy
    def dates(self) -> list[str]:
        """Dates as `YYYY-MM-DD`; a lone year stands for its first day."""
        plain = self.plain
        found = [(match.start(), _date(match[1], match[2], match[3])) for match in _ISO_DATE.finditer(plain)]
        found += [(match.start(), _date(match[3], match[2], match[1])) for match in _DAY_MONTH.finditer(plain)]
        found += [(match.start(), _date(match[3], match[1], match[2])) for match in _MONTH_DAY.finditer(plain)]
        dates = [date for _, date in sorted(found) if date]
        return dates or [f"{match[1]}-01-01" for match in _YEAR.finditer(plain)]

    @lazy
    def times(self) -> list[str]:
        """Find times of day as `HH:MM:SS`."""
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


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _date(year: str, month: str, day: str) -> str | None:
    number = (
        int(month) if month.isdigit() else next(n for n, m in enumerate(_MONTHS, 1) if m.startswith(month.lower()[:3]))
    )
    try:
        return dt.date(int(year), number, int(day)).isoformat()
    except ValueError:
        return None

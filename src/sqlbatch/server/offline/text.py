"""What the offline model finds in a text: its first sentence, keywords, topics, numbers and dates."""

from __future__ import annotations

import json
import re
import uuid
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from sqlbatch.server.offline.lexicon import STOPWORDS, TOPICS, rank, stem

_LOOKED_AT = 4_000  # characters; what comes later changes no answer, so that long texts stay cheap
_LONGEST_SENTENCE = 400  # characters
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
# A full stop after an initial or an abbreviation ends no sentence.
_SENTENCE = re.compile(
    r".+?(?<!\b[A-Za-z])(?<!\b[DSMJ]r)(?<!\bMrs)(?<!\bMs)[.!?…]+[\"'\u201d\u2019)\]]*(?=\s|$)", re.DOTALL
)
_NAME = re.compile(r"[A-Z\u00c0-\u00de][\w'\u2019-]+(?:\s+[A-Z\u00c0-\u00de][\w'\u2019-]+)*")
# What stands before a name inside a sentence.
_INSIDE = re.compile(r"[^.!?\u2026]?[^\w.!?\u2026]|[^.!?\u2026]\W")
_NUMBER = re.compile(r"(?<![\w.,])(?<![\w-]-)-?(?:\d{1,3}(?:,\d{3})+|\d{1,30})(?:\.\d{1,30})?(?!\w|[.,]\d)")
_FIELD = re.compile(r"^[ \t]*([A-Za-z][\w -]{0,30}):[ \t]+(\S.*)$", re.MULTILINE)
_DATE = re.compile(r"\b\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])\b")
_YEAR = re.compile(r"\b(?:1[5-9]\d\d|20\d\d)\b")
# JSON Schema's formats: how each is found in a text, and the value where none is.
_FORMATS = {
    "date": (r"(?!)", "2000-01-01"),
    "time": (r"\b(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ", "00:00:00Z"),
    "date-time": (r"\b\d{4}-\d\d-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ", "2000-01-01T00:00:00Z"),
    "duration": (r"\bP\d+[DWMY]\b", "PT0S"),
    "email": (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", "nobody@example.com"),
    "hostname": (r"\b(?:[A-Za-z0-9]{1,63}\.)+[a-z]{2,}\b", "example.com"),
    "ipv4": (r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b", "192.0.2.1"),
    "ipv6": (r"(?!)", "2001:db8::1"),
    "uuid": (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", ""),
    "uri": (r"https?://[^\s\"'<>]+", "https://example.com/"),
}
FORMATS = frozenset(_FORMATS)
# What the name of a property asks for; anything else gets the first sentence.
_KINDS = {
    word: kind
    for kind, words in {
        "topics": "category categories genre genres topic topics theme themes",
        "keywords": "keyword keywords tag tags subject subjects label labels",
        "title": "title headline heading name product",
        "mood": "sentiment mood tone polarity",
        "dates": "date day born released published",
        "numbers": "price amount cost total number quantity year age",
    }.items()
    for word in words.split()
}
_NAME_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
_NO_SUBJECT = STOPWORDS | frozenset(["is", "has", "mentions", "contains", "true", "false", "whether", "if"])


@dataclass(frozen=True)
class Name:
    """The name of a property: what it asks for, and the stems of its words and of its description's."""

    key: str
    kind: str
    stems: frozenset[str]
    described: frozenset[str]


@lru_cache(maxsize=4_096)
def read_name(name: str, description: str) -> Name:
    """Return what a property's name and description ask for."""
    own, more = ([word.lower() for word in _NAME_PART.findall(text)] for text in (name, description))
    kind = next((_KINDS[word] for word in [*reversed(own), *more] if word in _KINDS), "")
    stems, described = (frozenset(stem(word) for word in words if word not in _NO_SUBJECT) for words in (own, more))
    return Name(name.lower(), kind, stems, described)


class Text:
    """One input and what can be found in it; each finding is made when first asked for."""

    def __init__(self, raw: str) -> None:
        self.raw = raw[:_LOOKED_AT]
        # The values that a schema found in it.
        self.values: dict[object, list[Any]] = {}

    @cached_property
    def seed(self) -> int:
        """A number that depends on the text alone."""
        return zlib.crc32(self.raw.encode("utf-8", "surrogatepass"))

    @cached_property
    def fields(self) -> dict[str, str]:
        """Named parts of the text: of a JSON object, or of lines such as `Title: Casablanca`."""
        text = self.raw.strip()
        if text.startswith("{"):
            try:
                found = json.loads(text)
            except (ValueError, RecursionError):
                found = None
            if isinstance(found, dict):
                values = ((key, value) for key, value in found.items() if value is not None)
                return {key.lower(): value if isinstance(value, str) else json.dumps(value) for key, value in values}
        return {match[1].strip().lower(): match[2].strip() for match in _FIELD.finditer(text)}

    @cached_property
    def main(self) -> str:
        """The longest named part where there are any, else the whole text."""
        return max(self.fields.values(), key=len) if self.fields else self.raw.strip()

    @cached_property
    def plain(self) -> str:
        """The text without the names of its parts."""
        return "\n".join(self.fields.values()) if self.fields else self.raw

    @cached_property
    def first_sentence(self) -> str:
        """The first sentence of the main part, on one line."""
        main = self.main.split("\n\n", 1)[0]
        found = _SENTENCE.match(main)
        return " ".join((found[0] if found else main)[:_LONGEST_SENTENCE].split())

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each word occurs, in lower case."""
        return Counter(_WORD.findall(self.plain.lower()))

    @cached_property
    def stems(self) -> frozenset[str]:
        """The stems of all words."""
        return frozenset(map(stem, self.counts))

    @cached_property
    def keywords(self) -> list[str]:
        """Words that carry a topic, the most frequent first, names after other words."""
        found_names = (
            (match[0], self.main[max(0, match.start() - 2) : match.start()]) for match in _NAME.finditer(self.main)
        )
        names = {word for name, before in found_names if _INSIDE.fullmatch(before) for word in name.lower().split()}
        found = [word for word in self.counts if len(word) > 2 and word not in STOPWORDS]
        return sorted(found, key=lambda word: -self.counts[word] + 0.5 * (word in names))[:20]

    @cached_property
    def topics(self) -> list[str]:
        """The strongest well-known topics; with fewer than two of them also the keywords."""
        ranked = rank(self.stems)
        found = [topic for topic, points in ranked if points > 1][:3] or [topic for topic, _ in ranked[:2]]
        return found if len(found) > 1 else list(dict.fromkeys([*found, *self.keywords]))

    @cached_property
    def title(self) -> list[str]:
        """The part named `title` or the like, else the first few words."""
        named = (self.fields[key] for key in ("title", "name", "headline", "product") if self.fields.get(key))
        return [next(named, " ".join(self.first_sentence.split()[:6]))]

    @cached_property
    def numbers(self) -> list[str]:
        """Numbers as they stand, without thousands separators."""
        return [number.replace(",", "") for number in _NUMBER.findall(self.plain)]

    @cached_property
    def dates(self) -> list[str]:
        """Dates that are written `YYYY-MM-DD`; a lone year stands for its first day."""
        return _DATE.findall(self.plain) or [f"{year}-01-01" for year in _YEAR.findall(self.plain)]

    @cached_property
    def mood(self) -> list[str]:
        """The sentiment in a word: which words are more, the friendly or the unfriendly ones."""
        more = len(TOPICS["positive"] & self.stems) - len(TOPICS["negative"] & self.stems)
        return ["positive" if more > 0 else "negative" if more < 0 else "neutral"]

    def of(self, name: Name) -> list[str]:
        """Return what the text has for a property, the best first: its own part, what its name asks for, or nothing."""
        if self.fields.get(name.key) and name.kind not in {"keywords", "topics"}:
            return [self.fields[name.key]]
        return list(getattr(self, name.kind)) if name.kind else []

    def in_format(self, form: str) -> str | None:
        """Return a text in one of JSON Schema's formats, None where there is none."""
        if form == "date":
            return next(iter(self.dates), None)
        found = re.search(_FORMATS[form][0], self.plain)
        return found[0] if found else None

    def made_up(self, form: str) -> str:
        """Return a text in a format that says nothing."""
        made = str(uuid.uuid5(uuid.NAMESPACE_OID, self.plain.encode("ascii", "backslashreplace").decode()))
        return made if form == "uuid" else _FORMATS[form][1]

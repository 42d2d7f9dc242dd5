"""What the offline model finds in a text: its first sentence, keywords, topics, numbers and dates."""

from __future__ import annotations

import json
import re
import uuid
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache

from sqlbatch.server.offline.lexicon import PROPERTIES, STOPWORDS, TOPICS, rank_topics, stem

_MAX_TEXT = 4_000  # characters; the rest of a longer text is ignored, to save time
_MAX_SENTENCE = 400  # characters
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
# A period after an initial or an abbreviation does not end a sentence.
_SENTENCE = re.compile(
    r".+?(?<!\b[A-Za-z])(?<!\b[DSMJ]r)(?<!\bMrs)(?<!\bMs)[.!?…]+[\"'\u201d\u2019)\]]*(?=\s|$)", re.DOTALL
)
_CAPITALIZED = r"[A-Z\u00c0-\u00de][\w'\u2019-]+(?:\s+[A-Z\u00c0-\u00de][\w'\u2019-]+)*"
# Capitalized words at the start of a sentence are not names. Only names are captured.
_NAME = re.compile(rf"(?:\A|[.!?…]\W){_CAPITALIZED}|\b({_CAPITALIZED})")
_NUMBER = re.compile(r"(?<![\w.,])(?<![\w-]-)-?(?:\d{1,3}(?:,\d{3})+|\d{1,30})(?:\.\d{1,30})?(?!\w|[.,]\d)")
_FIELD = re.compile(r"^[ \t]*([A-Za-z][\w -]{0,30}):[ \t]+(\S.*)$", re.MULTILINE)
_DATE = re.compile(r"\b\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])\b")
_YEAR = re.compile(r"\b(?:1[5-9]\d\d|20\d\d)\b")
_NEVER = r"(?!)"  # matches nothing
# For each format of JSON Schema: the pattern that finds it in a text, and the value if the text has none.
FORMATS = {
    "date": (_NEVER, "2000-01-01"),  # found by Text.dates
    "time": (r"\b(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ", "00:00:00Z"),
    "date-time": (r"\b\d{4}-\d\d-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ", "2000-01-01T00:00:00Z"),
    "duration": (r"\bP\d+[DWMY]\b", "PT0S"),
    "email": (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", "nobody@example.com"),
    "hostname": (r"\b(?:[A-Za-z0-9]{1,63}\.)+[a-z]{2,}\b", "example.com"),
    "ipv4": (r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b", "192.0.2.1"),
    "ipv6": (_NEVER, "2001:db8::1"),
    "uuid": (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", ""),  # or a hash of the text
    "uri": (r"https?://[^\s\"'<>]+", "https://example.com/"),
}
_NAME_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
_NO_SUBJECT = STOPWORDS | frozenset(["is", "has", "mentions", "contains", "true", "false", "whether", "if"])


@dataclass(frozen=True)
class Property:
    """What a property of a schema asks for: its name, and the word stems of its name and of its description.

    `kind` is the property of `Text` that it asks for, or empty.
    """

    name: str
    kind: str
    stems: frozenset[str]
    description_stems: frozenset[str]


@lru_cache(maxsize=4_096)
def read_property(name: str, description: str) -> Property:
    """Return what a property's name and description ask for."""
    own, more = ([word.lower() for word in _NAME_PART.findall(text)] for text in (name, description))
    kind = next((PROPERTIES[word] for word in [*reversed(own), *more] if word in PROPERTIES), "")
    own_stems, more_stems = (
        frozenset(stem(word) for word in words if word not in _NO_SUBJECT) for words in (own, more)
    )
    return Property(name, kind, own_stems, more_stems)


class Text:
    """One input text. Each property searches the text when it is first read."""

    def __init__(self, raw: str) -> None:
        self.raw = raw[:_MAX_TEXT]

    @cached_property
    def fields(self) -> dict[str, str]:
        """The named parts of the text: the keys of a JSON object, or lines such as `Title: Casablanca`."""
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

    def field(self, name: str) -> str | None:
        """Return the part with this name, in lower or upper case, or None."""
        return self.fields.get(name.lower())

    @cached_property
    def main(self) -> str:
        """The longest named part, or the whole text if it has no named parts."""
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
        return " ".join((found[0] if found else main)[:_MAX_SENTENCE].split())

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
        """Words other than stopwords, the most frequent first; among equally frequent words, names come last."""
        names = {word for name in _NAME.findall(self.main) for word in name.lower().split()}
        found = [word for word in self.counts if len(word) > 2 and word not in STOPWORDS]
        return sorted(found, key=lambda word: (-self.counts[word], word in names))[:20]

    @cached_property
    def topics(self) -> list[str]:
        """The strongest well-known topics; if there is only one or none, the keywords too."""
        ranked = rank_topics(self.stems)
        found = [topic for topic, points in ranked if points > 1][:3] or [topic for topic, _ in ranked[:2]]
        return found if len(found) > 1 else list(dict.fromkeys([*found, *self.keywords]))

    @cached_property
    def title(self) -> list[str]:
        """The part named `title` or similar, otherwise the first six words."""
        named = (self.fields[key] for key in ("title", "name", "headline", "product") if self.fields.get(key))
        return [next(named, " ".join(self.first_sentence.split()[:6]))]

    @cached_property
    def numbers(self) -> list[str]:
        """The numbers as written, without thousands separators."""
        return [number.replace(",", "") for number in _NUMBER.findall(self.plain)]

    @cached_property
    def dates(self) -> list[str]:
        """The dates written as `YYYY-MM-DD`; if there are none, January 1 of each year that is mentioned."""
        return _DATE.findall(self.plain) or [f"{year}-01-01" for year in _YEAR.findall(self.plain)]

    @cached_property
    def mood(self) -> list[str]:
        """`positive` or `negative`, whichever has more words in the text, or `neutral`."""
        balance = len(TOPICS["positive"] & self.stems) - len(TOPICS["negative"] & self.stems)
        return ["positive" if balance > 0 else "negative" if balance < 0 else "neutral"]

    def find(self, wanted: Property) -> list[str]:
        """Return the part with the name of a property, or the values that the name asks for, the best first."""
        own = self.field(wanted.name)
        if own and wanted.kind not in {"keywords", "topics"}:
            return [own]
        return list(getattr(self, wanted.kind)) if wanted.kind else []

    def find_format(self, name: str) -> list[str]:
        """Return the first text in a format of JSON Schema, or an empty list."""
        return self.dates[:1] if name == "date" else re.findall(FORMATS[name][0], self.plain)[:1]

    def default_format(self, name: str) -> str:
        """Return the default value of a format of JSON Schema. The default UUID is a hash of the text."""
        ascii_text = self.plain.encode("ascii", "backslashreplace").decode()
        return str(uuid.uuid5(uuid.NAMESPACE_OID, ascii_text)) if name == "uuid" else FORMATS[name][1]

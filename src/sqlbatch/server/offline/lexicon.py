"""The offline model's lexicon (`lexicon.toml`): stopwords, and the words that point to topics and labels."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path

_WORDS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
STOPWORDS = frozenset(_WORDS["stopwords"].split())
SENTIMENTS = ("positive", "negative")
UNDECIDED = frozenset(_WORDS["undecided"].split())
# For a word in a property's name or description, the property of `Text` that it asks for.
PROPERTIES = {word: name for name, words in _WORDS["properties"].items() for word in words.split()}


@functools.lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Return a lower-case word without the most common English endings."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    for ending in ("ing", "ed"):
        if len(word) > len(ending) + 3 and word.endswith(ending):
            return word[: -len(ending)].rstrip("e")
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


TOPICS = {label: frozenset(map(stem, words.split())) for label, words in _WORDS["topics"].items()}


def rank_topics(stems: frozenset[str]) -> list[tuple[str, int]]:
    """Return the topics that the stems of a text point to, with their points, the best first.

    A topic gets a point for each of its words, and one more for its name.
    """
    points = {topic: len(words & stems) + (stem(topic) in stems) for topic, words in TOPICS.items()}
    found = [(topic, count) for topic, count in points.items() if count and topic not in SENTIMENTS]
    return sorted(found, key=lambda each: -each[1])


@functools.lru_cache(maxsize=4_096)
def label_stems(label: str) -> frozenset[str]:
    """Return the stems that point to a label: its own words, and the words of the topic with its name."""
    name = label.strip().lower()
    parts = name.replace("_", " ").replace("-", " ").replace("/", " ").split()
    found = {stem(word) for word in parts if word not in STOPWORDS}
    for one in (name, " ".join(parts), *parts):
        found |= TOPICS.get(_WORDS["synonyms"].get(one, one), frozenset())
    return frozenset(found)

"""The offline model's embeddings: hashes of words and of parts of words, so that similar texts have similar vectors."""

from __future__ import annotations

import base64
import functools
import math
import re
import struct
import zlib
from collections import Counter

MAX_DIMENSIONS = 4_096
_WORD = re.compile(r"\w+")


@functools.lru_cache(maxsize=50_000)
def _features(word: str) -> tuple[tuple[int, float], ...]:
    """Return the hashes of a word and of its groups of three letters, with their weights."""
    found = [(zlib.crc32(word.encode("utf-8", "surrogatepass")), 1.0)]
    padded = f"<{word}>"
    groups = {padded[start : start + 3] for start in range(len(padded) - 2)}
    weight = 0.5 / math.sqrt(len(groups))
    return (*found, *((zlib.crc32(group.encode("utf-8", "surrogatepass"), 7), weight) for group in sorted(groups)))


def embed(text: str, dimensions: int) -> list[float]:
    """Return a vector of length 1 that depends on the text alone."""
    vector = [0.0] * dimensions
    counts = Counter(_WORD.findall(text.lower())) or Counter([text])
    for word, count in counts.items():
        weight = 1 + math.log(count)
        for number, part in _features(word):
            vector[(number >> 1) % dimensions] += weight * (part if number & 1 else -part)
    length = math.sqrt(math.fsum(value * value for value in vector))
    if not length:  # all weights cancelled out
        vector[zlib.crc32(text.encode("utf-8", "surrogatepass")) % dimensions] = length = 1.0
    return [round(value / length, 9) if value else 0.0 for value in vector]


def as_base64(vector: list[float]) -> str:
    """Return a vector as little-endian 32-bit floats in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")

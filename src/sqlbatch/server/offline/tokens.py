"""The offline model's tokens: pieces of words, numbers and single other characters."""

from __future__ import annotations

import re

_PIECE = re.compile(r"[^\W\d_]{1,7}|\d{1,3}|[^\w\s]|_")
_PIECE_AND_SPACE = re.compile(r"\s*(?:[^\W\d_]{1,7}|\d{1,3}|[^\w\s]|_)")


def count_tokens(text: str) -> int:
    """Return how many tokens a text has."""
    return len(_PIECE.findall(text))


def cut(text: str, limit: int) -> str:
    """Return the beginning of a text that has at most `limit` tokens."""
    end = 0
    for _, match in zip(range(limit), _PIECE_AND_SPACE.finditer(text), strict=False):
        end = match.end()
    return text[:end]

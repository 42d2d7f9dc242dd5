"""The patterns of a schema: finds texts that match a pattern, and makes one."""

from __future__ import annotations

import functools
import random
import re
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import rstr

from sqlbatch.server.strict_schema import InvalidSchema

if TYPE_CHECKING:
    from collections.abc import Iterable

_REPEATS = 8  # the most repetitions beyond the minimum of a pattern
_TRIES = 200  # texts made for a pattern before giving up
_LOOKAROUND = re.compile(r"\(\?<?[=!](?:[^()\\]|\\.)*\)")
# A group that repeats without end. Matching could take forever, so no text is compared with such a pattern.
_ENDLESS_GROUP = re.compile(r"\)(?:[*+]|\{\d+,\})")
_CHARACTERS = [chr(code) for code in range(32, 127)]


class _Texts(rstr.Rstr):
    """Makes short texts for patterns. With rstr's own alphabets, each process would make different texts."""

    def __init__(self, seed: int) -> None:
        visible = "".join(_CHARACTERS).strip()
        nonword, nondigits = re.sub(r"\w", "", visible), re.sub(r"\d", "", visible)
        chance = random.Random(seed)  # noqa: S311 - no secret
        super().__init__(chance, nonword=nonword, nondigits=nondigits, nonwhitespace=visible, whitespace=" ")

    def _handle_in(self, value: Any) -> Any:
        candidates = list(chain(*(self._handle_state(one) for one in value)))
        if candidates[0] is False:
            candidates = sorted(set(_CHARACTERS).difference(candidates[1:]))
        return self._random.choice(candidates)

    def _handle_repeat(self, start_range: int, end_range: int, value: Any) -> str:
        times = self._random.randint(start_range, min(end_range, start_range + _REPEATS))
        return "".join(self._handle_state(state) for _ in range(times) for state in value)


class Pattern:
    """One pattern of a schema; `made` is a text that matches it."""

    def __init__(self, pattern: str) -> None:
        self._is_safe = not _ENDLESS_GROUP.search(pattern)
        python = re.sub(r"\(\?<(?![=!])", "(?P<", pattern)  # named groups as Python writes them
        try:
            self._regex = re.compile(python, re.ASCII)
            self.made = self._make(_LOOKAROUND.sub("", python))  # a lookaround adds no text
        except (re.error, OverflowError, RecursionError, KeyError, IndexError) as error:
            raise InvalidSchema(f"the pattern {pattern} is not supported: {error}") from error

    def matching(self, texts: Iterable[str]) -> list[str]:
        """Return the first three texts that match."""
        return list(islice((one for one in texts if self._is_safe and self._regex.search(one)), 3))

    def _make(self, pattern: str) -> str:
        """Return the shortest of several texts that match."""
        texts = (_Texts(seed).xeger(pattern) for seed in range(_TRIES))
        found = list(islice((text for text in texts if not self._is_safe or self._regex.search(text)), 10))
        if not found:
            raise InvalidSchema(f"no text was found that matches the pattern {self._regex.pattern}")
        return min(found, key=len)


@functools.lru_cache(maxsize=256)
def read_pattern(pattern: str) -> Pattern:
    """Return a pattern of a schema; raises InvalidSchema if no matching text can be made."""
    return Pattern(pattern)

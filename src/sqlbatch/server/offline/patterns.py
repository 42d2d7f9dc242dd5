"""The patterns of a schema: texts of the input that match, and a text made for the pattern alone."""

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

_REPEATS = 8  # repetitions beyond the least that a pattern asks for
_TRIES = 200  # texts made for a pattern before giving up
_LOOKAROUND = re.compile(r"\(\?<?[=!](?:[^()\\]|\\.)*\)")


class _Texts(rstr.Rstr):
    """Short texts for patterns, the same in every process: the order of rstr's own alphabets follows the hash seed."""

    def __init__(self, seed: int) -> None:
        visible = [chr(code) for code in range(33, 127)]
        nonword = "".join(char for char in visible if not (char.isalnum() or char == "_"))
        nondigits = "".join(char for char in visible if not char.isdigit())
        chance = random.Random(seed)  # noqa: S311 - no secret
        super().__init__(chance, nonword=nonword, nondigits=nondigits, nonwhitespace="".join(visible), whitespace=" ")

    def _handle_in(self, value: Any) -> Any:
        candidates = list(chain(*(self._handle_state(one) for one in value)))
        if candidates[0] is False:
            candidates = sorted({chr(code) for code in range(32, 127)}.difference(candidates[1:]))
        return self._random.choice(candidates)

    def _handle_repeat(self, start_range: int, end_range: int, value: Any) -> str:
        times = self._random.randint(start_range, min(end_range, start_range + _REPEATS))
        return "".join(self._handle_state(state) for _ in range(times) for state in value)


class Pattern:
    """One pattern of a schema, and a text made for it alone."""

    def __init__(self, pattern: str) -> None:
        self._safe = not _explosive(pattern)
        python = re.sub(r"\(\?<(?![=!])", "(?P<", pattern)  # named groups as Python writes them
        try:
            self._regex = re.compile(python, re.ASCII)
            self.made = self._make(_LOOKAROUND.sub("", python))  # what looks around adds nothing
        except (re.error, OverflowError, RecursionError, KeyError, IndexError) as error:
            raise InvalidSchema(f"the pattern {pattern} is not supported: {error}") from error

    def matching(self, suggestions: Iterable[str]) -> list[str]:
        """Return the first few texts that match."""
        return list(islice((one for one in suggestions if self._safe and self._regex.search(one)), 3))

    def _make(self, pattern: str) -> str:
        """Return a short one of several texts that match."""
        texts = (_Texts(seed).xeger(pattern) for seed in range(_TRIES))
        fitting = (text for text in texts if not self._safe or self._regex.search(text))
        found = list(islice(fitting, 10))
        if not found:
            raise InvalidSchema(f"no text was found that matches the pattern {self._regex.pattern}")
        return min(found, key=len)


@functools.lru_cache(maxsize=256)
def read_pattern(pattern: str) -> Pattern:
    """Return a pattern of a schema; raises InvalidSchema for one that no text can be made for."""
    return Pattern(pattern)


def _explosive(pattern: str) -> bool:
    """Return whether an endless repetition stands inside another, for which matching may take for ever."""
    rest = re.sub(r"\[\^?\]?[^\]]*\]", "x", re.sub(r"\\.", "x", pattern))
    while group := re.search(r"\(([^()]*)\)([+*]|\{\d+,\})?", rest):
        if re.search(r"[+*]|\{\d+,\}", group[1]):
            if group[2]:
                return True
            rest = f"{rest[: group.start()]}x+{rest[group.end() :]}"
        else:
            rest = f"{rest[: group.start()]}x{group[2] or ''}{rest[group.end() :]}"
    return False

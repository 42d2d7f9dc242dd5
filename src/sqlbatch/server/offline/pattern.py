"""Texts that match a regular expression (ECMA 262, the commonly used constructs)."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MANY = 1 << 30
_CLASSES = {"d": string.digits, "w": string.ascii_letters + string.digits + "_", "s": " "}
_PRINTABLE = string.ascii_letters + string.digits + " -_.,:;/!?'\"#$%&()*+<=>@[\\]^`{|}~"
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_NAMED_GROUP = re.compile(r"\(\?<(?![=!])")


class UnknownConstruct(ValueError):
    """The pattern uses a construct that no text can be made for."""


@dataclass
class _Part:
    """A piece of a pattern: literal characters to choose from, or a sequence, or alternatives, repeated."""

    chars: str = ""
    options: list[list[_Part]] = field(default_factory=list)
    least: int = 1
    most: int = 1
    group: int | None = None
    reference: int | None = None


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._groups = 0

    def parse(self) -> _Part:
        part = _Part(options=self._alternatives())
        if self._at < len(self._pattern):
            raise UnknownConstruct(self._pattern[self._at :])
        return part

    def _peek(self, text: str) -> bool:
        return self._pattern.startswith(text, self._at)

    def _take(self) -> str:
        if self._at >= len(self._pattern):
            raise UnknownConstruct("the pattern ends too early")
        self._at += 1
        return self._pattern[self._at - 1]

    def _alternatives(self) -> list[list[_Part]]:
        options: list[list[_Part]] = [[]]
        while self._at < len(self._pattern) and not self._peek(")"):
            if self._peek("|"):
                self._at += 1
                options.append([])
                continue
            part = self._one()
            if part:
                self._repeat(part)
                options[-1].append(part)
        return options

    def _one(self) -> _Part | None:
        char = self._take()
        if char in "^$":
            return None
        if char == ".":
            return _Part(_PRINTABLE)
        if char == "[":
            return _Part(self._set())
        if char == "(":
            return self._group()
        if char == "\\":
            return self._escape()
        return _Part(char)

    def _group(self) -> _Part | None:
        number = None
        looks = False
        if self._peek("?"):
            for opening in ("?:", "?=", "?!", "?<=", "?<!"):
                if self._peek(opening):
                    self._at += len(opening)
                    looks = opening != "?:"
                    break
            else:
                match = re.compile(r"\?P?<\w+>").match(self._pattern, self._at)
                if not match:
                    raise UnknownConstruct(self._pattern[self._at :])
                self._at = match.end()
                self._groups += 1
                number = self._groups
        else:
            self._groups += 1
            number = self._groups
        part = _Part(options=self._alternatives(), group=number)
        if self._take() != ")":
            raise UnknownConstruct("an unbalanced group")
        return None if looks else part  # what is made is checked against the whole pattern in the end

    def _escape(self) -> _Part | None:
        char = self._take()
        if char in "bB":
            return None
        if char.isdigit() and char != "0":
            return _Part(reference=int(char))
        return _Part(self._escaped(char))

    def _escaped(self, char: str) -> str:
        if char.lower() in _CLASSES:
            inside = _CLASSES[char.lower()]
            return inside if char.islower() else "".join(one for one in _PRINTABLE if one not in inside)
        if char in "ux":
            digits = 4 if char == "u" else 2
            code = self._pattern[self._at : self._at + digits]
            self._at += digits
            return chr(int(code, 16))
        if char in "pPck":
            raise UnknownConstruct(f"\\{char}")
        return _ESCAPES.get(char, char)

    def _set(self) -> str:
        negated = self._peek("^")
        self._at += negated
        chars = ""
        while not self._peek("]"):
            char = self._take()
            chosen = self._escaped(self._take()) if char == "\\" else char
            if len(chosen) == 1 and self._peek("-") and not self._pattern.startswith("-]", self._at):
                self._at += 1
                last = self._take()
                last = self._escaped(self._take()) if last == "\\" else last
                span = range(ord(chosen), min(ord(last), ord(chosen) + 300) + 1)
                chosen = "".join(map(chr, span)) if len(last) == 1 else chosen + "-" + last
            chars += chosen
        self._at += 1
        if negated:
            chars = "".join(one for one in _PRINTABLE if one not in chars) or "\u00e9"
        if not chars:
            raise UnknownConstruct("[]")
        return chars

    def _repeat(self, part: _Part) -> None:
        simple = {"*": (0, _MANY), "+": (1, _MANY), "?": (0, 1)}
        if self._at < len(self._pattern) and self._pattern[self._at] in simple:
            part.least, part.most = simple[self._take()]
        else:
            match = re.compile(r"\{(\d+)(,?)(\d*)\}").match(self._pattern, self._at)
            if not match:
                return
            self._at = match.end()
            part.least = int(match[1])
            part.most = int(match[3]) if match[3] else _MANY if match[2] else part.least
        if part.least > 1_000:
            raise UnknownConstruct("more than 1,000 repetitions")
        if self._peek("?") or self._peek("+"):
            self._at += 1


class Pattern:
    """One pattern: finds a text that matches among suggestions, in a longer text, or makes one."""

    def __init__(self, pattern: str) -> None:
        self._tree = _Parser(pattern).parse()
        translated = _NAMED_GROUP.sub("(?P<", pattern)
        self._safe = not _explosive(self._tree)
        inner = translated.removeprefix("^")
        if inner.endswith("$") and not inner.endswith(r"\$"):
            inner = inner[:-1]
        try:
            self._whole = re.compile(translated, re.ASCII)
            self._inner = re.compile(rf"(?<![\w.,-])(?:{inner})(?!\w|[.,-]\w)", re.ASCII)
        except (re.error, OverflowError) as error:
            raise UnknownConstruct(str(error)) from error

    def matches(self, text: str) -> bool:
        """Whether a text matches, as JSON Schema means it: somewhere, unless the pattern has anchors."""
        return self._whole.search(text) is not None

    def find(self, suggestions: Iterable[str], text: str) -> str | None:
        """Return the first suggestion that matches, else the first part of `text` that does, else None."""
        if not self._safe:
            return None
        for one in suggestions:
            if self.matches(one):
                return one
        for match in self._inner.finditer(text[:2_000]):
            if match[0] and self.matches(match[0]):
                return match[0]
        return None

    def make(self) -> str | None:
        """Return a text made from the pattern alone; None when no attempt matches."""
        for attempt in range(200):
            made = self._made(self._tree, attempt, {})
            if not self._safe or self.matches(made):
                return made
        return None

    def _made(self, part: _Part, attempt: int, groups: dict[int, str]) -> str:
        times = min(part.least + (attempt % 7 if attempt % 2 else attempt // 20), part.most, part.least + 64)
        pieces = []
        for turn in range(times):
            if part.reference is not None:
                pieces.append(groups.get(part.reference, ""))
            elif part.options:
                option = part.options[attempt % len(part.options)]
                pieces.append("".join(self._made(one, attempt, groups) for one in option))
            else:
                pieces.append(_choose(part.chars, attempt + turn * (attempt > 0)))
        made = "".join(pieces)
        if part.group is not None:
            groups[part.group] = made
        return made


def _choose(chars: str, turn: int) -> str:
    """Return one of the characters, letters and digits first."""
    pleasant = [char for char in chars if char.isalnum() and char.isascii()] or list(chars)
    return pleasant[turn % len(pleasant)]


def _explosive(part: _Part, repeated: bool = False) -> bool:
    """Whether a repetition without end stands inside another, for which Python's matching may take for ever."""
    endless = part.most > 1_000
    if endless and repeated:
        return True
    inside = repeated or endless
    return any(_explosive(one, inside) for option in part.options for one in option)

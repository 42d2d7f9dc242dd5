"""The examples of a page: its fenced blocks, what each is, and what the page says is printed.

    ```sh               commands; their output is not shown, or in the ```text block that follows
    ```console          `$ command` lines, each with its output as on a terminal of 80 columns
    ```sql              a statement, run by `sqlbatch query`; its output in the ```text block that follows
    ```python           run in one namespace a page; what it prints in the ```text block that follows
    ```text             what the block before prints; with `drawing` something that nothing prints
    ```sql file=NAME    a file, written before what follows runs (where it is there already, it must be the same)

Further words of the first line: `exit=3`, the exit code of each command in the block; `not-run=REASON`, one of NOT_RUN;
`needs=MODULE`, run where the module is installed. A comment `<!-- run: command -->` runs without being shown.
A line `...` stands for any lines of the output. What differs from run to run is compared by its shape (MASKS).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from pathlib import Path

# Why an example is not run.
NOT_RUN = {
    "installs": "it makes an environment, which the checks themselves do",
    "service": "it needs another program, or runs until it is stopped",
    "long": "it runs for minutes",
}
# What differs from run to run, and what it is compared as.
MASKS = (
    (re.compile(r"\bbatch_([0-9a-f]{16,}|[0-9a-f]{7}…[0-9a-f]{6})"), "batch_0"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "uuid"),
    (re.compile(r"\b\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?"), "date"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:0"),
    (re.compile(r"\b\d+(\.\d+)? (s|seconds)\b"), "0 s"),
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
)
ANY = "..."


@dataclass
class Block:
    """One fenced block; `line` is the number of its first line of content, counted from 0."""

    language: str
    words: tuple[str, ...]
    text: str
    line: int
    lines: int
    output: Block | None = field(default=None, compare=False)

    def word(self, name: str) -> str | None:
        """Return the value of `name=value` in the first line."""
        return next((word.partition("=")[2] for word in self.words if word.startswith(f"{name}=")), None)

    @property
    def exit(self) -> int:
        """The exit code that its commands shall have."""
        return int(self.word("exit") or 0)


@dataclass(frozen=True)
class Example:
    """A command with the output that the page shows, or None; where that is in the page."""

    command: str
    shown: str | None
    line: int
    lines: int


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in their order, an output with what prints it."""
    found: list[Block] = []
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.map is None:
            continue
        first, last = token.map
        where = f"{page.name}:{first + 1}"
        if token.type == "code_block":
            raise AssertionError(f"{where}: write ``` and what it is, not an indented block")
        if token.type == "html_block" and token.content.startswith("<!-- run: "):
            command = token.content.strip().removeprefix("<!-- run: ").removesuffix("-->").strip()
            found.append(Block("sh", (), command, first, 1))
        if token.type != "fence":
            continue
        assert token.info.strip(), f"{where}: a block has to say what it is"
        language, *words = token.info.split()
        block = Block(language, tuple(words), token.content, first + 1, last - first - 2)
        if language == "text" and "drawing" not in words:
            assert found, f"{where}: nothing stands before this output"
            assert found[-1].output is None, f"{where}: nothing prints this output"
            found[-1].output = block
        elif language != "text":
            found.append(block)
    return found


def examples(block: Block) -> list[Example]:
    """Return the commands of a `sh` or `console` block."""
    lines = block.text.splitlines()
    if block.language == "sh":
        return [Example(text, None, block.line + at, 0) for at, _, text in _commands(lines, "")]
    found = _commands(lines, "$ ")
    assert found, f"line {block.line}: a console block needs a line that begins with $"
    assert found[0][0] == 0, f"line {block.line}: a console block begins with $"
    ends = [at for at, _, _ in found[1:]] + [len(lines)]
    return [
        Example(text, "\n".join(lines[after:end]) if end > after else None, block.line + after, end - after)
        for (_, after, text), end in zip(found, ends, strict=True)
    ]


def _commands(lines: list[str], prompt: str) -> list[tuple[int, int, str]]:
    """Return each command with its first line and the line after its last: a backslash or an open quote goes on."""
    found = []
    at = 0
    while at < len(lines):
        first, text = at, lines[at]
        at += 1
        if not text.startswith(prompt) or not text.strip() or (not prompt and text.startswith("#")):
            continue
        while at < len(lines) and (text.endswith("\\") or _open(text)):
            text += "\n" + lines[at]
            at += 1
        found.append((first, at, text.removeprefix(prompt)))
    return found


def _open(text: str) -> bool:
    """Whether a quote is open at the end of a command."""
    quote = ""
    for character in text.replace("\\\\", "").replace('\\"', ""):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
    return bool(quote)


def differs(shown: str, printed: str) -> bool:
    """Whether what a page shows is not what was printed, by shape and with `...` for any lines."""
    return not _matches(_shape(shown), _shape(printed))


def _matches(shown: list[str], printed: list[str]) -> bool:
    if ANY not in shown:
        return shown == printed
    at = shown.index(ANY)
    rest = shown[at + 1 :]
    if printed[:at] != shown[:at]:
        return False
    return any(_matches(rest, printed[start:]) for start in range(at, len(printed) + 1))


def _shape(text: str) -> list[str]:
    for pattern, shape in MASKS:
        text = pattern.sub(shape, text)
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    return lines

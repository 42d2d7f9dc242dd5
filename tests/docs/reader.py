"""A reader at a terminal, who follows a page: types its commands, answers its questions, writes its files."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlbatch.cli.app import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OPERATORS = re.compile(r"[|&;<>()]+")
_ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=")
# What the page shows as typed at a question.
_TYPED = re.compile(r"\[y/N\] (\w+)")


class Terminal(io.TextIOWrapper):
    """A terminal of 80 columns that cannot move its cursor (TERM=dumb): what is printed stays, in its order."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, encoding="utf-8", write_through=True)

    def isatty(self) -> bool:
        """Say yes, as a terminal does."""
        return True

    def text(self) -> str:
        """Return all that was printed."""
        return self._bytes.getvalue().decode()


class _Keyboard(io.StringIO):
    """What is typed, seen on the terminal as it is read."""

    def __init__(self, typed: str, terminal: Terminal) -> None:
        super().__init__(typed)
        self._terminal = terminal

    def isatty(self) -> bool:
        return True

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        line = super().readline(-1 if size is None else size)
        self._terminal.write(line)
        return line


@dataclass
class Reader:
    """Runs what a page says in one folder, with what it has exported so far."""

    folder: Path
    environment: dict[str, str]
    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})

    def command(self, text: str, shown: str | None = None) -> tuple[int, str]:
        """Run a command; return its exit code and what the terminal shows. sqlbatch itself runs in this process."""
        words = shlex.split(text.replace("\\\n", " "), comments=True)
        if not words:
            return 0, ""
        if words[0] == "export":
            for word in words[1:]:
                name, _, value = word.partition("=")
                self.environment[name] = value
            return 0, ""
        assigned = {}
        while _ASSIGNMENT.match(words[0]):
            name, _, value = words.pop(0).partition("=")
            assigned[name] = value
        if words[0] != "sqlbatch" or _for_a_shell(text):
            return self._shell(text)
        with self._terminal(assigned, "".join(f"{word}\n" for word in _TYPED.findall(shown or ""))) as terminal:
            try:
                code = main(words[1:])
            except SystemExit as end:
                code = int(end.code or 0)
        return code, terminal.text()

    def python(self, text: str, name: str) -> str:
        """Run Python in the page's namespace; return what it prints."""
        with self._terminal({}, "") as terminal:
            exec(compile(text, name, "exec"), self.namespace)  # noqa: S102 (the examples of our own pages)
        return terminal.text()

    def sql(self, text: str) -> tuple[int, str]:
        """Run SQL by `sqlbatch query`; return its exit code and what the terminal shows."""
        with self._terminal({}, "") as terminal:
            code = main(["query", "--", text])
        return code, terminal.text()

    def file(self, name: str, text: str) -> None:
        """Write a file of the page; one that is there already must be the same."""
        path = self.folder / name
        if path.exists():
            assert path.read_text(encoding="utf-8") == text, f"{name} is not what the page shows"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _shell(self, text: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-c", text], cwd=self.folder, env=os.environ | self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout.decode()

    @contextlib.contextmanager
    def _terminal(self, assigned: dict[str, str], typed: str) -> Iterator[Terminal]:
        before, stdin = dict(os.environ), sys.stdin
        os.environ.update(self.environment | assigned)
        terminal = Terminal()
        sys.stdin = _Keyboard(typed, terminal)
        try:
            with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
                yield terminal
        finally:
            sys.stdin = stdin
            for name in set(os.environ) - set(before):
                del os.environ[name]
            os.environ.update(before)


def _for_a_shell(text: str) -> bool:
    """Whether a command has pipes, redirections or substitutions outside of its quotes."""
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=False, punctuation_chars=True)
    lexer.whitespace_split = True
    return any(_OPERATORS.fullmatch(word) or word.startswith("$") for word in lexer)

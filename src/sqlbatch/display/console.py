"""The two consoles: messages on stderr, data on stdout, and the exit codes."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from enum import IntEnum
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from sqlbatch import trace
from sqlbatch.layout import harmless, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator


class Exit(IntEnum):
    """The exit codes of the command line."""

    DONE = 0
    """Every row is answered or skipped, or a step was done as asked."""
    ERROR = 1
    """Something is wrong, or nothing could be sent."""
    USAGE = 2
    """The command was not understood."""
    FAILED_ROWS = 3
    """The job ended, and some of its rows failed."""
    INTERRUPTED = 4
    """Ctrl-C; the job goes on at the provider."""


err = Console(stderr=True, highlight=False, soft_wrap=True)


def out() -> Console:
    """Return the console of stdout; in a pipe it is wide enough for any table."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def plain(text: str) -> str:
    """Return a text for the console: control characters made visible, and without markup."""
    return escape(harmless(text))


def info(message: str) -> None:
    """Print a message on stderr, unchanged."""
    err.print(plain(message), soft_wrap=not err.is_terminal)


@contextlib.contextmanager
def always_print(*, wanted: bool = True) -> Iterator[None]:
    """Print the messages of the block even with --quiet, if that is `wanted`."""
    before, err.quiet = err.quiet, err.quiet and not wanted
    try:
        yield
    finally:
        err.quiet = before


def error(message: str) -> None:
    """Print an error on stderr."""
    with always_print():
        err.print(f"[bold red]error:[/] {plain(message)}", soft_wrap=not err.is_terminal)


def print_json(value: object) -> None:
    """Print a value as JSON on stdout."""
    sys.stdout.write(as_json(value))
    sys.stdout.flush()


def as_json(value: object) -> str:
    """Return a value as standard JSON; values that JSON does not have are written as text."""
    return json.dumps(_finite(value), ensure_ascii=False, indent=2, default=str, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    """Return a value with null for NaN and Infinity, which JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


@contextlib.contextmanager
def working(doing: str, *, elsewhere: bool = True) -> Iterator[None]:
    """Show activity during the block: a moving bar on a terminal, one line `elsewhere`."""
    if not err.is_terminal:
        if elsewhere:
            info(f"{doing} …")
        yield
        return
    if err.is_dumb_terminal:
        # On a console that cannot erase, a bar would leave an empty line.
        yield
        return
    # Importing it takes longer than most commands take to print.
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=err, transient=True
    ) as bar:
        bar.add_task(doing, total=None)
        yield


def confirm(question: str) -> bool:
    """Ask a yes-or-no question on the terminal; no is the default."""
    with always_print():
        err.print(f"{plain(question)} \\[y/N] ", end="", soft_wrap=not err.is_terminal)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def show_facts(console: Console, facts: dict[str, str]) -> None:
    """Print facts, one a line, with their names in one column; long ones are wrapped on a terminal."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        lines = value.splitlines() or [""]
        if console.is_terminal:
            lines = wrapped(value, max(console.width - width - 2, 20))
        console.print(f"[dim]{name:<{width}}[/]  {plain(lines[0])}", soft_wrap=True)
        for line in lines[1:]:
            console.print(" " * (width + 2) + plain(line), soft_wrap=True)


def sized(size: int) -> str:
    """Return a number of bytes in words."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: `1 batch`, `2 batches`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def nonzero(*counts: tuple[int, str]) -> list[str]:
    """Return numbers with their words, `1,200 answered`, without those that are 0."""
    return [f"{number:,} {words}" for number, words in counts if number]


class Verbosity:
    """The verbosity of one run of a command; `debug` shows the traceback of an error."""

    debug = False

    def set(self, *, quiet: bool, verbose: bool, debug: bool) -> None:
        """Set the verbosity from now on.

        --quiet leaves errors and data, --verbose adds SQL statements and HTTP calls.
        """
        err.quiet = quiet
        self.debug = debug
        trace.listen(_told if verbose else None)


verbosity = Verbosity()


def _told(kind: str, what: str, seconds: float) -> None:
    err.print(f"[dim]{kind:<4} {seconds * 1000:8,.1f} ms  {plain(what)}[/]")

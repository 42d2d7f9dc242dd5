"""What is done and how long it takes, for whoever listens: each SQL statement, each HTTP call; no key, no row value."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Listener = Callable[[str, str, float], object]

# Characters of a statement that are told.
_LONGEST = 240
_listeners: list[Listener] = []


def listen(listener: Listener | None) -> None:
    """Call `listener` with the kind (`sql`, `http`), the words and the seconds of all that is done; None ends it."""
    _listeners[:] = [listener] if listener is not None else []


def now() -> float:
    """Return the reading of the clock that times are taken with, in seconds."""
    return time.perf_counter()


def told(kind: str, what: str, began: float) -> None:
    """Tell that something was done that began at a reading of `now`."""
    for listener in _listeners:
        listener(kind, what, time.perf_counter() - began)


def sql_told(sql: str, began: float, name: str | None = None) -> None:
    """Tell that a SQL statement was done, under the name of its block; parameters are never told.

    What attaches a database or makes a secret may hold a password: its texts are left out.
    """
    if not _listeners:
        return
    words = " ".join(sql.split())
    if re.match(r"(attach|create\s+(or\s+replace\s+)?(\w+\s+)*secret)\b", words, re.IGNORECASE):
        words = re.sub(r"'(?:[^']|'')*'", "'…'", words)
    words = words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"
    told("sql", f"{name}: {words}" if name else words, began)

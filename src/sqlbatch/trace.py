"""What is done and how long it takes, for whoever listens: each SQL statement, each HTTP call; no key, no row value."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Listener = Callable[[str, str, float], object]

# What a password is called in connection strings (password=…), in named arguments, and in the signature of a URL.
_NAMES = r"\b[\w-]*(?:password|passwd|pwd|secret|token|signature|credential|account_?key|access_?key|api_?key)\w*"
_VALUE = r"""(?:''.*?''|'(?:[^']|'')*'|"[^"]*"|[^\s;&,)'"]+)"""
_ASSIGNED = re.compile(rf"(?is)({_NAMES}\s*=\s*){_VALUE}")
_ARGUMENT = re.compile(rf"(?is)({_NAMES}\s*(?::=|=>)\s*)'(?:[^']|'')*'")
_IN_URL = re.compile(r"""(\b[a-zA-Z][\w+.-]*://[^\s/@:'"]*:)[^\s/'"]+(?=@)|([?&](?:sig|key)=)[^&\s'"]+""")
# Characters of a statement that are told.
_LONGEST = 240
_listeners: list[Listener] = []


def masked(text: str, *, sql: bool = False) -> str:
    """Return a text without the passwords in its connection strings and URLs.

    In `sql` only string literals and named arguments are masked: `WHERE token = 3` compares a column.
    """

    def hide(part: str) -> str:
        return _ASSIGNED.sub(r"\1…", part)

    text = _IN_URL.sub(lambda found: f"{found[1] or found[2]}…", text)
    text = re.sub(r"'(?:[^']|'')*'", lambda literal: f"'{hide(literal[0][1:-1])}'", text) if sql else hide(text)
    return _ARGUMENT.sub(r"\1'…'", text)


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
    words = masked(words, sql=True)
    words = words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"
    told("sql", f"{name}: {words}" if name else words, began)


def http_began(request: Any) -> None:
    """Note when an HTTP call began: the first of the client's two hooks."""
    request.extensions["sqlbatch_began"] = now()


def http_told(response: Any) -> None:
    """Tell an HTTP call by its method, address and status; headers, bodies and signed addresses hold secrets."""
    request = response.request
    url = str(request.url) if "authorization" in request.headers else str(request.url).partition("?")[0]
    told("http", f"{request.method} {url} {response.status_code}", request.extensions["sqlbatch_began"])

"""Report each SQL statement and each HTTP call with its duration to a listener; never a key or a row's value."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Listener = Callable[[str, str, float], object]

# Names of passwords in connection strings (password=…), in named arguments, and in the signature of a URL.
_NAMES = r"\b[\w-]*(?:password|passwd|pwd|secret|token|signature|credential|account_?key|access_?key|api_?key)\w*"
_VALUE = r"""(?:''.*?''|'(?:[^']|'')*'|"[^"]*"|[^\s;&,)'"]+)"""
_ASSIGNED = re.compile(rf"(?is)({_NAMES}\s*=\s*){_VALUE}")
_ARGUMENT = re.compile(rf"(?is)({_NAMES}\s*(?::=|=>)\s*)'(?:[^']|'')*'")
_IN_URL = re.compile(r"""(\b[a-zA-Z][\w+.-]*://[^\s/@:'"]*:)[^\s/'"]+(?=@)|([?&](?:sig|key)=)[^&\s'"]+""")
# The most characters of a statement that are reported.
_LONGEST = 240
_listeners: list[Listener] = []


def masked(text: str, *, sql: bool = False) -> str:
    """Return a text without the passwords in its connection strings and URLs.

    With `sql`, only string literals and named arguments are masked: `WHERE token = 3` compares a column.
    """

    def hide(part: str) -> str:
        return _ASSIGNED.sub(r"\1…", part)

    text = _IN_URL.sub(lambda found: f"{found[1] or found[2]}…", text)
    text = re.sub(r"'(?:[^']|'')*'", lambda literal: f"'{hide(literal[0][1:-1])}'", text) if sql else hide(text)
    return _ARGUMENT.sub(r"\1'…'", text)


def listen(listener: Listener | None) -> None:
    """Call `listener` with the kind (`sql`, `http`), a text and the seconds of each action; None turns it off."""
    _listeners[:] = [listener] if listener is not None else []


def now() -> float:
    """Return the current reading of the timing clock, in seconds."""
    return time.perf_counter()


def report(kind: str, what: str, began: float) -> None:
    """Report an action that began at a reading of `now`."""
    for listener in _listeners:
        listener(kind, what, time.perf_counter() - began)


def report_sql(sql: str, began: float, name: str | None = None) -> None:
    """Report a SQL statement under the name of its block; parameters are never reported.

    A statement that attaches a database or creates a secret may contain a password, so its string literals are left
    out.
    """
    if not _listeners:
        return
    words = " ".join(sql.split())
    if re.match(r"(attach|create\s+(or\s+replace\s+)?(\w+\s+)*secret)\b", words, re.IGNORECASE):
        words = re.sub(r"'(?:[^']|'')*'", "'…'", words)
    words = masked(words, sql=True)
    words = words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"
    report("sql", f"{name}: {words}" if name else words, began)


def note_http_begin(request: Any) -> None:
    """Note when an HTTP call began: the first of the client's two hooks."""
    request.extensions["sqlbatch_began"] = now()


def report_http(response: Any) -> None:
    """Report an HTTP call by its method, address and status.

    Headers, bodies and signed addresses are left out, because they contain secrets.
    """
    request = response.request
    url = str(request.url) if "authorization" in request.headers else str(request.url).partition("?")[0]
    report("http", f"{request.method} {url} {response.status_code}", request.extensions["sqlbatch_began"])

"""The page over a database of finished jobs, read over HTTP as a browser does."""

from __future__ import annotations

import http.client
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from sqlbatch.view.app import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlbatch.db.database import Database


@dataclass(frozen=True)
class Reply:
    """A page: its status, its headers by lower-case names, its text or bytes."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def html(self) -> str:
        """The page as it came."""
        return self.body.decode()

    @property
    def text(self) -> str:
        """What a person reads of it, in one line."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.html)).split())


@dataclass
class Browser:
    """Asks for pages at a port, and keeps cookies."""

    port: int
    token: str
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Reply:
        """Return a page."""
        return self._ask("GET", path, headers, None)

    def post(self, path: str, form: Mapping[str, str], **headers: str) -> Reply:
        """Send a form as one of our pages would, and return the reply."""
        sent = {"Origin": f"http://127.0.0.1:{self.port}", "Content-Type": "application/x-www-form-urlencoded"}
        return self._ask("POST", path, {**sent, **headers}, urlencode(form))

    def open(self) -> Browser:
        """Come in by the address with the token."""
        assert self.get(f"/?token={self.token}").status == 303
        return self

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: str | None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        given = {name.replace("_", "-"): value for name, value in headers.items() if value}
        connection.request(method, path, body, {**({"Cookie": cookies} if cookies else {}), **given})
        reply = connection.getresponse()
        content = reply.read()
        for name, value in reply.getheaders():
            if name.lower() == "set-cookie":
                cookie, _, text = value.partition(";")[0].partition("=")
                self.cookies[cookie] = text
        found = {name.lower(): value for name, value in reply.getheaders()}
        connection.close()
        return Reply(reply.status, found, content)


@contextmanager
def served(database: Database) -> Iterator[Browser]:
    """Serve the page for the block; gives a browser that has not come in yet."""
    with running(database, at="", reviewer="kim", port=0) as address:
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=(.+)", address("/"))
        assert found
        yield Browser(int(found[1]), found[2])


@pytest.fixture
def page() -> Iterator[Callable[[Database], Browser]]:
    """Serve the page over a database, and come in."""
    open_pages = []

    def opened(database: Database) -> Browser:
        context = served(database)
        open_pages.append(context)
        return context.__enter__().open()

    yield opened
    for context in open_pages:
        context.__exit__(None, None, None)

"""The parts that all pages share: the database, the templates, and how values are written in them."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from sqlbatch.db.prices import in_dollars
from sqlbatch.display import counted
from sqlbatch.errors import SqlbatchError
from sqlbatch.view.security import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from starlette.requests import Request
    from starlette.responses import Response

    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session


class NotFound(SqlbatchError):
    """There is no such page."""


@dataclass(frozen=True)
class Site:
    """The parts that all pages share.

    `at` is the option that a command needs to find the database, `reviewer` the reviewer unless the page names one.
    """

    database: Database
    at: str
    reviewer: str
    token: str = field(repr=False)
    port: int

    def render(self, request: Request, template: str, values: Mapping[str, Any], status: int = 200) -> Response:
        """Return a page, with its values escaped."""
        shared = {
            "database": self.database.name,
            "file": self.database.path.name if self.database.path else self.database.name,
            "path": request.url.path,
            "share": self.share(request, request.url.query),
        }
        return HTMLResponse(_templates().get_template(template).render({**shared, **values}), status)

    def share(self, request: Request, query: str) -> str:
        """Return the address of a page, with its query, in a form that a colleague on this computer can open."""
        begin = f"{query}&" if query else ""
        return f"http://{request.url.netloc}{request.url.path}?{begin}{TOKEN}={self.token}"


@dataclass(frozen=True)
class Visit:
    """A request for a page, and the session in which it is answered."""

    site: Site
    request: Request
    session: Session


def page(template: str) -> Callable[[Callable[[Visit], dict[str, Any]]], Callable[[Site, Request], Response]]:
    """Make a page of a function that returns the values of its template; the status is 400 if one is a `problem`."""

    def made(values_of: Callable[[Visit], dict[str, Any]]) -> Callable[[Site, Request], Response]:
        def answered(site: Site, request: Request) -> Response:
            values = site.database.read(lambda session: values_of(Visit(site, request, session)))
            return site.render(request, template, values, 400 if values.get("problem") else 200)

        return answered

    return made


def address(path: str, /, *pairs: tuple[str, object], **more: object) -> str:
    """Return a path with parameters; those that are None or empty are left out."""
    given = [(name, value) for name, value in (*pairs, *more.items()) if value is not None and value not in ("", False)]
    return f"{path}?{urlencode(given)}" if given else path


def part(text: object) -> str:
    """Return a text as one part of a path."""
    return quote(str(text), safe="")


def number(text: str | None, default: int) -> int:
    """Return a whole number above 0 from an address, or the default."""
    return int(text) if text is not None and re.fullmatch(r"0*[1-9][0-9]{0,11}", text) else default


@functools.cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("sqlbatch.view"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": lambda value: "" if value is None else f"{value:,}",
        "dollars": lambda value: "unknown" if value is None else in_dollars(value),
        "moment": _moment,
        "counted": counted,
        "pretty": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        "part": part,
    }
    return environment


def _moment(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M} UTC"

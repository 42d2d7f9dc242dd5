"""The application of the page: its routes, and the server on loopback that runs it."""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from sqlbatch import display
from sqlbatch.db import jobs
from sqlbatch.errors import DatabaseLocked, InvalidSettings, JobError, SqlbatchError, ViewError
from sqlbatch.view import comparison, pages, pictures, review, spend, table
from sqlbatch.view.security import TOKEN, Gate
from sqlbatch.view.site import NotFound, Site

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session

    Write = Callable[[Site, Request, Mapping[str, str]], Response]

# The port that is tried first, so that a bookmark stays good.
USUAL_PORT = 8321
LARGEST_FORM = 2_000_000  # bytes
_START_TIMEOUT = 30.0  # seconds; far more than a start takes
_HEADINGS = {404: "Not found", 405: "Not possible", 500: "Something broke", 503: "The database is busy"}
_log = logging.getLogger("sqlbatch.view")


def make_app(site: Site) -> Starlette:
    """Return the application: pages to read, pages that write, the files beside them, and the gate before all."""

    def posted(page: Write) -> Callable[[Request], Awaitable[Response]]:
        async def answered(request: Request) -> Response:
            return await run_in_threadpool(page, site, request, await _form(request))

        return answered

    read = {**pages.READ, **table.READ, **pictures.READ, **review.READ, **spend.READ, **comparison.READ}
    # Pages are plain functions, which Starlette runs in threads, so that a slow one keeps no other waiting.
    routes: list[Any] = [Route(path, partial(page, site), methods=["GET"]) for path, page in read.items()]
    routes += [Route(path, posted(page), methods=["POST"]) for path, page in review.WRITE.items()]
    routes.append(Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")))
    handlers = dict.fromkeys((HTTPException, SqlbatchError, Exception), partial(_problem, site))
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.add_middleware(Gate, token=site.token, port=site.port)
    return app


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a form, the last value of each."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_FORM:
            raise InvalidSettings(f"the form is larger than {LARGEST_FORM:,} bytes")
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def path_of(database: Database, name: str | None) -> str:
    """Return the path of a job's page by its number, or of a table's by its name; raise JobError where there is none.

    None is the page of all jobs. A job whose target is not written yet is shown for its target's name.
    """
    if name is None:
        return "/"

    def read(session: Session) -> str:
        table = None if name.isascii() and name.isdigit() else pages.table_path(session, name)
        return table or f"/jobs/{jobs.find(session, name).job_id}"

    return database.read(read)


def _problem(site: Site, request: Request, error: Exception) -> Response:
    """Return the page about an error."""
    status, message = 400, str(error)
    if isinstance(error, HTTPException):
        status, message = error.status_code, "There is no such page."
    elif isinstance(error, DatabaseLocked):
        status = 503
    elif isinstance(error, NotFound | JobError):
        status = 404
    elif not isinstance(error, SqlbatchError):
        status, message = 500, f"{type(error).__name__}: {' '.join(message.split())[:500]}"
        debug = display.verbosity.debug
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error if debug else None)
    heading = _HEADINGS.get(status, "That did not work")
    return site.render(request, "problem.html", {"heading": heading, "message": message, "status": status}, status)


@contextlib.contextmanager
def running(database: Database, *, at: str, reviewer: str, port: int | None) -> Iterator[Callable[[str], str]]:
    """Serve the page for the block, on loopback only; gives what makes an address, with the token, of a path.

    `port` None takes the usual one, or a free one where that is taken. Raises ViewError where the port is taken.
    """
    token = secrets.token_urlsafe(32)
    listener = _listen(port)
    number = int(listener.getsockname()[1])
    settings = uvicorn.Config(
        make_app(Site(database, at, reviewer, token, number)),
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        server_header=False,
        ws="none",
    )
    server = uvicorn.Server(settings)
    # In a thread of its own, so that signals stay with the command.
    thread = threading.Thread(target=server.run, args=([listener],), name="sqlbatch-view", daemon=True)
    thread.start()
    for _ in range(int(_START_TIMEOUT / 0.01)):
        if server.started or not thread.is_alive():
            break
        thread.join(0.01)
    if not server.started:
        raise ViewError(f"the page does not listen on 127.0.0.1:{number}")
    try:
        yield lambda path: f"http://127.0.0.1:{number}{path}?{TOKEN}={token}"
    finally:
        server.should_exit = True
        thread.join(5)


def _listen(port: int | None) -> socket.socket:
    for number in (USUAL_PORT, 0) if port is None else (port,):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", number))
            listener.listen(64)
        except OSError as error:
            listener.close()
            problem = ViewError(f"cannot listen on 127.0.0.1:{number}: {error.strerror}; choose another --port")
        else:
            return listener
    raise problem

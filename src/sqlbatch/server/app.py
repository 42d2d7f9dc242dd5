"""The routes of the server."""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import secrets
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from sqlbatch.server import batches, direct, files
from sqlbatch.server.envelope import ApiError, Json
from sqlbatch.server.testing import control
from sqlbatch.server.testing.replies import FaultyHttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sqlbatch.server.context import Context

_log = logging.getLogger("sqlbatch.server")
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class Gate:
    """Gives every reply its `x-request-id`, and lets only those in who may come in."""

    def __init__(self, app: ASGIApp, *, key_env: str | None, loopback: bool) -> None:
        self._app = app
        self._key = os.environ.get(key_env, "") if key_env else None
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{secrets.token_hex(16)}".encode()
        scope["request_id"] = request_id.decode()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id)]
            await send(message)

        refusal = self._refusal(dict(scope["headers"]))
        if refusal is None:
            await self._app(scope, receive, send_with_id)
        else:
            await Json(refusal.body, status_code=refusal.status)(scope, receive, send_with_id)

    def _refusal(self, headers: dict[bytes, bytes]) -> ApiError | None:
        """Return why a request is not let in, or None."""
        if self._loopback:
            # A web page must not reach this server by a name of its own that leads to this computer.
            host = headers.get(b"host", b"").decode("latin-1").strip()
            name = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host
            if name and name not in _LOOPBACK:
                return ApiError(403, f"This server answers on this computer only, not as '{name}'.")
        if self._key is None:
            return None
        kind, _, given = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._key.encode()):
            return None
        return ApiError(401, "Incorrect API key provided.", code="invalid_api_key")


async def _api_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return Json(error.body, status_code=error.status, headers=error.headers)


async def _gone(_request: Request, _error: Exception) -> Response:
    return Json(None, status_code=400)  # nobody reads it: the client has closed the connection


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    message = error.detail
    if error.status_code in {404, 405}:
        message = f"Invalid URL ({request.method} {request.url.path})"
    return Json(ApiError(error.status_code, message).body, status_code=error.status_code)


async def _unforeseen(request: Request, error: Exception) -> Response:
    request_id = request.scope["request_id"]
    _log.error("%s %s failed, request %s", request.method, request.url.path, request_id, exc_info=error)
    message = "The server had an error while processing your request. Sorry about that!"
    return Json(ApiError(500, message, kind="server_error").body, status_code=500)


async def _health(request: Request) -> Response:
    context: Context = request.app.state.context
    return Json({"status": "ok", "instance": context.instance})


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    context: Context = app.state.context
    if context.upstream:
        await context.upstream.close()


def make_app(context: Context) -> ASGIApp:
    """Return the server as an ASGI application."""
    routes = [
        Route("/health", _health),
        Route("/v1/files", files.create_file, methods=["POST"]),
        Route("/v1/files", files.list_files),
        Route("/v1/files/{file_id}", files.get_file),
        Route("/v1/files/{file_id}", files.delete_file, methods=["DELETE"]),
        Route("/v1/files/{file_id}/content", files.get_content),
        Route("/v1/batches", batches.create_batch, methods=["POST"]),
        Route("/v1/batches", batches.list_batches),
        Route("/v1/batches/{batch_id}", batches.get_batch),
        Route("/v1/batches/{batch_id}/cancel", batches.cancel_batch, methods=["POST"]),
        Route("/v1/models", direct.list_models),
        Route("/v1/models/{model:path}", direct.get_model),
        Route("/v1/{rest:path}", direct.call, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]
    if context.faults:
        routes.extend(control.routes())
    handlers = {ApiError: _api_error, ClientDisconnect: _gone, HTTPException: _http_error, Exception: _unforeseen}
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=_lifespan)
    app.state.context = context
    config = context.config
    gate = Gate(app, key_env=config.api_key_env, loopback=config.host in _LOOPBACK)
    if context.faults is None:
        return gate
    faulty = FaultyHttp(gate, context.faults, context.clock)
    context.seen = faulty.seen
    return faulty

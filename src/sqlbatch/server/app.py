"""The ASGI application: routes, access control, and the model endpoints called directly."""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.routing import Match, Route

from sqlbatch.batch_limits import OFFLINE, OFFLINE_ENDPOINTS
from sqlbatch.server import batches, files
from sqlbatch.server.config import LOOPBACK, ServerContext
from sqlbatch.server.endpoints import answer, stream
from sqlbatch.server.http import ApiError, Json, as_object, missing_parameter, read_bytes
from sqlbatch.server.testing import control
from sqlbatch.server.testing.replies import FaultyHttp
from sqlbatch.server.validation import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sqlbatch.server.config import ServerConfig
    from sqlbatch.server.storage import State
    from sqlbatch.server.testing.replies import RecordedRequest
    from sqlbatch.server.upstream import Passthrough
    from sqlbatch.server.worker import Runner


@dataclass(frozen=True)
class AppContext(ServerContext):
    """Everything that the routes of one server need. All routes run in the thread of the event loop."""

    state: State
    runner: Runner
    upstream: Passthrough | None
    instance: str = field(default_factory=lambda: secrets.token_hex(8))
    # The newest HTTP requests, for the control endpoint.
    requests: deque[RecordedRequest] = field(default_factory=lambda: deque(maxlen=20_000))


_log = logging.getLogger("sqlbatch.server")


class Gate:
    """Middleware that adds `x-request-id` to every reply and refuses clients without access."""

    def __init__(self, app: ASGIApp, config: ServerConfig) -> None:
        self._app = app
        self._key = config.api_key
        self._loopback = config.is_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the application, or refuse it."""
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
        """Return the refusal of a client without access, or None."""
        if self._loopback:
            # Against DNS rebinding: a web page must not reach this server by a host name that points to this computer.
            host = headers.get(b"host", b"").decode("latin-1").strip()
            name = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host
            if name and name.lower() not in LOOPBACK:
                return ApiError(403, f"This server accepts only requests to this computer, not to the host '{name}'.")
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


async def _disconnected(_request: Request, _error: Exception) -> Response:
    return Json(None, status_code=400)  # the client has closed the connection and reads no reply


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    message = error.detail
    if error.status_code in {404, 405}:
        message = f"Invalid URL ({request.method} {request.url.path})"
    return Json(ApiError(error.status_code, message).body, status_code=error.status_code, headers=error.headers)


async def _internal_error(request: Request, error: Exception) -> Response:
    request_id = request.scope["request_id"]
    _log.error("%s %s failed, request %s", request.method, request.url.path, request_id, exc_info=error)
    message = "The server had an error while processing your request. Sorry about that!"
    return Json(ApiError(500, message, kind="server_error").body, status_code=500)


async def _health(request: Request) -> Response:
    context: AppContext = request.app.state.context
    return Json({"status": "ok", "instance": context.instance})


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    context: AppContext = app.state.context
    if context.upstream:
        await context.upstream.close()


def make_app(context: AppContext) -> ASGIApp:
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
        Route("/v1/models", list_models),
        Route("/v1/models/{model:path}", get_model),
        Route("/v1/{rest:path}", call, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]
    if context.faults:
        routes.extend(control.routes())
    handlers = {
        ApiError: _api_error,
        ClientDisconnect: _disconnected,
        HTTPException: _http_error,
        Exception: _internal_error,
    }
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=_lifespan)
    app.state.context = context
    gate = Gate(app, context.config)
    return FaultyHttp(gate, context.faults, context.clock, context.requests) if context.faults else gate


_OFFLINE_CREATED = 1_767_225_600  # the offline model's `created`: 2026-01-01


async def call(request: Request) -> Response:
    """POST to a model endpoint. The answer is the same as for a line of a batch. `stream` is supported."""
    endpoint = request.url.path
    upstream = _context(request).upstream
    if allowed := _other_methods(request):
        raise HTTPException(405, headers={"allow": ", ".join(allowed)})
    if request.method != "POST" or (endpoint not in OFFLINE_ENDPOINTS and upstream is None):
        raise HTTPException(404)
    raw = await read_bytes(request, MAX_LINE)
    if upstream and endpoint not in OFFLINE_ENDPOINTS:
        return await upstream.forward(request, raw)
    body = as_object(raw)
    if not body.get("model"):
        raise missing_parameter("model")
    if upstream and body["model"] not in _offline_names(request):
        return await upstream.forward(request, raw)
    _check_model(request, body["model"])
    ledger = _context(request).ledger
    if ledger:
        ledger.add(endpoint)
    status, reply = answer(endpoint, body)
    if status == 200 and body.get("stream") and endpoint != "/v1/embeddings":
        options = body.get("stream_options")
        usage = isinstance(options, dict) and bool(options.get("include_usage"))
        return StreamingResponse(
            _events(endpoint, stream(endpoint, reply, usage=usage)), media_type="text/event-stream"
        )
    return Json(reply, status_code=status)


def _other_methods(request: Request) -> list[str]:
    """Return the methods of a known endpoint that does not accept the request's method, otherwise an empty list."""
    if request.url.path in OFFLINE_ENDPOINTS:
        return [] if request.method == "POST" else ["POST"]
    specific = [route for route in request.app.routes if isinstance(route, Route) and route.endpoint is not call]
    known = [route for route in specific if route.matches(request.scope)[0] != Match.NONE]
    return sorted({method for route in known for method in route.methods or ()})


async def _events(endpoint: str, events: Iterator[dict[str, Any]]) -> AsyncIterator[str]:
    """Yield the text of server-sent events in the format of the endpoint."""
    chat = endpoint == "/v1/chat/completions"
    for event in events:
        data = json.dumps(event, separators=(",", ":"))
        yield f"data: {data}\n\n" if chat else f"event: {event['type']}\ndata: {data}\n\n"
    if chat:
        yield "data: [DONE]\n\n"


async def list_models(request: Request) -> Response:
    """GET /v1/models: the names of the offline model and the models of the upstream."""
    upstream = _context(request).upstream
    return Json(
        {
            "object": "list",
            "data": [
                *(_model_object(name) for name in _offline_names(request)),
                *(await upstream.models() if upstream else []),
            ],
        }
    )


async def get_model(request: Request) -> Response:
    """GET /v1/models/{id}."""
    name = request.path_params["model"]
    upstream = _context(request).upstream
    if upstream and name not in _offline_names(request):
        return await upstream.forward(request, None)
    _check_model(request, name)
    return Json(_model_object(name))


def _context(request: Request) -> AppContext:
    context: AppContext = request.app.state.context
    return context


def _offline_names(request: Request) -> list[str]:
    return [OFFLINE, *_context(request).config.models]


def _check_model(request: Request, name: object) -> None:
    if name not in _offline_names(request):
        message = f"The model '{name}' does not exist or you do not have access to it."
        raise ApiError(404, message, param="model", code="model_not_found")


def _model_object(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _OFFLINE_CREATED, "owned_by": "sqlbatch"}

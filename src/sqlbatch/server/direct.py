"""The model endpoints, called directly rather than through a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlbatch.server.batches import ENDPOINTS
from sqlbatch.server.body import as_object, read_bytes
from sqlbatch.server.envelope import ApiError, Json, missing_parameter
from sqlbatch.server.lines import MAX_LINE
from sqlbatch.server.offline.model import OFFLINE, answer

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from sqlbatch.server.context import Context

_MADE = 1_767_225_600  # 2026-01-01, the offline model's `created`


async def call(request: Request) -> Response:
    """POST to a model endpoint: answered as one line of a batch would be."""
    endpoint = request.url.path
    upstream = _context(request).upstream
    if request.method != "POST":
        raise ApiError(404, f"Invalid URL ({request.method} {endpoint})")
    if endpoint not in ENDPOINTS:
        if upstream is None:
            raise ApiError(404, f"Invalid URL (POST {endpoint})")
        return await upstream.forward(request, await read_bytes(request, MAX_LINE))
    raw = await read_bytes(request, MAX_LINE)
    body = as_object(raw)
    if not body.get("model"):
        raise missing_parameter("model")
    if upstream and body["model"] not in _names(request):
        return await upstream.forward(request, raw)
    _check_model(request, body["model"])
    if body.get("stream"):
        message = "The offline model does not stream; leave 'stream' out."
        raise ApiError(400, message, param="stream", code="unsupported_value")
    ledger = _context(request).ledger
    if ledger:
        ledger.add(endpoint)
    status, reply = answer(endpoint, body)
    return Json(reply, status_code=status)


async def list_models(request: Request) -> Response:
    """GET /v1/models: the offline model's names, and those of the upstream."""
    upstream = _context(request).upstream
    return Json(
        {
            "object": "list",
            "data": [*(_model(name) for name in _names(request)), *(await upstream.models() if upstream else [])],
        }
    )


async def get_model(request: Request) -> Response:
    """GET /v1/models/{id}."""
    name = request.path_params["model"]
    upstream = _context(request).upstream
    if upstream and name not in _names(request):
        return await upstream.forward(request, None)
    _check_model(request, name)
    return Json(_model(name))


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


def _names(request: Request) -> list[str]:
    return [OFFLINE, *_context(request).config.models]


def _check_model(request: Request, name: object) -> None:
    if name not in _names(request):
        message = f"The model '{name}' does not exist or you do not have access to it."
        raise ApiError(404, message, param="model", code="model_not_found")


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _MADE, "owned_by": "sqlbatch"}

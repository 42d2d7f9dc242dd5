"""The Batches API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlbatch.batch_limits import OFFLINE_ENDPOINTS
from sqlbatch.server.files import expiry_seconds
from sqlbatch.server.http import (
    ApiError,
    Json,
    check_type,
    invalid_value,
    listing,
    new_id,
    page_size,
    read_object,
    required,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from sqlbatch.server.app import AppContext
    from sqlbatch.server.storage import BatchRecord

UPSTREAM_ENDPOINTS = ["/v1/completions", "/v1/moderations", "/v1/images/generations", "/v1/images/edits", "/v1/videos"]
_MAX_BODY = 1024 * 1024  # bytes
_MAX_PAIRS, _MAX_KEY, _MAX_VALUE = 16, 64, 512  # of metadata: pairs, characters of a key and of a value


def batch_object(record: BatchRecord) -> dict[str, Any]:
    """Return the API's JSON object for a batch."""
    errors = json.loads(record.errors) if record.errors else None
    return {
        "id": record.id,
        "object": "batch",
        "endpoint": record.endpoint,
        "model": record.model,
        "errors": None if errors is None else {"object": "list", "data": errors},
        "input_file_id": record.input_file_id,
        "completion_window": record.completion_window,
        "status": record.status,
        "output_file_id": record.output_file_id,
        "error_file_id": record.error_file_id,
        "created_at": record.created_at,
        "in_progress_at": record.in_progress_at,
        "expires_at": record.expires_at,
        "finalizing_at": record.finalizing_at,
        "completed_at": record.completed_at,
        "failed_at": record.failed_at,
        "expired_at": record.expired_at,
        "cancelling_at": record.cancelling_at,
        "cancelled_at": record.cancelled_at,
        "request_counts": {"total": record.total, "completed": record.completed, "failed": record.failed},
        "usage": {
            "input_tokens": record.input_tokens,
            "input_tokens_details": {"cached_tokens": record.cached_tokens},
            "output_tokens": record.output_tokens,
            "output_tokens_details": {"reasoning_tokens": record.reasoning_tokens},
            "total_tokens": record.input_tokens + record.output_tokens,
        },
        "metadata": None if record.metadata is None else json.loads(record.metadata),
    }


async def create_batch(request: Request) -> Response:
    """POST /v1/batches. Checks the request; the input file is validated later, while the batch is `validating`."""
    context: AppContext = request.app.state.context
    body = await read_object(request, _MAX_BODY)
    supported = [*OFFLINE_ENDPOINTS, *UPSTREAM_ENDPOINTS] if context.config.upstreams else list(OFFLINE_ENDPOINTS)
    input_file_id = _required_string(body, "input_file_id")
    endpoint = _required_string(body, "endpoint")
    if endpoint not in supported:
        raise invalid_value("endpoint", endpoint, supported)
    window = _required_string(body, "completion_window")
    if window != "24h":
        raise invalid_value("completion_window", window, ["24h"])
    metadata = body.get("metadata")
    _check_metadata(metadata)
    created = context.clock.seconds()
    batch_id = new_id("batch_")
    context.state.run(
        "add_batch",
        id=batch_id,
        endpoint=endpoint,
        input_file_id=input_file_id,
        completion_window=window,
        output_expires_seconds=_output_expiry(body.get("output_expires_after")),
        metadata=None if metadata is None else json.dumps(metadata),
        created_at=created,
        expires_at=created + int(context.config.window),
    )
    record = _find_batch(context, batch_id)
    context.runner.wake(batch_id)
    return Json(batch_object(record))


async def get_batch(request: Request) -> Response:
    """GET /v1/batches/{id}."""
    return Json(batch_object(_find_batch(request.app.state.context, request.path_params["batch_id"])))


async def list_batches(request: Request) -> Response:
    """GET /v1/batches with `limit` and `after`, newest first."""
    context: AppContext = request.app.state.context
    query = request.query_params
    limit = page_size(query.get("limit"), largest=100, default=20)
    after = _find_batch(context, query["after"]).seq if "after" in query else None
    found = context.state.batches(after, limit + 1)
    return Json(listing([batch_object(record) for record in found], limit))


async def cancel_batch(request: Request) -> Response:
    """POST /v1/batches/{id}/cancel. Replies 409 if the batch has already finished."""
    context: AppContext = request.app.state.context
    batch_id = request.path_params["batch_id"]
    _find_batch(context, batch_id)
    if context.state.run("cancel_batch", id=batch_id, now=context.clock.seconds()):
        context.runner.wake(batch_id)
    record = _find_batch(context, batch_id)
    if record.status not in {"cancelling", "cancelled"}:
        raise ApiError(409, f"Cannot cancel a batch with status '{record.status}'.")
    return Json(batch_object(record))


def _find_batch(context: AppContext, batch_id: str) -> BatchRecord:
    record = context.state.batch(batch_id)
    if record is None:
        raise ApiError(404, f"No batch found with id '{batch_id}'.")
    return record


def _required_string(body: dict[str, Any], name: str) -> str:
    return check_type(name, required(body, name), str)


def _check_metadata(metadata: Any) -> None:
    if metadata is None:
        return
    if len(check_type("metadata", metadata, dict)) > _MAX_PAIRS:
        message = (
            f"Invalid 'metadata': too many properties. Expected an object with at most {_MAX_PAIRS} properties, "
            f"but got an object with {len(metadata)} properties instead."
        )
        raise ApiError(400, message, param="metadata", code="object_above_max_properties")
    for key, value in metadata.items():
        check_type(f"metadata.{key}", value, str)
        for what, text, longest in (("metadata", key, _MAX_KEY), (f"metadata.{key}", value, _MAX_VALUE)):
            if len(text) > longest:
                message = (
                    f"Invalid '{what}': string too long. Expected a string with maximum length {longest}, "
                    f"but got a string with length {len(text)} instead."
                )
                raise ApiError(400, message, param=what, code="string_above_max_length")


def _output_expiry(value: object) -> int | None:
    if value is None:
        return None
    expiry = check_type("output_expires_after", value, dict)
    return expiry_seconds("output_expires_after", expiry.get("anchor"), expiry.get("seconds"))

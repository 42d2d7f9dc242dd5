"""JSON bodies of requests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

from sqlbatch.server.envelope import ApiError, invalid_type

if TYPE_CHECKING:
    from starlette.requests import Request


def _reject(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


# Python's decoder would take NaN and Infinity, which no other does.
_DECODER = json.JSONDecoder(parse_constant=_reject)


def parse_json(data: bytes) -> Any:
    """Return what a JSON text in UTF-8 says; raises ValueError for anything else, a byte order mark included."""
    try:
        return _DECODER.decode(data.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


async def read_bytes(request: Request, limit: int) -> bytes:
    """Return the body of a request, refusing one beyond `limit` bytes."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise ApiError(413, f"The body is larger than the maximum of {limit} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


async def read_object(request: Request, limit: int) -> dict[str, Any]:
    """Return the JSON object in the body of a request."""
    return as_object(await read_bytes(request, limit))


def as_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object in a body that has been read."""
    try:
        body = parse_json(data)
    except ValueError as error:
        raise ApiError(400, "We could not parse the JSON body of your request.") from error
    if not isinstance(body, dict):
        raise invalid_type("body", "an object", body)
    return body

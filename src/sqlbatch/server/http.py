"""Used by all endpoints: OpenAI's error envelope, object ids, JSON bodies and pages of lists."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request


_Value = TypeVar("_Value")
_RANDOM = random.Random().getrandbits  # noqa: S311 - the system's random numbers would take a tenth of the time of a line
_TYPE_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    type(None): "null",
}


class ApiError(Exception):
    """A refused request: the reply has `status` and OpenAI's error envelope."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
        detail: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers: dict[str, str] = {}
        self.body: dict[str, Any] = {"error": {"message": message, "type": kind, "param": param, "code": code}}
        if detail:  # the Files API repeats the message of a format error outside of the envelope
            self.body["detail"] = {"message": message, "code": code}


def missing_parameter(name: str) -> ApiError:
    """Return the error for a missing parameter."""
    message = f"Missing required parameter: '{name}'."
    return ApiError(400, message, param=name, code="missing_required_parameter")


def required(body: dict[str, Any], name: str) -> Any:
    """Return a parameter of any type; raises ApiError if it is missing or null."""
    if body.get(name) is None:
        raise missing_parameter(name)
    return body[name]


def check_type(name: str, value: object, kind: type[_Value]) -> _Value:
    """Return the value of the parameter `name`; raises ApiError if its JSON type is not `kind`."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise invalid_type(name, kind, value)
    return value


def invalid_type(name: str, kind: type, value: object) -> ApiError:
    """Return the error for a parameter of the wrong JSON type."""
    return ApiError(400, wrong_type(name, kind, value), param=name, code="invalid_type")


def wrong_type(name: str, kind: type, value: object) -> str:
    """Return OpenAI's message for a value of the wrong JSON type; `kind` is the right one."""
    got = _TYPE_NAMES.get(type(value), "an unknown type")
    return f"Invalid type for '{name}': expected {_TYPE_NAMES[kind]}, but got {got} instead."


def below_minimum(name: str, value: int) -> ApiError:
    """Return the error for an integer below 1."""
    message = f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {value} instead."
    return ApiError(400, message, param=name, code="integer_below_min_value")


def invalid_value(name: str, value: object, supported: list[str]) -> ApiError:
    """Return the error for a value that is not in a list of supported values."""
    listed = ", ".join(f"'{one}'" for one in supported)
    message = f"Invalid value: '{value}'. Supported values are: {listed}."
    return ApiError(400, message, param=name, code="invalid_value")


def new_id(prefix: str) -> str:
    """Return a random object id such as `file-4f0c…`, with 128 random bits. Ids are not secrets."""
    return f"{prefix}{_RANDOM(128):032x}"


class Json(Response):
    """A JSON reply. Lone surrogates are escaped, because UTF-8 cannot encode them."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Return the JSON text of `content`."""
        return json.dumps(content, separators=(",", ":")).encode()


def _reject_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


# By default, Python accepts NaN and Infinity, which are not JSON.
_DECODER = json.JSONDecoder(parse_constant=_reject_constant)


def parse_json(data: bytes) -> Any:
    """Parse JSON in UTF-8. Raises ValueError for anything else; a byte order mark is an error."""
    try:
        return _DECODER.decode(data.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


async def read_bytes(request: Request, limit: int) -> bytes:
    """Return the body of a request; refuses a body of more than `limit` bytes."""
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
    """Return the JSON object in a body."""
    try:
        body = parse_json(data)
    except ValueError as error:
        raise ApiError(400, "We could not parse the JSON body of your request.") from error
    return check_type("body", body, dict)


def page_size(text: str | None, *, largest: int, default: int) -> int:
    """Return the `limit` parameter of a list request; refuses a number outside of 1 to `largest`."""
    if text is None:
        return default
    if not text.isascii() or not text.isdigit():
        message = f"Invalid type for 'limit': expected an integer, but got '{text}' instead."
        raise ApiError(400, message, param="limit", code="invalid_type")
    number = int(text[:20])
    if number < 1:
        raise below_minimum("limit", number)
    if number > largest:
        message = (
            f"Invalid 'limit': integer above maximum value. Expected a value <= {largest}, but got {number} instead."
        )
        raise ApiError(400, message, param="limit", code="integer_above_max_value")
    return number


def listing(objects: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """Return a page of `limit` objects. `objects` has one more object if there is a next page."""
    page = objects[:limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(objects) > limit,
    }

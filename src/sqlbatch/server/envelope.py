"""OpenAI's error envelope, object ids and JSON replies."""

from __future__ import annotations

import json
import secrets
from typing import Any

from starlette.responses import Response

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
    """A refusal that becomes an HTTP reply of `status` with OpenAI's error envelope."""

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
        if detail:  # the Files API repeats the message of a format error beside the envelope
            self.body["detail"] = {"message": message, "code": code}


def missing_parameter(name: str) -> ApiError:
    """Return the refusal of a request that lacks a parameter."""
    message = f"Missing required parameter: '{name}'."
    return ApiError(400, message, param=name, code="missing_required_parameter")


def invalid_type(name: str, expected: str, value: object) -> ApiError:
    """Return the refusal of a parameter of the wrong JSON type; `expected` reads like "a string"."""
    return ApiError(400, wrong_type(name, expected, value), param=name, code="invalid_type")


def wrong_type(name: str, expected: str, value: object) -> str:
    """Return OpenAI's words for a value of the wrong JSON type."""
    got = _TYPE_NAMES.get(type(value), "an unknown type")
    return f"Invalid type for '{name}': expected {expected}, but got {got} instead."


def invalid_value(name: str, value: object, supported: list[str]) -> ApiError:
    """Return the refusal of a value outside a list."""
    listed = ", ".join(f"'{one}'" for one in supported)
    message = f"Invalid value: '{value}'. Supported values are: {listed}."
    return ApiError(400, message, param=name, code="invalid_value")


def new_id(prefix: str) -> str:
    """Return a random object id such as `file-4f0c…`; 128 random bits."""
    return prefix + secrets.token_hex(16)


class Json(Response):
    """A JSON reply; lone surrogates in it are escaped, so that every text can be sent."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Return the JSON text of `content`."""
        return json.dumps(content, separators=(",", ":")).encode()

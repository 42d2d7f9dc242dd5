"""The offline model: deterministic answers from the request's text alone. It is no language model, and says so.

What it makes is always valid for the asked-for schema: first sentences, keywords, best-matching labels, numbers and
dates found in the text. It is for trying things out, for tests and for load. Its replies carry `system_fingerprint`
(or, in the Responses API, `metadata.answered_by`) `offline`.
"""

from __future__ import annotations

import json
import time
from typing import Any

from sqlbatch.server.envelope import ApiError, invalid_type, invalid_value, missing_parameter, new_id
from sqlbatch.server.offline.embeddings import DEFAULT_DIMENSIONS, MAX_DIMENSIONS, as_base64, embed
from sqlbatch.server.offline.nodes import InvalidSchema
from sqlbatch.server.offline.reading import Asked, read_messages
from sqlbatch.server.offline.schema import make_value
from sqlbatch.server.offline.text import Text
from sqlbatch.server.offline.tokens import count_schema_tokens, count_tokens, cut

OFFLINE = "offline"
_MAX_INPUTS = 2_048  # of one embeddings request (contract section 5)
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode


def answer(endpoint: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and body that answer one request to one of the three model endpoints."""
    answers = {"/v1/chat/completions": _chat, "/v1/responses": _responses, "/v1/embeddings": _embeddings}
    try:
        return 200, answers[endpoint](body)
    except ApiError as error:
        return error.status, error.body


def _chat(body: dict[str, Any]) -> dict[str, Any]:
    messages = body.get("messages")
    if messages is None:
        raise missing_parameter("messages")
    asked = read_messages(messages, "messages")
    wanted = body.get("response_format") or {"type": "text"}
    content = _content(asked, wanted, "response_format", _schema_of(wanted, "response_format"))
    limit = _limit(body, "max_completion_tokens", _limit(body, "max_tokens", None))
    content, tokens, finish = _within(content, limit)
    choices = body.get("n") if isinstance(body.get("n"), int) else 1
    used = asked.tokens
    made = tokens * max(1, min(choices or 1, 128))
    return {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model"),
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": content, "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": finish,
            }
            for index in range(max(1, min(choices or 1, 128)))
        ],
        "usage": {
            "prompt_tokens": used,
            "completion_tokens": made,
            "total_tokens": used + made,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": OFFLINE,
    }


def _responses(body: dict[str, Any]) -> dict[str, Any]:
    given = body.get("input")
    if given is None:
        raise missing_parameter("input")
    asked = read_messages([{"role": "user", "content": given}] if isinstance(given, str) else given, "input")
    settings = body.get("text") or {}
    if not isinstance(settings, dict):
        raise invalid_type("text", "an object", settings)
    wanted = settings.get("format") or {"type": "text"}
    content = _content(asked, wanted, "text.format", wanted)
    if isinstance(body.get("instructions"), str):
        asked.everything.append(body["instructions"])
        asked.turns += 1
    content, tokens, finish = _within(content, _limit(body, "max_output_tokens", None))
    cut_short = finish == "length"
    used = asked.tokens
    return {
        "id": new_id("resp_"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "incomplete" if cut_short else "completed",
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut_short else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": body.get("model"),
        "output": [
            {
                "id": new_id("msg_"),
                "type": "message",
                "status": "incomplete" if cut_short else "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": content, "annotations": [], "logprobs": []}],
            }
        ],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": wanted},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": used,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used + tokens,
        },
        "user": None,
        "metadata": {**(body.get("metadata") or {}), "answered_by": OFFLINE},
    }


def _embeddings(body: dict[str, Any]) -> dict[str, Any]:
    given = body.get("input")
    if given is None:
        raise missing_parameter("input")
    numbers = isinstance(given, list) and bool(given) and all(isinstance(one, int) for one in given)
    inputs = given if isinstance(given, list) and not numbers else [given]
    if not inputs or len(inputs) > _MAX_INPUTS:
        message = f"Invalid 'input': expected between 1 and {_MAX_INPUTS} inputs, but got {len(inputs)}."
        raise ApiError(400, message, param="input", code="invalid_value")
    dimensions = body.get("dimensions", DEFAULT_DIMENSIONS)
    if not isinstance(dimensions, int) or isinstance(dimensions, bool) or not 1 <= dimensions <= MAX_DIMENSIONS:
        message = f"Invalid 'dimensions': expected an integer between 1 and {MAX_DIMENSIONS}."
        raise ApiError(400, message, param="dimensions", code="invalid_value")
    form = body.get("encoding_format", "float")
    if form not in {"float", "base64"}:
        raise invalid_value("encoding_format", form, ["float", "base64"])
    data, used = [], 0
    for index, one in enumerate(inputs):
        if isinstance(one, list):  # tokens: their numbers stand for words
            one = " ".join(map(str, one))  # noqa: PLW2901
        if not isinstance(one, str):
            raise invalid_type("input", "a string", one)
        if not one:
            raise ApiError(
                400, "Invalid 'input': input cannot be an empty string.", param="input", code="invalid_value"
            )
        used += count_tokens(one)
        vector = embed(one, dimensions)
        data.append(
            {"object": "embedding", "index": index, "embedding": as_base64(vector) if form == "base64" else vector}
        )
    usage = {"prompt_tokens": used, "total_tokens": used}
    return {"object": "list", "data": data, "model": body.get("model"), "usage": usage}


def _schema_of(wanted: object, name: str) -> dict[str, Any]:
    """Return the settings of a JSON Schema in the Chat Completions API, where they stand one level deeper."""
    if not isinstance(wanted, dict):
        raise invalid_type(name, "an object", wanted)
    found = wanted.get("json_schema") if wanted.get("type") == "json_schema" else {}
    if not isinstance(found, dict):
        raise missing_parameter(f"{name}.json_schema")
    return found


def _content(asked: Asked, wanted: object, name: str, settings: object) -> str:
    """Return the text of the answer in the wanted form."""
    if not isinstance(wanted, dict) or not isinstance(settings, dict):
        raise invalid_type(name, "an object", wanted)
    seen = " ".join(map(str, asked.pictures))
    text = Text(asked.text or seen)
    if seen and asked.text:
        text = Text(f"{seen}\n{asked.text}")
    kind = wanted.get("type")
    if kind == "text":
        return text.first_sentence
    if kind == "json_object":
        if not any("json" in part.lower() for part in asked.everything):
            who = "'messages'" if name == "response_format" else "Response input messages"
            form = "'response_format'" if name == "response_format" else "'text.format'"
            message = f"{who} must contain the word 'json' in some form, to use {form} of type 'json_object'."
            if name != "response_format":
                message = message.replace("form, to", "form to")
            raise ApiError(400, message, param=name if name != "response_format" else "messages")
        return _ENCODE({"summary": text.first_sentence, "keywords": text.keywords[:3]})
    if kind != "json_schema":
        raise invalid_value(f"{name}.type", kind, ["text", "json_object", "json_schema"])
    schema = settings.get("schema")
    if not isinstance(schema, dict):
        raise missing_parameter(f"{name}.schema" if name != "response_format" else f"{name}.json_schema.schema")
    asked.extra = count_schema_tokens(schema)
    try:
        return _ENCODE(make_value(schema, text, strict=bool(settings.get("strict"))))
    except InvalidSchema as error:
        label = settings.get("name", "unnamed")
        message = f"Invalid schema for response_format '{label}': {error}"
        param = "response_format" if name == "response_format" else "text.format.schema"
        raise ApiError(400, message, param=param, code="invalid_json_schema") from error


def _limit(body: dict[str, Any], name: str, default: int | None) -> int | None:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid_type(name, "an integer", value)
    if value < 1:
        message = f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {value} instead."
        raise ApiError(400, message, param=name, code="integer_below_min_value")
    return value


def _within(content: str, limit: int | None) -> tuple[str, int, str]:
    """Return a text within a limit of tokens, its tokens, and how it finished."""
    tokens = count_tokens(content)
    if limit is None or tokens <= limit:
        return content, max(1, tokens), "stop"
    return cut(content, limit), limit, "length"

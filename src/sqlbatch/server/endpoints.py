"""The three endpoints of a model: what a request may say, and how its reply looks. The offline model makes the answer.

Replies carry `system_fingerprint` (or, in the Responses API, `metadata.answered_by`) `offline`, so that nobody takes
them for a language model's.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from typing import TYPE_CHECKING, Any

from sqlbatch.batch_limits import OFFLINE, OFFLINE_DIMENSIONS
from sqlbatch.server.http import ApiError, invalid_type, invalid_value, missing_parameter, new_id
from sqlbatch.server.messages import Asked, read_messages
from sqlbatch.server.offline.embeddings import MAX_DIMENSIONS, as_base64, embed
from sqlbatch.server.offline.schema import make_value
from sqlbatch.server.offline.text import Text
from sqlbatch.server.offline.tokens import count_tokens, cut, log_probabilities
from sqlbatch.server.strict_schema import InvalidSchema

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_INPUTS = 2_048  # of one embeddings request (contract section 5)
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode


def answer(endpoint: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and body that answer one request to one of the three model endpoints."""
    answers = {"/v1/chat/completions": _chat, "/v1/responses": _responses, "/v1/embeddings": _embeddings}
    try:
        return 200, answers[endpoint](body)
    except ApiError as error:
        return error.status, error.body


def stream(endpoint: str, reply: dict[str, Any], *, usage: bool) -> Iterator[dict[str, Any]]:
    """Yield an answer as the events of a stream: the same text, word by word."""
    if endpoint == "/v1/chat/completions":
        shared = {key: reply[key] for key in ("id", "created", "model", "service_tier", "system_fingerprint")}
        shared["object"] = "chat.completion.chunk"
        for choice in reply["choices"]:
            content = choice["message"]["content"]
            deltas = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in _pieces(content)), {}]
            for delta in deltas:
                finish = None if delta else choice["finish_reason"]
                shown = {"index": choice["index"], "delta": delta, "logprobs": None, "finish_reason": finish}
                yield {**shared, "choices": [shown], **({"usage": None} if usage else {})}
        if usage:
            yield {**shared, "choices": [], "usage": reply["usage"]}
        return
    begun = {**reply, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    item = reply["output"][0]
    part = item["content"][0]
    at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
        *(
            {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []}
            for piece in _pieces(part["text"])
        ),
        {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []},
        {"type": "response.content_part.done", **at, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": f"response.{reply['status']}", "response": reply},
    ]
    for number, event in enumerate(events):
        yield {**event, "sequence_number": number}


def _pieces(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+", text)


def _chat(body: dict[str, Any]) -> dict[str, Any]:
    asked = read_messages(_needed(body, "messages"), "messages")
    wanted = body.get("response_format") or {"type": "text"}
    settings = wanted
    if isinstance(wanted, dict):
        settings = wanted.get("json_schema") if wanted.get("type") == "json_schema" else {}
        if not isinstance(settings, dict):
            raise missing_parameter("response_format.json_schema")
    content = _content(asked, wanted, "response_format", settings)
    limit = _limit(body, "max_completion_tokens") or _limit(body, "max_tokens")
    content, tokens, finish = _within(content, limit)
    choices = min(_limit(body, "n") or 1, 128)
    told = {"content": log_probabilities(asked.text, content), "refusal": None} if _flag(body, "logprobs") else None
    used, made = asked.tokens, tokens * choices
    return {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model"),
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": content, "refusal": None, "annotations": []},
                "logprobs": told,
                "finish_reason": finish,
            }
            for index in range(choices)
        ],
        "usage": {
            "prompt_tokens": used,
            "completion_tokens": made,
            "total_tokens": used + made,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0},
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
    given = _needed(body, "input")
    metadata = _object(body, "metadata")
    asked = read_messages([{"role": "user", "content": given}] if isinstance(given, str) else given, "input")
    wanted = _object(body, "text").get("format") or {"type": "text"}
    content = _content(asked, wanted, "text.format", wanted)
    if isinstance(body.get("instructions"), str):
        asked.everything.append(body["instructions"])
        asked.turns += 1
    content, tokens, finish = _within(content, _limit(body, "max_output_tokens"))
    cut_short = finish == "length"
    included = body.get("include") or []
    if not isinstance(included, list):
        raise invalid_type("include", "an array", included)
    told = log_probabilities(asked.text, content) if "message.output_text.logprobs" in included else []
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
                "content": [{"type": "output_text", "text": content, "annotations": [], "logprobs": told}],
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
            "input_tokens_details": {
                "cached_tokens": 0,
                "cache_write_tokens": 0,
                "cache_write_tokens_details": {"ttl_30m_tokens": 0, "ttl_12h_tokens": 0},
            },
            "output_tokens": tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used + tokens,
        },
        "user": None,
        "metadata": {**metadata, "answered_by": OFFLINE},
    }


def _embeddings(body: dict[str, Any]) -> dict[str, Any]:
    given = _needed(body, "input")
    numbers = isinstance(given, list) and bool(given) and all(isinstance(one, int) for one in given)
    inputs = given if isinstance(given, list) and not numbers else [given]
    if not inputs or len(inputs) > _MAX_INPUTS:
        message = f"Invalid 'input': expected between 1 and {_MAX_INPUTS} inputs, but got {len(inputs)}."
        raise ApiError(400, message, param="input", code="invalid_value")
    dimensions = body.get("dimensions", OFFLINE_DIMENSIONS)
    if not isinstance(dimensions, int) or isinstance(dimensions, bool) or not 1 <= dimensions <= MAX_DIMENSIONS:
        message = f"Invalid 'dimensions': expected an integer between 1 and {MAX_DIMENSIONS}."
        raise ApiError(400, message, param="dimensions", code="invalid_value")
    form = body.get("encoding_format", "float")
    if form not in ("float", "base64"):  # a tuple: what comes may be of any type
        raise invalid_value("encoding_format", form, ["float", "base64"])
    data, used = [], 0
    for index, one in enumerate(inputs):
        text = " ".join(map(str, one)) if isinstance(one, list) else one  # the numbers of tokens stand for words
        if not isinstance(text, str):
            raise invalid_type("input", "a string", text)
        if not text:
            message = "Invalid 'input': input cannot be an empty string."
            raise ApiError(400, message, param="input", code="invalid_value")
        used += count_tokens(text)
        vector = embed(text, dimensions)
        shown = as_base64(vector) if form == "base64" else vector
        data.append({"object": "embedding", "index": index, "embedding": shown})
    usage = {"prompt_tokens": used, "total_tokens": used}
    return {"object": "list", "data": data, "model": body.get("model"), "usage": usage}


def _content(asked: Asked, wanted: object, name: str, settings: object) -> str:
    """Return the text of the answer in the wanted form."""
    if not isinstance(wanted, dict) or not isinstance(settings, dict):
        raise invalid_type(name, "an object", wanted)
    text = Text("\n".join(part for part in (" ".join(map(str, asked.pictures)), asked.text) if part))
    kind, chat = wanted.get("type"), name == "response_format"
    described = _schema_in_words(asked) if kind in ("text", "json_object") else None
    if described is not None:
        with contextlib.suppress(InvalidSchema):
            return _ENCODE(make_value(described, text, strict=False)[0])
    if kind == "text":
        return text.first_sentence
    if kind == "json_object":
        if not any("json" in part.lower() for part in asked.everything):
            who = "'messages'" if chat else "Response input messages"
            comma = "," if chat else ""
            told = f"{who} must contain the word 'json' in some form{comma} to use '{name}' of type 'json_object'."
            raise ApiError(400, told, param="messages" if chat else name)
        return _ENCODE({"summary": text.first_sentence, "keywords": text.keywords[:3]})
    if kind != "json_schema":
        raise invalid_value(f"{name}.type", kind, ["text", "json_object", "json_schema"])
    schema = settings.get("schema")
    if not isinstance(schema, dict):
        raise missing_parameter(f"{name}.json_schema.schema" if chat else f"{name}.schema")
    try:
        value, asked.extra = make_value(schema, text, strict=bool(settings.get("strict")))
    except InvalidSchema as error:
        message = f"Invalid schema for response_format '{settings.get('name', 'unnamed')}': {error}"
        param = name if chat else f"{name}.schema"
        raise ApiError(400, message, param=param, code="invalid_json_schema") from error
    return _ENCODE(value)


def _schema_in_words(asked: Asked) -> dict[str, Any] | None:
    """Return the JSON Schema that ends a message, as for models that take it in no other way; None where none does."""
    for part in asked.everything:
        if "JSON Schema:" in part and (described := re.search(r"JSON Schema:\s*(\{.*\})\s*\Z", part, re.DOTALL)):
            with contextlib.suppress(ValueError, RecursionError):
                return dict(json.loads(described[1]))
    return None


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name) or False
    if not isinstance(value, bool):
        raise invalid_type(name, "a boolean", value)
    return value


def _needed(body: dict[str, Any], name: str) -> Any:
    if body.get(name) is None:
        raise missing_parameter(name)
    return body[name]


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name) or {}
    if not isinstance(value, dict):
        raise invalid_type(name, "an object", value)
    return value


def _limit(body: dict[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
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

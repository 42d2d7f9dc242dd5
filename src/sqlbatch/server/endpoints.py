"""The three model endpoints: checks requests and builds replies. The offline model makes the answers.

In every reply, `system_fingerprint` (in the Responses API, `metadata.answered_by`) is `offline`, so that nobody
mistakes it for the reply of a language model.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from typing import TYPE_CHECKING, Any

from sqlbatch.batch_limits import OFFLINE, OFFLINE_DIMENSIONS
from sqlbatch.server.http import (
    ApiError,
    below_minimum,
    check_type,
    invalid_type,
    invalid_value,
    missing_parameter,
    new_id,
    required,
)
from sqlbatch.server.messages import Prompt, read_messages
from sqlbatch.server.offline.embeddings import MAX_DIMENSIONS, as_base64, embed
from sqlbatch.server.offline.schema import make_value
from sqlbatch.server.offline.text import Text
from sqlbatch.server.offline.tokens import count_tokens, cut, log_probabilities
from sqlbatch.server.strict_schema import InvalidSchema

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_INPUTS = 2_048  # inputs of one embeddings request
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode


def answer(endpoint: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and body that answer one request to one of the three model endpoints."""
    answers = {"/v1/chat/completions": _chat, "/v1/responses": _responses, "/v1/embeddings": _embeddings}
    try:
        return 200, answers[endpoint](body)
    except ApiError as error:
        return error.status, error.body


def stream(endpoint: str, reply: dict[str, Any], *, usage: bool) -> Iterator[dict[str, Any]]:
    """Yield a reply as the events of a stream, with the same text word by word."""
    if endpoint == "/v1/chat/completions":
        shared = {key: reply[key] for key in ("id", "created", "model", "service_tier", "system_fingerprint")}
        shared["object"] = "chat.completion.chunk"
        for choice in reply["choices"]:
            content = choice["message"]["content"]
            deltas = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in _words(content)), {}]
            for delta in deltas:
                finish = None if delta else choice["finish_reason"]
                rendered = {"index": choice["index"], "delta": delta, "logprobs": None, "finish_reason": finish}
                yield {**shared, "choices": [rendered], **({"usage": None} if usage else {})}
        if usage:
            yield {**shared, "choices": [], "usage": reply["usage"]}
        return
    started = {**reply, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    item = reply["output"][0]
    part = item["content"][0]
    at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": started},
        {"type": "response.in_progress", "response": started},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
        *(
            {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []}
            for piece in _words(part["text"])
        ),
        {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []},
        {"type": "response.content_part.done", **at, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": f"response.{reply['status']}", "response": reply},
    ]
    for number, event in enumerate(events):
        yield {**event, "sequence_number": number}


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+", text)


def _chat(body: dict[str, Any]) -> dict[str, Any]:
    prompt = read_messages(required(body, "messages"), "messages")
    answer_format = body.get("response_format") or {"type": "text"}
    settings = answer_format
    if isinstance(answer_format, dict):
        settings = answer_format.get("json_schema") if answer_format.get("type") == "json_schema" else {}
        if not isinstance(settings, dict):
            raise missing_parameter("response_format.json_schema")
    content = _answer_text(prompt, answer_format, "response_format", settings)
    limit = _positive_integer(body, "max_completion_tokens") or _positive_integer(body, "max_tokens")
    content, tokens, finish = _cut_to_limit(content, limit)
    choices = min(_positive_integer(body, "n") or 1, 128)
    logprobs = None
    if check_type("logprobs", body.get("logprobs") or False, bool):
        logprobs = {"content": log_probabilities(prompt.text, content), "refusal": None}
    prompt_tokens, completion_tokens = prompt.tokens, tokens * choices
    return {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model"),
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": content, "refusal": None, "annotations": []},
                "logprobs": logprobs,
                "finish_reason": finish,
            }
            for index in range(choices)
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
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
    value = required(body, "input")
    metadata = check_type("metadata", body.get("metadata") or {}, dict)
    prompt = read_messages([{"role": "user", "content": value}] if isinstance(value, str) else value, "input")
    answer_format = check_type("text", body.get("text") or {}, dict).get("format") or {"type": "text"}
    content = _answer_text(prompt, answer_format, "text.format", answer_format)
    if isinstance(body.get("instructions"), str):
        prompt.texts.append(body["instructions"])
        prompt.messages += 1
    content, tokens, finish = _cut_to_limit(content, _positive_integer(body, "max_output_tokens"))
    cut_short = finish == "length"
    included = check_type("include", body.get("include") or [], list)
    logprobs = log_probabilities(prompt.text, content) if "message.output_text.logprobs" in included else []
    prompt_tokens = prompt.tokens
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
                "content": [{"type": "output_text", "text": content, "annotations": [], "logprobs": logprobs}],
            }
        ],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": answer_format},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": prompt_tokens,
            "input_tokens_details": {
                "cached_tokens": 0,
                "cache_write_tokens": 0,
                "cache_write_tokens_details": {"ttl_30m_tokens": 0, "ttl_12h_tokens": 0},
            },
            "output_tokens": tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt_tokens + tokens,
        },
        "user": None,
        "metadata": {**metadata, "answered_by": OFFLINE},
    }


def _embeddings(body: dict[str, Any]) -> dict[str, Any]:
    value = required(body, "input")
    is_tokens = isinstance(value, list) and bool(value) and all(isinstance(one, int) for one in value)
    inputs = value if isinstance(value, list) and not is_tokens else [value]
    if not inputs or len(inputs) > _MAX_INPUTS:
        message = f"Invalid 'input': expected between 1 and {_MAX_INPUTS} inputs, but got {len(inputs)}."
        raise ApiError(400, message, param="input", code="invalid_value")
    dimensions = body.get("dimensions", OFFLINE_DIMENSIONS)
    if not isinstance(dimensions, int) or isinstance(dimensions, bool) or not 1 <= dimensions <= MAX_DIMENSIONS:
        message = f"Invalid 'dimensions': expected an integer between 1 and {MAX_DIMENSIONS}."
        raise ApiError(400, message, param="dimensions", code="invalid_value")
    form = body.get("encoding_format", "float")
    if form not in ("float", "base64"):  # a tuple, because `form` may be unhashable
        raise invalid_value("encoding_format", form, ["float", "base64"])
    data, prompt_tokens = [], 0
    for index, one in enumerate(inputs):
        text = " ".join(map(str, one)) if isinstance(one, list) else one  # token ids are treated as words
        if not check_type("input", text, str):
            message = "Invalid 'input': input cannot be an empty string."
            raise ApiError(400, message, param="input", code="invalid_value")
        prompt_tokens += count_tokens(text)
        vector = embed(text, dimensions)
        rendered = as_base64(vector) if form == "base64" else vector
        data.append({"object": "embedding", "index": index, "embedding": rendered})
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return {"object": "list", "data": data, "model": body.get("model"), "usage": usage}


def _answer_text(prompt: Prompt, answer_format: object, name: str, settings: object) -> str:
    """Return the text of the answer. `name` is the parameter with the format, `settings` has its schema."""
    if not isinstance(answer_format, dict) or not isinstance(settings, dict):
        raise invalid_type(name, dict, answer_format)
    text = Text("\n".join(part for part in (" ".join(map(str, prompt.pictures)), prompt.text) if part))
    kind, chat = answer_format.get("type"), name == "response_format"
    described = _schema_in_prompt(prompt) if kind in ("text", "json_object") else None
    if described is not None:
        with contextlib.suppress(InvalidSchema):
            return _ENCODE(make_value(described, text, strict=False)[0])
    if kind == "text":
        return text.first_sentence
    if kind == "json_object":
        if not any("json" in part.lower() for part in prompt.texts):
            who = "'messages'" if chat else "Response input messages"
            comma = "," if chat else ""
            message = f"{who} must contain the word 'json' in some form{comma} to use '{name}' of type 'json_object'."
            raise ApiError(400, message, param="messages" if chat else name)
        return _ENCODE({"summary": text.first_sentence, "keywords": text.keywords[:3]})
    if kind != "json_schema":
        raise invalid_value(f"{name}.type", kind, ["text", "json_object", "json_schema"])
    schema = settings.get("schema")
    if not isinstance(schema, dict):
        raise missing_parameter(f"{name}.json_schema.schema" if chat else f"{name}.schema")
    try:
        value, prompt.schema_tokens = make_value(schema, text, strict=bool(settings.get("strict")))
    except InvalidSchema as error:
        message = f"Invalid schema for response_format '{settings.get('name', 'unnamed')}': {error}"
        param = name if chat else f"{name}.schema"
        raise ApiError(400, message, param=param, code="invalid_json_schema") from error
    return _ENCODE(value)


def _schema_in_prompt(prompt: Prompt) -> dict[str, Any] | None:
    """Return the JSON Schema at the end of a message, or None. Models without structured output get it this way."""
    for part in prompt.texts:
        if "JSON Schema:" in part and (described := re.search(r"JSON Schema:\s*(\{.*\})\s*\Z", part, re.DOTALL)):
            with contextlib.suppress(ValueError, RecursionError):
                return dict(json.loads(described[1]))
    return None


def _positive_integer(body: dict[str, Any], name: str) -> int | None:
    if body.get(name) is None:
        return None
    value = check_type(name, body[name], int)
    if value < 1:
        raise below_minimum(name, value)
    return value


def _cut_to_limit(content: str, limit: int | None) -> tuple[str, int, str]:
    """Return a text cut to a limit of tokens, the number of its tokens, and its finish reason."""
    tokens = count_tokens(content)
    if limit is None or tokens <= limit:
        return content, max(1, tokens), "stop"
    return cut(content, limit), limit, "length"

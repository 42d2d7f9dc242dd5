"""Each endpoint's replies: what is an answer, and which code each kind of bad answer has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch.batches.parse_results import parse_results
from sqlbatch.query.endpoints import ENDPOINTS, check_of, find_endpoint
from tests.query.support import database

if TYPE_CHECKING:
    from pathlib import Path

ID = "00000000-0000-0000-0000-000000000001"


def chat(content: Any = "x", finish: Any = "stop", **message: Any) -> dict[str, Any]:
    usage = {
        "prompt_tokens": 8,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 5},
    }
    return {"choices": [{"message": {"content": content, **message}, "finish_reason": finish}], "usage": usage}


def response(*parts: dict[str, Any], status: str = "completed", **more: Any) -> dict[str, Any]:
    thought = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    output = [thought, {"type": "message", "content": list(parts)}]
    usage = {
        "input_tokens": 8,
        "output_tokens": 3,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 5},
    }
    return {"status": status, "output": output, "error": None, "incomplete_details": None, "usage": usage, **more}


def say(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text}


def vector(*numbers: Any) -> dict[str, Any]:
    data = [{"object": "embedding", "index": 0, "embedding": list(numbers)}]
    return {"object": "list", "data": data, "usage": {"prompt_tokens": 8, "total_tokens": 8}}


GENRE = "genre VARCHAR NOT NULL"
RIGHT = '{"genre": "war"}'
VECTOR = "embedding FLOAT[2]"
ERROR = {"code": "server_error", "message": "Sorry."}
CUT: dict[str, Any] = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
FILTERED: dict[str, Any] = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
STEERED: dict[str, Any] = {"status": "incomplete", "incomplete_details": {"reason": "steered"}}

CASES: list[tuple[str, str, int, dict[str, Any], tuple[str, str | None]]] = [
    ("chat", GENRE, 200, chat(RIGHT), ("answered", None)),
    ("chat", GENRE, 200, chat('{"gen": "war"}'), ("failed", "bad_shape")),
    ("chat", GENRE, 200, chat('{"genre": 3}'), ("failed", "bad_shape")),
    ("chat", GENRE, 200, chat("Here you are: " + RIGHT), ("failed", "bad_shape")),
    ("chat", GENRE, 200, chat('{"genre": "w', "length"), ("failed", "length")),
    ("chat", GENRE, 200, chat(None, "content_filter"), ("failed", "content_filter")),
    ("chat", GENRE, 200, chat(None, refusal="I will not."), ("failed", "refusal")),
    ("chat", "", 200, chat(""), ("failed", "no_content")),
    ("chat", "", 200, chat(None, "tool_calls", tool_calls=[{}]), ("failed", "tool_calls")),
    ("chat", "", 200, {"choices": []}, ("failed", "no_content")),
    ("chat", "JSON", 200, chat("[1]"), ("failed", "bad_shape")),
    ("chat", "", 400, {"error": {"code": "invalid_value", "message": "No."}}, ("failed", "invalid_value")),
    ("chat", "", 429, {"error": {"code": "rate_limit_exceeded"}}, ("retryable", "rate_limit_exceeded")),
    ("chat", "", 429, {"error": {"code": "insufficient_quota"}}, ("released", "insufficient_quota")),
    ("chat", "", 500, {"error": {"message": "Oh."}}, ("retryable", "http_500")),
    ("responses", GENRE, 200, response(say(RIGHT)), ("answered", None)),
    ("responses", GENRE, 200, response(say('{"genre": '), say('"war"}')), ("answered", None)),
    ("responses", GENRE, 200, response(say('{"gen": "war"}')), ("failed", "bad_shape")),
    ("responses", GENRE, 200, response(say("{"), **CUT), ("failed", "length")),
    ("responses", GENRE, 200, response(**CUT), ("failed", "length")),
    ("responses", GENRE, 200, response(**FILTERED), ("failed", "content_filter")),
    ("responses", GENRE, 200, response(say("{"), **STEERED), ("failed", "incomplete")),
    ("responses", GENRE, 200, response({"type": "refusal", "refusal": "I will not."}), ("failed", "refusal")),
    ("responses", "", 200, response(), ("failed", "no_content")),
    ("responses", "", 200, response(status="failed", error=ERROR), ("retryable", "server_error")),
    ("responses", "", 200, response(status="failed"), ("failed", "failed")),
    ("responses", "", 400, {"error": {"code": "invalid_value", "message": "No."}}, ("failed", "invalid_value")),
    ("embeddings", VECTOR, 200, vector(0.6, 0.8), ("answered", None)),
    ("embeddings", VECTOR, 200, vector(1, 0), ("answered", None)),
    ("embeddings", VECTOR, 200, vector(0.6, 0.8, 0), ("failed", "bad_shape")),
    ("embeddings", VECTOR, 200, vector(0.6, None), ("failed", "bad_shape")),
    ("embeddings", VECTOR, 200, vector(0.6, 1e60), ("failed", "bad_shape")),
    ("embeddings", VECTOR, 200, {"data": [{"embedding": "mpmZPwAAAD8="}]}, ("failed", "bad_shape")),
    ("embeddings", VECTOR, 200, {"data": []}, ("failed", "no_content")),
    ("embeddings", VECTOR, 400, {"error": {"message": "maximum context length", "type": "x"}}, ("failed", "x")),
    ("moderations", "JSON", 200, {"results": [{"flagged": True}]}, ("answered", None)),
    ("moderations", "JSON", 200, {"results": []}, ("failed", "no_content")),
    ("completions", "", 200, {"choices": [{"text": " war", "finish_reason": "stop"}]}, ("answered", None)),
    ("completions", "", 200, {"choices": [{"text": " w", "finish_reason": "length"}]}, ("failed", "length")),
    ("images/generations", "JSON", 200, {"data": [{"b64_json": "aGVsbG8="}]}, ("answered", None)),
    ("videos", "JSON", 200, {"id": "video_1", "status": "queued", "error": None}, ("answered", None)),
]


@pytest.mark.one_of(2)
@pytest.mark.parametrize(("name", "returns", "status", "body", "expected"), CASES)
def test_a_reply_is_an_answer_or_has_its_code(
    name: str, returns: str, status: int, body: dict[str, Any], expected: tuple[str, str | None], tmp_path: Path
) -> None:
    outcome, code, message, content, vector = _judged(name, returns, status, body, tmp_path)
    assert (outcome, code) == expected
    if code is None:
        assert (content is None) == (vector is not None)
    elif code in {"bad_shape", "refusal", "length", "failed", "incomplete", "no_content"}:
        assert message


@pytest.mark.parametrize(("name", "body"), [("chat", chat()), ("responses", response(say("x")))])
def test_tokens_are_counted_whatever_an_endpoint_calls_them(name: str, body: dict[str, Any], tmp_path: Path) -> None:
    _judged(name, "", 200, body, tmp_path, billed=(8, 2, 5, 3))


def test_every_endpoint_has_cases() -> None:
    assert {find_endpoint(name) for name, *_ in CASES} | {"/v1/images/edits"} == {f"/v1/{name}" for name in ENDPOINTS}


def _judged(
    name: str, returns: str, status: int, body: dict[str, Any], folder: Path, billed: tuple[int, ...] | None = None
) -> tuple[Any, ...]:
    path = find_endpoint(name)
    file = folder / "out.jsonl"
    line = {"custom_id": ID, "response": {"status_code": status, "body": body}, "error": None}
    file.write_text(json.dumps(line) + "\n")
    with database().session() as session:
        parse_results(session, [file], path, check_of(path, returns))
        if billed:
            tokens = "tokens_in, tokens_cached, tokens_cache_write, tokens_out"
            assert session.sql(f"SELECT {tokens} FROM sqlbatch_parsed_results") == [billed]
        ((found,),) = [session.sql("SELECT outcome, code, message, content, vector FROM sqlbatch_parsed_results")]
    return found

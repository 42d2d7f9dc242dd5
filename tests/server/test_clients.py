"""The server takes what real clients send, and streams to those that stream by default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from .helpers import CHAT, jsonl

if TYPE_CHECKING:
    import openai

    from sqlbatch.server import EmbeddedServer

LINE = jsonl([{"custom_id": "a"}])
TEXT = "Two chairs, one table. And more."
FIRST = "Two chairs, one table."


@pytest.mark.parametrize("file", [LINE, ("upload", LINE), ("A.JSONL", LINE), ("données 数据.jsonl", LINE)])
def test_a_file_is_judged_by_its_content_where_its_name_says_nothing(shared_client: openai.OpenAI, file: Any) -> None:
    made = shared_client.files.create(file=file, purpose="batch")
    assert made.filename == (file[0] if isinstance(file, tuple) else "upload")
    assert shared_client.files.content(made.id).content == LINE


def post(server: EmbeddedServer, body: str, boundary: str = "b") -> httpx2.Response:
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    return httpx2.post(f"{server.base_url}/files", content=body.replace("\n", "\r\n").encode(), headers=headers)


def form(*parts: tuple[str, str]) -> str:
    return "".join(f"--b\nContent-Disposition: form-data; {head}\n\n{value}\n" for head, value in parts) + "--b--\n"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ('name="file"', "upload"),
        ('name="file"; filename="数据.jsonl"', "数据.jsonl"),
    ],
)
def test_a_part_may_have_no_file_name_or_one_beyond_latin_1(
    shared_server: EmbeddedServer, head: str, name: str
) -> None:
    reply = post(shared_server, form(('name="purpose"', "batch"), (head, '{"custom_id": "a"}')))
    assert (reply.status_code, reply.json()["filename"]) == (200, name)


def test_expires_after_may_be_one_field_of_json(shared_server: EmbeddedServer) -> None:
    def made(expiry: str) -> httpx2.Response:
        file = ('name="file"; filename="a.jsonl"', "{}")
        return post(shared_server, form(('name="purpose"', "batch"), ('name="expires_after"', expiry), file))

    shown = made('{"anchor": "created_at", "seconds": 3600}').json()
    assert shown["expires_at"] - shown["created_at"] == 3600
    for wrong in ("3600", "{", '{"anchor": "now", "seconds": 3600}', "[" * 100_000):
        assert made(wrong).status_code == 400


def test_a_host_name_has_no_case(shared_server: EmbeddedServer) -> None:
    for name in ("LOCALHOST", "Localhost:80"):
        assert httpx2.get(f"{shared_server.base_url}/files", headers={"host": name}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/files", "GET, HEAD, POST"),
        ("POST", "/v1/files/file-1", "DELETE, GET, HEAD"),
        ("DELETE", "/v1/batches", "GET, HEAD, POST"),
        ("GET", "/v1/batches/batch_1/cancel", "POST"),
        ("GET", CHAT, "POST"),
        ("POST", "/health", "GET, HEAD"),
    ],
)
def test_a_405_says_what_is_allowed(shared_server: EmbeddedServer, method: str, path: str, allowed: str) -> None:
    reply = httpx2.request(method, shared_server.base_url.removesuffix("/v1") + path)
    assert reply.status_code == 405
    assert ", ".join(sorted(reply.headers["allow"].split(", "))) == allowed
    assert reply.json()["error"]["message"] == f"Invalid URL ({method} {path})"


def test_what_does_not_exist_is_a_404(shared_server: EmbeddedServer) -> None:
    for method in ("GET", "POST", "PATCH"):
        assert httpx2.request(method, f"{shared_server.base_url}/nonsense").status_code == 404


def test_chat_completions_stream(shared_client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": TEXT}]
    options: Any = {"include_usage": True}
    with shared_client.chat.completions.create(
        model="offline", messages=messages, stream=True, stream_options=options, n=2
    ) as events:
        chunks = list(events)
    for index in range(2):
        choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert "".join(choice.delta.content or "" for choice in choices) == FIRST
        assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
    whole = shared_client.chat.completions.create(model="offline", messages=messages, n=2)
    assert chunks[-1].usage == whole.usage
    with shared_client.chat.completions.create(
        model="offline", messages=messages, stream=True, max_completion_tokens=2
    ) as events:
        assert [choice.finish_reason for chunk in events for choice in chunk.choices][-1] == "length"


def test_responses_stream(shared_client: openai.OpenAI) -> None:
    with shared_client.responses.stream(model="offline", input=TEXT) as events:
        kinds = [event.type for event in events]
        final = events.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert kinds.count("response.output_text.delta") == 4
    assert final.output_text == FIRST
    assert final.usage
    assert final.usage.input_tokens_details.cache_write_tokens == 0


def test_a_refused_request_is_refused_when_it_streams_too(shared_server: EmbeddedServer) -> None:
    for path, name in (("/chat/completions", "messages"), ("/responses", "input")):
        reply = httpx2.post(shared_server.base_url + path, json={"model": "offline", "stream": True, name: []})
        assert (reply.status_code, reply.headers["content-type"]) == (400, "application/json")

"""Every reply is valid against OpenAI's published schema for that object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import jsonschema  # type: ignore[import-untyped]
import pytest

from . import schemas
from .helpers import CHAT, chat_line, chat_lines, create, results, run, wait

if TYPE_CHECKING:
    import openai


class Asking:
    """Asks a server without the SDK and checks what comes back."""

    def __init__(self, base_url: str) -> None:
        self._url = base_url.rstrip("/")

    def __call__(self, method: str, path: str, schema: dict[str, Any], status: int = 200, **options: Any) -> Any:
        """Send a request; return the JSON of its reply."""
        reply = httpx2.request(method, self._url + path, **options)
        assert reply.status_code == status
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers["x-request-id"].startswith("req_")
        jsonschema.validate(reply.json(), schema)
        return reply.json()


@pytest.fixture
def ask(faulty_client: openai.OpenAI) -> Asking:
    return Asking(str(faulty_client.base_url))


@pytest.fixture
def ask_shared(shared_client: openai.OpenAI) -> Asking:
    return Asking(str(shared_client.base_url))


def test_file_objects_are_as_published(ask: Asking) -> None:
    upload: dict[str, Any] = {"data": {"purpose": "batch"}, "files": {"file": ("a.jsonl", b"{}\n")}}
    made = ask("POST", "/files", schemas.FILE, **upload)
    ask("GET", "/files", schemas.page(schemas.FILE))
    ask("GET", f"/files/{made['id']}", schemas.FILE)
    ask("DELETE", f"/files/{made['id']}", schemas.DELETED_FILE)
    ask("GET", "/files", schemas.page(schemas.FILE))


def test_batch_objects_are_as_published_in_every_status(
    ask: Asking, faulty_client: openai.OpenAI, control: Any
) -> None:
    seen = set()

    def look(batch_id: str) -> None:
        seen.add(ask("GET", f"/batches/{batch_id}", schemas.BATCH)["status"])

    for status in ("validating", "in_progress", "finalizing", "cancelling"):
        held = [f"stuck_{status}", *(["stuck_in_progress"] if status == "cancelling" else [])]
        control.faults(*({"name": name, "seconds": 1000} for name in held))
        batch = create(faulty_client, chat_lines(2), metadata={"a": "b"})
        if status == "cancelling":
            ask("POST", f"/batches/{batch.id}/cancel", schemas.BATCH)
        wait(faulty_client, batch, {status})
        look(batch.id)
        control.advance(1000)
        look(wait(faulty_client, batch).id)
    control.faults({"name": "expires"})
    look(run(faulty_client, chat_lines(2)).id)
    control.faults()
    look(run(faulty_client, ["{}", "x"]).id)
    ask("GET", "/batches", schemas.page(schemas.BATCH))
    assert seen == set(schemas.BATCH["properties"]["status"]["enum"])


def test_result_lines_are_as_published(faulty_client: openai.OpenAI, control: Any) -> None:
    control.faults({"name": "expires", "answered": 0.5})
    ended = run(faulty_client, [chat_line("a"), chat_line("bad", max_tokens=0), chat_line("c"), chat_line("d")])
    for line in results(faulty_client, ended.output_file_id):
        jsonschema.validate(line, schemas.result(schemas.CHAT))
    for line in results(faulty_client, ended.error_file_id):
        jsonschema.validate(line, schemas.result(schemas.ERROR))


def test_answers_are_as_published(ask: Asking) -> None:
    message = [{"role": "user", "content": "One. Two."}]
    more: dict[str, Any]
    for more in ({}, {"max_tokens": 1}, {"n": 3}):
        ask("POST", "/chat/completions", schemas.CHAT, json={"model": "offline", "messages": message, **more})
    for more in ({}, {"max_output_tokens": 1}, {"instructions": "Be brief."}):
        ask("POST", "/responses", schemas.RESPONSE, json={"model": "offline", "input": message, **more})
    for more in ({}, {"encoding_format": "base64"}):
        ask("POST", "/embeddings", schemas.EMBEDDINGS, json={"model": "offline", "input": ["a", "b"], **more})
    ask("GET", "/models", schemas.MODELS)
    ask("GET", "/models/offline", schemas.MODEL)


@pytest.mark.parametrize(
    ("method", "path", "status", "options"),
    [
        ("GET", "/files/file-x", 404, {}),
        ("GET", "/files/file-x/content", 404, {}),
        ("DELETE", "/files/file-x", 404, {}),
        ("GET", "/files?limit=0", 400, {}),
        ("POST", "/files", 400, {"json": {}}),
        ("GET", "/batches/batch_x", 404, {}),
        ("POST", "/batches/batch_x/cancel", 404, {}),
        ("POST", "/batches", 400, {"json": {}}),
        ("POST", "/batches", 400, {"content": b"nonsense"}),
        ("DELETE", "/batches", 405, {}),
        ("GET", "/nonsense", 404, {}),
        ("POST", "/completions", 404, {"json": {}}),
        ("GET", "/models/gpt-9", 404, {}),
        ("POST", CHAT.removeprefix("/v1"), 404, {"json": {"model": "gpt-9", "messages": []}}),
        ("POST", CHAT.removeprefix("/v1"), 400, {"json": {"messages": []}}),
        ("POST", CHAT.removeprefix("/v1"), 400, {"json": {"model": "offline", "messages": [], "stream": True}}),
    ],
)
def test_refusals_have_the_error_envelope_and_a_request_id(
    ask_shared: Asking, method: str, path: str, status: int, options: dict[str, Any]
) -> None:
    ask_shared(method, path, schemas.ERROR, status, **options)

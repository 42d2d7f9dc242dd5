"""The shapes that other providers, gateways and models reply in can be acted out by name."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from sqlbatch.server import EmbeddedServer, ServerConfig

from .conftest import Control
from .helpers import CHAT, chat_line, chat_lines, create, raw, results, run, upload, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import openai
    from openai.types import Batch

SCHEMA = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}


@pytest.fixture(scope="module")
def shared_faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """Start one server with faults for all tests of this module."""
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "faults.toml").write_text("")
    config = ServerConfig(folder / "data", faults=folder / "faults.toml")
    with EmbeddedServer(folder / "data", config=config) as running:
        yield running


@pytest.fixture
def control(shared_faulty: EmbeddedServer) -> Iterator[Control]:
    """Control that server; no faults are left behind."""
    with closing(Control(shared_faulty.base_url)) as found:
        yield found
        found.faults()


@pytest.fixture
def client(shared_faulty: EmbeddedServer, connect: Callable[..., openai.OpenAI]) -> openai.OpenAI:
    """Make a client of that server."""
    return connect(shared_faulty.base_url)


def get(client: openai.OpenAI, path: str) -> httpx2.Response:
    return httpx2.get(f"{client.base_url}{path}")


@pytest.fixture(scope="module")
def batches(shared_faulty: EmbeddedServer) -> dict[str, Batch]:
    """One batch that completed and one that failed."""
    import openai  # noqa: PLC0415

    http = httpx2.Client(verify=False)
    with openai.OpenAI(base_url=shared_faulty.base_url, api_key="x", http_client=http) as client:
        return {"completed": run(client, chat_lines(2), metadata={"a": "b"}), "failed": run(client, ["{}"])}


BATCHES: list[tuple[dict[str, Any], str, Callable[[Any], bool]]] = [
    ({"name": "late_output_file"}, "completed", lambda b: b["output_file_id"] is None),
    ({"name": "error_file_nowhere"}, "completed", lambda b: b["error_file_id"] == "file-nowhere"),
    ({"name": "output_file_nowhere"}, "completed", lambda b: b["output_file_id"] == "file-nowhere"),
    (
        {"name": "queued_first"},
        "completed",
        lambda b: (b["status"], b["output_file_id"], b["request_counts"]["total"]) == ("queued", None, 0),
    ),
    ({"name": "renamed_status", "to": "ended"}, "completed", lambda b: b["status"] == "ended"),
    ({"name": "renamed_status", "to": "ended"}, "failed", lambda b: b["status"] == "failed"),
    (
        {"name": "lying_counts", "completed": 1000},
        "completed",
        lambda b: b["request_counts"] == {"total": 2, "completed": 1000, "failed": 0},
    ),
    ({"name": "counts_as_text"}, "completed", lambda b: b["request_counts"]["completed"] == "2"),
    ({"name": "errors_as_text"}, "failed", lambda b: b["errors"].startswith("Missing required parameter")),
    (
        {"name": "reason_in_error"},
        "failed",
        lambda b: b["errors"] is None and b["error"].startswith("Missing required parameter"),
    ),
    ({"name": "metadata_as_text"}, "completed", lambda b: json.loads(b["metadata"]) == {"a": "b"}),
    ({"name": "iso_dates"}, "completed", lambda b: b["created_at"][10] == b["completed_at"][10] == "T"),
    (
        {"name": "edit_batch", "set": {"errors.x": 1, "request_counts.total": None}},
        "completed",
        lambda b: not b["errors"],
    ),
    ({"name": "edit_batch", "drop": ["status"], "wrap": "batch"}, "completed", lambda b: "status" not in b["batch"]),
]


@pytest.mark.parametrize(("rule", "which", "check"), BATCHES)
def test_a_batch_object_can_take_another_shape(
    client: openai.OpenAI, control: Control, batches: dict[str, Batch], rule: Any, which: str, check: Any
) -> None:
    batch_id = batches[which].id
    control.faults({**rule, "on": batch_id})
    shown = get(client, f"batches/{batch_id}").json()
    assert check(shown), shown
    if "wrap" not in rule:
        assert shown in get(client, "batches?limit=100").json()["data"]


def test_the_first_looks_only(client: openai.OpenAI, control: Control) -> None:
    control.faults({"name": "late_output_file", "times": 2}, {"name": "queued_first", "times": 2})
    for _ in range(2):
        made = create(client, chat_lines(1))
        assert made.status == "validating"
        assert [client.batches.retrieve(made.id).status for _ in range(2)] == ["queued", "queued"]
        assert wait(client, made).output_file_id is None
        assert client.batches.retrieve(made.id).output_file_id is None
        assert client.batches.retrieve(made.id).output_file_id


def test_a_forgotten_batch_is_gone_everywhere(client: openai.OpenAI, control: Control) -> None:
    control.faults({"name": "batch_forgotten", "skip": 1})
    batch = create(client, chat_lines(1))
    assert client.batches.retrieve(batch.id).id == batch.id
    assert get(client, f"batches/{batch.id}").status_code == 404
    assert get(client, "batches?limit=100").json()["data"] == []


def test_batch_ids_can_be_paths(client: openai.OpenAI, control: Control) -> None:
    for form in ("projects/p1/batches/{}", "arn:aws:bedrock:eu:batch/{}", "YmF0Y2g6{}=="):
        control.faults({"name": "odd_ids", "form": form})
        batch = run(client, chat_lines(1))
        assert batch.id.startswith(form.partition("{}")[0])
        client.batches.list(limit=1, after=batch.id)
        assert batch.id in {one.id for one in client.batches.list()}


REPLIES: list[tuple[dict[str, Any], str, int, Callable[[httpx2.Response], bool]]] = [
    ({"name": "no_list"}, "batches", 405, lambda r: r.json() == {"detail": "Method Not Allowed"}),
    ({"name": "list_as_array"}, "batches", 200, lambda r: r.json()[0]["object"] == "batch"),
    ({"name": "malformed_reply"}, "batches", 200, lambda r: r.text.startswith("{") and not r.text.endswith("}")),
    ({"name": "html_reply"}, "batches", 200, lambda r: r.headers["content-type"] == "text/html" and "<h1>" in r.text),
    ({"name": "empty_reply"}, "batches", 200, lambda r: r.content == b""),
    ({"name": "no_file_metadata"}, "files/FILE", 500, lambda r: "error" in r.json()),
    ({"name": "no_file_metadata"}, "files/FILE/content", 200, lambda r: r.content.startswith(b"{")),
    ({"name": "content_html"}, "files/FILE/content", 200, lambda r: r.text.startswith("<!DOCTYPE")),
    ({"name": "content_json_error"}, "files/FILE/content", 200, lambda r: "error" in r.json()),
    ({"name": "content_empty"}, "files/FILE/content", 200, lambda r: r.content == b""),
    ({"name": "content_short", "bytes": 9}, "files/FILE/content", 200, lambda r: r.headers["content-length"] == "9"),
    ({"name": "iso_dates"}, "files/FILE", 200, lambda r: r.json()["created_at"].endswith("Z")),
    ({"name": "edit_file", "rename": {"bytes": "size"}}, "files/FILE", 200, lambda r: "size" in r.json()),
    (
        {
            "name": "edit_reply",
            "on": "GET /v1/batches",
            "set": {"data.*.metadata": 7, "data.0.id": 1},
            "drop": ["has_more"],
        },
        "batches",
        200,
        lambda r: (r.json()["data"][0]["metadata"], r.json()["data"][0]["id"], "has_more" in r.json()) == (7, 1, False),
    ),
    *(
        ({"name": "error", "envelope": envelope, "message": "No room."}, "batches", 500, lambda r: "No room." in r.text)
        for envelope in ("object", "detail", "message", "text", "html", "plain")
    ),
    ({"name": "error", "envelope": "empty"}, "batches", 500, lambda r: r.text == ""),
]


@pytest.mark.parametrize(("rule", "path", "status", "check"), REPLIES)
def test_a_reply_can_take_another_shape(
    client: openai.OpenAI, control: Control, batches: dict[str, Batch], rule: Any, path: str, status: int, check: Any
) -> None:
    control.faults(rule)
    reply = get(client, path.replace("FILE", str(batches["completed"].output_file_id)))
    assert reply.status_code == status
    assert check(reply), reply.text


def test_the_first_download_of_each_file_can_be_wrong(client: openai.OpenAI, control: Control) -> None:
    files = [upload(client, chat_lines(1)) for _ in range(2)]
    control.faults({"name": "content_html", "times": 1})
    assert [raw(client, file)[:1] for file in [*files, *files]] == [b"<", b"<", b"{", b"{"]


def test_the_reply_to_an_upload_and_to_a_create_can_be_wrapped(client: openai.OpenAI, control: Control) -> None:
    control.faults({"name": "wrapped_upload"}, {"name": "wrapped_batch"})
    file: Any = client.files.create(file=("a.jsonl", b'{"a": 1}'), purpose="batch")
    assert file.data["id"].startswith("file-")
    batch: Any = client.batches.create(input_file_id=file.data["id"], endpoint=CHAT, completion_window="24h")
    assert batch.job["id"].startswith("batch_")
    control.faults({"name": "upload_without_id"})
    assert client.files.create(file=("a.jsonl", b'{"a": 1}'), purpose="batch").id is None


def message(line: Any) -> Any:
    return line["response"]["body"]["choices"][0]["message"]


LINES: list[tuple[dict[str, Any], Callable[[Any], Any], Any]] = [
    ({"name": "answer", "content": "<{text}>", "finish": "eos"}, lambda d: message(d)["content"][:2], "<{"),
    ({"name": "empty_refusal"}, lambda d: (message(d)["refusal"], bool(message(d)["content"])), ("", True)),
    (
        {"name": "finish_reason", "finish": "abort"},
        lambda d: d["response"]["body"]["choices"][0]["finish_reason"],
        "abort",
    ),
    ({"name": "fenced"}, lambda d: message(d)["content"][:9], "```json\n{"),
    ({"name": "thinking"}, lambda d: message(d)["content"][:7], "<think>"),
    ({"name": "chatty"}, lambda d: message(d)["content"][:8], "Here is "),
    (
        {"name": "content_parts"},
        lambda d: json.loads("".join(part.get("text", "") for part in message(d)["content"])),
        {"word": "Text number 0."},
    ),
    ({"name": "content_object"}, lambda d: list(message(d)["content"]), ["answer"]),
    (
        {"name": "reasoning_only"},
        lambda d: (message(d)["content"], json.loads(message(d)["reasoning_content"])["word"]),
        (None, "Text number 0."),
    ),
    ({"name": "lone_surrogate"}, lambda d: json.loads(message(d)["content"])["word"], "Text number 0.\ud83d"),
    ({"name": "no_json_schema"}, lambda d: d["response"]["status_code"], 400),
    (
        {"name": "line_error", "status": 422, "envelope": "detail", "message": "No."},
        lambda d: d["response"]["body"],
        {"detail": "No."},
    ),
    ({"name": "line_error", "envelope": "plain", "message": "No."}, lambda d: d["response"]["body"], "No."),
    ({"name": "bare_response"}, lambda d: (sorted(d), "choices" in d["response"]), (["custom_id", "response"], True)),
    ({"name": "body_as_text"}, lambda d: "choices" in json.loads(d["response"]["body"]), True),
    ({"name": "status_as_text"}, lambda d: d["response"]["status_code"], "200"),
    ({"name": "empty_error"}, lambda d: (d["error"], "choices" in d["response"]["body"]), ({}, True)),
    ({"name": "empty_body_error"}, lambda d: (d["response"]["body"]["error"], d["error"]), ("", None)),
    ({"name": "error_as_text", "message": "No."}, lambda d: (d["response"], d["error"]), (None, "No.")),
    ({"name": "long_line"}, lambda d: len(json.dumps(d)) > 32 * 1024 * 1024, True),
    ({"name": "edit_line", "rename": {"custom_id": "key"}}, lambda d: d["key"], "r0"),
]


@pytest.mark.parametrize(("rule", "look", "found"), LINES)
def test_a_line_can_take_another_shape(
    client: openai.OpenAI, control: Control, rule: dict[str, Any], look: Any, found: Any
) -> None:
    control.faults({**rule, "on": "r0"})
    asked = {"type": "json_schema", "json_schema": {"name": "row", "schema": SCHEMA}}
    ended = run(client, chat_lines(2, response_format=asked))
    lines = [*results(client, ended.output_file_id), *results(client, ended.error_file_id)]
    assert len(lines) == 2
    assert look(next(line for line in lines if line.get("custom_id") != "r1")) == found


@pytest.mark.parametrize("name", ["answer", "content_parts", "reasoning_only", "finish_reason", "lone_surrogate"])
def test_an_answer_of_the_responses_api_can_take_another_shape(
    client: openai.OpenAI, control: Control, name: str
) -> None:
    control.faults({"name": name})
    body = {"model": "offline", "input": "Text number 0. More."}
    ended = run(client, [{"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": body}], "/v1/responses")
    (line,) = results(client, ended.output_file_id)
    said = line["response"]["body"]
    kinds = [item["type"] for item in said["output"]]
    parts = {"content_parts": ["reasoning", "message"], "reasoning_only": ["reasoning"]}
    assert kinds == parts.get(name, ["message"])
    assert said["status"] == ("incomplete" if name == "finish_reason" else "completed")


def test_a_batch_can_fail_with_a_reason_of_ones_own(client: openai.OpenAI, control: Control) -> None:
    control.faults({"name": "batch_fails", "code": "odd", "message": "Not today."})
    ended = run(client, [chat_line("a")])
    assert ended.errors
    assert ended.errors.data
    assert [(one.code, one.message) for one in ended.errors.data] == [("odd", "Not today.")]

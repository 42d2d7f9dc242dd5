"""The Batches API: creation, validation, the life cycle, results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

from .helpers import (
    CHAT,
    answers,
    chat_line,
    chat_lines,
    create,
    jsonl,
    raw,
    results,
    run,
    upload,
    wait,
)

if TYPE_CHECKING:
    from sqlbatch.server import EmbeddedServer


def test_a_batch_goes_from_validating_to_completed(shared_client: openai.OpenAI) -> None:
    batch = create(shared_client, chat_lines(20), metadata={"job": "7"})
    assert (batch.status, batch.endpoint, batch.object) == ("validating", CHAT, "batch")
    assert batch.expires_at == batch.created_at + 86_400
    assert batch.request_counts
    assert (batch.request_counts.total, batch.output_file_id, batch.errors) == (0, None, None)
    ended = wait(shared_client, batch)
    assert ended.status == "completed"
    assert ended.model == "offline"
    assert ended.metadata == {"job": "7"}
    assert ended.error_file_id is None
    assert ended.request_counts
    assert ended.request_counts.model_dump() == {"total": 20, "completed": 20, "failed": 0}
    times = [ended.created_at, ended.in_progress_at, ended.finalizing_at, ended.completed_at]
    assert None not in times
    assert times == sorted(time for time in times if time)
    assert (ended.failed_at, ended.expired_at, ended.cancelling_at, ended.cancelled_at) == (None,) * 4


def test_each_line_is_answered_once_under_its_custom_id(shared_client: openai.OpenAI) -> None:
    ended = run(shared_client, chat_lines(300))
    lines = results(shared_client, ended.output_file_id)
    assert [line["custom_id"] for line in lines] == [f"r{number}" for number in range(300)]
    assert len({line["id"] for line in lines}) == 300
    assert all(line["error"] is None and line["response"]["status_code"] == 200 for line in lines)
    assert lines[7]["response"]["body"]["choices"][0]["message"]["content"] == "Text number 7."
    assert raw(shared_client, ended.output_file_id).endswith(b"}\n")


def test_usage_is_the_sum_of_the_lines(shared_client: openai.OpenAI) -> None:
    ended = run(shared_client, chat_lines(10))
    usage = [line["response"]["body"]["usage"] for line in results(shared_client, ended.output_file_id)]
    assert ended.usage
    assert ended.usage.input_tokens == sum(one["prompt_tokens"] for one in usage)
    assert ended.usage.output_tokens == sum(one["completion_tokens"] for one in usage)
    assert ended.usage.total_tokens == ended.usage.input_tokens + ended.usage.output_tokens


def test_output_files_are_files_that_expire(shared_client: openai.OpenAI) -> None:
    ended = run(shared_client, chat_lines(2), output_expires_after={"anchor": "created_at", "seconds": 7200})
    assert ended.output_file_id
    file = shared_client.files.retrieve(ended.output_file_id)
    assert (file.purpose, file.filename) == ("batch_output", f"{ended.id}_output.jsonl")
    assert file.expires_at == file.created_at + 7200
    assert file.bytes == len(raw(shared_client, file.id))


def test_lines_that_the_model_refuses_are_in_the_error_file_with_error_null(shared_client: openai.OpenAI) -> None:
    ended = run(shared_client, [chat_line("good"), chat_line("bad", max_tokens=0)])
    assert ended.status == "completed"
    assert ended.request_counts
    assert ended.request_counts.model_dump() == {"total": 2, "completed": 1, "failed": 1}
    (failed,) = results(shared_client, ended.error_file_id)
    assert (failed["custom_id"], failed["error"], failed["response"]["status_code"]) == ("bad", None, 400)
    assert failed["response"]["body"]["error"]["param"] == "max_tokens"


def test_a_batch_whose_every_line_fails_is_completed_without_an_output_file(shared_client: openai.OpenAI) -> None:
    ended = run(shared_client, chat_lines(9, max_tokens=0))
    assert (ended.status, ended.output_file_id, ended.errors) == ("completed", None, None)
    assert len(results(shared_client, ended.error_file_id)) == 9


def test_equal_custom_ids_of_two_batches_do_not_meet(shared_client: openai.OpenAI) -> None:
    one = create(shared_client, [chat_line("same", "First text.")])
    two = create(shared_client, [chat_line("same", "Second text.")])
    assert answers(shared_client, wait(shared_client, one)) == {"same": "First text."}
    assert answers(shared_client, wait(shared_client, two)) == {"same": "Second text."}


def test_odd_characters_come_back_as_they_went(shared_client: openai.OpenAI) -> None:
    odd = 'a\u2028b\u2029c\u0085d "\\ \U0001f600 \ud800 \x00'
    ended = run(shared_client, [json.dumps(chat_line(odd, f"{odd} end"))])
    (line,) = results(shared_client, ended.output_file_id)
    assert line["custom_id"] == odd
    assert len(raw(shared_client, ended.output_file_id).splitlines()) == 1


def test_responses_and_embeddings_have_batches_too(shared_client: openai.OpenAI) -> None:
    url = "/v1/responses"
    line = {"custom_id": "a", "method": "POST", "url": url, "body": {"model": "offline", "input": "One. Two."}}
    (result,) = results(shared_client, run(shared_client, [line], url).output_file_id)
    assert result["response"]["body"]["output"][0]["content"][0]["text"] == "One."
    url = "/v1/embeddings"
    line = {"custom_id": "a", "method": "POST", "url": url, "body": {"model": "offline", "input": ["x", "y"]}}
    ended = run(shared_client, [line], url)
    (result,) = results(shared_client, ended.output_file_id)
    assert [one["index"] for one in result["response"]["body"]["data"]] == [0, 1]
    assert ended.usage
    assert (ended.usage.input_tokens, ended.usage.output_tokens) == (2, 0)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("{not json", ("invalid_json_line", None, "This line is not parseable as valid JSON.")),
        ('{"a": NaN}', ("invalid_json_line", None, "This line is not parseable as valid JSON.")),
        ("[1]", ("invalid_json_line", None, "This line is not a JSON object.")),
        ({"custom_id": None}, ("missing_required_parameter", "custom_id", "Missing required parameter: 'custom_id'.")),
        ({"method": None}, ("missing_required_parameter", "method", "Missing required parameter: 'method'.")),
        ({"url": None}, ("missing_required_parameter", "url", "Missing required parameter: 'url'.")),
        ({"body": None}, ("missing_required_parameter", "body", "Missing required parameter: 'body'.")),
        (
            {"custom_id": 5},
            (
                "invalid_type",
                "custom_id",
                "Invalid type for 'custom_id': expected a string, but got an integer instead.",
            ),
        ),
        ({"method": "GET"}, ("invalid_method", "method", "Invalid value: 'GET'. Supported values are: 'POST'")),
        (
            {"url": "/v1/responses"},
            ("invalid_url", "url", "The URL provided for this request does not match the batch endpoint."),
        ),
        ({"body": {"messages": []}}, ("invalid_request", "body.model", "Model parameter is required.")),
        ({"body": {"model": "offline"}}, ("invalid_request", "body.messages", "Messages parameter is required.")),
        (
            {"body": {"model": "gpt-9", "messages": []}},
            ("model_not_found", "body.model", "The provided model 'gpt-9' is not supported by the Batch API."),
        ),
        (
            {"body": {"model": "offline", "messages": [], "stream": True}},
            (
                "streaming_unsupported",
                "body.stream",
                "Chat Completions: Streaming is not supported in the Batch API.",
            ),
        ),
        (
            {"custom_id": "r0"},
            (
                "duplicate_custom_id",
                "custom_id",
                (
                    "The custom_id 'r0' for this request is a duplicate of another request. "
                    "The custom_id parameter must be unique for each request in a batch."
                ),
            ),
        ),
    ],
)
def test_a_bad_line_fails_the_batch_with_its_code_message_and_number(
    shared_client: openai.OpenAI, change: Any, expected: tuple[str, str | None, str]
) -> None:
    bad = change
    if isinstance(change, dict):
        bad = {key: value for key, value in {**chat_line("bad"), **change}.items() if value is not None}
    ended = run(shared_client, [*chat_lines(2), bad])
    assert ended.status == "failed"
    assert ended.failed_at
    assert (ended.output_file_id, ended.error_file_id, ended.in_progress_at) == (None, None, None)
    assert ended.request_counts
    assert ended.request_counts.model_dump() == {"total": 0, "completed": 0, "failed": 0}
    assert ended.errors
    assert ended.errors.data
    (error,) = ended.errors.data
    assert (error.code, error.param, error.message, error.line) == (*expected, 3)


def test_all_errors_of_all_lines_are_told_together(shared_client: openai.OpenAI) -> None:
    ended = run(
        shared_client, [chat_line("a"), "", {"custom_id": "a", "url": "/x"}, "no", chat_line("b", model="other")]
    )
    assert ended.errors
    assert [(error.line, error.code) for error in ended.errors.data or []] == [
        (3, "missing_required_parameter"),
        (3, "missing_required_parameter"),
        (3, "duplicate_custom_id"),
        (3, "invalid_url"),
        (4, "invalid_json_line"),
        (5, "model_not_found"),
    ]


def test_a_file_has_one_model(faulty_client: openai.OpenAI) -> None:
    ended = run(faulty_client, [chat_line("a"), chat_line("b", model="gpt-6-luna")])
    assert ended.errors
    assert ended.errors.data
    assert [(error.code, error.line, error.param) for error in ended.errors.data] == [
        ("mismatched_model", 2, "body.model")
    ]


def test_a_byte_order_mark_is_no_json(shared_client: openai.OpenAI) -> None:
    file = shared_client.files.create(file=("a.jsonl", b"\xef\xbb\xbf" + jsonl(chat_lines(2))), purpose="batch")
    batch = shared_client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    ended = wait(shared_client, batch)
    assert ended.errors
    assert [(error.code, error.line) for error in ended.errors.data or []] == [("invalid_json_line", 1)]


def test_more_than_50_000_requests_are_too_many(client: openai.OpenAI) -> None:
    ended = run(
        client,
        (
            {"custom_id": str(n), "method": "POST", "url": CHAT, "body": {"model": "offline", "messages": []}}
            for n in range(50_001)
        ),
    )
    assert ended.errors
    assert [(error.code, error.line) for error in ended.errors.data or []] == [("too_many_tasks", None)]


def test_embedding_inputs_are_counted_one_by_one(shared_client: openai.OpenAI) -> None:
    url = "/v1/embeddings"
    many = [
        {"custom_id": str(n), "method": "POST", "url": url, "body": {"model": "offline", "input": ["x"] * 2_000}}
        for n in range(26)
    ]
    ended = run(shared_client, many, url)
    assert ended.errors
    assert [error.code for error in ended.errors.data or []] == ["too_many_tasks"]


def test_an_unknown_input_file_is_not_refused_at_once_but_fails_the_batch(shared_client: openai.OpenAI) -> None:
    batch = shared_client.batches.create(input_file_id="file-unknown", endpoint=CHAT, completion_window="24h")
    ended = wait(shared_client, batch)
    assert ended.status == "failed"
    assert ended.errors
    assert ended.errors.data
    (error,) = ended.errors.data
    message = "Cannot find file file-unknown, or organization org-local does not have access to it."
    assert (error.code, error.param, error.line, error.message) == ("invalid_request", "file_id", None, message)


def test_an_input_file_deleted_before_validation_fails_the_batch(faulty_client: openai.OpenAI, control: Any) -> None:
    control.faults({"name": "stuck_validating", "seconds": 100})
    batch = create(faulty_client, chat_lines(2))
    faulty_client.files.delete(batch.input_file_id)
    control.advance(100)
    ended = wait(faulty_client, batch)
    assert ended.status == "failed"
    assert ended.errors
    assert [error.code for error in ended.errors.data or []] == ["invalid_request"]
    assert control.ledger(batch.id) == []


def test_an_input_file_deleted_after_validation_is_answered_to_the_end(
    faulty_client: openai.OpenAI, control: Any
) -> None:
    control.faults({"name": "stuck_in_progress", "seconds": 100})
    batch = wait(faulty_client, create(faulty_client, chat_lines(5)), {"in_progress"})
    faulty_client.files.delete(batch.input_file_id)
    control.advance(100)
    assert len(answers(faulty_client, wait(faulty_client, batch))) == 5


@pytest.mark.parametrize(
    ("body", "status", "param", "code", "message"),
    [
        ({"input_file_id": None}, 400, "input_file_id", "missing_required_parameter", "Missing required parameter"),
        ({"endpoint": None}, 400, "endpoint", "missing_required_parameter", "Missing required parameter: 'endpoint'."),
        ({"endpoint": "/v1/invalid"}, 400, "endpoint", "invalid_value", "Invalid value: '/v1/invalid'. Supported"),
        ({"completion_window": "48h"}, 400, "completion_window", "invalid_value", "completion_window|24h"),
        ({"completion_window": ""}, 400, "completion_window", "invalid_value", "24h"),
        ({"completion_window": None}, 400, "completion_window", "missing_required_parameter", "completion_window"),
        (
            {"metadata": {"tags": ["a"]}},
            400,
            "metadata.tags",
            "invalid_type",
            "Invalid type for 'metadata.tags': expected a string, but got an array instead.",
        ),
        ({"metadata": {str(n): "x" for n in range(17)}}, 400, "metadata", "object_above_max_properties", "16"),
        ({"metadata": {"k" * 65: "x"}}, 400, "metadata", "string_above_max_length", "64"),
        ({"metadata": {"k": "x" * 513}}, 400, "metadata.k", "string_above_max_length", "512"),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 1}},
            400,
            "output_expires_after.seconds",
            "invalid_value",
            "3600",
        ),
        ({"input_file_id": 5}, 400, "input_file_id", "invalid_type", "expected a string"),
    ],
)
def test_a_wrong_creation_is_refused_at_once(
    shared_server: EmbeddedServer, body: dict[str, Any], status: int, param: str, code: str, message: str
) -> None:
    whole = {"input_file_id": "file-x", "endpoint": CHAT, "completion_window": "24h", **body}
    sent = {key: value for key, value in whole.items() if value is not None}
    reply = httpx2.post(f"{shared_server.base_url}/batches", json=sent)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["code"]) == (status, param, code)
    assert any(part in error["message"] for part in message.split("|"))
    assert error["type"] == "invalid_request_error"
    assert reply.headers["x-request-id"]


def test_a_body_that_is_no_json_object_is_refused(server: EmbeddedServer) -> None:
    for data in (b"{", b"[]", b"\xff", b"[" * 100_000, b'"x"' + b" " * (1 << 20)):
        reply = httpx2.post(f"{server.base_url}/batches", content=data)
        assert reply.status_code in {400, 413}
        assert reply.json()["error"]["type"] == "invalid_request_error"


def test_batches_are_listed_newest_first_page_by_page(client: openai.OpenAI) -> None:
    file_id = upload(client, chat_lines(1))
    made = [client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h").id for _ in range(25)]
    assert [one.id for one in client.batches.list(limit=7)] == made[::-1]
    page = client.batches.list()
    assert (len(page.data), page.has_more) == (20, True)
    assert [one.id for one in client.batches.list(after=made[3], limit=100).data] == made[2::-1]


@pytest.mark.parametrize(("query", "status"), [("limit=0", 400), ("limit=101", 400), ("after=batch_unknown", 404)])
def test_a_listing_of_batches_refuses_what_it_cannot_do(shared_server: EmbeddedServer, query: str, status: int) -> None:
    assert httpx2.get(f"{shared_server.base_url}/batches?{query}").status_code == status


def test_an_unknown_batch_is_not_found(shared_client: openai.OpenAI) -> None:
    for call in (shared_client.batches.retrieve, shared_client.batches.cancel):
        with pytest.raises(openai.NotFoundError, match="No batch found with id 'batch_unknown'"):
            call("batch_unknown")


def test_a_batch_that_has_ended_cannot_be_cancelled(shared_client: openai.OpenAI) -> None:
    for lines, status in ((chat_lines(1), "completed"), (["{}"], "failed")):
        ended = run(shared_client, lines)
        with pytest.raises(openai.ConflictError) as refused:
            shared_client.batches.cancel(ended.id)
        assert refused.value.body == {
            "message": f"Cannot cancel a batch with status '{status}'.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }


@pytest.mark.parametrize("held_in", ["stuck_validating", "stuck_in_progress", "stuck_finalizing"])
def test_a_batch_can_be_cancelled_wherever_it_is(faulty_client: openai.OpenAI, control: Any, held_in: str) -> None:
    control.faults({"name": held_in}, {"name": "stuck_cancelling", "seconds": 100})
    batch = create(faulty_client, chat_lines(10))
    wait(faulty_client, batch, {held_in.removeprefix("stuck_")})
    cancelling = faulty_client.batches.cancel(batch.id)
    assert cancelling.status == "cancelling"
    assert cancelling.cancelling_at
    assert faulty_client.batches.cancel(batch.id).status == "cancelling"
    control.advance(100)
    ended = wait(faulty_client, batch)
    assert ended.status == "cancelled"
    assert ended.cancelled_at
    assert faulty_client.batches.cancel(batch.id).status == "cancelled"
    not_run = results(faulty_client, ended.error_file_id)
    answered = results(faulty_client, ended.output_file_id)
    assert (len(answered), len(not_run)) == {
        "stuck_validating": (0, 0),
        "stuck_in_progress": (0, 10),
        "stuck_finalizing": (10, 0),
    }[held_in]
    assert {line["error"]["code"] for line in not_run} <= {"batch_cancelled"}


def test_a_batch_that_is_not_done_in_its_window_expires_with_what_it_has(
    faulty_client: openai.OpenAI, control: Any
) -> None:
    control.faults({"name": "stuck_in_progress"})
    batch = wait(faulty_client, create(faulty_client, chat_lines(4)), {"in_progress"})
    control.advance(86_400)
    ended = wait(faulty_client, batch)
    assert ended.status == "expired"
    assert ended.expired_at
    assert ended.expires_at
    assert ended.expired_at >= ended.expires_at
    assert [line["error"] for line in results(faulty_client, ended.error_file_id)] == [
        {
            "code": "batch_expired",
            "message": "This request could not be executed before the completion window expired.",
        }
    ] * 4


def test_an_expired_batch_keeps_its_answers(faulty_client: openai.OpenAI, control: Any) -> None:
    control.faults({"name": "expires", "answered": 0.25})
    ended = run(faulty_client, chat_lines(40))
    assert ended.status == "expired"
    assert len(answers(faulty_client, ended)) == 10
    assert len(results(faulty_client, ended.error_file_id)) == 30
    with pytest.raises(openai.ConflictError):
        faulty_client.batches.cancel(ended.id)

"""Every failure that providers are known for can be acted out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

from sqlbatch.errors import ServerError
from sqlbatch.server import EmbeddedServer, ServerConfig
from sqlbatch.server.testing.faults import NAMES

from .helpers import CHAT, answers, chat_lines, create, jsonl, raw, results, run, upload, wait

if TYPE_CHECKING:
    from .conftest import Control

CREATE = "POST /v1/batches"


def test_every_failure_is_documented_and_tested() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "server.md").read_text()
    assert set(re.findall(r"^\| `([a-z_0-9]+)` \|", guide, re.MULTILINE)) >= NAMES
    tests = "".join((Path(__file__).parent / f"test_{name}.py").read_text() for name in ("faults", "shapes", "batches"))
    assert {name for name in NAMES if f'"{name}"' not in tests} == set()


def test_a_reply_dropped_after_the_deed_leaves_a_batch_behind(faulty_client: openai.OpenAI, control: Control) -> None:
    control.faults({"name": "drop_after", "on": CREATE, "count": 1})
    with pytest.raises(openai.APIConnectionError):
        create(faulty_client, chat_lines(1), metadata={"try": "1"})
    (made,) = faulty_client.batches.list()
    assert made.metadata == {"try": "1"}
    assert [one["status"] for one in control.requests("POST", "/v1/batches")] == [0]


def test_a_reply_dropped_before_the_deed_leaves_nothing(faulty_client: openai.OpenAI, control: Control) -> None:
    control.faults({"name": "drop_before", "on": CREATE, "count": 1})
    with pytest.raises(openai.APIConnectionError):
        create(faulty_client, chat_lines(1))
    assert not list(faulty_client.batches.list())
    assert create(faulty_client, chat_lines(1)).id


def test_a_500_may_come_before_or_after_the_deed(faulty_client: openai.OpenAI, control: Control) -> None:
    for name, made in (("error", 0), ("error_after", 1)):
        control.faults({"name": name, "on": CREATE, "status": 503, "count": 1})
        with pytest.raises(openai.InternalServerError):
            create(faulty_client, chat_lines(1))
        assert len(list(faulty_client.batches.list())) == made


def test_a_retrying_client_makes_three_batches_of_one_lost_reply(faulty: EmbeddedServer, control: Control) -> None:
    control.faults({"name": "drop_after", "on": CREATE, "count": 2})
    with openai.OpenAI(base_url=faulty.base_url, api_key="x", max_retries=2) as client:
        create(client, chat_lines(1))
        assert len(list(client.batches.list())) == 3


@pytest.mark.parametrize("before", [True, False])
def test_a_reply_can_be_held(faulty_client: openai.OpenAI, control: Control, before: bool) -> None:
    control.faults({"name": "hold", "on": CREATE, "seconds": 30, "count": 1, "before": before})
    file_id = upload(faulty_client, chat_lines(1))
    with pytest.raises(openai.APITimeoutError):
        faulty_client.with_options(timeout=0.3).batches.create(
            input_file_id=file_id, endpoint=CHAT, completion_window="24h"
        )
    assert len(list(faulty_client.batches.list())) == (0 if before else 1)


def test_an_upload_can_break(faulty_client: openai.OpenAI, control: Control, tmp_path: Path) -> None:
    control.faults({"name": "upload_breaks", "bytes": 1000, "count": 1})
    with pytest.raises(openai.APIConnectionError):
        upload(faulty_client, chat_lines(20_000))
    assert not list(faulty_client.files.list())
    assert not list((tmp_path / "data" / "uploads").iterdir())


def test_a_download_can_be_cut_with_and_without_notice(faulty_client: openai.OpenAI, control: Control) -> None:
    file_id = upload(faulty_client, chat_lines(1000))
    control.faults({"name": "cut", "bytes": 5000, "count": 1})
    with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
        faulty_client.files.content(file_id)
    control.faults({"name": "cut_silently", "bytes": 5000, "count": 1})
    assert len(raw(faulty_client, file_id)) == 5000
    assert len(raw(faulty_client, file_id)) > 5000


@pytest.mark.parametrize(
    ("rule", "call", "status", "code"),
    [
        ({"name": "quota"}, "create", 429, "insufficient_quota"),
        ({"name": "retry_after", "on": "GET /v1/batches*"}, "list", 429, "rate_limit_exceeded"),
        ({"name": "content_502"}, "content", 502, None),
        ({"name": "content_gone"}, "content", 404, None),
        ({"name": "content_gone", "status": 410}, "content", 410, None),
    ],
)
def test_an_endpoint_can_refuse(
    faulty_client: openai.OpenAI, control: Control, rule: dict[str, Any], call: str, status: int, code: str | None
) -> None:
    file_id = upload(faulty_client, chat_lines(1))
    calls: dict[str, Any] = {
        "create": lambda: faulty_client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h"),
        "list": faulty_client.batches.list,
        "content": lambda: faulty_client.files.content(file_id),
    }
    control.faults(rule)
    with pytest.raises(openai.APIStatusError) as refused:
        calls[call]()
    assert (refused.value.status_code, refused.value.code) == (status, code)
    if rule["name"] == "retry_after":
        assert refused.value.response.headers["retry-after"] == "300"


def test_a_list_can_lag_and_then_catch_up(faulty_client: openai.OpenAI, control: Control) -> None:
    old = create(faulty_client, chat_lines(1))
    control.advance(120)
    control.faults({"name": "list_lags", "seconds": 60})
    new = create(faulty_client, chat_lines(1))
    assert [one.id for one in faulty_client.batches.list()] == [old.id]
    assert faulty_client.batches.retrieve(new.id).id == new.id
    control.advance(60)
    assert [one.id for one in faulty_client.batches.list()] == [new.id, old.id]


def test_a_list_can_go_on_for_ever(faulty_client: openai.OpenAI, control: Control) -> None:
    batch = create(faulty_client, chat_lines(1))
    control.faults({"name": "endless_list"})
    pages = faulty_client.batches.list(limit=1).iter_pages()
    assert [next(pages).data[0].id for _ in range(5)] == [batch.id] * 5


def test_a_batch_can_deviate_in_its_words(faulty_client: openai.OpenAI, control: Control) -> None:
    batch = run(faulty_client, chat_lines(2), metadata={"a": "b"})
    failed = run(faulty_client, ["{}"])
    control.faults(
        *(
            {"name": name}
            for name in (
                "empty_error_file_id",
                "uppercase_status",
                "errors_as_list",
                "null_counts",
                "extra_fields",
                "no_metadata",
            )
        )
    )
    url = f"{faulty_client.base_url}batches/"
    shown = httpx2.get(url + batch.id).json()
    assert (shown["error_file_id"], shown["status"], shown["metadata"]) == ("", "COMPLETED", None)
    assert set(shown["request_counts"].values()) == {None}
    assert "priority" in shown
    assert isinstance(httpx2.get(url + failed.id).json()["errors"], list)


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"name": "token_limit"}, "token_limit_exceeded"),
        ({"name": "token_limit", "limit": 10}, "token_limit_exceeded"),
        ({"name": "billing_limit"}, "billing_hard_limit_reached"),
        ({"name": "model_retired"}, "model_not_found"),
    ],
)
def test_a_batch_can_fail_its_validation(
    faulty_client: openai.OpenAI, control: Control, rule: dict[str, Any], code: str
) -> None:
    control.faults(rule)
    ended = run(faulty_client, chat_lines(2))
    assert ended.status == "failed"
    assert ended.errors
    assert {error.code for error in ended.errors.data or []} == {code}
    assert control.ledger(ended.id) == []


def test_the_token_limit_counts_what_is_enqueued(faulty_client: openai.OpenAI, control: Control) -> None:
    size = len(jsonl(chat_lines(100))) // 4
    control.faults({"name": "token_limit", "limit": int(size * 1.5)}, {"name": "stuck_in_progress", "count": 1})
    first = wait(faulty_client, create(faulty_client, chat_lines(100)), {"in_progress"})
    assert run(faulty_client, chat_lines(100)).status == "failed"
    faulty_client.batches.cancel(first.id)
    wait(faulty_client, first)
    assert run(faulty_client, chat_lines(100)).status == "completed"


@pytest.mark.parametrize("status", ["validating", "in_progress", "finalizing"])
def test_a_batch_can_be_stuck_for_a_while(faulty_client: openai.OpenAI, control: Control, status: str) -> None:
    control.faults({"name": f"stuck_{status}", "seconds": 3600})
    batch = wait(faulty_client, create(faulty_client, chat_lines(2)), {status})
    control.advance(3600)
    assert wait(faulty_client, batch).status == "completed"


def test_a_stuck_batch_goes_on_once_its_rule_is_taken_away(faulty_client: openai.OpenAI, control: Control) -> None:
    stuck = {"name": "stuck_in_progress"}
    control.faults(stuck, {"name": "list_lags"})
    batch = wait(faulty_client, create(faulty_client, chat_lines(2)), {"in_progress"})
    control.faults({**stuck, "skip": 1, "on": batch.id})
    assert faulty_client.batches.retrieve(batch.id).status == "in_progress"
    control.faults({**stuck, "on": "another"})
    assert wait(faulty_client, batch).status == "completed"


def test_counts_can_lie(faulty_client: openai.OpenAI, control: Control) -> None:
    control.faults({"name": "lying_counts"}, {"name": "status_zero"})
    ended = run(faulty_client, chat_lines(5))
    assert ended.request_counts
    assert (ended.request_counts.completed, ended.request_counts.failed) == (5, 0)
    assert {line["response"]["status_code"] for line in results(faulty_client, ended.error_file_id)} == {0}


def test_a_share_of_the_lines_can_fail(faulty_client: openai.OpenAI, control: Control) -> None:
    rule = {"name": "line_error", "status": 429, "share": 0.3}
    control.faults(rule)
    ended = run(faulty_client, chat_lines(1000))
    failed = results(faulty_client, ended.error_file_id)
    assert 200 < len(failed) < 400
    assert failed[0]["error"] is None
    assert failed[0]["response"]["body"]["error"]["code"] == "rate_limit_exceeded"
    again = run(faulty_client, chat_lines(1000))
    assert {line["custom_id"] for line in results(faulty_client, again.error_file_id)} == {
        line["custom_id"] for line in failed
    }


def test_a_line_can_fail_the_first_time_only(faulty_client: openai.OpenAI, control: Control) -> None:
    control.faults({"name": "line_error", "on": "r[13]", "once": True})
    first, second = run(faulty_client, chat_lines(5)), run(faulty_client, chat_lines(5))
    assert [line["custom_id"] for line in results(faulty_client, first.error_file_id)] == ["r1", "r3"]
    assert second.error_file_id is None


@pytest.mark.parametrize(
    ("name", "finish", "said", "refusal"),
    [
        ("refusal", "stop", None, "I'm sorry, I can't help with that."),
        ("length", "length", "Text nu", None),
        ("content_filter", "content_filter", None, None),
        ("empty_content", "stop", "", None),
        ("invalid_json", "stop", "Sure! Here is the JSON you asked for: {", None),
        ("wrong_shape", "stop", '{"unexpected": [1, 2]}', None),
    ],
)
def test_a_model_can_answer_badly(
    faulty_client: openai.OpenAI, control: Control, name: str, finish: str, said: str | None, refusal: str | None
) -> None:
    control.faults({"name": name})
    ended = run(faulty_client, chat_lines(1))
    (line,) = results(faulty_client, ended.output_file_id)
    choice = line["response"]["body"]["choices"][0]
    assert choice["finish_reason"] == finish
    assert (choice["message"]["content"], choice["message"]["refusal"]) == (said, refusal)
    url = "/v1/responses"
    body = {"model": "offline", "input": "Text number 0. More."}
    ended = run(faulty_client, [{"custom_id": "a", "method": "POST", "url": url, "body": body}], url)
    (line,) = results(faulty_client, ended.output_file_id)
    assert line["response"]["body"]["output"][0]["content"][0]["type"] == ("refusal" if refusal else "output_text")


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("missing_line", lambda data: len(data.split(b"\n")) == 3),
        ("duplicate_line", lambda data: data.count(b'"custom_id":"r1"') == 2),
        ("conflicting_line", lambda data: data.count(b'"custom_id":') == 1 + data.count(b'"custom_id": "r1"') + 2 - 1),
        ("foreign_line", lambda data: b"not-yours-r1" in data),
        ("malformed_line", lambda data: sum(line.endswith(b"}") for line in data.split(b"\n")) == 2),
        ("invalid_utf8", lambda data: data.count(b"\xff") == 1),
        ("no_custom_id", lambda data: b'"custom_id": null' in data),
        ("not_an_object", lambda data: b'\n["r1"]\n' in data),
        ("no_line_id", lambda data: data.count(b"batch_req_") == 2),
        ("separators", lambda data: len(data.decode().splitlines()) > len(data.split(b"\n"))),
    ],
)
def test_a_line_of_an_output_file_can_be_damaged(
    faulty_client: openai.OpenAI, control: Control, name: str, check: Any
) -> None:
    control.faults({"name": name, "on": "r1"})
    ended = run(faulty_client, chat_lines(3))
    assert ended.output_file_id
    data = raw(faulty_client, ended.output_file_id)
    assert faulty_client.files.retrieve(ended.output_file_id).bytes == len(data)
    if name == "conflicting_line":
        lines = [json.loads(line) for line in data.split(b"\n") if line]
        assert [line["custom_id"] for line in lines] == ["r0", "r1", "r1", "r2"]
        assert lines[1]["response"]["body"] != lines[2]["response"]["body"]
    else:
        assert check(data), data


def test_a_line_can_be_damaged_in_several_ways(faulty_client: openai.OpenAI, control: Control) -> None:
    control.faults(*({"name": name, "on": "r1"} for name in ("malformed_line", "conflicting_line", "foreign_line")))
    data = raw(faulty_client, run(faulty_client, chat_lines(3)).output_file_id)
    lines = [line for line in data.split(b"\n") if line]
    assert [line.endswith(b"}") for line in lines] == [True, False, True, True, True]
    assert json.loads(lines[3])["custom_id"] == "not-yours-r1"


def test_an_output_file_can_be_oddly_ended(faulty_client: openai.OpenAI, control: Control) -> None:
    control.faults({"name": "crlf"}, {"name": "blank_lines"}, {"name": "no_final_newline"}, {"name": "bom"})
    data = raw(faulty_client, run(faulty_client, chat_lines(3)).output_file_id)
    assert data.startswith(b"\xef\xbb\xbf{")
    assert data.count(b"}\r\n\r\n") == 2
    assert not data.endswith(b"\n\r\n")
    control.faults({"name": "no_final_newline"})
    assert raw(faulty_client, run(faulty_client, chat_lines(3)).output_file_id).endswith(b"}")


def test_the_first_occasions_can_be_spared(faulty_client: openai.OpenAI, control: Control) -> None:
    control.faults({"name": "error", "on": "GET /v1/batches", "skip": 2, "count": 1})
    outcomes = []
    for _ in range(4):
        try:
            faulty_client.batches.list()
            outcomes.append("ok")
        except openai.InternalServerError:
            outcomes.append("failed")
    assert outcomes == ["ok", "ok", "failed", "ok"]


def test_the_ledger_knows_every_executed_request_and_its_batch(faulty_client: openai.OpenAI, control: Control) -> None:
    batch = run(faulty_client, chat_lines(3))
    faulty_client.chat.completions.create(model="offline", messages=[{"role": "user", "content": "x"}])
    assert [(one["custom_id"], one["line"]) for one in control.ledger(batch.id)] == [("r0", 1), ("r1", 2), ("r2", 3)]
    assert [one["batch_id"] for one in control.ledger()] == [batch.id] * 3 + [None]


def test_a_day_can_pass_in_moments(tmp_path: Path, connect: Any) -> None:
    """At 1,000,000 times the speed, 24 hours last 86 ms."""
    faults = tmp_path / "faults.toml"
    faults.write_text('[[fault]]\nname = "stuck_in_progress"\n')
    config = ServerConfig(tmp_path / "data", faults=faults, clock_speed=1_000_000)
    with EmbeddedServer(tmp_path / "data", config=config) as server:
        client = connect(server.base_url)
        ended = run(client, chat_lines(2))
        assert ended.status == "expired"
        assert ended.expired_at
        assert ended.expired_at - ended.created_at >= 86_400
        assert answers(client, ended) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[fault]]\nname = 'drop_aftr'", "did you mean drop_after"),
        ("[[fault]]\ncount = 1", "with a name"),
        ("fault = 5", "list of tables"),
        ("[[fault]]\nname = 'cut'\ncount = 'many'", "wrong type"),
        ("nonsense", "cannot be read"),
    ],
)
def test_a_faults_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, words: str) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text(text)
    config = ServerConfig(tmp_path / "data", faults=faults)
    with pytest.raises(ServerError, match=words):
        EmbeddedServer(tmp_path / "data", config=config).start()


def test_faults_can_be_written_as_json_too_and_changed_while_it_runs(tmp_path: Path, connect: Any) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps({"fault": [{"name": "error", "on": CREATE}]}))
    config = ServerConfig(tmp_path / "data", faults=faults)
    with EmbeddedServer(tmp_path / "data", config=config) as server:
        url = server.base_url.removesuffix("/v1") + "/control/faults"
        with pytest.raises(openai.InternalServerError):
            create(connect(server.base_url), chat_lines(1))
        (rule,) = httpx2.get(url).json()["fault"]
        assert (rule["name"], rule["fired"]) == ("error", 1)
        assert len(httpx2.post(url, json={"fault": [{"name": "cut"}]}).json()["fault"]) == 2
        assert httpx2.put(url, json={"fault": [{"name": "nonsense"}]}).status_code == 400
        assert httpx2.delete(url).json() == {"fault": []}
        create(connect(server.base_url), chat_lines(1))

"""One odd line is its own failure, never its batch's."""

from __future__ import annotations

import gzip
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch.server import EmbeddedServer, ServerConfig
from sqlbatch.server.results import Results

from .helpers import answers, chat_line, chat_lines, create, eventually, results, run, wait
from .upstream import Answer, FakeUpstream, completion, said

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import openai

CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"
ODD: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"messages": [{"role": "user", "content": [{"type": {"a": 1}, "text": "x"}]}]}),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": ["text"], "text": "x"}]}]}),
    (CHAT, {"messages": [{"role": ["user"], "content": {"text": "x"}}]}),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": {"a": 1}}}]}]}),
    (CHAT, {"messages": {"0": {}}}),
    (CHAT, {"messages": [7, None, [], {"content": 7}]}),
    (CHAT, {"messages": [{"role": "user", "content": "x"}], "metadata": [1]}),
    (CHAT, {"messages": [{"role": "user", "content": "x"}], "max_completion_tokens": "ten", "n": "two"}),
    (CHAT, {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": ["json_schema"]}}),
    (CHAT, {"messages": [{"role": "user", "content": "x"}], "response_format": "json"}),
    (
        CHAT,
        {
            "messages": [{"role": "user", "content": "x"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": {"x": 1}}}},
        },
    ),
    (RESPONSES, {"input": [{"type": {"a": 1}, "content": [{"type": {"b": 2}, "text": 5}]}]}),
    (RESPONSES, {"input": "x", "text": {"format": "json"}, "metadata": "x", "instructions": {"a": 1}}),
    (EMBEDDINGS, {"input": "x", "encoding_format": {"a": 1}}),
    (EMBEDDINGS, {"input": "x", "encoding_format": ["float"], "dimensions": "many"}),
    (EMBEDDINGS, {"input": [[1], "x", {"a": 1}]}),
]


def request(custom_id: str, url: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": {"model": "offline", **body}}


@pytest.mark.parametrize("url", [CHAT, RESPONSES, EMBEDDINGS])
def test_odd_lines_have_a_result_each_and_the_others_are_answered(shared_client: openai.OpenAI, url: str) -> None:
    good = {"messages": [{"role": "user", "content": "Fine."}]} if url == CHAT else {"input": "Fine."}
    odd = [request(f"odd{number}", url, body) for number, (where, body) in enumerate(ODD) if where == url]
    ended = run(shared_client, [request("first", url, good), *odd, request("last", url, good)], url)
    assert ended.status == "completed"
    answered = {line["custom_id"] for line in results(shared_client, ended.output_file_id)}
    failed = {line["custom_id"]: line["response"] for line in results(shared_client, ended.error_file_id)}
    assert {"first", "last"} <= answered
    assert answered | failed.keys() == {"first", "last", *(line["custom_id"] for line in odd)}
    assert {response["status_code"] for response in failed.values()} <= {400}, failed


def test_an_exception_of_a_line_is_its_failure_and_the_log_has_its_request_id(
    shared_client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(endpoint: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if "odd" in json.dumps(body):
            raise KeyError("nobody thought of this")
        return 200, completion(said(body))

    monkeypatch.setattr("sqlbatch.server.worker.answer", answer)
    with caplog.at_level(logging.ERROR, "sqlbatch.server"):
        ended = run(shared_client, [chat_line("a", "fine"), chat_line("b", "odd"), chat_line("c", "fine")])
    assert answers(shared_client, ended) == {"a": "fine", "c": "fine"}
    (line,) = results(shared_client, ended.error_file_id)
    assert (line["custom_id"], line["response"]["status_code"]) == ("b", 500)
    assert line["response"]["request_id"] in line["response"]["body"]["error"]["message"]
    assert line["response"]["request_id"] in caplog.text
    assert "nobody thought of this" in caplog.text


def test_a_batch_whose_work_raises_an_error_is_tried_again(
    shared_client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    append, left = Results.append, [OSError(28, "No space left on device")]

    def full(self: Results, *line: Any) -> None:
        if left:
            raise left.pop()
        append(self, *line)

    monkeypatch.setattr("sqlbatch.server.worker._FIRST_PAUSE", 0.01)
    monkeypatch.setattr(Results, "append", full)
    with caplog.at_level(logging.ERROR, "sqlbatch.server"):
        ended = run(shared_client, chat_lines(3))
    assert len(answers(shared_client, ended)) == 3
    assert "No space left" in caplog.text


def test_a_reply_that_says_it_is_compressed_and_is_not_is_read(
    tmp_path: Path, connect: Callable[..., openai.OpenAI], upstream: FakeUpstream
) -> None:
    def script(_u: FakeUpstream, _p: str, body: dict[str, Any], _a: int) -> Answer:
        data = json.dumps(completion(said(body))).encode()
        compressed = gzip.compress(data) if "1" in said(body) else data
        return Answer(200, compressed, headers={"content-encoding": "gzip"})

    upstream.script = script
    config = ServerConfig(tmp_path / "data", upstreams=(upstream.base_url,))
    with EmbeddedServer(tmp_path / "data", config=config) as server:
        client = connect(server.base_url)
        ended = run(client, chat_lines(2, model="llama"))
        assert answers(client, ended) == {f"r{number}": f"Text number {number}. And more." for number in range(2)}
        said_directly = client.chat.completions.create(model="llama", messages=[{"role": "user", "content": "1"}])
        assert said_directly.choices[0].message.content == "1"
    assert set(upstream.attempts.values()) == {1}


def test_an_exception_beside_an_upstream_is_the_lines_failure_too(
    tmp_path: Path, connect: Callable[..., openai.OpenAI], upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reply(_answer: Any) -> Any:
        raise KeyError("nobody thought of this")

    config = ServerConfig(tmp_path / "data", upstreams=(upstream.base_url,))
    with EmbeddedServer(tmp_path / "data", config=config) as server:
        client = connect(server.base_url)
        monkeypatch.setattr("sqlbatch.server.upstream._line_reply", reply)
        ended = wait(client, create(client, chat_lines(2, model="llama")))
        assert {line["response"]["status_code"] for line in results(client, ended.error_file_id)} == {500}
    eventually(lambda: upstream.active == 0)

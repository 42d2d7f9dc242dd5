"""Batch semantics for servers that have none."""

from __future__ import annotations

import base64
import json
import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch.server import EmbeddedServer, ServerConfig

from .helpers import answers, chat_line, chat_lines, create, eventually, results, run, wait
from .upstream import Answer, FakeUpstream, completion, said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import openai


@pytest.fixture
def ask(
    tmp_path: Path, upstream: FakeUpstream, connect: Callable[..., openai.OpenAI]
) -> Iterator[Callable[..., openai.OpenAI]]:
    """Start a server before the upstream; return a client of it."""
    running: list[EmbeddedServer] = []

    def start(**options: Any) -> openai.OpenAI:
        folder = tmp_path / "data"
        config = ServerConfig(folder, **{"upstreams": (upstream.base_url,), **options})
        running.append(EmbeddedServer(folder, config=config).start())
        return connect(running[-1].base_url)

    yield start
    for one in running:
        one.stop()


def expected(count: int) -> dict[str, str]:
    return {f"r{number}": f"Text number {number}. And more." for number in range(count)}


def test_a_server_without_batches_gets_them(ask: Callable[..., openai.OpenAI]) -> None:
    client = ask()
    batch = run(client, chat_lines(50, model="llama"))
    assert batch.status == "completed"
    assert answers(client, batch) == expected(50)
    assert batch.usage
    assert (batch.usage.input_tokens, batch.usage.output_tokens, batch.model) == (150, 100, "llama")


def test_never_more_requests_are_in_flight_than_allowed(
    ask: Callable[..., openai.OpenAI], upstream: FakeUpstream
) -> None:
    upstream.script = lambda _u, _p, body, _a: Answer(200, completion(said(body)), delay=0.01)
    client = ask(concurrency=7)
    assert answers(client, run(client, chat_lines(100, model="llama"))) == expected(100)
    assert upstream.most_active == 7


def test_an_upstream_that_fails_half_the_time_ends_with_all_lines_right(
    ask: Callable[..., openai.OpenAI], upstream: FakeUpstream
) -> None:
    dice = random.Random(1)  # noqa: S311 - no secret

    def script(_u: FakeUpstream, _p: str, body: dict[str, Any], _a: int) -> Answer:
        failures = [
            Answer(500, {"error": {"message": "boom"}}),
            Answer(502, b"<html>bad gateway</html>"),
            Answer(cut=True),
        ]
        return dice.choice(failures) if dice.random() < 0.5 else Answer(200, completion(said(body)))

    upstream.script = script
    client = ask(concurrency=32)
    batch = run(client, chat_lines(60, model="llama"))
    assert answers(client, batch) == expected(60)
    assert batch.error_file_id is None


@pytest.mark.parametrize(
    "headers", [{}, {"retry-after": "0.2"}, {"retry-after-ms": "150"}, {"retry-after": "nonsense"}]
)
def test_bursts_of_429_are_waited_out(
    ask: Callable[..., openai.OpenAI], upstream: FakeUpstream, headers: dict[str, str]
) -> None:
    seen, calm = 0, 0.0

    def script(_u: FakeUpstream, _p: str, body: dict[str, Any], _a: int) -> Answer:
        nonlocal seen, calm
        seen += 1
        if seen in {20, 60}:
            calm = time.monotonic() + 0.3
        if time.monotonic() < calm:
            return Answer(429 if seen % 2 else 503, {"error": {"message": "slow down"}}, headers=headers)
        return Answer(200, completion(said(body)))

    upstream.script = script
    client = ask(concurrency=8)
    batch = run(client, chat_lines(100, model="llama"))
    assert answers(client, batch) == expected(100)
    assert max(upstream.succeeded.values()) == 1


def test_a_hanging_request_is_given_up_and_asked_again(
    ask: Callable[..., openai.OpenAI], upstream: FakeUpstream
) -> None:
    def script(_u: FakeUpstream, _p: str, body: dict[str, Any], attempt: int) -> Answer:
        if said(body).startswith("Text number 3.") and attempt < 3:
            return Answer(hang=True)
        return Answer(200, completion(said(body)))

    upstream.script = script
    client = ask(upstream_timeout=0.3)
    assert answers(client, run(client, chat_lines(10, model="llama"))) == expected(10)


def test_a_request_that_always_hangs_fails_and_says_so(
    ask: Callable[..., openai.OpenAI], upstream: FakeUpstream
) -> None:
    upstream.script = lambda _u, _p, body, _a: (
        Answer(hang=True) if "3" in said(body) else Answer(200, completion(said(body)))
    )
    client = ask(upstream_timeout=0.1)
    batch = run(client, chat_lines(5, model="llama"))
    (failed,) = results(client, batch.error_file_id)
    assert (failed["custom_id"], failed["response"], failed["error"]["code"]) == ("r3", None, "upstream_timeout")
    assert len(answers(client, batch)) == 4


def test_an_upstream_that_dies_and_comes_back_ends_with_all_lines_right(
    ask: Callable[..., openai.OpenAI], upstream: FakeUpstream
) -> None:
    upstream.script = lambda _u, _p, body, _a: Answer(200, completion(said(body)), delay=0.01)
    client = ask(concurrency=4)
    batch = create(client, chat_lines(200, model="llama"))
    eventually(lambda: sum(upstream.succeeded.values()) > 20)
    upstream.die()
    assert client.batches.retrieve(batch.id).status == "in_progress"
    upstream.come_back()
    assert answers(client, wait(client, batch)) == expected(200)


def test_the_upstreams_own_errors_reach_the_error_file_unchanged(
    ask: Callable[..., openai.OpenAI], upstream: FakeUpstream
) -> None:
    said_no = {
        "error": {"message": "context too long", "type": "BadRequestError", "param": None, "code": 400},
        "é": ["ü"],
    }
    upstream.script = lambda _u, _p, body, _a: (
        Answer(400, said_no, headers={"x-request-id": "theirs"}) if "3" in said(body) else Answer(200, completion("ok"))
    )
    client = ask()
    batch = run(client, chat_lines(5, model="llama"))
    (failed,) = results(client, batch.error_file_id)
    assert failed["response"] == {"status_code": 400, "request_id": "theirs", "body": said_no}
    assert failed["error"] is None
    assert sum(upstream.attempts.values()) == 5


def test_an_error_that_is_no_json_is_put_into_the_envelope(
    ask: Callable[..., openai.OpenAI], upstream: FakeUpstream
) -> None:
    upstream.script = lambda _u, _p, _b, _a: Answer(404, b"no such route")
    client = ask()
    (failed,) = results(client, run(client, chat_lines(1, model="llama")).error_file_id)
    assert failed["response"]["body"]["error"]["message"] == "no such route"


def test_a_used_up_quota_is_not_asked_again_and_again(
    ask: Callable[..., openai.OpenAI], upstream: FakeUpstream
) -> None:
    upstream.script = lambda _u, _p, _b, _a: Answer(429, {"error": {"message": "pay", "code": "insufficient_quota"}})
    client = ask()
    batch = run(client, chat_lines(3, model="llama"))
    assert [line["response"]["status_code"] for line in results(client, batch.error_file_id)] == [429] * 3
    assert set(upstream.attempts.values()) == {1}


def test_replicas_share_the_work_and_one_may_be_down(ask: Callable[..., openai.OpenAI], upstream: FakeUpstream) -> None:
    with FakeUpstream() as other, FakeUpstream() as third:
        third.die()
        for one in (upstream, other):
            one.script = lambda _u, _p, body, _a: Answer(200, completion(said(body)), delay=0.005)
        client = ask(upstreams=(upstream.base_url, other.base_url, third.base_url), concurrency=4)
        assert answers(client, run(client, chat_lines(100, model="llama"))) == expected(100)
        assert upstream.succeeded
        assert other.succeeded
        third.come_back()


def test_several_batches_advance_side_by_side(ask: Callable[..., openai.OpenAI], upstream: FakeUpstream) -> None:
    upstream.script = lambda _u, _p, body, _a: Answer(200, completion(said(body)), delay=0.02)
    client = ask(concurrency=2)
    long = create(client, chat_lines(300, model="llama"))
    wait(client, long, {"in_progress"})
    short = create(client, chat_lines(4, model="llama"))
    wait(client, short)
    assert client.batches.retrieve(long.id).status == "in_progress"
    client.batches.cancel(long.id)
    cancelled = wait(client, long)
    lines = results(client, cancelled.output_file_id) + results(client, cancelled.error_file_id)
    assert sorted(line["custom_id"] for line in lines) == sorted(expected(300))


def test_the_key_for_the_upstream_comes_from_its_variable(
    ask: Callable[..., openai.OpenAI], upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", "sk-upstream")
    client = ask(upstream_key_env="UPSTREAM_KEY")
    run(client, chat_lines(2, model="llama"))
    client.chat.completions.create(model="llama", messages=[{"role": "user", "content": "direct"}])
    assert {headers["authorization"] for headers in upstream.headers} == {"Bearer sk-upstream"}


def test_direct_calls_go_on_to_the_upstream_streams_included(
    ask: Callable[..., openai.OpenAI], upstream: FakeUpstream
) -> None:
    client = ask()
    reply = client.chat.completions.create(model="llama", messages=[{"role": "user", "content": "hello"}])
    assert reply.choices[0].message.content == "hello"
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "llama"}
    events = b"".join(
        b"data: " + json.dumps({**chunk, "choices": [{"index": 0, "delta": {"content": part}}]}).encode() + b"\n\n"
        for part in ("hel", "lo")
    )
    upstream.script = lambda _u, _p, _b, _a: Answer(
        200, events + b"data: [DONE]\n\n", headers={"content-type": "text/event-stream"}
    )
    stream = client.chat.completions.create(model="llama", messages=[{"role": "user", "content": "hello"}], stream=True)
    with stream:
        assert "".join(part.choices[0].delta.content or "" for part in stream) == "hello"
    completed = client.completions.create(model="llama", prompt="x") if upstream.attempts else None
    assert completed


def test_the_offline_model_stays_at_hand_beside_an_upstream(
    ask: Callable[..., openai.OpenAI], upstream: FakeUpstream
) -> None:
    client = ask()
    batch = run(client, [chat_line("a", "First. Second.")])
    assert answers(client, batch) == {"a": "First."}
    assert not upstream.attempts


def test_large_lines_are_not_all_held_in_memory_at_once(
    ask: Callable[..., openai.OpenAI], upstream: FakeUpstream
) -> None:
    """With room for 48 MB of requests, 16 lines of 6 MB cannot be in flight together."""
    upstream.script = lambda _u, _p, _b, _a: Answer(200, completion("ok"), delay=0.02)
    big = base64.b64encode(b"x" * 4_500_000).decode()
    client = ask(concurrency=64)
    batch = run(client, [chat_line(f"r{number}", f"{number} {big}", model="llama") for number in range(16)])
    assert batch.request_counts
    assert batch.request_counts.completed == 16
    assert upstream.most_active <= 9

"""A preview: a few requests now, each failure told of its row, and what was paid for is kept, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

import sqlbatch
from sqlbatch import paths, plan_previews, prepare, previews
from sqlbatch.batches import preview as requests
from sqlbatch.batches.events import Waiting
from sqlbatch.batches.providers import Provider
from sqlbatch.db.database import Database
from sqlbatch.errors import InvalidSettings, SqlbatchError
from sqlbatch.query.endpoints import check_of

from .bench import KEY, Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlbatch.previews import Preview

USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 2,
    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
}
WRONG = '{"word": 3}'


class Scripted:
    """A provider that answers each text as it was told to, and counts how often it was asked."""

    def __init__(self) -> None:
        self.replies: dict[str, list[tuple[int, dict[str, str], bytes | None]]] = {}
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.gated: set[str] = set()
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                text = body["messages"][-1]["content"]
                script.asked.append(text)
                if text in script.gated:
                    script.gate.wait(30)
                planned = script.replies.get(text, [(200, {}, answer(f'{{"word": "{text}"}}'))])
                status, headers, reply = planned[min(script.asked.count(text), len(planned)) - 1]
                if reply is None:
                    self.connection.close()
                    return
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_: object) -> None:
                """Keep stderr for what is tested."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.base_url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


def answer(content: str | None, finish: str = "stop", refusal: str | None = None) -> bytes:
    """Return a chat completion as a provider writes it: over several lines."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"model": "m-2026", "choices": [choice], "usage": USAGE}, indent=2).encode()


def error(message: str, code: str | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "type": "x", "code": code}}).encode()


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """Serve a provider that answers as it is told."""
    provider = Scripted()
    yield provider
    provider.gate.set()
    provider.server.shutdown()
    provider.server.server_close()


@pytest.fixture
def desk(scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a database and the scripted provider."""
    provider = Provider("openai", scripted.base_url, "OPENAI_API_KEY")
    return Bench(scripted.base_url, tmp_path / "a.duckdb", provider, monkeypatch)


def looked(bench: Bench, query: str, events: list[Any] | None = None, **more: Any) -> Preview:
    """Preview a query's column `text`, and return what came of it."""
    options = {name: more.pop(name) for name in list(more) if name in {"rows", "sample", "fresh"}}
    enrichment, _ = bench.ask(query, **{"returns": "word VARCHAR", **more})
    with previews.prepared(bench.database, enrichment, bench.provider, **options) as ready:
        if ready.known.to_send:
            for event in previews.ask(bench.database, ready):
                if events is not None:
                    events.append(event)
        return previews.result(bench.database, ready)


def texts(*values: str) -> str:
    return f"SELECT unnest({list(values)!r}) AS text"


REPLIES: dict[str, tuple[tuple[int, dict[str, str], bytes | None], str, bool]] = {
    "refused": ((200, {}, answer(None, refusal="I cannot.")), "refusal: I cannot.", True),
    "long": ((200, {}, answer('{"wo', "length")), "length: the answer was cut at the limit of tokens", True),
    "wrong": ((200, {}, answer(WRONG)), "bad_shape: $.word: 3 is not", True),
    "cut JSON": ((200, {}, answer('{"word": "a')), "bad_shape: not JSON", True),
    "filtered": ((200, {}, answer(None, "content_filter")), "content_filter: ", True),
    "bad": ((400, {}, error("no such thing", "invalid_value")), "invalid_value: no such thing", False),
    "key": ((401, {}, error(f"Incorrect API key: {KEY}", "invalid_api_key")), "invalid_api_key: Incorrect", False),
    "model": ((404, {}, error("no such model", "model_not_found")), "model_not_found: ", False),
    "broken": ((500, {}, error("oops")), "x: oops", False),
    "page": ((502, {"Content-Type": "text/html"}, b"<html>Bad gateway</html>"), "http_502: ", False),
    "portal": ((200, {"Content-Type": "text/html"}, b"<html>Log in</html>"), "not_json: ", False),
    "half": ((200, {}, answer('{"word": "a"}')[:40]), "not_json: ", False),
    "nothing": ((200, {}, b""), "not_json: ", False),
    "gone": ((200, {}, None), "unreachable: ", False),
    "later": ((429, {"Retry-After": "300"}, error("slow down", "rate_limit_exceeded")), "rate_limit_exceeded: ", False),
    "broke": ((429, {"Retry-After": "1"}, error("no money", "insufficient_quota")), "insufficient_quota: ", False),
}


def test_each_failure_is_told_of_its_row_and_only_what_was_paid_for_is_kept(desk: Bench, scripted: Scripted) -> None:
    scripted.replies = {text: [reply] for text, (reply, _, _) in REPLIES.items()}
    found = looked(desk, texts("fine", *REPLIES), rows=50)
    assert (found.rows[0].status, found.rows[0].answer) == ("answered", {"word": "fine"})
    for row, (text, (_, reason, _)) in zip(found.rows[1:], REPLIES.items(), strict=True):
        assert (row.status, row.kept, row.answer) == ("failed", False, None), text
        assert (row.error or "").startswith(reason), (text, row.error)
        assert KEY not in (row.error or "")
    # Nothing was asked twice but what a second try may help: none of these.
    assert sorted(scripted.asked) == sorted(["fine", *REPLIES])
    paid = [text for text, (_, _, kept) in REPLIES.items() if kept]
    results = desk.sql(
        "SELECT source, outcome, tokens_in, tokens_cached, tokens_out, model, batch_id FROM sqlbatch.results"
    )
    assert sorted(results) == sorted(
        [("preview", "answered", 10, 4, 2, "m-2026", None)]
        + [("preview", "failed", 10, 4, 2, "m-2026", None)] * len(paid)
    )
    assert desk.sql("SELECT source, sum(results), sum(tokens_in) FROM sqlbatch.costs GROUP BY ALL") == [
        ("preview", len(paid) + 1, 10 * (len(paid) + 1))
    ]
    assert (found.sent, found.tokens_in) == (len(REPLIES) + 1, 10 * (len(paid) + 1))
    assert list((paths.state_dir(desk.database) / "spool").iterdir()) == []
    # A second look shows what is kept, and asks again for what cost nothing.
    scripted.asked.clear()
    again = looked(desk, texts("fine", *REPLIES), rows=50)
    assert sorted(scripted.asked) == sorted(text for text in REPLIES if text not in paid)
    assert [row.input["text"] for row in again.rows if row.kept] == ["fine", *paid]


@pytest.mark.parametrize("model", ["gpt-6-luna", "gpt-6-luna-2026-09-22", "nobody-knows-it"])
def test_what_it_cost_is_told_at_the_ordinary_price_as_costs_has_it(model: str, desk: Bench) -> None:
    desk.path.with_name("sqlbatch.toml").write_text(
        '[prices."gpt-6-luna"]\ninput = 0.10\ncached = 0.01\ncache_write = 0.125\noutput = 0.50\n'
    )
    found = looked(desk, texts("a", "b"), model=model)
    assert (found.tokens_in, found.tokens_cached, found.tokens_cache_write, found.tokens_out) == (20, 8, 6, 4)
    if model == "nobody-knows-it":
        assert found.dollars is None
    else:
        assert found.dollars == pytest.approx((6 * 0.10 + 8 * 0.01 + 6 * 0.125 + 4 * 0.50) / 1e6)
        assert desk.sql("SELECT sum(dollars) FROM sqlbatch.costs") == [(pytest.approx(found.dollars),)]
    again = looked(desk, texts("a", "b"), model=model)
    assert (again.sent, again.dollars) == (0, 0.0)


def test_too_many_requests_are_asked_again_when_the_provider_says(desk: Bench, scripted: Scripted) -> None:
    busy = (429, {"Retry-After": "7"}, error("slow down", "rate_limit_exceeded"))
    scripted.replies = {"a": [busy, (200, {}, answer('{"word": "A"}'))], "b": [busy]}
    events: list[Any] = []
    found = looked(desk, texts("a", "b"), events)
    assert [(row.status, row.answer) for row in found.rows] == [("answered", {"word": "A"}), ("failed", None)]
    assert (scripted.asked.count("a"), scripted.asked.count("b")) == (2, 3)
    assert {event.seconds for event in events if isinstance(event, Waiting)} == {7.0}


def test_what_a_preview_was_told_is_not_paid_for_in_a_batch(bench: Bench) -> None:
    found = looked(bench, "SELECT 'row ' || n AS text FROM range(10) r(n)", rows=3, returns="")
    assert [row.answer for row in found.rows] == [{"response": f"row {n}"} for n in range(3)]
    job_id = bench.begin(10)
    assert bench.job(job_id).reused == 3
    bench.wait(job_id)
    bench.check(10, once=False)
    assert len(bench.control.ledger()) == 10
    assert bench.loaded[0].answered == 7
    assert bench.sql("SELECT source, count(*) FROM sqlbatch.results GROUP BY ALL ORDER BY ALL") == [
        ("batch", 7), ("preview", 3),
    ]  # fmt: skip
    assert bench.control.calls("POST", "/v1/chat/completions") == 3


def test_a_preview_makes_no_job_and_leaves_the_target_alone(bench: Bench) -> None:
    bench.enrich(4)
    before = bench.target()
    # Fewer rows, and another prompt: enrich would refuse to shrink the target.
    looked(bench, "SELECT 'other ' || n AS text FROM range(2) r(n)", instructions="Otherwise.", returns="")
    assert bench.target() == before
    assert bench.sql("SELECT count(*) FROM sqlbatch.jobs") == [(1,)]
    assert bench.sql("SELECT count(*) FROM sqlbatch.wanted") == [(4,)]


def test_what_a_batch_has_in_flight_is_not_sent_again_unless_fresh(bench: Bench) -> None:
    bench.control.faults({"name": "stuck_in_progress"})
    job_id = bench.begin(2)
    bench.sync(job_id)
    query = "SELECT 'row ' || n AS text FROM range(3) r(n)"
    found = looked(bench, query, returns="")
    assert [row.status for row in found.rows] == ["pending", "pending", "answered"]
    assert "a batch has it already" in str(found.rows[0].error)
    fresh = looked(bench, query, returns="", fresh=True)
    assert [(row.status, row.kept) for row in fresh.rows] == [("answered", False)] * 3
    assert bench.control.calls("POST", "/v1/chat/completions") == 4
    # The job is content with what came, and so is the audit.
    bench.control.faults()
    bench.wait(job_id)
    bench.check(2, once=False)


def test_fresh_asks_again_and_shows_what_came_now(desk: Bench, scripted: Scripted) -> None:
    scripted.replies = {"a": [(200, {}, answer('{"word": "one"}')), (200, {}, answer(None, refusal="Not now."))]}
    assert looked(desk, texts("a")).rows[0].answer == {"word": "one"}
    now = looked(desk, texts("a"), fresh=True).rows[0]
    assert (now.status, now.error) == ("failed", "refusal: Not now.")
    # What is known of it otherwise is still the answer.
    assert looked(desk, texts("a")).rows[0].answer == {"word": "one"}
    assert len(scripted.asked) == 2


def test_equal_rows_are_asked_once_and_null_is_not(desk: Bench, scripted: Scripted) -> None:
    found = looked(desk, "SELECT unnest(['a', NULL, 'a']) AS text, 'nan'::DOUBLE AS x, 'ab'::BLOB AS b")
    assert [row.status for row in found.rows] == ["answered", "skipped", "answered"]
    assert found.rows[1].error == "text is NULL"
    assert found.rows[0].input["b"] == "2 bytes"
    assert scripted.asked == ["a"]
    assert "-> word:" in repr(found)
    assert "word" in repr(found)


def test_a_sample_has_the_rows_numbers_and_keeps_to_the_limit(desk: Bench) -> None:
    found = looked(desk, "SELECT 't' || n AS text FROM range(1000) r(n)", sample=4, limit=100)
    numbers = [row.number for row in found.rows]
    assert len(numbers) == 4
    assert numbers == sorted(numbers)
    assert [row.input["text"] for row in found.rows] == [f"t{number - 1}" for number in numbers]
    assert max(numbers) <= 100
    others = [looked(desk, "SELECT 't' || n AS text FROM range(1000) r(n)", sample=4).rows[0].number for _ in range(3)]
    assert len({numbers[0], *others}) > 1


@pytest.mark.parametrize("options", [{"rows": 0}, {"rows": 101}, {"sample": -1}, {"rows": 2, "sample": 2}])
def test_how_many_rows_is_checked(options: dict[str, Any], desk: Bench) -> None:
    with pytest.raises(InvalidSettings, match=r"--(rows|sample)"):
        looked(desk, texts("a"), **options)


def test_an_interrupt_keeps_what_came(desk: Bench, scripted: Scripted) -> None:
    scripted.gate.clear()
    scripted.gated = {"b", "c"}
    enrichment, _ = desk.ask(texts("a", "b", "c"), returns="word VARCHAR")
    with previews.prepared(desk.database, enrichment, desk.provider) as ready:
        events = previews.ask(desk.database, ready)
        for event in events:
            if getattr(event, "done", 0) == 1:
                break
        events.close()  # type: ignore[attr-defined]
        for _ in previews.keep(desk.database, ready):
            pass
        found = previews.result(desk.database, ready)
    assert [row.status for row in found.rows] == ["answered", "pending", "pending"]
    assert "before the interrupt" in str(found.rows[1].error)
    scripted.gate.set()
    assert [row.kept for row in looked(desk, texts("a", "b", "c")).rows] == [True, False, False]


def test_an_answer_that_could_not_be_stored_is_stored_by_whoever_comes_next(
    desk: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed preview had received is neither lost, nor counted twice, nor asked for again by a batch."""
    real = Database.write
    enrichment, _ = desk.ask(texts("a", "b"), returns="word VARCHAR")

    class Killed(BaseException):
        pass

    def dies(self: Database, work: Any, **more: Any) -> Any:
        if work.__qualname__.startswith("store."):
            raise Killed
        return real(self, work, **more)

    monkeypatch.setattr("sqlbatch.previews.new_owner", lambda: f"{os.uname().nodename}:{dead_pid()}:0a")
    monkeypatch.setattr(Database, "write", dies)
    spool = paths.state_dir(desk.database) / "spool"
    with previews.prepared(desk.database, enrichment, desk.provider) as ready:
        events = previews.ask(desk.database, ready)
        next(events)
        until(lambda: len(list(spool.glob("preview-*.jsonl"))) == 2)
        with pytest.raises(Killed):
            next(events)
    monkeypatch.setattr(Database, "write", real)
    left = {path: path.read_bytes() for path in spool.iterdir()}
    assert [path.stat().st_mode & 0o777 for path in left] == [0o600, 0o600]
    assert desk.sql("SELECT count(*) FROM sqlbatch.results") == [(0,)]
    assert prepare.recover_interrupted(desk.database) == 2
    assert list(spool.iterdir()) == []
    # The transaction may have been committed, and the files not yet deleted, when it was killed.
    for path, text in left.items():
        path.write_bytes(text)
    assert prepare.recover_interrupted(desk.database) == 2
    assert desk.sql("SELECT source, outcome FROM sqlbatch.results") == [("preview", "answered")] * 2


def test_a_killed_preview_has_kept_what_had_come(bench: Bench, tmp_path: Path) -> None:
    """A real kill -9: what was answered is there, and the next preview asks only for the rest."""
    bench.control.faults({"name": "hold", "on": "POST /v1/chat/completions", "skip": 2, "seconds": 60})
    arguments = [
        "preview", "SELECT 'row ' || n AS text FROM range(5) r(n)", "--instructions", "Repeat the text.",
        "--input", "text", "--model", "offline", "--base-url", bench.base_url, "--yes", "--db", "killed.duckdb",
    ]  # fmt: skip
    command = [sys.executable, "-m", "sqlbatch", *arguments]
    child = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    spool = tmp_path / "killed.duckdb.sqlbatch" / "spool"
    until(lambda: bench.control.calls("POST", "/v1/chat/completions") == 5)
    until(lambda: stored(tmp_path / "killed.duckdb") == 2 and not list(spool.glob("preview-*")))
    child.send_signal(signal.SIGKILL)
    child.communicate()
    bench.control.faults()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(", kept") == 2
    assert bench.control.calls("POST", "/v1/chat/completions") == 8
    assert stored(tmp_path / "killed.duckdb") == 5


def test_python_previews_and_never_prompts(desk: Bench, scripted: Scripted) -> None:
    ask: dict[str, Any] = {
        "db": desk.path, "instructions": "Repeat.", "model": "m", "base_url": scripted.base_url,
        "returns": "word VARCHAR", "input": "text",
    }  # fmt: skip
    with pytest.raises(InvalidSettings, match=r"2 requests .* now, at an unknown price: pass yes=True"):
        sqlbatch.preview(texts("a", "b"), **ask)
    assert scripted.asked == []
    assert not desk.path.exists()
    found = sqlbatch.preview(texts("a", "b"), yes=True, **ask)
    assert [row.answer for row in found.rows] == [{"word": "a"}, {"word": "b"}]
    assert sqlbatch.preview(texts("a", "b"), **ask).sent == 0
    with duckdb.connect() as memory, pytest.raises(SqlbatchError, match="in-memory"):
        sqlbatch.preview(texts("a"), yes=True, **{**ask, "db": memory})


def stored(path: Path) -> int:
    """Return how many results a database has, or -1 while another process holds it."""
    try:
        with duckdb.connect(str(path), read_only=True) as con:
            return int(con.execute("SELECT count(*) FROM killed.sqlbatch.results").fetchall()[0][0])
    except duckdb.Error:
        return -1


def dead_pid() -> int:
    """Return the number of a process that has ended."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def until(there: Any) -> None:
    """Wait until something is so."""
    for _ in range(3_000):
        if there():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


def test_what_another_preview_has_brought_meanwhile_is_not_asked_again(desk: Bench, scripted: Scripted) -> None:
    """As while the first one waits for a yes."""
    enrichment, _ = desk.ask(texts("a", "b"), returns="word VARCHAR")
    with previews.prepared(desk.database, enrichment, desk.provider) as first:
        looked(desk, texts("b", "c"))
        list(previews.ask(desk.database, first))
        brought = previews.result(desk.database, first)
    assert sorted(scripted.asked) == ["a", "b", "c"]
    assert [(row.status, row.kept) for row in brought.rows] == [("answered", False), ("answered", True)]
    assert brought.sent == 1


def test_answers_that_another_process_is_storing_are_left_to_it(desk: Bench, tmp_path: Path) -> None:
    assert requests.store(desk.database, str(uuid.uuid4()), [tmp_path / "preview-gone.jsonl"], check_of) == []


@pytest.mark.skipif(duckdb.__version__ < "2", reason="AI functions need DuckDB 2.0")
def test_a_request_without_an_answer_fails_its_row_of_a_query_with_calls(bench: Bench) -> None:
    """No call that needs the answer is asked; a row that says answered has one."""
    bench.control.faults({"name": "error", "on": "POST /v1/chat/completions", "status": 400, "code": "no_way"})
    query = "SELECT ai_complete(coalesce(ai_complete(a, 'One.'), 'none'), 'Two.') AS b FROM (SELECT 'x' AS a)"
    enrichment, _ = bench.ask(query, instructions=None, inputs=())
    with plan_previews.prepared(bench.database, enrichment, bench.provider) as ready:
        assert ready is not None
        list(plan_previews.ask(bench.database, ready))
        (row,) = plan_previews.result(bench.database, ready).rows
    assert row.status == "failed"
    assert "no_way" in str(row.error)
    assert len(ready.received) == 1

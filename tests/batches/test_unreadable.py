"""What comes back in a shape that nobody foresaw: read if it can be, else reported, and never paid again unasked."""

from __future__ import annotations

import gzip
import json
import uuid
import zipfile
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from sqlbatch import clock, job_actions, prune
from sqlbatch.batches.download import GONE_AFTER, Ended, Fetched
from sqlbatch.batches.parse_results import LONGEST_LINE, as_text, parse_results
from sqlbatch.batches.results import load_files
from sqlbatch.db.database import Database
from sqlbatch.errors import InvalidSettings, JobError, ProviderUnreachable
from sqlbatch.query.endpoints import check_of

from .test_batches import rewrite
from .test_readers import chat, response

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .bench import Bench

ID = str(uuid.UUID(int=1))
HELLO = chat("hello")
HTML = "<html><h1>502 Bad Gateway</h1></html>"
UNREADABLE = ("failed", "unreadable_results")


def line(body: Any = HELLO, status: Any = 200, **more: Any) -> dict[str, Any]:
    return {"custom_id": ID, "response": {"status_code": status, "body": body}, "error": None, **more}


def odd(finish: Any) -> dict[str, Any]:
    return line(chat("hello", finish))


THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
CLAUDE = {
    "type": "message", "role": "assistant", "model": "claude", "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn", "usage": {"input_tokens": 2, "cache_read_input_tokens": 2,
    "cache_creation_input_tokens": 4, "output_tokens": 3},
}  # fmt: skip


def claude(kind: str, **more: Any) -> dict[str, Any]:
    return {"custom_id": ID, "result": {"type": kind, **more}}


def told(kind: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": "Oh no."}}


VLLM = {"object": "error", "message": "too long", "type": "BadRequestError", "param": None, "code": 400}
# Name, line, outcome, code, content, what the message contains.
LINES: list[tuple[str, Any, str, str | None, str | None, str]] = [
    # Envelopes.
    ("the completion in response", {"custom_id": ID, "response": HELLO}, "answered", None, "hello", ""),
    ("the body as JSON text", line(json.dumps(HELLO)), "answered", None, "hello", ""),
    ("the response as JSON text", {"custom_id": ID, "response": json.dumps(HELLO)}, "answered", None, "hello", ""),
    ("the body beside the id", {"custom_id": ID, "body": HELLO}, "answered", None, "hello", ""),
    ("no status", {"custom_id": ID, "response": {"body": HELLO}}, "answered", None, "hello", ""),
    ("a status as text", line(HELLO, "200"), "answered", None, "hello", ""),
    ("a status in words", line(HELLO, "OK"), "answered", None, "hello", ""),
    ("another name of the id", {"customId": ID, "response": line()["response"]}, "answered", None, "hello", ""),
    ("an error in place", {"custom_id": ID, "response": {"error": "x"}}, "retryable", "error", None, "x"),
    ("neither response nor error", {"custom_id": ID, "response": None, "error": None}, *UNREADABLE, None, "cannot be"),
    ("an empty error", {"custom_id": ID, "response": None, "error": {}}, *UNREADABLE, None, "cannot be read"),
    ("an unknown response", {"custom_id": ID, "response": {"foo": 1}}, *UNREADABLE, None, '"foo"'),
    ("a line of an input file", {"custom_id": ID, "body": {"messages": []}}, *UNREADABLE, None, "messages"),
    ("half a line", json.dumps(line())[:110], *UNREADABLE, None, ID),
    ("HTML", HTML, *UNREADABLE, None, "502 Bad"),
    ("the body in data", line({"code": 0, "data": HELLO}), "answered", None, "hello", ""),
    ("the body in a list", line([HELLO]), "answered", None, "hello", ""),
    ("the completion in output", {"custom_id": ID, "output": HELLO}, "answered", None, "hello", ""),
    ("an answer with status 0", line(HELLO, 0), *UNREADABLE, None, "an answer and the status 0: "),
    ("an answer with status 503", line(HELLO, 503), *UNREADABLE, None, "an answer and the status 503"),
    # Escapes.
    ("a lone surrogate", json.dumps(line(chat("\ud83d \U0001f600"))), "answered", None, "\ufffd \U0001f600", ""),
    ("a low one", json.dumps(line(chat(r"a \\ \ud83d" + "\udc00"))), "answered", None, "a \\\\ \\ud83d\ufffd", ""),
    ("a wrong escape", json.dumps(line(chat("a @x41"))).replace("@", "\\"), "answered", None, "a \ufffdx41", ""),
    ("a tab as it is", json.dumps(line(chat("a@b"))).replace("@", "\t"), "answered", None, "a\ufffdb", ""),
    # Present is not true.
    ("empty errors", line({**HELLO, "error": {}}, error=""), "answered", None, "hello", ""),
    ("errors without a word", line({**HELLO, "error": {"code": None, "message": ""}}), "answered", None, "hello", ""),
    ("an empty refusal", line(chat("hello", refusal="")), "answered", None, "hello", ""),
    ("a refusal that is false", line(chat("hello", refusal=False)), "answered", None, "hello", ""),
    ("an error in Python's words", line(error="None"), "answered", None, "hello", ""),
    ("an error that says success", line(error={"code": 0, "message": "success"}), "answered", None, "hello", ""),
    ("an error in Chinese", line(error={"code": None, "message": "\u9519"}), "failed", "error", "hello", "\u9519"),
    ("a real error beside", line(error={"code": "oops", "message": "Bad."}), "failed", "oops", "hello", "Bad."),
    # Content.
    ("parts", line(chat([THINKING, {"type": "text", "text": "hel"}, "lo"])), "answered", None, "hello", ""),
    ("only thoughts", line(chat([THINKING])), "failed", "not_text", None, "not text"),
    ("an object", line(chat({"a": "b"})), "failed", "not_text", None, "not text"),
    ("a number", line(chat(3)), "failed", "not_text", None, "not text"),
    ("a text like an object", line(chat('{"content":{"a":1}}')), "answered", None, '{"content":{"a":1}}', ""),
    ("a text like a number", line(chat("3")), "answered", None, "3", ""),
    ("only reasoning", line(chat("", reasoning_content="I think")), "failed", "no_content", None, "reasoning: I think"),
    # Reasons to stop.
    *[(f"ended by {good}", odd(good), "answered", None, "hello", "") for good in ("STOP", "eos", "end_turn", None, "")],
    *[
        (f"ended by {bad}", odd(bad), "failed", bad, "hello", "")
        for bad in ("error", "abort", "insufficient_system_resource", "model_length", "max_tokens", "whatever_comes")
    ],
    ("ended by an object", odd({"a": 1}), "failed", "unknown_finish", "hello", '{"a":1}'),
    # The provider's own words.
    ("vLLM's error", line(VLLM, 400), "failed", "http_400", None, "too long"),
    ("a detail", line({"detail": "Not allowed"}, 403), "failed", "http_403", None, "Not allowed"),
    ("details", line({"detail": [{"msg": "field required"}]}, 422), "failed", "http_422", None, "field required"),
    ("an error as text", line({"error": "fell over"}, 500), "retryable", "http_500", None, "fell over"),
    ("an error that is HTML", line(HTML, 502), "retryable", "http_502", None, "502 Bad"),
    ("a good status over HTML", line(HTML), "failed", "no_content", None, "502 Bad"),
    ("a code as a number", line({"error": {"code": 429, "message": "Slow."}}), "retryable", "http_429", None, "S"),
    ("a line's error text", {"custom_id": ID, "response": None, "error": "boom"}, "retryable", "error", None, "boom"),
]  # fmt: skip
# Habits of gateways, and lines as Anthropic writes them.
LINES += [
    ("the completion is the line", {"custom_id": ID, **HELLO}, "answered", None, "hello", ""),
    (
        "the completion is the line, and an error",
        {"custom_id": ID, "error": "boom", **HELLO},
        "failed",
        "error",
        "hello",
        "boom",
    ),
    ("the body in a response in the body", line({"response": HELLO}), "answered", None, "hello", ""),
    ("the completion in data", {"custom_id": ID, "data": HELLO}, "answered", None, "hello", ""),
    (
        "an answer that says it failed",
        {"custom_id": ID, "status": "failed", "response": HELLO},
        *UNREADABLE,
        None,
        "cannot be",
    ),
    ("a message", claude("succeeded", message=CLAUDE), "answered", None, "hello", ""),
    ("a message in the body", line(CLAUDE), "answered", None, "hello", ""),
    (
        "a message cut",
        claude("succeeded", message=CLAUDE | {"stop_reason": "max_tokens"}),
        "failed",
        "max_tokens",
        "hello",
        "cut",
    ),
    (
        "a message refused",
        claude("succeeded", message=CLAUDE | {"stop_reason": "refusal"}),
        "failed",
        "refusal",
        "hello",
        "hello",
    ),
    (
        "a message of thoughts",
        claude("succeeded", message=CLAUDE | {"content": [THINKING]}),
        "failed",
        "not_text",
        None,
        "not text",
    ),
    (
        "an errored message",
        claude("errored", error=told("invalid_request_error")),
        "failed",
        "invalid_request_error",
        None,
        "Oh no.",
    ),
    (
        "an overloaded one",
        claude("errored", error=told("overloaded_error")),
        "retryable",
        "overloaded_error",
        None,
        "Oh no.",
    ),
    ("an expired message", claude("expired"), "retryable", "batch_expired", None, "expire"),
    ("a canceled message", claude("canceled"), "retryable", "batch_cancelled", None, "canceled"),
    (
        "a success with a number",
        line({**HELLO, "error": {"code": 20000, "message": "Ok"}}),
        "answered",
        None,
        "hello",
        "",
    ),
    (
        "an error to ask again beside an answer",
        line(error={"code": 503, "message": "Busy."}),
        "failed",
        "http_503",
        "hello",
        "Busy.",
    ),
    (
        "a server's error beside an answer",
        line(error={"code": "server_error", "message": "Oh."}),
        "failed",
        "server_error",
        "hello",
        "Oh.",
    ),
    ("a good status, no body, an error text", line(None, error="overloaded"), "retryable", "error", None, "overloaded"),
    (
        "a good status, no body, a final error",
        line(None, error={"code": 422, "message": "No."}),
        "failed",
        "http_422",
        None,
        "No.",
    ),
    (
        "a good status, an odd body, an error",
        line({"id": 1}, error="overloaded"),
        "failed",
        "error",
        None,
        "overloaded",
    ),
    ("vLLM's nested error", line(None, None, error={"error": VLLM}), "failed", "http_400", None, "too long"),
]


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """Read all lines at once; return outcome, code, content and message of each, in their order."""
    file = tmp_path_factory.mktemp("odd") / "odd.jsonl"
    file.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for _, each, *_ in LINES))
    with duckdb.connect() as con, Database(connection=con).session() as session:
        parse_results(session, [file], "/v1/chat/completions", "CAST(NULL AS VARCHAR)")
        return session.sql("SELECT outcome, code, content, message FROM sqlbatch_parsed_results")


@pytest.mark.parametrize("number", range(len(LINES)), ids=[name for name, *_ in LINES])
def test_an_odd_line_is_read_for_what_it_is(parsed: list[tuple[Any, ...]], number: int) -> None:
    *expected, words = LINES[number][2:]
    *found, message = parsed[number]
    assert found == expected
    assert words in (message or "")
    assert (message is None) == (expected[1] is None)


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": -1, "completion_tokens": -5}, (None, None, None, None)),
        ({"prompt_tokens": 8, "prompt_tokens_details": {"cached_tokens": -2}}, (8, None, None, None)),
        ({"prompt_tokens": 8, "prompt_tokens_details": {"cached_tokens": 9}}, (8, None, None, None)),
        ({"prompt_tokens": "8", "completion_tokens": 3.0}, (8, None, None, 3)),
        ({"prompt_tokens": 1e30, "completion_tokens": True}, (None, None, None, None)),
        (CLAUDE, (8, 2, 4, 3)),
    ],
    ids=str,
)  # fmt: skip
def test_a_count_of_tokens_that_cannot_be_is_unknown(
    usage: dict[str, Any], counted: tuple[int | None, ...], tmp_path: Path
) -> None:
    file = tmp_path / "odd.jsonl"
    file.write_text(json.dumps(line(usage if usage is CLAUDE else {**HELLO, "usage": usage})) + "\n")
    with duckdb.connect() as con, Database(connection=con).session() as session:
        parse_results(session, [file], "/v1/chat/completions", "CAST(NULL AS VARCHAR)")
        found = session.sql(
            "SELECT outcome, tokens_in, tokens_cached, tokens_cache_write, tokens_out, raw FROM sqlbatch_parsed_results"
        )
    assert [row[:-1] for row in found] == [("answered", *counted)]
    impossible = "-" in json.dumps(usage) or ": 9" in json.dumps(usage)
    assert (found[0][-1] is not None) == impossible, "what was said is kept"


def test_a_response_in_an_odd_envelope_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "odd.jsonl"
    said = response({"type": "output_text", "text": "hello"})
    lines = [{"custom_id": ID, "response": said}, line(json.dumps(said)), {"custom_id": ID, **said}]
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    with duckdb.connect() as con, Database(connection=con).session() as session:
        parse_results(session, [file], "/v1/responses", "CAST(NULL AS VARCHAR)")
        assert session.sql("SELECT DISTINCT outcome, content FROM sqlbatch_parsed_results") == [("answered", "hello")]


# Whole files of a batch of 200 requests, the newest look at the provider's counts, and what becomes of the requests.
def good(*numbers: int) -> str:
    return "".join(json.dumps({**line(), "custom_id": str(uuid.UUID(int=number + 1))}) + "\n" for number in numbers)


FILES: list[tuple[str, str, dict[str, Any], dict[str, int], bool]] = [
    ("whole", good(*range(200)), {}, {"answered": 200}, False),
    ("without a line", good(*range(199)), {"completed": 200}, {"answered": 199, "missing": 1}, False),
    ("without lines, no counts", good(*range(50)), {"completed": 0}, {"answered": 50, "missing": 150}, False),
    ("without half the answers", good(*range(100)), {}, {"answered": 100, "unreadable_results": 100}, True),
    ("one line no JSON", good(*range(199)) + "{oh\n", {}, {"answered": 199, "unreadable_results": 1}, False),
    ("a fifth no JSON", good(*range(160)) + "{oh\n" * 40, {}, {"answered": 160, "unreadable_results": 40}, True),
    ("ids of nobody", good(*range(1000, 1200)), {}, {"unreadable_results": 200}, True),
    ("HTML", HTML, {}, {"unreadable_results": 200}, True),
    ("an error in JSON", '{"error": {"message": "try later"}}', {}, {"unreadable_results": 200}, True),
    ("empty", "", {}, {"unreadable_results": 200}, True),
    ("empty and no counts", "", {"completed": 0}, {"unreadable_results": 200}, True),
    ("cancelled, nothing done", "", {"completed": 0, "status": "cancelled"}, {"missing": 200}, False),
    (
        "failed half way",
        good(*range(50)),
        {"completed": 50, "status": "failed"},
        {"answered": 50, "missing": 150},
        False,
    ),
    (
        "one request, and it is counted",
        "",
        {"completed": 1, "requests": 1, "status": "expired"},
        {"unreadable_results": 1},
        True,
    ),
    ("expired with answers, none here", "", {"completed": 200, "status": "expired"}, {"unreadable_results": 200}, True),
]


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    """Return a database in memory for all files."""
    with duckdb.connect() as con:
        yield Database(connection=con)


@pytest.mark.parametrize(
    ("content", "batch", "expected", "blocks"), [case[1:] for case in FILES], ids=[n for n, *_ in FILES]
)
def test_paying_again_needs_evidence_that_it_was_not_answered(
    database: Database, tmp_path: Path, content: str, batch: dict[str, Any], expected: dict[str, int], blocks: bool
) -> None:
    path, kept = tmp_path / "sqlbatch-x.1.output.jsonl", tmp_path / "kept"
    path.write_text(content)
    ended = replace(_batch(database, batch.get("requests", 200)), **batch)
    if "unreadable_results" in expected or ended.completed > expected.get("answered", 0):
        with pytest.raises(ProviderUnreachable, match="its result files are fetched again"):
            load_files(database, ended, Fetched((path,), gone=False), check_of, kept)
        with database.session() as session:
            ((looks, state),) = session.sql(
                f"SELECT looks, state FROM sqlbatch.batches WHERE batch_id = '{ended.batch_id}'"
            )
        assert (looks, state) == (1, "ended")
        ended = replace(ended, looks=1)
    if blocks:
        with pytest.raises(ProviderUnreachable):
            load_files(database, ended, Fetched((path,), gone=False), check_of, kept)
        ended = replace(ended, ended_at=clock.now() - GONE_AFTER)
    assert load_files(database, ended, Fetched((path,), gone=False), check_of, kept) is not None
    with database.session() as session:
        found = session.sql(
            "SELECT coalesce(code, outcome), count(*), any_value(outcome) FROM sqlbatch.results "
            f"WHERE batch_id = '{ended.batch_id}' GROUP BY ALL"
        )
        assert session.sql(f"SELECT balanced FROM sqlbatch.audit WHERE batch_id = '{ended.batch_id}'") == [(True,)]
    assert {code: count for code, count, _ in found} == expected
    assert {of for code, _, of in found if code == "missing"} <= {"retryable"}
    assert {of for code, _, of in found if code == "unreadable_results"} <= {"failed"}
    assert kept.exists() == blocks


def test_an_expired_batch_without_counts_and_files_is_looked_at_once_more(database: Database, tmp_path: Path) -> None:
    """Its answers may be in a file that the provider names a moment later."""
    ended = replace(_batch(database), completed=0, counted=False, status="expired")
    nothing = Fetched((), gone=False)
    with pytest.raises(ProviderUnreachable, match="before any is sent again, its result files"):
        load_files(database, ended, nothing, check_of, tmp_path)
    done = load_files(database, replace(ended, looks=1), nothing, check_of, tmp_path)
    assert done is not None
    assert done.event.retryable == 200


def test_a_batch_that_failed_with_answers_keeps_them(bench: Bench) -> None:
    bench.control.faults({"name": "expires", "count": 1}, {"name": "renamed_status", "from": "expired", "to": "failed"})
    bench.enrich(10)
    bench.check(10)
    assert [code for _, code, _ in bench.outcomes() if code] == ["batch_expired"]


def _batch(database: Database, requests: int = 200) -> Ended:
    batch_id = str(uuid.uuid4())
    with database.session() as session:
        session.sql(
            "INSERT INTO sqlbatch.batches "
            "(batch_id, state, base_url, call_id, model, requests, bytes, tokens, planned_at) "
            f"VALUES ('{batch_id}', 'ended', 'x', '{uuid.UUID(int=9)}', 'm', {requests}, 1, 1, $now::TIMESTAMP)",
            {"now": clock.now()},
        )
        ids = [str(uuid.UUID(int=number + 1)) for number in range(requests)]
        session.sql(f"INSERT INTO sqlbatch.batch_requests SELECT '{batch_id}', 1, unnest({ids}::UUID[])")
    endpoint = "/v1/chat/completions"
    return Ended(
        batch_id,
        "b",
        "completed",
        "f",
        None,
        requests,
        endpoint,
        "",
        fenced=False,
        ended_at=clock.now() + timedelta(days=1),
        completed=200,
    )


def test_an_answer_beyond_32_mb_is_read(tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    file.write_text(json.dumps(line(chat("x" * (LONGEST_LINE + 5)))) + "\n")
    with duckdb.connect() as con, Database(connection=con).session() as session, as_text([file]) as (files, longest):
        parse_results(session, files, "/v1/chat/completions", "CAST(NULL AS VARCHAR)", longest=longest)
        assert session.sql("SELECT strlen(content) FROM sqlbatch_parsed_results") == [(LONGEST_LINE + 5,)]


@pytest.mark.parametrize("kind", ["gzip", "zip", "utf-16", "utf-16-le", "utf-8-sig", "html"])
def test_a_job_blocked_by_what_cannot_be_read_goes_on_with_the_mended_file(
    bench: Bench, tmp_path: Path, kind: str
) -> None:
    job_id = bench.begin(10)
    bench.until_ended(job_id)
    content: list[bytes] = []
    rewrite(bench, lambda whole: content.append(whole) or HTML.encode() + b"\n")  # type: ignore[func-returns-value]
    with pytest.raises(JobError, match=rf"blocked: unreadable results: .*502 Bad.*--as FILE.*retry {job_id} --only"):
        bench.wait(job_id)
    assert [path.read_bytes() for path in (bench.path.with_name("a.duckdb.sqlbatch") / "unreadable").iterdir()] == [
        HTML.encode() + b"\n"
    ]
    assert bench.job(job_id).status == "blocked"
    mended = tmp_path / "mended"
    assert prune.prunable(bench.database).nothing, "what a job waits to have read stays, also at the provider"
    if kind == "html":
        mended.write_text(HTML)
        with pytest.raises(JobError, match="no line is a result of the Batch API"):
            job_actions.import_files(bench.database, job_id, [mended], as_whole=True)
        bench.wait(job_id)
        assert {row[2] for row in bench.target()} == {"failed"}
        assert len(bench.control.ledger()) == 10
        kept = bench.path.with_name("a.duckdb.sqlbatch") / "unreadable"
        other = bench.enrich("SELECT 'row 0' AS text, 1 AS n", into="others")
        assert prune.prune(bench.database, other).spool_files == 0, "job 1 could still be loaded from it"
        assert prune.prunable(bench.database).spool_bytes == len(HTML) + 1
        prune.prune(bench.database)
        assert list(kept.iterdir()) == []
        return
    if kind == "zip":
        with zipfile.ZipFile(mended, "w") as archive:
            archive.writestr("a/out.jsonl", content[0])
    else:
        mended.write_bytes(gzip.compress(content[0]) if kind == "gzip" else content[0].decode().encode(kind))
    handed, joined = job_actions.import_files(bench.database, job_id, [mended], as_whole=True)
    assert (handed.answered, joined.answered, bench.job(job_id).status) == (10, 10, "done")
    assert list((bench.path.with_name("a.duckdb.sqlbatch") / "unreadable").iterdir()) == []
    bench.check(10)


def test_what_a_mended_file_lacks_is_sent_again(bench: Bench, tmp_path: Path) -> None:
    job_id = bench.begin(10)
    bench.until_ended(job_id)
    content: list[bytes] = []
    rewrite(bench, lambda whole: content.append(whole) or b"oh")  # type: ignore[func-returns-value]
    with pytest.raises(JobError, match="unreadable results"):
        bench.wait(job_id)
    mended = tmp_path / "mended.jsonl"
    mended.write_bytes(b"".join(content[0].splitlines(keepends=True)[:6]))
    job_actions.import_files(bench.database, job_id, [mended], as_whole=True)
    assert [(code, count) for _, code, count in bench.outcomes()] == [(None, 6), ("missing", 4)]
    bench.wait(job_id)
    bench.check(10, once=False)
    assert len(bench.control.ledger()) == 14


def test_a_page_in_the_place_of_a_result_file_is_fetched_again(bench: Bench) -> None:
    job_id = bench.begin(5)
    bench.until_ended(job_id)
    content: list[bytes] = []
    rewrite(bench, lambda whole: content.append(whole) or HTML.encode())  # type: ignore[func-returns-value]
    with pytest.raises(ProviderUnreachable, match="fetched again"):
        bench.sync(job_id)
    rewrite(bench, lambda _: content[0])
    bench.wait(job_id)
    bench.check(5)


def test_an_archive_that_cannot_be_unpacked_is_one_line(bench: Bench, tmp_path: Path) -> None:
    job_id = bench.begin(1)
    torn = tmp_path / "torn.gz"
    torn.write_bytes(gzip.compress(b"{}" * 9_000)[:20])
    with pytest.raises(InvalidSettings, match=r"torn\.gz cannot be unpacked \(.*\): unpack it yourself"):
        job_actions.import_files(bench.database, job_id, [torn])

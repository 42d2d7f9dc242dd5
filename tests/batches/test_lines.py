"""What becomes of each kind of result line: one job, a fault a row, and a test a row."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from sqlbatch import prepare
from sqlbatch.batches.providers import Provider
from sqlbatch.errors import JobError
from sqlbatch.server import EmbeddedServer, ServerConfig

from .bench import KEY, SPEED, Bench

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Case:
    """A fault of one row's line, and what the target shall say of the row."""

    name: str
    fault: dict[str, Any]
    status: str
    error: str | None = None
    attempts: int = 1
    quarantined: int = 0


CASES = [
    Case("good", {}, "answered"),
    Case("refusal", {"name": "refusal"}, "failed", "refusal: I'm sorry, I can't help with that."),
    Case("length", {"name": "length"}, "failed", "length: the answer was cut"),
    Case("content_filter", {"name": "content_filter"}, "failed", "content_filter: the provider's filter"),
    Case("wrong_shape", {"name": "wrong_shape"}, "failed", "bad_shape: "),
    Case("invalid_json", {"name": "invalid_json"}, "failed", "bad_shape: "),
    Case("empty_content", {"name": "empty_content"}, "failed", "no_content: "),
    Case(
        "a 400 line",
        {"name": "line_error", "status": 400, "code": "context_length_exceeded", "message": "Too long."},
        "failed",
        "context_length_exceeded: Too long.",
    ),
    Case(
        "a 404 line",
        {"name": "line_error", "status": 404, "message": "Gone."},
        "failed",
        "invalid_request_error: Gone.",
    ),
    Case("a 408 line", {"name": "line_error", "status": 408}, "failed", "invalid_request_error: ", 3),
    Case("a 409 line", {"name": "line_error", "status": 409}, "failed", "invalid_request_error: ", 3),
    Case("a 429 line", {"name": "line_error", "status": 429}, "failed", "rate_limit_exceeded: ", 3),
    Case("a 500 line", {"name": "line_error", "status": 500}, "failed", "server_error: ", 3),
    Case("a 503 line", {"name": "line_error", "status": 503}, "failed", "server_error: ", 3),
    Case("a 500 line once", {"name": "line_error", "status": 500, "once": True}, "answered", None, 2),
    Case(
        "an expired line",
        {"name": "line_error", "status": 400, "code": "batch_expired"},
        "failed",
        "batch_expired: ",
        3,
    ),
    Case("status 0", {"name": "status_zero"}, "failed", "http_0", 3),
    # Beside lines that cannot be read, a line that is not there may be one of those: nothing is paid for again.
    Case("in neither file", {"name": "missing_line"}, "failed", "unreadable_results: 5 of its result lines"),
    Case("half a line", {"name": "malformed_line"}, "failed", "unreadable_results: this result line cannot be read: {"),
    Case("half a line once", {"name": "malformed_line", "once": True}, "failed", "unreadable_results: this result"),
    Case("a line that is no UTF-8", {"name": "invalid_utf8"}, "answered"),
    Case("a line without an id", {"name": "no_custom_id"}, "failed", "unreadable_results: 5 of", 1, 1),
    Case("a line that is a list", {"name": "not_an_object"}, "failed", "unreadable_results: 5 of", 1, 1),
    Case("the same line twice", {"name": "duplicate_line"}, "answered"),
    Case("two different lines", {"name": "conflicting_line"}, "answered", quarantined=1),
    Case("an id that was never sent", {"name": "foreign_line"}, "answered", quarantined=1),
    Case("separators of lines within a line", {"name": "separators"}, "answered"),
    Case("a line of no id of its own", {"name": "no_line_id"}, "answered"),
]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Finish a job with a row for each case; its result files have a BOM, CRLF, blank lines and no last newline."""
    folder = tmp_path_factory.mktemp("lines")
    (folder / "faults.toml").write_text("")
    config = ServerConfig(folder / "provider", faults=folder / "faults.toml")
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        EmbeddedServer(folder / "provider", config=config) as server,
        duckdb.connect(str(folder / "a.duckdb")),
    ):
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", SPEED)
        provider = Provider("openai", server.base_url, "OPENAI_API_KEY")
        bench = Bench(server.base_url, folder / "a.duckdb", provider, monkeypatch)
        job_id = bench.begin(len(CASES), returns="summary VARCHAR, length INTEGER")
        ids = [str(row[0]) for row in bench.sql(f"SELECT custom_id FROM sqlbatch.asks_{job_id} ORDER BY sqlbatch_row")]
        faults = [{**case.fault, "on": on} for case, on in zip(CASES, ids, strict=True) if case.fault]
        bench.control.faults(*faults, *({"name": name} for name in ("bom", "crlf", "blank_lines", "no_final_newline")))
        with pytest.raises(
            JobError, match=r"blocked: unreadable results: .*; the first begins: .*; its files are kept"
        ):
            bench.wait(job_id)
        assert "kept in sqlbatch.quarantine" in bench.notes
        bench.wait(job_id)
        yield bench


@pytest.mark.one_of(2)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_result_line_becomes(done: Bench, case: Case) -> None:
    row = CASES.index(case)
    custom_id, summary, status, error = done.sql("SELECT custom_id, summary, ai_status, ai_error FROM answers")[row]
    assert status == case.status
    assert (summary is not None) == (status == "answered")
    assert error is None if case.error is None else str(error).startswith(case.error)
    results = done.sql(f"SELECT outcome, code, raw, tokens_out FROM sqlbatch.results WHERE custom_id = '{custom_id}'")
    assert len(results) == case.attempts
    if case.error and " 5 of" not in case.error:
        assert all(raw for _, _, raw, _ in results), "the line that could not be used is kept"
    quarantined = done.sql(f"FROM sqlbatch.quarantine WHERE raw LIKE '%{custom_id}%'")
    if not case.name.startswith("a line without"):
        assert len(quarantined) == case.quarantined


def test_what_was_billed_keeps_its_tokens(done: Bench) -> None:
    counted = "code IN ('refusal', 'length', 'content_filter', 'bad_shape')"
    assert done.sql(f"SELECT count(*), count(tokens_in) FROM sqlbatch.results WHERE {counted}") == [(5, 5)]


def test_lines_that_are_nobodys_are_kept_and_told(done: Bench) -> None:
    reasons = dict(done.sql("SELECT reason, count(*) FROM sqlbatch.quarantine GROUP BY ALL"))
    assert reasons == {"no custom_id of ours": 3, "a second, different result": 1}


def test_everything_is_accounted_for(done: Bench) -> None:
    done.check_audit()
    job = done.job(1)
    assert (job.status, job.answered + job.failed, job.pending) == ("done", len(CASES), 0)
    assert done.sql("SELECT count(*) FROM sqlbatch.failures WHERE raw IS NULL AND message NOT LIKE '5 of%'") == [(0,)]


def test_the_failures_are_settled_for_a_later_job(done: Bench) -> None:
    failed = done.job(1).failed
    enrichment, _ = done.ask(len(CASES), returns="summary VARCHAR, length INTEGER")
    with prepare.prepared(done.database, enrichment, done.provider, "again") as prepared:
        quote = prepared.quote
    final = done.sql("SELECT count(DISTINCT custom_id) FROM sqlbatch.results WHERE outcome = 'failed'")[0][0]
    assert quote.failed_before == final
    assert quote.to_send == failed - final


@pytest.mark.parametrize("part", [1, 4, 10])
def test_a_target_written_part_by_part_has_every_row_once_in_the_querys_order(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr("sqlbatch.query.target_rows.PART", part)
    bench.control.faults({"name": "refusal", "count": 1})
    bench = bench.within(max_requests=3)
    # Equal texts are one request, and a row without a text is skipped.
    bench.enrich("SELECT 10 - n AS n, CASE WHEN n % 5 <> 2 THEN 'text ' || n % 4 END AS text FROM range(10) r(n)")
    found = bench.sql("SELECT n, text, response, ai_status FROM answers")
    assert [n for n, *_ in found] == list(range(10, 0, -1))
    assert [(n, status) for n, _, _, status in found if status == "skipped"] == [(8, "skipped"), (3, "skipped")]
    assert len({text for _, text, _, status in found if status == "failed"}) == 1
    answered = [(text, response) for _, text, response, status in found if status == "answered"]
    assert answered
    assert all(text == response for text, response in answered)

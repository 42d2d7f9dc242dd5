"""What becomes of a batch: expired, cancelled, failed, told in many dialects, its files cut or gone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch import clock, job_actions, run
from sqlbatch.batches import download, request_file, results
from sqlbatch.batches.events import Loaded, Submitted, Waiting
from sqlbatch.batches.replies import ProviderFile
from sqlbatch.batches.step import KEPT_FILES, WAVE
from sqlbatch.errors import JobError, ProviderRefused, ProviderUnreachable

from .bench import HTTP, SPEED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlbatch.db.session import Session

    from .bench import Bench

CONTENT = "GET /v1/files/*/content"
CREATE = "POST /v1/batches"
RETRIEVE = "GET /v1/batches/*"


def rewrite(bench: Bench, change: Callable[[bytes], bytes], kind: str = "output_file_id") -> None:
    """Change the newest batch's result file at the provider."""
    path: Path = bench.path.parent.parent / "provider" / "files" / bench.control.batches()[0][kind]
    path.write_bytes(change(path.read_bytes()))


def test_an_expired_batch_keeps_its_paid_part_and_the_rest_is_sent_again(bench: Bench) -> None:
    bench.control.faults({"name": "expires", "answered": 0.5, "count": 1})
    bench.enrich(10)
    assert [(event.status, event.answered, event.retryable) for event in bench.loaded] == [
        ("expired", 5, 5),
        ("completed", 5, 0),
    ]
    assert ("retryable", "batch_expired", 5) in bench.outcomes()
    bench.check(10)


def test_a_batch_that_the_provider_cancelled_keeps_its_paid_part(bench: Bench) -> None:
    bench.control.faults({"name": "stuck_in_progress", "count": 1})
    job_id = bench.begin(10)
    bench.sync(job_id)
    HTTP.post(f"{bench.base_url}/batches/{bench.control.batches()[0]['id']}/cancel").raise_for_status()
    bench.wait(job_id)
    assert [event.status for event in bench.loaded] == ["cancelled", "completed"]
    assert ("retryable", "batch_cancelled", 10) in bench.outcomes()
    bench.check(10)


def test_requests_that_expire_each_time_fail_in_the_end(bench: Bench) -> None:
    bench.control.faults({"name": "expires", "answered": 0})
    bench.enrich(3, max_attempts=2)
    assert [row[2:] for row in bench.target()] == [("failed", bench.target()[0][3])] * 3
    assert str(bench.target()[0][3]).startswith("batch_expired: ")
    assert bench.outcomes() == [("retryable", "batch_expired", 6)]
    assert bench.job(1).status == "done"


def test_the_queue_limit_is_waited_for_and_counts_no_attempt(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "1")
    bench.control.faults({"name": "token_limit", "count": 3})
    job_id = bench.begin(10, max_attempts=1)
    bench.until_ended(job_id)
    bench.sync(job_id)
    job = bench.job(job_id)
    assert job.status == "blocked"
    assert "Enqueued token limit reached" in str(job.blocked)
    assert bench.outcomes() == [("released", "token_limit_exceeded", 10)]
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", SPEED)
    bench.wait(job_id)
    pauses = [event.seconds for event in bench.of(Waiting) if "token limit" in event.reason]
    assert pauses == sorted(pauses)
    assert pauses[-1] > pauses[0]
    bench.check(10)
    assert bench.job(job_id).blocked is None


def test_a_billing_limit_blocks_and_counts_no_attempt(bench: Bench) -> None:
    bench.control.faults({"name": "billing_limit", "count": 1})
    bench.enrich(10, max_attempts=1)
    assert "Billing hard limit" in bench.held
    assert ("released", "billing_hard_limit_reached", 10) in bench.outcomes()
    bench.check(10)


def test_quota_codes_of_lines_release_them(bench: Bench) -> None:
    bench.control.faults({"name": "line_error", "status": 429, "code": "insufficient_quota", "count": 4})
    bench.enrich(10, max_attempts=1)
    assert ("released", "insufficient_quota", 4) in bench.outcomes()
    bench.check(10, once=False)


def test_line_errors_fail_the_requests_of_those_lines_and_release_the_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = request_file.write
    broken: list[str] = []

    def breaking(session: Session, batch_id: str, path: Path, url: str) -> None:
        write(session, batch_id, path, url)
        if not broken:
            lines = path.read_bytes().split(b"\n")
            for number in (2, 6):
                broken.append(json.loads(lines[number])["custom_id"])
                lines[number] = lines[number].replace(b'"POST"', b'"BOAST"').replace(b"Repeat", b"repea")
            path.write_bytes(b"\n".join(lines))

    monkeypatch.setattr(request_file, "write", breaking)
    bench.enrich(10, max_attempts=1)
    failed = bench.sql("SELECT custom_id::VARCHAR, ai_error FROM answers WHERE ai_status = 'failed'")
    assert sorted(custom_id for custom_id, _ in failed) == sorted(broken)
    assert {error for _, error in failed} == {"invalid_method: Invalid value: 'BOAST'. Supported values are: 'POST'"}
    assert ("released", "batch_failed", 8) in bench.outcomes()
    assert bench.sql("SELECT count(*) FROM answers WHERE ai_status = 'answered' AND response = text") == [(8,)]
    bench.check_audit()


def test_a_retired_model_fails_every_request_with_its_code(bench: Bench) -> None:
    bench.control.faults({"name": "model_retired"}, {"name": "errors_as_list"})
    bench.enrich(5)
    assert bench.outcomes() == [("failed", "model_not_found", 5)]
    assert len(bench.control.batches()) == 1


def test_line_errors_that_name_no_line_of_ours_count_as_attempts(bench: Bench) -> None:
    bench.control.faults({"name": "model_retired"})
    job_id = bench.begin(3, max_attempts=2)
    for _ in range(2):
        bench.until_ended(job_id)
        for path in (bench.path.with_name("a.duckdb.sqlbatch") / "spool").iterdir():
            path.write_bytes(b"\n\n\n")
    bench.wait(job_id)
    assert bench.outcomes() == [("retryable", "batch_failed", 6)]
    assert bench.job(job_id).failed == 3


def test_a_batch_that_failed_for_an_unknown_reason_is_tried_again_but_not_for_ever(bench: Bench) -> None:
    bench.control.faults({"name": "model_retired"})
    job_id = bench.begin(3)
    for _ in range(3):
        bench.until_ended(job_id)
        _lose_inputs(bench)
        for file in bench.control.files():
            HTTP.delete(f"{bench.base_url}/files/{file['id']}").raise_for_status()
    bench.wait(job_id)
    assert bench.outcomes() == [("retryable", "model_not_found", 9)]


def test_an_input_file_that_is_not_kept_is_fetched_back_for_the_lines_that_errors_name(bench: Bench) -> None:
    bench.control.faults({"name": "model_retired"})
    job_id = bench.begin(3)
    bench.until_ended(job_id)
    _lose_inputs(bench)
    bench.wait(job_id)
    assert bench.outcomes() == [("failed", "model_not_found", 3)]
    assert bench.leftovers() == []


def test_of_many_batches_only_a_few_files_lie_here_and_results_are_loaded_meanwhile(bench: Bench) -> None:
    bench = bench.within(max_requests=1)
    job_id = bench.begin(40)
    most, begun, loaded = 0, 0, 0
    for event in run.run_job(bench.database, job_id):
        most = max(most, len(bench.leftovers()))
        begun += isinstance(event, Submitted)
        loaded += isinstance(event, Loaded) and begun < 40
    assert most <= 2 * WAVE + KEPT_FILES
    assert loaded > 0
    assert bench.leftovers() == []
    bench.check(40)


def _lose_inputs(bench: Bench) -> None:
    for path in (bench.path.with_name("a.duckdb.sqlbatch") / "spool").iterdir():
        path.unlink()


DIALECTS = ["null_counts", "uppercase_status", "empty_error_file_id", "extra_fields", "no_metadata", "lying_counts"]


@pytest.mark.parametrize("dialect", [*DIALECTS, "all of them"])
def test_a_providers_dialect_is_understood(bench: Bench, dialect: str) -> None:
    bench.control.faults(*({"name": name} for name in DIALECTS if dialect in {name, "all of them"}))
    bench.enrich(5)
    assert [event.status for event in bench.loaded] == ["completed"]
    bench.check(5)


def test_counts_that_lie_are_not_believed(bench: Bench) -> None:
    bench.control.faults({"name": "lying_counts"}, {"name": "status_zero", "share": 0.5, "once": True})
    bench.enrich(20)
    assert len(bench.loaded) == 2
    bench.check(20, once=False)


def test_a_completed_batch_without_any_file_is_not_paid_again_unasked(bench: Bench) -> None:
    bench.control.faults({"name": "missing_line", "once": True})
    job_id = bench.begin(4)
    with pytest.raises(JobError, match=r"blocked: unreadable results: batch .*: it is completed, and has no"):
        bench.wait(job_id)
    assert bench.outcomes() == [("failed", "unreadable_results", 4)]
    assert len(bench.control.ledger()) == 4
    job_actions.retry(bench.database, job_id, "unreadable_results")
    bench.wait(job_id)
    bench.check(4, once=False)


def test_a_truncated_download_is_repeated(bench: Bench) -> None:
    bench.control.faults({"name": "cut", "bytes": 700, "count": 2})
    bench.enrich(10)
    assert "download" in bench.held
    bench.check(10)
    assert bench.outcomes() == [("answered", None, 10)]


@pytest.mark.parametrize("size", [700, 0])
def test_a_download_cut_in_silence_is_noticed(bench: Bench, size: int) -> None:
    """Without a Content-Length a cut looks like an end; whether it falls between two lines or not."""
    bench.control.faults({"name": "cut_silently", "bytes": size, "count": 2})
    bench.enrich(10)
    assert "was cut at" in bench.held
    bench.check(10)
    assert bench.outcomes() == [("answered", None, 10)]


def test_a_cut_is_noticed_by_its_last_line_where_the_provider_tells_no_size(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqlbatch.batches.client.BatchAPI._file", lambda _, file: ProviderFile(file, None, None, None))
    bench.control.faults({"name": "cut_silently", "bytes": 700, "count": 1})
    bench.enrich(10)
    assert "was cut at 700 bytes" in bench.held
    bench.check(10)


@pytest.mark.parametrize("fault", ["cut", "cut_silently"])
def test_a_download_that_is_always_cut_blocks_the_job_and_keeps_what_came(bench: Bench, fault: str) -> None:
    job_id = bench.begin(10)
    bench.until_ended(job_id)
    whole = len(bench.control.content(bench.control.batches()[0]["output_file_id"]))
    part = whole // 2 - 50
    bench.control.faults({"name": fault, "bytes": part})
    cut = rf"the download of \S+ was cut at {part:,} of {whole:,} bytes; its files are kept in"
    with pytest.raises(JobError, match=f"unreadable results: .*{cut}"):
        bench.wait(job_id)
    assert f"was cut at {part:,} of {whole:,} bytes; its result files are fetched again" in bench.held
    answered, unreadable = bench.outcomes()
    assert answered[:2] == ("answered", None)
    assert unreadable[:2] == ("failed", "unreadable_results")
    assert (answered[2], unreadable[2]) == (4, 6)
    assert len(bench.control.ledger()) == 10


def test_an_input_file_that_is_always_cut_is_done_without(bench: Bench) -> None:
    bench.control.faults({"name": "model_retired"})
    job_id = bench.begin(3, max_attempts=1)
    bench.until_ended(job_id)
    _lose_inputs(bench)
    bench.control.faults({"name": "model_retired"}, {"name": "cut", "bytes": 100})
    bench.wait(job_id)
    assert bench.outcomes() == [("retryable", "model_not_found", 3)]
    assert bench.leftovers() == []


def test_a_file_that_has_every_line_is_loaded_whatever_its_size_was_said_to_be(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.begin(5)
    bench.until_ended(job_id)

    def longer(_: object, file: str) -> ProviderFile:
        return ProviderFile(file, None, 10**6, None)

    monkeypatch.setattr("sqlbatch.batches.client.BatchAPI._file", longer)
    bench.control.faults({"name": "cut_silently", "bytes": 10**6})
    bench.wait(job_id)
    bench.check(5)


def test_a_result_file_that_is_gone_is_final_until_the_user_says_retry(bench: Bench) -> None:
    bench.control.faults({"name": "content_gone"})
    bench.enrich(5)
    assert bench.outcomes() == [("failed", "results_expired", 5)]
    assert "sqlbatch retry" in str(bench.target()[0][3])
    assert len(bench.control.batches()) == 1


def test_one_result_file_that_is_gone_does_not_cost_the_other(bench: Bench) -> None:
    bench.control.faults({"name": "line_error", "status": 500, "count": 4})
    job_id = bench.begin(10)
    bench.until_ended(job_id)
    error_file = bench.control.batches()[0]["error_file_id"]
    bench.control.faults({"name": "content_gone", "on": f"GET /v1/files/{error_file}/content"})
    bench.wait(job_id)
    assert bench.outcomes() == [("answered", None, 6), ("failed", "results_expired", 4)]


def test_a_file_whose_time_ends_while_it_is_looked_for_is_looked_for_once_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine the time is over after the 404 and before what came is judged."""
    bench.control.faults({"name": "line_error", "status": 500, "count": 4})
    job_id = bench.begin(10)
    bench.until_ended(job_id)
    error_file = bench.control.batches()[0]["error_file_id"]
    bench.control.faults({"name": "content_gone", "on": f"GET /v1/files/{error_file}/content"})
    fetch = download.fetch

    def slow(api: Any, batch: Any, *more: Any) -> Any:
        fetched = fetch(api, batch, *more)
        clock.sleep(1.2 * download.GONE_AFTER.total_seconds())
        return fetched

    monkeypatch.setattr(download, "fetch", slow)
    bench._known.write(lambda session: session.sql("UPDATE sqlbatch.batches SET looks = 1"))
    bench.wait(job_id)
    assert bench.outcomes() == [("answered", None, 6), ("failed", "results_expired", 4)]


def test_one_404_of_a_fresh_result_file_gives_nothing_up(bench: Bench) -> None:
    bench.control.faults({"name": "error", "on": CONTENT, "status": 404, "count": 1})
    bench.enrich(5)
    assert "does not have its result file yet (it is given 15 minutes); its result files are fetched" in bench.held
    bench.check(5)


def test_files_are_not_taken_for_gone_with_a_key_that_sees_nothing(bench: Bench) -> None:
    job_id = bench.begin(5)
    bench.until_ended(job_id)
    gone = {"status": 404, "message": "Not found."}
    bench.control.faults({"name": "error", "on": CONTENT, **gone})
    bench.sql(
        "UPDATE sqlbatch.batches SET state = 'ended', status = 'completed', output_file_id = 'file-x', "
        "ended_at = planned_at - INTERVAL 1 DAY, looks = 1"
    )
    bench.control.faults({"name": "error", "on": CONTENT, **gone}, {"name": "error", "on": RETRIEVE, **gone})
    with pytest.raises(ProviderRefused):
        bench.sync(job_id)
    assert bench.outcomes() == []


def test_a_key_revoked_in_the_middle_is_waited_for(bench: Bench) -> None:
    job_id = bench.begin(5)
    bench.sync(job_id)
    bench.control.faults({"name": "error", "on": "GET /v1/*", "status": 401, "code": "invalid_api_key", "count": 3})
    bench.wait(job_id)
    assert "refused the API key" in bench.held
    bench.check(5)


@pytest.mark.parametrize(
    "fault",
    [
        {"name": "error", "on": "GET /v1/*", "status": 503},
        {"name": "drop_before", "on": "GET /v1/*"},
        {"name": "retry_after", "on": "GET /v1/*", "retry_after": 600},
        {"name": "content_502"},
    ],
    ids=["503", "dropped", "retry after", "content 502"],
)
def test_trouble_with_the_network_is_a_pause_within_wait(bench: Bench, fault: dict[str, Any]) -> None:
    job_id = bench.begin(5)
    bench.sync(job_id)
    bench.control.faults({**fault, "count": 4})
    bench.wait(job_id)
    assert bench.held
    bench.check(5)


def test_a_step_of_its_own_raises_what_wait_would_wait_for(bench: Bench) -> None:
    job_id = bench.begin(5)
    bench.sync(job_id)
    bench.control.faults({"name": "error", "on": "GET /v1/*", "status": 503})
    with pytest.raises(ProviderUnreachable, match="503"):
        bench.sync(job_id)
    bench.control.faults()
    bench.wait(job_id)
    bench.check(5)


def test_one_batch_that_cannot_be_looked_up_holds_up_no_other(bench: Bench) -> None:
    bench = bench.within(max_requests=5)
    job_id = bench.begin(15)
    bench.sync(job_id)
    bench.control.until_ended()
    stuck = bench.control.batches()[1]["id"]
    bench.control.faults({"name": "error", "on": f"GET /v1/batches/{stuck}", "status": 503})
    with pytest.raises(ProviderUnreachable):
        bench.sync(job_id)
    assert bench.job(job_id).answered == 10
    bench.control.faults()
    bench.wait(job_id)
    bench.check(15)


def test_one_download_that_fails_holds_up_no_other(bench: Bench) -> None:
    bench = bench.within(max_requests=5)
    job_id = bench.begin(20)
    bench.sync(job_id)
    bench.control.until_ended()
    refused = bench.control.batches()[2]["output_file_id"]
    bench.control.faults({"name": "error", "on": f"GET /v1/files/{refused}/content", "status": 403})
    with pytest.raises(ProviderRefused):
        bench.sync(job_id)
    assert bench.job(job_id).answered == 15
    bench.control.faults()
    bench.wait(job_id)
    bench.check(20)
    assert bench.leftovers() == []


def test_a_line_of_20_mb_and_strange_characters_come_through(bench: Bench) -> None:
    strange = 'a\\u0000b \\u2028 "quoted" {braces} \U0001f600 ' + "x" * 20_000_000
    job_id = bench.begin(4)
    bench.until_ended(job_id)

    def change(content: bytes) -> bytes:
        return content.replace(b'"row 2"', json.dumps(strange.replace("\\u0000", "\0"), ensure_ascii=False).encode(), 1)

    rewrite(bench, change)
    bench.wait(job_id)
    found = bench.sql(
        "SELECT text, ai_status, length(response), left(response, 2), contains(response, '\U0001f600') FROM answers"
    )
    assert [row[1] for row in found] == ["answered"] * 4
    assert found[2][2] > 20_000_000
    assert bench.sql("SELECT contains(response, 'a' || chr(0) || 'b') FROM answers WHERE text = 'row 2'") == [(True,)]


def test_a_line_of_broken_utf8_is_kept_with_what_can_be_read_of_it(bench: Bench) -> None:
    job_id = bench.begin(6)
    bench.until_ended(job_id)
    rewrite(bench, lambda content: content.replace(b'"row 3"', b'"row \xff\xfe"', 1))
    bench.wait(job_id)
    assert [(event.answered, event.retryable) for event in bench.loaded] == [(6, 0)]
    assert ("row 3", "row \ufffd\ufffd") in [row[:2] for row in bench.target()]
    assert bench.leftovers() == []


def test_a_whole_line_after_its_torn_half_is_the_one_that_counts(bench: Bench) -> None:
    job_id = bench.begin(4)
    bench.until_ended(job_id)
    rewrite(bench, lambda content: content[:300] + b"\n" + content)
    bench.wait(job_id)
    assert len(bench.loaded) == 1
    bench.check(4)


def test_half_a_result_file_in_another_batch_is_nobodys(bench: Bench) -> None:
    """Lines of one batch that turn up in the file of another are put aside, and not taken for answers."""
    bench = bench.within(max_requests=5)
    job_id = bench.begin(10)
    bench.sync(job_id)
    bench.control.until_ended()
    files = bench.path.parent.parent / "provider" / "files"
    one, two = (files / batch["output_file_id"] for batch in bench.control.batches())
    one.write_bytes(one.read_bytes() + two.read_bytes())
    bench.wait(job_id)
    assert bench.sql("SELECT reason, count(*) FROM sqlbatch.quarantine GROUP BY ALL") == [("not in this batch", 5)]
    bench.check(10)


def test_an_error_without_an_object_is_told_by_its_text(bench: Bench) -> None:
    job_id = bench.begin(2, max_attempts=1)
    bench.until_ended(job_id)
    line = {"response": {"status_code": 200, "body": {"error": "the model fell over"}}}

    def change(content: bytes) -> bytes:
        ids = [json.loads(each)["custom_id"] for each in content.split(b"\n") if each]
        return b"\n".join(json.dumps({"custom_id": each, **line}).encode() for each in ids)

    rewrite(bench, change)
    bench.wait(job_id)
    assert {row[2:] for row in bench.target()} == {("failed", "error: the model fell over")}


def test_a_line_that_is_missing_is_looked_for_once_more_before_its_request_is_sent_again(bench: Bench) -> None:
    bench = bench.within(max_requests=4)
    bench.control.faults({"name": "missing_line", "count": 1})
    job_id = bench.begin(12)
    bench.sync(job_id)
    bench.control.until_ended()
    bench.control.faults()
    with pytest.raises(ProviderUnreachable, match="1 of its requests have no line; before any is sent again"):
        bench.sync(job_id)
    bench.wait(job_id)
    bench.check(12, once=False)


@pytest.mark.parametrize("fault", [None, {"name": "duplicate_line", "count": 1}])
def test_batches_that_ended_meanwhile_are_loaded_at_once_unless_one_wants_a_closer_look(
    bench: Bench, fault: dict[str, Any] | None
) -> None:
    bench = bench.within(max_requests=4)
    if fault is not None:
        bench.control.faults(fault)
    job_id = bench.begin(12)
    bench.sync(job_id)
    bench.control.until_ended()
    bench.control.faults()
    ran = bench.blocks_of_a_step(job_id)
    assert (ran.count("results.all_results"), ran.count("results.of_batch")) == ((1, 0) if fault is None else (0, 3))
    assert len(bench.loaded) == 3
    bench.wait(job_id)
    bench.check(12)


def test_result_files_that_another_process_has_loaded_and_tidied_away_are_not_missed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = bench.within(max_requests=4)
    job_id = bench.begin(12)
    bench.until_ended(job_id)
    load = results._load

    def after_another(*given: Any) -> Iterator[Any]:
        monkeypatch.setattr(results, "_load", load)
        bench.wait(job_id)
        yield from load(*given)

    monkeypatch.setattr(results, "_load", after_another)
    bench.sync(job_id)
    assert bench.job(job_id).status == "done"
    bench.check(12)
    assert bench.leftovers() == []

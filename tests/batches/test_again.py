"""Second thoughts: failed requests are asked again and nothing else is; a cancelled job keeps what was paid for."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sqlbatch import clock, job_actions, prepare, run
from sqlbatch.errors import JobError

from .bench import numbered

if TYPE_CHECKING:
    from sqlbatch.db.database import Database
    from sqlbatch.query.target_rows import Joined

    from .bench import Bench


def test_retry_sends_what_failed_and_nothing_else(bench: Bench) -> None:
    bench.control.faults({"name": "refusal", "count": 3})
    job_id = bench.enrich(10)
    assert bench.job(job_id).failed == 3
    bench.control.faults()
    assert job_actions.retry(bench.database, job_id) == 3
    bench.wait(job_id)
    assert len(bench.control.ledger()) == 13
    assert bench.job(job_id).failed == 0
    bench.check(10, once=False)


def test_a_retry_that_comes_as_the_target_is_written_is_not_forgotten(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.control.faults({"name": "refusal", "count": 3})
    job_id = bench.begin(10)
    finish = run.finish

    def after_a_retry(database: Database, job_id: int) -> Joined | None:
        monkeypatch.setattr(run, "finish", finish)
        bench.control.faults()
        assert job_actions.retry(bench.database, job_id) == 3
        return finish(database, job_id)

    monkeypatch.setattr(run, "finish", after_a_retry)
    bench.wait(job_id)
    assert len(bench.control.ledger()) == 13
    bench.check(10, once=False)


def test_what_is_asked_again_is_asked_once_though_the_clock_was_set_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results count for what was asked before them: by the order in which it is on record, not by a clock alone."""
    bench.control.faults({"name": "refusal", "count": 3})
    job_id = bench.enrich(10)
    bench.control.faults()
    fresh = bench.begin(10, "anew", fresh=True)
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() - timedelta(days=2))
    assert job_actions.retry(bench.database, job_id) == 3
    bench.wait(job_id)
    bench.wait(fresh)
    assert len(bench.control.ledger()) <= 10 + 3 + 10
    for name in ("answers", "anew"):
        bench.check(10, once=False, name=name)


def test_retry_of_one_code_leaves_the_others(bench: Bench) -> None:
    bench.control.faults({"name": "refusal", "count": 2}, {"name": "length", "skip": 4, "count": 1})
    job_id = bench.enrich(10)
    bench.control.faults()
    assert job_actions.retry(bench.database, job_id, "length") == 1
    bench.wait(job_id)
    assert [row[:2] for row in bench.sql("SELECT ai_status, count(*) FROM answers GROUP BY ALL ORDER BY ALL")] == [
        ("answered", 8),
        ("failed", 2),
    ]
    assert len(bench.control.ledger()) == 11


def test_retry_counts_its_attempts_anew(bench: Bench) -> None:
    bench.control.faults({"name": "line_error", "status": 500})
    job_id = bench.enrich(2, max_attempts=2)
    assert bench.job(job_id).failed == 2
    assert len(bench.control.ledger()) == 4
    job_actions.retry(bench.database, job_id)
    bench.wait(job_id)
    assert len(bench.control.ledger()) == 8
    bench.check_audit()


def test_retry_without_a_failure_says_so_and_changes_nothing(bench: Bench) -> None:
    job_id = bench.enrich(3)
    with pytest.raises(JobError, match="no request of job 1 failed"):
        job_actions.retry(bench.database, job_id)
    assert bench.job(job_id).status == "done"


def test_retry_of_an_unknown_code_names_those_there_are(bench: Bench) -> None:
    bench.control.faults({"name": "refusal", "count": 1})
    job_id = bench.enrich(3)
    with pytest.raises(JobError, match=r"with the code lenght; it has refusal \(1\)"):
        job_actions.retry(bench.database, job_id, "lenght")


def test_a_job_that_a_newer_one_has_followed_is_not_retried(bench: Bench) -> None:
    bench.control.faults({"name": "refusal", "count": 1})
    first = bench.enrich(3)
    second = bench.enrich(3, instructions="Say it again.")
    with pytest.raises(JobError, match=f"job {second} is the newest job for answers"):
        job_actions.retry(bench.database, first)


def test_a_cancelled_job_keeps_what_was_paid_for(bench: Bench) -> None:
    bench.control.faults({"name": "stuck_in_progress"})
    job_id = bench.begin(20)
    bench.sync(job_id)
    assert job_actions.cancel(bench.database, job_id)
    bench.control.faults()
    bench.wait(job_id)
    assert bench.job(job_id).status == "cancelled"
    assert [batch["status"] for batch in bench.control.batches()] in (["cancelled"], ["completed"])
    bench.check_audit()
    answered = bench.sql("SELECT count(*) FROM sqlbatch.results WHERE outcome = 'answered'")[0][0]
    before = len(bench.control.ledger())
    assert answered == before
    again = bench.enrich(20)
    assert len(bench.control.ledger()) == 20
    assert bench.job(again).status == "done"
    bench.check(20)


def test_a_cancel_does_not_stop_what_another_job_needs(bench: Bench) -> None:
    bench.control.faults({"name": "stuck_in_progress"})
    first = bench.begin(10, "first")
    bench.sync(first)
    second = bench.begin(numbered(6), "second")
    bench.sync(second)
    job_actions.cancel(bench.database, first)
    bench.sync(second)
    bench.control.faults()
    bench.wait(second)
    assert bench.control.calls("POST", "/v1/batches/") == 0
    assert bench.job(first).status == "cancelled"
    bench.check(6, name="second")
    assert len(bench.control.ledger()) == 10


def test_what_a_cancelled_job_only_planned_is_never_sent(bench: Bench) -> None:
    from sqlbatch.batches.plan import pack  # noqa: PLC0415 (planned, and nothing more)

    job_id = bench.begin(10)
    pack(bench.database, job_id, bench.provider)
    job_actions.cancel(bench.database, job_id)
    bench.wait(job_id)
    assert bench.control.ledger() == []
    assert bench.control.files() == []
    assert bench.of_state("abandoned") == 1
    bench.check_audit()


def test_cancelling_twice_does_no_harm_and_a_job_that_is_done_is_not_cancelled(bench: Bench) -> None:
    done = bench.enrich(2, "done")
    with pytest.raises(JobError, match="is done"):
        job_actions.cancel(bench.database, done)
    job_id = bench.begin(2, "other")
    assert job_actions.cancel(bench.database, job_id)
    assert not job_actions.cancel(bench.database, job_id)


def test_no_more_is_sent_than_was_quoted_though_answers_were_given_up_meanwhile(bench: Bench) -> None:
    bench.enrich(10)
    asked, options = bench.ask(12)
    with prepare.prepared(bench.database, asked, bench.provider, "more", **options) as ask:
        assert ask.quote.to_send == 2
        bench.sql("DELETE FROM sqlbatch.results; DELETE FROM sqlbatch.batch_requests; DELETE FROM sqlbatch.batches")
        with pytest.raises(
            JobError, match=r"2 requests were quoted, and 12 would be sent now.* run the same command again"
        ):
            prepare.start(bench.database, ask)
    assert bench.sql("SELECT count(*) FROM sqlbatch.jobs") == [(1,)]
    assert len(bench.control.ledger()) == 10

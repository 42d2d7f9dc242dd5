"""A thousand rows tell that the prompt is wrong; the other ninety thousand are paid for only if the user says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sqlbatch.errors import JobError
from sqlbatch.job import Job

if TYPE_CHECKING:
    from .bench import Bench

CREATE = "POST /v1/batches"


def begun(bench: Bench) -> tuple[Bench, int]:
    """Begin a job of two batches, of which most of the first is refused and the second cannot be made at once."""
    bench = bench.within(max_requests=1_000)
    job_id = bench.begin(2_000)
    bench.control.faults({"name": "refusal", "share": 0.7}, {"name": "error", "on": CREATE, "status": 429, "skip": 1})
    return bench, job_id


def test_a_job_whose_first_results_are_of_no_use_waits_for_its_user(bench: Bench) -> None:
    bench, job_id = begun(bench)
    with pytest.raises(JobError, match=r"of the first 1,000 results could be used.* sqlbatch wait 1 --keep-going"):
        bench.wait(job_id)
    bench.control.faults()
    sent = bench.control.calls("POST", "/v1/")
    with pytest.raises(JobError, match="sqlbatch wait 1 --keep-going"):
        bench.wait(job_id)
    bench.sync(job_id)
    job = bench.job(job_id)
    assert (job.status, job.blocked_code) == ("blocked", "failing")
    assert bench.control.calls("POST", "/v1/") == sent, "nothing more is sent"
    assert len(bench.control.ledger()) == 1_000
    bench.wait(job_id, keep_going=True)
    assert bench.job(job_id).status == "done"
    assert len(bench.control.ledger()) == 2_000


def test_who_goes_on_is_not_stopped_again_by_the_same_results(bench: Bench) -> None:
    bench = bench.within(max_requests=500)
    job_id = bench.begin(2_000)
    bench.control.faults({"name": "refusal"}, {"name": "error", "on": CREATE, "status": 429, "skip": 2})
    with pytest.raises(JobError, match="only 0 of the first 1,000"):
        bench.wait(job_id)
    bench.control.faults({"name": "refusal"})
    Job(bench.database, job_id).wait(keep_going=True)
    assert bench.job(job_id).failed == 2_000


def test_what_a_blocked_job_has_at_the_provider_is_still_loaded(bench: Bench) -> None:
    bench = bench.within(max_requests=1_000)
    job_id = bench.begin(3_000)
    bench.control.faults(
        {"name": "refusal", "share": 0.7},
        {"name": "stuck_in_progress", "skip": 1, "count": 1},
        {"name": "error", "on": CREATE, "status": 429, "skip": 2},
    )
    with pytest.raises(JobError, match="of the first 1,000"):
        bench.wait(job_id)
    # The third was refused for now: its uploaded file waits for the next try.
    assert (bench.of_state("loaded"), bench.of_state("open"), bench.of_state("planned")) == (1, 1, 1)
    bench.control.faults()
    bench.control.until_ended()
    with pytest.raises(JobError, match="of the first 1,000"):
        bench.wait(job_id)
    assert (bench.of_state("loaded"), bench.of_state("open")) == (2, 0)
    assert len(bench.control.ledger()) == 2_000
    bench.wait(job_id, keep_going=True)
    assert len(bench.control.ledger()) == 3_000


def test_a_provider_that_is_away_keeps_nobody_waiting_at_a_blocked_job(bench: Bench) -> None:
    bench, job_id = begun(bench)
    with pytest.raises(JobError):
        bench.wait(job_id)
    bench.control.faults({"name": "error", "on": "GET /v1/*", "status": 503})
    with pytest.raises(JobError, match="--keep-going"):
        bench.wait(job_id)
    bench.control.faults()


def test_results_that_another_job_loaded_are_judged_too(bench: Bench) -> None:
    bench = bench.within(max_requests=1_000)
    first = bench.begin(2_000)
    bench.control.faults({"name": "refusal"}, {"name": "error", "on": CREATE, "status": 429, "skip": 1})
    bench.sync(first)
    bench.control.until_ended()
    second = bench.begin("SELECT 'another' AS text", into="other")
    bench.sync(second)
    assert bench.of_state("loaded") == 1
    bench.control.faults()
    with pytest.raises(JobError, match="only 0 of the first 1,000"):
        bench.wait(first)
    assert bench.job(second).failing is None


def test_good_first_results_are_judged_once(bench: Bench) -> None:
    bench = bench.within(max_requests=1_000)
    job_id = bench.begin(2_000)
    # The second batch is made only after the first has been loaded: batches at the provider are answered side by side.
    bench.control.faults({"name": "error", "on": CREATE, "status": 429, "skip": 1})
    bench.sync(job_id)
    bench.control.until_ended()
    bench.sync(job_id)
    assert bench.of_state("loaded") == 1
    bench.control.faults({"name": "refusal"})
    bench.wait(job_id)
    assert (bench.job(job_id).status, bench.job(job_id).failing) == ("done", False)

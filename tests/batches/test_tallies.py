"""What was counted of a job is kept: it is never wrong, and a step of nothing to do counts nothing again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sqlbatch import job_actions
from sqlbatch.db import jobs

if TYPE_CHECKING:
    from .bench import Bench


def check_tally(bench: Bench, job_id: int) -> None:
    """Check a job's kept counts against the results themselves."""
    kept = jobs.tally(bench.database, job_id)
    settled, answered = bench.sql(f"""
        SELECT count(*), count(*) FILTER (outcome = 'answered')
        FROM sqlbatch.responses WHERE job_id = {job_id} AND settled
    """)[0]
    wanted = bench.sql(f"SELECT count(*) FROM sqlbatch.wanted WHERE job_id = {job_id}")[0][0]
    assert (kept.answered, kept.failed, kept.unsettled) == (answered, settled - answered, wanted - settled)
    # `settled` groups, where the counts are made by taking out what is answered.
    assert bench.sql(f"SELECT count(*) FROM sqlbatch.settled WHERE job_id = {job_id}") == [(settled,)]
    due = bench.sql(f"SELECT count(*) FROM sqlbatch.due WHERE job_id = {job_id}")[0][0]
    assert due == (kept.due if bench.job(job_id).open else 0)


def test_what_is_kept_is_what_would_be_counted_after_every_step_and_second_thought(bench: Bench) -> None:
    bench = bench.within(max_requests=4)
    bench.control.faults({"name": "refusal", "count": 2}, {"name": "line_error", "status": 500, "skip": 4, "count": 5})
    first = bench.begin(12, max_attempts=2)
    check_tally(bench, first)
    second = bench.begin(20, into="others", max_attempts=1)
    for _ in range(4):
        for job_id in (first, second):
            bench.sync(job_id)
            bench.control.until_ended()
            check_tally(bench, first)
            check_tally(bench, second)
    bench.wait(first)
    bench.wait(second)
    bench.control.faults()
    assert job_actions.retry(bench.database, first) == 2
    check_tally(bench, first)
    bench.wait(first)
    check_tally(bench, first)
    third = bench.begin(20, into="others", fresh=True)
    check_tally(bench, third)
    job_actions.cancel(bench.database, third)
    check_tally(bench, third)


@pytest.mark.parametrize("batches", [2, 3, 4])
def test_batches_that_change_together_are_counted_anew(bench: Bench, batches: int) -> None:
    bench = bench.within(max_requests=2)
    job_id = bench.begin(2 * batches)
    bench.control.faults({"name": "error", "on": "POST /v1/files", "status": 503})
    bench.sync(job_id)
    for state in ("fenced", "abandoned", "planned", "open", "abandoned"):
        bench.sql(f"UPDATE sqlbatch.batches SET state = '{state}'")
        check_tally(bench, job_id)
        assert jobs.tally(bench.database, job_id).due == (2 * batches if state == "abandoned" else 0)


def test_a_step_of_nothing_to_do_counts_nothing_and_writes_nothing(bench: Bench) -> None:
    bench.control.faults({"name": "stuck_in_progress"})
    job_id = bench.begin(5)
    bench.sync(job_id)
    bench.sync(job_id)
    ran = bench.blocks_of_a_step(job_id)
    assert "jobs.kept" in ran
    assert {"jobs.count", "jobs.keep", "plan.groups"} & set(ran) == set()
    assert bench.job(job_id).pending == 5

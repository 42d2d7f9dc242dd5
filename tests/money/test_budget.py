"""A budget is never passed: not by batches at once, not by answers as long as they may be, not by two processes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch import job_actions, run
from sqlbatch.batches.budget import allow
from sqlbatch.batches.plan import pack
from sqlbatch.config import max_cost as configured_max_cost
from sqlbatch.errors import JobError

if TYPE_CHECKING:
    from tests.batches.bench import Bench

OWN = "INSERT INTO sqlbatch.prices (model, input, output, batch_factor) VALUES ('offline', 2, 10, 0.5)"
# The texts are longer than the cap, so each answer is cut at it, and billed in full.
CAP = 12
TEXT = " of many, and a long one at that, longer than twelve tokens are"
ROWS = f"SELECT n, 'row ' || n || '{TEXT}' AS text FROM range({{}}) r(n)"
CAPPED: dict[str, Any] = {"params": (("max_completion_tokens", str(CAP)),)}


@pytest.fixture
def tight(bench: Bench) -> Bench:
    """Return a bench whose batches hold 5 requests each, at a known price."""
    bench = bench.within(max_requests=5)
    bench.enrich(1, "first")
    bench.sql(OWN)
    return bench


def unhurried(bench: Bench) -> Bench:
    """Return the same as `tight`, on a clock on which a lease outlasts an upload on a busy machine."""
    bench.monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "60")
    bench.monkeypatch.setenv("SQLBATCH_CLOCK_ORIGIN", str(time.time()))
    bench = bench.within(max_requests=5)
    bench.enrich(1, "first")
    bench.sql(OWN)
    return bench


def spent(bench: Bench, job_id: int) -> float:
    return float(bench.sql(f"SELECT coalesce(sum(dollars), 0) FROM sqlbatch.costs WHERE job_id = {job_id}")[0][0])


def most(bench: Bench, rows: int) -> float:
    """Return the most that so many rows may cost."""
    enrichment, options = bench.ask(ROWS.format(rows), **CAPPED)
    with run.prepared(bench.database, enrichment, bench.provider, "answers", **options) as ask:
        assert ask.quote.cost.dollars_largest is not None
        return ask.quote.cost.dollars_largest


def test_what_does_not_fit_is_held_until_more_is_allowed(tight: Bench) -> None:
    whole = most(tight, 60)
    budget = whole * 0.4
    job_id = tight.begin(ROWS.format(60), max_cost=budget, **CAPPED)
    with pytest.raises(JobError, match=rf"job {job_id} is blocked by its budget: .* wait {job_id} --max-cost N"):
        tight.wait(job_id)
    # Answers as long as the cap allows: all that was sent was billed at it.
    assert tight.sql(f"SELECT DISTINCT tokens_out FROM sqlbatch.costs WHERE job_id = {job_id}") == [(CAP,)]
    assert budget * 0.4 < spent(tight, job_id) <= budget
    job = tight.job(job_id)
    assert job.status == "blocked"
    assert 0 < job.pending < 60
    # Waiting again changes nothing, and a step of all jobs neither.
    with pytest.raises(JobError, match="budget"):
        tight.wait(job_id)
    tight.sync(job_id)
    assert spent(tight, job_id) <= budget
    tight.database.write(lambda session: allow(session, job_id, whole))
    tight.wait(job_id)
    assert tight.job(job_id).pending == 0
    assert tight.control.executed_twice() == []


def test_answers_that_were_paid_for_and_lost_count(tight: Bench) -> None:
    """Each answer is lost on its way: it counts as paid for, and a retry sends only what the budget still allows."""
    whole = most(tight, 20)
    tight.control.faults({"name": "missing_line"})
    job_id = tight.begin(ROWS.format(20), max_cost=1.6 * whole, max_attempts=3, **CAPPED)
    with pytest.raises(JobError, match="unreadable results"):
        tight.wait(job_id)
    assert tight.outcomes()[1:] == [("failed", "unreadable_results", 20)]
    tight.control.faults()
    job_actions.retry(tight.database, job_id)
    with pytest.raises(JobError, match="budget"):
        tight.wait(job_id)
    assert tight.sql(f"SELECT count(*) FROM sqlbatch.costs WHERE job_id = {job_id}") == [(10,)]
    tight.database.write(lambda session: allow(session, job_id, 3 * whole))
    tight.wait(job_id)
    per_request = tight.sql(f"SELECT max(dollars) FROM sqlbatch.costs WHERE job_id = {job_id}")[0][0]
    assert (20 + 10) * per_request <= 1.6 * whole


def test_threads_that_send_at_once_cannot_pass_it_together(bench: Bench) -> None:
    tight = unhurried(bench)
    budget = most(tight, 40) * 0.5
    job_id = tight.begin(ROWS.format(40), max_cost=budget, **CAPPED)
    reserved: list[float] = []

    def follow() -> None:
        try:
            for _ in run.run_job(tight.database, job_id):
                under_way = "state IN ('uploading', 'creating', 'open', 'ended')"
                sum_ = tight.sql(f"SELECT coalesce(sum(reserved), 0) FROM sqlbatch.batches WHERE job_id = {job_id} AND {under_way}")  # fmt: skip  # noqa: E501
                reserved.append(float(sum_[0][0]))
        except JobError:
            pass

    threads = [threading.Thread(target=follow) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < max(reserved) <= budget + 1e-12
    assert budget * 0.4 < spent(tight, job_id) <= budget


def test_two_processes_cannot_pass_it_together(cold_bench: Bench) -> None:
    bench = unhurried(cold_bench)
    budget = most(bench, 30) * 0.5
    job_id = bench.begin(ROWS.format(30), max_cost=budget, **CAPPED)
    # The other processes do not know of this bench's small batches, so they are planned here.
    assert pack(bench.database, job_id, bench.provider) == (6, 30)
    arguments = [sys.executable, "-m", "sqlbatch", "wait", str(job_id), "--db", str(bench.path)]
    both = [subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    told = [process.communicate(timeout=120)[1].decode() for process in both]
    assert [process.returncode for process in both] == [1, 1], told
    assert all("blocked by its budget" in text for text in told), told
    assert budget * 0.4 < spent(bench, job_id) <= budget
    assert bench.control.executed_twice() == []


def test_without_a_price_or_a_cap_a_budget_sends_nothing_and_says_why(bench: Bench) -> None:
    first = bench.begin(5, "uncapped", max_cost=1.0)
    with pytest.raises(JobError, match="no price is known for offline"):
        bench.wait(first)
    bench.sql(OWN)
    with pytest.raises(JobError, match="answers have no limit of tokens"):
        bench.wait(first)
    assert bench.control.batches() == []
    second = bench.begin(5, "unlimited")
    with pytest.raises(JobError, match=r"answers of job 2 have no limit of tokens, .* cancel it, and enrich with one"):
        bench.database.write(lambda session: allow(session, second, 1.0))
    bench.wait(second)


def test_a_job_without_a_budget_may_send_what_another_holds(tight: Bench) -> None:
    held = tight.begin(ROWS.format(10), "held", max_cost=0.000001, **CAPPED)
    with pytest.raises(JobError, match="budget"):
        tight.wait(held)
    free = tight.begin(ROWS.format(10), "free", **CAPPED)
    tight.wait(free)
    assert spent(tight, held) == 0
    assert spent(tight, free) > 0


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_is_a_sum_of_dollars(value: float) -> None:
    with pytest.raises(Exception, match="it must be a number of dollars above 0"):
        configured_max_cost(value)

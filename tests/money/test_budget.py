"""A budget is never passed: not by batches at once, not by answers as long as they may be, not by two processes."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch import job_actions, prepare, previews, run
from sqlbatch.batches import submit
from sqlbatch.batches.budget import allow
from sqlbatch.batches.context import StepContext
from sqlbatch.batches.plan import pack
from sqlbatch.config import max_cost as configured_max_cost
from sqlbatch.config import month_budget
from sqlbatch.connection import connect
from sqlbatch.db import prices
from sqlbatch.display.status import next_step
from sqlbatch.errors import InvalidSettings, JobError
from sqlbatch.leases import new_owner
from sqlbatch.query.endpoints import check_of

if TYPE_CHECKING:
    from tests.batches.bench import Bench
    from tests.conftest import Command

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
    with prepare.prepared(bench.database, enrichment, bench.provider, "answers", **options) as ask:
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


@pytest.mark.long
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


@pytest.mark.long
def test_two_processes_with_a_job_each_cannot_pass_the_budget_of_a_month_with_cache_writes_on(
    cold_bench: Bench,
) -> None:
    bench = unhurried(cold_bench)
    bench.sql("UPDATE sqlbatch.prices SET cache_write = 4 WHERE model = 'offline'")
    # The server says of each answer that all of its input was written to the cache.
    ((written,),) = bench.sql("SELECT min(tokens_in) FROM sqlbatch.results")
    at = "response.body.usage.prompt_tokens_details.cache_write_tokens"
    bench.control.faults({"name": "edit_line", "set": {at: written}})
    whole = most(bench, 15)
    ids = [bench.begin(ROWS.format(15).replace("row", into), into, **CAPPED) for into in ("one", "two")]
    assert [pack(bench.database, job_id, bench.provider)[0] for job_id in ids] == [3, 3]
    month = spent(bench, 1) + whole * 0.9
    Path("sqlbatch.toml").write_text(f"[budget]\nmonth = {month:.10f}\n")
    arguments = [[sys.executable, "-m", "sqlbatch", "wait", str(each), "--db", str(bench.path)] for each in ids]
    both = [subprocess.Popen(each, stderr=subprocess.PIPE, stdout=subprocess.PIPE) for each in arguments]
    told = [process.communicate(timeout=120)[1].decode() for process in both]
    assert 1 in {process.returncode for process in both}, told
    assert any("budget: [budget] month" in text for text in told), told
    assert bench.sql("SELECT DISTINCT tokens_cache_write FROM sqlbatch.costs WHERE job_id > 1") == [(written,)]
    assert month * 0.3 < bench.sql("SELECT sum(dollars) FROM sqlbatch.costs")[0][0] <= month
    assert bench.control.executed_twice() == []


def test_what_a_month_has_left_bounds_the_quote_the_preview_and_each_batch(tight: Bench, here: Command) -> None:
    whole = most(tight, 20)
    Path("sqlbatch.toml").write_text(f"[budget]\nmonth = {spent(tight, 1) + 1.5 * whole:.10f}\n")
    first = tight.enrich(ROWS.format(20), **CAPPED)
    month = tight.database.read(prices.month)
    assert month is not None
    assert (month.reserved, month.unpriced) == (0, 0)
    assert month.spent == pytest.approx(spent(tight, 1) + spent(tight, first))
    enrichment, options = tight.ask(ROWS.format(60), **CAPPED)
    with prepare.prepared(tight.database, enrichment, tight.provider, "more", **options) as ask:
        assert re.search(
            r"above the \$.* that are left of \[budget\] month = .* spent, .* reserved\)", ask.over() or ""
        )
        job_id = prepare.start(tight.database, ask)
    with previews.prepared(tight.database, replace(enrichment, limit=None), tight.provider, rows=100) as preview:
        assert "are left of [budget] month" in (preview.over() or "")
    # Whoever starts it all the same is held, and cron goes on in another month, or once there is room.
    with pytest.raises(JobError, match=r"blocked by its budget: \[budget\] month = .*, and the next batch may cost"):
        tight.wait(job_id)
    assert tight.database.read(prices.month).left >= 0  # type: ignore[union-attr]
    job = tight.job(job_id)
    assert job.paused_until == month.end
    assert "raise month under [budget]" in next_step(job)
    assert "blocked: budget: [budget] month" in here("show", str(job_id), "--db", str(tight.path)).out
    # What the job was quoted under holds also where no file is found.
    Path("sqlbatch.toml").unlink()
    with pytest.raises(JobError, match=r"\[budget\] month"):
        tight.wait(job_id)
    Path("sqlbatch.toml").write_text("[budget]\nmonth = 1000\n")
    tight.wait(job_id)
    assert tight.job(job_id).status == "done"


def test_results_without_a_price_leave_no_month_to_be_kept(tight: Bench) -> None:
    tight.sql("UPDATE sqlbatch.batches SET model = 'nameless'")
    Path("sqlbatch.toml").write_text("[budget]\nmonth = 10\n")
    enrichment, options = tight.ask(ROWS.format(20), **CAPPED)
    with prepare.prepared(tight.database, enrichment, tight.provider, "more", **options) as ask:
        assert re.match(
            r"\[budget\] month cannot be kept: 1 results of this month have no known price", ask.over() or ""
        )


@pytest.mark.parametrize(("text", "says"), [
    ("[budget]\nmonth = 0", "line 2: month 0: it must be a number above 0"),
    ("[budget]\nmonth = 'much'", "line 2: month must be a number"),
    ("[budget]\nmonht = 1", "line 2: unknown key monht in [budget]; did you mean month?"),
    ("budget = 3", "line 1: budget must be a table, such as [budget]"),
])  # fmt: skip
def test_a_budget_that_is_none_is_named_with_its_place(text: str, says: str, tmp_path: Path) -> None:
    Path("sqlbatch.toml").write_text(text)
    with pytest.raises(InvalidSettings, match=re.escape(says)):
        month_budget()
    Path("sqlbatch.toml").unlink()


def test_of_two_budgets_the_smaller_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    for theirs, mine in ((500, 20), (20, 500)):
        Path("sqlbatch.toml").write_text(f"[budget]\nmonth = {theirs}\n")
        (tmp_path / "own" / "sqlbatch.toml").write_text(f"[budget]\nmonth = {mine}\n")
        assert month_budget().value == 20  # type: ignore[union-attr]


def test_enqueued_tokens_are_checked_where_a_batch_is_claimed(tight: Bench) -> None:
    """Two processes find two batches ready that fit one at a time: the second claim leaves its batch where it is."""
    tight = tight.within(max_enqueued_tokens=10)
    job_id = tight.begin(ROWS.format(10))
    pack(tight.database, job_id, tight.provider)
    batch_ids = [row[0] for row in tight.sql("SELECT batch_id::VARCHAR FROM sqlbatch.batches WHERE state = 'planned'")]
    assert len(batch_ids) > 1
    with ExitStack() as stack:
        sent = []
        for batch_id in batch_ids[:2]:
            api = stack.enter_context(connect(tight.database, tight.provider))
            spool = tight.path.parent / "spool"
            spool.mkdir(exist_ok=True)
            context = StepContext(tight.database, api, tight.provider, job_id, new_owner(), spool, check_of)
            sent.append(submit.send(context, batch_id, lambda _: None))
    assert sent[0] is not None
    assert sent[1] is None
    assert tight.sql("SELECT count(*) FROM sqlbatch.batches WHERE state = 'open'") == [(1,)]


def test_without_a_price_or_a_cap_a_budget_sends_nothing_and_says_why(bench: Bench) -> None:
    first = bench.begin(5, "uncapped", max_cost=1.0)
    with pytest.raises(JobError, match="no price is known for offline"):
        bench.wait(first)
    bench.sql(OWN)
    with pytest.raises(JobError, match="answers have no token limit"):
        bench.wait(first)
    assert bench.control.batches() == []
    second = bench.begin(5, "unlimited")
    with pytest.raises(JobError, match=r"answers of job 2 have no token limit, .* cancel it, and enrich with one"):
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

"""A batch that never ends, or that the provider forgot, locks nothing up for good; what comes late is still loaded."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sqlbatch import clock, job_actions, run
from sqlbatch.batches.events import Waiting
from sqlbatch.errors import JobError

if TYPE_CHECKING:
    from .bench import Bench

CREATE = "POST /v1/batches"
STUCK = {"name": "stuck_in_progress", "count": 1}


def give_up(bench: Bench, job_id: int) -> None:
    job_actions.cancel(bench.database, job_id)
    bench.events[:] = list(job_actions.give_up(bench.database, job_id))


def later(monkeypatch: pytest.MonkeyPatch, **by: float) -> None:
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + timedelta(**by))


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (STUCK, r"has not finished 2\d hours after it was created"),
        ({"name": "batch_forgotten"}, r"does not know it any more \(404\)"),
    ],
    ids=["never ends", "forgotten"],
)
def test_a_batch_that_does_not_come_back_is_told_and_its_requests_can_be_freed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, fault: dict[str, object], told: str
) -> None:
    bench.control.faults(STUCK, fault)
    job_id = bench.begin(5)
    bench.sync(job_id)
    later(monkeypatch, hours=26)
    bench.sync(job_id)
    assert re.search(told, bench.notes)
    assert f"sqlbatch cancel {job_id} --give-up" in bench.notes
    give_up(bench, job_id)
    assert bench.of_state("abandoned") == 1
    bench.control.faults({"name": "stuck_cancelling"})
    bench.enrich(5)
    bench.check(5)


def test_a_result_that_appears_after_its_batch_was_given_up_is_loaded(bench: Bench) -> None:
    bench.control.faults({"name": "stuck_in_progress", "count": 1}, {"name": "error", "on": f"{CREATE}/*/cancel"})
    job_id = bench.begin(5)
    bench.sync(job_id)
    give_up(bench, job_id)
    bench.sync(job_id)
    assert bench.of_state("abandoned") == 1, "what still runs stays given up"
    bench.control.faults()
    bench.control.until_ended()
    bench.sync(job_id)
    bench.sync(job_id)
    assert bench.outcomes() == [("answered", None, 5)]
    bench.enrich(5)
    assert bench.control.calls("POST", "/v1/files") == 1, "nothing of it is sent again"
    bench.check(5)


@pytest.mark.parametrize("status", [404, 405])
def test_a_lost_create_at_a_provider_without_a_list_is_not_repeated_unasked(bench: Bench, status: int) -> None:
    bench.control.faults(
        {"name": "no_list", "status": status}, {"name": "drop_after", "on": CREATE, "count": 1}, {"name": "no_metadata"}
    )
    job_id = bench.begin(5)
    for _ in range(3):
        bench.sync(job_id)
    assert "has no list of batches to look it up in" in bench.held
    assert f"sqlbatch cancel {job_id} --give-up" in bench.held
    assert bench.control.calls("POST", "/v1/batches") == 1
    give_up(bench, job_id)
    bench.enrich(5)
    bench.check(5, once=False)


@pytest.mark.parametrize("envelope", ["object", "html"])
def test_a_list_that_does_not_come_is_told_with_what_it_is_needed_for(bench: Bench, envelope: str) -> None:
    bench.control.faults({"name": "drop_after", "on": CREATE, "count": 1})
    job_id = bench.begin(5)
    bench.sync(job_id)
    down = {"name": "error", "on": "GET /v1/batches", "status": 500, "envelope": envelope}
    bench.control.faults(down, {**down, "on": f"{CREATE}/*/cancel"})
    told = []
    for event in run.run_job(bench.database, job_id):
        told += [event.reason] if isinstance(event, Waiting) else []
        if len(told) == 2:
            break
    needed = "a create whose reply was lost made its batch; until then its 5 requests are not sent again"
    assert [needed in each for each in told] == [True, True]
    assert [f"sqlbatch cancel {job_id} --give-up lets them" in each for each in told] == [False, True]
    assert bench.control.calls("POST", "/v1/batches") == 1
    give_up(bench, job_id)
    bench.control.faults()
    bench.enrich(5)
    bench.check(5)


def test_a_job_that_is_done_has_nothing_to_give_up(bench: Bench) -> None:
    bench.enrich(2)
    with pytest.raises(JobError, match="nothing to cancel"):
        give_up(bench, 1)

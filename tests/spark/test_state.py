"""The state of drivers that are thrown away: killed anywhere, their disk lost, a job is executed once and is whole."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from sqlbatch import clock
from sqlbatch import spark as sqlbatch_spark
from sqlbatch.errors import DatabaseLocked, InvalidSettings, JobError
from sqlbatch.lake import mirror
from tests.batches.bench import LEASE

from .child import STATE_POINTS, run, start
from .conftest import QUERY

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import SparkBench

ROWS = 6


@pytest.fixture(autouse=True)
def _lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast the clock, a busy machine must not lose the lease."""
    monkeypatch.setattr(mirror, "LEASE", LEASE * clock.speed())


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return the shared folder."""
    return tmp_path / "state"


def rows_of(state: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query on the newest shared copy."""
    with duckdb.connect(str(sorted(state.glob("copy-*"))[-1]), read_only=True) as con:
        return con.execute(sql).fetchall()


@pytest.mark.parametrize("point", STATE_POINTS)
def test_a_driver_that_is_killed_with_its_disk_loses_no_answer(point: str, bench: SparkBench, state: Path) -> None:
    """The next driver goes on from the shared copy: the same enrich again, or coming back to the job."""
    asked = bench.asked(query=QUERY.format(rows=ROWS), db=None, state=state)
    killed = run(bench.address, asked, bench.path.with_name("said"), point)
    assert killed.code == -9, killed
    begun = bool(list(state.glob("copy-*"))) and rows_of(state, "SELECT count(*) FROM sqlbatch.jobs")[0][0] > 0
    assert begun == (point not in STATE_POINTS[:2])
    if begun:
        job = sqlbatch_spark.find(bench.spark, state=state).wait(poll=60)
    else:
        job = bench.enrich(rows=ROWS, db=None, state=state).wait(poll=60)
    assert job.status().status == "done"
    bench.check(ROWS)
    assert len(bench.control.ledger()) == ROWS
    assert rows_of(state, "FROM sqlbatch.audit WHERE NOT balanced") == []
    published = "SELECT rows, error FROM sqlbatch.publications WHERE published_at IS NOT NULL"
    assert rows_of(state, published) == [(ROWS, None)]
    assert bench.runs() == []
    # Who comes last in the folder leaves it free, and again sends nothing.
    assert bench.enrich(rows=ROWS, db=None, state=state).wait(poll=60).job_id > job.job_id
    assert len(bench.control.ledger()) == ROWS


def test_of_two_processes_with_one_state_one_asks_and_the_other_is_told_who_does(
    bench: SparkBench, state: Path, tmp_path: Path
) -> None:
    """Both are asked for the same at the same time; the other one's call works once the first is done."""
    asked = bench.asked(query=QUERY.format(rows=ROWS), db=None, state=state)
    bench.control.faults({"name": "stuck_in_progress", "seconds": 2.0})
    first = start(bench.address, asked, tmp_path / "first")
    until = time.monotonic() + 60
    while not list(state.glob("lease-*")):
        assert time.monotonic() < until, "no lease is taken"
        time.sleep(0.05)
    second = run(bench.address, asked, tmp_path / "second")
    assert second.code == 1
    assert f"DatabaseLocked: the state in {state} is used by process" in second.said.splitlines()[-1]
    assert first().code == 0
    bench.check(ROWS)
    assert len(bench.control.ledger()) == ROWS
    assert run(bench.address, asked, tmp_path / "third").code == 0
    assert len(bench.control.ledger()) == ROWS


def test_one_driver_at_a_time_has_the_state(bench: SparkBench, state: Path) -> None:
    with mirror.Mirror(state).held(), pytest.raises(DatabaseLocked, match="is used by process"):
        bench.enrich(db=None, state=state)
    assert bench.control.ledger() == []
    with pytest.raises(InvalidSettings, match="leave db= out"):
        bench.enrich(state=state)
    with pytest.raises(InvalidSettings, match="local provider"):
        bench.enrich(db=None, state=state, provider="local", model=None, base_url=None)
    with pytest.raises(JobError, match="there is no job"):
        sqlbatch_spark.find(bench.spark, state=state)

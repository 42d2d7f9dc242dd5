"""Copies of a state in a shared folder: the next driver sends nothing twice, and who lost the lease sends nothing."""

from __future__ import annotations

import fcntl
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sqlbatch import clock, run
from sqlbatch.batches.events import Submitted, Waiting
from sqlbatch.errors import DatabaseLocked, JobError
from sqlbatch.lake import mirror
from sqlbatch.lake.mirror import Mirror

from .bench import LEASE, numbered
from .test_given_up import later

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command, Ran

    from .bench import Bench


@pytest.fixture(autouse=True)
def _lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast the clock, a busy machine must not lose the lease."""
    monkeypatch.setattr(mirror, "LEASE", LEASE * clock.speed())


def test_who_has_lost_the_lease_sends_nothing_and_the_next_driver_nothing_twice(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first driver stops between two batches; what it had sent is found at the provider."""
    drivers = [Mirror(tmp_path / "state") for _ in range(2)]
    limited = bench.within(max_requests=2)
    first, second = (replace(limited, path=each.path) for each in drivers)
    with ExitStack() as stack:
        stack.enter_context(drivers[0].held())
        job_id = first.begin(6)
        database = first.database
        database.guard = drivers[0].guard
        for event in drivers[0].following(run.run_job(database, job_id, once=True)):
            if isinstance(event, Submitted):
                break
        with pytest.raises(DatabaseLocked, match="is used by process"), drivers[1].held():
            pass
        later(monkeypatch, seconds=2 * mirror.LEASE)
        with drivers[1].held():
            # The copy is from before the first batch was sent.
            second.wait(job_id)
            second.check(6)
        for _ in range(2):
            with pytest.raises(JobError, match="another driver has taken over"):
                drivers[0].push()
        sent = len(bench.control.batches())
        with pytest.raises(JobError, match="another driver has taken over"):
            list(run.run_job(database, first.begin(numbered(2, first=50), "more"), once=True))
        assert len(bench.control.batches()) == sent
        # Its end puts nothing into the folder: it raises what happened.
        with pytest.raises(JobError, match="another driver has taken over"):
            stack.close()
    third = Mirror(tmp_path / "state")
    with third.held():
        assert replace(limited, path=third.path).job(job_id).status == "done"
    assert len(list((tmp_path / "state").glob("copy-*"))) == 2


@pytest.mark.long
def test_a_driver_that_is_killed_after_a_batch_was_fenced_leaves_a_copy_that_says_so(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its input file, which is deleted then, would be taken for one that another key has uploaded."""
    drivers = [Mirror(tmp_path / "state") for _ in range(2)]
    first, second = (replace(bench, path=each.path) for each in drivers)
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(JobError, match="another driver has taken over"))
        stack.enter_context(drivers[0].held())
        bench.control.faults({"name": "drop_before", "on": "POST /v1/batches", "count": 1})
        job_id = first.begin(3)
        for event in drivers[0].following(run.run_job(first.database, job_id)):
            if isinstance(event, Waiting) and "in case it still appears" in event.reason:
                break
        later(monkeypatch, seconds=2 * mirror.LEASE)
        with drivers[1].held():
            second.wait(job_id)
            second.check(3)


def test_a_state_that_was_put_back_is_certain_and_one_of_an_interrupted_call_is_not(
    bench: Bench, tmp_path: Path
) -> None:
    """So the next driver waits for no grace after the one, and looks everything up after the other."""
    states = []
    for error in (None, KeyboardInterrupt):
        folder = tmp_path / f"state-{error}"
        driver = Mirror(folder)
        with ExitStack() as stack:
            if error is not None:
                stack.enter_context(pytest.raises(error))
            stack.enter_context(driver.held())
            mine = replace(bench, path=driver.path)
            job_id = mine.begin(2)
            steps = run.run_job(mine.database, job_id, once=True)
            next(event for event in driver.following(steps) if type(event).__name__ == "Packed")
            steps.close()  # type: ignore[attr-defined]
            if error is not None:
                raise error
        following = Mirror(folder)
        with following.held():
            states.append(replace(bench, path=following.path).sql("SELECT state FROM sqlbatch.batches"))
    assert states == [[("planned",)], [("creating",)]]


def test_commands_work_on_a_shared_state_and_put_back_what_they_changed(
    bench: Bench, here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each on a driver of its own: what one has sent, the next one loads."""

    def command(*arguments: str) -> Ran:
        monkeypatch.setattr(mirror, "_MIRRORS", {})
        return here(*arguments, "--state", "shared")

    asked = ["--instructions", "Repeat the text.", "--model", "offline", "--into", "answers", "--yes"]
    enrich = ["enrich", "SELECT unnest(['a', 'b']) AS text", *asked]
    assert command("jobs").error.startswith(f"there is no state in {tmp_path / 'shared'} yet")
    assert not (tmp_path / "shared").exists()
    begun = command(*enrich, "--base-url", bench.base_url, "--no-wait")
    assert begun.code == 0, begun.err
    assert f"sqlbatch wait 1 --state {tmp_path / 'shared'} follows it to its end" in begun.err
    copies = sorted((tmp_path / "shared").glob("copy-*"))
    listed = command("jobs", "--json")
    assert ('"status": "running"' in listed.out, sorted((tmp_path / "shared").glob("copy-*"))) == (True, copies)
    waited = command("wait", "--poll", "60")
    assert (waited.code, len(bench.control.ledger())) == (0, 2), waited.err
    assert "answers in" in waited.err
    with Mirror(tmp_path / "shared").held():
        assert "is used by process" in command(*enrich, "--base-url", bench.base_url).error
    assert command("jobs", "--db", "mine.duckdb").error.startswith("--state is where the database lies")
    assert "does not go with --provider local" in command(*enrich, "--provider", "local").error
    assert command("jobs").code == 0
    assert len(bench.control.ledger()) == 2


def test_the_copy_of_a_killed_driver_is_swept_from_its_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, alive = Mirror(tmp_path / "state"), Mirror(tmp_path / "state")
    assert killed._in_use is not None
    fcntl.flock(killed._in_use, fcntl.LOCK_UN)
    following = Mirror(tmp_path / "state")
    assert [one.path.parent.exists() for one in (killed, alive, following)] == [False, True, True]


def test_a_lease_that_ended_while_the_computer_slept_is_renewed_where_nobody_took_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Mirror(tmp_path / "state")
    with driver.held():
        later(monkeypatch, seconds=2 * mirror.LEASE)
        driver.guard()
        with pytest.raises(DatabaseLocked, match="is used by process"), Mirror(tmp_path / "state").held():
            pass

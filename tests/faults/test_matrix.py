"""A selection of the matrix of `python -m tests.faults`, quick enough for every run of the tests."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.long import one_of

from . import crashes, failures, long
from .ground import Disk, Ground, Row, ground

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of each command every so-many-th point is taken here; the failures are dealt out to so many tests.
EVERY_POINT, DEALT = 40, 8


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Run one server for all: every job has requests of its own."""
    with ground(tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture(autouse=True)
def _clean_environment(here: Ground) -> None:
    """Leave the environment as the ground has made it, clean and with one fast clock for all processes."""


def check(rows: list[Row]) -> None:
    """Check that nothing was paid twice and nothing lost."""
    assert rows
    assert [row for row in rows if not row.right] == []


@pytest.mark.parametrize("scenario", one_of(8, crashes.SCENARIOS), ids=lambda scenario: scenario.name)
def test_killed_at_a_point_and_started_again(here: Ground, scenario: crashes.Scenario) -> None:
    check(list(crashes.crashes(here, scenario, every=EVERY_POINT)))


@pytest.mark.long
@pytest.mark.parametrize(("disk", "name"), [(Disk.LOST, "enrich"), (Disk.KEPT, "the final join")])
def test_killed_with_its_state_in_a_shared_folder(
    disk: Disk, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """At some points; `python -m tests.faults --mirror` kills at all."""
    scenario = next(one for one in crashes.SCENARIOS if one.name == name)
    with ground(tmp_path_factory.mktemp("mirrored"), disk) as there:
        check(list(crashes.crashes(there, scenario, every=EVERY_POINT)))


@pytest.mark.parametrize("first", one_of(8, range(DEALT)))
def test_the_provider_fails(here: Ground, first: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    cases = [*failures.MODES, *failures.OUTCOMES][first::DEALT]
    check(list(failures.failures(here, cases)))


@pytest.mark.parametrize("stage", one_of(3, long.STAGES))
def test_the_disk_is_full(here: Ground, stage: str) -> None:
    trial = here.folder / "trial"
    trial.mkdir(exist_ok=True)
    if not long.may_mount(trial):
        pytest.skip("only root may mount a small disk")
    check([long.full_disk(here, stage)])


def test_a_disk_that_fills_while_the_rows_are_read_is_not_the_querys_fault(here: Ground) -> None:
    trial = here.folder / "trial"
    trial.mkdir(exist_ok=True)
    if not long.may_mount(trial):
        pytest.skip("only root may mount a small disk")
    bench = here.bench()
    with long.small_disk(trial):
        query = "SELECT n, repeat(md5(n::VARCHAR), 20) AS text FROM range(100000) r(n)"
        told = here.run(
            replace(bench, path=trial / "a.duckdb"), ["plan", query, "--instructions", "x", "--model", "offline"]
        )
    assert told.code == 1
    assert f"error: no space is left on the disk of {trial}; free some and run the same" in told.said


@pytest.mark.long
def test_a_job_of_20_batches_killed_at_random(here: Ground) -> None:
    check([long.killed_at_random(here, kills=8, hour=2.0)])


@pytest.mark.long
@pytest.mark.skipif(duckdb.__version__ < "2", reason="AI functions need DuckDB 2.0")
def test_a_plan_of_three_stages_killed_at_random(here: Ground) -> None:
    check([long.killed_at_random(here, kills=3, hour=0.3, stages=3, batches=6)])

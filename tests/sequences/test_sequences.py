"""Bugs live between commands: some orders of all of them, the same at each run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.ground import Ground, ground
from tests.long import one_of

from .machine import Commands

if TYPE_CHECKING:
    from collections.abc import Iterator

# Orders of so many commands, so many of each seed; `python -m tests.sequences --minutes N` tries others.
SEEDS, EXAMPLES, STEPS = (1, 2, 3), 5, 12


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Run one server for all: every order has requests of its own."""
    with ground(tmp_path_factory.mktemp("sequences")) as running:
        yield running


@pytest.fixture(autouse=True)
def _clean_environment(here: Ground) -> None:
    """Leave the environment as the ground has made it, clean and with one fast clock for all processes."""


def commands(here: Ground, seed: int) -> type[Commands]:
    """Return the machine at a place, with a seed of its own."""
    return hypothesis.seed(seed)(type("Commands", (Commands,), {"ground": here}))


@pytest.mark.parametrize("seed", one_of(3, SEEDS))
def test_in_any_order_nothing_is_lost_paid_twice_or_told_in_a_traceback(
    here: Ground, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    settings = hypothesis.settings(
        max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None, derandomize=False,
        phases=[hypothesis.Phase.generate], suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(commands(here, seed), settings=settings)

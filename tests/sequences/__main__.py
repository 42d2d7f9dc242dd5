"""Other orders than those of every run: `python -m tests.sequences --minutes N [--seed N]`; a failing one is shrunk."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import traceback
from pathlib import Path

import hypothesis
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.ground import ground

from .test_sequences import commands


def main() -> int:
    """Try orders of commands for some minutes, print those that fail, and return 1 where any does."""
    parser = argparse.ArgumentParser(prog="python -m tests.sequences")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--shrink", action="store_true", help="look for the shortest order that fails, too")
    options = parser.parse_args()
    logging.disable()
    phases = [hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if options.shrink else [])]
    settings = hypothesis.settings(
        max_examples=4, stateful_step_count=16, deadline=None, database=None, derandomize=False, phases=phases,
        suppress_health_check=list(hypothesis.HealthCheck), report_multiple_bugs=False,
    )  # fmt: skip
    until, seed, failed = time.monotonic() + 60 * options.minutes, options.seed, 0
    with tempfile.TemporaryDirectory() as folder, ground(Path(folder) / "ground") as here:
        while time.monotonic() < until:
            try:
                run_state_machine_as_test(commands(here, seed), settings=settings)
            except Exception:  # noqa: BLE001 (whatever a command does wrong)
                failed += 1
                sys.stdout.write(f"== seed {seed}\n{traceback.format_exc()}\n")
                sys.stdout.flush()
            seed += 1
    sys.stdout.write(f"{seed - options.seed} seeds from {options.seed}, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

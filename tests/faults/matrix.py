"""The parts of the matrix, each with a server of its own, as rows of JSON."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from . import crashes, failures, long
from .ground import Ground, Row, ground

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where files are in memory, a commit need not wait for the disk; for a process that is killed it is all the same.
_MEMORY = Path("/dev/shm")  # noqa: S108
_MODES, _OUTCOMES, _LONG, _DISK = "failure modes", "outcomes", "a job of 20 batches", "disk full"
_PLAN = "a plan of 3 stages"


def parts() -> list[str]:
    """Return the parts by their names, the longest first where two run at a time."""
    return [*(scenario.name for scenario in crashes.SCENARIOS), _LONG, _PLAN, _DISK, _MODES, _OUTCOMES]


def play(part: str) -> int:
    """Act one part out and print its rows."""
    # What the server says of the connections that it was told to drop is no news.
    logging.disable()
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder, ground(Path(folder) / "ground") as here:
        for row in _rows(here, part):
            sys.stdout.write(json.dumps(asdict(row)) + "\n")
            sys.stdout.flush()
    return 0


def _rows(here: Ground, part: str) -> Iterator[Row]:
    if part == _MODES:
        yield from failures.failures(here, failures.MODES)
    elif part == _OUTCOMES:
        yield from failures.failures(here, failures.OUTCOMES)
    elif part == _LONG:
        yield long.killed_at_random(here)
    elif part == _PLAN:
        yield long.killed_at_random(here, hour=long.HOUR / 3, stages=3)
    elif part == _DISK:
        yield from _disks(here)
    else:
        yield from crashes.crashes(here, next(one for one in crashes.SCENARIOS if one.name == part))


def _disks(here: Ground) -> Iterator[Row]:
    trial = here.folder / "trial"
    trial.mkdir()
    if not long.may_mount(trial):
        yield Row("disk full", "skipped: only root may mount a small disk", 0, 0, 0)
        return
    for stage in long.STAGES:
        try:
            yield long.full_disk(here, stage)
        except AssertionError as error:
            yield Row(f"disk full while {stage}", "", 0, 0, 0, str(error).partition("\n")[0])

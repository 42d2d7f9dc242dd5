"""The parts of the matrix, each with a server of its own, as rows of JSON."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import crashes, failures, long
from .ground import Disk, Ground, Row, ground

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where files are in memory, a commit need not wait for the disk; for a process that is killed it is all the same.
_MEMORY = Path("/dev/shm")  # noqa: S108
_MODES, _OUTCOMES, _LONG, _DISK = "failure modes", "outcomes", "a job of 20 batches", "disk full"
_PLAN = "a plan of 3 stages"
# How the names of parts begin whose processes have a mirrored state, by what becomes of a killed one's disk. Where no
# process is killed there is nothing to go on from: the failures of the provider and the full disk are the same there.
_MIRRORED = {f"mirror, {disk.value}: ": disk for disk in (Disk.LOST, Disk.KEPT)}

# A job that was only committed on the killed process's own disk is not there for the next one: enrich is run again.
_NEVER_SHARED = frozenset({"sync, a job just begun"})


def parts() -> list[str]:
    """Return the parts by their names, the longest first where two run at a time."""
    return [*_killed(), _DISK, _MODES, _OUTCOMES]


def mirrored_parts() -> list[str]:
    """Return the parts whose processes have a mirrored state."""
    return [f"{begin}{part}" for begin in _MIRRORED for part in _killed() if part not in _NEVER_SHARED]


def plain(part: str) -> str:
    """Return a part's name without what says that it is mirrored."""
    return next((part.removeprefix(begin) for begin in _MIRRORED if part.startswith(begin)), part)


def _killed() -> list[str]:
    return [*(scenario.name for scenario in crashes.SCENARIOS), _LONG, _PLAN]


def play(part: str) -> int:
    """Act one part out and print its rows."""
    # What the server says of the connections that it was told to drop is no news.
    logging.disable()
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    begin = next((each for each in _MIRRORED if part.startswith(each)), "")
    with (
        tempfile.TemporaryDirectory(dir=memory) as folder,
        ground(Path(folder) / "ground", _MIRRORED.get(begin)) as here,
    ):
        for row in _rows(here, plain(part)):
            sys.stdout.write(json.dumps(asdict(replace(row, point=begin + row.point))) + "\n")
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

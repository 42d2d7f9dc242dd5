"""A job of 20 batches and an hour, and a plan of three stages, killed at random 50 times; a disk that is full."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .crashes import begun, right
from .ground import Row, account

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from . import child
    from .ground import Ground

KILLS, BATCHES, PER_BATCH = 50, 20, 5
# Real seconds that each batch stands still: an hour of the clock at 240 times its speed.
HOUR, LONG_SPEED = 15.0, "240"


def killed_at_random(
    ground: Ground, kills: int = KILLS, hour: float = HOUR, *, stages: int = 0, batches: int = BATCHES
) -> Row:
    """Kill a job of 20 batches at random moments while the provider takes an hour for them; then let it end.

    With `stages` it is a plan of calls of AI functions, each over the answer of the one before, in as many batches.
    """
    bench = ground.bench()
    rows = batches * PER_BATCH // max(stages, 1)
    requests = rows * max(stages, 1)
    variables = {**ground.variables, "SQLBATCH_CLOCK_SPEED": LONG_SPEED, "SQLBATCH_CLOCK_ORIGIN": str(time.time())}
    bench.control.faults(
        {"name": "stuck_in_progress", "seconds": hour, "count": BATCHES},
        {"name": "line_error", "status": 503, "count": 7},
    )
    query = f"SELECT n, '{bench.path.parent.name} row ' || n AS text FROM range({rows}) r(n)"
    asked = ["--input", "text", "--instructions", "Repeat the text."]
    if stages:
        call = "text"
        for stage in range(stages):
            call = f"ai_complete({call}, 'Repeat the text ({stage}).')"
        query, asked = f"SELECT text, {call} AS response FROM ({query})", []
    first = [
        "enrich", query, *asked, "--model", "offline", "--base-url", bench.base_url, "--into", "answers", "--yes",
        "--poll", "60",
    ]  # fmt: skip
    again = ["wait", "--poll", "60"]
    chance = random.Random(4)  # noqa: S311 (repeatable on purpose)
    limits = {"max_requests": PER_BATCH}

    def run(arguments: list[str], **how: Any) -> child.Ended:
        return ground.run(bench, arguments, variables=variables, limits=limits, **how)

    if stages:
        # On a slow machine every kill might fall before there is a job.
        right(run([*first, "--no-wait"]))
    killed, began = 0, time.monotonic()
    for _ in range(4 * kills):
        if killed == kills:
            break
        # Half of the kills fall while something is done, half while the provider is waited for.
        at = chance.randint(1, 40) if chance.random() < 0.5 else None
        after = chance.uniform(0.2, 0.5) if at is None else 1.0
        ended = run(again if begun(bench) else first, kill_at=at, kill_after=after)
        if ended.code != -9:
            break
        killed += 1
    took = (time.monotonic() - began) * float(LONG_SPEED) / 60
    # On a slow machine every kill may fall before there is a job.
    last = again if begun(bench) else first
    right(run(last))
    minutes = (time.monotonic() - began) * float(LONG_SPEED) / 60
    executed, twice, lost, problem = account(bench, rows)
    made = bench.sql("SELECT count(*) FROM sqlbatch.batches")[0][0]
    bench.control.faults()
    if killed < kills:
        problem = problem or f"killed {killed} times only, in {took:.0f} minutes"
    if executed != requests + 7:
        problem = problem or f"{executed} executed, not {requests + 7}"
    done = f"killed {killed} times, {made} batches, {minutes:.0f} minutes of its clock; 7 lines failed once"
    named = f"a plan of {stages} stages" if stages else f"a job of {BATCHES} batches"
    return Row(named, done, executed, twice, lost, problem)


STAGES = {
    "packing": "after the commit of compile.store_asks",
    "writing the request file": "after the commit of submit.claim",
    "downloading": "before GET /v1/files/*/content",
    "loading": "before GET /v1/files/*/content",
}
_DISK_ROWS, _DISK = 3_000, 24
_COMMIT = 65_536


def full_disk(ground: Ground, stage: str) -> Row:
    """Bring a job to a stage, fill its disk, see what it says, make room, and see it to its end."""
    bench = ground.bench()
    bench.control.faults()
    name = f"disk full while {stage}"
    disk = bench.path.parent / "disk"
    disk.mkdir()
    own = bench.path.parent.name
    bench = replace(bench, path=disk / "a.duckdb")
    with small_disk(disk):
        query = f"SELECT n, '{own} row ' || n || repeat(' x', 200) AS text FROM range({_DISK_ROWS}) r(n)"
        arguments = [
            "enrich", query, "--input", "text", "--instructions", "Repeat the text.", "--model", "offline",
            "--base-url", bench.base_url, "--into", "answers", "--yes", "--poll", "60",
        ]  # fmt: skip
        ended = ground.run(bench, arguments, kill_at=STAGES[stage])
        assert ended.code == -9, f"it did not come to {stage}"
        if stage in {"downloading", "loading"}:
            bench.control.until_ended()
        ballast = disk / "ballast"
        # For the load to be what fails, the download must find room.
        spared = bench.control.batches()[0] if stage == "loading" else {}
        room = next(
            (
                file["bytes"]
                for file in bench.control.files("batch_output")
                if file["id"] == spared.get("output_file_id")
            ),
            0,
        )
        _fill(ballast, room)
        full = ground.run(bench, ["wait", "--poll", "60"], kill_at=None)
        errors = [line for line in full.said.splitlines() if line.startswith("error: ")]
        ballast.unlink()
        right(ground.run(bench, ["wait", "--poll", "60"]))
        executed, twice, lost, problem = account(bench, _DISK_ROWS, untyped=False)
    if full.code != 1 or len(errors) != 1 or "Traceback" in full.said:
        problem = problem or f"exit code {full.code}: {full.said.strip()[-300:]!r}"
    if executed != _DISK_ROWS:
        problem = problem or f"{executed} executed, not {_DISK_ROWS}"
    return Row(name, "one error, room made, wait", executed, twice, lost, problem)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a disk of a few megabytes on a folder for the block."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(path: Path, room: int) -> None:
    """Write until the disk takes no more but `room` bytes and a little for a commit."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as out:
        while out.write(b"\0" * 4096):
            pass
    if room:
        os.truncate(path, path.stat().st_size - room - _COMMIT)


def may_mount(folder: Path) -> bool:
    """Whether this process may mount a small disk."""
    try:
        with small_disk(folder):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False

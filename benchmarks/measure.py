"""Time, CPU and peak memory of a contender in a process of its own."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """Seconds on the clock, seconds of CPU (user and system, with its children), and peak memory in MB."""

    seconds: float
    cpu: float
    peak: float

    def __str__(self) -> str:
        return f"{self.seconds:8.1f} s {self.cpu:8.1f} s CPU {self.peak:7,.0f} MB"


def call(function: str, *arguments: Path | int, **environment: str) -> Measured:
    """Call `module.function` of this package with paths and numbers in a new process, measured whole, imports included.

    What only makes the ground is called so too: a process begins with the peak of memory of the one that starts it.
    """
    module, _, name = function.rpartition(".")
    given = ", ".join(repr(each) if isinstance(each, int) else f"Path({str(each)!r})" for each in arguments)
    code = f"from pathlib import Path; from benchmarks.{module} import {name}; {name}({given})"
    return command([sys.executable, "-c", code], **environment)


def median(runs: int, function: str, *arguments: Path | int, **environment: str) -> Measured:
    """Call a function so many times, each in a new process, and return the median of each figure."""
    found = [call(function, *arguments, **environment) for _ in range(runs)]
    return Measured(*(statistics.median(getattr(one, of) for one in found) for of in ("seconds", "cpu", "peak")))


def command(arguments: list[str], **environment: str) -> Measured:
    """Run a command to its end and measure it; raise RuntimeError where it fails."""
    os.sync()
    begun = time.perf_counter()
    process = subprocess.Popen(arguments, env=os.environ | environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
    return Measured(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""A process that asks about Spark's rows and is killed at a point of its way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PRELOAD = ["sqlbatch.spark", "sqlbatch.batches.client", "sqlbatch.batches.step", "pandas", "pyspark.sql.connect.session"]
# Seconds after which a process that neither ends nor dies is a mistake.
_PATIENCE = 90
# The calls that a process passes on its way from the query to the table, in their order.
CALLS = ("keep", "start", "upload", "create", "load", "share", "publish", "drop")
POINTS = tuple(f"{when} {call}" for call in CALLS for when in ("before", "after"))


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: the signal), and what it said."""

    code: int
    said: str


def run(work: Callable[[Any], object], address: str, environment: dict[str, str], said: Path, kill_at: str) -> Ended:
    """Do some work on a Spark session in a process of its own, killed at a point ('': not)."""
    return start(work, address, environment, said, kill_at)()


def start(
    work: Callable[[Any], object], address: str, environment: dict[str, str], said: Path, kill_at: str
) -> Callable[[], Ended]:
    """Start such a process; return what waits for its end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    process = context.Process(target=_main, args=(work, address, environment, said, kill_at))
    process.start()

    def end() -> Ended:
        process.join(_PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise AssertionError(f"the process did not end: {said.read_text()}")
        code = process.exitcode
        process.close()
        return Ended(code, said.read_text() if said.exists() else "")

    return end


def _main(work: Callable[[Any], object], address: str, environment: dict[str, str], said: Path, kill_at: str) -> None:
    os.environ.update(environment)
    with said.open("w", buffering=1) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    warnings.simplefilter("ignore")
    _watch(kill_at)
    from pyspark.sql import SparkSession  # noqa: PLC0415

    work(SparkSession.builder.remote(address).create())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _watch(kill_at: str) -> None:
    from sqlbatch import run as runs  # noqa: PLC0415
    from sqlbatch.batches import results  # noqa: PLC0415
    from sqlbatch.batches.client import BatchAPI  # noqa: PLC0415
    from sqlbatch.lake import engine  # noqa: PLC0415
    from sqlbatch.lake.spark import Spark  # noqa: PLC0415

    places: dict[str, tuple[Any, str]] = {
        "keep": (Spark, "keep"),
        "start": (runs, "start"),
        "upload": (BatchAPI, "upload"),
        "create": (BatchAPI, "create"),
        "load": (results, "load_ended"),
        "share": (engine, "_share"),
        "publish": (Spark, "publish"),
        "drop": (engine, "_drop_spent"),
    }
    assert tuple(places) == CALLS
    for call, (where, name) in places.items():
        setattr(where, name, _passing(call, getattr(where, name), kill_at))


def _passing(call: str, function: Callable[..., Any], kill_at: str) -> Callable[..., Any]:
    def called(*given: Any, **named: Any) -> Any:
        if kill_at == f"before {call}":
            os.kill(os.getpid(), signal.SIGKILL)
        returned = function(*given, **named)
        if call == "load":
            # A generator: what it loads is committed as it is read.
            returned = list(returned)
        if kill_at == f"after {call}" and (call != "load" or returned):
            os.kill(os.getpid(), signal.SIGKILL)
        return returned

    return called

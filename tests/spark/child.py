"""A process that asks about Spark's rows and is killed at a point of its way: forked from one that has imported all."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.batches.bench import LEASE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PRELOAD = ["tests.spark.sessions", "sqlbatch.spark", "sqlbatch.batches.client", "sqlbatch.batches.step"]

# Seconds after which a process that neither ends nor dies is a mistake.
_PATIENCE = 90
# The calls that a process passes on its way from the query to the table, in their order.
CALLS = ("keep", "start", "upload", "create", "load", "share", "publish", "drop")
# Where the driver's disk is lost with it: before and after what is sent, and what is put into the shared folder. The
# first two are before the job is in it.
STATE_POINTS = (
    "before push", "after start", "before create", "after create", "after load", "during publish", "before drop",
)  # fmt: skip
POINTS = (*(f"{when} {call}" for call in CALLS for when in ("before", "after")), "during publish")
# Seconds after which a process is killed while Spark writes, and goes on with it.
_DURING = 0.1


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: the signal), and what it said."""

    code: int
    said: str


def run(address: str, asked: dict[str, Any], said: Path, kill_at: str = "", **environment: str) -> Ended:
    """Enrich and wait in a process of its own, killed at a point ('': not); `asked` are the arguments of `enrich`."""
    return start(address, asked, said, kill_at, **environment)()


def start(
    address: str, asked: dict[str, Any], said: Path, kill_at: str = "", **environment: str
) -> Callable[[], Ended]:
    """Start such a process; return what waits for its end. What it says goes to the file `said`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    variables = {name: value for name, value in os.environ.items() if name.startswith(("OPENAI_", "SQLBATCH_"))}
    process = context.Process(target=_main, args=(address, asked, said, kill_at, variables | environment))
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


def _watch(kill_at: str) -> None:
    from sqlbatch import clock, prepare  # noqa: PLC0415
    from sqlbatch.batches import results, submit  # noqa: PLC0415
    from sqlbatch.batches.client import BatchAPI  # noqa: PLC0415
    from sqlbatch.lake import engine_target, mirror  # noqa: PLC0415
    from sqlbatch.lake.spark import Spark  # noqa: PLC0415

    # However fast the clock, a busy machine must not lose a lease between two calls.
    submit.UPLOAD_LEASE, submit.CREATE_LEASE = 2 * LEASE * clock.speed(), LEASE * clock.speed()
    places: dict[str, tuple[Any, str]] = {
        "keep": (Spark, "keep"),
        "start": (prepare, "start"),
        "upload": (BatchAPI, "upload"),
        "create": (BatchAPI, "create"),
        "load": (results, "load_ended"),
        "share": (engine_target, "share"),
        "publish": (Spark, "publish"),
        "drop": (engine_target, "_drop_spent"),
    }
    assert tuple(places) == CALLS
    places["push"] = (mirror.Mirror, "push")
    mirror.LEASE = LEASE * clock.speed()
    for call, (where, name) in places.items():
        setattr(where, name, _passing(call, getattr(where, name), kill_at))


def _passing(call: str, function: Callable[..., Any], kill_at: str) -> Callable[..., Any]:
    def called(*given: Any, **named: Any) -> Any:
        if kill_at == f"before {call}":
            os.kill(os.getpid(), signal.SIGKILL)
        if kill_at == f"during {call}":
            threading.Timer(_DURING, os.kill, (os.getpid(), signal.SIGKILL)).start()
        returned = function(*given, **named)
        if kill_at == f"during {call}":
            time.sleep(_PATIENCE)
        if call == "load":
            # A generator: what it loads is committed as it is read.
            returned = list(returned)
        if kill_at == f"after {call}" and (call != "load" or returned):
            os.kill(os.getpid(), signal.SIGKILL)
        return returned

    return called


def _main(address: str, asked: dict[str, Any], said: Path, kill_at: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    with said.open("w", buffering=1) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    _watch(kill_at)
    from sqlbatch import spark  # noqa: PLC0415

    from .sessions import session_of  # noqa: PLC0415

    spark.enrich(session_of(address), **asked, yes=True).wait(poll=60)
    sys.stderr.flush()
    os._exit(0)

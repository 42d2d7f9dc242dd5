"""A real `sqlbatch` process that is killed at one of its points: made by fork from a process that has all imported."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import socket
import sys
import threading
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PRELOAD = ["tests.faults.preloaded", __name__]
# Seconds after which a process that neither ends nor dies is a mistake; one that copies its state may take longer.
_PATIENCE, _PATIENCE_MIRRORED = 60, 300
# Real seconds that a lease lasts at least, however fast the clock.
_LEASE = 60.0
# A point that comes again and again (a look at a batch) is a point of its own so many times.
_OCCASIONS = 2
# What changes the database for good; what DuckDB keeps for the connection only does not.
WRITES = re.compile(
    r"^\s*(--[^\n]*\n\s*)*(INSERT|UPDATE|DELETE|DROP|ALTER|COMMENT|CREATE(?!( OR REPLACE)? TEMP)"
    r"|WITH\b[\s\S]*?\n(INSERT|UPDATE|DELETE)\b)",
    re.I,
)


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: the signal), the last point it passed, what it said.

    `points` are those it passed, in their order.
    """

    code: int
    point: str
    said: str
    points: tuple[str, ...] = ()


class Points:
    """Names the points of a process as it passes them, and kills it at one: by its number, or by its name."""

    def __init__(self, kill_at: int | str | None, trace: Path) -> None:
        self._kill_at = kill_at
        self._trace = trace
        self._passed = 0
        self._times: Counter[str] = Counter()
        self._lock = threading.Lock()

    def passed(self, name: str, at_most: int = _OCCASIONS) -> None:
        """Pass a point, or die at it."""
        with self._lock:
            self._times[name] += 1
            if self._times[name] > at_most:
                return
            named = name if self._times[name] == 1 else f"{name}, again"
            self._passed += 1
            with self._trace.open("a") as out:
                out.write(f"{named}\n")
            if self._kill_at in {self._passed, named}:
                os.kill(os.getpid(), signal.SIGKILL)


def run(
    arguments: list[str],
    environment: dict[str, str],
    folder: Path,
    *,
    kill_at: int | str | None = None,
    limits: dict[str, Any] | None = None,
    keep_open: str | None = None,
    host: str | None = None,
) -> Ended:
    """Run `sqlbatch ARGUMENTS` in a process of its own, killed at the point of that number or name.

    `limits` are the provider's, in the place of OpenAI's own; besides them `first_results`, by how many a job is
    judged, `patience`, for how many seconds a lock is tried again at once, and `sleeps`, how often the computer sleeps
    past its lease right after it is committed. A database file that is `keep_open` is opened once and not for each
    step, which takes a fifth of the time. `host` is the name of the computer that it takes itself to be on.
    """
    return start(arguments, environment, folder, kill_at=kill_at, limits=limits, keep_open=keep_open, host=host)()


def start(
    arguments: list[str],
    environment: dict[str, str],
    folder: Path,
    *,
    kill_at: int | str | None = None,
    limits: dict[str, Any] | None = None,
    kill_after: float | None = None,
    keep_open: str | None = None,
    host: str | None = None,
) -> Callable[[], Ended]:
    """Start such a process; return what waits for its end. With `kill_after` it is killed after so many seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    name = os.urandom(4).hex()
    trace, said = folder / f"{name}.point", folder / f"{name}.said"
    process = context.Process(
        target=_main, args=(arguments, environment, kill_at, trace, said, limits or {}, keep_open, host)
    )
    process.start()

    def end() -> Ended:
        patience = _PATIENCE if host is None else _PATIENCE_MIRRORED
        process.join(patience if kill_after is None else kill_after)
        if process.exitcode is None:
            process.kill()
            process.join()
            if kill_after is None:
                raise AssertionError(f"sqlbatch {arguments[0]} did not end: {said.read_text()}")
        code = process.exitcode
        process.close()
        points = trace.read_text().splitlines() if trace.exists() else []
        return Ended(
            -9 if code is None else code,
            points[-1] if points else "",
            said.read_text() if said.exists() else "",
            tuple(points),
        )

    return end


def _main(
    arguments: list[str],
    environment: dict[str, str],
    kill_at: int | str | None,
    trace: Path,
    said: Path,
    limits: dict[str, Any],
    keep_open: str | None,
    host: str | None,
) -> None:
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "SQLBATCH_"))]:
        del os.environ[name]
    os.environ.update(environment)
    os.chdir(trace.parent)
    with said.open("w", buffering=1) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    points = Points(kill_at, trace)
    _watch(points)
    if "--state" in arguments:
        _watch_mirror(points)
    if host is not None:
        socket.gethostname = lambda: host
    import duckdb  # noqa: PLC0415

    from sqlbatch.batches import providers  # noqa: PLC0415
    from sqlbatch.cli import main  # noqa: PLC0415

    _bend(limits)
    providers.KNOWN["openai"] = replace(providers.KNOWN["openai"], **limits)
    kept = duckdb.connect(keep_open) if keep_open else None
    if kept is not None:
        # A handful of rows takes longer to deal out to threads than to work on.
        kept.execute("SET threads = 1")
    code = main(arguments)
    if kept is not None:
        kept.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _bend(limits: dict[str, Any]) -> None:
    """Take what is no provider's limit out of the limits, and bend the code by it; give leases real time."""
    from sqlbatch import clock  # noqa: PLC0415
    from sqlbatch.batches import step, submit  # noqa: PLC0415
    from sqlbatch.db import database  # noqa: PLC0415

    # A busy machine must not lose a lease between two calls; that of a process that was killed ends with it anyway.
    # They differ, for it is the lease on the create that one sleeps past.
    submit.UPLOAD_LEASE = max(submit.UPLOAD_LEASE, 2 * _LEASE * clock.speed())
    submit.CREATE_LEASE = max(submit.CREATE_LEASE, _LEASE * clock.speed())
    database.LOCK_PATIENCE = limits.pop("patience", database.LOCK_PATIENCE)
    step.FIRST_RESULTS = limits.pop("first_results", step.FIRST_RESULTS)
    sleeps, after = limits.pop("sleeps", 0), clock.after
    slept: list[float] = []

    def sleeping(seconds: float) -> Any:
        if seconds == submit.CREATE_LEASE and len(slept) < sleeps:
            slept.append(seconds)
            return after(0.0)
        return after(seconds)

    clock.after = sleeping


def _watch(points: Points) -> None:
    """Make points of the code's own calls, so that a new step has its points without anybody naming them.

    Every statement of a transaction that changes the database, every commit (before and after), every HTTP exchange
    (before and after, where it changes something or brings a file), every file written and every file deleted.
    """
    _watch_database(points)
    _watch_network(points)
    _watch_files(points)


def _watch_database(points: Points) -> None:
    from sqlbatch.db.session import Session  # noqa: PLC0415

    sql = Session.sql
    here = threading.local()

    def doing(session: Session, text: str, params: Any = None, name: str | None = None) -> Any:
        if text == "COMMIT":
            commit = f"the commit of {here.last or 'what was read'}"
            if here.last:
                points.passed(f"before {commit}")
            done = sql(session, text, params, name)
            here.inside = False
            if here.last:
                points.passed(f"after {commit}")
            return done
        done = sql(session, text, params, name)
        if text == "BEGIN TRANSACTION":
            here.inside, here.last = True, None
        elif getattr(here, "inside", False) and WRITES.match(text):
            # Before a further statement: the point after the last one is the one before the commit.
            if here.last:
                points.passed(f"in the transaction, after {here.last}", 1)
            here.last = name or "a migration"
        return done

    Session.sql = doing  # type: ignore[method-assign, assignment]


def _watch_network(points: Points) -> None:
    import httpx2  # noqa: PLC0415

    handle = httpx2.HTTPTransport.handle_request

    def handling(transport: Any, request: Any) -> Any:
        place = f"{request.method} {re.sub('/(file|batch)[-_][^/]+', '/*', request.url.path)}"
        telling = request.method != "GET" or place.endswith("/content")
        if telling:
            points.passed(f"before {place}")
        reply = handle(transport, request)
        points.passed(f"after {place}", _OCCASIONS if telling else 1)
        return reply

    httpx2.HTTPTransport.handle_request = handling  # type: ignore[method-assign, assignment]


def _watch_mirror(points: Points) -> None:
    """Make points of the mirror's own steps: a lease, a copy that is put into the shared folder or taken from it."""
    import duckdb  # noqa: PLC0415

    from sqlbatch import clock  # noqa: PLC0415
    from sqlbatch.lake import mirror, shared_state  # noqa: PLC0415

    # Another length than those of batches, for it is the lease on a create that one sleeps past.
    mirror.LEASE = max(mirror.LEASE, 3 * _LEASE * clock.speed())
    made, restore = shared_state.make_once, mirror.Mirror._restore
    kept: list[duckdb.DuckDBPyConnection] = []

    def making(passing: Any, path: Any) -> bool:
        kind = path.name.partition("-")[0]
        points.passed(f"before the {kind} is made")
        done = made(passing, path)
        points.passed(f"after the {kind} is made")
        return done

    def restoring(one: Any, number: int, *, clean: bool) -> None:
        restore(one, number, clean=clean)
        points.passed("after the state is restored")
        # Opened once and not for each step, as a database file is.
        kept.append(duckdb.connect(str(one.path)))
        kept[-1].execute("SET threads = 1")

    shared_state.make_once = making
    mirror.Mirror._restore = restoring  # type: ignore[method-assign, assignment]


def _watch_files(points: Points) -> None:
    from pathlib import Path  # noqa: PLC0415

    from sqlbatch.batches import request_file, transfer  # noqa: PLC0415

    write_file, save, unlink = request_file.write, transfer.save, Path.unlink

    def writing(*arguments: Any) -> None:
        write_file(*arguments)
        points.passed("after the input file was written")

    def saving(*arguments: Any) -> int:
        size = save(*arguments)
        points.passed("after a result file was written")
        return size

    def unlinking(path: Path, missing_ok: bool = False) -> None:
        kind = "a result" if ".output." in path.name or ".error." in path.name else "the input"
        if path.name.startswith("sqlbatch-") and path.exists():
            points.passed(f"before {kind} file is deleted")
        unlink(path, missing_ok=missing_ok)

    request_file.write = writing  # type: ignore[assignment]
    transfer.save = saving  # type: ignore[assignment]
    Path.unlink = unlinking  # type: ignore[method-assign, assignment]

"""A real `sqlbatch` process that is killed at its n-th point: made by fork from a process that has all imported."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PRELOAD = [
    "sqlbatch.__main__",
    "sqlbatch.server",
    "sqlbatch.answering.batch_api",
    "sqlbatch.answering.step",
    "duckdb",
    "openai",
]
# Seconds after which a process that neither ends nor dies is a mistake.
_PATIENCE = 60


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: the signal), the last point it passed, what it said."""

    code: int
    point: str
    said: str


class Points:
    """Counts the points of a process as it passes them, and kills it at one; the last one is kept in a file."""

    def __init__(self, kill_at: int | None, trace: Path) -> None:
        self._kill_at = kill_at
        self._trace = trace
        self._passed = 0
        self._lock = threading.Lock()

    def passed(self, name: str) -> None:
        """Pass a point, or die at it."""
        with self._lock:
            self._passed += 1
            if self._passed == self._kill_at:
                self._trace.write_text(name)
                os.kill(os.getpid(), signal.SIGKILL)


def run(arguments: list[str], environment: dict[str, str], folder: Path, *, kill_at: int | None = None) -> Ended:
    """Run `sqlbatch ARGUMENTS` in a process of its own, killed at its `kill_at`-th point; return how it ended."""
    return start(arguments, environment, folder, kill_at=kill_at)()


def start(
    arguments: list[str], environment: dict[str, str], folder: Path, *, kill_at: int | None = None
) -> Callable[[], Ended]:
    """Start such a process; return what waits for its end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    name = os.urandom(4).hex()
    trace, said = folder / f"{name}.point", folder / f"{name}.said"
    process = context.Process(target=_main, args=(arguments, environment, kill_at, trace, said))
    process.start()

    def end() -> Ended:
        process.join(_PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise AssertionError(f"sqlbatch {arguments[0]} did not end: {said.read_text()}")
        code = process.exitcode
        process.close()
        return Ended(code, trace.read_text() if trace.exists() else "", said.read_text() if said.exists() else "")

    return end


def _main(arguments: list[str], environment: dict[str, str], kill_at: int | None, trace: Path, said: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "SQLBATCH_"))]:
        del os.environ[name]
    os.environ.update(environment)
    os.chdir(trace.parent)
    with said.open("w", buffering=1) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    _watch(Points(kill_at, trace))
    import sqlbatch.__main__  # noqa: PLC0415, F401 (puts the commands on the application)
    from sqlbatch.cli.app import main  # noqa: PLC0415

    code = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _watch(points: Points) -> None:
    """Make a point of each commit (just before, so that it is rolled back, and after) and of each HTTP exchange."""
    import httpx2  # noqa: PLC0415

    from sqlbatch.answering import submit  # noqa: PLC0415
    from sqlbatch.store.database import Database, Session  # noqa: PLC0415

    write, handle, write_file = Database.write, httpx2.HTTPTransport.handle_request, submit.write_file

    def writing(database: Database, work: Callable[[Session], Any], **more: Any) -> Any:
        def at_the_end(session: Session) -> Any:
            done = work(session)
            # A single statement that is rolled back leaves what was there before it.
            if "<lambda>" not in work.__qualname__:
                points.passed(f"before the commit of {work.__qualname__}")
            return done

        done = write(database, at_the_end, **more)
        points.passed(f"after the commit of {work.__qualname__}")
        return done

    def handling(transport: Any, request: Any) -> Any:
        reply = handle(transport, request)
        if request.method != "GET" or "/content" in request.url.path:
            points.passed(f"after {request.method} {request.url.path}")
        return reply

    def writing_file(*arguments: Any) -> None:
        write_file(*arguments)
        points.passed("after the input file was written")

    Database.write = writing  # type: ignore[method-assign, assignment]
    httpx2.HTTPTransport.handle_request = handling  # type: ignore[method-assign, assignment]
    submit.write_file = writing_file  # type: ignore[assignment]

"""The command that opens a page in the browser."""

from __future__ import annotations

import getpass
import signal
import sys
import threading
import webbrowser
from typing import TYPE_CHECKING, Annotated

from sqlbatch import display
from sqlbatch.cli import complete
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import command
from sqlbatch.cli.follow import at, existing

if TYPE_CHECKING:
    from types import FrameType


@command
def view(
    name: Annotated[
        str | None,
        opt.argument("[TABLE|JOB]", "A table, or a job's number; all jobs if left out.", autocompletion=complete.jobs),
    ] = None,
    port: Annotated[
        int | None,
        opt.option("--port", "N", "The port on this computer.", default="8321, or a free one", min=0, max=65535),
    ] = None,
    no_browser: Annotated[bool, opt.flag("--no-browser", "Only print the address.")] = False,
    db: opt.Db = None,
    threads: opt.Threads = None,
    memory_limit: opt.MemoryLimit = None,
) -> int:
    """Open a page in the browser: jobs, tables with input beside output, review of answers, spending. Ctrl-C ends it.

    It answers on this computer only, to whoever has the address with its token. The database file is open for moments
    only, so a job in another terminal goes on.

    Example: sqlbatch view movie_tags
    """
    from sqlbatch.view import app as page  # noqa: PLC0415 (only this command needs a server and templates)

    database = existing(db, memory_limit, threads)
    path = page.path_of(database, name)
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with page.running(database, at=at(database), reviewer=_user(), port=port) as address:
            sys.stdout.write(f"{address(path)}\n")
            sys.stdout.flush()
            display.info("the page is open to this computer only, with the token in this address; Ctrl-C ends it")
            if not no_browser:
                webbrowser.open(address(path))
            # A wait without end could not be interrupted on every system.
            while not ended.wait(1.0):
                pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return display.Exit.DONE


def _user() -> str:
    """Return the name under which reviews are kept unless the page says another."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"

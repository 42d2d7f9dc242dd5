"""A process that publishes a job and is killed after a statement: forked from one that has imported all."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from pathlib import Path
from typing import Any

from sqlbatch.db.attached import Attached
from sqlbatch.db.database import Database
from sqlbatch.db.session import Session
from sqlbatch.lake import publishing

# Seconds after which a process that neither ends nor dies is a mistake.
_PATIENCE = 90
# The statements that a publisher passes on its way, in their order: those until the commit in the other database, and
# those after it.
BEFORE = ("lake.export", "lake.marked", "lake.drop", "lake.create", "lake.fill", "lake.unmark", "lake.mark")
AFTER = ("COMMIT of lake.mark", "lake.published", "lake.drop_built")


def killed(attach: str, job_id: int, point: str) -> bool:
    """Publish a job of work.duckdb in a process of its own; return whether it was killed after that statement."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sqlbatch.lake.publishing"])
    process = context.Process(target=_main, args=(Path.cwd(), dict(os.environ), attach, job_id, point))
    process.start()
    process.join(_PATIENCE)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError("the process did not end")
    code = process.exitcode
    process.close()
    assert code in {0, -signal.SIGKILL}
    return code != 0


def _main(folder: Path, environment: dict[str, str], attach: str, job_id: int, point: str) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    sql, last = Session.sql, ""

    def killing(self: Session, text: str, params: Any = None, name: str | None = None) -> Any:
        nonlocal last
        result = sql(self, text, params, name)
        passed = name or (f"COMMIT of {last}" if text == "COMMIT" else "")
        last = name or last
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(Session, "sql", killing)  # noqa: B010 (mypy takes no assignment to a method)
    db = Database(Path("work.duckdb"), attach=[Attached.parse(attach, "--attach")])
    deque(publishing.publish(db, job_id), maxlen=0)
    os._exit(0)

"""Code that the commands share: find the database, ask before money is spent, run a job's steps, print its end."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, TypeVar

from sqlbatch import clock, config, connection, display, options
from sqlbatch.batches.providers import label
from sqlbatch.cli.app import Interrupted
from sqlbatch.cli.state import following, opened
from sqlbatch.db import jobs as state
from sqlbatch.errors import DatabaseError, DatabaseLocked, InvalidSettings, JobError, SqlbatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database
    from sqlbatch.db.jobs import Billed, JobRow
    from sqlbatch.db.session import Session
    from sqlbatch.query.cost import Cost

Answer = TypeVar("Answer")


def existing(
    db: str | None,
    memory_limit: str | None = None,
    threads: int | None = None,
    attach: Sequence[str] | None = None,
) -> Database:
    """Return the database for a command about jobs; raise JobError if it does not exist."""
    database = opened(options.database(db, attach, memory_limit, threads))
    if not database.exists():
        raise JobError(
            f"there is no database {database.name} yet: sqlbatch enrich creates it, or name another with --db"
        )
    return database


def at(database: Database) -> str:
    """Return the option that a command needs to find a database; empty for the default database."""
    if database.shared is not None:
        return f" --state {shlex.quote(str(database.shared))}"
    usual = config.configured("db") or options.DEFAULT_DB
    return f" --db {shlex.quote(str(database.path))}" if database.path and str(database.path) != usual else ""


def patiently(database: Database, work: Callable[[Session], Answer]) -> Answer:
    """Read the database, and wait while another process holds it: a job that has started does not end over a lock."""
    told = False
    while True:
        try:
            return database.read(work)
        except DatabaseLocked as error:
            if not told:
                display.info(f"waiting: {error}")
            told = True
            clock.sleep(1.0)


def find(database: Database, job: str | int | None, *, patient: bool = True) -> JobRow:
    """Return a job as `state.find` does; if `patient`, however long another process holds the database."""

    def read(session: Session) -> JobRow:
        return state.find(session, None if job is None else str(job))

    return patiently(database, read) if patient else database.read(read)


def next_step(database: Database, job: JobRow) -> str:
    """Return what to do next about a job of a database."""
    return display.status.next_step(job, at(database))


def stopped(database: Database, job: JobRow) -> JobError:
    """Return the error about a job that does not go on by itself."""
    return JobError(f"job {job.job_id} is {display.status.status_in_words(job)}; {next_step(database, job)}")


def confirmed(question: str, refusal: str, declined: str, error: type[SqlbatchError] = InvalidSettings) -> bool:
    """Ask a yes-or-no question on the terminal; a no is reported as `declined`.

    Raises `error`, with the refusal, if stdin is not a terminal.
    """
    if not sys.stdin.isatty():
        raise error(refusal)
    if display.confirm(question):
        return True
    display.info(declined)
    return False


def agreed(cost: Cost, over: str | None, *, yes: bool) -> bool:
    """Return whether money may be spent: no budget forbids it (`over` says why one does), and the user agrees.

    The user is asked if the cost must be agreed to and `yes` is false; a no is reported. Raises InvalidSettings if
    stdin is not a terminal.
    """
    if over is not None:
        display.error(f"{over}; nothing sent, nothing changed")
        return False
    return (
        yes
        or not cost.must_be_agreed
        or confirmed(
            f"Send it, {cost.in_words()}?",
            f"this costs money, {cost.in_words()}: add --yes to send it without being asked",
            "nothing sent, nothing changed",
        )
    )


def follow(
    database: Database,
    job_id: int,
    provider: Provider,
    *,
    once: bool,
    poll: float | None,
    keep_going: bool = False,
    max_enqueued_tokens: int | None = None,
    back: str = "wait",
) -> None:
    """Run a job's steps and show them; after an interrupt or a long lock, say how to continue."""
    # Commands that only read do not need this import.
    from sqlbatch.lake import publishing  # noqa: PLC0415

    try:
        job = find(database, job_id)
        steps = publishing.run_job(
            database, job_id, once=once, poll=poll, keep_going=keep_going, max_enqueued_tokens=max_enqueued_tokens
        )
        display.progress.follow(following(database, steps), job)
    except DatabaseLocked as error:
        # The job has started, and nothing of it is lost.
        again = f"sqlbatch {back} {job_id}{at(database)} continues job {job_id}"
        raise DatabaseLocked(f"{error}; {again}", error.pid) from error
    except KeyboardInterrupt:
        back = f"{connection.address_variable(provider)}sqlbatch {back} {job_id}{at(database)}"
        if not provider.embedded and not _any_submitted(database, job_id):
            message = f"interrupted: nothing was submitted yet; continue with: {back}"
        elif not provider.embedded:
            goes_on = f"what was submitted continues at {label(provider.name, provider.base_url)} without this computer"
            message = f"interrupted: {goes_on}; come back with: {back}"
        else:
            message = f"interrupted: the local server stops with this command, and loses nothing; continue with: {back}"
        raise Interrupted(message) from None


def _any_submitted(database: Database, job_id: int) -> bool:
    """Return whether any batch of a job may be at the provider; true if the database cannot be read."""
    try:
        batches = database.read(lambda session: state.batches(session, job_id))
    except DatabaseError:
        return True
    return any(batch.state not in {"planned", "uploading", "abandoned"} for batch in batches)


def ending(database: Database, job_id: int, *, as_json: bool, rows: bool) -> int:
    """Print the status of a job and, once it is done, its target's rows; return the exit code."""
    from sqlbatch.cli.rows import print_target  # noqa: PLC0415 (likewise)
    from sqlbatch.functions.jobs import hidden_rows  # noqa: PLC0415 (likewise)
    from sqlbatch.query.target import rows_of  # noqa: PLC0415 (likewise)

    def read(session: Session) -> tuple[JobRow, Billed, str, int]:
        job = state.find(session, str(job_id))
        hidden = hidden_rows(session, job_id) if job.failed else 0
        return job, state.billed(session, job_id), failed_why(session, job), hidden

    job, billed, why, hidden = patiently(database, read)
    if as_json:
        display.print_json(display.job.job_json(job, at(database), billed))
    if job.status == "done" and job.error:
        raise JobError(job.error)
    if job.refused or not (job.open or job.status == "done"):
        raise stopped(database, job)
    if job.open:
        open_ = f"{job.pending:,} of {job.requests:,} requests open"
        display.info(f"job {job_id}: {open_}{why}; {next_step(database, job)}")
        return display.Exit.DONE
    if rows and not as_json:
        patiently(database, lambda session: print_target(session, job))
    parts = [display.counted(job.rows, "row"), *([f"{job.skipped:,} skipped"] if job.skipped else [])]
    place = job.target if job.published_at else f"{rows_of(job).sql} in {database.name}"
    cost = (
        f"; cost: {display.quote.spent(billed).partition(':')[0]}" if billed.results and job.provider != "local" else ""
    )
    display.info(
        f"job {job.job_id} done: {place} has {', '.join(parts)}; {job.answered:,} of "
        f"{job.requests:,} requests answered{why}{cost}" + (f"; {next_step(database, job)}" if job.failed else "")
    )
    if hidden:
        display.info(
            f"up to {hidden:,} more row{'s' * (hidden > 1)} might belong here: sqlbatch.ai_failures lists what failed"
        )
    return display.Exit.FAILED_ROWS if job.failed else display.Exit.DONE


def failed_why(session: Session, job: JobRow) -> str:
    """Return how many requests of a job failed and the most common reason, as the end of a sentence."""
    return f", {job.failed:,} failed{display.job.top_reason(state.failures(session, job.job_id))}" if job.failed else ""

"""The commands about jobs: jobs, sync, wait, load."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from sqlbatch import clock, config, display, options, outcome, reach, run
from sqlbatch.batches.budget import allow
from sqlbatch.batches.providers import label
from sqlbatch.cli import complete
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import Interrupted, app
from sqlbatch.cli.rows import head
from sqlbatch.db import jobs as state
from sqlbatch.display.next_step import GOING_ON
from sqlbatch.errors import DatabaseError, DatabaseLocked, JobError, SqlbatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database
    from sqlbatch.db.jobs import Billed, JobRow
    from sqlbatch.db.session import Session

Answer = TypeVar("Answer")
# Rows of the target shown at the end of a job.
FIRST_ROWS = 5


@app.command()
def jobs(db: opt.Db = None, as_json: opt.Json = False) -> int:
    """One line a job, the newest first.

    Example: sqlbatch jobs --json
    """
    database = existing(db)
    with database.session(migrate=False) as session:
        ours = session.has_schema()
    found = database.read(state.rows) if ours else []
    if as_json:
        display.print_json([display.job_json(job, at(database)) for job in found])
    elif found:
        display.show_jobs(found, at(database))
    else:
        display.say(f"{database.name} has no job yet: sqlbatch enrich begins one")
    return display.Exit.DONE


@app.command()
def sync(
    db: opt.Db = None,
    threads: opt.Threads = None,
    memory_limit: opt.MemoryLimit = None,
    as_json: opt.Json = False,
) -> int:
    """One step of every open job, fit for cron.

    Example: sqlbatch sync --quiet
    """
    database = existing(db, memory_limit, threads)
    with database.session() as session:
        left_over = set(outcome.left_over(session))
        open_jobs = [job for job in reversed(state.rows(session)) if job.open or job.job_id in left_over]
    problems = 0
    for job in open_jobs:
        try:
            follow(database, job.job_id, run.provider_of(job), once=True, poll=None)
        except Interrupted:
            raise
        except SqlbatchError as error:
            problems += 1
            display.error(f"job {job.job_id}: {error}")
    with database.session() as session:
        after = [state.find(session, str(job.job_id)) for job in open_jobs]
    if as_json:
        display.print_json([display.job_json(job, at(database)) for job in after])
    else:
        for job in after:
            display.say(
                f"job {job.job_id} {job.target}: {job.status}, {job.answered:,} of {job.requests:,} requests answered; "
                + display.next_step(job, at(database))
            )
        if not after:
            display.say("no job is open")
    return display.Exit.ERROR if problems else display.Exit.DONE


@app.command()
def wait(
    job: opt.JobArgument = None,
    db: opt.Db = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Send on although most of the first 1,000 results were of no use.")
    ] = False,
    max_cost: opt.MaxCost = None,
    poll: opt.Poll = None,
    max_enqueued_tokens: opt.MaxEnqueuedTokens = None,
    threads: opt.Threads = None,
    memory_limit: opt.MemoryLimit = None,
    as_json: opt.Json = False,
) -> int:
    """Steps until the job is done, with progress. Interrupt it at any time: it goes on at the provider.

    Example: sqlbatch wait movie_tags
    """
    database = existing(db, memory_limit, threads)
    pause = config.poll(poll)
    enqueued = config.max_enqueued_tokens(max_enqueued_tokens)
    found = patiently(database, lambda session: state.find(session, job))
    if max_cost is not None:
        allowed, paid = config.max_cost(max_cost) or 0.0, run.provider_of(found).paid
        database.write(lambda session: allow(session, found.job_id, allowed, paid=paid))
    if found.open:
        follow(
            database,
            found.job_id,
            run.provider_of(found),
            once=False,
            poll=pause,
            keep_going=keep_going,
            max_enqueued_tokens=enqueued,
        )
    elif found.status == "done":
        run.tidy(database)
    return ending(database, found.job_id, as_json=as_json, rows=found.open)


@app.command()
def load(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[JOB] [FILE…]",
            help="A job (the newest), and result files to load for it.",
            show_default=False,
            autocompletion=complete.jobs_and_files,
        ),
    ] = None,
    db: opt.Db = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a table that sqlbatch did not make.")] = False,
    threads: opt.Threads = None,
    memory_limit: opt.MemoryLimit = None,
    as_json: opt.Json = False,
) -> int:
    """Write the target from what is there so far; what is missing is `pending`.

    FILEs are a batch's output and error file, fetched by hand. What is loaded already changes nothing.

    Example: sqlbatch load movie_tags batch_6a1_output.jsonl
    """
    database = existing(db, memory_limit, threads)
    job, files = _job_and_files(what or [])
    with database.session() as session:
        found = state.find(session, job)
    if files:
        handed, joined = outcome.hand_in(database, found.job_id, files, replacing=replace)
    else:
        handed, joined = None, outcome.load(database, found.job_id, replacing=replace)
    after = database.read(lambda session: state.find(session, str(found.job_id)))
    again = GOING_ON if after.status == "cancelled" else display.next_step(after, at(database))
    if as_json:
        display.print_json(asdict(joined) | ({"files": asdict(handed)} if handed else {}) | {"next": again})
        return display.Exit.DONE
    if handed is not None:
        display.show_handed(handed)
    display.show_joined(joined)
    if joined.pending or joined.failed:
        display.say(again)
    return display.Exit.DONE


def _job_and_files(words: Sequence[str]) -> tuple[str | None, list[Path]]:
    """Return the job and the files that the words name: the first is a job unless it is plainly a file."""
    if not words or (not words[0].isdigit() and (Path(words[0]).is_file() or words[0].endswith(".jsonl"))):
        return None, [Path(word) for word in words]
    return words[0], [Path(word) for word in words[1:]]


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
    """Show a job's steps; an interrupt, and a lock that outlasts one step, say by which command to come back."""
    try:
        display.follow(
            run.steps(
                database,
                job_id,
                once=once,
                poll=poll,
                keep_going=keep_going,
                max_enqueued_tokens=max_enqueued_tokens,
            )
        )
    except DatabaseLocked as error:
        # The job is begun, and nothing of it is lost.
        again = f"sqlbatch {back} {job_id}{at(database)} goes on with job {job_id}"
        raise DatabaseLocked(f"{error}; {again}", error.pid) from error
    except KeyboardInterrupt:
        back = f"{reach.coming_back(provider)}sqlbatch {back} {job_id}{at(database)}"
        if provider.paid and not _any_submitted(database, job_id):
            message = f"interrupted: nothing was submitted yet; go on with: {back}"
        elif provider.paid:
            goes_on = f"what was submitted goes on at {label(provider.name, provider.base_url)} without this computer"
            message = f"interrupted: {goes_on}; come back with: {back}"
        else:
            message = f"interrupted: the local server stops with this command, and loses nothing; go on with: {back}"
        raise Interrupted(message) from None


def _any_submitted(database: Database, job_id: int) -> bool:
    """Whether any batch of a job may be at the provider; where the database cannot be read, it may."""
    try:
        batches = database.read(lambda session: state.batches(session, job_id))
    except DatabaseError:
        return True
    return any(batch.state not in {"planned", "uploading", "abandoned"} for batch in batches)


def ending(database: Database, job_id: int, *, as_json: bool, rows: bool) -> int:
    """Tell how a job stands, show the first rows of a target that is done, and return the exit code."""
    job = patiently(database, lambda session: state.find(session, str(job_id)))
    billed = patiently(database, lambda session: state.billed(session, job_id))
    if as_json:
        display.print_json(display.job_json(job, at(database), billed))
    if job.status == "done" and job.error:
        raise JobError(job.error)
    if job.refused:
        raise JobError(f"job {job_id} is {display.status_in_words(job)}; {display.next_step(job, at(database))}")
    if job.open:
        next_step = display.next_step(job, at(database))
        display.say(f"job {job_id}: {job.pending:,} of {job.requests:,} requests open; {next_step}")
        return display.Exit.DONE
    if job.status != "done":
        raise JobError(f"job {job_id} is {display.status_in_words(job)}; {display.next_step(job, at(database))}")
    return _done(database, job, billed, show=rows and not as_json)


def at(database: Database) -> str:
    """Return the option that a command needs to find a database: none for the one that it finds by itself."""
    usual = config.configured("db") or options.DEFAULT_DB
    return f" --db {shlex.quote(str(database.path))}" if database.path and str(database.path) != usual else ""


def _done(database: Database, job: JobRow, billed: Billed, *, show: bool) -> int:
    if show:
        patiently(database, lambda session: head(session, job.target, FIRST_ROWS))
    offline = " by the offline model, which is no language model" if job.provider == "local" else ""
    cost = f"; cost: {display.spent(billed).partition(':')[0]}" if billed.results and job.provider != "local" else ""
    parts = [f"{job.rows:,} row{'' if job.rows == 1 else 's'}"]
    parts += [f"{job.skipped:,} skipped"] if job.skipped else []
    display.say(
        f"job {job.job_id} done: {job.target} in {database.name} has {', '.join(parts)}; "
        f"{job.answered:,} of {job.requests:,} requests answered{offline}"
        + (f", {job.failed:,} failed" if job.failed else "")
        + cost
        + (f"; {display.next_step(job, at(database))}" if job.failed else "")
    )
    return display.Exit.FAILED_ROWS if job.failed else display.Exit.DONE


def patiently(database: Database, work: Callable[[Session], Answer]) -> Answer:
    """Read the database, and wait for whoever holds it: a job that has begun does not end over a lock."""
    told = False
    while True:
        try:
            return database.read(work)
        except DatabaseLocked as error:
            if not told:
                display.say(f"waiting: {error}")
            told = True
            clock.sleep(1.0)


def existing(db: str | None, memory_limit: str | None = None, threads: int | None = None) -> Database:
    """Return the database that a command about jobs reads; raise JobError where there is none."""
    database = options.database(db, (), memory_limit, threads)
    if not database.exists():
        raise JobError(f"there is no database {database.name} yet: sqlbatch enrich makes it, or name another with --db")
    return database

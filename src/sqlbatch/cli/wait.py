"""The commands that continue jobs: wait, sync."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sqlbatch import config, connection, display, finish_now, prepare, run
from sqlbatch.batches.budget import allow
from sqlbatch.cli import engine
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import Interrupted, command
from sqlbatch.cli.follow import agreed, at, ending, existing, failed_why, find, follow, next_step, stopped
from sqlbatch.db import jobs as state
from sqlbatch.errors import SqlbatchError
from sqlbatch.lake import publishing

if TYPE_CHECKING:
    from sqlbatch.db.database import Database
    from sqlbatch.db.jobs import JobRow


@command
def sync(
    db: opt.Db = None,
    threads: opt.Threads = None,
    memory_limit: opt.MemoryLimit = None,
    as_json: opt.Json = False,
) -> int:
    """Take one step of every open job, then return; fit for cron. Exits with 3 if a job finished with failed rows.

    Example: sqlbatch sync --quiet
    """
    database = existing(db, memory_limit, threads)
    with database.session() as session:
        left_over = set(state.left_over(session))
        unpublished = set(publishing.due(session))
        open_jobs = [job for job in reversed(state.rows(session)) if job.open or job.job_id in left_over | unpublished]
    problems = 0
    for job in open_jobs:
        try:
            follow(database, job.job_id, connection.provider_of(job), once=True, poll=None)
        except Interrupted:
            raise
        except SqlbatchError as error:
            problems += 1
            display.error(f"job {job.job_id}: {error}")
    with database.session() as session:
        after = [state.find(session, str(job.job_id)) for job in open_jobs]
        why = {job.job_id: failed_why(session, job) for job in after}
    failed = [job for job in after if job.status == "done" and job.failed]
    if as_json:
        display.print_json([display.job.job_json(job, at(database)) for job in after])
    else:
        for job in after:
            with display.always_print(wanted=job in failed):
                display.info(
                    f"job {job.job_id} {job.target}: {job.status}, {job.answered:,} of {job.requests:,} requests "
                    f"answered{why[job.job_id]}; {next_step(database, job)}"
                )
        if not after:
            display.info("no job is open")
    if problems:
        return display.Exit.ERROR
    return display.Exit.FAILED_ROWS if failed else display.Exit.DONE


@command
def wait(
    job: opt.JobArgument = None,
    db: opt.Db = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Continue although most first results were unusable.")
    ] = False,
    finish: Annotated[bool, typer.Option("--finish-now", help="Ask what no batch has now, at the flex price.")] = False,
    max_cost: opt.MaxCost = None,
    yes: Annotated[
        bool, opt.flag("--yes", "With --finish-now: do not ask before money is spent.", "-y", rare=True)
    ] = False,
    poll: opt.Poll = None,
    max_enqueued_tokens: opt.MaxEnqueuedTokens = None,
    threads: opt.Threads = None,
    memory_limit: opt.MemoryLimit = None,
    engine_address: opt.EngineAddress = None,
    as_json: opt.Json = False,
) -> int:
    """Continue a job until it is done. Ctrl-C is safe: the provider goes on alone.

    Example: sqlbatch wait movie_tags
    """
    database = existing(db, memory_limit, threads)
    pause = config.poll(poll)
    enqueued = config.max_enqueued_tokens(max_enqueued_tokens)
    found = find(database, job)
    if max_cost is not None:
        allowed, paid = config.max_cost(max_cost) or 0.0, connection.provider_of(found).paid
        database.write(lambda session: allow(session, found.job_id, allowed, paid=paid))
    if finish and not _finish_now(database, found, keep_going=keep_going, yes=yes):
        return display.Exit.ERROR
    if found.open:
        follow(
            database,
            found.job_id,
            connection.provider_of(found),
            once=False,
            poll=pause,
            keep_going=keep_going,
            max_enqueued_tokens=enqueued,
        )
    elif found.status == "done":
        run.tidy(database)
        if publishing.is_due(database, found.job_id):
            display.progress.follow(publishing.publish(database, found.job_id))
    engine.publish(database, engine_address, found.job_id)
    return ending(database, found.job_id, as_json=as_json, rows=found.open)


def _finish_now(database: Database, job: JobRow, *, keep_going: bool, yes: bool) -> bool:
    """Ask what of a job is in no batch, after its own quote and question; return whether the job may go on."""
    provider = connection.provider_of(job)
    if job.failing and not keep_going:
        raise stopped(database, job)
    if prepare.recover_interrupted(database):
        display.info("answers that an interrupted run had received are stored")
    asked_before = False
    while True:
        collected = list(run.collect(database, job.job_id, provider))
        quoted = finish_now.remainder(database, job.job_id)
        if not quoted.requests or (asked_before and not collected):
            if quoted.requests:
                display.info(
                    f"{display.counted(quoted.requests, 'request')} got no answer now and will go into a batch"
                )
            elif not asked_before:
                display.info(f"nothing to ask now: {quoted.elsewhere:,} requests are in batches")
            return True
        with display.always_print(wanted=quoted.cost.must_be_agreed and not yes):
            display.quote.show_remainder(quoted)
        if not agreed(quoted.cost, quoted.over(), yes=yes):
            return False
        if provider.paid:
            connection.check_provider(database, provider)
        try:
            display.progress.follow(finish_now.ask(database, quoted))
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted: {len(quoted.received):,} answers came and are kept; what was in flight may be billed, "
                f"and is asked again with the rest; continue with: sqlbatch wait {job.job_id}{at(database)}"
            ) from None
        asked_before = True
        kept = sum(each.kept for each in quoted.received)
        display.info(f"{display.counted(kept, 'answer')} of {display.counted(quoted.requests, 'request')} kept")

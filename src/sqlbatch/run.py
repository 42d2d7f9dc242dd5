"""Run a job from its start (`prepare`) to its end: do its steps, write its target. Both layers meet here.

Actions on an existing job (load, retry, cancel) are in `job_actions`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.batches import poll as polling
from sqlbatch.batches import preview as previewing
from sqlbatch.batches import step, submit
from sqlbatch.batches.budget import BUDGET
from sqlbatch.batches.context import StepContext
from sqlbatch.batches.events import Activity, Collected, Event, Loaded, Packed, Progress, Submitted, Waiting
from sqlbatch.batches.parse_results import UNREADABLE
from sqlbatch.connection import connect, provider_of
from sqlbatch.db import jobs
from sqlbatch.errors import (
    DatabaseConflict,
    DatabaseError,
    DatabaseLocked,
    InvalidTarget,
    JobError,
    ProviderError,
    ProviderRefused,
    ProviderUnreachable,
)
from sqlbatch.functions.jobs import collect_ready, held, is_planned, needs_collecting
from sqlbatch.functions.jobs import write_target as write_planned_target
from sqlbatch.leases import hold_leases, new_owner
from sqlbatch.paths import spool_dir, state_dir, sweep
from sqlbatch.query import incremental, target, target_rows
from sqlbatch.query.endpoints import check_of, read_returns
from sqlbatch.query.enrichment import Enrichment

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database
    from sqlbatch.db.jobs import JobRow
    from sqlbatch.db.session import Session


# ---- Steps: one after the other, until the target is written.


@dataclass(frozen=True)
class StepResult:
    """The result of one step.

    Whether it was the last, whether anything moved, and the seconds until the next makes sense.
    """

    done: bool = False
    moved: bool = False
    seconds: float | None = None


def run_job(
    database: Database,
    job_id: int,
    *,
    once: bool = False,
    poll: float | None = None,
    keep_going: bool = False,
    max_enqueued_tokens: int | None = None,
) -> Iterator[Event]:
    """Run a job's steps until its target is written (or one step, with `once`), and yield what happens as events.

    Database locks, network errors and provider errors are temporary: the job yields a Waiting event and tries again;
    with `once` they are raised. A job that was cancelled or superseded sends nothing more, but waits for its batches at
    the provider and loads them. For a finished job, a step with `once` loads a batch that arrived late. `poll` is the
    seconds between two status checks, by default short at first and growing to 60. `max_enqueued_tokens` limits the
    tokens of the job's model that may be queued at the provider. A job blocks, and raises JobError, if most of its
    first results cannot be used, unless `keep_going`. JobError is also raised if the job ends without its target.
    """
    backoff = clock.Backoff(clock.FIRST_POLL, 60.0, poll)
    while True:
        try:
            job = jobs.get(database, job_id)
            break
        except DatabaseLocked as error:
            if once:
                raise
            yield Waiting(str(error))
            clock.sleep(backoff.next())
    if job.status == "done" and not (once and job_id in database.read(jobs.left_over)):
        tidy(database)
        return
    provider = provider_of(job)
    if max_enqueued_tokens is not None:
        provider = replace(provider, max_enqueued_tokens=max_enqueued_tokens)
    with step_context(database, job_id, provider) as context:
        yield from _keeping_open(database, _steps(context, job, once=once, poll=poll, keep_going=keep_going))


def _keeping_open(database: Database, events: Generator[Event, None, None]) -> Iterator[Event]:
    """Yield the events of steps.

    The steps share one opening of the database file, which is closed while the caller handles an event.
    """
    with contextlib.closing(events):
        while True:
            with database.kept_open():
                event = next(events, None)
            if event is None:
                return
            yield event


@contextlib.contextmanager
def step_context(database: Database, job_id: int, provider: Provider) -> Iterator[StepContext]:
    """Connect to a job's provider for the block, and hold the leases that the job's steps take."""
    with connect(database, provider) as api:
        context = StepContext(database, api, provider, job_id, new_owner(), spool_dir(database), check_of)
        with hold_leases(context.owner):
            yield context


def _steps(
    context: StepContext, job: JobRow, *, once: bool, poll: float | None, keep_going: bool
) -> Generator[Event, None, None]:
    backoff = clock.Backoff(context.provider.first_poll, context.provider.slowest_poll, poll)
    # Retry at once whatever blocked the job, for the user is waiting. `sync` does not need this: it runs again anyway.
    resuming = job.open and not once
    while True:
        try:
            if resuming:
                submit.resume(context.database, context.job_id, keep_going=keep_going)
                resuming = False
            result = yield from _step_open(context, once=once) if job.open else _step_closed(context, once=once)
            if result.done:
                return
            if result.moved:
                backoff.restart()
            # The local server shares this process, so polling it right away would only slow it down.
            early = result.moved and not context.provider.embedded
            seconds = backoff.early() if early else backoff.next()
            if result.seconds is not None:
                seconds = min(seconds, result.seconds)
        except (DatabaseLocked, DatabaseConflict, ProviderUnreachable, ProviderRefused) as error:
            if isinstance(error, ProviderRefused):
                # Note the refusal in the database, so that another process running this job can show why nothing
                # happens.
                with contextlib.suppress(DatabaseError):
                    context.database.execute("submit.looks_refused", {"job_id": job.job_id, "reason": str(error)})
            if once:
                raise
            if job.failing and not keep_going and not isinstance(error, DatabaseError):
                raise _failing(job) from error
            seconds = backoff.longer(error.retry_after if isinstance(error, ProviderError) else None)
            yield Waiting(str(error), seconds)
        context.database.let_go()
        clock.sleep(seconds)


def _step_open(context: StepContext, *, once: bool) -> Generator[Event, None, StepResult]:
    """Run one step of an open job, and write its target when all its requests are settled."""
    moved = yield from collect(context.database, context.job_id, context.provider)
    for event in step.step(context):
        moved = moved or isinstance(event, Packed | Submitted | Loaded)
        yield event
    if (yield from collect(context.database, context.job_id, context.provider)):
        # The next step sends the requests that these answers have led to.
        return StepResult(moved=True, seconds=0)
    unsettled, seconds = polling.left(context)
    now = jobs.get(context.database, context.job_id)
    # Unreadable results do not count as failed until the user has seen them.
    if not unsettled and now.blocked_code != UNREADABLE:
        yield Activity("writing the target")
        ended = finish(context.database, context.job_id) is not None
        step.tidy(context.database, context.spool)
        sweep(context.database)
        if ended:
            return StepResult(done=True)
        now = jobs.get(context.database, context.job_id)
    if not now.open:
        return StepResult(done=True)
    progress = yield from _report(context)
    if now.blocked_code == "looks_refused":
        context.database.execute("submit.looked", {"job_id": context.job_id})
    if now.failing and not once:
        raise _failing(now)
    if now.blocked_code == BUDGET and not once:
        raise JobError(f"job {now.job_id} is blocked by its {now.blocked}")
    # The local server runs only while this process does, so with `once` one step is all it can do.
    ends = once and (bool(now.failing) or now.blocked_code == BUDGET or not context.provider.embedded)
    if now.refused:
        # The provider accepted these batches earlier, so they are followed to their end.
        under_way = any(status not in {"planned", "uploading"} for status, _ in progress.statuses)
        if not under_way and not once:
            raise JobError(f"job {now.job_id} is {submit.refusal_in_words(now)}")
        yield Waiting(submit.refusal_in_words(now))
        ends = ends or not under_way
    return StepResult(ends, moved, seconds)


def collect(database: Database, job_id: int, provider: Provider) -> Generator[Event, None, bool]:
    """Collect the requests of each AI function call whose inputs are all answered, one transaction a call.

    Returns whether any call was collected.
    """
    collected = False
    while database.read(lambda session: needs_collecting(session, job_id)):
        call = database.write(lambda session: collect_ready(session, job_id, provider.max_bytes))
        if call is None:
            return collected
        collected = True
        if call.asked:
            yield Collected(f"stage {call.stage}", call.text, call.asked, jobs.get(database, job_id).requests)
    return collected


def _step_closed(context: StepContext, *, once: bool) -> Generator[Event, None, StepResult]:
    """Run one step of a job that was cancelled or superseded: load what is at the provider, send nothing."""
    yield from step.step(context, sending=False)
    progress = yield from _report(context)
    return StepResult(done=not progress.batches or (once and not context.provider.embedded))


def _report(context: StepContext) -> Generator[Event, None, Progress]:
    """Yield and return the states of the batches.

    If a process that used the ordinary endpoint was killed, its answers are stored and its other requests released.
    """
    progress = polling.progress(context.database, context.job_id)
    yield progress
    if any(status == "asking" for status, _ in progress.statuses):
        previewing.recover_interrupted(context.database, context.spool, context.check)
    return progress


def _failing(job: JobRow) -> JobError:
    return JobError(
        f"job {job.job_id} is blocked: {job.blocked}, so nothing more is sent. sqlbatch show {job.job_id} says why; "
        f"sqlbatch wait {job.job_id} --keep-going continues anyway (in Python: wait(keep_going=True))"
    )


# ---- Write the target: join the rows to their answers and end the job, in one transaction.


def finish(database: Database, job_id: int) -> target_rows.Joined | None:
    """Write the target of a job whose requests are all settled, and end the job, in one transaction.

    Returns None if another process has done it, or if more requests have become due. Raises JobError if a newer job
    owns the target, or if a table that sqlbatch did not make has its name; the job ends in both cases.
    """

    def write(session: Session) -> target_rows.Joined | str | None:
        job = jobs.find(session, str(job_id))
        if job.status in {"done", "cancelled"}:
            return None
        if job.status == "superseded":
            return f"a newer job has the target {job.target}: job {job_id} leaves it alone"
        if job.pending or needs_collecting(session, job_id):
            # A retry came in since the last check, or the answers lead to more requests.
            return None
        problem = held(session, job_id)
        if problem is not None:
            jobs.finish(session, job_id, problem)
            return problem
        joined = write_target(session, job, replacing=job.replacing)
        if not joined.failed and not job.failed:
            target_rows.drop_snapshot(session, job_id)
        jobs.finish(session, job_id)
        if Enrichment.from_json(job.enrichment).images or session.run("plan_pictures.has", {"job_id": job_id}):
            session.run("pictures.forget")
        return joined

    try:
        done = database.write(write)
    except InvalidTarget as error:
        problem = str(error)
        database.write(lambda session: jobs.finish(session, job_id, problem))
        raise JobError(problem) from error
    if isinstance(done, str):
        raise JobError(done)
    return done


def write_target(session: Session, job: JobRow, *, replacing: bool) -> target_rows.Joined:
    """Write a job's target from the answers received so far, within the caller's transaction."""
    enrichment = Enrichment.from_json(job.enrichment)
    if is_planned(session, job.job_id):
        joined = write_planned_target(session, job, replace=replacing)
    else:
        returns = read_returns(enrichment.endpoint, enrichment.returns)
        joined = target_rows.write_target(session, job, returns, replace=replacing)
    if target.target_of(job).catalog is not None:
        session.run("lake.built", {"job_id": job.job_id, "now": clock.now()})
    elif enrichment.incremental:
        incremental.merge(session, job, replace=replacing)
    return replace(joined, target=job.target)


# ---- Clean up after a killed process.


def tidy(database: Database) -> None:
    """Delete the files that a process killed while starting or finishing a job left beside the database."""
    sweep(database)
    spool = state_dir(database) / "spool"
    if any(spool.glob("sqlbatch-*")):
        step.tidy(database, spool)

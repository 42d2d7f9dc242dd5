"""A job's steps, one after the other, until its target is written; what passes by itself is waited for."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch import clock, outcome
from sqlbatch.backoff import Backoff
from sqlbatch.batches import poll, refusals, submit
from sqlbatch.batches.budget import BUDGET
from sqlbatch.batches.events import Activity, Event, Loaded, Packed, Submitted, Waiting
from sqlbatch.batches.step import step, tidy
from sqlbatch.db import jobs
from sqlbatch.errors import (
    DatabaseConflict,
    DatabaseError,
    DatabaseLocked,
    JobError,
    ProviderRefused,
    ProviderUnreachable,
)
from sqlbatch.paths import sweep

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from sqlbatch.batches.step import Work
    from sqlbatch.db.jobs import JobRow


@dataclass(frozen=True)
class _Turn:
    """What one turn came to: whether it was the last, whether anything moved, and in how many seconds more can be."""

    done: bool = False
    moved: bool = False
    seconds: float | None = None


def follow(work: Work, job: JobRow, *, once: bool, poll: float | None, keep_going: bool) -> Iterator[Event]:
    """Do the steps of a job, as `run.steps` says."""
    pauses = Backoff(work.provider.first_poll, work.provider.slowest_poll, poll)
    # Who waits wants to see at once whether what blocked the job has passed; `sync` comes again by itself.
    resuming = job.open and not once
    while True:
        try:
            if resuming:
                _resume(work, keep_going=keep_going)
                resuming = False
            turn = yield from _open(work, once=once) if job.open else _left_over(work, once=once)
            if turn.done:
                return
            if turn.moved:
                pauses.restart()
            seconds = pauses.next()
            if turn.seconds is not None:
                seconds = min(seconds, turn.seconds)
        except (DatabaseLocked, DatabaseConflict, ProviderUnreachable, ProviderRefused) as error:
            if isinstance(error, ProviderRefused):
                # Another process that asks for the job shall know why nothing happens.
                with contextlib.suppress(DatabaseError):
                    submit.looks_refused(work.database, job.job_id, str(error))
            if once:
                raise
            if job.failing and not keep_going and not isinstance(error, DatabaseError):
                raise _failing(job) from error
            seconds = pauses.longer(getattr(error, "retry_after", None))
            yield Waiting(str(error), seconds)
        clock.sleep(seconds)


def _resume(work: Work, *, keep_going: bool) -> None:
    if keep_going:
        submit.keep_going(work.database, work.job_id)
    work.database.write(lambda session: session.run("submit.resume", {"job_id": work.job_id}))


def _open(work: Work, *, once: bool) -> Generator[Event, None, _Turn]:
    """Do one step of a job that is open, and write its target where nothing is left to do."""
    moved = False
    for event in step(work):
        moved = moved or isinstance(event, Packed | Submitted | Loaded)
        yield event
    unsettled, seconds = poll.left(work.database, work.provider, work.job_id)
    if not unsettled:
        yield Activity("writing the target")
        ended = outcome.finish(work.database, work.job_id) is not None
        tidy(work.database, work.spool)
        sweep(work.database)
        if ended:
            return _Turn(done=True)
    now = work.database.read(lambda session: jobs.find(session, str(work.job_id)))
    if not now.open:
        return _Turn(done=True)
    progress = poll.progress(work.database, work.job_id)
    yield progress
    if now.blocked_code == "looks_refused":
        submit.looked(work.database, work.job_id)
    if now.failing and not once:
        raise _failing(now)
    if now.blocked_code == BUDGET and not once:
        raise JobError(f"job {now.job_id} is blocked by its {now.blocked}")
    # The local server works only while this process does, so one step of it is all that it can do.
    ends = once and (bool(now.failing) or now.blocked_code == BUDGET or work.provider.paid)
    if now.refused:
        # What is at the provider was taken before, and is seen to its end.
        under_way = any(status not in {"planned", "uploading"} for status, _ in progress.statuses)
        if not under_way and not once:
            raise JobError(f"job {now.job_id} is {refusals.in_words(now)}")
        yield Waiting(refusals.in_words(now))
        ends = ends or not under_way
    return _Turn(ends, moved, seconds)


def _left_over(work: Work, *, once: bool) -> Generator[Event, None, _Turn]:
    """Do one step of a job that was cancelled or superseded: nothing is sent, what is at the provider is loaded."""
    yield from step(work, sending=False)
    progress = poll.progress(work.database, work.job_id)
    yield progress
    return _Turn(done=not progress.batches or (once and work.provider.paid))


def _failing(job: JobRow) -> JobError:
    return JobError(
        f"job {job.job_id} is blocked: {job.blocked}, so nothing more is sent. sqlbatch show {job.job_id} says why; "
        f"sqlbatch wait {job.job_id} --keep-going goes on all the same (in Python: wait(keep_going=True))"
    )

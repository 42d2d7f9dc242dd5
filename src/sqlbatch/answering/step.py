"""One step of a job: adopt, poll, load, pack, submit. Running a step again does no harm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlbatch.answering import load, pack, submit, track
from sqlbatch.answering.events import Event, Held, Noted, Packed, Submitted, Transferring
from sqlbatch.answering.transfer import Done, Result, transfers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlbatch.answering.batch_api import BatchAPI
    from sqlbatch.answering.providers import Provider
    from sqlbatch.store.database import Database


@dataclass(frozen=True)
class Work:
    """What a step works with; `owner` names this process in leases, `check` makes the SQL that judges an answer."""

    database: Database
    api: BatchAPI
    provider: Provider
    job_id: int
    owner: str
    spool: Path
    check: Callable[[str, str], str]


def step(work: Work) -> Iterator[Event]:
    """Do what can be done for a job now, and tell it; raises DatabaseLocked and ProviderError, which pass."""
    for stage in (adopt, poll, load_ended, pack_due, send_ready):
        yield from stage(work)


def adopt(work: Work) -> Iterator[Event]:
    """Settle the creates whose reply was lost."""
    yield from track.adopt(work.database, work.api, work.provider)


def poll(work: Work) -> Iterator[Event]:
    """Look at the open batches."""
    yield from track.poll(work.database, work.api, work.provider)


def load_ended(work: Work) -> Iterator[Event]:
    """Download and load what has ended."""
    batches = work.database.read(lambda session: load.ended(session, work.provider.base_url))
    tasks = [partial(_load_one, work, batch) for batch in batches]
    for end in transfers("download", tasks, None):
        if isinstance(end, Transferring):
            yield end
            continue
        loaded = _result(end)
        if loaded is None:
            continue
        yield loaded.event
        if loaded.quarantined:
            yield Noted(
                f"{loaded.quarantined:,} lines of batch {loaded.event.batch_id} belong to none of its requests: "
                "they are kept in sqlbatch.quarantine"
            )
        if loaded.waits_for is not None:
            seconds = submit.pause(work.database, work.job_id, loaded.waits_for)
            yield Held(loaded.waits_for, seconds)
        elif loaded.event.answered:
            work.database.write(lambda session: session.run("submit.unpause", {"job_id": work.job_id}))


def pack_due(work: Work) -> Iterator[Event]:
    """Lay due requests into batches."""
    batches, requests = pack.pack(work.database, work.job_id, work.provider)
    if batches:
        yield Packed(batches, requests)


def send_ready(work: Work) -> Iterator[Event]:
    """Upload and create what is planned."""
    ready = work.database.read(lambda session: submit.ready(session, work.job_id, work.provider.base_url, work.owner))
    total = sum(size for _, _, size in ready)
    tasks = [
        partial(submit.send, work.database, work.api, work.provider, batch_id, work.owner, work.spool)
        for batch_id, _, _ in ready
    ]
    problem: submit.Sent | None = None
    for end in transfers("upload", tasks, total):
        if isinstance(end, Transferring):
            yield end
            continue
        sent = _result(end)
        if sent is None:
            continue
        if sent.provider_id is not None:
            yield Submitted(sent.batch_id, sent.provider_id, sent.requests)
        else:
            problem = sent
    if problem is not None:
        reason = problem.problem or "the provider did not take a batch"
        yield Held(reason, submit.pause(work.database, work.job_id, reason, problem.retry_after))


def _load_one(work: Work, batch: load.Ended, progress: Callable[[int], None]) -> load.LoadedBatch | None:
    if batch.status == "failed":
        loaded = load.load_failed(work.database, batch, work.api.retrieve(batch.provider_id), work.spool)
    else:
        files = load.fetch(work.api, batch, work.spool, progress)
        loaded = load.load_files(work.database, batch, files, work.check)
        for path in files or []:
            path.unlink(missing_ok=True)
    (work.spool / submit.file_name(batch.batch_id)).unlink(missing_ok=True)
    return loaded


def _result(end: Done[Result]) -> Result | None:
    if end.error is not None:
        raise end.error
    return end.result

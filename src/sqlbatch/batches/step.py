"""One step of a job: adopt, poll, load, pack, submit. Running a step again does no harm."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.batches import arrivals, budget, cancel, plan, poll, results, submit
from sqlbatch.batches.events import Activity, Event, Notice, Packed, Submitted, Transferring, Waiting
from sqlbatch.batches.spool import batch_of, input_name
from sqlbatch.batches.transfer import transfers
from sqlbatch.errors import ProviderError
from sqlbatch.leases import hold_leases, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from sqlbatch.batches.client import BatchAPI
    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database


# So many batches are sent before the open ones are looked at again, so that what has ended is loaded meanwhile.
WAVE = 8
# Of so many batches that the provider has not validated yet the files are kept; of more they are fetched back at need.
KEPT_FILES = 16


@dataclass(frozen=True)
class Work:
    """What a step works with; `owner` names this run in leases, `check` makes the SQL that judges an answer.

    `begun` is when this run began, `looked` which batches it has looked up that should not be at the provider.
    """

    database: Database
    api: BatchAPI
    provider: Provider
    job_id: int
    owner: str
    spool: Path
    check: Callable[[str, str], str]
    begun: datetime = field(default_factory=clock.now)
    looked: set[str] = field(default_factory=set)


def step(work: Work, *, sending: bool = True) -> Iterator[Event]:
    """Do what can be done for a job now, and tell it; raises DatabaseLocked and ProviderError, which pass.

    With `sending=False` only what is at the provider already is settled, as for a job that was cancelled.
    What the provider does not do for one stage holds up no other: its first error is raised at the end.
    """
    problem: ProviderError | None = None
    stages: list[Callable[[Work], Iterator[Event]]] = [adopt, poll_open, stop_unwanted, load_ended]
    stages += [check_failure_rate, pack_due, send_ready] if sending else []
    while stages:
        sent = 0
        try:
            for event in stages.pop(0)(work):
                sent += isinstance(event, Submitted) and not event.adopted
                yield event
        except ProviderError as error:
            problem = problem or error
        if sent == WAVE and problem is None:
            stages += [poll_open, load_ended, check_failure_rate, send_ready]
    if problem is not None:
        raise problem


def tidy(database: Database, spool: Path) -> None:
    """Delete what lies in the spool of batches that need it no longer: of killed and of given-up attempts."""
    # The folder is read first, so that a file that is made meanwhile is not taken for one that nobody needs.
    paths = list(spool.glob("sqlbatch-*"))
    needed = database.read(lambda session: {str(row[0]) for row in session.run("submit.needed")})
    for path in paths:
        batch_id = batch_of(path.name)
        if batch_id is not None and batch_id not in needed:
            path.unlink(missing_ok=True)


def adopt(work: Work) -> Iterator[Event]:
    """Settle the creates whose reply was lost."""
    yield from poll.adopt(work.database, work.api, work.provider, work.owner, work.begun, work.looked)


def poll_open(work: Work) -> Iterator[Event]:
    """Look at the open batches; the files of those that the provider has validated are needed no longer."""
    yield from poll.poll(work.database, work.api, work.provider)
    if any(work.spool.glob(input_name("*"))):
        asked = {"base_url": work.provider.base_url}
        for (batch_id,) in work.database.read(lambda session: session.run("submit.validated", asked)):
            (work.spool / input_name(batch_id)).unlink(missing_ok=True)


def stop_unwanted(work: Work) -> Iterator[Event]:
    """Stop what only cancelled jobs wanted."""
    yield from cancel.stop_unwanted(work.database, work.api, work.provider)


def load_ended(work: Work) -> Iterator[Event]:
    """Download and load what has ended."""
    for each in arrivals.take(work.database, work.api, work.provider.base_url, work.spool, work.check):
        if isinstance(each, Transferring | Activity):
            yield each
            continue
        yield each.event
        if each.quarantined:
            yield Notice(
                f"{each.quarantined:,} lines of batch {each.event.batch_id} belong to none of its requests: "
                "they are kept in sqlbatch.quarantine"
            )
        if each.waits_for is not None and each.code != results.FENCED:
            seconds = submit.pause(work.database, work.job_id, each.waits_for, each.code)
            yield Waiting(each.waits_for, seconds)
        elif each.event.answered:
            work.database.write(lambda session: session.run("submit.unpause", {"job_id": work.job_id}))


def check_failure_rate(work: Work) -> Iterator[Event]:
    """Send nothing more where most of a job's first results cannot be used; decided once, whoever loaded them."""
    first = work.database.read(lambda session: results.first_results(session, work.job_id))
    if first is None:
        return
    loaded, usable = first
    reason = f"failing: only {usable:,} of the first {loaded:,} results could be used"
    if submit.judge(work.database, work.job_id, failing=2 * usable < loaded, reason=reason) and 2 * usable < loaded:
        yield Waiting(reason)


def pack_due(work: Work) -> Iterator[Event]:
    """Lay due requests into batches."""
    batches, requests = plan.pack(work.database, work.job_id, work.provider)
    if batches:
        yield Packed(batches, requests)


def _send(work: Work, batch_id: str, progress: Callable[[int], None]) -> submit.Sent | None:
    # An interrupted run's transfers go on in their threads, under its name.
    with hold_leases(work.owner):
        return submit.send(
            work.database, work.api, work.provider, work.job_id, batch_id, work.owner, work.spool, progress
        )


def send_ready(work: Work) -> Iterator[Event]:  # noqa: PLR0912 (a case each)
    """Upload and create what is planned, a wave of it."""
    ready = work.database.read(lambda session: submit.ready(session, work.job_id, work.provider, work.owner))[:WAVE]
    for batch_id, _, _, left_by in ready:
        if left_by is not None:
            yield Notice(f"batch {batch_id}: its upload was left behind by {name_of(left_by)} and is taken over")
    total = sum(size for _, _, size, _ in ready)
    tasks = [partial(_send, work, batch_id) for batch_id, _, _, _ in ready]
    refused: submit.Sent | None = None
    problem: BaseException | None = None
    taken, blocked, held = False, False, ""
    for end in transfers("upload", tasks, total):
        if isinstance(end, Transferring):
            yield end
            continue
        problem = problem or end.error
        sent = end.result
        if sent is None:
            continue
        if sent.held is not None:
            held = sent.held
        elif sent.late is not None:
            yield from poll.recover(work.database, work.api, sent.batch_id, "abandoned", sent.late)
        elif sent.provider_id is not None:
            taken = True
            yield Submitted(sent.batch_id, sent.provider_id, sent.requests)
            if len(list(work.spool.glob(input_name("*")))) > KEPT_FILES:
                (work.spool / input_name(sent.batch_id)).unlink(missing_ok=True)
        elif sent.blocks:
            blocked = True
        else:
            refused = sent
    if problem is not None:
        raise problem
    if blocked:
        # What blocks the job is noted with the attempt's end; whoever does the steps tells it.
        return
    if refused is not None:
        reason = refused.problem or "the provider did not take a batch"
        yield Waiting(reason, submit.pause(work.database, work.job_id, reason, refused.code, refused.retry_after))
    elif taken:
        work.database.write(lambda session: session.run("submit.working", {"job_id": work.job_id}))
    if held:
        yield _hold(work, held)


def _hold(work: Work, reason: str) -> Waiting:
    """Tell that the job's budget holds a batch; where nothing is under way that could give room, only the user can."""
    work.database.write(lambda session: budget.block(session, work.job_id, reason))
    return Waiting(reason)

"""One step of a job: adopt, poll, load, pack, submit. Repeating a step does no harm."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sqlbatch.batches import adopt, plan, poll, results, submit
from sqlbatch.batches.events import Activity, Event, Notice, Packed, Submitted, Transferring, Waiting
from sqlbatch.batches.transfer import batch_of, input_name, transfers
from sqlbatch.errors import ProviderError
from sqlbatch.leases import hold_leases, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlbatch.batches.context import StepContext
    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session


# After this many batches are sent, the open ones are checked again, so that finished ones are loaded in between.
WAVE = 8
# At least half of this many first results must be usable; otherwise the prompt or the returned columns may be wrong.
FIRST_RESULTS = 1_000
# The files of this many batches that the provider has not validated yet are kept; others are downloaded if needed.
KEPT_FILES = 16


def step(context: StepContext, *, sending: bool = True) -> Iterator[Event]:
    """Do everything that can be done for a job now; raises DatabaseLocked and ProviderError, which are temporary.

    With `sending=False`, only batches at the provider are settled, as for a cancelled job. A provider error in one
    stage does not stop the others; the first one is raised at the end.
    """
    problem: ProviderError | None = None
    stages: list[Callable[[StepContext], Iterator[Event]]] = [adopt.adopt, poll_open, poll.stop_unwanted, load_ended]
    stages += [check_failure_rate, pack_due, send_ready] if sending else []
    while stages:
        sent = 0
        try:
            for event in stages.pop(0)(context):
                sent += isinstance(event, Submitted) and not event.adopted
                yield event
        except ProviderError as error:
            problem = problem or error
        if sent == WAVE and problem is None:
            stages += [poll_open, load_ended, check_failure_rate, send_ready]
    if problem is not None:
        raise problem


def tidy(database: Database, spool: Path) -> None:
    """Delete the spool files that no batch needs any more."""
    for path in database.read(lambda session: idle_files(session, spool)):
        path.unlink(missing_ok=True)


def idle_files(session: Session, spool: Path) -> list[Path]:
    """Return the spool files that no batch needs any more: of killed processes and of given-up attempts."""
    # The folder is read before the database, so that a file created in between is not deleted.
    paths = sorted(spool.glob("sqlbatch-*"))
    needed = {str(row[0]) for row in session.run("submit.needed")}
    return [path for path in paths if (batch_id := batch_of(path.name)) is not None and batch_id not in needed]


def poll_open(context: StepContext) -> Iterator[Event]:
    """Check the open batches, then delete the files of those that the provider has validated."""
    yield from poll.poll(context)
    if any(context.spool.glob(input_name("*"))):
        for (batch_id,) in context.database.query("submit.validated", {"base_url": context.provider.base_url}):
            (context.spool / input_name(batch_id)).unlink(missing_ok=True)


def load_ended(context: StepContext) -> Iterator[Event]:
    """Download and load finished batches."""
    database = context.database
    for each in results.load_ended(context):
        if isinstance(each, Transferring | Activity):
            yield each
            continue
        yield each.event
        yield from each.notices
        batch_id = each.event.batch_id
        if each.waits_for is not None and each.code != results.FENCED:
            seconds = submit.pause(database, context.job_id, each.waits_for, each.code, batch_id=batch_id)
            yield Waiting(each.waits_for, seconds)
        elif each.event.answered:
            database.execute("submit.unpause", {"batch_id": batch_id, "job_id": context.job_id})


def check_failure_rate(context: StepContext) -> Iterator[Event]:
    """Block a job if most of its first results cannot be used; decided once, whichever process loaded them."""
    asked = {"job_id": context.job_id}
    if not context.database.query("results.unjudged", asked | {"first": FIRST_RESULTS}):
        return
    loaded, usable = context.database.query("results.tried", asked)[0]
    if loaded < FIRST_RESULTS:
        return
    reason = f"failing: only {usable:,} of the first {loaded:,} results could be used"
    failing = 2 * usable < loaded
    if context.database.execute("submit.judge", asked | {"failing": failing, "reason": reason}) and failing:
        yield Waiting(reason)


def pack_due(context: StepContext) -> Iterator[Event]:
    """Pack due requests into batches."""
    batches, requests = plan.pack(context.database, context.job_id, context.provider)
    if batches:
        yield Packed(batches, requests)


def _send(context: StepContext, batch_id: str, progress: Callable[[int], None]) -> submit.Sent | None:
    # The transfers of an interrupted run continue in their threads, under its name.
    with hold_leases(context.owner):
        return submit.send(context, batch_id, progress)


def send_ready(context: StepContext) -> Iterator[Event]:  # noqa: PLR0912 (a case each)
    """Upload and create planned batches, at most WAVE of them."""
    spool = context.spool
    ready = submit.ready(context)[:WAVE]
    for batch_id, _, _, left_by in ready:
        if left_by is not None:
            yield Notice(f"batch {batch_id}: its upload was left behind by {name_of(left_by)} and is taken over")
    total = sum(size for _, _, size, _ in ready)
    tasks = [partial(_send, context, batch_id) for batch_id, _, _, _ in ready]
    problem: BaseException | None = None
    ended: list[submit.Sent] = []
    for end in transfers("upload", tasks, total):
        if isinstance(end, Transferring):
            yield end
            continue
        problem = problem or end.error
        if end.result is None:
            continue
        sent = end.result
        ended.append(sent)
        if sent.late is not None:
            yield from adopt.recover(context, sent.batch_id, "abandoned", sent.late)
        elif sent.provider_id is not None:
            yield Submitted(sent.batch_id, sent.provider_id, sent.requests)
            if len(list(spool.glob(input_name("*")))) > KEPT_FILES:
                (spool / input_name(sent.batch_id)).unlink(missing_ok=True)
    if problem is not None:
        raise problem
    if any(sent.blocks for sent in ended):
        # The end of the attempt has already noted what blocks the job; the caller of the step reports it.
        return
    if refused := [sent for sent in ended if sent.problem is not None]:
        reason, code, retry_after = refused[-1].problem or "", refused[-1].code, refused[-1].retry_after
        yield Waiting(reason, submit.pause(context.database, context.job_id, reason, code, retry_after))
    elif any(sent.provider_id is not None and sent.late is None for sent in ended):
        context.database.execute("submit.working", {"job_id": context.job_id})
    if held := [sent for sent in ended if sent.held is not None]:
        # No batch in flight can release enough of its reservation, so only the user or another month can.
        fact = {"job_id": context.job_id, "reason": held[-1].held, "until": held[-1].until}
        context.database.execute("budget.block", fact)
        yield Waiting(held[-1].held or "")

"""Settle creates with an unknown outcome: look the batch up in the provider's list, then adopt, fence or abandon it."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlbatch import clock
from sqlbatch.batches.context import SPARE_PAGES, Lost, StepContext
from sqlbatch.batches.events import Event, Fencing, Notice, Submitted, Waiting
from sqlbatch.batches.replies import NoList
from sqlbatch.errors import ProviderError, ProviderUnreachable
from sqlbatch.leases import is_gone

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlbatch.batches.client import BatchAPI
    from sqlbatch.batches.replies import ProviderBatch
    from sqlbatch.db.session import Session


# Seconds by which the provider's list may lag behind the creation time of its files.
_SLACK = 300


def adopt(context: StepContext) -> Iterator[Event]:
    """Settle the batches whose create has an unknown outcome: adopt, fence, or abandon them after the grace period.

    Once a run, batches that the database says were never created, or were given up, are looked up too: the database may
    be a restored backup, and a batch that was given up may have run after all.
    """
    database, api, provider = context.database, context.api, context.provider
    _void_leases(context)
    yield from _look_for_given_up(context)
    asked: dict[str, Any] = {"base_url": provider.base_url, "now": clock.now()}
    details = {"grace": provider.silence_grace, "owner": context.owner}
    lost = [Lost(*row) for row in database.query("poll.lost", asked | details)]
    doubtful = database.query("poll.doubtful", asked | {"begun": context.started})
    new = [row[0] for row in doubtful if context.first_time(f"look for {row[0]}")]
    if not lost and not new:
        return
    files = {each.batch_id: each.input_file_id for each in lost if each.state == "creating"}
    created_at = {batch_id: api.file_created_at(file) for batch_id, file in files.items() if file is not None}
    known = dict(database.query("poll.known", asked))
    try:
        found = _look_through(
            api,
            known,
            {each.batch_id: each.input_file_id for each in lost},
            {row[0]: row[2] for row in doubtful},
            [at for at in created_at.values() if at is not None],
        )
    except NoList as error:
        yield from _tell_uncertain(context, lost, error)
        return
    except ProviderUnreachable as error:
        raise _list_needed(context, lost, error) if lost else error from None
    for batch_id, state, _ in doubtful:
        if batch_id in found:
            yield from recover(context, batch_id, state, found[batch_id])
    for each in lost:
        if each.batch_id in found:
            yield from recover(context, each.batch_id, each.state, found[each.batch_id])
        elif each.batch_id in created_at and created_at[each.batch_id] is None:
            yield Waiting(
                f"{api.name}: the input file of {each.batch_id} cannot be seen with this key, so it is unknown "
                "whether the batch was created: use the key that uploaded it"
            )
        elif each.state == "creating":
            if database.execute("poll.fence", {"batch_id": each.batch_id, "grace": each.grace}):
                yield Fencing(each.batch_id)
                yield from _delete_input(context, each)
        elif each.fenced_at is None:
            yield from _delete_input(context, each)
        elif asked["now"] >= each.fenced_at + timedelta(seconds=each.grace):
            # Only a list requested after the grace period is evidence. One that was requested earlier, before the
            # computer slept or while its pages came slowly, is not.
            fact = {"batch_id": each.batch_id, "now": clock.now(), "code": "never_made", "error": "not at the provider"}
            database.execute("submit.abandon", fact)
            yield Notice(
                f"batch {each.batch_id} was never created at {api.name}: its {each.requests:,} requests are sent again"
            )


def recover(context: StepContext, batch_id: str, state: str, batch: ProviderBatch) -> Iterator[Event]:
    """Note a batch found at the provider against our state; cancel it if its requests were sent again meanwhile."""
    opened = {"batch_id": batch_id, "provider_id": batch.provider_id, "status": batch.status, "now": clock.now()}

    def note(session: Session) -> tuple[int, int] | None:
        known = session.run("poll.adopted", opened | {"state": state})
        return (known[0][0], session.run("poll.doubled", {"batch_id": batch_id})[0][0]) if known else None

    noted = context.database.write(note)
    if noted is None:
        return
    requests, doubled = noted
    yield Submitted(batch_id, batch.provider_id, requests, adopted=True)
    if doubled and not batch.ended:
        yield Notice(
            f"batch {batch.provider_id} appeared after it was given up, when {doubled:,} of its requests had been sent "
            "again: it is being cancelled, and its answers are kept"
        )
        # A batch that cannot be cancelled has ended, and is loaded like any other.
        with contextlib.suppress(ProviderError):
            context.api.cancel(batch.provider_id)


def _void_leases(context: StepContext) -> None:
    """End the leases of killed processes of this computer; their batches are looked up like any other."""
    asked = {"base_url": context.provider.base_url, "now": clock.now()}
    for (owner,) in context.database.query("poll.owners", asked):
        if owner is not None and owner != context.owner and is_gone(owner):
            context.database.execute("poll.void", {"owner": owner, "now": clock.now()})


def _look_for_given_up(context: StepContext) -> Iterator[Event]:
    """Check once a run whether batches that the user gave up have ended after all, and take those back."""
    asked = {"base_url": context.provider.base_url, "now": clock.now()}
    for batch_id, provider_id in context.database.query("poll.given_up", asked):
        if not context.first_time(f"look for {batch_id}"):
            continue
        with contextlib.suppress(ProviderError):
            batch = context.api.retrieve(provider_id)
            # A batch that still runs stays given up, so that its requests are not locked again.
            if batch.ended:
                yield from recover(context, batch_id, "abandoned", batch)


def _look_through(
    api: BatchAPI,
    known: dict[str, bool],
    lost: dict[str, str | None],
    doubtful: dict[str, str | None],
    created_at: list[int],
) -> dict[str, ProviderBatch]:
    """Find batches by our id in their metadata, or by their input file if a provider drops metadata.

    A lost batch that is not in the result is not at the provider: the list was read to its end, or, if it is sorted
    newest first, to a time before the oldest input file. For doubtful batches only a few pages are read.

    `known` maps batches that are at the provider to whether they are new. They are never found by their file, because a
    provider may give equal files one id. If a whole list has none of the new batches, as with gateways whose list is
    always empty, ProviderUnreachable is raised: such a list is no evidence.
    """
    wanted = doubtful | lost
    by_file = {file_id: batch_id for batch_id, file_id in wanted.items() if file_id is not None}
    found: dict[str, ProviderBatch] = {}
    dates: list[int] = []
    new = {provider_id for provider_id, is_new in known.items() if is_new}
    blind = bool(new)
    for number, page in enumerate(api.batches(whole=bool(lost)), 1):
        for batch in page:
            blind = blind and batch.provider_id not in new
            batch_id = batch.batch_id if batch.batch_id in wanted else None
            if batch_id is None and batch.batch_id is None and batch.provider_id not in known:
                batch_id = by_file.get(batch.input_file_id or "")
            if batch_id is not None:
                found[batch_id] = batch
        if len(found) == len(wanted) or (not lost and number >= SPARE_PAGES):
            return found
        dates += [batch.created_at for batch in page if batch.created_at is not None]
        newest_first = dates == sorted(dates, reverse=True) and dates[:1] > dates[-1:]
        if newest_first and len(created_at) == len(lost) > 0 and dates[-1] < min(created_at) - _SLACK:
            return found
    if blind and lost.keys() - found.keys():
        raise ProviderUnreachable(
            f"{api.name}: its list of batches is no evidence: it has none of the {len(new):,} that are known to be "
            "there"
        )
    return found


def _delete_input(context: StepContext, lost: Lost) -> Iterator[Event]:
    """Delete the input file, so that a create that may still be running fails its validation, which costs nothing."""
    if lost.input_file_id is not None:
        context.api.delete_file(lost.input_file_id)
    context.database.execute("poll.fenced", {"batch_id": lost.batch_id, "now": clock.now()})
    yield Waiting(f"batch {lost.batch_id} is not at {context.api.name}; waiting in case it still appears", lost.grace)


def _tell_uncertain(context: StepContext, lost: Sequence[Lost], error: NoList) -> Iterator[Event]:
    """Report what is certain about lost creates at a provider that has no list of batches."""
    for each in lost:
        yield Waiting(
            f"batch {each.batch_id}: the reply to its create was lost, and {context.api.name} has no list of "
            f"batches to look it up in ({error.status}). If it was made, its {each.requests:,} requests run and are "
            f"billed there; they are not sent again. {context.give_up_hint(each.job_id)}"
        )


def _list_needed(context: StepContext, lost: Sequence[Lost], error: ProviderUnreachable) -> ProviderUnreachable:
    """Return the error of an unreadable list, with why the list is needed.

    The second time, also how to free the job.
    """
    requests = sum(each.requests for each in lost)
    told = f"{str(error).rstrip('. ')}. Only the list can tell whether a create whose reply was lost made its batch; "
    told += f"until then its {requests:,} requests are not sent again"
    if not context.first_time(f"no list for {lost[0].batch_id}"):
        told += f". {context.give_up_hint(lost[0].job_id)}"
    return ProviderUnreachable(told, error.status, retry_after=error.retry_after)

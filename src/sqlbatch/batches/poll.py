"""Check the status of open batches, stop those that no job wants, give up those that do not end."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from sqlbatch import clock
from sqlbatch.batches.context import SPARE_PAGES, OpenBatch, StepContext
from sqlbatch.batches.events import Event, Notice, Progress, Waiting
from sqlbatch.db import jobs
from sqlbatch.errors import ProviderError, ProviderRefused, ProviderUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.batches.client import BatchAPI
    from sqlbatch.batches.replies import ProviderBatch
    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session

# Up to this many open batches are checked one by one; more are read from the provider's list.
ONE_BY_ONE = 3
# Seconds that a batch may take beyond its window before the user is told.
_OVERTIME = 3_600.0
# Replies to a list that would repeat for every batch: the key is refused, or requests come too fast.
_UNAUTHORIZED, _LATER = 401, frozenset({408, 425, 429, 503})
# Seconds before the user is told that the provider does not know a batch: a list may lag for minutes.
_FORGOTTEN = 900.0


def poll(context: StepContext) -> Iterator[Event]:
    """Check the open batches and note their status."""
    rows = context.database.query("poll.open", {"base_url": context.provider.base_url})
    opened = {batch.provider_id: batch for batch in (OpenBatch(*row) for row in rows)}
    if not opened:
        return
    seen = _listed(context.api, opened.keys()) if len(opened) > ONE_BY_ONE else {}
    problem: ProviderError | None = None
    for provider_id in opened.keys() - seen.keys():
        try:
            batch = context.api.retrieve(provider_id)
            if batch.batch_id in {None, opened[provider_id].batch_id}:
                seen[provider_id] = batch
            else:
                # A cache in between repeated an earlier reply: it describes another batch.
                problem = ProviderUnreachable(f"{context.api.name} answered with another batch than {provider_id}", 200)
        except ProviderRefused as error:
            if error.status in {401, 403}:
                # The provider refuses the key, not the batch: nothing can be looked up with it.
                problem = error
            else:
                yield from _tell_forgotten(context, opened[provider_id], error)
        except ProviderUnreachable as error:
            # The status of all other batches is noted first, so one failed check does not hold them up.
            problem = error

    def note(session: Session) -> None:
        for provider_id, batch in seen.items():
            session.run("poll.saw", batch.facts() | {"batch_id": opened[provider_id].batch_id, "now": clock.now()})

    context.database.write(note)
    for provider_id, batch in seen.items():
        yield from _tell_odd(context, opened[provider_id], batch)
    if problem is not None:
        raise problem


def progress(database: Database, job_id: int) -> Progress:
    """Return the states of the batches that a job needs."""
    rows = database.query("poll.progress", {"job_id": job_id})
    totals = [sum(row[column] for row in rows) for column in (1, 2, 3, 4)]
    return Progress(totals[0], totals[1], totals[2], totals[3], tuple((row[0], row[1]) for row in rows))


def left(context: StepContext) -> tuple[int, float | None]:
    """Return how many requests of the job are not settled, and the seconds until its own clock allows the next step."""
    unsettled = jobs.tally(context.database, context.job_id).unsettled
    now, provider = clock.now(), context.provider
    asked = {"job_id": context.job_id, "base_url": provider.base_url, "now": now, "grace": provider.silence_grace}
    until = context.database.query("poll.until", asked)[0][0]
    return unsettled, None if until is None else (until - now).total_seconds()


def stop_unwanted(context: StepContext) -> Iterator[Event]:
    """Ask the provider to stop the batches that only cancelled jobs wanted; drop those that were never sent."""
    asked = {"base_url": context.provider.base_url, "now": clock.now()}
    for batch_id, state, provider_id in context.database.query("cancel.unwanted", asked):
        if state != "open":
            context.database.execute("cancel.never_sent", {"batch_id": batch_id, "now": clock.now()})
            continue
        # A batch that has just ended refuses (409); the next check sees that.
        with contextlib.suppress(ProviderError):
            context.api.cancel(provider_id)
            yield Notice(f"batch {provider_id}: cancellation requested; the answers it has by then are kept")


def give_up(context: StepContext) -> Iterator[Event]:
    """Release the requests of the job's batches that are still at the provider, whatever became of them there.

    Each batch is cancelled, or its input file deleted, if the provider still allows that. Results that appear later are
    loaded all the same, because given-up batches are looked up once a run.
    """
    stuck = context.database.query("cancel.stuck", {"job_id": context.job_id})
    for batch_id, provider_id, file_id, requests, _, _ in stuck:
        with contextlib.suppress(ProviderError):
            if provider_id is not None:
                context.api.cancel(provider_id)
            elif file_id is not None:
                context.api.delete_file(file_id)
        if context.database.execute("cancel.give_up", {"batch_id": batch_id, "now": clock.now()}):
            yield Notice(f"batch {provider_id or batch_id} is given up: its {requests:,} requests can be sent again")


def _listed(api: BatchAPI, wanted: Any) -> dict[str, ProviderBatch]:
    """Return the wanted batches that are on the first pages of the provider's list.

    If the provider has no such list, or it cannot be read, each batch is checked alone.
    """
    seen: dict[str, ProviderBatch] = {}
    pages = len(wanted) // 100 + SPARE_PAGES
    try:
        for number, page in enumerate(api.batches(), 1):
            seen.update({batch.provider_id: batch for batch in page if batch.provider_id in wanted})
            if len(seen) == len(wanted) or number >= pages:
                break
    except ProviderRefused as error:
        if error.status == _UNAUTHORIZED:
            raise
    except ProviderUnreachable as error:
        if error.status is None or error.status in _LATER:
            raise
    return seen


def _tell_forgotten(context: StepContext, batch: OpenBatch, error: ProviderRefused) -> Iterator[Event]:
    yield Waiting(f"batch {batch.provider_id} cannot be looked up: {error}")
    if _age(batch) > _FORGOTTEN and context.first_time(f"forgotten {batch.batch_id}"):
        yield Notice(
            f"batch {batch.provider_id}: {context.api.name} does not know it any more ({error.status}). Its "
            f"{batch.requests:,} requests may have been answered and billed, so they are not sent again. "
            + context.give_up_hint(batch.job_id)
        )


def _tell_odd(context: StepContext, open_batch: OpenBatch, batch: ProviderBatch) -> Iterator[Event]:
    """Report, once a run, a status that sqlbatch does not know, and a batch that is open beyond its window."""
    if not batch.known and context.first_time(f"status {batch.provider_id} {batch.status} {batch.ended}"):
        status = f"the status {batch.status!r}, which sqlbatch does not know" if batch.status else "no status"
        then = (
            "it has a result file and its counts are complete, so it is loaded"
            if batch.ended
            else "sqlbatch checks it again"
        )
        yield Notice(f"batch {batch.provider_id} has {status}: {then}")
    window = context.provider.window
    overdue = window is not None and not batch.ended and _age(open_batch) > window + _OVERTIME
    if overdue and context.first_time(f"overdue {batch.provider_id}"):
        yield Notice(
            f"batch {batch.provider_id} has not finished {_age(open_batch) / 3_600:,.0f} hours after it was created; "
            f"its window is {context.provider.completion_window}. Its {open_batch.requests:,} requests may still be "
            f"answered and billed. {context.give_up_hint(open_batch.job_id)}"
        )


def _age(batch: OpenBatch) -> float:
    return (clock.now() - batch.opened_at).total_seconds()

"""Where the batches are: look them up, adopt what was created and never confirmed, fence, stop, give up."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlbatch import clock
from sqlbatch.batches.context import Lost, OpenBatch, StepContext
from sqlbatch.batches.events import Event, Notice, Progress, Submitted, Waiting
from sqlbatch.batches.replies import NoList
from sqlbatch.db import jobs
from sqlbatch.errors import ProviderError, ProviderRefused, ProviderUnreachable
from sqlbatch.leases import is_gone

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlbatch.batches.client import BatchAPI
    from sqlbatch.batches.providers import Provider
    from sqlbatch.batches.replies import ProviderBatch
    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session

# Up to this many open batches are asked for one by one; more are read from the provider's list.
ONE_BY_ONE = 3
# How many pages of 100 are read beyond what the open batches fill, before the rest is asked for one by one.
SPARE_PAGES = 5
# Seconds that lists may be behind the files' own clock, and that a batch may take beyond its window.
_SLACK, _OVERTIME = 300, 3_600.0
# Replies to a list that hold for every other look as well: the key is refused, or all comes too fast.
_UNAUTHORIZED, _LATER = 401, frozenset({408, 425, 429, 503})
# Seconds after which a batch that the provider does not know is told as forgotten: a list may lag for minutes.
_FORGOTTEN = 900.0


def adopt(context: StepContext) -> Iterator[Event]:
    """Settle the batches whose create has an unknown outcome: adopted, fenced, or abandoned after the grace.

    What our own state takes for not created is looked for too, once a run: the database may be a restored backup, and a
    batch that was given up may have run after all.
    """
    database, api, provider = context.database, context.api, context.provider
    _void_leases(database, provider, context.owner)
    yield from _look_for_given_up(context)
    asked: dict[str, Any] = {"base_url": provider.base_url, "now": clock.now()}
    details = {"grace": provider.silence_grace, "owner": context.owner}
    lost = [Lost(*row) for row in database.read(lambda session: session.run("poll.lost", asked | details))]
    doubtful = database.read(lambda session: session.run("poll.doubtful", asked | {"begun": context.started}))
    if not lost and all(row[0] in context.looked for row in doubtful):
        return
    context.looked.update(row[0] for row in doubtful)
    files = {each.batch_id: each.input_file_id for each in lost if each.state == "creating"}
    created_at = {batch_id: api.file_created_at(file) for batch_id, file in files.items() if file is not None}
    known = dict(database.read(lambda session: session.run("poll.known", asked)))
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
            fence = {"batch_id": each.batch_id, "grace": each.grace}
            if database.write(lambda session, fence=fence: session.run("poll.fence", fence)):  # type: ignore[misc]
                yield from _delete_input(context, each)
        elif each.fenced_at is None:
            yield from _delete_input(context, each)
        elif asked["now"] >= each.fenced_at + timedelta(seconds=each.grace):
            # The grace had ended before this list was asked for: one that was read earlier, before the computer slept
            # or while its pages came slowly, is no evidence.
            fact = {"batch_id": each.batch_id, "now": clock.now(), "code": "never_made", "error": "not at the provider"}
            database.write(lambda session, fact=fact: session.run("submit.abandon", fact))  # type: ignore[misc]
            yield Notice(
                f"batch {each.batch_id} was never created at {api.name}: its {each.requests:,} requests are sent again"
            )


def recover(context: StepContext, batch_id: str, state: str, batch: ProviderBatch) -> Iterator[Event]:
    """Note a batch that is at the provider although our state says otherwise; stop it where it was sent again since."""
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
        # Where it cannot be stopped it has ended, and is loaded like any other.
        with contextlib.suppress(ProviderError):
            context.api.cancel(batch.provider_id)


def poll(context: StepContext) -> Iterator[Event]:
    """Look at the open batches and note what the provider says of each."""
    asked = {"base_url": context.provider.base_url}
    opened = {
        batch.provider_id: batch
        for batch in (OpenBatch(*row) for row in context.database.read(lambda s: s.run("poll.open", asked)))
    }
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
                # A cache on the way answers with what was asked for before: what it says is of another batch.
                problem = ProviderUnreachable(f"{context.api.name} answered with another batch than {provider_id}", 200)
        except ProviderRefused as error:
            if error.status in {401, 403}:
                # The key is refused, not the batch: nothing can be looked up with it.
                problem = error
            else:
                yield from _tell_forgotten(context, opened[provider_id], error)
        except ProviderUnreachable as error:
            # The others are noted first, so that one batch that cannot be asked for holds up none of them.
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
    """Return where the batches are that a job needs."""
    rows = database.read(lambda session: session.run("poll.progress", {"job_id": job_id}))
    totals = [sum(row[column] for row in rows) for column in (1, 2, 3, 4)]
    return Progress(totals[0], totals[1], totals[2], totals[3], tuple((row[0], row[1]) for row in rows))


def left(context: StepContext) -> tuple[int, float | None]:
    """Return how many requests of the job are not settled, and the seconds until our own clock allows the next act."""
    unsettled = jobs.tally(context.database, context.job_id).unsettled
    now, provider = clock.now(), context.provider
    asked = {"job_id": context.job_id, "base_url": provider.base_url, "now": now, "grace": provider.silence_grace}
    until = context.database.read(lambda session: session.run("poll.until", asked))[0][0]
    return unsettled, None if until is None else (until - now).total_seconds()


def stop_unwanted(context: StepContext) -> Iterator[Event]:
    """Ask the provider to stop the batches that only cancelled jobs wanted; drop those that were never sent."""
    asked = {"base_url": context.provider.base_url, "now": clock.now()}
    for batch_id, state, provider_id in context.database.read(lambda session: session.run("cancel.unwanted", asked)):
        if state != "open":
            fact = {"batch_id": batch_id, "now": clock.now()}
            context.database.write(lambda session, fact=fact: session.run("cancel.never_sent", fact))  # type: ignore[misc]
            continue
        # A batch that has just ended refuses (409); the next look sees it.
        with contextlib.suppress(ProviderError):
            context.api.cancel(provider_id)
            yield Notice(f"batch {provider_id}: cancellation requested; the answers it has by then are kept")


def give_up(context: StepContext) -> Iterator[Event]:
    """Free the requests of the job's batches that are still at the provider, whatever became of them there.

    Each is asked to stop, and its input file deleted, where the provider still takes that. Results that appear later
    are loaded all the same, for given-up batches are looked up once a run.
    """
    asked = {"job_id": context.job_id}
    for batch_id, provider_id, file_id, requests, _, _ in context.database.read(lambda s: s.run("cancel.stuck", asked)):
        with contextlib.suppress(ProviderError):
            if provider_id is not None:
                context.api.cancel(provider_id)
            elif file_id is not None:
                context.api.delete_file(file_id)
        fact = {"batch_id": batch_id, "now": clock.now()}
        if context.database.write(lambda session, fact=fact: session.run("cancel.give_up", fact)):  # type: ignore[misc]
            yield Notice(f"batch {provider_id or batch_id} is given up: its {requests:,} requests can be sent again")


def _void_leases(database: Database, provider: Provider, owner: str) -> None:
    """End the leases of processes of this computer that were killed; their batches are looked up like any other."""
    asked = {"base_url": provider.base_url, "now": clock.now()}
    owners = database.read(lambda session: session.run("poll.owners", asked))
    gone = [name for (name,) in owners if name is not None and name != owner and is_gone(name)]
    if gone:
        database.write(lambda session: [session.run("poll.void", {"owner": name, "now": clock.now()}) for name in gone])


def _look_for_given_up(context: StepContext) -> Iterator[Event]:
    """Look once a run whether batches that the user gave up have ended after all, and take them back then."""
    asked = {"base_url": context.provider.base_url, "now": clock.now()}
    for batch_id, provider_id in context.database.read(lambda session: session.run("poll.given_up", asked)):
        if batch_id in context.looked:
            continue
        context.looked.add(batch_id)
        with contextlib.suppress(ProviderError):
            batch = context.api.retrieve(provider_id)
            # While it runs it stays given up: its requests must not be locked again.
            if batch.ended:
                yield from recover(context, batch_id, "abandoned", batch)


def _look_through(
    api: BatchAPI,
    known: dict[str, bool],
    lost: dict[str, str | None],
    doubtful: dict[str, str | None],
    created_at: list[int],
) -> dict[str, ProviderBatch]:
    """Find batches by our id in their metadata, or by their input file where a provider drops metadata.

    What is lost and not found is absent: the list was read to its end, or past the time when the oldest input file was
    made, where the list is seen to run from new to old. For what is only doubtful a few pages are read.

    `known` batches are at the provider, as true where they are new. None of them is found by its file, for a provider
    may give equal files one id. A whole list that has none of the new ones, as gateways have that always say there is
    nothing, raises ProviderUnreachable: it is no evidence.
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


def _listed(api: BatchAPI, wanted: Any) -> dict[str, ProviderBatch]:
    """Return the wanted batches that the first pages of the provider's list have.

    A provider without such a list, or with one that cannot be read, is no problem: each batch is then asked for alone.
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


def _delete_input(context: StepContext, lost: Lost) -> Iterator[Event]:
    """Delete the input file, so that a create still under way fails its validation, which costs nothing."""
    if lost.input_file_id is not None:
        context.api.delete_file(lost.input_file_id)
    fenced = {"batch_id": lost.batch_id, "now": clock.now()}
    context.database.write(lambda session: session.run("poll.fenced", fenced))
    yield Waiting(f"batch {lost.batch_id} is not at {context.api.name}; waiting in case it still appears", lost.grace)


def _tell_uncertain(context: StepContext, lost: Sequence[Lost], error: NoList) -> Iterator[Event]:
    """Tell what is and is not certain of creates whose reply was lost at a provider that has no list of batches."""
    for each in lost:
        yield Waiting(
            f"batch {each.batch_id}: the reply to its create was lost, and {context.api.name} has no list of "
            f"batches to look it up in ({error.status}). If it was made, its {each.requests:,} requests run and are "
            f"billed there; they are not sent again. {_free(context, each.job_id)}"
        )


def _list_needed(context: StepContext, lost: Sequence[Lost], error: ProviderUnreachable) -> ProviderUnreachable:
    """Return the error of a list of batches with what it is needed for; and from the second on, what frees the job."""
    requests = sum(each.requests for each in lost)
    told = f"{str(error).rstrip('. ')}. Only the list can tell whether a create whose reply was lost made its batch; "
    told += f"until then its {requests:,} requests are not sent again"
    if not context.first_time(f"no list for {lost[0].batch_id}"):
        told += f". {_free(context, lost[0].job_id)}"
    return ProviderUnreachable(told, error.status, error.retry_after)


def _tell_forgotten(context: StepContext, batch: OpenBatch, error: ProviderRefused) -> Iterator[Event]:
    yield Waiting(f"batch {batch.provider_id} cannot be looked up: {error}")
    if _age(batch) > _FORGOTTEN and context.first_time(f"forgotten {batch.batch_id}"):
        yield Notice(
            f"batch {batch.provider_id}: {context.api.name} does not know it any more ({error.status}). Its "
            f"{batch.requests:,} requests may have been answered and billed, so they are not sent again. "
            + _free(context, batch.job_id)
        )


def _tell_odd(context: StepContext, open_batch: OpenBatch, batch: ProviderBatch) -> Iterator[Event]:
    """Tell once a run of a status that sqlbatch does not know, and of a batch that outlasts its window."""
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
            f"answered and billed. {_free(context, open_batch.job_id)}"
        )


def _free(context: StepContext, job_id: int | None) -> str:
    job = context.job_id if job_id is None else job_id
    return (
        f"sqlbatch cancel {job} --give-up lets them be sent again (it asks first); results that appear later are still "
        "loaded"
    )


def _age(batch: OpenBatch) -> float:
    return (clock.now() - batch.opened_at).total_seconds()

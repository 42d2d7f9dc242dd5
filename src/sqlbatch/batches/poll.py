"""Where the batches are: look them up, adopt what was made and not heard of, fence what was not."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlbatch import clock
from sqlbatch.batches.events import Event, Notice, Progress, Submitted, Waiting
from sqlbatch.db import jobs
from sqlbatch.errors import ProviderError, ProviderRefused, ProviderUnreachable
from sqlbatch.leases import is_gone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlbatch.batches.client import BatchAPI
    from sqlbatch.batches.dialects import ProviderBatch
    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session

# Up to so many open batches are asked for one by one; more are read from the provider's list.
ONE_BY_ONE = 3
# Of a list, so many pages of 100 are read beyond what the open batches fill, before the rest is asked for one by one.
SPARE_PAGES = 5


def adopt(
    database: Database, api: BatchAPI, provider: Provider, owner: str, begun: datetime, looked: set[str]
) -> Iterator[Event]:
    """Settle the batches whose create has an unknown outcome: adopted, fenced, or abandoned after the grace.

    What our own state takes for not made (`looked`: what this run has looked up before) is looked for too, once a run:
    the database may be a restored backup, and a batch that was given up may have been made after all.
    """
    _void_leases(database, provider, owner)
    asked = {"base_url": provider.base_url, "now": clock.now()}
    lost = database.read(
        lambda session: session.run("poll.lost", asked | {"grace": provider.silence_grace, "owner": owner})
    )
    doubtful = database.read(lambda session: session.run("poll.doubtful", asked | {"begun": begun}))
    if not lost and all(row[0] in looked for row in doubtful):
        return
    looked.update(row[0] for row in doubtful)
    made_at = {row[0]: api.file_created_at(row[2]) if row[1] == "creating" else None for row in lost}
    found = _look_through(
        api,
        {row[0]: row[2] for row in lost},
        {row[0]: row[2] for row in doubtful},
        [at for at in made_at.values() if at is not None],
    )
    for batch_id, state, _ in doubtful:
        if batch_id in found:
            yield from recover(database, api, batch_id, state, found[batch_id])
    for batch_id, state, file_id, requests, grace, fenced_at in lost:
        if batch_id in found:
            yield from recover(database, api, batch_id, state, found[batch_id])
        elif state == "creating":
            if made_at[batch_id] is None:
                yield Waiting(
                    f"{api.name}: the input file of {batch_id} cannot be seen with this key, so it cannot be told "
                    "whether the batch was made: use the key it was made with"
                )
                continue
            if database.write(lambda session, i=batch_id: session.run("poll.fence", {"batch_id": i})):  # type: ignore[misc]
                yield from _delete_input(database, api, batch_id, file_id, grace)
        elif fenced_at is None:
            yield from _delete_input(database, api, batch_id, file_id, grace)
        elif clock.now() >= fenced_at + timedelta(seconds=grace):
            fact = {
                "batch_id": batch_id,
                "now": clock.now(),
                "code": "never_made",
                "error": "not found at the provider",
            }
            database.write(lambda session, fact=fact: session.run("submit.abandon", fact))  # type: ignore[misc]
            yield Notice(f"batch {batch_id} was never made at {api.name}: its {requests:,} requests are sent anew")


def recover(database: Database, api: BatchAPI, batch_id: str, state: str, batch: ProviderBatch) -> Iterator[Event]:
    """Note a batch that is at the provider although our state says otherwise; stop it where it was sent again since."""
    opened = {"batch_id": batch_id, "provider_id": batch.provider_id, "status": batch.status, "now": clock.now()}

    def note(session: Session) -> tuple[int, int] | None:
        known = session.run("poll.adopted", opened | {"state": state})
        return (known[0][0], session.run("poll.doubled", {"batch_id": batch_id})[0][0]) if known else None

    noted = database.write(note)
    if noted is None:
        return
    requests, doubled = noted
    yield Submitted(batch_id, batch.provider_id, requests, adopted=True)
    if doubled and not batch.ended:
        yield Notice(
            f"batch {batch.provider_id} appeared after it was given up, when {doubled:,} of its requests had been sent "
            "again: it is cancelled, and what it has answered is kept"
        )
        # Where it cannot be stopped it has ended, and is loaded like any other.
        with contextlib.suppress(ProviderError):
            api.cancel(batch.provider_id)


def poll(database: Database, api: BatchAPI, provider: Provider) -> Iterator[Event]:
    """Look at the open batches and note what the provider says of each."""
    opened = database.read(lambda session: session.run("poll.open", {"base_url": provider.base_url}))
    if not opened:
        return
    wanted = {provider_id: batch_id for batch_id, provider_id in opened}
    seen: dict[str, ProviderBatch] = {}
    problem: ProviderError | None = None
    if len(wanted) > ONE_BY_ONE:
        pages = len(wanted) // 100 + SPARE_PAGES
        for number, batch in enumerate(api.batches()):
            if batch.provider_id in wanted:
                seen[batch.provider_id] = batch
            if len(seen) == len(wanted) or number >= pages * 100:
                break
    for provider_id in wanted.keys() - seen.keys():
        try:
            seen[provider_id] = api.retrieve(provider_id)
        except ProviderRefused as error:
            if error.status in {401, 403}:
                # The key is refused, not the batch: nothing can be looked up with it.
                problem = error
            else:
                yield Waiting(f"batch {provider_id} cannot be looked up: {error}")
        except ProviderUnreachable as error:
            # The others are noted first, so that one batch that cannot be asked for holds up none of them.
            problem = error

    def note(session: Session) -> None:
        for provider_id, batch in seen.items():
            session.run("poll.saw", _seen(wanted[provider_id], batch))

    database.write(note)
    if problem is not None:
        raise problem


def progress(database: Database, job_id: int) -> Progress:
    """Return where the batches are that a job needs."""
    rows = database.read(lambda session: session.run("poll.progress", {"job_id": job_id}))
    totals = [sum(row[column] for row in rows) for column in (1, 2, 3, 4)]
    return Progress(totals[0], totals[1], totals[2], totals[3], tuple((row[0], row[1]) for row in rows))


def left(database: Database, provider: Provider, job_id: int) -> tuple[int, float | None]:
    """Return how many requests of a job are not settled, and in how many seconds our own clock allows the next act."""
    unsettled = jobs.tally(database, job_id).unsettled
    now = clock.now()
    asked = {"job_id": job_id, "base_url": provider.base_url, "now": now, "grace": provider.silence_grace}
    until = database.read(lambda session: session.run("poll.until", asked))[0][0]
    return unsettled, None if until is None else (until - now).total_seconds()


def _void_leases(database: Database, provider: Provider, owner: str) -> None:
    """End the leases of processes of this computer that were killed; what they were at is looked up like any other."""
    asked = {"base_url": provider.base_url, "now": clock.now()}
    owners = database.read(lambda session: session.run("poll.owners", asked))
    gone = [name for (name,) in owners if name is not None and name != owner and is_gone(name)]
    if gone:
        database.write(lambda session: [session.run("poll.void", {"owner": name, "now": clock.now()}) for name in gone])


def _look_through(
    api: BatchAPI, lost: dict[str, str], doubtful: dict[str, str | None], made_at: list[int]
) -> dict[str, ProviderBatch]:
    """Find batches by our id in their metadata, or by their input file where a provider drops metadata.

    What is lost and not found is absent: the list was read to its end, or past the time when the oldest input file was
    made. For what is only doubtful a few pages are read.
    """
    wanted = doubtful | lost
    by_file = {file_id: batch_id for batch_id, file_id in wanted.items() if file_id is not None}
    found: dict[str, ProviderBatch] = {}
    for number, batch in enumerate(api.batches(whole=bool(lost))):
        batch_id = batch.batch_id if batch.batch_id in wanted else by_file.get(batch.input_file_id or "")
        if batch_id is not None:
            found[batch_id] = batch
        if len(found) == len(wanted) or (not lost and number >= SPARE_PAGES * 100):
            return found
        # Minutes of slack, for lists are ordered by a clock that need not be the files' own.
        if len(made_at) == len(lost) > 0 and batch.created_at is not None and batch.created_at < min(made_at) - 300:
            return found
    return found


def _delete_input(database: Database, api: BatchAPI, batch_id: str, file_id: str, grace: float) -> Iterator[Event]:
    """Delete the input file, so that a create still under way fails its validation, which costs nothing."""
    api.delete_file(file_id)
    database.write(lambda session: session.run("poll.fenced", {"batch_id": batch_id, "now": clock.now()}))
    yield Waiting(f"batch {batch_id} is not at {api.name}; waiting in case it still appears", grace)


def _seen(batch_id: str, batch: ProviderBatch) -> dict[str, Any]:
    first = batch.errors[0] if batch.errors else None
    return {
        "batch_id": batch_id,
        "status": batch.status,
        "completed": batch.completed,
        "failed": batch.failed,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "ended": batch.ended,
        "now": clock.now(),
        "code": first.code if first else None,
        "error": first.message if first else None,
    }

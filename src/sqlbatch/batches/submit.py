"""A batch's way to the provider: write its file, upload it, create the batch, each step committed before the next."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.batches import budget, refusals, request_file
from sqlbatch.batches.spool import input_name
from sqlbatch.errors import ProviderError, ProviderUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sqlbatch.batches.client import BatchAPI
    from sqlbatch.batches.dialects import ProviderBatch
    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session

# Seconds of the lease on an upload: 200 MB at 2 Mbit/s take 14 minutes.
UPLOAD_LEASE = 1800.0
# Seconds of the lease on a create; the POST itself is given up long before.
CREATE_LEASE = 900.0
# Seconds of the first pause after a refusal that passes; each further one is twice as long, up to the last.
FIRST_PAUSE, LONGEST_PAUSE = 15.0, 1800.0
# Of all 4xx replies to a create these alone do not say that no batch was made: a proxy's time-out, and a conflict with
# what is there already.
_UNCERTAIN = frozenset({408, 409})


@dataclass(frozen=True)
class Sent:
    """What became of an attempt to send a batch; `provider_id` is None where no batch is known to be made.

    `held` says why the job's budget does not allow it. `late` is the provider's batch where the reply came after
    somebody had settled the attempt otherwise. `blocks` where the job waits for its user now.
    """

    batch_id: str
    requests: int
    provider_id: str | None = None
    problem: str | None = None
    code: str | None = None
    retry_after: float | None = None
    late: ProviderBatch | None = None
    held: str | None = None
    blocks: bool = False


def ready(session: Session, job_id: int, provider: Provider, owner: str) -> list[tuple[str, int, int, str | None]]:
    """Return the batches that a job needs and that may be sent now: id, requests, bytes, who left its upload behind."""
    asked = {"job_id": job_id, "base_url": provider.base_url, "owner": owner, "now": clock.now()}
    limits = {"most": provider.max_enqueued_tokens, "an_hour": provider.batches_per_hour}
    return session.run("submit.ready", asked | limits)


def send(  # noqa: PLR0911 (one a way out)
    database: Database,
    api: BatchAPI,
    provider: Provider,
    job_id: int,
    batch_id: str,
    owner: str,
    spool: Path,
    progress: Callable[[int], None],
) -> Sent | None:
    """Send one batch, at the cost of a job; None where somebody else has it, or where it starts over at the next step.

    A problem with the provider is told in what is returned; only the database's own errors are raised.
    """
    now = clock.now()
    claim = {"batch_id": batch_id, "owner": owner, "now": now, "until": clock.after(UPLOAD_LEASE)}

    def take(session: Session) -> tuple[int, int, str | None] | str | None:
        reservation = budget.reserve(session, job_id, batch_id)
        if reservation.held is not None:
            return reservation.held
        found = session.run("submit.claim", claim | {"job_id": job_id, "reserved": reservation.dollars})
        return (found[0][0], found[0][1], found[0][2]) if found else None

    claimed = database.write(take)
    if claimed is None:
        return None
    if isinstance(claimed, str):
        return Sent(batch_id, 0, held=claimed)
    requests, size, file_id = claimed
    try:
        endpoint = database.read(lambda session: session.run("submit.extent", {"batch_id": batch_id}))[0][2]
        if file_id is None:
            url = provider.line_url(endpoint)
            size += requests * (len(url) - len(endpoint))
            path = spool / input_name(batch_id)
            before = path.exists() and path.stat().st_size == size
            if not before:
                left = request_file.make(database, batch_id, path, url)
                if left is not None:
                    requests, size = left
                if not requests:
                    return None
            file_id = _uploaded(api, path, progress, before=before)
    except ProviderError as error:
        let_go = {"batch_id": batch_id, "owner": owner, "error": str(error)}
        blocks = _given_up(database, job_id, error, "submit.let_go", let_go)
        return _problem(batch_id, requests, error, blocks=blocks)
    lease = clock.after(CREATE_LEASE)
    creating = {"batch_id": batch_id, "owner": owner, "input_file_id": file_id, "now": clock.now(), "until": lease}
    if not database.write(lambda session: session.run("submit.creating", creating)):
        return None
    # Read back from the file before money is spent: what a faulty disk or lock has lost is not built upon.
    if not database.read(lambda session: session.run("submit.is_creating", {"batch_id": batch_id, "owner": owner})):
        return None
    if clock.now() >= lease:
        # The computer slept since the commit: another process may have fenced this attempt.
        database.write(lambda session: session.run("submit.start_over", {"batch_id": batch_id, "owner": owner}))
        return None
    return _created(database, api, provider, job_id, batch_id, requests, file_id, endpoint)


def pause(database: Database, job_id: int, reason: str, code: str | None, at_least: float | None = None) -> float:
    """Pause a job, longer each time until something works again; return the seconds."""

    def note(session: Session) -> float:
        last = float(session.run("submit.pause_seconds", {"job_id": job_id})[0][0])
        seconds = max(min(max(2 * last, FIRST_PAUSE), LONGEST_PAUSE), at_least or 0.0)
        until = clock.after(seconds)
        fact = {"job_id": job_id, "reason": reason, "code": code, "seconds": seconds, "until": until}
        session.run("submit.pause", fact)
        return seconds

    return database.write(note)


def judge(database: Database, job_id: int, *, failing: bool, reason: str) -> bool:
    """Note whether a job's first results are of use, for what fails sends no more; return whether nobody had before."""
    fact = {"job_id": job_id, "failing": failing, "reason": reason}
    return bool(database.write(lambda session: session.run("submit.judge", fact)))


def keep_going(database: Database, job_id: int) -> None:
    """Note that a job goes on, however many of its first results are of no use."""
    database.write(lambda session: session.run("submit.keep_going", {"job_id": job_id}))


def looks_refused(database: Database, job_id: int, reason: str) -> None:
    """Note that the provider does not let us look, so that who asks for the job is told."""
    database.write(lambda session: session.run("submit.looks_refused", {"job_id": job_id, "reason": reason}))


def looked(database: Database, job_id: int) -> None:
    """Note that the provider lets us look again."""
    database.write(lambda session: session.run("submit.looked", {"job_id": job_id}))


def _uploaded(api: BatchAPI, path: Path, progress: Callable[[int], None], *, before: bool) -> str:
    """Upload a file and return its id; one that was written `before` may have been uploaded with its reply lost."""
    found = api.find_upload(path.name, path.stat().st_size) if before else None
    return found or api.upload(path, progress)


def _created(
    database: Database,
    api: BatchAPI,
    provider: Provider,
    job_id: int,
    batch_id: str,
    requests: int,
    file_id: str,
    endpoint: str,
) -> Sent:
    try:
        batch = api.create(file_id, provider.endpoint(endpoint), batch_id)
    except ProviderError as error:
        status = getattr(error, "status", None)
        blocks = False
        if status is not None and 400 <= status < 500 and status not in _UNCERTAIN:
            fact = {"batch_id": batch_id, "now": clock.now(), "code": getattr(error, "code", None), "error": str(error)}
            blocks = _given_up(database, job_id, error, "submit.abandon", fact, file_id)
            with contextlib.suppress(ProviderError):
                api.delete_file(file_id)
        else:
            grace = provider.silence_grace if status is None else provider.error_grace
            lost = {"batch_id": batch_id, "now": clock.now(), "grace": grace, "error": str(error)}
            database.write(lambda session: session.run("submit.unknown", lost))
        return _problem(batch_id, requests, error, blocks=blocks)
    opened = {
        "batch_id": batch_id,
        "provider_id": batch.provider_id,
        "status": batch.status,
        "now": clock.now(),
        "adopted": False,
    }
    known = database.write(lambda session: session.run("submit.open", opened))
    return Sent(batch_id, requests, batch.provider_id, late=None if known else batch)


def _given_up(
    database: Database,
    job_id: int,
    error: ProviderError,
    how: str,
    fact: Mapping[str, object],
    file_id: str | None = None,
) -> bool:
    """Note an attempt's end, by a named statement; return whether its job is blocked now, until its user goes on.

    That is where waiting cannot mend what was refused. It is one transaction, so that nothing is sent after a crash.
    """

    def note(session: Session) -> bool:
        session.run(how, fact)
        last = float(session.run("submit.pause_seconds", {"job_id": job_id})[0][0])
        # The provider may not be done with a file that it names; it is not waited for without end.
        if refusals.waiting_mends(error, file_id if last < LONGEST_PAUSE else None):
            return False
        told = {"job_id": job_id, "reason": refusals.reason(error), "code": refusals.code_of(error)}
        return bool(session.run("submit.block", told))

    return database.write(note)


def _problem(batch_id: str, requests: int, error: ProviderError, *, blocks: bool) -> Sent:
    retry_after = error.retry_after if isinstance(error, ProviderUnreachable) else None
    code = refusals.code_of(error)
    return Sent(batch_id, requests, problem=str(error), code=code, retry_after=retry_after, blocks=blocks)

"""Send a batch to the provider: write its file, upload it, create the batch; each step is committed before the next.

Also how a refusal is handled: whether waiting helps, how long the job pauses, what its user can do.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.batches import budget, request_file
from sqlbatch.batches.parse_results import UNREADABLE
from sqlbatch.batches.transfer import input_name
from sqlbatch.errors import ProviderError, ProviderRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sqlbatch.batches.context import StepContext
    from sqlbatch.batches.replies import ProviderBatch
    from sqlbatch.db.database import Database
    from sqlbatch.db.jobs import JobRow
    from sqlbatch.db.session import Session

# Seconds of the lease on an upload: 200 MB at 2 Mbit/s take 14 minutes.
UPLOAD_LEASE = 1800.0
# Seconds of the lease on a create; the POST itself is given up long before.
CREATE_LEASE = 900.0
# Seconds of the first pause after a temporary refusal; each further pause is twice as long, up to the second number.
FIRST_PAUSE, LONGEST_PAUSE = 15.0, 1800.0
# How often a run repeats the create for a file that the provider may still be processing, before it uploads the file
# again: Azure accepts no batch for a file before it has processed it, and other providers report it as not found.
_ASKED_OF_A_FILE = 5
_UNDONE = re.compile(
    r"(?is)\bfile.*?(not (yet )?(been )?(found|ready|available|processed|exist)|(is|still|being) (being )?process"
    r"|pending|not in \W?processed|doesn.t exist|no such)|no such file"
)
# Only after these two 4xx replies may the batch exist all the same: a proxy's time-out, and a conflict.
_UNCERTAIN = frozenset({408, 409})
# Codes of an account without money, which the user may top up while the job waits.
_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_REMEDIES = {
    401: "set the right key",
    403: "use a key with this permission, or have it granted there",
    404: "check the model, the endpoint and the base URL; to change them, run its enrich again",
    413: "set a smaller max_bytes under [providers.NAME] in sqlbatch.toml",
}


@dataclass(frozen=True)
class Sent:
    """The result of an attempt to send a batch; `provider_id` is None if no batch is known to exist.

    `held` says why a budget does not allow it, and `until` when that may change. `late` is the provider's batch if the
    reply came after another process had settled the attempt differently. `blocks`: the job now waits for its user.
    """

    batch_id: str
    requests: int
    provider_id: str | None = None
    problem: str | None = None
    code: str | None = None
    retry_after: float | None = None
    late: ProviderBatch | None = None
    held: str | None = None
    until: datetime | None = None
    blocks: bool = False


def ready(context: StepContext) -> list[tuple[str, int, int, str | None]]:
    """Return the batches that the job needs and may send now: id, requests, bytes, and who left its upload behind."""
    provider = context.provider
    asked = {"job_id": context.job_id, "base_url": provider.base_url, "owner": context.owner, "now": clock.now()}
    limits = {"most": provider.max_enqueued_tokens, "an_hour": provider.batches_per_hour}
    return context.database.query("submit.ready", asked | limits)


def send(context: StepContext, batch_id: str, progress: Callable[[int], None]) -> Sent | None:  # noqa: PLR0911 (one a way out)
    """Send one batch, on the job's budget; return None if another process has it, or if the next step starts over.

    Provider errors are in the result; only errors of the database are raised.
    """
    database, provider, owner = context.database, context.provider, context.owner
    ours = {"batch_id": batch_id, "owner": owner}
    claim = ours | {"now": clock.now(), "until": clock.after(UPLOAD_LEASE)}

    def take(session: Session) -> tuple[int, int, str | None] | budget.Reservation | None:
        asked = {"batch_id": batch_id, "now": claim["now"]}
        limit = session.run("submit.limit", asked | {"most": provider.max_enqueued_tokens})[0][0]
        if limit is not None:
            # Another process may have claimed a batch since this one was found ready; only one of two fits the budget.
            session.run("database.planner_lock")
            if not session.run("submit.room", asked | {"limit": limit}):
                return None
        reservation = budget.reserve(session, context.job_id, batch_id)
        if reservation.held is not None:
            return reservation
        found = session.run("submit.claim", claim | {"job_id": context.job_id, "reserved": reservation.dollars})
        return (found[0][0], found[0][1], found[0][2]) if found else None

    claimed = database.write(take)
    if claimed is None:
        return None
    if isinstance(claimed, budget.Reservation):
        return Sent(batch_id, 0, held=claimed.held, until=claimed.until)
    requests, size, file_id = claimed
    try:
        endpoint = database.query("submit.extent", {"batch_id": batch_id})[0][2]
        if file_id is None:
            url = provider.line_url(endpoint)
            size += requests * (len(url) - len(endpoint))
            path = context.spool / input_name(batch_id)
            before = path.exists() and path.stat().st_size == size
            if not before:
                left = request_file.make(database, batch_id, path, url)
                if left is not None:
                    requests, size = left
                if not requests:
                    return None
            if before:
                # The file may have been uploaded and the reply lost. If that is unknown, uploading it again costs
                # nothing.
                with contextlib.suppress(ProviderError):
                    file_id = context.api.find_upload(path.name, size)
            file_id = file_id or context.api.upload(path, progress)
    except ProviderError as error:
        blocks = _end_attempt(context, error, "submit.let_go", ours | {"error": str(error)})
        return _problem(batch_id, requests, error, blocks=blocks)
    lease = clock.after(CREATE_LEASE)
    if not database.execute("submit.creating", ours | {"input_file_id": file_id, "now": clock.now(), "until": lease}):
        return None
    # Read the state back from the file before money is spent: a faulty disk or lock may have lost the commit.
    database.let_go()
    if not database.query("submit.is_creating", ours):
        return None
    if clock.now() >= lease:
        # The computer slept after the commit, so another process may have fenced this attempt.
        database.execute("submit.start_over", ours | {"error": None})
        return None
    if database.guard is not None:
        database.guard()
    return _create(context, batch_id, requests, file_id, endpoint)


def pause(
    database: Database,
    job_id: int,
    reason: str,
    code: str | None,
    at_least: float | None = None,
    batch_id: str | None = None,
) -> float:
    """Pause the job that sent a batch, or else `job_id`; each pause is longer, until something succeeds.

    Returns the seconds of the pause, which is at least `at_least`.
    """
    whose = {"batch_id": batch_id, "job_id": job_id}

    def note(session: Session) -> float:
        last: float = session.run("submit.pause_seconds", whose)[0][0]
        seconds = max(min(max(2 * last, FIRST_PAUSE), LONGEST_PAUSE), at_least or 0.0)
        why = {"reason": reason, "code": code}
        session.run("submit.pause", whose | why | {"seconds": seconds, "until": clock.after(seconds)})
        return seconds

    return database.write(note)


def resume(database: Database, job_id: int, *, keep_going: bool) -> None:
    """Let a job continue because its user asked; with `keep_going`, also one whose first results cannot be used."""

    def note(session: Session) -> None:
        if keep_going:
            session.run("submit.keep_going", {"job_id": job_id})
        session.run("submit.resume", {"job_id": job_id})

    database.write(note)


def refusal_in_words(job: JobRow) -> str:
    """Return the words for a job that is blocked by a permanent refusal: why, and how it can continue."""
    if job.blocked_code == UNREADABLE:
        return (
            f"blocked: {job.blocked}. Nothing is paid for again unless you ask: repair a file and load it with "
            f"sqlbatch load {job.job_id} --as FILE, or pay again with sqlbatch retry {job.job_id} --only {UNREADABLE}, "
            f"or continue without these results with sqlbatch wait {job.job_id}"
        )
    return f"blocked: {job.blocked}; nothing more is sent until you run sqlbatch wait {job.job_id}"


def _create(context: StepContext, batch_id: str, requests: int, file_id: str, endpoint: str) -> Sent:
    database = context.database
    try:
        batch = context.api.create(file_id, context.provider.endpoint(endpoint), batch_id)
    except ProviderError as error:
        status, blocks = error.status, False
        if status is not None and 400 <= status < 500 and status not in _UNCERTAIN:
            undone = file_id in str(error) or _UNDONE.search(str(error)) is not None
            last = database.query("submit.pause_seconds", {"batch_id": None, "job_id": context.job_id})[0][0]
            if (last < LONGEST_PAUSE and _may_ask_again(context, batch_id)) if undone else _waiting_mends(error):
                # It is certain that no batch exists, and the file is fine: it is used again, not uploaded anew.
                over = {"batch_id": batch_id, "owner": context.owner, "error": str(error)}
                _end_attempt(context, error, "submit.start_over", over, undone=undone)
                return _problem(batch_id, requests, error, blocks=False)
            fact = {"batch_id": batch_id, "now": clock.now(), "code": error.code, "error": str(error)}
            blocks = _end_attempt(context, error, "submit.abandon", fact, undone=undone)
            # A shared copy of the state may still have the create as on its way; without the file it could not be
            # told whether the batch was made.
            if database.guard is None:
                with contextlib.suppress(ProviderError):
                    context.api.delete_file(file_id)
        else:
            # A server's error reply comes after it has finished with the create; silence and a proxy's page prove
            # nothing.
            replied = status is not None and status >= 400
            grace = context.provider.error_grace if replied else context.provider.silence_grace
            lost = {"batch_id": batch_id, "now": clock.now(), "grace": grace, "error": str(error)}
            database.execute("submit.unknown", lost)
        return _problem(batch_id, requests, error, blocks=blocks)
    opened = {"batch_id": batch_id, "provider_id": batch.provider_id, "status": batch.status, "now": clock.now()}
    known = database.execute("submit.open", opened)
    return Sent(batch_id, requests, batch.provider_id, late=None if known else batch)


def _may_ask_again(context: StepContext, batch_id: str) -> bool:
    """Return whether the run may repeat the create for the same file once more; it counts the call."""
    return any(context.first_time(f"asked {number} of the file of {batch_id}") for number in range(_ASKED_OF_A_FILE))


def _end_attempt(
    context: StepContext,
    error: ProviderError,
    statement: str,
    fact: Mapping[str, object],
    *,
    undone: bool = False,
) -> bool:
    """Note the end of an attempt, by a named statement; return whether its job is blocked now, until its user acts.

    A job is blocked if waiting does not help against the refusal. `undone`: the refusal is about the input file, which
    the provider may still be processing, or has lost. It is one transaction, so that nothing is sent after a crash.
    """

    def note(session: Session) -> bool:
        session.run(statement, fact)
        last = session.run("submit.pause_seconds", {"batch_id": None, "job_id": context.job_id})[0][0]
        # A file is not waited for without end.
        if _waiting_mends(error) or (undone and last < LONGEST_PAUSE):
            return False
        told = {"job_id": context.job_id, "reason": _reason(error), "code": _code_of(error)}
        return bool(session.run("submit.block", told))

    return context.database.write(note)


def _problem(batch_id: str, requests: int, error: ProviderError, *, blocks: bool) -> Sent:
    wait = error.retry_after
    return Sent(batch_id, requests, problem=str(error), code=_code_of(error), retry_after=wait, blocks=blocks)


def _code_of(error: ProviderError) -> str | None:
    """Return the provider's code for an error, or its HTTP status as a code; None if there is neither."""
    return error.code or (f"http_{error.status}" if error.status else None)


def _waiting_mends(error: ProviderError) -> bool:
    """Return whether a refused request may succeed later, without a person doing more than paying."""
    if not isinstance(error, ProviderRefused):
        return True
    return error.status == 402 or error.code in _MONEY


def _reason(error: ProviderError) -> str:
    """Return why a job sends nothing more, and what its user can do."""
    remedy = _REMEDIES.get(error.status or 0)
    return str(error).rstrip(". ") + (f" ({remedy})" if remedy else "")

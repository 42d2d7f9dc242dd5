"""Load finished batches: download their result files, read every line, account for every request in one transaction.

A request is sent and paid for again only with evidence that it was not answered: an error line, an expired batch, or a
complete and readable result file without it. Everything else is downloaded again, and if that does not help, kept and
reported.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.batches import download
from sqlbatch.batches.download import Ended, Fetched
from sqlbatch.batches.events import Activity, Loaded, Notice, Transferring
from sqlbatch.batches.evidence import Check, Doubtful, doubt_of, keep_files, read_files, too_early
from sqlbatch.batches.parse_results import LONGEST_LINE, UNREADABLE, lines_sql, parse_results
from sqlbatch.batches.providers import BLOCKING_CODES
from sqlbatch.batches.transfer import input_name, transfers
from sqlbatch.errors import DatabaseError, DatabaseLocked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from sqlbatch.batches.context import StepContext
    from sqlbatch.batches.replies import BatchError, ProviderBatch
    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session

# This many batches are downloaded before they are loaded together. DuckDB compresses results 122,880 at a time, so
# loading a few batches together takes half the work of loading them one by one, and little disk space.
WAVE = 8
# The code of requests that were released because we had deleted the input file; there is nothing to wait for.
FENCED = "fenced"
_MISSING = {"outcome": "retryable", "code": "missing", "message": "in neither result file"}
_GONE = {
    "outcome": "failed",
    "code": "results_expired",
    "message": "the provider no longer has the result file; sqlbatch retry asks (and pays) again",
}
_DELETED = {
    "outcome": "released",
    "code": FENCED,
    "message": "the batch's input file was deleted, because it was unknown whether the batch existed",
}
# Codes of a failed batch that mean: not now, but nothing is wrong with the requests.
_RELEASING = BLOCKING_CODES | {"token_limit_exceeded", "rate_limit_exceeded"}


@dataclass(frozen=True)
class LoadedBatch:
    """What was loaded, the messages for its user, and why requests were released (`waits_for`, `code`)."""

    event: Loaded
    notices: tuple[Notice, ...]
    waits_for: str | None
    code: str | None


def load_ended(context: StepContext) -> Iterator[Transferring | Activity | LoadedBatch]:
    """Download and load finished batches.

    A problem with one batch does not hold up the others; the first problem is raised at the end.
    """
    ended = context.database.query("results.ended", {"base_url": context.provider.base_url})
    batches = [Ended(*row) for row in ended]
    problem: BaseException | None = None
    for first in range(0, len(batches), WAVE):
        for each in _wave(context, batches[first : first + WAVE]):
            if isinstance(each, BaseException):
                problem = problem or each
            else:
                yield each
    if problem is not None:
        raise problem


def _wave(
    context: StepContext, batches: list[Ended]
) -> Iterator[Transferring | Activity | LoadedBatch | BaseException]:
    brought: list[download.Brought] = []
    tasks = [partial(download.bring, context.api, context.spool, batch) for batch in batches]
    try:
        for end in transfers("download", tasks, None):
            if isinstance(end, Transferring):
                yield end
            elif end.result is not None:
                brought.append(end.result)
            elif end.error is not None:
                yield end.error
        if brought:
            yield Activity(f"loading {sum(batch.requests for batch, _ in brought):,} results")
        yield from _load(context, brought)
    finally:
        # Files that could not be loaded are downloaded again; keeping them would fill the disk with every try.
        for _, fetched in brought:
            for path in fetched.files:
                path.unlink(missing_ok=True)


def _load(context: StepContext, brought: list[download.Brought]) -> Iterator[LoadedBatch | BaseException]:
    """Load the downloaded batches, together if possible, and yield the result or the error of each."""
    database, spool, check = context.database, context.spool, context.check
    alone = [each for each in brought if each[1].failed is not None]
    for group in download.groups([each for each in brought if each[1].failed is None]):
        try:
            done = load_together(database, group, check)
        except DatabaseLocked:
            raise
        except DatabaseError:
            # One of them may be the cause, and must not hold up the others.
            done = None
        if done is None:
            alone += group
            continue
        yield from done
        for batch, _ in group:
            (spool / input_name(batch.batch_id)).unlink(missing_ok=True)
    for batch, fetched in alone:
        kept = spool / input_name(batch.batch_id)
        try:
            if fetched.failed is None:
                loaded = load_files(database, batch, fetched, check, spool.parent / "unreadable")
            else:
                loaded = load_failed(database, batch, fetched.failed, kept)
        except DatabaseLocked:
            raise
        except Exception as error:  # noqa: BLE001 (told at the end, after the others)
            yield error
            continue
        kept.unlink(missing_ok=True)
        if loaded is not None:
            yield loaded


def load_files(
    database: Database, batch: Ended, fetched: Fetched, check: Check, unreadable: Path
) -> LoadedBatch | None:
    """Load a batch's result files; return None if another process has loaded it.

    Raises ProviderUnreachable if the files do not account for every request and a new download may help. If it does not
    help, the requests in doubt fail with the code UNREADABLE; if they are more than a few, the files are kept in the
    folder `unreadable`, and the jobs that want the requests are blocked.
    """

    def write(session: Session) -> LoadedBatch | None:
        claimed = session.run("results.claim", {"batch_id": batch.batch_id, "now": clock.now()})
        if not claimed:
            return None
        with contextlib.ExitStack() as copies:
            found, files, longest = read_files(session, batch, fetched.files, check, copies)
            missing = batch.requests - found.read
            doubt = doubt_of(batch, fetched, found)
            if doubt is None and not batch.looks and too_early(batch, fetched, found):
                raise Doubtful(
                    f"batch {batch.provider_id}: {missing:,} of its requests have no line; before any is sent again, "
                    "its result files are fetched again"
                )
            few = found.read > 0 and missing <= max(3, batch.requests // 20)
            # Whether a file is late or gone was decided when it was requested; the deadline may have passed since.
            final = few or (batch.overdue and not fetched.late)
            looked = batch.looks >= (download.CUT_AT_MOST if fetched.cut else 1)
            if doubt is not None and not (looked and final):
                raise Doubtful(f"batch {batch.provider_id}: {doubt}; its result files are fetched again")
            fact = _fact(batch, claimed[0][0]) | (_GONE if fetched.gone else _MISSING)
            if doubt is not None:
                fact |= {"outcome": "failed", "code": UNREADABLE, "message": doubt}
            if files:
                session.append_results("results.of_batch", fact)
                if found.spare:
                    unclaimed = {"batch_id": batch.batch_id, "now": clock.now()}
                    session.run("results.strangers", unclaimed, lines=lines_sql(session, files, longest=longest))
            else:
                nothing = {} if fetched.gone or doubt else {"message": "the batch brought no result file"}
                session.append_results("results.same_for_all", fact | nothing)
        if doubt is not None and not few:
            keep_files(fetched.files, batch, unreadable)
            kept = f"; its files are kept in {unreadable}" if fetched.files else ""
            reason = f"unreadable results: batch {batch.provider_id}: {doubt}{kept}"
            session.run("results.block", {"batch_id": batch.batch_id, "reason": reason, "code": UNREADABLE})
        return _counted(session, batch)

    try:
        return database.write(write)
    except Doubtful:
        names = ("batch_id", "output_file_id", "error_file_id", "completed")
        database.execute("results.looked", {name: getattr(batch, name) for name in names})
        raise


def load_together(database: Database, brought: Sequence[download.Brought], check: Check) -> list[LoadedBatch] | None:
    """Load several batches of one kind together, which takes half the work of loading them one by one.

    Returns None, and does nothing, if each must be loaded alone: they do not have exactly one line for each request, or
    another process has loaded one of them.
    """
    batches = [batch for batch, _ in brought]
    files = [path for _, fetched in brought for path in fetched.files]
    if len(batches) == 1 or any(each.gone or each.late or each.cut or not each.files for _, each in brought):
        return None
    endpoint, returns = batches[0].kind
    fact = {"batches": [batch.batch_id for batch in batches], "now": clock.now()}

    def write(session: Session) -> list[LoadedBatch] | None:
        parse_results(session, files, endpoint, check(endpoint, returns))
        if not session.run("results.whole", {"batches": fact["batches"]}):
            return None
        session.run("results.claim_all", fact)
        session.append_results("results.all_results", fact)
        return [_counted(session, batch) for batch in batches]

    return database.write(write)


def load_failed(database: Database, batch: Ended, told: ProviderBatch, kept: Path) -> LoadedBatch | None:
    """Load a batch that failed its validation: requests whose lines have an error fail, all others are released.

    `kept` is the path of its input file, if that is kept.
    """
    lines = [error for error in told.errors if error.line is not None]
    first = told.errors[0] if told.errors else None

    def write(session: Session) -> LoadedBatch | None:
        claimed = session.run("results.claim", {"batch_id": batch.batch_id, "now": clock.now()})
        if not claimed:
            return None
        fact = _fact(batch, claimed[0][0])
        if batch.fenced:
            session.append_results("results.same_for_all", fact | _DELETED)
        elif lines and kept.exists():
            read = lines_sql(session, [kept], longest=max(LONGEST_LINE, kept.stat().st_size))
            wrong = {
                "lines": [error.line for error in lines],
                "codes": [error.code for error in lines],
                "messages": [error.message for error in lines],
            }
            with session.keeping_row_order(keep=True):
                session.append_results("results.line_errors", fact | wrong, lines=read)
        else:
            session.append_results("results.same_for_all", fact | _same(first))
        return _counted(session, batch)

    return database.write(write)


def _same(first: BatchError | None) -> dict[str, object]:
    code = (first.code if first else None) or "batch_failed"
    message = (first.message if first else None) or "the provider did not say why"
    # An unknown cause may lie in the requests: it counts as an attempt, so that it cannot repeat for ever.
    return {"outcome": "released" if code in _RELEASING else "retryable", "code": code, "message": message}


def _fact(batch: Ended, asked_at: datetime) -> dict[str, object]:
    return {"batch_id": batch.batch_id, "asked_at": asked_at, "now": clock.now()}


def _counted(session: Session, batch: Ended) -> LoadedBatch:
    counts = session.run("results.counts", {"batch_id": batch.batch_id})[0]
    answered, failed, retryable, released, quarantined, unreadable, why, code, unsure = counts
    event = Loaded(batch.batch_id, batch.provider_id, batch.status, answered, failed, retryable, released)
    notices = []
    if quarantined:
        notices.append(
            f"{quarantined:,} lines of batch {batch.batch_id} belong to none of its requests: "
            "they are kept in sqlbatch.quarantine"
        )
    if unsure:
        notices.append(
            f"{unsure:,} answers of batch {batch.batch_id} came without the log probabilities that were requested: "
            "their ai_confidence is NULL"
        )
    if unreadable:
        notices.append(
            f"{unreadable:,} results of batch {batch.batch_id} cannot be read: they may be paid for, so they are not "
            f"sent again unless you ask (sqlbatch retry --only {UNREADABLE})"
        )
    return LoadedBatch(event, tuple(map(Notice, notices)), why, code)

"""From result files to results: read every line, account for every request, in one transaction."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.batches.events import Loaded
from sqlbatch.batches.judge import file_list, judge
from sqlbatch.batches.providers import BLOCKING_CODES
from sqlbatch.batches.repair import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from sqlbatch.batches.fetch import Ended, Fetched
    from sqlbatch.batches.replies import BatchError, ProviderBatch
    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session


_MISSING = {"outcome": "retryable", "code": "missing", "message": "in neither result file"}
_GONE = {
    "outcome": "failed",
    "code": "results_expired",
    "message": "the provider has its result file no longer; sqlbatch retry asks (and pays) again",
}
# What is released because we had deleted the input file: nothing is to be waited for.
FENCED = "fenced"
# Of so many first results of a job half must be of use, for the prompt or the returned columns may be wrong.
FIRST_RESULTS = 1_000
# Codes of a failed batch that say: not now, and nothing is wrong with the requests.
_RELEASING = BLOCKING_CODES | {"token_limit_exceeded", "rate_limit_exceeded"}


@dataclass(frozen=True)
class LoadedBatch:
    """What was loaded; `quarantined` counts lines put aside, `waits_for` says and `code` why requests were released."""

    event: Loaded
    quarantined: int
    waits_for: str | None
    code: str | None


def first_results(session: Session, job_id: int) -> tuple[int, int] | None:
    """Return how many results a job has and how many could be used; None where that is judged, or cannot be yet."""
    if not session.run("results.unjudged", {"job_id": job_id, "first": FIRST_RESULTS}):
        return None
    results, usable = session.run("results.tried", {"job_id": job_id})[0]
    return (results, usable) if results >= FIRST_RESULTS else None


def load_files(
    database: Database, batch: Ended, fetched: Fetched, check: Callable[[str, str], str]
) -> LoadedBatch | None:
    """Load what a batch brought; None where somebody else has loaded it.

    `check` makes, of an endpoint and the canonical returned columns, SQL over an answer's `content` and `vector` that
    is NULL where it has the asked-for shape and says what is wrong otherwise.
    """

    def write(session: Session) -> LoadedBatch | None:
        claimed = session.run("results.claim", {"batch_id": batch.batch_id, "now": clock.now()})
        if not claimed:
            return None
        fact = _fact(batch, claimed[0][0]) | (_GONE if fetched.gone else _MISSING)
        if fetched.files:
            wrong = check(batch.endpoint, batch.returns)
            with contextlib.ExitStack() as copies:
                files = fetched.files
                unread, spare = _judged(session, batch, files, wrong)
                if unread:
                    # DuckDB passes over lines that are not UTF-8: they are told from lines that never came.
                    readable = _as_text(files, copies)
                    if readable != files:
                        files = readable
                        unread, spare = _judged(session, batch, files, wrong)
                session.run("results.results", fact)
                if spare:
                    unclaimed = {"batch_id": batch.batch_id, "now": clock.now()}
                    session.run("results.strangers", unclaimed, files=file_list(files))
        else:
            nothing = {} if fetched.gone else {"message": "the batch brought no result file"}
            session.run("results.same_for_all", fact | nothing)
        return _counted(session, batch)

    return database.write(write)


def load_together(
    database: Database, brought: Sequence[tuple[Ended, Fetched]], check: Callable[[str, str], str]
) -> list[LoadedBatch] | None:
    """Load what several batches of one kind brought at once, which is half the work of one after the other.

    None, and nothing done, where each has to be looked at for itself: their lines are not one for each of their
    requests, or somebody else has loaded one of them. `check` is as for `load_files`.
    """
    batches = [batch for batch, _ in brought]
    files = [path for _, fetched in brought for path in fetched.files]
    if len(batches) == 1 or any(fetched.gone or not fetched.files for _, fetched in brought):
        return None
    endpoint, returns = batches[0].kind
    fact = {"batches": [batch.batch_id for batch in batches], "now": clock.now()}

    def write(session: Session) -> list[LoadedBatch] | None:
        judge(session, files, endpoint, check(endpoint, returns))
        if not session.run("results.whole", {"batches": fact["batches"]}):
            return None
        session.run("results.claim_all", fact)
        session.run("results.all_results", fact)
        return [_counted(session, batch) for batch in batches]

    return database.write(write)


def load_failed(database: Database, batch: Ended, told: ProviderBatch, kept: Path) -> LoadedBatch | None:
    """Load a batch that failed its validation: lines that are named fail, all others are released.

    `kept` is its input file, if that is there.
    """
    lines = [error for error in told.errors if error.line is not None]
    first = told.errors[0] if told.errors else None

    def write(session: Session) -> LoadedBatch | None:
        claimed = session.run("results.claim", {"batch_id": batch.batch_id, "now": clock.now()})
        if not claimed:
            return None
        fact = _fact(batch, claimed[0][0])
        if batch.fenced:
            deleted = "the batch's input file was deleted, for it was not known whether the batch was made"
            session.run("results.same_for_all", fact | {"outcome": "released", "code": FENCED, "message": deleted})
        elif lines and kept.exists():
            session.run("results.line_errors", fact | _line_errors(lines), files=file_list([kept]))
        else:
            session.run("results.same_for_all", fact | _same(first))
        return _counted(session, batch)

    return database.write(write)


def _judged(session: Session, batch: Ended, files: tuple[Path, ...], wrong: str) -> tuple[int, int]:
    """Judge the lines; return how many requests none of them is for, and how many lines are one too many."""
    judge(session, files, batch.endpoint, wrong)
    session.run("results.chosen")
    unread, spare = session.run("results.unread", {"batch_id": batch.batch_id})[0]
    return unread, spare


def _as_text(files: tuple[Path, ...], copies: contextlib.ExitStack) -> tuple[Path, ...]:
    """Return the files, in the place of those with bytes that are no UTF-8 a copy that is text, deleted at the end."""
    readable = []
    for path in files:
        copy = path.with_suffix(".text")
        copies.callback(copy.unlink, missing_ok=True)
        readable.append(copy if as_text(path, copy) else path)
    return tuple(readable)


def _same(first: BatchError | None) -> dict[str, object]:
    code = (first.code if first else None) or "batch_failed"
    message = (first.message if first else None) or "the provider did not say why"
    # A cause that we do not know might be the requests': it counts as an attempt, so that it cannot go on for ever.
    return {"outcome": "released" if code in _RELEASING else "retryable", "code": code, "message": message}


def _line_errors(errors: list[BatchError]) -> dict[str, object]:
    return {
        "lines": [error.line for error in errors],
        "codes": [error.code for error in errors],
        "messages": [error.message for error in errors],
    }


def _fact(batch: Ended, asked_at: datetime) -> dict[str, object]:
    return {"batch_id": batch.batch_id, "asked_at": asked_at, "now": clock.now()}


def _counted(session: Session, batch: Ended) -> LoadedBatch:
    counts = session.run("results.counts", {"batch_id": batch.batch_id})[0]
    answered, failed, retryable, released, quarantined, why, code = counts
    event = Loaded(batch.batch_id, batch.provider_id, batch.status, answered, failed, retryable, released)
    return LoadedBatch(event, quarantined, why, code)

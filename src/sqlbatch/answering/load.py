"""From result files to results: download both, read every line, account for every request, in one transaction."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.answering.events import Loaded
from sqlbatch.answering.judge import file_list, judge
from sqlbatch.answering.providers import BLOCKING_CODES
from sqlbatch.answering.repair import as_text
from sqlbatch.answering.spool import input_name, result_name
from sqlbatch.errors import ProviderRefused, ProviderUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from sqlbatch.answering.batch_api import BatchAPI, BatchError, ProviderBatch
    from sqlbatch.store.database import Database, Session


# A result file that is not found so soon after the end may still come: what was paid for is not given up for one 404.
GONE_AFTER = timedelta(minutes=15)
_MISSING = {"outcome": "retryable", "code": "missing", "message": "in neither result file"}
_GONE = {
    "outcome": "failed",
    "code": "results_expired",
    "message": "the provider has its result file no longer; sqlbatch retry asks (and pays) again",
}
# Of so many first results of a job half must be of use, for the prompt or the returned columns may be wrong.
FIRST_RESULTS = 1_000
# Codes of a failed batch that say: not now, and nothing is wrong with the requests.
_RELEASING = BLOCKING_CODES | {"token_limit_exceeded", "rate_limit_exceeded"}


@dataclass(frozen=True)
class Ended:
    """A batch whose results are to be loaded; `fenced` where we deleted its input file, so that it could not run."""

    batch_id: str
    provider_id: str
    status: str
    output_file_id: str | None
    error_file_id: str | None
    requests: int
    endpoint: str
    returns: str
    fenced: bool
    ended_at: datetime


@dataclass(frozen=True)
class Fetched:
    """The result files of a batch, here; `gone` where the provider had one that it has no longer."""

    files: tuple[Path, ...]
    gone: bool


@dataclass(frozen=True)
class LoadedBatch:
    """What was loaded; `quarantined` counts lines put aside, `waits_for` says and `code` why requests were released."""

    event: Loaded
    quarantined: int
    waits_for: str | None
    code: str | None


def ended(session: Session, base_url: str) -> list[Ended]:
    """Return the batches that have ended and are not loaded."""
    return [Ended(*row) for row in session.run("load.ended", {"base_url": base_url})]


def first_results(session: Session, job_id: int) -> tuple[int, int] | None:
    """Return how many results a job has and how many could be used; None where that is judged, or cannot be yet."""
    if not session.run("load.unjudged", {"job_id": job_id, "first": FIRST_RESULTS}):
        return None
    results, usable = session.run("load.tried", {"job_id": job_id})[0]
    return (results, usable) if results >= FIRST_RESULTS else None


def fetch(api: BatchAPI, batch: Ended, spool: Path, progress: Callable[[int], None]) -> Fetched:
    """Download a batch's output and error file to the spool, under names that no other download has."""
    paths: list[Path] = []
    try:
        return _fetched(api, batch, spool, paths, progress)
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        raise


def _fetched(api: BatchAPI, batch: Ended, spool: Path, paths: list[Path], progress: Callable[[int], None]) -> Fetched:
    before, gone = 0, False
    for kind, file_id in (("output", batch.output_file_id), ("error", batch.error_file_id)):
        if file_id is None:
            continue
        path = spool / result_name(batch.batch_id, kind)
        paths.append(path)
        try:
            done = before
            before += api.download(file_id, path, lambda size, done=done: progress(done + size))  # type: ignore[misc]
        except ProviderRefused as error:
            if error.status not in {404, 410}:
                raise
            if error.status == 404 and clock.now() < batch.ended_at + GONE_AFTER:
                raise ProviderUnreachable(f"{api.name} does not have {file_id} yet; it is asked for again") from None
            # With the key of another project nothing of the batch can be seen, and nothing is known of its files.
            api.retrieve(batch.provider_id)
            paths.remove(path)
            gone = True
    return Fetched(tuple(paths), gone)


def load_files(
    database: Database, batch: Ended, fetched: Fetched, check: Callable[[str, str], str]
) -> LoadedBatch | None:
    """Load what a batch brought; None where somebody else has loaded it.

    `check` makes, of an endpoint and the canonical returned columns, SQL over an answer's `content` and `vector` that
    is NULL where it has the asked-for shape and says what is wrong otherwise.
    """

    def write(session: Session) -> LoadedBatch | None:
        claimed = session.run("load.claim", {"batch_id": batch.batch_id, "now": clock.now()})
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
                session.run("load.results", fact)
                if spare:
                    unclaimed = {"batch_id": batch.batch_id, "now": clock.now()}
                    session.run("load.strangers", unclaimed, files=file_list(files))
        else:
            nothing = {} if fetched.gone else {"message": "the batch brought no result file"}
            session.run("load.same_for_all", fact | nothing)
        return _counted(session, batch)

    return database.write(write)


def fetch_input(api: BatchAPI, batch: Ended, told: ProviderBatch, spool: Path) -> Path:
    """Return where the input file is whose lines a failed batch's errors name, fetched back where it is not kept.

    Where the provider does not give it back either, nothing is there.
    """
    kept = spool / input_name(batch.batch_id)
    named = any(error.line is not None for error in told.errors)
    if named and not batch.fenced and told.input_file_id is not None and not kept.exists():
        part = spool / result_name(batch.batch_id, "input")
        try:
            api.download(told.input_file_id, part, lambda _: None)
            part.replace(kept)
        except ProviderRefused:
            part.unlink(missing_ok=True)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return kept


def load_failed(database: Database, batch: Ended, told: ProviderBatch, kept: Path) -> LoadedBatch | None:
    """Load a batch that failed its validation: lines that are named fail, all others are released.

    `kept` is its input file, if that is there.
    """
    lines = [error for error in told.errors if error.line is not None]
    first = told.errors[0] if told.errors else None

    def write(session: Session) -> LoadedBatch | None:
        claimed = session.run("load.claim", {"batch_id": batch.batch_id, "now": clock.now()})
        if not claimed:
            return None
        fact = _fact(batch, claimed[0][0])
        if batch.fenced:
            deleted = "its input file was deleted, for it was not known whether it was made"
            session.run("load.same_for_all", fact | {"outcome": "released", "code": "fenced", "message": deleted})
        elif lines and kept.exists():
            session.run("load.line_errors", fact | _line_errors(lines), files=file_list([kept]))
        else:
            session.run("load.same_for_all", fact | _same(first))
        return _counted(session, batch)

    return database.write(write)


def _judged(session: Session, batch: Ended, files: tuple[Path, ...], wrong: str) -> tuple[int, int]:
    """Judge the lines; return how many requests none of them is for, and how many lines are one too many."""
    judge(session, files, batch.endpoint, wrong)
    session.run("load.chosen")
    unread, spare = session.run("load.unread", {"batch_id": batch.batch_id})[0]
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
    counts = session.run("load.counts", {"batch_id": batch.batch_id})[0]
    answered, failed, retryable, released, quarantined, why, code = counts
    event = Loaded(batch.batch_id, batch.provider_id, batch.status, answered, failed, retryable, released)
    return LoadedBatch(event, quarantined, why, code)

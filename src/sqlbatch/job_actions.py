"""Actions on an existing job: write partial results, import result files, retry failed requests, cancel."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.batches import poll, step
from sqlbatch.batches.events import Waiting
from sqlbatch.batches.import_files import Imported, JudgedAgain, forget_kept, judge_stored, read_files, readable
from sqlbatch.connection import provider_of
from sqlbatch.db import jobs
from sqlbatch.db.sql import quote_literal
from sqlbatch.errors import InvalidOption, InvalidSettings, JobError, ProviderError, did_you_mean
from sqlbatch.paths import state_dir
from sqlbatch.query import target_rows
from sqlbatch.query.cost import NO_COST, Cost, Requests, add_costs, estimate_cost, find_price
from sqlbatch.query.endpoints import check_of, reading_of
from sqlbatch.query.enrichment import Enrichment
from sqlbatch.query.request import as_sent
from sqlbatch.returns import Structured
from sqlbatch.run import finish, step_context, write_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlbatch.batches.events import Event
    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database
    from sqlbatch.db.jobs import JobRow
    from sqlbatch.db.session import Session


def load(database: Database, job_id: int, *, replacing: bool = False) -> target_rows.Joined:
    """Write a job's target from the answers so far; rows without an answer have the status `pending`.

    Raises JobError if a newer job owns the target or the job's rows are no longer kept.
    """

    def write(session: Session) -> target_rows.Joined:
        job = jobs.find(session, str(job_id))
        _check_newest(session, job, "load")
        if not target_rows.has_snapshot(session, job_id):
            there = target_rows.as_it_is(session, job)
            if there is None:
                raise JobError(
                    f"{job.target} is gone, and the rows of job {job_id} are no longer kept: run its enrich again, "
                    "which sends only what is not answered"
                )
            return there
        joined = write_target(session, job, replacing=replacing or job.replacing)
        if job.status == "done" and not joined.pending:
            jobs.finish(session, job_id)
            if not joined.failed:
                target_rows.drop_snapshot(session, job_id)
        return joined

    return database.write(write)


def _load_or_finish(database: Database, job_id: int, *, replacing: bool) -> target_rows.Joined:
    """Write a job's target after results have come in; end the job if nothing is missing now."""
    job = jobs.get(database, job_id)
    joined = finish(database, job_id) if job.open and not job.pending else None
    return joined or load(database, job_id, replacing=replacing)


def _check_newest(session: Session, job: JobRow, command: str) -> None:
    """Raise JobError if a newer job owns the target: only the newest job may write it."""
    newest = jobs.find(session, job.target).job_id
    if newest != job.job_id:
        raise JobError(f"job {newest} is the newest job for {job.target}: run sqlbatch {command} {newest}")


def import_files(
    database: Database, job_id: int, files: Sequence[Path], *, replacing: bool = False, as_whole: bool = False
) -> tuple[Imported, target_rows.Joined]:
    """Load result files that the user downloaded, and write the target; end the job if nothing is missing then.

    With `as_whole`, each file replaces its batch's unreadable result file, and requests without a line in it may be
    sent again. Raises JobError if a newer job owns the target, or no line of the files is a result of this job.
    """
    readable(files)

    def write(session: Session) -> Imported:
        job = jobs.find(session, str(job_id))
        _check_newest(session, job, "load")
        imported = read_files(session, job_id, job.created_at, files, check_of, as_whole=as_whole)
        if as_whole:
            # Requests without a line in the files are sent again, so a finished job opens again.
            session.run("submit.resume", {"job_id": job_id})
            session.run("cancel.reopen", {"job_id": job_id})
        return imported

    imported = database.write(write)
    kept = state_dir(database) / "unreadable"
    if kept.exists():
        database.read(lambda session: forget_kept(session, kept))
    return imported, _load_or_finish(database, job_id, replacing=replacing)


def judge_again(
    database: Database, job_id: int, structured: str | None = None, *, replacing: bool = False
) -> tuple[JudgedAgain, target_rows.Joined]:
    """Check the stored answers of a job's failed requests again, without paying, and write the target.

    `structured`, json_object or prompt, accepts text around the JSON. Raises InvalidOption if it is neither, JobError
    if no answer was stored or a newer job owns the target.
    """
    if structured is not None and structured not in list(Structured):
        raise InvalidOption(f"--structured {structured}: {did_you_mean(structured, Structured)}")
    how = Structured(structured or Structured.JSON_SCHEMA)

    def write(session: Session) -> JudgedAgain:
        job = jobs.find(session, str(job_id))
        _check_newest(session, job, "load")
        return judge_stored(session, job_id, lambda endpoint, returns: reading_of(endpoint, returns, how))

    return database.write(write), _load_or_finish(database, job_id, replacing=replacing)


def retry(database: Database, job_id: int, code: str | None = None) -> int:
    """Make a job's failed requests due again (only those with a failure code, if given), and return how many.

    The job opens again. Raises JobError if no request failed, if a newer job owns the target, or if the job's rows are
    no longer kept.
    """

    def write(session: Session) -> int:
        job = jobs.find(session, str(job_id))
        if job.status in {"cancelled", "superseded"}:
            raise JobError(f"job {job_id} is {job.status}: run its enrich again, which sends only what is not answered")
        _check_newest(session, job, "retry")
        asked = session.run("cancel.ask_again", {"job_id": job_id, "now": clock.now(), "code": code})
        if not asked:
            known = ", ".join(f"{name} ({count:,})" for name, count, _ in jobs.failures(session, job_id))
            none = f"no request of job {job_id} failed"
            raise JobError(f"{none} with the code {code}; it has {known}" if code and known else none)
        if not target_rows.has_snapshot(session, job_id):
            raise JobError(f"the rows of job {job_id} are no longer kept: run its enrich again with --fresh")
        session.run("cancel.reopen", {"job_id": job_id})
        return len(asked)

    return database.write(write)


def retry_cost(session: Session, job: JobRow, provider: Provider, code: str | None = None) -> tuple[int, Cost]:
    """Return how many requests `retry` would send, and their cost.

    Raises InvalidSettings if their model has been shut down.
    """
    session.run("cancel.failed", {"job_id": job.job_id, "code": code})
    count = session.run("cancel.failed_count")[0][0]
    return count, _cost_of(session, job, provider, "sqlbatch_failed") if count and provider.paid else NO_COST


@dataclass(frozen=True)
class Stuck:
    """A job's requests at the provider that have not come back: batches, requests, estimated input tokens.

    `waiting` are the numbers of the other open jobs that want some of them. `paid` says whether the provider bills
    them, and `cost` is the cost of sending them all again.
    """

    batches: int
    requests: int
    tokens: int
    paid: bool
    waiting: tuple[int, ...]
    cost: Cost


def stuck(session: Session, job: JobRow, provider: Provider) -> Stuck:
    """Return the requests that `give_up` would release."""
    found = session.run("cancel.stuck", {"job_id": job.job_id})
    waiting = tuple(row[0] for row in session.run("cancel.also_waiting", {"job_id": job.job_id}))
    paid = any(row[5] for row in found)
    cost = NO_COST
    if paid:
        session.run("cancel.stuck_requests", {"batches": [row[0] for row in found]})
        cost = _cost_of(session, job, provider, "sqlbatch_stuck", refusing=False)
    return Stuck(len(found), sum(row[3] for row in found), sum(row[4] for row in found), paid, waiting, cost)


def _cost_of(session: Session, job: JobRow, provider: Provider, table: str, *, refusing: bool = True) -> Cost:
    """Return the cost of sending some of a job's requests in batches again, each call at its own model's price.

    A model that was shut down raises InvalidSettings, or has no known price without `refusing`.
    """
    costs = []
    for call_id, endpoint, model, cap in session.run("cancel.calls_of", {"job_id": job.job_id}, table=table):
        asked = as_sent(Enrichment.from_json(job.enrichment), model, endpoint, cap)
        price = None
        with contextlib.nullcontext() if refusing else contextlib.suppress(InvalidSettings):
            price, _ = find_price(session, asked, tier="batch", batch_factor=provider.batch_factor)
        requests = Requests(f"(FROM {table} WHERE call_id = {quote_literal(call_id)})", call_id)
        costs.append(estimate_cost(session, asked, requests, price))
    return add_costs(costs)


def cancel(database: Database, job_id: int) -> bool:
    """Mark a job as cancelled; return False if it was already. Raises JobError if the job is done."""

    def write(session: Session) -> bool:
        job = jobs.find(session, str(job_id))
        if job.status == "done":
            raise JobError(f"job {job_id} is done: there is nothing to cancel")
        return bool(session.run("cancel.mark", {"job_id": job_id, "now": clock.now()}))

    return database.write(write)


def give_up(database: Database, job_id: int) -> Iterator[Event]:
    """Check a cancelled job's batches once more, then release the requests of those that have not ended.

    The provider need not answer. Results that appear later are loaded by the next step of any job at that provider.
    """
    job = jobs.get(database, job_id)
    with step_context(database, job_id, provider_of(job)) as context:
        try:
            yield from step.step(context, sending=False)
        except ProviderError as error:
            yield Waiting(str(error))
        yield from poll.give_up(context)

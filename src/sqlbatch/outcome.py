"""How a job ends: its target is written, what failed is asked for again, or the job is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.batches.import_files import Handed, readable, take
from sqlbatch.db import jobs
from sqlbatch.errors import InvalidTarget, JobError
from sqlbatch.query import pictures, target
from sqlbatch.query.cost import NO_COST, Cost, Requests, estimate_cost, find_price
from sqlbatch.query.enrichment import Enrichment
from sqlbatch.query.request import read_returns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database
    from sqlbatch.db.jobs import JobRow
    from sqlbatch.db.session import Session


def finish(database: Database, job_id: int) -> target.Joined | None:
    """Write the target of a job whose requests are all settled, and end the job, in one transaction.

    Returns None where somebody else has done it, or has asked for requests again. Raises JobError where a newer job has
    the target, or what is not ours is in its place: the job has ended then.
    """

    def write(session: Session) -> target.Joined | str | None:
        job = jobs.find(session, str(job_id))
        if job.status in {"done", "cancelled"}:
            return None
        if job.status == "superseded":
            return f"a newer job has the target {job.target}: job {job_id} leaves it alone"
        if job.pending:
            # A retry came since the last look.
            return None
        joined = _join(session, job, replacing=job.replacing)
        if not joined.failed:
            target.drop_snapshot(session, job_id)
        jobs.finish(session, job_id)
        if Enrichment.from_json(job.enrichment).images:
            pictures.forget(session)
        return joined

    try:
        done = database.write(write)
    except InvalidTarget as error:
        problem = str(error)
        database.write(lambda session: jobs.finish(session, job_id, problem))
        raise JobError(problem) from error
    if isinstance(done, str):
        raise JobError(done)
    return done


def load(database: Database, job_id: int, *, replacing: bool = False) -> target.Joined:
    """Write a job's target from what is there so far; what is missing is `pending`.

    Raises JobError where a newer job has the target or the job's rows are no longer kept.
    """

    def write(session: Session) -> target.Joined:
        job = jobs.find(session, str(job_id))
        newest = jobs.find(session, job.target)
        if newest.job_id != job_id:
            raise JobError(f"job {newest.job_id} is the newest for {job.target}: sqlbatch load {newest.job_id}")
        if not target.has_snapshot(session, job_id):
            there = target.as_it_is(session, job_id, job.target)
            if there is None:
                raise JobError(
                    f"{job.target} is gone, and the rows of job {job_id} are no longer kept: run its enrich again, "
                    "which sends only what is not answered"
                )
            return there
        joined = _join(session, job, replacing=replacing or job.replacing)
        if job.status == "done" and not joined.pending:
            jobs.finish(session, job_id)
            if not joined.failed:
                target.drop_snapshot(session, job_id)
        return joined

    return database.write(write)


def hand_in(
    database: Database, job_id: int, files: Sequence[Path], *, replacing: bool = False
) -> tuple[Handed, target.Joined]:
    """Load result files that were fetched by hand, and write the target; a job that has all it wants is done by it.

    Raises JobError where a newer job has the target, or no line of the files is a result of it.
    """
    readable(files)

    def write(session: Session) -> Handed:
        job = jobs.find(session, str(job_id))
        newest = jobs.find(session, job.target)
        if newest.job_id != job_id:
            raise JobError(f"job {newest.job_id} is the newest for {job.target}: sqlbatch load {newest.job_id}")
        return take(session, job_id, job.created_at, files, _check)

    handed = database.write(write)
    job = database.read(lambda session: jobs.find(session, str(job_id)))
    joined = finish(database, job_id) if job.open and not job.pending else None
    return handed, joined or load(database, job_id, replacing=replacing)


def _check(endpoint: str, returns: str) -> str:
    return read_returns(endpoint, returns).check_sql("content", "vector")


def retry(database: Database, job_id: int, code: str | None = None) -> int:
    """Make a job's failed requests due again, all or those of one code, and return how many; the job is open again.

    Raises JobError where it has none, where a newer job has the target, or where its rows are no longer kept.
    """

    def write(session: Session) -> int:
        job = jobs.find(session, str(job_id))
        if job.status in {"cancelled", "superseded"}:
            raise JobError(f"job {job_id} is {job.status}: run its enrich again, which sends only what is not answered")
        newest = jobs.find(session, job.target)
        if newest.job_id != job_id:
            raise JobError(f"job {newest.job_id} is the newest for {job.target}: sqlbatch retry {newest.job_id}")
        again = session.run("cancel.ask_again", {"job_id": job_id, "now": clock.now(), "code": code})
        if not again:
            known = ", ".join(f"{name} ({count:,})" for name, count, _ in jobs.failures(session, job_id))
            none = f"no request of job {job_id} failed"
            raise JobError(f"{none} with the code {code}; it has {known}" if code and known else none)
        if not target.has_snapshot(session, job_id):
            raise JobError(f"the rows of job {job_id} are no longer kept: run its enrich again with --fresh")
        session.run("cancel.reopen", {"job_id": job_id})
        return len(again)

    return database.write(write)


def retry_cost(session: Session, job: JobRow, provider: Provider, code: str | None = None) -> tuple[int, Cost]:
    """Return how many requests `retry` would send, and what they may cost.

    Raises InvalidSettings where their model is shut down.
    """
    session.run("cancel.failed", {"job_id": job.job_id, "code": code})
    count, call_id = session.run("cancel.failed_call")[0]
    if not count or not provider.paid:
        return count, NO_COST
    enrichment = Enrichment.from_json(job.enrichment)
    price, _ = find_price(session, enrichment)
    failed = Requests("sqlbatch_failed", call_id)
    return count, estimate_cost(session, enrichment, failed, price, provider.batch_factor)


def cancel(database: Database, job_id: int) -> bool:
    """Note a job as cancelled; False where it was already. Raises JobError where it is done."""

    def write(session: Session) -> bool:
        job = jobs.find(session, str(job_id))
        if job.status == "done":
            raise JobError(f"job {job_id} is done: there is nothing to cancel")
        return bool(session.run("cancel.mark", {"job_id": job_id, "now": clock.now()}))

    return database.write(write)


def left_over(session: Session) -> list[int]:
    """Return the jobs that are not open and still have batches at the provider."""
    return [int(job_id) for (job_id,) in session.run("cancel.left_over")]


def _join(session: Session, job: JobRow, *, replacing: bool) -> target.Joined:
    enrichment = Enrichment.from_json(job.enrichment)
    returns = read_returns(enrichment.endpoint, enrichment.returns)
    return target.write_target(session, job, returns, replace=replacing)

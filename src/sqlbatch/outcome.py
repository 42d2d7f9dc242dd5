"""A person's second thoughts about a job: ask again for what failed, or give it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.errors import JobError
from sqlbatch.query import join
from sqlbatch.store import jobs

if TYPE_CHECKING:
    from sqlbatch.store.database import Database, Session


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
        if not join.has_snapshot(session, job_id):
            raise JobError(f"the rows of job {job_id} are no longer kept: run its enrich again with --fresh")
        session.run("cancel.reopen", {"job_id": job_id})
        return len(again)

    return database.write(write)


def cancel(database: Database, job_id: int) -> bool:
    """Note a job as cancelled; False where it was already. Raises JobError where it is done."""

    def write(session: Session) -> bool:
        job = jobs.find(session, str(job_id))
        if job.status == "done":
            raise JobError(f"job {job_id} is done: there is nothing to cancel")
        return bool(session.run("cancel.mark", {"job_id": job_id, "now": clock.now()}))

    return database.write(write)


def left_over(session: Session) -> list[int]:
    """Return the jobs that are cancelled or superseded and still have batches at the provider."""
    return [int(job_id) for (job_id,) in session.run("cancel.left_over")]

"""Pack due requests into batches, within the provider's limits, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.db import jobs
from sqlbatch.errors import JobError

if TYPE_CHECKING:
    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session

# The limit if none is known.
NO_TOKEN_LIMIT = 2**62


def pack(database: Database, job_id: int, provider: Provider) -> tuple[int, int]:
    """Plan batches for a job's due requests; return how many batches and requests were planned.

    No single batch exceeds the limit of enqueued tokens that the provider has reported or the user has configured.
    """

    def plan(session: Session) -> tuple[int, int]:
        now = clock.now()
        session.run("database.planner_lock")
        batches = requests = 0
        for call_id, model, _ in session.run("plan.groups", {"job_id": job_id, "now": now}):
            session.run("plan.choose", {"job_id": job_id, "call_id": call_id})
            learned = session.run("plan.learned", {"base_url": provider.base_url, "model": model, "now": now})
            told = learned[0][0] if learned else NO_TOKEN_LIMIT
            max_tokens = min(told, provider.max_enqueued_tokens or NO_TOKEN_LIMIT)
            made, held = _lay_out(session, "sqlbatch_chosen", provider, max_tokens)
            planned = {"base_url": provider.base_url, "call_id": call_id, "model": model, "now": now, "job_id": job_id}
            session.run("plan.plan", planned | {"batch_factor": provider.batch_factor if provider.paid else 0.0})
            session.run("plan.manifest")
            batches += made
            requests += held
        return batches, requests

    asked = {"job_id": job_id, "now": clock.now()}
    # A step with nothing to pack writes nothing: it first checks whether anything is due.
    if database.query("plan.held", asked) or not jobs.tally(database, job_id).due:
        return 0, 0
    return database.write(plan)


def count_batches(session: Session, source: str, provider: Provider) -> int:
    """Return how many batches the requests of a table (seq, bytes, tokens) would need."""
    return _lay_out(session, source, provider, provider.max_enqueued_tokens or NO_TOKEN_LIMIT)[0]


def _lay_out(session: Session, source: str, provider: Provider, max_tokens: int) -> tuple[int, int]:
    session.run("plan.running", source=source)
    max_tokens = max(max_tokens, session.run("plan.longest", source=source)[0][0])
    limits = {"max_requests": provider.max_requests, "max_bytes": provider.max_bytes, "max_tokens": max_tokens}
    session.run("plan.shards", limits)
    batches, held, wanted = session.run("plan.covered")[0]
    if held != wanted:
        raise JobError(f"request {held + 1:,} of {wanted:,} by itself exceeds the provider's limits for a batch")
    return batches, held

"""Compile, quote and start an enrichment: the first half of a job. The second half, its steps, is in `run`."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.batches import preview as previewing
from sqlbatch.batches.plan import count_batches
from sqlbatch.db import jobs, prices
from sqlbatch.db.database import Database, scratch_name
from sqlbatch.errors import JobError
from sqlbatch.functions.jobs import keep_plan
from sqlbatch.functions.prepare import PlannedQuery, plan_query, quote_plan
from sqlbatch.paths import scratch_file, state_dir
from sqlbatch.query import incremental
from sqlbatch.query.compile import Compiled, compile_query, store
from sqlbatch.query.cost import without_cache_writes
from sqlbatch.query.endpoints import check_of, read_returns
from sqlbatch.query.quote import Quote, make_quote, with_finish
from sqlbatch.query.rows import query_of
from sqlbatch.query.target import Target, attached_in, find_target
from sqlbatch.trace import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.attached import Attached
    from sqlbatch.db.session import Session
    from sqlbatch.query.enrichment import Enrichment
    from sqlbatch.query.incremental import Arrivals


# ---- Prepare: compile and quote. Nothing is sent, and only a scratch file is written.


@dataclass(frozen=True)
class Prepared:
    """A compiled and quoted enrichment, ready to start. Its rows are in the scratch file."""

    enrichment: Enrichment
    provider: Provider
    target: Target | None
    compiled: Compiled | PlannedQuery
    quote: Quote
    scratch: Path
    fresh: bool
    replacing: bool
    max_attempts: int
    max_cost: float | None = None
    month: prices.Month | None = None
    place: Attached | None = None

    def over(self) -> str | None:
        """Return why the cost may exceed the job's or the month's budget, and what to do; None if it cannot."""
        return self.quote.over(self.max_cost, self.month)


@contextlib.contextmanager
def prepared(
    database: Database,
    enrichment: Enrichment,
    provider: Provider,
    into: str | None,
    *,
    fresh: bool = False,
    replacing: bool = False,
    max_attempts: int = 3,
    max_cost: float | None = None,
    passed_rows: object = None,
    notes: tuple[str, ...] = (),
    arrivals: Arrivals | None = None,
) -> Iterator[Prepared]:
    """Compile and quote an enrichment for the block; the scratch file is deleted at the end of the block.

    `notes` are shown with the quote. `passed_rows` are rows used instead of the query's: a relation, a DataFrame and
    the like (`sqlbatch.query.rows`). `arrivals` returns the types that columns will have in another database. Raises
    InvalidEnrichment if the request is wrong, DatabaseError if the database cannot be read.
    """
    returns = read_returns(enrichment.endpoint, enrichment.returns)
    with scratch_file(database) as scratch:
        query = query_of(database, enrichment.query, passed_rows, scratch, enrichment.where)
        names = [each.name for each in database.attach]
        making = attached_in(into or "", names)
        with database.session(migrate=False, scratch=scratch, attach=True, making=making) as session:
            into = into or jobs.unnamed_target(session, masked(enrichment.query, sql=True), enrichment.returns)
            target = find_target(session, into, names, exists=database.exists()) if into else None
            named = target or Target("main", "enriched_<job>")
            place = next((each for each in database.attach if target and each.name == target.catalog), None)
            name = scratch_name(scratch)
            factor = provider.batch_factor if provider.paid else 0.0
            compiled: Compiled | PlannedQuery | None = None
            if passed_rows is None:
                compiled = plan_query(session, enrichment, name, provider.max_bytes, fresh=fresh)
            if isinstance(compiled, PlannedQuery):
                compiled, quote = quote_plan(session, enrichment, compiled, named, factor, replacing=replacing)
            else:
                if provider.cache_options:
                    enrichment = without_cache_writes(session, enrichment)
                compiled = compile_query(session, query, enrichment, returns, name, provider.max_bytes)
                if enrichment.incremental:
                    rows = f"{name}.main.rows"
                    enrichment = incremental.check_key(session, enrichment, compiled.columns, rows)
                    if not replacing:
                        incremental.check_target(session, enrichment, named, returns, rows, arrivals)
                quote = make_quote(session, enrichment, compiled, named, factor, fresh=fresh, replace=replacing)
            batches = count_batches(session, f"{name}.main.to_send", provider) if quote.to_send else 0
            month = prices.month(session) if provider.paid else None
            quote = with_finish(session, quote)
        named_target = quote.target if target else "enriched_<job>"
        quote = replace(quote, batches=batches, target=named_target, notes=(*notes, *quote.notes))
        yield Prepared(
            enrichment,
            provider,
            target,
            compiled,
            quote,
            scratch,
            fresh,
            replacing,
            max_attempts,
            max_cost,
            month,
            place,
        )


# ---- Start: commit the prepared enrichment as a job. Nothing is sent yet.


def start(database: Database, ask: Prepared, note: Callable[[Session, int], object] | None = None) -> int:
    """Commit a prepared enrichment as a job and return its number; `note` writes more facts in the same transaction.

    Raises JobError if more requests would be sent than were quoted, because stored answers were deleted in between.
    """
    quote = ask.quote
    asked = replace(ask.enrichment, query=masked(ask.enrichment.query, sql=True))
    facts = {
        "target": quote.target,
        "query": asked.query,
        "enrichment": asked.to_json(),
        "provider": ask.provider.name,
        "base_url": ask.provider.base_url,
        "rows": quote.rows,
        "skipped": quote.skipped,
        "requests": quote.distinct,
        "reused": quote.answered + quote.failed_before + quote.in_flight,
        "bytes": quote.bytes,
        "tokens": quote.tokens,
        "max_attempts": ask.max_attempts,
        "replacing": ask.replacing,
        "quote": json.dumps(quote.as_dict() | ({"month_budget": ask.month.budget} if ask.month else {}), default=str),
        "max_cost": ask.max_cost,
    }

    def commit(session: Session) -> int:
        session.run("database.planner_lock")
        if ask.enrichment.incremental:
            incremental.refuse_open(session, quote.target)
        not_before = clock.now() if ask.fresh else None
        job_id = jobs.add(session, facts, not_before=not_before, scratch=scratch_name(ask.scratch))
        if ask.target is None:
            session.run("jobs.rename", {"job_id": job_id, "target": f"enriched_{job_id}"})
        if ask.place is not None:
            session.run("lake.add", {"job_id": job_id, "place": ask.place.kept(), "target": quote.target})
        prices.refresh(session, (ask.enrichment.base_url, ask.enrichment.model))
        if isinstance(ask.compiled, PlannedQuery):
            planned = ask.compiled
            keep_plan(session, planned.plan, planned.scratch, job_id, planned.at_most, shows=planned.shows)
        else:
            store(session, ask.compiled, job_id)
        if note is not None:
            note(session, job_id)
        due = session.run("jobs.due", {"job_id": job_id})[0][0] if ask.provider.paid else 0
        if due > quote.to_send:
            raise JobError(
                f"{quote.to_send:,} requests were quoted, and {due:,} would be sent now: another command changed the "
                "database meanwhile. Nothing was sent; run the same command again"
            )
        return job_id

    with database.kept_open():
        recover_interrupted(database)
        return database.write(commit, scratch=ask.scratch)


def recover_interrupted(database: Database) -> int:
    """Store the answers that a killed preview received but could not store; return how many."""
    spool = state_dir(database) / "spool"
    return previewing.recover_interrupted(database, spool, check_of) if any(spool.glob("preview-*")) else 0

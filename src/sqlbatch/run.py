"""From an enrichment to its target: compile, steps, join. The only place that knows both layers."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.backoff import FIRST_POLL, Backoff
from sqlbatch.batches.events import Event, Waiting
from sqlbatch.batches.plan import count_batches
from sqlbatch.batches.providers import Provider, find_provider, known
from sqlbatch.db import jobs
from sqlbatch.db.database import Database, scratch_name
from sqlbatch.db.sql import quote_literal
from sqlbatch.errors import (
    DatabaseLocked,
    InvalidSettings,
    JobError,
)
from sqlbatch.leases import hold_leases, new_owner
from sqlbatch.outcome import left_over
from sqlbatch.paths import scratch_folder, state_dir, sweep
from sqlbatch.query.compile import Compiled, compile_query, store
from sqlbatch.query.quote import Quote, make_quote, with_cost
from sqlbatch.query.request import read_returns
from sqlbatch.query.target import Target, parse_target
from sqlbatch.reach import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb

    from sqlbatch.db.jobs import JobRow
    from sqlbatch.db.session import Session
    from sqlbatch.query.enrichment import Enrichment
    from sqlbatch.returns import Returns


@dataclass(frozen=True)
class Prepared:
    """A compiled and quoted enrichment, ready to begin; its rows lie in the scratch file."""

    enrichment: Enrichment
    returns: Returns
    provider: Provider
    target: Target | None
    compiled: Compiled
    quote: Quote
    scratch: Path
    fresh: bool
    replacing: bool
    max_attempts: int
    max_cost: float | None = None


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
    relation: duckdb.DuckDBPyRelation | None = None,
) -> Iterator[Prepared]:
    """Compile and quote an enrichment; nothing is sent and nothing written but a scratch file, deleted at the end.

    `relation` gives the rows in the query's place. Raises InvalidEnrichment where the ask is wrong, DatabaseError where
    the database cannot be read.
    """
    returns = read_returns(enrichment.endpoint, enrichment.returns)
    folder = scratch_folder(database)
    scratch = folder / "scratch.duckdb"
    try:
        with database.session(migrate=False, scratch=scratch) as session:
            target = parse_target(into, session.catalog if database.exists() else None) if into else None
            named = target or Target("main", "enriched_<job>")
            name = scratch_name(scratch)
            query = enrichment.query if relation is None else written(relation, folder)
            compiled = compile_query(session, query, enrichment, returns, name, provider.max_bytes)
            quote = make_quote(session, enrichment, compiled, named, fresh=fresh, replace=replacing)
            factor = provider.batch_factor if provider.paid else 0.0
            quote = with_cost(session, quote, enrichment, compiled, factor)
            batches = count_batches(session, f"{name}.main.to_send", provider) if quote.to_send else 0
        quote = replace(quote, batches=batches, target=quote.target if target else "enriched_<job>")
        yield Prepared(
            enrichment, returns, provider, target, compiled, quote, scratch, fresh, replacing, max_attempts, max_cost
        )
    finally:
        database.forget(scratch)
        shutil.rmtree(folder, ignore_errors=True)


def begin(database: Database, ask: Prepared) -> int:
    """Commit a prepared enrichment as a job and return its number; nothing is sent yet.

    Raises JobError where more would be sent than was quoted, for answers were given up meanwhile.
    """
    take_in(database)
    quote = ask.quote
    facts = {
        "target": quote.target,
        "query": ask.enrichment.query,
        "enrichment": ask.enrichment.to_json(),
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
        "quote": json.dumps(quote.as_dict(), default=str),
        "max_cost": ask.max_cost,
    }

    def commit(session: Session) -> int:
        session.run("store.turn")
        not_before = clock.now() if ask.fresh else None
        job_id = jobs.add(session, facts, not_before=not_before, scratch=scratch_name(ask.scratch))
        if ask.target is None:
            session.run("jobs.rename", {"job_id": job_id, "target": f"enriched_{job_id}"})
        store(session, ask.compiled, job_id)
        due = session.run("jobs.due", {"job_id": job_id})[0][0] if ask.provider.paid else 0
        if due > quote.to_send:
            raise JobError(
                f"{quote.to_send:,} requests were quoted, and {due:,} would be sent now: another command changed the "
                "database meanwhile. Nothing was sent; run the same command again"
            )
        return job_id

    return database.write(commit, scratch=ask.scratch)


def steps(
    database: Database,
    job_id: int,
    *,
    once: bool = False,
    poll: float | None = None,
    keep_going: bool = False,
    max_enqueued_tokens: int | None = None,
) -> Iterator[Event]:
    """Do a job's steps until its target is written (or one step, with `once`), telling what happens.

    What passes by itself (locks, the network, the provider's errors) is told as Waiting and waited for; with `once` it
    is raised. For a job that was cancelled or superseded, what it left at the provider is waited for and loaded, and
    nothing sent; of one that is done, a step with `once` loads a batch that came late. `max_enqueued_tokens` bounds
    what of the job's model waits at the provider. A job of whose first results most are of no use sends nothing more
    and raises JobError, unless `keep_going`. Raises JobError also where the job ends without its target.
    """
    pauses = Backoff(FIRST_POLL, 60.0, poll)
    while True:
        try:
            job = database.read(lambda session: jobs.find(session, str(job_id)))
            break
        except DatabaseLocked as error:
            if once:
                raise
            yield Waiting(str(error))
            clock.sleep(pauses.next())
    if job.status == "done" and not (once and _is_left_over(database, job_id)):
        tidy(database)
        return
    provider = provider_of(job)
    if max_enqueued_tokens is not None:
        provider = replace(provider, max_enqueued_tokens=max_enqueued_tokens)
    with connect(database, provider) as api:
        from sqlbatch.batches.step import Work  # noqa: PLC0415 (openai takes a second to import)
        from sqlbatch.loop import follow  # noqa: PLC0415

        spool = state_dir(database) / "spool"
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        work = Work(database, api, provider, job_id, new_owner(), spool, check_of)
        with hold_leases(work.owner):
            yield from follow(work, job, once=once, poll=poll, keep_going=keep_going)


def _is_left_over(database: Database, job_id: int) -> bool:
    return job_id in database.read(left_over)


def tidy(database: Database) -> None:
    """Delete what a process that was killed as it began or ended its job has left beside the database."""
    sweep(database)
    spool = state_dir(database) / "spool"
    if any(spool.glob("sqlbatch-*")):
        from sqlbatch.batches import step  # noqa: PLC0415 (openai takes a second to import)

        step.tidy(database, spool)


def take_in(database: Database) -> int:
    """Store what a killed preview had received and could not store; return how many answers."""
    spool = state_dir(database) / "spool"
    if not any(spool.glob("preview-*")):
        return 0
    from sqlbatch.batches import preview  # noqa: PLC0415 (openai takes a second to import)

    return preview.take_in(database, spool, check_of)


def provider_of(job: JobRow) -> Provider:
    """Return the provider that a job was begun with."""
    if job.provider not in known():
        raise InvalidSettings(
            f"job {job.job_id} was begun with the provider {job.provider}, which no sqlbatch.toml here defines: run it "
            f"from its project's folder, or add [providers.{job.provider}] to ~/.config/sqlbatch.toml"
        )
    return find_provider(job.provider, job.base_url)


def check_of(endpoint: str, returns: str) -> str:
    """Return the SQL, over `content` and `vector`, that says what is wrong with an answer of these returned columns."""
    return read_returns(endpoint, returns).check_sql("content", "vector")


def written(relation: duckdb.DuckDBPyRelation, folder: Path) -> str:
    """Write a relation's rows to a file and return a query of it: the relation belongs to a connection of its own."""
    path = folder / "relation.parquet"
    relation.write_parquet(str(path))
    return f"SELECT * FROM read_parquet({quote_literal(str(path))})"

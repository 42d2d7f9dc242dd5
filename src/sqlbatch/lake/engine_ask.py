"""Ask about another engine's rows: compile and quote them, start the job, preview some."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlbatch import clock, prepare, previews
from sqlbatch.db.sql import quote_identifier
from sqlbatch.errors import InvalidSettings, InvalidTarget, SqlbatchError
from sqlbatch.lake.engine_target import check_target
from sqlbatch.lake.kept_rows import OWNER, kept
from sqlbatch.lake.shared_folder import local_path
from sqlbatch.trace import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session
    from sqlbatch.lake.kept_rows import Kept
    from sqlbatch.lake.spark import Spark
    from sqlbatch.prepare import Prepared
    from sqlbatch.previews import PreparedPreview
    from sqlbatch.query.enrichment import Enrichment


@contextlib.contextmanager
def prepared(
    engine: Spark,
    database: Database,
    enrichment: Enrichment,
    provider: Provider,
    into: str | None,
    shared: str,
    *,
    frame: object = None,
    starting: bool = False,
    replacing: bool = False,
    **more: Any,
) -> Iterator[tuple[Prepared, Callable[[], int]]]:
    """Have the engine keep the rows for the block below the folder `shared`; compile and quote their enrichment.

    Yields it with the function that starts it as a job (only with `starting`) and returns the job's number. `frame` are
    rows of the engine's in place of the query, and `more` are further arguments of `prepare.prepared`. Raises
    InvalidTarget if the target is missing or, with `starting`, cannot be written; InvalidQuery if a column cannot be
    sent.
    """
    if enrichment.incremental:
        raise InvalidSettings("--incremental does not go with Spark, whose table is written anew: leave it out")
    if not into:
        raise InvalidTarget("--into is missing: name a table of Spark's, as catalog.schema.table")
    if starting:
        check_target(database, engine, into, replacing=replacing)
    rows = engine.read(enrichment.query) if frame is None else engine.read(frame, enrichment.where)
    more |= {"replacing": replacing}
    with (
        kept(engine, rows, enrichment, shared, database if starting else None) as keep,
        prepare.prepared(database, enrichment, provider, quote_identifier(into), passed_rows=keep.rows, **more) as own,
    ):
        others = tuple(column.name for column in rows.columns if column.name not in keep.sent)
        ask = replace(own, quote=replace(own.quote, also_kept=others))
        yield ask, lambda: _start(database, engine, ask, keep, into)


@contextlib.contextmanager
def previewed(
    engine: Spark,
    database: Database,
    enrichment: Enrichment,
    provider: Provider,
    shared: str,
    *,
    frame: object = None,
    rows: int | None = None,
    sample: int | None = None,
    fresh: bool = False,
) -> Iterator[PreparedPreview]:
    """Have the engine keep a few rows for the block, and compile their preview, as `previews.prepared` does."""
    wanted = previews.sample_size(rows, sample)
    if sample is None:
        enrichment = replace(enrichment, limit=min(wanted, enrichment.limit or wanted))
    read = engine.read(enrichment.query) if frame is None else engine.read(frame, enrichment.where)
    with (
        kept(engine, read, enrichment, shared, None, sample=sample) as keep,
        previews.prepared(
            database, enrichment, provider, rows=rows, sample=sample, fresh=fresh, passed_rows=keep.rows
        ) as ready,
    ):
        yield ready


def _start(database: Database, engine: Spark, ask: Prepared, keep: Kept, into: str) -> int:
    """Commit a prepared enrichment as a job, with its rows and its target, and return its number."""

    def note(session: Session, job_id: int) -> None:
        facts = {"run_id": keep.run_id, "job_id": job_id, "engine": engine.name}
        more = {"query": masked(ask.enrichment.query, sql=True), "folder": keep.folder, "sent": list(keep.sent)}
        session.run("kept_rows.keep", facts | more | {"rows": ask.quote.rows, "now": clock.now()})
        session.run("kept_rows.aim", facts | {"target": into})

    # This comes before the commit, because after an interrupt at the commit there may be a job that needs the folder.
    keep.needed = True
    try:
        job_id = prepare.start(database, ask, note)
    except SqlbatchError:
        keep.needed = False
        raise
    # The rows are still protected from the sweep of killed processes.
    database.push()
    local = local_path(keep.folder)
    if local is not None:
        (local / OWNER).unlink(missing_ok=True)
    return job_id

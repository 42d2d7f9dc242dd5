"""Spark tables: `sqlbatch.spark.enrich(spark, "SELECT …", into="catalog.schema.table", shared=…, …).wait()`.

Spark runs the query and keeps its rows in a shared folder, sqlbatch asks about them, Spark joins the answers to them
and writes the target. State is in a DuckDB file, as ever: `db`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import TYPE_CHECKING, Any, Unpack

from sqlbatch import config, connection, prepare, previews
from sqlbatch.api import AskOptions, check_cost, read_ask, refuse_memory, with_options
from sqlbatch.db import jobs as state_of_jobs
from sqlbatch.errors import (
    DatabaseConflict,
    DatabaseLocked,
    InvalidSettings,
    InvalidTarget,
    JobError,
    ProviderUnreachable,
)
from sqlbatch.job import Db, Job, Quote, existing, speaking_python
from sqlbatch.lake import kept_rows as lake
from sqlbatch.lake.spark import Spark
from sqlbatch.previews import sample_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlbatch.batches.events import Event
    from sqlbatch.db.database import Database
    from sqlbatch.db.jobs import JobRow
    from sqlbatch.lake.kept_rows import Publication
    from sqlbatch.options import EnrichOptions
    from sqlbatch.previews import Preview
    from sqlbatch.query.enrichment import Enrichment

# One SELECT in Spark's SQL, the Path of a .sql file, or a Spark DataFrame.
Query = Any


class SparkJob(Job):
    """A job whose target is a table of Spark's: `wait` follows it until that is written."""

    def __init__(self, database: Database, job_id: int, engine: Spark) -> None:
        super().__init__(database, job_id)
        self._engine = engine

    def step(self, *, progress: bool | None = None) -> JobRow:
        """Do one step, write the target where nothing is left to do, and return how the job stands."""
        row = super().step(progress=progress)
        if row.status == "done":
            self.publish()
        return row

    def wait(
        self,
        *,
        poll: float | None = None,
        on_event: Callable[[Event], object] | None = None,
        progress: bool | None = None,
        keep_going: bool = False,
        finish_now: bool = False,
        yes: bool = False,
    ) -> SparkJob:
        """Do steps until the target is written, and return the job itself; arguments and errors as of `Job.wait`."""
        super().wait(
            poll=poll, on_event=on_event, progress=progress, keep_going=keep_going, finish_now=finish_now, yes=yes
        )
        self.publish()
        return self

    def publish(self, *, replace: bool = False) -> Publication:  # type: ignore[override]
        """Have Spark write the target from the answers that are here; again, it does no harm.

        `replace` allows it to take the place of a table that sqlbatch did not make. Raises EngineError where Spark
        cannot write, JobError where a newer job has the target.
        """
        return lake.publish(self._database, self._engine, self.job_id, replacing=replace)

    def load(self, *, replace: bool = False, judge_again: bool = False, structured: str | None = None) -> SparkJob:
        """Write the target from what is there so far, what is missing as `pending`, and return the job itself."""
        super().load(judge_again=judge_again, structured=structured)
        self.publish(replace=replace)
        return self

    def table(self) -> Any:
        """Return the target as a Spark DataFrame; raise JobError where it is not written yet."""
        found = lake.find(self._database, self.job_id)
        if found is None or found.rows is None:
            raise JobError(f"job {self.job_id} is not written yet: job.wait() first, or job.load() for what is there")
        return self._engine.table(found.target)


@with_options
@speaking_python
def enrich(
    spark: Any,
    query: Query,
    *,
    shared: str | os.PathLike[str],
    table_format: str | None = None,
    max_attempts: int | None = None,
    replace: bool = False,
    max_cost: float | None = None,
    yes: bool = False,
    **given: Unpack[AskOptions],
) -> SparkJob:
    """Submit an enrichment of Spark's rows and return its job; `.wait()` follows it until Spark's table is written.

    `spark` is a session, classic or over Connect; `query` one SELECT of Spark's SQL, the Path of a .sql file, or a
    Spark DataFrame. `into` names the table, as catalog.schema.table. `shared` is a folder that Spark and this process
    both see: the rows are kept there until the table is written. `table_format` (delta, iceberg, parquet) is what the
    table is stored as, by default what the session makes. `db` is the DuckDB file with the state, on a disk that lasts.
    All other arguments, and the errors, as of `sqlbatch.enrich`; EngineError where Spark cannot do what is asked.
    """
    engine = Spark(spark, table_format=table_format)
    database, asked = read_ask(query, given, max_attempts)
    into = _into(asked)
    refuse_memory(database, asked)
    max_cost = config.max_cost(max_cost)
    lake.check_target(database, engine, into, replacing=replace)
    rows = engine.read(_of(query, asked.enrichment))
    more = {"max_attempts": asked.max_attempts, "max_cost": max_cost, "fresh": bool(given.get("fresh"))}
    with (
        lake.kept(engine, rows, asked.enrichment, os.fspath(shared), database) as keep,
        lake.prepared(database, rows, keep, asked.enrichment, asked.provider, into, replacing=replace, **more) as ask,
    ):
        if ask.quote.rows == ask.quote.skipped:
            raise JobError(
                "the query has no rows to send" if not ask.quote.rows else "every row is skipped: nothing to send"
            )
        if ask.quote.to_send:
            check_cost(ask.quote, ask.over(), yes=yes or max_cost is not None)
            connection.check_provider(database, asked.provider)
        job = SparkJob(database, lake.start(database, engine, ask, keep, into), engine)
    if not asked.provider.embedded:
        # The job is begun: what passes by itself is for wait() to get over, and must not hide the job.
        with contextlib.suppress(DatabaseLocked, DatabaseConflict, ProviderUnreachable):
            job.step()
    return job


@with_options
@speaking_python
def plan(
    spark: Any,
    query: Query,
    *,
    shared: str | os.PathLike[str],
    replace: bool = False,
    **given: Unpack[AskOptions],
) -> Quote:
    """Return the quote of an enrichment of Spark's rows; sends nothing. The rows are kept only while they are counted.

    Arguments and errors as of `enrich`.
    """
    engine = Spark(spark)
    database, asked = read_ask(query, given)
    into = _into(asked)
    rows = engine.read(_of(query, asked.enrichment))
    more = {"replacing": replace, "fresh": bool(given.get("fresh"))}
    with (
        lake.kept(engine, rows, asked.enrichment, os.fspath(shared), None) as keep,
        lake.prepared(database, rows, keep, asked.enrichment, asked.provider, into, **more) as ask,
    ):
        return Quote.of(dataclasses.replace(ask.quote, target=into))


@with_options
@speaking_python
def preview(
    spark: Any,
    query: Query,
    *,
    shared: str | os.PathLike[str],
    rows: int | None = None,
    sample: int | None = None,
    yes: bool = False,
    **given: Unpack[AskOptions],
) -> Preview:
    """Ask for a few of Spark's rows now, at the full price, and return them beside their answers, which are kept.

    Arguments and errors as of `enrich` and of `sqlbatch.preview`.
    """
    engine = Spark(spark)
    database, asked = read_ask(query, given)
    refuse_memory(database, asked)
    prepare.recover_interrupted(database)
    wanted = sample_size(rows, sample)
    few = asked.enrichment
    if sample is None:
        few = dataclasses.replace(few, limit=min(wanted, few.limit or wanted))
    read = engine.read(_of(query, few))
    more = {"rows": rows, "sample": sample, "fresh": bool(given.get("fresh"))}
    with (
        lake.kept(engine, read, few, os.fspath(shared), None, sample=sample) as keep,
        previews.prepared(database, few, asked.provider, handed_over=keep.rows, **more) as ready,  # type: ignore[arg-type]
    ):
        if ready.known.to_send:
            if ready.cost.must_be_agreed and not yes:
                raise InvalidSettings(
                    f"{ready.known.to_send:,} requests (about {ready.cost.tokens:,} tokens of input) would be sent to "
                    f"{asked.provider.name} now, {ready.cost.in_words()}: pass yes=True to spend it"
                )
            for _ in previews.ask(database, ready):
                pass
        return previews.result(database, ready)


@speaking_python
def find(spark: Any, job: str | int | None = None, *, db: Db = None, table_format: str | None = None) -> SparkJob:
    """Return a job by its number or its target's name, by default the newest; `.wait()` goes on with it.

    Raises JobError where there is none, or where its target is not a table of Spark's.
    """
    database = existing(db)
    row = database.read(lambda session: state_of_jobs.find(session, None if job is None else str(job)))
    if lake.find(database, row.job_id) is None:
        raise JobError(f"the target of job {row.job_id}, {row.target}, is in {database.name}: sqlbatch.find has it")
    return SparkJob(database, row.job_id, Spark(spark, table_format=table_format))


def _into(asked: EnrichOptions) -> str:
    if not asked.into:
        raise InvalidTarget("--into is missing: name a table of Spark's, as catalog.schema.table")
    return asked.into


def _of(query: Query, enrichment: Enrichment) -> object:
    """Return what Spark reads: the query's text, or the DataFrame."""
    return enrichment.query if isinstance(query, str | os.PathLike) else query

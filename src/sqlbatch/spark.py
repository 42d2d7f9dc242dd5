"""Spark tables: `sqlbatch.spark.enrich(spark, "SELECT …", into="catalog.schema.table", shared=…, …).wait()`.

Spark runs the query and keeps its rows in a shared folder, sqlbatch asks about them, Spark joins the answers to them
and writes the target. State is in a DuckDB file, as ever: `db`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from sqlbatch import config, previews, reach, run
from sqlbatch.api import ask_options, check_cost
from sqlbatch.db import jobs as state_of_jobs
from sqlbatch.errors import (
    DatabaseConflict,
    DatabaseLocked,
    InvalidSettings,
    InvalidTarget,
    JobError,
    ProviderUnreachable,
)
from sqlbatch.job import Db, Job, Quote, database_of, existing, speaking_python
from sqlbatch.lake import engine as lake
from sqlbatch.lake.spark import Spark
from sqlbatch.previews import sample_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlbatch.batches.events import Event
    from sqlbatch.db.database import Database
    from sqlbatch.db.jobs import JobRow
    from sqlbatch.lake.engine import Publication
    from sqlbatch.options import EnrichOptions
    from sqlbatch.previews import Preview

# One SELECT in Spark's SQL, the Path of a .sql file, or a Spark DataFrame.
Query = Any


class Asked(TypedDict, total=False):
    """What is asked of the model: the arguments of `sqlbatch.enrich`, under the same names."""

    input: str | Sequence[str] | None
    prompt: str | None
    instructions: str | None
    returns: str | None
    json_schema: str | Mapping[str, Any] | None
    structured: str | None
    image: str | Sequence[str] | None
    image_detail: str | None
    model: str | None
    params: Mapping[str, Any] | None
    endpoint: str | None
    provider: str | None
    base_url: str | None
    limit: int | None
    max_attempts: int | None


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
    ) -> SparkJob:
        """Do steps until the target is written, and return the job itself; arguments and errors as of `Job.wait`."""
        super().wait(poll=poll, on_event=on_event, progress=progress, keep_going=keep_going)
        self.publish()
        return self

    def publish(self, *, replace: bool = False) -> Publication:
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


@speaking_python
def enrich(
    spark: Any,
    query: Query,
    *,
    into: str,
    shared: str | os.PathLike[str],
    db: Db = None,
    table_format: str | None = None,
    fresh: bool = False,
    replace: bool = False,
    max_cost: float | None = None,
    yes: bool = False,
    **asked: Unpack[Asked],
) -> SparkJob:
    """Submit an enrichment of Spark's rows and return its job; `.wait()` follows it until Spark's table is written.

    `spark` is a session, classic or over Connect; `query` one SELECT of Spark's SQL, the Path of a .sql file, or a
    Spark DataFrame. `into` names the table, as catalog.schema.table. `shared` is a folder that Spark and this process both
    see: the rows are kept there until the table is written. `table_format` (delta, iceberg, parquet) is what the table
    is stored as, by default what the session makes. `db` is the DuckDB file with the state, on a disk that lasts. All
    other arguments, and the errors, as of `sqlbatch.enrich`; EngineError where Spark cannot do what is asked.
    """
    engine = Spark(spark, table_format=table_format)
    database = database_of(db)
    options = _asked(query, into, asked)
    max_cost = config.max_cost(max_cost)
    lake.check_target(database, engine, into, replacing=replace)
    rows = engine.read(_of(query, options))
    with (
        lake.kept(engine, rows, options.enrichment, os.fspath(shared), database) as keep,
        lake.prepared(
            database,
            rows,
            keep,
            options.enrichment,
            options.provider,
            into,
            fresh=fresh,
            replacing=replace,
            max_attempts=options.max_attempts,
            max_cost=max_cost,
        ) as ask,
    ):
        if ask.quote.rows == ask.quote.skipped:
            raise JobError(
                "the query has no rows to send" if not ask.quote.rows else "every row is skipped: nothing to send"
            )
        if ask.quote.to_send:
            check_cost(ask.quote, max_cost, yes=yes)
            reach.check_provider(database, options.provider)
        job = SparkJob(database, lake.start(database, engine, ask, keep, into), engine)
    if not options.provider.embedded:
        # The job is begun: what passes by itself is for wait() to get over, and must not hide the job.
        with contextlib.suppress(DatabaseLocked, DatabaseConflict, ProviderUnreachable):
            job.step()
    return job


@speaking_python
def plan(
    spark: Any,
    query: Query,
    *,
    into: str,
    shared: str | os.PathLike[str],
    db: Db = None,
    fresh: bool = False,
    replace: bool = False,
    **asked: Unpack[Asked],
) -> Quote:
    """Return the quote of an enrichment of Spark's rows; sends nothing. The rows are kept only while they are counted.

    Arguments and errors as of `enrich`.
    """
    engine, database = Spark(spark), database_of(db)
    options = _asked(query, into, asked)
    rows = engine.read(_of(query, options))
    with (
        lake.kept(engine, rows, options.enrichment, os.fspath(shared), None) as keep,
        lake.prepared(
            database, rows, keep, options.enrichment, options.provider, into, fresh=fresh, replacing=replace
        ) as ask,
    ):
        return Quote.of(dataclasses.replace(ask.quote, target=into))


@speaking_python
def preview(
    spark: Any,
    query: Query,
    *,
    shared: str | os.PathLike[str],
    into: str | None = None,
    db: Db = None,
    rows: int | None = None,
    sample: int | None = None,
    fresh: bool = False,
    yes: bool = False,
    **asked: Unpack[Asked],
) -> Preview:
    """Ask for a few of Spark's rows now, at the full price, and return them beside their answers, which are kept.

    Arguments and errors as of `enrich` and of `sqlbatch.preview`.
    """
    engine, database = Spark(spark), database_of(db)
    options = _asked(query, into or "preview", asked)
    run.recover_interrupted(database)
    read = engine.read(_of(query, options))
    few = _few(options, rows, sample)
    with (
        lake.kept(engine, read, few.enrichment, os.fspath(shared), None, sample=sample) as keep,
        previews.prepared(
            database,
            few.enrichment,
            few.provider,
            rows=rows,
            sample=sample,
            fresh=fresh,
            handed_over=keep.rows,
        ) as ready,
    ):
        if ready.known.to_send:
            if ready.cost.must_be_agreed and not yes:
                raise InvalidSettings(
                    f"{ready.known.to_send:,} requests (about {ready.cost.tokens:,} tokens of input) would be sent to "
                    f"{few.provider.name} now, {ready.cost.in_words()}: pass yes=True to spend it"
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


def _asked(query: Query, into: str, asked: Asked) -> EnrichOptions:
    unknown = set(asked) - set(Asked.__annotations__)
    if unknown:
        raise TypeError(f"unexpected argument: {', '.join(sorted(unknown))}")
    if not into or not into.strip():
        raise InvalidTarget("--into is empty: name a table of Spark's, as catalog.schema.table")
    given: dict[str, Any] = {name: asked.get(name) for name in Asked.__annotations__ if name != "input"}
    return ask_options(query, asked.get("input"), into=into, **given)


def _of(query: Query, options: EnrichOptions) -> object:
    """Return what Spark reads: the query's text, or the DataFrame."""
    return options.enrichment.query if isinstance(query, str | os.PathLike) else query


def _few(options: EnrichOptions, rows: int | None, sample: int | None) -> EnrichOptions:
    """Return options by which the engine keeps no more rows than the preview has."""
    wanted = sample_size(rows, sample)
    if sample is not None:
        return options
    limit = min(wanted, options.enrichment.limit or wanted)
    return dataclasses.replace(options, enrichment=dataclasses.replace(options.enrichment, limit=limit))

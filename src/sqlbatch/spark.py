"""Spark tables: `sqlbatch.spark.enrich(spark, "SELECT …", into="catalog.schema.table", shared=…, …).wait()`.

Spark runs the query and keeps its rows in a shared folder, sqlbatch asks about them, and Spark joins the answers to
them and writes the target. The state is in a DuckDB file (`db`) or, for drivers whose disk does not last, in a shared
folder with copies of it (`state`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import TYPE_CHECKING, Any, Unpack

from sqlbatch import config, prepare
from sqlbatch.api import (
    AskOptions,
    ask_preview,
    check_ask,
    read_ask,
    refuse_memory,
    take_first_step,
    with_options,
)
from sqlbatch.db import jobs as state_of_jobs
from sqlbatch.errors import InvalidSettings, JobError
from sqlbatch.job import Db, Job, Quote, existing
from sqlbatch.lake import engine_ask, engine_target
from sqlbatch.lake.mirror import Mirror, mirror_of
from sqlbatch.lake.spark import Spark
from sqlbatch.python_messages import speaking_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from sqlbatch.batches.events import Event
    from sqlbatch.db.database import Database
    from sqlbatch.lake.engine_target import Publication
    from sqlbatch.options import EnrichOptions
    from sqlbatch.prepare import Prepared
    from sqlbatch.previews import Preview

# One SELECT in Spark's SQL, the Path of a .sql file, or a Spark DataFrame.
Query = Any


class SparkJob(Job):
    """A job whose target is a Spark table: `wait` follows it until that is written.

    Methods and errors are those of `Job`; also EngineError if Spark cannot write, and DatabaseLocked if another driver
    has the state.
    """

    def __init__(self, database: Database, job_id: int, engine: Spark, mirror: Mirror | None = None) -> None:
        super().__init__(database, job_id)
        self._engine = engine
        self._mirror = mirror

    def _held(self) -> AbstractContextManager[None]:
        return _held(self._mirror)

    def publish(self, *, replace: bool = False) -> Publication:  # type: ignore[override]
        """Have Spark write the target from the answers so far; repeating it does no harm.

        `replace` allows it to replace a table that sqlbatch did not make. Raises EngineError if Spark cannot write,
        JobError if a newer job owns the target.
        """
        with self._held():
            return engine_target.publish(self._database, self._engine, self.job_id, replacing=replace)

    def _bring(self, *, replace: bool = False) -> None:
        self.publish(replace=replace)

    def table(self) -> Any:
        """Return the target as a Spark DataFrame; raise JobError if it is not written yet."""
        found = engine_target.find(self._database, self.job_id)
        if found is None or found.rows is None:
            raise JobError(f"job {self.job_id} is not written yet: job.wait() first, or job.load() for what is there")
        return self._engine.table(found.target)

    def _follow(
        self, events: Iterable[Event], *, progress: bool | None, on_event: Callable[[Event], object] | None = None
    ) -> None:
        followed = events if self._mirror is None else self._mirror.following(events)
        super()._follow(followed, progress=progress, on_event=on_event)


@with_options
@speaking_python
def enrich(
    spark: Any,
    query: Query,
    *,
    shared: str | os.PathLike[str],
    state: str | os.PathLike[str] | None = None,
    table_format: str | None = None,
    max_attempts: int | None = None,
    replace: bool = False,
    max_cost: float | None = None,
    yes: bool = False,
    **given: Unpack[AskOptions],
) -> SparkJob:
    """Submit an enrichment of Spark's rows and return its job.

    Call `.wait()` to follow it until Spark's table is written. `spark` is a session, classic or over Connect; `query`
    is one SELECT in Spark's SQL, the Path of a .sql file, or a Spark DataFrame. `into` names the table, as
    catalog.schema.table. `shared` is a folder that Spark and this process both see; the rows are kept there until the
    table is written. `table_format` (delta, iceberg, parquet) is the table's format, by default the session's. `db` is
    the DuckDB file with the state, on a disk that lasts. If the driver's disk does not last, `state` names a folder
    that does, for whole copies of that file: one driver at a time has it, and the driver after a killed one continues
    from its last copy. All other arguments and errors are those of `sqlbatch.enrich`; also EngineError if Spark cannot
    do it, and DatabaseLocked if another driver has the state.
    """
    engine = Spark(spark, table_format=table_format)
    mirror = _mirror(state, given)
    with _held(mirror):
        database, asked = _asked(query, given, mirror, max_attempts)
        refuse_memory(database, asked)
        max_cost = config.max_cost(max_cost)
        more = {"max_attempts": asked.max_attempts, "max_cost": max_cost, "replacing": replace, "starting": True}
        with _prepared(engine, database, asked, query, shared, given, **more) as (ask, start):
            check_ask(database, ask, yes=yes or max_cost is not None)
            job = SparkJob(database, start(), engine, mirror)
        take_first_step(job, asked.provider)
        return job


@with_options
@speaking_python
def plan(
    spark: Any,
    query: Query,
    *,
    shared: str | os.PathLike[str],
    state: str | os.PathLike[str] | None = None,
    replace: bool = False,
    **given: Unpack[AskOptions],
) -> Quote:
    """Return the quote of an enrichment of Spark's rows; nothing is sent, and the rows are kept only for counting.

    Arguments and errors are those of `enrich`.
    """
    engine = Spark(spark)
    mirror = _mirror(state, given)
    with _held(mirror):
        database, asked = _asked(query, given, mirror)
        with _prepared(engine, database, asked, query, shared, given, replacing=replace) as (ask, _):
            return Quote.of(dataclasses.replace(ask.quote, target=str(asked.into)))


@with_options
@speaking_python
def preview(
    spark: Any,
    query: Query,
    *,
    shared: str | os.PathLike[str],
    state: str | os.PathLike[str] | None = None,
    rows: int | None = None,
    sample: int | None = None,
    yes: bool = False,
    **given: Unpack[AskOptions],
) -> Preview:
    """Ask about a few of Spark's rows now, at the full price, and return them with their answers, which are kept.

    Arguments and errors are those of `enrich` and of `sqlbatch.preview`.
    """
    engine = Spark(spark)
    mirror = _mirror(state, given)
    with _held(mirror):
        database, asked = _asked(query, given, mirror)
        refuse_memory(database, asked)
        prepare.recover_interrupted(database)
        with engine_ask.previewed(
            engine, database, asked.enrichment, asked.provider, os.fspath(shared), frame=_frame(query), rows=rows,
            sample=sample, fresh=bool(given.get("fresh")),
        ) as ready:  # fmt: skip
            return ask_preview(database, ready, yes=yes)


@speaking_python
def find(
    spark: Any,
    job: str | int | None = None,
    *,
    db: Db = None,
    state: str | os.PathLike[str] | None = None,
    table_format: str | None = None,
) -> SparkJob:
    """Return a job by its number or its target's name, by default the newest; call `.wait()` to continue it.

    Raises JobError if there is none, or if its target is not a Spark table; DatabaseLocked if another driver has the
    `state`.
    """
    named: AskOptions = {"db": db}
    mirror = _mirror(state, named)
    with _held(mirror):
        database = existing(named["db"])
        _guarded(database, mirror)
        row = database.read(lambda session: state_of_jobs.find(session, None if job is None else str(job)))
        if engine_target.find(database, row.job_id) is None:
            raise JobError(f"the target of job {row.job_id}, {row.target}, is in {database.name}: sqlbatch.find has it")
        return SparkJob(database, row.job_id, Spark(spark, table_format=table_format), mirror)


def _mirror(state: str | os.PathLike[str] | None, given: AskOptions) -> Mirror | None:
    """Return the mirror of a shared state, and make its copy the database; None if no state is named."""
    if state is None:
        return None
    if given.get("db") is not None:
        raise InvalidSettings("state= is where the database lies: leave db= out")
    mirror = mirror_of(state)
    given["db"] = mirror.path
    return mirror


def _held(mirror: Mirror | None) -> AbstractContextManager[None]:
    return contextlib.nullcontext() if mirror is None else mirror.held()


def _guarded(database: Database, mirror: Mirror | None) -> None:
    if mirror is not None:
        database.guard, database.push, database.shared = mirror.guard, mirror.push, mirror.folder


def _asked(
    query: Query, given: AskOptions, mirror: Mirror | None, max_attempts: int | None = None
) -> tuple[Database, EnrichOptions]:
    """Return the database and the options of the enrichment.

    Raise InvalidSettings for the local server with a shared state.
    """
    database, asked = read_ask(query, given, max_attempts)
    if mirror is not None and asked.provider.embedded:
        raise InvalidSettings("state= does not go with the local provider, whose batches end with the driver: use db=")
    _guarded(database, mirror)
    return database, asked


def _prepared(
    engine: Spark,
    database: Database,
    asked: EnrichOptions,
    query: Query,
    shared: str | os.PathLike[str],
    given: AskOptions,
    **more: Any,
) -> AbstractContextManager[tuple[Prepared, Callable[[], int]]]:
    return engine_ask.prepared(
        engine, database, asked.enrichment, asked.provider, asked.into, os.fspath(shared), frame=_frame(query),
        fresh=bool(given.get("fresh")), notes=asked.notes, **more,
    )  # fmt: skip


def _frame(query: Query) -> object:
    """Return the DataFrame that was given instead of a query, None for a query."""
    return None if isinstance(query, str | os.PathLike) else query

"""What Python users hold: enrich, plan, and a Job to wait for and read."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import duckdb

from sqlbatch import places, reach, run, settings, trial
from sqlbatch.errors import (
    DatabaseConflict,
    DatabaseLocked,
    InvalidSettings,
    JobError,
    ProviderUnreachable,
    SqlbatchError,
)
from sqlbatch.query.target import parse_target
from sqlbatch.store import jobs
from sqlbatch.store.database import Database, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from sqlbatch.answering.events import Event
    from sqlbatch.query.quote import Quote
    from sqlbatch.run import Prepared
    from sqlbatch.store.records import JobRow

Query = str | duckdb.DuckDBPyRelation


class Job:
    """One run of an enrichment: wait for it, ask how it stands, read its table."""

    def __init__(self, database: Database, job_id: int) -> None:
        self._database = database
        self.job_id = job_id

    def __repr__(self) -> str:
        job = self.status()
        return f"<Job {job.job_id} {job.target}: {job.status}, {job.answered:,} of {job.requests:,} requests answered>"

    def status(self) -> JobRow:
        """Return the job as it stands now, with its counts of requests."""
        return self._database.read(lambda session: jobs.find(session, str(self.job_id)))

    def step(self) -> JobRow:
        """Do one step (submit what is due, look at what is open, load what ended) and return how the job stands."""
        for _ in run.steps(self._database, self.job_id, once=True):
            pass
        return self.status()

    def wait(self, *, poll: float | None = None, on_event: Callable[[Event], object] | None = None) -> Job:
        """Do steps until the target is written, and return the job itself.

        `poll` is the pause between two looks in seconds (default: short at first, growing to a minute); `on_event` is
        called with all that happens (`sqlbatch.answering.events`). An interrupt leaves the job going at the provider.
        Raises JobError where the job ends without its target.
        """
        for event in run.steps(self._database, self.job_id, poll=poll):
            if on_event is not None:
                on_event(event)
        job = self.status()
        if job.error:
            raise JobError(job.error)
        if job.status != "done":
            raise JobError(
                f"job {job.job_id} is {job.status}: a newer job has the target {job.target}, or it was stopped"
            )
        return self

    def table(self) -> duckdb.DuckDBPyRelation:
        """Return the target as a DuckDB relation: `.df()`, `.fetchall()`, `.filter(…)` and the like.

        On a database given by its path the relation holds the file open for as long as it lives. Raises JobError where
        the target is not written yet.
        """
        job = self.status()
        con = self._database.connection
        own = None
        try:
            if con is None:
                con = own = duckdb.connect(str(self._database.path))
            catalog = con.execute("SELECT current_catalog()").fetchall()[0][0]
            return con.sql(f"SELECT * FROM {parse_target(job.target, None).qualified(catalog)}")
        except duckdb.Error as error:
            if own is not None:
                own.close()
            if isinstance(error, duckdb.CatalogException):
                raise JobError(
                    f"{job.target} is not written yet: job.wait() first, or the command sqlbatch load for what is there"
                ) from None
            raise wrapped(error, self._database.name) from error


def enrich(
    query: Query,
    *,
    db: str | os.PathLike[str] | duckdb.DuckDBPyConnection | None = None,
    into: str | None = None,
    input: str | Sequence[str] | None = None,  # noqa: A002 (the command's word)
    prompt: str | None = None,
    instructions: str | None = None,
    returns: str | None = None,
    model: str | None = None,
    params: Mapping[str, Any] | None = None,
    endpoint: str | None = None,
    provider: str | None = None,
    base_url: str | None = None,
    limit: int | None = None,
    max_attempts: int | None = None,
    fresh: bool = False,
    replace: bool = False,
    yes: bool = False,
) -> Job:
    """Submit an enrichment and return its Job; `.wait()` follows it until its table is written.

    `query` is one SELECT, or a DuckDB relation (which may read DataFrames). `db` is a path, or a connection of yours,
    which is used through cursors and not closed. You are never prompted: `yes=True` allows requests to a paid provider.
    Raises InvalidEnrichment where the ask is wrong, ProviderError where the provider cannot be reached.
    """
    database = _database(db)
    asked = _ask(query, input, into=into, prompt=prompt, instructions=instructions, returns=returns, model=model,
                 params=params, endpoint=endpoint, provider=provider, base_url=base_url, limit=limit,
                 max_attempts=max_attempts)  # fmt: skip
    if asked.provider.paid and places.file_of(database) is None:
        raise InvalidSettings("an in-memory database forgets what was paid for: connect to a file for a paid provider")
    with _prepared(database, query, asked, fresh=fresh, replace=replace) as ask:
        if ask.quote.rows == ask.quote.skipped:
            raise JobError(
                "the query has no rows to send" if not ask.quote.rows else "every row is skipped: nothing to send"
            )
        if ask.quote.to_send:
            if asked.provider.paid and not yes:
                raise InvalidSettings(
                    f"{ask.quote.to_send:,} requests (about {ask.quote.tokens:,} tokens of input) would be sent to "
                    f"{asked.provider.name}, at an unknown price: pass yes=True to spend it"
                )
            reach.check_provider(database, asked.provider)
        job = Job(database, run.begin(database, ask))
    if asked.provider.paid:
        # The job is begun: what passes by itself is for wait() to get over, and must not hide the job.
        with contextlib.suppress(DatabaseLocked, DatabaseConflict, ProviderUnreachable):
            job.step()
    return job


def plan(
    query: Query,
    *,
    db: str | os.PathLike[str] | duckdb.DuckDBPyConnection | None = None,
    into: str | None = None,
    input: str | Sequence[str] | None = None,  # noqa: A002 (the command's word)
    prompt: str | None = None,
    instructions: str | None = None,
    returns: str | None = None,
    model: str | None = None,
    params: Mapping[str, Any] | None = None,
    endpoint: str | None = None,
    provider: str | None = None,
    base_url: str | None = None,
    limit: int | None = None,
    fresh: bool = False,
    replace: bool = False,
) -> Quote:
    """Return the quote of an enrichment; sends nothing, writes nothing. Arguments and errors as for `enrich`."""
    asked = _ask(query, input, into=into, prompt=prompt, instructions=instructions, returns=returns, model=model,
                 params=params, endpoint=endpoint, provider=provider, base_url=base_url, limit=limit)  # fmt: skip
    with _prepared(_database(db), query, asked, fresh=fresh, replace=replace) as ask:
        return ask.quote


def preview(
    query: Query,
    *,
    db: str | os.PathLike[str] | duckdb.DuckDBPyConnection | None = None,
    rows: int | None = None,
    sample: int | None = None,
    input: str | Sequence[str] | None = None,  # noqa: A002 (the command's word)
    prompt: str | None = None,
    instructions: str | None = None,
    returns: str | None = None,
    model: str | None = None,
    params: Mapping[str, Any] | None = None,
    endpoint: str | None = None,
    provider: str | None = None,
    base_url: str | None = None,
    limit: int | None = None,
    fresh: bool = False,
    yes: bool = False,
) -> trial.Preview:
    """Ask for a few rows now, through the ordinary endpoint at its full price, and return them beside their answers.

    `rows` is how many of the query's first rows (5), `sample` how many at random instead. The answers are kept: neither
    another preview nor `enrich` pays for them again. Arguments and errors else as for `enrich`.
    """
    database = _database(db)
    asked = _ask(query, input, prompt=prompt, instructions=instructions, returns=returns, model=model, params=params,
                 endpoint=endpoint, provider=provider, base_url=base_url, limit=limit)  # fmt: skip
    if asked.provider.paid and places.file_of(database) is None:
        raise InvalidSettings("an in-memory database forgets what was paid for: connect to a file for a paid provider")
    run.take_in(database)
    relation = None if isinstance(query, str) else query
    with trial.prepared(
        database, asked.enrichment, asked.provider, rows=rows, sample=sample, fresh=fresh, relation=relation
    ) as ready:
        if ready.known.to_send:
            if asked.provider.paid and not yes:
                raise InvalidSettings(
                    f"{ready.known.to_send:,} requests (about {ready.known.tokens:,} tokens of input) would be sent to "
                    f"{asked.provider.name}, at the ordinary price: pass yes=True to spend it"
                )
            for _ in trial.ask(database, ready):
                pass
        return trial.result(database, ready)


def _ask(query: Query, inputs: str | Sequence[str] | None, **given: Any) -> settings.Ask:
    text = query if isinstance(query, str) else query.sql_query()
    source = settings.read_source(text) if isinstance(query, str) else settings.Source(text, {}, None)
    columns = [inputs] if isinstance(inputs, str) else list(inputs or ())
    params = given.pop("params") or {}
    options = dict(source.options)
    options["param"] = {**options.get("param", {}), **params}
    return settings.ask(settings.Source(source.query, options, source.stem), {**given, "input": columns or None})


def _database(db: str | os.PathLike[str] | duckdb.DuckDBPyConnection | None) -> Database:
    if not isinstance(db, duckdb.DuckDBPyConnection):
        return settings.database(os.fspath(db) if db is not None else None)
    try:
        # Outside of a transaction each statement is one of its own; trying BEGIN would undo the user's.
        first, second = (db.execute("SELECT txid_current()").fetchall() for _ in range(2))
    except duckdb.Error as error:
        raise SqlbatchError(f"the connection cannot be used: {error}") from error
    if first == second:
        raise InvalidSettings("the connection has an open transaction, which a job would not see: commit it first")
    return Database(connection=db)


def _prepared(
    database: Database, query: Query, asked: settings.Ask, *, fresh: bool, replace: bool
) -> AbstractContextManager[Prepared]:
    return run.prepared(
        database,
        asked.enrichment,
        asked.provider,
        asked.into,
        fresh=fresh,
        replacing=replace,
        max_attempts=asked.max_attempts,
        relation=None if isinstance(query, str) else query,
    )

"""The functions of the Python API: enrich, plan, preview and compare_asks."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, TypeVar, Unpack

from sqlbatch import compare as comparisons
from sqlbatch import config, connection, options, paths, plan_previews, prepare, previews, side_by_side
from sqlbatch.errors import DatabaseConflict, DatabaseLocked, InvalidSettings, JobError, ProviderUnreachable
from sqlbatch.functions.find import mentions_calls
from sqlbatch.job import Db, Job, Quote, check_cost, database_of
from sqlbatch.lake.places import arrivals
from sqlbatch.python_messages import speaking_python
from sqlbatch.query.rows import described
from sqlbatch.source import Source, read_source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from sqlbatch.batches.providers import Provider
    from sqlbatch.compare import Comparison
    from sqlbatch.db.database import Database
    from sqlbatch.options import EnrichOptions
    from sqlbatch.prepare import Prepared
    from sqlbatch.previews import PreparedPreview, Preview
    from sqlbatch.query import quote as quotes

Given = ParamSpec("Given")
Returned = TypeVar("Returned")
# One SELECT, the Path of a .sql file, or rows: a DuckDB relation, a DataFrame (pandas, polars), an Arrow table or
# reader, a list of dicts.
Query = Any


class AskOptions(TypedDict, total=False):
    """The options shared by enrich, plan and preview, named as on the command line. None: not given."""

    db: Db
    into: str | None
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
    policy: str | None
    dialect: str | None
    where: str | None
    incremental: bool | None
    unique_key: str | Sequence[str] | None
    confidence: bool | None
    attach: str | Sequence[str] | None
    fresh: bool | None


def with_options(call: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """Add the options of AskOptions to a function's signature, for help and editors, and check the names given."""
    *named, _ = inspect.signature(call).parameters.values()
    first = [each for each in named if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    own = [each for each in named if each.kind is inspect.Parameter.KEYWORD_ONLY]
    taken = {each.name for each in own}
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind.__forward_arg__)
        for name, kind in AskOptions.__annotations__.items()
        if name not in taken
    ]
    signature = inspect.signature(call).replace(parameters=[*first, *shared, *own])

    @functools.wraps(call)
    def called(*given: Given.args, **named: Given.kwargs) -> Returned:
        try:
            signature.bind(*given, **named)
        except TypeError as error:
            raise TypeError(f"{call.__name__}() {error}") from None
        return call(*given, **named)

    called.__signature__ = signature  # type: ignore[attr-defined]
    return called


@with_options
@speaking_python
def enrich(
    query: Query,
    *,
    max_attempts: int | None = None,
    replace: bool = False,
    max_cost: float | None = None,
    yes: bool = False,
    **given: Unpack[AskOptions],
) -> Job:
    """Submit an enrichment and return its Job; call `.wait()` to follow it until its table is written.

    `query` is one SELECT, the Path of a .sql file, or rows: a DuckDB relation, a DataFrame (pandas, polars), an Arrow
    table or RecordBatchReader, or a list of dicts. `db` is a path, or your own connection, which stays open; the query
    can then use its temporary tables and registered DataFrames. You are never prompted: if the job may cost more than a
    dollar, or the price is unknown, pass `max_cost` (the most the job may cost in dollars, retries included) or
    `yes=True`. For a query that calls AI functions, `policy` is balanced, lean or fuse, and `dialect` is the query's
    SQL: duckdb, snowflake, bigquery or databricks. `attach` names other databases, as `--attach` does, to read from or
    for the target: `into="pg.marts.tags"`. With `incremental`, the rows update or extend the target by `unique_key`;
    `where` selects some of the query's rows. With `confidence`, a column of the target says how sure the model was of
    each value.

    Raises InvalidSettings if the cost must be agreed to first or exceeds a budget, InvalidEnrichment if an option is
    wrong, ProviderError if the provider cannot be reached.
    """
    database, asked = read_ask(query, given, max_attempts)
    refuse_memory(database, asked)
    max_cost = config.max_cost(max_cost)
    with _prepared(database, query, asked, given, replace=replace, max_cost=max_cost) as ask:
        check_ask(database, ask, yes=yes or max_cost is not None)
        job = Job(database, prepare.start(database, ask))
    take_first_step(job, asked.provider)
    return job


@with_options
@speaking_python
def plan(query: Query, *, replace: bool = False, **given: Unpack[AskOptions]) -> Quote:
    """Return the quote of an enrichment; nothing is sent or written. Arguments and errors are those of `enrich`."""
    database, asked = read_ask(query, given)
    with _prepared(database, query, asked, given, replace=replace) as ask:
        return Quote.of(ask.quote)


@with_options
@speaking_python
def preview(
    query: Query,
    *,
    rows: int | None = None,
    sample: int | None = None,
    tier: str | None = None,
    yes: bool = False,
    **given: Unpack[AskOptions],
) -> Preview:
    """Ask about a few rows now, at the ordinary endpoint's full price, and return them with their answers.

    `rows` is the number of first rows (default 5); `sample` takes that many at random instead. The answers are kept, so
    neither another preview nor `enrich` pays for them again. `tier="flex"` uses the flex price, if the model has one:
    as cheap as a batch, but it may take minutes. `into` is accepted and ignored, so that the same arguments work for
    enrich, plan and preview. Other arguments and errors are those of `enrich`.
    """
    database, asked = read_ask(query, given)
    asked = options.at_tier(asked, tier)
    refuse_memory(database, asked)
    fresh = bool(given.get("fresh"))
    prepare.recover_interrupted(database)
    if _rows(query) is None and mentions_calls(asked.enrichment.query):
        with plan_previews.prepared(
            database, asked.enrichment, asked.provider, rows=rows, sample=sample, fresh=fresh
        ) as planned:
            if planned is not None:
                check_quote(planned.quote, planned.over(), yes=yes)
                for _ in plan_previews.ask(database, planned):
                    pass
                return plan_previews.result(database, planned)
    with previews.prepared(
        database, asked.enrichment, asked.provider, rows=rows, sample=sample, fresh=fresh, passed_rows=_rows(query)
    ) as ready:
        return ask_preview(database, ready, yes=yes)


def ask_preview(database: Database, ready: PreparedPreview, *, yes: bool) -> Preview:
    """Send the requests of a preview and return it; raise InvalidSettings if its cost must be agreed to first."""
    if ready.known.to_send:
        sent = f"{ready.known.to_send:,} requests (about {ready.cost.tokens:,} tokens of input) would be sent"
        check_cost(ready.cost, ready.over(), f"{sent} to {ready.provider.name} now", yes=yes)
        for _ in previews.ask(database, ready):
            pass
    return previews.result(database, ready)


def check_ask(database: Database, ask: Prepared, *, yes: bool) -> None:
    """Check that a job can start: it has rows to send, its cost is agreed to, its provider can be reached.

    Raises JobError if there is no row to send, InvalidSettings if the cost must be agreed to first or exceeds a budget,
    ProviderError if the provider cannot be reached.
    """
    if ask.quote.rows == ask.quote.skipped:
        raise JobError(
            "the query has no rows to send" if not ask.quote.rows else "every row is skipped: nothing to send"
        )
    if ask.quote.to_send:
        check_quote(ask.quote, ask.over(), yes=yes)
        connection.check_provider(database, ask.provider)


def take_first_step(job: Job, provider: Provider) -> None:
    """Submit the first batches of a job that has just started. The local server works only during `wait()`."""
    if not provider.embedded:
        # The job has started. An error that passes is left to wait(): raised here, it would hide the job from the
        # caller.
        with contextlib.suppress(DatabaseLocked, DatabaseConflict, ProviderUnreachable):
            job.step()


def check_quote(quote: quotes.Quote, over: str | None, *, yes: bool) -> None:
    """Raise InvalidSettings unless an enrichment's cost is within the budgets and agreed to (`over`.

    As for `check_cost`).
    """
    sent = f"{quote.to_send:,} requests (about {quote.tokens:,} tokens of input) would be sent to {quote.provider}"
    check_cost(quote.cost, over, sent, yes=yes, agree="max_cost, in dollars, or yes=True")


def refuse_memory(database: Database, asked: EnrichOptions) -> None:
    """Raise InvalidSettings if paid answers would be stored in memory only."""
    if asked.provider.paid and paths.file_of(database) is None:
        raise InvalidSettings("an in-memory database forgets what was paid for: connect to a file for a paid provider")


def read_ask(query: Query, given: AskOptions, max_attempts: int | None = None) -> tuple[Database, EnrichOptions]:
    """Return the database that is named, and the options of the enrichment."""
    asked: dict[str, Any] = {**given, "max_attempts": max_attempts}
    for name in ("input", "image", "unique_key"):
        columns = asked.get(name)
        asked[name] = [columns] if isinstance(columns, str) else list(columns or ()) or None
    source = read_source(query) if isinstance(query, str | os.PathLike) else Source(described(query), {}, None)
    params = {**source.options.get("param", {}), **(asked.pop("params", None) or {})}
    source = Source(source.query, {**source.options, "param": params}, source.stem, source.folder)
    database = database_of(asked.pop("db", None), asked.pop("attach", None))
    return database, options.enrich_options(source, asked)


def _rows(query: Query) -> object:
    """Return the rows that were passed instead of a query, None for a query."""
    return None if isinstance(query, str | os.PathLike) else query


def _prepared(
    database: Database,
    query: Query,
    asked: EnrichOptions,
    given: AskOptions,
    *,
    replace: bool,
    max_cost: float | None = None,
) -> AbstractContextManager[Prepared]:
    return prepare.prepared(
        database,
        asked.enrichment,
        asked.provider,
        asked.into,
        fresh=bool(given.get("fresh")),
        replacing=replace,
        max_attempts=asked.max_attempts,
        max_cost=max_cost,
        passed_rows=_rows(query),
        notes=asked.notes,
        arrivals=arrivals,
    )


@with_options
@speaking_python
def compare_asks(
    a: str | Path,
    b: str | Path | None = None,
    *,
    models: Sequence[str] = (),
    sample: int | None = None,
    gold: str | None = None,
    keys: Sequence[str] = (),
    yes: bool = False,
    **given: Unpack[AskOptions],
) -> Comparison:
    """Ask two prompts, or one prompt of two `models`, about the same rows; wait for both; return the comparison.

    `a` and `b` are Paths of .sql files or queries; without `b`, give two `models`. `sample` is the number of rows to
    ask about (default: all), the same rows on each call. `gold` is a table with the right values, and `keys` are the
    columns that identify its rows. Both sides are quoted together before either starts; if the process is killed, call
    it again to continue both. Other options and errors are those of `enrich`.
    """
    if (b is None) != (len(models) == 2) or len(models) not in {0, 2}:
        raise TypeError("compare_asks() takes two queries, or one with two models: models=('a', 'b')")
    sides = [(a, {"model": name}) for name in models] if b is None else [(a, {}), (b, {})]
    read = [read_ask(query, {**given, **more}) for query, more in sides]  # type: ignore[typeddict-item]
    database, asked = read[0][0], [each for _, each in read]
    stems = [query.stem if isinstance(query, Path) else None for query, _ in sides]
    for each in asked:
        refuse_memory(database, each)
    limit, fresh = config.max_cost(None), bool(given.get("fresh"))
    with side_by_side.prepared(database, asked, stems, sample=sample, max_cost=limit, fresh=fresh) as both:
        if both.paid:
            sent = f"{both.to_send:,} requests (about {both.cost.tokens:,} tokens of input) would be sent"
            check_cost(both.cost, both.over(), sent, yes=yes)
            for each in asked:
                connection.check_provider(database, each.provider)
        jobs = [Job(database, job_id) for job_id in side_by_side.start(database, both)]
    for job in jobs:
        job.step()
    for job in jobs:
        job.wait()
    return comparisons.compare(database, *both.targets, gold=gold, keys=keys)

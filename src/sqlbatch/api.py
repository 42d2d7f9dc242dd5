"""What Python users call: enrich, plan and preview."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from sqlbatch import config, options, paths, plan_previews, previews, reach, run
from sqlbatch.errors import DatabaseConflict, DatabaseLocked, InvalidSettings, JobError, ProviderUnreachable
from sqlbatch.functions.find import mentions_calls
from sqlbatch.job import Db, Job, Quote, database_of, speaking_python
from sqlbatch.query.rows import described

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from sqlbatch.db.database import Database
    from sqlbatch.previews import Preview
    from sqlbatch.query import quote as quotes
    from sqlbatch.run import Prepared

# One SELECT, the Path of a .sql file, or rows: a DuckDB relation, a DataFrame (pandas, polars), an Arrow table or
# reader, a list of dicts.
Query = Any


@speaking_python
def enrich(
    query: Query,
    *,
    db: Db = None,
    into: str | None = None,
    input: str | Sequence[str] | None = None,  # noqa: A002 (the command's word)
    prompt: str | None = None,
    instructions: str | None = None,
    returns: str | None = None,
    json_schema: str | Mapping[str, Any] | None = None,
    structured: str | None = None,
    image: str | Sequence[str] | None = None,
    image_detail: str | None = None,
    model: str | None = None,
    params: Mapping[str, Any] | None = None,
    endpoint: str | None = None,
    provider: str | None = None,
    base_url: str | None = None,
    limit: int | None = None,
    max_attempts: int | None = None,
    fresh: bool = False,
    replace: bool = False,
    max_cost: float | None = None,
    yes: bool = False,
) -> Job:
    """Submit an enrichment and return its Job; `.wait()` follows it until its table is written.

    `query` is one SELECT, the Path of a .sql file, or rows: a DuckDB relation, a DataFrame (pandas, polars), an Arrow
    table or RecordBatchReader, a list of dicts. `db` is a path, or a connection of yours, which is not closed; the
    query then finds its temporary tables and registered DataFrames. You are never prompted: what may cost more than a
    dollar, or has no known price, needs `max_cost`, the dollars that the job may cost at most with its retries, or
    `yes=True`. Raises InvalidSettings where it needs them or may cost more, InvalidEnrichment where the ask is wrong,
    ProviderError where the provider cannot be reached.
    """
    database = database_of(db)
    asked = _ask(query, input, into=into, prompt=prompt, instructions=instructions, returns=returns, model=model,
                 json_schema=json_schema, structured=structured, image=image, image_detail=image_detail, params=params,
                 endpoint=endpoint, provider=provider, base_url=base_url, limit=limit,
                 max_attempts=max_attempts)  # fmt: skip
    if asked.provider.paid and paths.file_of(database) is None:
        raise InvalidSettings("an in-memory database forgets what was paid for: connect to a file for a paid provider")
    max_cost = config.max_cost(max_cost)
    with _prepared(database, query, asked, fresh=fresh, replace=replace, max_cost=max_cost) as ask:
        if ask.quote.rows == ask.quote.skipped:
            raise JobError(
                "the query has no rows to send" if not ask.quote.rows else "every row is skipped: nothing to send"
            )
        if ask.quote.to_send:
            _check_cost(ask.quote, max_cost, yes=yes)
            reach.check_provider(database, asked.provider)
        job = Job(database, run.start(database, ask))
    if not asked.provider.embedded:
        # The job is begun: what passes by itself is for wait() to get over, and must not hide the job.
        with contextlib.suppress(DatabaseLocked, DatabaseConflict, ProviderUnreachable):
            job.step()
    return job


@speaking_python
def plan(
    query: Query,
    *,
    db: Db = None,
    into: str | None = None,
    input: str | Sequence[str] | None = None,  # noqa: A002 (the command's word)
    prompt: str | None = None,
    instructions: str | None = None,
    returns: str | None = None,
    json_schema: str | Mapping[str, Any] | None = None,
    structured: str | None = None,
    image: str | Sequence[str] | None = None,
    image_detail: str | None = None,
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
                 json_schema=json_schema, structured=structured, image=image, image_detail=image_detail, params=params,
                 endpoint=endpoint, provider=provider, base_url=base_url, limit=limit)  # fmt: skip
    with _prepared(database_of(db), query, asked, fresh=fresh, replace=replace) as ask:
        return Quote.of(ask.quote)


@speaking_python
def preview(
    query: Query,
    *,
    db: Db = None,
    into: str | None = None,
    rows: int | None = None,
    sample: int | None = None,
    input: str | Sequence[str] | None = None,  # noqa: A002 (the command's word)
    prompt: str | None = None,
    instructions: str | None = None,
    returns: str | None = None,
    json_schema: str | Mapping[str, Any] | None = None,
    structured: str | None = None,
    image: str | Sequence[str] | None = None,
    image_detail: str | None = None,
    model: str | None = None,
    params: Mapping[str, Any] | None = None,
    endpoint: str | None = None,
    provider: str | None = None,
    base_url: str | None = None,
    limit: int | None = None,
    fresh: bool = False,
    yes: bool = False,
) -> Preview:
    """Ask for a few rows now, through the ordinary endpoint at its full price, and return them beside their answers.

    `rows` is how many of the query's first rows (5), `sample` how many at random instead. The answers are kept: neither
    another preview nor `enrich` pays for them again. `into` changes nothing here, so that the same arguments go for all
    three. Arguments and errors else as for `enrich`.
    """
    database = database_of(db)
    asked = _ask(query, input, into=into, prompt=prompt, instructions=instructions, returns=returns, model=model,
                 params=params, json_schema=json_schema, structured=structured, image=image, image_detail=image_detail,
                 endpoint=endpoint, provider=provider, base_url=base_url, limit=limit)  # fmt: skip
    if asked.provider.paid and paths.file_of(database) is None:
        raise InvalidSettings("an in-memory database forgets what was paid for: connect to a file for a paid provider")
    run.recover_interrupted(database)
    if isinstance(query, str) and mentions_calls(asked.enrichment.query):
        with plan_previews.prepared(
            database, asked.enrichment, asked.provider, rows=rows, sample=sample, fresh=fresh
        ) as planned:
            if planned is not None:
                _check_cost(planned.quote, None, yes=yes)
                for _ in plan_previews.ask(database, planned):
                    pass
                return plan_previews.result(database, planned)
    with previews.prepared(
        database, asked.enrichment, asked.provider, rows=rows, sample=sample, fresh=fresh, handed_over=_rows(query)
    ) as ready:
        if ready.known.to_send:
            if ready.cost.must_be_agreed and not yes:
                raise InvalidSettings(
                    f"{ready.known.to_send:,} requests (about {ready.cost.tokens:,} tokens of input) would be sent to "
                    f"{asked.provider.name} now, {ready.cost.in_words()}: pass yes=True to spend it"
                )
            for _ in previews.ask(database, ready):
                pass
        return previews.result(database, ready)


def _check_cost(quote: quotes.Quote, max_cost: float | None, *, yes: bool) -> None:
    """Raise InvalidSettings where something may cost more than was agreed to."""
    cost = quote.cost
    over = quote.over(max_cost) if max_cost is not None else None
    if over is not None:
        raise InvalidSettings(over)
    if cost.must_be_agreed and not yes and max_cost is None:
        raise InvalidSettings(
            f"{quote.to_send:,} requests (about {quote.tokens:,} tokens of input) would be sent to {quote.provider}, "
            f"{cost.in_words()}: pass max_cost, in dollars, or yes=True to spend it"
        )


def _ask(query: Query, inputs: str | Sequence[str] | None, **given: Any) -> options.EnrichOptions:
    if isinstance(query, str | os.PathLike):
        source = options.read_source(query)
    else:
        source = options.Source(described(query), {}, None)
    columns = [inputs] if isinstance(inputs, str) else list(inputs or ())
    params = given.pop("params") or {}
    asked = dict(source.options)
    asked["param"] = {**asked.get("param", {}), **params}
    image = given.pop("image") or ()
    given |= {"input": columns or None, "image": [image] if isinstance(image, str) else list(image) or None}
    return options.enrich_options(options.Source(source.query, asked, source.stem, source.folder), given)


def _rows(query: Query) -> object:
    """Return the rows that are handed over in a query's place, None where it is a query."""
    return None if isinstance(query, str | os.PathLike) else query


def _prepared(
    database: Database,
    query: Query,
    asked: options.EnrichOptions,
    *,
    fresh: bool,
    replace: bool,
    max_cost: float | None = None,
) -> AbstractContextManager[Prepared]:
    return run.prepared(
        database,
        asked.enrichment,
        asked.provider,
        asked.into,
        fresh=fresh,
        replacing=replace,
        max_attempts=asked.max_attempts,
        max_cost=max_cost,
        handed_over=_rows(query),
    )

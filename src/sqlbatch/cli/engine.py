"""Rows of another engine on the command line: `--engine sc://host:port --shared FOLDER --into catalog.schema.table`."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

from sqlbatch import display, prepare, previews
from sqlbatch.db import jobs
from sqlbatch.errors import InvalidSettings
from sqlbatch.lake import engine_ask, engine_target
from sqlbatch.lake.places import arrivals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlbatch.cli.options import Given
    from sqlbatch.db.database import Database
    from sqlbatch.lake.spark import Spark
    from sqlbatch.options import EnrichOptions
    from sqlbatch.prepare import Prepared
    from sqlbatch.previews import PreparedPreview
    from sqlbatch.query.quote import Quote


def engine_of(address: str | None) -> Spark | None:
    """Return the engine that `--engine` names, None where it is not given; pyspark is imported only then."""
    if address is None:
        return None
    from sqlbatch.lake.spark import connect  # noqa: PLC0415

    return connect(address)


@contextlib.contextmanager
def prepared(
    database: Database, given: Given, asked: EnrichOptions, max_cost: float | None, *, starting: bool
) -> Iterator[tuple[Prepared, Callable[[], int]]]:
    """Compile and quote an enrichment of the engine's rows or the database's own; yield it with what starts the job."""
    more: dict[str, Any] = {
        "fresh": given["fresh"], "replacing": given["replace"], "max_attempts": asked.max_attempts,
        "max_cost": max_cost, "notes": asked.notes,
    }  # fmt: skip
    what = (asked.enrichment, asked.provider, asked.into)
    engine = engine_of(given["engine"])
    if engine is None:
        if given["shared"] is not None:
            raise InvalidSettings("--shared is the folder of --engine's rows: give both, or neither")
        with prepare.prepared(database, *what, arrivals=arrivals, **more) as ask:
            yield ask, lambda: prepare.start(database, ask)
        return
    with engine_ask.prepared(engine, database, *what, _shared(given), starting=starting, **more) as (ask, start):
        yield ask, start


def previewed(
    database: Database, given: Given, asked: EnrichOptions, rows: int | None, sample: int | None
) -> AbstractContextManager[PreparedPreview]:
    """Compile a preview of the engine's rows, or of the database's own."""
    engine, what = engine_of(given["engine"]), (asked.enrichment, asked.provider)
    more: dict[str, Any] = {"rows": rows, "sample": sample, "fresh": given["fresh"]}
    if engine is None:
        return previews.prepared(database, *what, **more)
    return engine_ask.previewed(engine, database, *what, _shared(given), **more)


def publish(database: Database, address: str | None, job_id: int) -> None:
    """Have the engine write a job's target, or say how, where its target is the engine's and all is here."""
    found = engine_target.find(database, job_id)
    job = jobs.get(database, job_id)
    if found is None or found.published or job.status != "done" or job.error:
        return
    engine = engine_of(address)
    if engine is None:
        display.info(f"{found.target} is not written yet: sqlbatch wait {job_id} --engine sc://host:port writes it")
        return
    with display.working(f"writing {found.target}", elsewhere=False):
        done = engine_target.publish(database, engine, job_id)
    display.info(f"published {done.target}: {done.rows:,} rows")


def named(quote: Quote, given: Given) -> Quote:
    """Return a quote that names the engine's table, not the one that is built here for it."""
    return quote if given["engine"] is None else dataclasses.replace(quote, target=given["into"] or quote.target)


def _shared(given: Given) -> str:
    if given["shared"] is None:
        raise InvalidSettings("--engine needs --shared: a folder that Spark and this computer both see")
    return str(given["shared"])

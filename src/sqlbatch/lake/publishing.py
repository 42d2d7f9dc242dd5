"""Publish to a target in another database: run a job's steps, build its rows here, export and publish them.

The state file is not open while the other database is waited for. If a process or the network fails on the way,
publishing again does the rest: the other database's marker shows what has arrived.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlbatch import clock
from sqlbatch import run as runs
from sqlbatch.batches.events import Activity, Notice
from sqlbatch.db import jobs
from sqlbatch.db.attached import Attached
from sqlbatch.db.sql import quote_literal
from sqlbatch.errors import DatabaseError, InvalidTarget, JobError, NotPublished
from sqlbatch.lake import engine_target, exchange, places
from sqlbatch.paths import scratch_folder
from sqlbatch.query.target import built_by, target_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlbatch.batches.events import Event
    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session


@dataclass(frozen=True)
class Publication:
    """One run of a job for a target in another database; `published_at` is in UTC, None if it is not published yet.

    `key` are the columns by which its rows update existing ones; empty if they replace all rows.
    """

    run_id: UUID
    job_id: int
    place: str
    target: str
    published_at: datetime | None
    replacing: bool
    key: Sequence[str]


def run_job(database: Database, job_id: int, **how: Any) -> Iterator[Event]:
    """Run a job's steps as `run.run_job` does, then publish its rows if its target is in another database.

    Raises NotPublished if that cannot be reached or does not take the rows; they are kept here, and can be published
    later.
    """
    yield from runs.run_job(database, job_id, **how)
    if is_due(database, job_id):
        yield from publish(database, job_id)


def is_due(database: Database, job_id: int) -> bool:
    """Return whether a job's rows are built here and not published yet."""
    return job_id in database.read(due)


def due(session: Session) -> list[int]:
    """Return the newest jobs of targets in other databases that are built and not published."""
    return [int(job_id) for (job_id,) in session.run("lake.due")]


def publish(database: Database, job_id: int, *, replacing: bool = False) -> Iterator[Event]:
    """Publish the rows of a job that are built here, even if they were published before.

    Earlier jobs whose rows update the same target are published first. `replacing` allows the rows to replace a table
    that is not sqlbatch's. Raises JobError if the job has no target in another database or is not built, NotPublished
    if its target does not take the rows.
    """
    job = jobs.get(database, job_id)
    target = target_of(job)
    if target.catalog is None:
        if (found := engine_target.find(database, job_id)) is not None:
            raise JobError(
                f"{found.target} is {found.engine}'s: sqlbatch wait {job_id} --engine sc://host:port writes it"
            )
        raise JobError(f"the target of job {job_id}, {job.target}, is in {database.name}: there is nothing to publish")
    chain = database.read(lambda session: _to_publish(session, job.target, job_id))
    newer = database.query("lake.newer", {"target": job.target, "job_id": job_id})[0][0]
    if newer is not None:
        raise NotPublished(f"{job.target} has the rows of job {newer}, which is newer: job {job_id} leaves it alone")
    if not chain or chain[-1].job_id != job_id:
        raise JobError(
            f"job {job_id} is {job.status} and has no rows yet: sqlbatch wait {job_id}, or sqlbatch load {job_id}"
        )
    if replacing:
        database.execute("lake.replace", {"job_id": job_id})
        chain = [replace(chain[-1], replacing=True, key=())]
    for run in chain:
        yield Activity(f"publishing to {run.target}")
        rows = _publish(database, run)
        yield Notice(f"published {run.target}: {rows:,} row{'s' * (rows != 1)}")


def _to_publish(session: Session, target: str, job_id: int) -> list[Publication]:
    """Return the runs to publish for a target up to a job, in order; the job itself even if it was published.

    If the job's rows update existing ones, earlier unpublished runs come first.
    """
    found = []
    for row in session.run("lake.of_target", {"target": target, "job_id": job_id}):
        run = Publication(*row)
        if run.published_at is not None and run.job_id != job_id:
            break
        found.append(run)
        if not run.key:
            break
    return found[::-1]


def _publish(database: Database, run: Publication) -> int:
    """Publish one run and note it here, or note why that failed."""
    # A folder of its own, because other processes may publish at the same time.
    folder = scratch_folder(database)
    path = folder / f"{run.run_id}.parquet"
    try:
        place = place_of(database, run)
        kind = places.kind_at(place)
        coming = database.read(lambda session: _export(session, run, kind, path))
        rows = places.publish(place, coming, folder)
    except (DatabaseError, NotPublished, InvalidTarget) as error:
        database.execute("lake.failed", {"run_id": run.run_id, "error": str(error)})
        later = "" if "sqlbatch publish" in str(error) else f"; sqlbatch publish {run.job_id} does it again"
        raise NotPublished(
            f"job {run.job_id} is built here, and {run.target} was not written: {error}{later}"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    database.write(lambda session: note_published(session, run, rows))
    return rows


def _export(session: Session, run: Publication, kind: exchange.Kind, path: Any) -> places.Arriving:
    """Write the built rows of a run into its file."""
    table = built_by(run.job_id)
    if not session.run("lake.has_built", {"catalog": session.catalog, "table": table.name}):
        raise NotPublished(
            "its rows are no longer kept here: run its enrich again, which sends only what is not answered"
        )
    qualified = table.qualified(session.catalog)
    columns = exchange.carried(session.con, qualified, kind)
    with session.keeping_row_order(keep=True):
        session.run(
            "lake.export", columns=exchange.select_list(columns), table=qualified, path=quote_literal(str(path))
        )
    job = jobs.find(session, str(run.job_id))
    state_id = session.run("target.identity")[0][0]
    return places.Arriving(run, state_id, target_of(job), path, columns)


def note_published(session: Session, run: Publication, rows: int) -> None:
    """Note that a run is published, and drop what earlier jobs have built for its target."""
    session.run("lake.published", {"run_id": run.run_id, "rows": rows, "now": clock.now()})
    earlier = {"catalog": session.catalog, "target": run.target, "job_id": run.job_id}
    for (table,) in session.run("lake.older", earlier):
        session.run("lake.drop_built", table=table)


def place_of(database: Database, run: Publication) -> Attached:
    """Return how to reach the database of a run's target.

    As --attach or sqlbatch.toml says now, or else as it was then. Raises NotPublished if that needed a password, which
    is not stored.
    """
    kept = Attached.parse(run.place, "--attach")
    for each in database.attach:
        if each.name.casefold() == kept.name.casefold():
            return each
    if "…" in run.place:
        raise NotPublished(
            f"the password to {kept.name} is not kept here: run sqlbatch publish {run.job_id} --attach "
            f"'… AS {kept.name}', or keep the password in ~/.pgpass or a DuckDB secret"
        )
    return kept

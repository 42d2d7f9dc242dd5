"""Targets in other databases: what is built here, what is published there, what is due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch import clock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

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


def to_publish(session: Session, target: str, job_id: int) -> list[Publication]:
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


def due(session: Session) -> list[int]:
    """Return the newest jobs of targets in other databases that are built and not published."""
    return [int(job_id) for (job_id,) in session.run("lake.due")]


def note_published(session: Session, run: Publication, rows: int) -> None:
    """Note that a run is published, and drop what earlier jobs have built for its target."""
    session.run("lake.published", {"run_id": run.run_id, "rows": rows, "now": clock.now()})
    earlier = {"catalog": session.catalog, "target": run.target, "job_id": run.job_id}
    for (table,) in session.run("lake.older", earlier):
        session.run("lake.drop_built", table=table)

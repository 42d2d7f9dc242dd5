"""Prune: delete data that finished jobs no longer need, here and at the provider. What was spent is kept."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from sqlbatch.batches import step
from sqlbatch.connection import connect, provider_of
from sqlbatch.db import jobs
from sqlbatch.db.files import size_of
from sqlbatch.errors import DatabaseError, JobError, SqlbatchError
from sqlbatch.paths import state_dir, sweep
from sqlbatch.query import target_rows

if TYPE_CHECKING:
    from pathlib import Path

    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session


# Results that no target shows: of batches that are deleted whole, or of no batch (a preview, an imported file).
_PAST = (
    "(r.batch_id IN (SELECT batch_id FROM sqlbatch_past_batches)"
    " OR (r.batch_id IS NULL AND r.custom_id IN (SELECT custom_id FROM sqlbatch_past)))"
)


@dataclass(frozen=True)
class Prunable:
    """Data that can be deleted, or was: counts, and bytes if known. `problems` say what could not be deleted.

    `built` are tables with the rows of jobs that were published to another database, `built_rows` the rows in them.
    """

    jobs: int
    snapshots: int
    rows: int
    inputs: int
    input_bytes: int
    spool_files: int
    spool_bytes: int
    provider_files: int
    results: int = 0
    built: int = 0
    built_rows: int = 0
    problems: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to delete."""
        return not (
            self.snapshots or self.inputs or self.spool_files or self.provider_files or self.results or self.built
        )


def prunable(database: Database, job_id: int | None = None, *, results: bool = False) -> Prunable:
    """Return what `prune` would delete, for all finished jobs or for one job.

    Raises JobError if that job is not finished.
    """
    with database.session() as session:
        found = _found(session, job_id)
        found = replace(found, results=_past(session, job_id) if results else 0)
        files = sum(len(each[4]) for each in session.run("prune.files", {"job_id": job_id}))
        spool = _idle_files(session, database, job_id)
    return replace(found, spool_files=len(spool), spool_bytes=sum(spool.values()), provider_files=files)


def prune(database: Database, job_id: int | None = None, *, results: bool = False) -> Prunable:
    """Delete the data, and return what was deleted. Requests in flight and costs are kept.

    Results are kept too, unless `results` is true: then those that no target shows are deleted, and only the sums of
    their cost stay. A file that the provider does not delete is reported in `problems`, and tried again by the next
    call.
    """

    def write(session: Session) -> Prunable:
        session.run("database.planner_lock")
        found = _found(session, job_id)
        session.run("prune.forget")
        for job in _jobs(session, job_id):
            target_rows.drop_snapshot(session, job)
        for table, _ in _built(session, _jobs(session, job_id)):
            session.run("lake.drop_built", table=table)
        return found

    found = database.write(write)
    files, problems = _delete_files(database, job_id)
    past = database.write(lambda session: _give_up(session, job_id)) if results else 0
    spool = database.read(lambda session: _idle_files(session, database, job_id))
    for path in spool:
        path.unlink(missing_ok=True)
    sweep(database)
    # CHECKPOINT returns the space to the disk; while another process uses the file, that waits for its next checkpoint.
    with contextlib.suppress(DatabaseError), database.session() as session:
        session.sql("CHECKPOINT")
    return replace(
        found,
        spool_files=len(spool),
        spool_bytes=sum(spool.values()),
        provider_files=files,
        results=past,
        problems=tuple(problems),
    )


def _found(session: Session, job_id: int | None) -> Prunable:
    """Count the data that can be deleted in the database; the requests are listed in `sqlbatch_idle`."""
    ended = _jobs(session, job_id)
    kept = dict(session.run("prune.snapshots", {"catalog": session.catalog}))
    rows = [kept.pop(job) for job in ended if job in kept]
    session.run("prune.idle", {"jobs": ended, "keeping": list(kept)})
    inputs, size = session.run("prune.inputs")[0]
    built = [count for _, count in _built(session, ended)]
    return Prunable(len(ended), len(rows), sum(rows), inputs, size, 0, 0, 0, built=len(built), built_rows=sum(built))


def _built(session: Session, ended: list[int]) -> list[tuple[str, int]]:
    """Return the tables with rows of published jobs, whose target has them too, with their numbers of rows."""
    return [(row[0], row[1]) for row in session.run("prune.built", {"catalog": session.catalog, "jobs": ended})]


def _past(session: Session, job_id: int | None) -> int:
    """Count the results that no target shows.

    `sqlbatch_past` lists their requests, `sqlbatch_past_batches` their batches.
    """
    ended = _jobs(session, job_id)
    keeping = [job for job, _ in session.run("prune.snapshots", {"catalog": session.catalog}) if job not in ended]
    session.run("prune.past", {"jobs": ended, "keeping": keeping, "catalog": session.catalog})
    session.run("prune.past_batches")
    return int(session.run("prune.past_results", past=_PAST)[0][0])


def _give_up(session: Session, job_id: int | None) -> int:
    """Delete those results, with their batches, after adding up what they cost."""
    session.run("database.planner_lock")
    _past(session, job_id)
    session.run("prune.keep_filed")
    past = int(session.run("prune.past_results", past=_PAST)[0][0])
    session.run("prices.fold", which=_PAST)
    session.run("prune.give_up", past=_PAST)
    session.run("prune.give_up_manifests")
    session.run("prune.give_up_batches")
    # A preview's request was kept only for its cost, which is stored without it now.
    _found(session, job_id)
    session.run("prune.forget")
    return past


def _jobs(session: Session, job_id: int | None) -> list[int]:
    ended = [int(job) for (job,) in session.run("prune.jobs", {"job_id": job_id})]
    if job_id is not None and not ended:
        job = jobs.find(session, str(job_id))
        why = (
            f"wrote no target yet: sqlbatch load {job_id}"
            if job.error
            else f"is {job.status}, or has batches in flight"
        )
        raise JobError(f"job {job_id} {why}; prune deletes only data of finished jobs")
    return ended


def _idle_files(session: Session, database: Database, job_id: int | None) -> dict[Path, int]:
    """Return files that can be deleted, with their bytes.

    They are the spool files that no batch needs, and the kept result files from which no job but those being pruned can
    still be loaded.
    """
    idle = step.idle_files(session, state_dir(database) / "spool")
    kept = sorted((state_dir(database) / "unreadable").glob("*.jsonl"))
    needed = {str(row[0]) for row in session.run("prune.unreadable", {"jobs": _jobs(session, job_id)})}
    idle += [path for path in kept if path.name.split(".")[0] not in needed]
    # Another process may delete one at any time.
    return {path: size for path in idle if (size := size_of(str(path))[0]) is not None}


def _delete_files(database: Database, job_id: int | None) -> tuple[int, list[str]]:
    """Delete the provider's files of loaded batches; return how many, and what went wrong."""
    deleted, problems = 0, []
    batches = database.query("prune.files", {"job_id": job_id})
    for _, same in groupby(batches, itemgetter(2, 3)):
        group = list(same)
        try:
            with connect(database, provider_of(jobs.get(database, group[0][1]))) as api:
                for batch_id, _, _, _, files in group:
                    for file_id in files:
                        api.delete_file(file_id)
                        deleted += 1
                    database.execute("prune.deleted", {"batch_id": batch_id})
        except SqlbatchError as error:
            problems.append(f"{sum(len(each[4]) for each in group):,} files at the provider stay for now: {error}")
    return deleted, problems

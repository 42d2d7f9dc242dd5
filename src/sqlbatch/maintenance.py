"""Look into a job and clean up after it: its failed requests, one request in full, its request files, and prune."""

from __future__ import annotations

import contextlib
import json
import uuid
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlbatch.batches import plan, render, request_file
from sqlbatch.batches.transfer import batch_of, input_name
from sqlbatch.connection import connect, provider_of
from sqlbatch.db import jobs, prices
from sqlbatch.db.files import size_of
from sqlbatch.db.sql import quote_identifier
from sqlbatch.errors import DatabaseError, JobError, SqlbatchError
from sqlbatch.paths import state_dir, sweep
from sqlbatch.query import target

if TYPE_CHECKING:
    from pathlib import Path

    from sqlbatch.db.database import Database
    from sqlbatch.db.jobs import JobRow
    from sqlbatch.db.session import Session

_RESULT = (
    "source", "batch_id", "outcome", "code", "message", "content", "vector", "finish_reason", "model", "tokens_in",
    "tokens_cached", "tokens_cache_write", "tokens_out", "tier", "asked_at", "received_at", "raw",
)  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """A failed request: why, the line as it came, and the rows that ask for it (at most five), where they are kept."""

    custom_id: str
    code: str
    message: str | None
    rows: tuple[int, ...] | None
    asked_by: int | None
    raw: str | None

    def as_dict(self) -> dict[str, object]:
        """Return the failure as one JSON object, its line as JSON where it is."""
        return asdict(self) | {"raw": _parsed(self.raw)}


def failed_requests(session: Session, job: JobRow, most: int) -> list[Failure]:
    """Return a job's failed requests in the order of their rows, so many at most."""
    found = session.run("maintenance.failed", {"job_id": job.job_id, "most": most})
    asking: dict[str, tuple[tuple[int, ...] | None, int | None]] = {}
    if found and target.has_snapshot(session, job.job_id):
        ids = {"ids": [row[0] for row in found]}
        for custom_id, rows, count in session.run("maintenance.asked_by", ids, job=str(job.job_id)):
            asking[custom_id] = (tuple(rows), count)
    return [Failure(row[0], row[2], row[3], *asking.get(row[0], (None, None)), row[5]) for row in found]


@dataclass(frozen=True)
class Reason:
    """Why requests failed: how many, one of them, and the rows that ask for them where those are kept.

    `named` are the first few rows by the value of `column`, a column that tells them apart (`row`: by their number).
    """

    code: str
    message: str | None
    requests: int
    custom_id: str
    rows: int | None
    column: str
    named: tuple[str, ...]


def failure_reasons(session: Session, job: JobRow) -> list[Reason]:
    """Return why a job's requests failed, the most common reason first."""
    column, rows = "row", {}
    if target.has_snapshot(session, job.job_id):
        table = f"{quote_identifier(session.catalog)}.sqlbatch.rows_{job.job_id}"
        columns = [row[0] for row in session.sql(f"DESCRIBE {table}") if row[0] != "sqlbatch_row"]
        label = target.label_column(session, table, columns)
        column = label or column
        named = quote_identifier(label or "sqlbatch_row")
        found = session.run("maintenance.named", {"job_id": job.job_id}, job=str(job.job_id), column=named)
        rows = {(code, message): (count, tuple(few or ())) for code, message, count, few in found}
    reasons = session.run("maintenance.reasons", {"job_id": job.job_id})
    return [
        Reason(code, message, count, custom_id, (of := rows.get((code, message), (None, ())))[0], column, of[1])
        for code, message, count, custom_id in reasons
    ]


def show_request(session: Session, job: JobRow, beginning: str) -> dict[str, object]:
    """Return a job's request of this custom_id, or of one that begins so, with its body and all that came back.

    Raises JobError where the job has none, or several.
    """
    if not beginning.strip():
        raise JobError("--request is empty: give a custom_id, or how one begins")
    found = session.run("maintenance.wants", {"job_id": job.job_id, "beginning": beginning.strip().lower()})
    if not found:
        raise JobError(
            f"no request of job {job.job_id} has the custom_id {beginning}: the target has each row's, and "
            f"sqlbatch show {job.job_id} --failures"
        )
    if len(found) > 1:
        raise JobError(f"several requests of job {job.job_id} begin with {beginning}: give more of the custom_id")
    custom_id = str(uuid.UUID(found[0][0]))
    bodies, unreadable = render.bodies(session, [custom_id], job_id=job.job_id)
    if unreadable:
        raise JobError(f"the request {custom_id} cannot be written: {unreadable[custom_id]}")
    # prune deletes the input of a request that no job can send again; what came back for it stays.
    sent: dict[str, object] = {"body": None, "note": "prune deleted the input of this request"}
    if bodies:
        _, endpoint, body = bodies[0]
        sent = {"method": "POST", "url": endpoint, "base_url": job.base_url, "body": json.loads(body)}
    return {
        "custom_id": custom_id,
        **sent,
        "results": [_result(row) for row in session.run("maintenance.results", {"custom_id": custom_id})],
    }


def write_request_files(database: Database, job: JobRow, folder: Path) -> list[Path]:
    """Write the files of a job's batches as they are sent, and return their paths; what is due is laid out first.

    Raises JobError where there is none, or a file of that name in the folder.
    """
    provider = provider_of(job)
    if job.open:
        plan.pack(database, job.job_id, provider)
    batches = database.read(lambda session: jobs.batches(session, job.job_id))
    batches = [batch for batch in batches if batch.state != "abandoned"]
    if not batches:
        raise JobError(f"job {job.job_id} has sent nothing and has nothing to send: there is no request file")
    paths = {batch.batch_id: folder / input_name(batch.batch_id) for batch in batches}
    there = next((path for path in paths.values() if path.exists()), None)
    if there is not None:
        raise JobError(f"{there} exists already: name an empty folder with --request-files")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise JobError(f"the folder {folder} cannot be made: {error.strerror}") from None

    def write(session: Session) -> None:
        for batch_id, path in paths.items():
            endpoint = session.run("submit.extent", {"batch_id": batch_id})[0][2]
            request_file.write(session, batch_id, path, provider.line_url(endpoint))

    database.read(write)
    return list(paths.values())


def _result(row: tuple[Any, ...]) -> dict[str, object]:
    """Return a result as a JSON object: what it does not have is left out, what is JSON inside is JSON."""
    values = {name: value for name, value in zip(_RESULT, row, strict=True) if value is not None}
    for name in ("asked_at", "received_at"):
        values[name] = values[name].isoformat(timespec="seconds") + "Z"
    return values | {name: _parsed(values[name]) for name in ("content", "raw") if name in values}


def _parsed(text: str | None) -> object:
    """Return the object that a JSON text holds, or the text."""
    try:
        found = json.loads(text or "")
    except ValueError:
        return text
    return found if isinstance(found, dict | list) else text


# ---- Prune: delete data that finished jobs no longer need; what was spent is kept.

# Results that no target shows any more: of batches that go whole, or of none (a preview, a file of another's).
_PAST = (
    "(r.batch_id IN (SELECT batch_id FROM sqlbatch_past_batches)"
    " OR (r.batch_id IS NULL AND r.custom_id IN (SELECT custom_id FROM sqlbatch_past)))"
)


@dataclass(frozen=True)
class Prunable:
    """What can be given up, or was: counts, and bytes where they are known; `problems` say what could not be.

    `built` are tables with the rows of jobs that are published to another database, `built_rows` the rows in them.
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
        """Whether there is nothing to give up."""
        return not (
            self.snapshots or self.inputs or self.spool_files or self.provider_files or self.results or self.built
        )


def prunable(database: Database, job_id: int | None = None, *, results: bool = False) -> Prunable:
    """Return what `prune` would give up, of all jobs that are at their end, or of one.

    Raises JobError where that job is not at its end.
    """
    with database.session() as session:
        found = _found(session, job_id)
        found = replace(found, results=_past(session, job_id) if results else 0)
        files = sum(len(each[4]) for each in session.run("maintenance.files", {"job_id": job_id}))
        spool = _spool(session, database) | _unreadable(session, database, job_id)
    return replace(found, spool_files=len(spool), spool_bytes=sum(spool.values()), provider_files=files)


def prune(database: Database, job_id: int | None = None, *, results: bool = False) -> Prunable:
    """Give it up, and return what was; what is on its way and costs stay.

    So do results, unless `results` gives up those that no target shows any more: their sums are what is kept of them.
    A file that the provider does not delete is told in `problems`, and tried again by the next call.
    """

    def write(session: Session) -> Prunable:
        session.run("database.planner_lock")
        found = _found(session, job_id)
        session.run("maintenance.forget")
        for job in _jobs(session, job_id):
            target.drop_snapshot(session, job)
        for table, _ in _built(session, _jobs(session, job_id)):
            session.run("lake.drop_built", table=table)
        return found

    found = database.write(write)
    files, problems = _delete_files(database, job_id)
    past = database.write(lambda session: _give_up(session, job_id)) if results else 0
    with database.session() as session:
        spool = _spool(session, database) | _unreadable(session, database, job_id)
    for path in spool:
        path.unlink(missing_ok=True)
    sweep(database)
    # What is freed goes back to the disk; where somebody is at work in the file, it does at their next checkpoint.
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
    """Count what can be given up in the database; the requests lie in `sqlbatch_idle`."""
    ended = _jobs(session, job_id)
    kept = dict(session.run("maintenance.snapshots", {"catalog": session.catalog}))
    rows = [kept.pop(job) for job in ended if job in kept]
    session.run("maintenance.idle", {"jobs": ended, "keeping": list(kept)})
    inputs, size = session.run("maintenance.inputs")[0]
    built = [count for _, count in _built(session, ended)]
    return Prunable(len(ended), len(rows), sum(rows), inputs, size, 0, 0, 0, built=len(built), built_rows=sum(built))


def _built(session: Session, ended: list[int]) -> list[tuple[str, int]]:
    """Return the tables of published jobs, which their target has, with their rows."""
    return [(row[0], row[1]) for row in session.run("maintenance.built", {"catalog": session.catalog, "jobs": ended})]


def _past(session: Session, job_id: int | None) -> int:
    """Count the results that no target shows any more; their requests lie in `sqlbatch_past`, with their batches."""
    ended = _jobs(session, job_id)
    keeping = [job for job, _ in session.run("maintenance.snapshots", {"catalog": session.catalog}) if job not in ended]
    session.run("maintenance.past", {"jobs": ended, "keeping": keeping, "catalog": session.catalog})
    session.run("maintenance.past_batches")
    return int(session.run("maintenance.past_results", past=_PAST)[0][0])


def _give_up(session: Session, job_id: int | None) -> int:
    """Delete those results, with their batches; what they cost is added up before."""
    session.run("database.planner_lock")
    _past(session, job_id)
    session.run("maintenance.keep_filed")
    past = int(session.run("maintenance.past_results", past=_PAST)[0][0])
    prices.fold(session, _PAST)
    session.run("maintenance.give_up", past=_PAST)
    session.run("maintenance.give_up_manifests")
    session.run("maintenance.give_up_batches")
    # What was previewed was kept for its cost, which is known without its request now.
    _found(session, job_id)
    session.run("maintenance.forget")
    return past


def _jobs(session: Session, job_id: int | None) -> list[int]:
    ended = [int(job) for (job,) in session.run("maintenance.jobs", {"job_id": job_id})]
    if job_id is not None and not ended:
        job = jobs.find(session, str(job_id))
        why = (
            f"wrote no target yet: sqlbatch load {job_id}"
            if job.error
            else f"is {job.status}, or has batches on their way"
        )
        raise JobError(f"job {job_id} {why}; prune deletes only data of finished jobs")
    return ended


def _spool(session: Session, database: Database) -> dict[Path, int]:
    """Return the files in the spool of batches that need them no longer, with their bytes."""
    paths = sorted((state_dir(database) / "spool").glob("sqlbatch-*"))
    needed = {str(row[0]) for row in session.run("submit.needed")}
    idle = (path for path in paths if (batch_id := batch_of(path.name)) is not None and batch_id not in needed)
    # Another process may delete one meanwhile.
    return {path: size for path in idle if (size := size_of(str(path))[0]) is not None}


def _unreadable(session: Session, database: Database, job_id: int | None) -> dict[Path, int]:
    """Return the kept result files that no job but those to be pruned could still be loaded from, with their bytes."""
    paths = sorted((state_dir(database) / "unreadable").glob("*.jsonl"))
    asked = {"jobs": _jobs(session, job_id)}
    needed = {str(row[0]) for row in session.run("maintenance.unreadable", asked)} if paths else set()
    idle = (path for path in paths if path.name.split(".")[0] not in needed)
    return {path: size for path in idle if (size := size_of(str(path))[0]) is not None}


def _delete_files(database: Database, job_id: int | None) -> tuple[int, list[str]]:
    """Delete the provider's files of loaded batches; return how many, and what was in the way."""
    deleted, problems = 0, []
    batches = database.read(lambda session: session.run("maintenance.files", {"job_id": job_id}))
    for _, same in groupby(batches, itemgetter(2, 3)):
        group = list(same)
        try:
            job = database.read(lambda session, job=group[0][1]: jobs.find(session, str(job)))  # type: ignore[misc]
            with connect(database, provider_of(job)) as api:
                for batch_id, _, _, _, files in group:
                    for file_id in files:
                        api.delete_file(file_id)
                        deleted += 1
                    fact = {"batch_id": batch_id}
                    database.write(lambda session, fact=fact: session.run("maintenance.deleted", fact))  # type: ignore[misc]
        except SqlbatchError as error:
            problems.append(f"{sum(len(each[4]) for each in group):,} files at the provider stay for now: {error}")
    return deleted, problems

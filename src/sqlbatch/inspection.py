"""Look into a job: its failed requests and their reasons, one request in full, its request files."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlbatch.batches import plan, render, request_file
from sqlbatch.batches.transfer import input_name
from sqlbatch.connection import provider_of
from sqlbatch.db import jobs
from sqlbatch.db.sql import quote_identifier
from sqlbatch.errors import JobError
from sqlbatch.query import target_rows

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
    """A failed request: the reason, its result line, and at most five of the rows that ask for it, if they are kept."""

    custom_id: str
    code: str
    message: str | None
    rows: tuple[int, ...] | None
    asked_by: int | None
    raw: str | None

    def as_dict(self) -> dict[str, object]:
        """Return the failure as a JSON object, with its result line as JSON if it is JSON."""
        return asdict(self) | {"raw": _parsed(self.raw)}


def failed_requests(
    session: Session, job: JobRow, most: int, *, code: str | None = None, skip: int = 0
) -> list[Failure]:
    """Return a job's failed requests in the order of their rows, for one code or all: at most `most` after `skip`."""
    found = session.run("inspection.failed", {"job_id": job.job_id, "code": code, "most": most, "skip": skip})
    asking: dict[str, tuple[tuple[int, ...] | None, int | None]] = {}
    if found and target_rows.has_snapshot(session, job.job_id):
        ids = {"ids": [row[0] for row in found]}
        for custom_id, rows, count in session.run("inspection.asked_by", ids, job=str(job.job_id)):
            asking[custom_id] = (tuple(rows), count)
    return [Failure(row[0], row[1], row[2], *asking.get(row[0], (None, None)), row[3]) for row in found]


@dataclass(frozen=True)
class Reason:
    """Why requests failed: how many, one of them, and the rows that ask for them if they are kept.

    `named` are the first few rows by the value of `column`, which tells them apart (`row`: their numbers).
    """

    code: str
    message: str | None
    requests: int
    custom_id: str
    rows: int | None
    column: str
    named: tuple[str, ...]


def failure_reasons(session: Session, job: JobRow) -> list[Reason]:
    """Return the reasons why a job's requests failed, the most common one first."""
    column, rows = "row", {}
    if target_rows.has_snapshot(session, job.job_id):
        table = f"{quote_identifier(session.catalog)}.sqlbatch.rows_{job.job_id}"
        columns = [row[0] for row in session.sql(f"DESCRIBE {table}") if row[0] != "sqlbatch_row"]
        label = target_rows.label_column(session, table, columns)
        column = label or column
        named = quote_identifier(label or "sqlbatch_row")
        found = session.run("inspection.named", {"job_id": job.job_id}, job=str(job.job_id), column=named)
        rows = {(code, message): (count, tuple(few or ())) for code, message, count, few in found}
    reasons = session.run("inspection.reasons", {"job_id": job.job_id})
    return [
        Reason(code, message, count, custom_id, (of := rows.get((code, message), (None, ())))[0], column, of[1])
        for code, message, count, custom_id in reasons
    ]


def show_request(session: Session, job: JobRow, beginning: str) -> dict[str, object]:
    """Return one request of a job by its custom_id, or the start of it, with its body and all its results.

    Raises JobError if no request matches, or several do.
    """
    if not beginning.strip():
        raise JobError("--request is empty: give a custom_id, or how one begins")
    found = session.run("inspection.wants", {"job_id": job.job_id, "beginning": beginning.strip().lower()})
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
    # prune deletes the input of a request that no job can send again, but keeps its results.
    sent: dict[str, object] = {"body": None, "note": "prune deleted the input of this request"}
    if bodies:
        _, endpoint, body = bodies[0]
        sent = {"method": "POST", "url": endpoint, "base_url": job.base_url, "body": json.loads(body)}
    return {
        "custom_id": custom_id,
        **sent,
        "results": [_result(row) for row in session.run("inspection.results", {"custom_id": custom_id})],
    }


def write_request_files(database: Database, job: JobRow, folder: Path) -> list[Path]:
    """Write the request files of a job's batches as they are sent, and return their paths.

    Due requests are first packed into batches. Raises JobError if there is nothing to write, or if the folder already
    has a file of that name.
    """
    provider = provider_of(job)
    if job.open:
        plan.pack(database, job.job_id, provider)
    found = database.read(lambda session: jobs.batches(session, job.job_id))
    batches = [batch for batch in found if batch.state != "abandoned"]
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
    """Return a result as a JSON object: empty fields are left out, and fields that contain JSON are parsed."""
    values = {name: value for name, value in zip(_RESULT, row, strict=True) if value is not None}
    for name in ("asked_at", "received_at"):
        values[name] = values[name].isoformat(timespec="seconds") + "Z"
    return values | {name: _parsed(values[name]) for name in ("content", "raw") if name in values}


def _parsed(text: str | None) -> object:
    """Return the object or list that a JSON text holds, or else the text."""
    try:
        found = json.loads(text or "")
    except ValueError:
        return text
    return found if isinstance(found, dict | list) else text

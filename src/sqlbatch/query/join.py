"""From results to the target: the rows as they were asked, the typed answers, and what became of each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import InvalidTarget
from sqlbatch.query.target import comment_of, look_up, parse_target

if TYPE_CHECKING:
    from sqlbatch.db.records import JobRow
    from sqlbatch.db.session import Session
    from sqlbatch.query.returns import Returns

# Rows of a target that are written at once: a row group of DuckDB, which is as much as it compresses together. To join
# and sort all at once takes memory, or the disk in its place, that grows with them.
PART = 122_880


@dataclass(frozen=True)
class Joined:
    """What became of the rows of a target."""

    target: str
    rows: int
    answered: int
    failed: int
    pending: int
    skipped: int


def has_snapshot(session: Session, job_id: int) -> bool:
    """Return whether the job's rows are still kept."""
    return bool(session.run("join.has_snapshot", {"catalog": session.catalog, "rows": f"rows_{job_id}"}))


def as_it_is(session: Session, job_id: int, target_sql: str) -> Joined | None:
    """Return what the rows of the job's target are, None where its table is not there or another's."""
    target = parse_target(target_sql, session.catalog)
    existing = look_up(session, target)
    if existing is None or existing.job_id != job_id:
        return None
    rows, answered, failed, pending, skipped = session.run("join.counts", target=target.qualified(session.catalog))[0]
    return Joined(target.sql, rows, answered, failed, pending, skipped)


def write_target(session: Session, job: JobRow, returns: Returns, *, replace: bool) -> Joined:
    """Write a job's target anew from what is there, within the caller's transaction.

    Raises InvalidTarget where another than sqlbatch has made a table of that name meanwhile and `replace` is not set.
    """
    target, job_id = parse_target(job.target, session.catalog), job.job_id
    existing = look_up(session, target)
    if existing is not None and existing.job_id is None and not (replace and existing.kind == "table"):
        raise InvalidTarget(
            f"{target.sql} is a {existing.kind} that sqlbatch did not make: rename or drop it, then run "
            f"sqlbatch load {job_id}"
            + (" (or sqlbatch load --replace to put the result in its place)" if existing.kind == "table" else "")
        )
    columns = returns.typed_sql("sqlbatch_content", "sqlbatch_vector")
    typed = ", ".join(f"{sql} AS {quote_identifier(name)}" for name, sql in columns)
    qualified = target.qualified(session.catalog)
    places = {"job": str(job_id), "typed": typed}
    begin = f"CREATE OR REPLACE TABLE {qualified} AS"
    with session.keeping_row_order(keep=True):
        session.run("join.found", {"job_id": job_id}, job=str(job_id))
        for low in range(1, max(job.rows, 1) + 1, PART):
            session.run("join.write", {"low": low, "high": low + PART - 1}, begin=begin, **places)
            begin = f"INSERT INTO {qualified}"
    session.run("join.comment", target=qualified, comment=quote_literal(comment_of(job_id)))
    rows, answered, failed, pending, skipped = session.run("join.counts", target=qualified)[0]
    return Joined(target.sql, rows, answered, failed, pending, skipped)


def drop_snapshot(session: Session, job_id: int) -> None:
    """Drop the job's rows and asks, which nothing needs once every row is answered or skipped."""
    session.run("join.drop_rows", job=str(job_id))
    session.run("join.drop_asks", job=str(job_id))

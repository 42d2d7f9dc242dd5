"""The rows of a target: write them, count them, drop what is no longer needed for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import InvalidTarget
from sqlbatch.query import reviewed
from sqlbatch.query.confidence import target_columns
from sqlbatch.query.enrichment import Enrichment
from sqlbatch.query.target import Target, built_by, changed, comment_of, look_up, rows_of, state_of, written_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.db.jobs import JobRow
    from sqlbatch.db.session import Session
    from sqlbatch.returns import Returns


# Rows that are examined for a column with labels, and the most characters of a label.
_LABEL_ROWS, _LABEL_LENGTH = 1_000, 60
# Rows of a target that are written at once: a row group of DuckDB, the unit of its compression. Joining and sorting all
# rows at once would need memory, or disk, in proportion to them.
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
    return bool(session.run("target.has_snapshot", {"catalog": session.catalog, "rows": f"rows_{job_id}"}))


def as_it_is(session: Session, job: JobRow) -> Joined | None:
    """Return the counts of an existing target's rows, None if the job's table does not exist or is another's."""
    target = rows_of(job)
    existing = look_up(session, target)
    if existing is None or (existing.job_id != job.job_id and target != built_by(job.job_id)):
        return None
    return Joined(job.target, *session.run("target.counts", target=target.qualified(session.catalog))[0])


def write_target(session: Session, job: JobRow, returns: Returns, *, replace: bool) -> Joined:
    """Write a job's rows anew from the answers so far, within the caller's transaction.

    Without `replace`, raises InvalidTarget if the table of that name is not sqlbatch's or was changed by hand.
    """
    target, job_id = written_by(job), job.job_id
    check_ours(session, target, job_id, replace=replace)
    typed = target_columns(returns, confident=Enrichment.from_json(job.enrichment).confidence)
    qualified = target.qualified(session.catalog)
    places = {"job": str(job_id), "typed": typed}
    begin = f"CREATE OR REPLACE TABLE {qualified} AS"
    with session.keeping_row_order(keep=True):
        session.run("target.found", {"job_id": job_id}, job=str(job_id))
        for low in range(1, max(job.rows, 1) + 1, PART):
            session.run("target.write", {"low": low, "high": low + PART - 1}, begin=begin, **places)
            begin = f"INSERT INTO {qualified}"
    if session.run("reviewed.any", {"target": target.sql}):
        # The view names the columns that existed at the last review.
        described = [(name, str(kind)) for name, kind, *_ in session.sql(f"DESCRIBE {qualified}")]
        reviewed.define(session, target, returns, described)
    return claim(session, target, job_id)


def check_ours(session: Session, target: Target, job_id: int, *, replace: bool) -> None:
    """Raise InvalidTarget unless the target's table is ours and unchanged by hand, or `replace` allows it."""
    if target == built_by(job_id):
        return
    existing = look_up(session, target)
    if existing is not None and existing.job_id is None and not (replace and existing.kind == "table"):
        raise InvalidTarget(
            f"{target.sql} is a {existing.kind} that sqlbatch did not make: rename or drop it, then run "
            f"sqlbatch load {job_id}"
            + (" (or sqlbatch load --replace to overwrite it)" if existing.kind == "table" else "")
        )
    if existing is not None and not replace and (what := changed(session, target, existing)):
        raise InvalidTarget(
            f"{target.sql} was changed since job {existing.job_id} wrote it: {what}. Rename it to keep the changes and "
            f"run sqlbatch load {job_id}, or run sqlbatch load {job_id} --replace to overwrite them"
        )


def claim(session: Session, target: Target, job_id: int) -> Joined:
    """Mark a target with the job that wrote it, and count what became of its rows."""
    qualified = target.qualified(session.catalog)
    session.run("target.comment", target=qualified, comment=quote_literal(comment_of(job_id)))
    session.run("target.keep_state", {"job_id": job_id, "state": state_of(session, target)})
    return Joined(target.sql, *session.run("target.counts", target=qualified)[0])


def drop_snapshot(session: Session, job_id: int) -> None:
    """Drop the job's rows and asks, which are not needed once every row is answered or skipped."""
    session.run("target.drop_snapshot", job=str(job_id))
    for (source,) in session.run("target.sources", {"catalog": session.catalog, "prefix": f"src_{job_id}_"}):
        session.run("target.drop_source", source=source)


def label_column(session: Session, table: str, columns: Sequence[str]) -> str | None:
    """Return the first column that tells a table's rows apart by a short value, such as a title; None if none does.

    `table` is SQL. Only its first rows are examined.
    """
    texts = [f"{quote_identifier(column)}::VARCHAR" for column in columns]
    facts = ", ".join(f"(count(DISTINCT {text}), max(length({text})))" for text in texts)
    if not facts:
        return None
    count, *found = session.sql(f"SELECT count(*), {facts} FROM (FROM {table} LIMIT {_LABEL_ROWS})")[0]
    fitting = (
        column
        for column, (distinct, longest) in zip(columns, found, strict=True)
        if distinct >= 0.9 * count and (longest or 0) <= _LABEL_LENGTH
    )
    return next(fitting, None)

"""Jobs and batches in the database, as frozen values: add, find, list, count, finish."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.db.sql import quote_identifier
from sqlbatch.errors import JobError, did_you_mean
from sqlbatch.trace import masked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session

# The year until which a job that waits for its user is paused.
_NEVER = 9999
# A job's number is an INTEGER.
_MOST_JOBS = 2**31


@dataclass(frozen=True)
class JobRow:
    """A job with its counts of distinct requests; times are in UTC.

    `newest` is the newest job of its target, `successor` the newest that was not cancelled; `kept` says whether its
    rows are still stored, so that it can be retried. For a target in another database, `place` is how to reach it; its
    rows were built here at `built_at`, and published there at `published_at`, `published_rows` of them; or
    `publish_error` says why they were not.
    """

    job_id: int
    target: str
    status: str
    provider: str
    base_url: str
    query: str
    enrichment: str
    rows: int
    skipped: int
    requests: int
    answered: int
    failed: int
    pending: int
    reused: int
    bytes: int
    tokens: int
    max_attempts: int
    replacing: bool
    created_at: datetime
    finished_at: datetime | None
    paused_until: datetime | None
    blocked: str | None
    error: str | None
    blocked_code: str | None
    failing: bool | None
    newest: int
    successor: int | None
    kept: bool
    place: str | None = None
    built_at: datetime | None = None
    published_at: datetime | None = None
    published_rows: int | None = None
    publish_error: str | None = None

    @property
    def unpublished(self) -> bool:
        """Whether its rows are built here and not yet in its target in another database."""
        return bool(self.built_at) and self.published_at is None and self.newest == self.job_id

    @property
    def open(self) -> bool:
        """Whether there is still something to do for it."""
        return self.status in {"running", "blocked"}

    @property
    def refused(self) -> bool:
        """Whether the provider refused it for a reason that waiting does not change, so that it waits for its user."""
        endless = self.paused_until is not None and self.paused_until.year == _NEVER
        return self.status == "blocked" and endless and self.blocked_code != "budget"

    def as_dict(self) -> dict[str, object]:
        """Return the job as a JSON object; of its enrichment, only the query and the model."""
        values = _plain(self)
        del values["enrichment"]
        return values | {"model": self.model}

    @property
    def model(self) -> str:
        """The model that it asks."""
        return str(json.loads(self.enrichment)["model"])


@dataclass(frozen=True)
class Tally:
    """How many requests of a job are answered, failed, not settled, and, while it is open, due."""

    answered: int
    failed: int
    unsettled: int
    due: int


@dataclass(frozen=True)
class BatchRow:
    """A batch with the counts of its audit.

    `done` is the provider's count, `again` counts requests that may be sent again. `gone` counts results that the
    provider no longer keeps, `doubled` requests that were sent again before the batch appeared.
    """

    batch_id: str
    state: str
    status: str | None
    provider_id: str | None
    requests: int
    answered: int
    failed: int
    released: int
    open: int
    bytes: int
    planned_at: datetime
    opened_at: datetime | None
    ended_at: datetime | None
    loaded_at: datetime | None
    adopted: bool
    error: str | None
    error_code: str | None
    done: int
    again: int
    gone: int
    fenced_until: datetime | None
    taken_from: str | None
    doubled: int

    def as_dict(self) -> dict[str, object]:
        """Return the batch as a JSON object."""
        return _plain(self)


@dataclass(frozen=True)
class Billed:
    """What was billed for a job: results, tokens, dollars, and the dollars quoted before (None: price unknown).

    `reserved` are the dollars that its batches in flight may cost at most.
    """

    results: int
    tokens_in: int
    tokens_cached: int
    tokens_cache_write: int
    tokens_out: int
    dollars: float | None
    quoted: float | None
    reserved: float = 0.0

    def as_dict(self) -> dict[str, object]:
        """Return it as part of a job's JSON object."""
        values = asdict(self)
        values["billed_results"] = values.pop("results")
        return values


@dataclass(frozen=True)
class Again:
    """Requests that failed temporarily, by the last reason.

    How many, what became of them, and the most tries so far.
    """

    code: str | None
    requests: int
    answered: int
    open: int
    given_up: int
    tries: int


def _plain(row: JobRow | BatchRow) -> dict[str, object]:
    """Return the fields of a row, with times as text."""
    values = asdict(row).items()
    return {name: v.isoformat(timespec="seconds") + "Z" if isinstance(v, datetime) else v for name, v in values}


def add(session: Session, facts: Mapping[str, object], *, not_before: object, scratch: str) -> int:
    """Add a job that wants the requests in the scratch database, and return its number."""
    job_id = int(session.run("jobs.add", {**facts, "now": clock.now(), "not_before": not_before})[0][0])
    session.run("jobs.want", {"job_id": job_id, "not_before": not_before}, scratch=scratch)
    return job_id


def get(database: Database, job_id: int) -> JobRow:
    """Return a job as it is now; raises JobError if there is none of this number."""
    return database.read(lambda session: find(session, str(job_id)))


def find(session: Session, name: str | None) -> JobRow:
    """Return the job of this number, or the newest for a target of this name (None: the newest of all).

    A table may be called 2024, so its name is tried if no job has the number. Raises JobError if there is none.
    """
    if name is not None and name.isascii() and name.isdigit():
        found = rows(session, int(name)) if int(name) < _MOST_JOBS else []
        if found:
            return found[0]
    # A job stores its target as SQL; a person also writes the name without its quotes.
    newest = session.run("jobs.newest", {"target": name, "quoted": None if name is None else quote_identifier(name)})
    if newest:
        return rows(session, int(newest[0][0]))[0]
    if name is None:
        raise JobError("there is no job yet: sqlbatch enrich starts one")
    if name.isascii() and name.isdigit():
        raise JobError(f"there is no job {name}: sqlbatch jobs lists them")
    targets = [target for (target,) in session.run("jobs.targets")]
    raise JobError(f"no job has the target {name}; {did_you_mean(name, targets, otherwise='sqlbatch jobs lists them')}")


def unnamed_target(session: Session, query: str, returns: str) -> str | None:
    """Return the target of the same query's earlier run without --into, so that the next run writes the same table."""
    found = session.run("jobs.unnamed", {"query": query, "returns": returns}) if session.has_schema() else []
    return str(found[0][0]) if found else None


def rows(session: Session, job_id: int | None = None) -> list[JobRow]:
    """Return one job, or all of them, newest first."""
    found = [JobRow(*row) for row in session.run("jobs.list", {"job_id": job_id, "catalog": session.catalog})]
    counts = {job: tally for job, _, tally in _tallies(session, [job.job_id for job in found])}
    return [
        replace(
            job,
            # The first versions of sqlbatch stored passwords that stood in a query.
            query=masked(job.query, sql=True),
            answered=(tally := counts[job.job_id]).answered,
            failed=tally.failed,
            pending=job.requests - tally.answered - tally.failed,
        )
        for job in found
    ]


def tally(database: Database, job_id: int) -> Tally:
    """Count a job's requests, and store the counts: they are not counted again until something changes."""
    kept = database.read(lambda session: _kept(session, [job_id]))[0][2]
    return kept or database.write(lambda session: _keep(session, job_id))


def _keep(session: Session, job_id: int, state: str | None = None) -> Tally:
    """Store the counts of a job, for its present state unless another is given."""
    _, present, counted = _tallies(session, [job_id])[0]
    session.run("jobs.forget", {"job_id": job_id})
    session.run("jobs.keep", {"job_id": job_id, "state": state or present, **asdict(counted)})
    return counted


def _tallies(session: Session, job_ids: list[int]) -> list[tuple[int, str, Tally]]:
    """Return the state and the counts of jobs, counted anew if the stored counts are of another state."""
    kept = _kept(session, job_ids)
    stale = [job_id for job_id, _, tally in kept if tally is None]
    counted = {row[0]: Tally(*row[1:]) for row in session.run("jobs.count", {"jobs": stale})} if stale else {}
    return [(job_id, state, tally or counted[job_id]) for job_id, state, tally in kept]


def _kept(session: Session, job_ids: list[int]) -> list[tuple[int, str, Tally | None]]:
    found = session.run("jobs.kept", {"jobs": job_ids})
    return [(row[0], row[1], None if row[2] is None else Tally(*row[2:])) for row in found]


def batches(session: Session, job_id: int) -> list[BatchRow]:
    """Return the batches that carried a job's requests since it started."""
    return [BatchRow(*row) for row in session.run("jobs.batches", {"job_id": job_id})]


def failures(session: Session, job_id: int) -> list[tuple[str, int, str | None]]:
    """Return a job's failures: code, how many, one message."""
    return [(row[0], row[1], row[2]) for row in session.run("jobs.failures", {"job_id": job_id})]


def tried_again(session: Session, job_id: int) -> list[Again]:
    """Return a job's requests that failed at first and may succeed, by reason, the most common first."""
    return [Again(*row) for row in session.run("jobs.tried_again", {"job_id": job_id})]


def billed(session: Session, job_id: int) -> Billed:
    """Return what was billed for a job's requests."""
    return Billed(*session.run("jobs.billed", {"job_id": job_id})[0])


def spent(session: Session, job_ids: Sequence[int]) -> dict[int, float | None]:
    """Return the dollars billed for jobs, by job (None: a price is unknown); jobs without a bill are left out."""
    return dict(session.run("jobs.spent", {"jobs": list(job_ids)}))


def promised(session: Session, job_ids: Sequence[int]) -> dict[int, tuple[float | None, float]]:
    """Return the dollars that jobs were quoted (None: unknown), and that their batches in flight may cost, by job."""
    found = session.run("jobs.promised", {"jobs": list(job_ids)})
    return {job_id: (quoted, reserved) for job_id, quoted, reserved in found}


def finish(session: Session, job_id: int, error: str | None = None) -> None:
    """Mark a job as done, with its current counts; `error` says why it wrote no target."""
    if _kept(session, [job_id])[0][1] == "done":
        # Counts that were stored at an earlier end do not include later results.
        session.run("jobs.forget", {"job_id": job_id})
    _keep(session, job_id, "done")
    session.run("jobs.finish", {"job_id": job_id, "now": clock.now(), "error": error})


def left_over(session: Session) -> list[int]:
    """Return the jobs that are not open and still have batches at the provider."""
    return [int(job_id) for (job_id,) in session.run("cancel.left_over", {"now": clock.now()})]

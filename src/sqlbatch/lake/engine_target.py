"""The target that another engine writes: the answers go to the shared folder, the engine joins them to its rows.

A job's rows are in that folder already (`kept_rows`). The engine replaces its table in one commit, which is then noted
here.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows, where nothing keeps two publishers apart
    fcntl = None  # type: ignore[assignment]

from sqlbatch import clock
from sqlbatch.db import jobs
from sqlbatch.db.sql import quote_literal
from sqlbatch.errors import EngineError, InvalidTarget, JobError
from sqlbatch.lake.exchange import Kind, carried, select_list
from sqlbatch.lake.shared_folder import remove, share
from sqlbatch.paths import scratch_folder, state_dir
from sqlbatch.query.compile import REF
from sqlbatch.query.target import parse_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.db.database import Database
    from sqlbatch.lake.spark import Spark


@dataclass(frozen=True)
class Publication:
    """A job's rows at the engine, and its target there; `published` says whether that has the job's last answers."""

    run_id: str
    engine: str
    folder: str
    sent: tuple[str, ...]
    kept: int
    dropped: bool
    target: str
    published: bool
    rows: int | None
    error: str | None


def check_target(database: Database, engine: Spark, into: str, *, replacing: bool) -> None:
    """Raise InvalidTarget if the engine has a table of that name that no job of this database wrote."""
    if not engine.exists(into) or replacing:
        return
    asked = {"engine": engine.name, "target": into}
    if not (database.exists() and database.query("kept_rows.ours", asked)):
        raise InvalidTarget(
            f"{into} is a table that sqlbatch did not make, as far as {database.name} knows: choose another name with "
            "--into, or put the result in its place with --replace"
        )


def find(database: Database, job_id: int) -> Publication | None:
    """Return where a job's rows and target are at another engine, None if it has none."""
    found = database.query("kept_rows.find", {"job_id": job_id})
    if not found:
        return None
    run_id, name, folder, sent, *more = found[0]
    return Publication(run_id, name, folder, tuple(sent), *more)


def publish(database: Database, engine: Spark, job_id: int, *, replacing: bool = False) -> Publication:
    """Have the engine write a job's target from the rows built here, and note it; repeating it does no harm.

    For an unfinished job, the answers so far are written. Raises JobError if a newer job owns the target, or the job
    has nothing built; EngineError if the engine cannot write, which is noted. The database is pushed after each
    note that the next step depends on: before the target is written, and before anything is deleted.
    """
    with _one_publisher(database):
        found = find(database, job_id)
        job = jobs.get(database, job_id)
        if found is None:
            raise JobError(f"job {job_id} has no rows of {engine.name}: its target is {job.target} in {database.name}")
        if job.error:
            raise JobError(job.error)
        if job.successor != job_id:
            newer = f"job {job.successor} is the newest for {found.target}" if job.successor else "it was cancelled"
            raise JobError(f"{newer}: job {job_id} leaves the table alone")
        if found.dropped and found.published:
            return found
        if found.dropped:
            raise JobError(f"the rows of job {job_id} are no longer kept: run its enrich again")
        run = {"run_id": found.run_id}
        try:
            check_target(database, engine, found.target, replacing=replacing or job.replacing)
            _stop_others(database, found, job_id)
            answers, columns = _export(database, job.target, found)
            database.execute("kept_rows.exported", run | {"now": clock.now()})
            # From now on the target counts as ours, even if this process is killed while it is written.
            database.push()
            own = [name for name in engine.columns(f"{found.folder}/rows") if name != REF]
            rows = engine.publish(f"{found.folder}/rows", answers, [*own, *columns], found.target)
            _check_count(found, rows)
        except (EngineError, InvalidTarget) as error:
            database.execute("kept_rows.failed", run | {"error": str(error)})
            raise
        done = job.status == "done"
        database.execute("kept_rows.published", run | {"now": clock.now(), "rows": rows, "done": done})
        database.push()
        remove(answers)
        _drop_spent(database, {"target": found.target, "job_id": job_id, "whole": done and not job.failed})
        return find(database, job_id) or found


def _check_count(found: Publication, rows: int) -> None:
    if rows != found.kept:
        raise EngineError(
            f"{found.target} has {rows:,} rows after it was written, not the {found.kept:,} that were kept"
        )


def _stop_others(database: Database, found: Publication, job_id: int) -> None:
    """Make a write fail that a killed publisher has left running at the engine.

    Without its answers, it commits nothing. Over Spark Connect, the server continues a write for minutes after its
    client is gone.
    """
    for _, folder in database.query("kept_rows.spent", {"target": found.target, "job_id": job_id, "whole": True}):
        remove(f"{folder}/answers")


def _drop_spent(database: Database, asked: dict[str, object]) -> None:
    for run_id, folder in database.query("kept_rows.spent", asked):
        database.execute("kept_rows.drop", {"run_id": run_id, "now": clock.now()})
        remove(folder)


@contextlib.contextmanager
def _one_publisher(database: Database) -> Iterator[None]:
    """Let one process at a time publish for a database, so that no older job replaces a newer one's rows."""
    folder = state_dir(database)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "publishing.lock").open("w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _export(database: Database, target: str, found: Publication) -> tuple[str, list[str]]:
    """Write the answers of a job's rows as a Parquet file; return its folder, and the names of the added columns."""
    work = scratch_folder(database)
    answers = f"{found.folder}/answers/{uuid.uuid4().hex[:8]}"
    try:
        written = work / "answers.parquet"
        with database.session() as session:
            table = parse_target(target, session.catalog)
            relation = table.qualified(session.catalog)
            try:
                every = carried(session.con, relation, Kind.SPARK)
            except duckdb.CatalogException:
                raise JobError(f"{table.sql} is not written yet: there is nothing to publish") from None
            sent = {name.casefold() for name in found.sent}
            columns = [each for each in every if each.name.casefold() not in sent]
            answered = f"SELECT {select_list(columns)} FROM {relation}"
            copied = session.sql(f"COPY ({answered}) TO {quote_literal(str(written))} (FORMAT parquet)")
        if copied[0][0] != found.kept:
            raise JobError(f"{table.sql} has {copied[0][0]:,} rows, not the {found.kept:,} of its job: was it changed?")
        share(written, answers)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return answers, [each.name for each in columns if each.name != REF]

"""Rows of another engine: it keeps them as Parquet files, sqlbatch asks about these, and it joins the answers to them.

    the engine's query -> rows with a number each (REF) -> <shared>/runs/<run>/rows
    DuckDB reads what is sent of them -> requests, batches, results, as ever
    DuckDB writes the answers by REF -> <shared>/runs/<run>/answers
    the engine joins both and replaces its table in one commit; then that is noted

What was kept is what is asked about and what is joined, however often a step is repeated.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import duckdb

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows, where nothing keeps two publishers apart
    fcntl = None  # type: ignore[assignment]

from sqlbatch import clock, prepare
from sqlbatch.db import jobs
from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import EngineError, InvalidQuery, InvalidSettings, InvalidTarget, JobError, SqlbatchError
from sqlbatch.lake.exchange import Kind, carried, select_list
from sqlbatch.leases import is_gone, new_owner
from sqlbatch.paths import scratch_folder, state_dir
from sqlbatch.query.compile import REF, check_names
from sqlbatch.query.endpoints import read_returns
from sqlbatch.query.prompt import build_prompt
from sqlbatch.query.rows import KeptRows
from sqlbatch.query.target import parse_target
from sqlbatch.trace import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session
    from sqlbatch.prepare import Prepared
    from sqlbatch.query.enrichment import Enrichment
    from sqlbatch.query.select import QueryColumn

# Says in a local run folder whose it is, until a job needs it.
_OWNER = "owner.txt"


@dataclass(frozen=True)
class EngineRows:
    """What a query of the engine's gives: its text, its columns with DuckDB's types ('': not sent), the engine's types.

    `frame` is the engine's own object for it.
    """

    query: str
    columns: tuple[QueryColumn, ...]
    types: Mapping[str, str]
    frame: Any


class Engine(Protocol):
    """What reads the user's tables and writes the target."""

    @property
    def name(self) -> str:
        """What the engine is called in the database."""

    def read(self, query: object) -> EngineRows:
        """Return what a query gives, without running it."""

    def keep(self, rows: EngineRows, folder: str, *, limit: int | None = None, sample: int | None = None) -> None:
        """Write rows to a new folder as Parquet files, each with its number."""

    def exists(self, target: str) -> bool:
        """Return whether something has the target's name."""

    def columns(self, folder: str) -> list[str]:
        """Return the columns of a folder of Parquet files."""

    def publish(self, rows: str, answers: str, columns: Sequence[str], target: str) -> int:
        """Replace the target by the rows joined to their answers, in one commit; return how many it has."""


@dataclass
class Kept:
    """Rows that the engine keeps for a run: where, which columns are sent, and the query that reads those.

    The folder is deleted with the block of `kept`, unless a job needs it then.
    """

    run_id: str
    folder: str
    sent: tuple[str, ...]
    rows: KeptRows
    needed: bool = False


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


# ---- Keep: the engine runs the query once and writes its rows.


@contextlib.contextmanager
def kept(
    engine: Engine,
    rows: EngineRows,
    enrichment: Enrichment,
    shared: str,
    database: Database | None,
    *,
    sample: int | None = None,
) -> Iterator[Kept]:
    """Have the engine keep the rows of a query for the block, below the folder `shared` that it and DuckDB both see.

    `database` is the one whose job will need them, None where none will. Raises InvalidQuery where a column cannot be
    sent.
    """
    sent = sent_columns(rows, enrichment)
    state = _state_id(database) if database is not None else ""
    if database is not None:
        _sweep(database, shared, state)
    run_id = str(uuid.uuid4())
    folder = f"{_root(shared)}/runs/{run_id}"
    local = local_path(folder)
    if local is not None:
        try:
            local.mkdir(parents=True)
            (local / _OWNER).write_text(f"{state} {new_owner()}")
        except OSError as error:
            raise InvalidSettings(f"--shared {shared}: {error.strerror}") from None
    found: Kept | None = None
    try:
        engine.keep(rows, f"{folder}/rows", limit=enrichment.limit, sample=sample)
        _check_types(f"{folder}/rows", rows, sent)
        names = ", ".join(quote_identifier(name) for name in (REF, *sent))
        query = f"SELECT {names} FROM read_parquet({quote_literal(files_of(f'{folder}/rows'))})"
        found = Kept(run_id, folder, sent, KeptRows(query))
        yield found
    finally:
        if found is None or not found.needed:
            remove(folder)


def sent_columns(rows: EngineRows, enrichment: Enrichment) -> tuple[str, ...]:
    """Return the columns that are sent to the model; raise InvalidQuery for one that cannot be, or a doubled name."""
    names = [column.name for column in rows.columns]
    if REF in {name.casefold() for name in names}:
        raise InvalidQuery(f"the query has a column {REF}, which sqlbatch adds: give it another name with AS")
    returns = read_returns(enrichment.endpoint, enrichment.returns)
    check_names(rows.columns, returns, confident=enrichment.confidence)
    sent = build_prompt(enrichment, rows.columns).columns
    kinds = {column.name: column.type for column in rows.columns}
    for name in sent:
        if not kinds[name]:
            raise InvalidQuery(
                f"{name} is {rows.types[name]}, which cannot be sent to a model: cast it in the query, for example "
                f"CAST({name} AS STRING) AS {name}"
            )
    return tuple(name for name in names if name in sent)


def _check_types(folder: str, rows: EngineRows, sent: Sequence[str]) -> None:
    """Raise InvalidQuery where a sent column has come as another type: its requests would have other ids."""
    expected = {column.name: column.type for column in rows.columns}
    with duckdb.connect() as con:
        try:
            found = con.sql(f"FROM read_parquet({quote_literal(files_of(folder))})")
            kinds = dict(zip(found.columns, found.types, strict=True))
        except duckdb.Error as error:
            if "No files found" in str(error):
                raise JobError("the query has no rows to send") from None
            raise EngineError(f"DuckDB cannot read the rows that were kept in {folder}: {_first(error)}") from error
        for name in sent:
            if kinds[name] != con.sql(f"SELECT CAST(NULL AS {expected[name]})").types[0]:
                raise InvalidQuery(
                    f"{name} is {rows.types[name]}, and comes out of Parquet as {kinds[name]}: cast it in the query, "
                    f"for example CAST({name} AS STRING) AS {name}"
                )


@contextlib.contextmanager
def prepared(
    database: Database, rows: EngineRows, keep: Kept, enrichment: Enrichment, provider: Provider, into: str, **more: Any
) -> Iterator[Prepared]:
    """Compile and quote an enrichment of kept rows; `more` is what `prepare.prepared` takes besides."""
    with prepare.prepared(database, enrichment, provider, quote_identifier(into), handed_over=keep.rows, **more) as ask:
        sent = set(keep.sent)
        others = tuple(column.name for column in rows.columns if column.name not in sent)
        yield replace(ask, quote=replace(ask.quote, rides_along=others))


def check_target(database: Database, engine: Engine, into: str, *, replacing: bool) -> None:
    """Raise InvalidTarget where the engine has a table of that name that this database's jobs did not write."""
    if not engine.exists(into) or replacing:
        return
    asked = {"engine": engine.name, "target": into}
    if not (database.exists() and database.read(lambda session: session.run("kept_rows.ours", asked))):
        raise InvalidTarget(
            f"{into} is a table that sqlbatch did not make, as far as {database.name} knows: choose another name with "
            "--into, or put the result in its place with --replace"
        )


def start(
    database: Database,
    engine: Engine,
    ask: Prepared,
    keep: Kept,
    into: str,
    *,
    noted: Callable[[], object] | None = None,
) -> int:
    """Commit a prepared enrichment as a job, with its rows and its target, and return its number.

    `noted` is called when the job is committed, before its rows are no longer taken for what a killed process left.
    """

    def note(session: Session, job_id: int) -> None:
        facts = {"run_id": keep.run_id, "job_id": job_id, "engine": engine.name}
        more = {"query": masked(ask.enrichment.query, sql=True), "folder": keep.folder, "sent": list(keep.sent)}
        session.run("kept_rows.keep", facts | more | {"rows": ask.quote.rows, "now": clock.now()})
        session.run("kept_rows.aim", facts | {"target": into})

    # Before the commit, for who is interrupted at it may have a job that needs the folder.
    keep.needed = True
    try:
        job_id = prepare.start(database, ask, note)
    except SqlbatchError:
        keep.needed = False
        raise
    if noted is not None:
        noted()
    local = local_path(keep.folder)
    if local is not None:
        (local / _OWNER).unlink(missing_ok=True)
    return job_id


def _state_id(database: Database) -> str:
    """Return which state a database is; it is made where there is none."""
    return str(database.read(lambda session: session.run("kept_rows.identity"))[0][0])


# ---- Publish: the answers to where the engine finds them, its table replaced, that noted.


def find(database: Database, job_id: int) -> Publication | None:
    """Return where a job's rows and target are at another engine, None where it has none."""
    found = database.read(lambda session: session.run("kept_rows.find", {"job_id": job_id}))
    if not found:
        return None
    run_id, name, folder, sent, *more = found[0]
    return Publication(run_id, name, folder, tuple(sent), *more)


def publish(
    database: Database,
    engine: Engine,
    job_id: int,
    *,
    replacing: bool = False,
    noted: Callable[[], object] | None = None,
) -> Publication:
    """Write a job's target at the engine from what is built here, and note it; again, it does no harm.

    Of a job that is not done what is there so far is written. Raises JobError where a newer job has the target, or the
    job has nothing built; EngineError where the engine cannot write, which is noted. `noted` is called when that is
    noted on which the next act relies: before the target is written, and before anything is deleted.
    """
    with _one_publisher(database):
        return _publish(database, engine, job_id, replacing=replacing, noted=noted)


def _publish(
    database: Database, engine: Engine, job_id: int, *, replacing: bool, noted: Callable[[], object] | None
) -> Publication:
    found = find(database, job_id)
    job = database.read(lambda session: jobs.find(session, str(job_id)))
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
    try:
        check_target(database, engine, found.target, replacing=replacing or job.replacing)
        _stop_others(database, found, job_id)
        answers, columns = _export(database, job.target, found)
        _note(database, "kept_rows.exported", found, now=clock.now())
        if noted is not None:
            # By this the target is known as ours, whoever is killed while it is written.
            noted()
        own = [name for name in engine.columns(f"{found.folder}/rows") if name != REF]
        rows = engine.publish(f"{found.folder}/rows", answers, [*own, *columns], found.target)
        _check_count(found, rows)
    except (EngineError, InvalidTarget) as error:
        _note(database, "kept_rows.failed", found, error=str(error))
        raise
    done = job.status == "done"
    _note(database, "kept_rows.published", found, now=clock.now(), rows=rows, done=done)
    if noted is not None:
        noted()
    remove(answers)
    _drop_spent(database, found.target, job_id, whole=done and not job.failed)
    return find(database, job_id) or found


def _stop_others(database: Database, found: Publication, job_id: int) -> None:
    """Have what a killed publisher still has the engine write fail: without its answers it commits nothing.

    Over Spark Connect the server goes on with a write for minutes after its client is gone.
    """
    asked = {"target": found.target, "job_id": job_id, "whole": True}
    for _, folder in database.read(lambda session: session.run("kept_rows.spent", asked)):
        remove(f"{folder}/answers")


def _check_count(found: Publication, rows: int) -> None:
    if rows != found.kept:
        raise EngineError(
            f"{found.target} has {rows:,} rows after it was written, not the {found.kept:,} that were kept"
        )


@contextlib.contextmanager
def _one_publisher(database: Database) -> Iterator[None]:
    """Have one process at a time publish what a database holds, so that no older job replaces a newer one's rows."""
    folder = state_dir(database)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "publishing.lock").open("w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _export(database: Database, target: str, found: Publication) -> tuple[str, list[str]]:
    """Write the answers of a job's rows as a Parquet file; return its folder, and its columns but those of the rows."""
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
        _share(written, answers)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return answers, [each.name for each in columns if each.name != REF]


def _share(file: Path, folder: str) -> None:
    """Put a file into a shared folder, whole or not at all."""
    local = local_path(folder)
    try:
        if local is None:
            # Outside of the user's database, which is not open while the network is waited for.
            with duckdb.connect() as con:
                source, place = quote_literal(str(file)), quote_literal(f"{folder}/part-0.parquet")
                con.execute(f"COPY (FROM read_parquet({source})) TO {place} (FORMAT parquet)")
            return
        local.mkdir(parents=True)
        shutil.copyfile(file, local / "part-0.copy")
        (local / "part-0.copy").replace(local / "part-0.parquet")
    except duckdb.Error as error:
        raise EngineError(f"the answers cannot be written to {folder}: {_first(error)}") from error
    except OSError as error:
        raise EngineError(f"the answers cannot be written to {folder}: {error.strerror}") from error


def _note(database: Database, statement: str, found: Publication, **facts: object) -> None:
    database.write(lambda session: session.run(statement, {"run_id": found.run_id, **facts}))


def _drop_spent(database: Database, target: str, job_id: int, *, whole: bool) -> None:
    asked = {"target": target, "job_id": job_id, "whole": whole}
    for run_id, folder in database.read(lambda session: session.run("kept_rows.spent", asked)):
        fact = {"run_id": run_id, "now": clock.now()}
        database.write(lambda session, fact=fact: session.run("kept_rows.drop", fact))  # type: ignore[misc]
        remove(folder)


# ---- The shared folder: a path that both see, or an address of an object store.


def local_path(folder: str) -> Path | None:
    """Return a folder as a path of this computer, None where it is an address."""
    if folder.startswith("file:"):
        return Path(re.sub(r"^file:(//)?", "", folder))
    return None if re.match(r"[a-zA-Z][\w+.-]*://|dbfs:", folder) else Path(folder)


def files_of(folder: str) -> str:
    """Return the pattern by which DuckDB finds the Parquet files of a folder."""
    local = local_path(folder)
    return f"{_escaped(str(local)) if local is not None else folder}/*.parquet"


def remove(folder: str) -> None:
    """Delete a run's files; those at an address stay, for the rules of its store to delete."""
    local = local_path(folder)
    if local is not None:
        shutil.rmtree(local, ignore_errors=True)
        with contextlib.suppress(OSError):
            # Only where it is empty.
            local.parent.rmdir()


def _sweep(database: Database, shared: str, state: str) -> None:
    """Delete what killed processes of this computer kept for no job: of this state, or for a plan or a preview."""
    root = local_path(f"{_root(shared)}/runs")
    for marker in root.glob(f"*/{_OWNER}") if root is not None else ():
        with contextlib.suppress(OSError):
            whose, _, owner = marker.read_text().partition(" ")
            run_id = marker.parent.name
            if whose not in {"", state} or not is_gone(owner):
                continue
            if not database.read(lambda session, run_id=run_id: session.run("kept_rows.needed", {"run_id": run_id})):  # type: ignore[misc]
                shutil.rmtree(marker.parent, ignore_errors=True)


def _root(shared: str) -> str:
    if not shared or not shared.strip():
        raise InvalidSettings("--shared is empty: name a folder that both this process and the engine see")
    if local_path(shared) is not None and not shared.startswith("file:"):
        return os.path.abspath(shared).rstrip("/")  # noqa: PTH100 (a path that is not resolved: the engine may see no more)
    return shared.rstrip("/")


def _escaped(path: str) -> str:
    """Return a path for a pattern, with what would match more than itself in brackets."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def _first(error: Exception) -> str:
    return masked(str(error).strip().partition("\n")[0])

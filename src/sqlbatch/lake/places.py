"""Targets in other databases: write a file's rows to the target and note it in the marker, in one commit.

Beside the targets of a schema is a table, `sqlbatch_published`, with one row for each target: which state, job and run
published it. It is read under a lock, in the transaction that writes the target. So an older run never replaces a newer
one, a table that is not ours is not touched, and after a crash it shows whether the commit was made.
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import duckdb

from sqlbatch.db.database import MEMORY_LIMIT
from sqlbatch.db.duckdb_errors import wrapped
from sqlbatch.db.open_file import Opened
from sqlbatch.db.session import Session
from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import DatabaseConflict, DatabaseError, DatabaseLocked, NotPublished
from sqlbatch.lake.exchange import Carried, Kind, arriving, carried
from sqlbatch.query.incremental import check_columns, merging
from sqlbatch.query.target import MARKER, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from uuid import UUID

    from sqlbatch.db.attached import Attached
    from sqlbatch.lake.publishing import Publication

# Seconds to retry while another publisher, or anybody else, holds the file or the rows.
PATIENCE = 20.0
# Errors of Postgres if another transaction came first, and of DuckDB if another thread of this process has the catalog
# of a DuckLake open.
_MET = re.compile(
    "could not serialize|duplicate key value|deadlock detected|concurrently|already exists|already attached by database"
)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Arriving:
    """A run to be published: its file of rows, their columns, and its state's id."""

    run: Publication
    state_id: UUID
    target: Target
    path: Path
    columns: tuple[Carried, ...]


def kind_of(session: Session, name: str) -> Kind:
    """Return the kind of the database attached under a name."""
    return Kind(session.run("target.database_type", {"name": name})[0][0])


def arrivals(session: Session, relation: str, name: str) -> dict[str, str]:
    """Return the columns of a relation with the types that they will have in the database attached under a name."""
    kind = kind_of(session, name)
    return _as_seen(session, kind, carried(session.con, relation, kind))


def kind_at(place: Attached) -> Kind:
    """Return the kind of a database; raises as `kind_of` does, DatabaseError if it cannot be reached."""
    if _duckdb_file(place) is not None:
        return Kind.DUCKDB
    return _patiently(place, None, lambda session: kind_of(session, place.name))


def publish(place: Attached, coming: Arriving, spill: Path) -> int:
    """Publish a run to its target, in one transaction there, and return how many rows the target has.

    If it is already published, nothing is done. Raises NotPublished if the target belongs to a newer job or to somebody
    else, DatabaseError if the database cannot be reached or does not take it.
    """
    return _patiently(place, spill, lambda session: _published(session, kind_of(session, session.catalog), coming))


def _patiently(place: Attached, spill: Path | None, do: Callable[[Session], _T]) -> _T:
    """Open a database and do some work there; retry for a while if others hold the file or the rows."""
    until = time.monotonic() + PATIENCE
    pause = 0.05
    while True:
        try:
            with _reached(place, spill) as session:
                return do(session)
        except DatabaseError as error:
            met = isinstance(error, DatabaseLocked | DatabaseConflict) or _MET.search(f"{error} {error.__cause__}")
            if not met or time.monotonic() > until:
                raise _told(error, place) from error
        time.sleep(pause)
        pause = min(2 * pause, 1.0)


def _duckdb_file(place: Attached) -> Path | None:
    return None if place.options or re.match("(?i)(ducklake|sqlite):", place.path) else place.file


@contextlib.contextmanager
def _reached(place: Attached, spill: Path | None) -> Iterator[Session]:
    """Open another database for writing, for the block.

    A DuckDB file itself, any other attached to an in-memory one.
    """
    file = _duckdb_file(place)
    if file is not None:
        try:
            opened = Opened(file)
        except duckdb.Error as error:
            raise wrapped(error, place.name) from error
        with contextlib.closing(opened):
            catalog = opened.cursor.execute("SELECT current_catalog()").fetchall()[0][0]
            session = Session(opened.cursor, catalog, owned=True)
            if opened.file.alone:
                session.sql(f"SET memory_limit = {quote_literal(MEMORY_LIMIT)}")
            session.sql("SET TimeZone = 'UTC'")
            yield session
        return
    with contextlib.closing(duckdb.connect()) as con:
        session = Session(con, place.name, owned=True)
        session.sql(f"SET TimeZone = 'UTC'; SET memory_limit = {quote_literal(MEMORY_LIMIT)}")
        if spill is not None:
            session.sql(f"SET temp_directory = {quote_literal(str(spill))}")
        place.attach(session, read_only=False)
        yield session


def _published(session: Session, kind: Kind, coming: Arriving) -> int:
    """Publish as `publish` does, in a database that is open."""
    target, run = coming.target, coming.run
    marker = Target(target.schema, MARKER).qualified(session.catalog)
    make_marker(session, kind, target.schema)
    with session.transaction():
        _lock(session, kind, target.schema)
        marked = session.run("lake.marked", {"target": target.name}, marker=marker)
        there = _columns(session, kind, target)
        if there:
            ours = [row for row in marked if row[0] == coming.state_id]
            if ours and ours[0][2] == run.run_id:
                return int(ours[0][3])
            if ours and (ours[0][1], str(ours[0][2])) > (run.job_id, str(run.run_id)):
                raise NotPublished(
                    f"{target.sql} has the rows of job {ours[0][1]}, which is newer: job {run.job_id} leaves it alone"
                )
            if not ours and not run.replacing:
                whose = "another sqlbatch database published" if marked else "sqlbatch did not make"
                raise NotPublished(
                    f"{target.sql} is a table that {whose}: rename or drop it there and run sqlbatch publish "
                    f"{run.job_id}, or run sqlbatch publish {run.job_id} --replace to put the rows in its place"
                )
            if not ours:
                # Nothing stays of a table of somebody else.
                _drop(session, target)
                there = {}
        _write(session, kind, coming, there)
        rows = int(session.run("lake.rows", table=f"read_parquet({quote_literal(str(coming.path))})")[0][0])
        session.run("lake.unmark", {"target": target.name}, marker=marker)
        told = {"state_id": coming.state_id, "job_id": run.job_id, "run_id": run.run_id, "rows": rows}
        session.run("lake.mark", {"target": target.name, **told}, marker=marker)
    return rows


def _columns(session: Session, kind: Kind, target: Target) -> dict[str, str]:
    """Return the columns of a target with their types; none if it does not exist."""
    where = {"catalog": session.catalog, "schema": target.schema, "name": target.name}
    there = dict(session.run("lake.columns", where))
    if there and kind is Kind.POSTGRES:
        # The extension reports them as VARCHAR, but they accept only JSON.
        json = [name for name, their in _postgres_types(session, target).items() if their in {"json", "jsonb"}]
        there |= dict.fromkeys(json, "JSON")
    return there


def make_marker(session: Session, kind: Kind, schema: str) -> None:
    """Create the table of markers if it does not exist; with a key if the database enforces one."""
    name = Target(schema, MARKER)
    if kind is Kind.POSTGRES:
        _on_postgres(
            session,
            f"CREATE TABLE IF NOT EXISTS {_there(name)} (target text PRIMARY KEY, state_id uuid NOT NULL, "
            "job_id integer NOT NULL, run_id uuid NOT NULL, rows bigint NOT NULL)",
        )
        # The extension caches its knowledge of tables, which others, and our own SQL, have changed.
        session.sql("CALL pg_clear_cache()")
        return
    session.run("lake.make_marker", marker=name.qualified(session.catalog))


def _lock(session: Session, kind: Kind, schema: str) -> None:
    """Keep other publishers of the schema out until the transaction ends.

    A DuckDB file has one writing process; DuckLake and MotherDuck refuse the later of two commits that delete the same
    marker or create the same table.
    """
    if kind is Kind.POSTGRES:
        _on_postgres(session, "SET LOCAL lock_timeout = '60s'")
        _on_postgres(session, f"LOCK TABLE {_there(Target(schema, MARKER))} IN EXCLUSIVE MODE")


def _write(session: Session, kind: Kind, coming: Arriving, there: dict[str, str]) -> None:
    """Write the rows into the target, replacing all rows or by their key; `there` are its columns."""
    target = coming.target
    qualified = target.qualified(session.catalog)
    comes = {each.name: each.type for each in coming.columns}
    if there and coming.run.key:
        check_columns(target.sql, there, _as_seen(session, kind, coming.columns), coming.run.key)
        _merge(session, kind, coming, there)
        return
    if there and there == _as_seen(session, kind, coming.columns) and kind in {Kind.POSTGRES, Kind.DUCKLAKE}:
        # Views of the table, and permissions on it, stay as they are.
        if kind is Kind.POSTGRES:
            _on_postgres(session, f"DELETE FROM {_there(target)}")
        else:
            session.run("lake.empty", target=qualified)
    else:
        if there:
            _drop(session, target)
        session.run("lake.create", target=qualified, columns=_definition(comes))
    _fill(session, coming, qualified)


def _merge(session: Session, kind: Kind, coming: Arriving, there: dict[str, str]) -> None:
    """Update the existing rows by their key, and insert the others."""
    target, key = coming.target, coming.run.key
    comes = {each.name: each.type for each in coming.columns}
    if kind is not Kind.POSTGRES:
        session.run("lake.arriving", columns=arriving(coming.columns), path=quote_literal(str(coming.path)))
        qualified = target.qualified(session.catalog)
        for block, places in merging(qualified, "temp.sqlbatch_arriving", there, comes, key):
            session.run(block, **places)
        return
    # Postgres joins them itself: they go into a table beside the target, which is dropped before anybody else sees it.
    beside = Target(target.schema, f"sqlbatch_{coming.run.run_id.hex}")
    session.run("lake.create", target=beside.qualified(session.catalog), columns=_definition(comes))
    _fill(session, coming, beside.qualified(session.catalog))
    known = {name.casefold() for name in there}
    for name, kind_there in _postgres_types(session, beside).items():
        if name.casefold() not in known:
            _on_postgres(session, f"ALTER TABLE {_there(target)} ADD COLUMN {quote_identifier(name)} {kind_there}")
    # The names in Postgres' own spelling, because Postgres distinguishes capitals.
    theirs = {name.casefold(): quote_identifier(name) for name in there}
    names = {name: theirs.get(name.casefold(), quote_identifier(name)) for name in comes}
    same = " AND ".join(f"t.{names[name]} = s.{quote_identifier(name)}" for name in key)
    updated = ", ".join(f"{names[name]} = s.{quote_identifier(name)}" for name in comes if name not in key)
    columns = ", ".join(f"s.{quote_identifier(name)}" for name in comes)
    _on_postgres(session, f"UPDATE {_there(target)} t SET {updated} FROM {_there(beside)} s WHERE {same}")
    _on_postgres(
        session,
        f"INSERT INTO {_there(target)} ({', '.join(names.values())}) SELECT {columns} FROM {_there(beside)} s "
        f"WHERE NOT EXISTS (SELECT 1 FROM {_there(target)} t WHERE {same})",
    )
    _on_postgres(session, f"DROP TABLE {_there(beside)}")


def _fill(session: Session, coming: Arriving, table: str) -> None:
    session.run("lake.fill", target=table, columns=arriving(coming.columns), path=quote_literal(str(coming.path)))


def _definition(columns: dict[str, str]) -> str:
    return ", ".join(f"{quote_identifier(name)} {kind}" for name, kind in columns.items())


def _as_seen(session: Session, kind: Kind, columns: Sequence[Carried]) -> dict[str, str]:
    """Return columns with their types as the database would describe them."""
    if kind is Kind.POSTGRES:
        return {each.name: each.type for each in columns}
    nothing = ", ".join(f"NULL::{each.type} AS {quote_identifier(each.name)}" for each in columns)
    return {row[0]: row[1] for row in session.sql(f"DESCRIBE SELECT {nothing}")}


def _drop(session: Session, target: Target) -> None:
    """Drop a table; raise NotPublished, with its name, if a view depends on it."""
    try:
        session.run("lake.drop", target=target.qualified(session.catalog))
    except DatabaseError as error:
        views = re.findall(r"(?:materialized )?view (\S+) depends on", str(error.__cause__))
        if not views:
            raise
        raise NotPublished(
            f"{target.sql} has other columns than before, so it must be made anew, and the view {', '.join(views)} "
            "depends on it: drop the view there, publish again, and make it again"
        ) from error


def _postgres_types(session: Session, table: Target) -> dict[str, str]:
    """Return the columns of a table in Postgres, with Postgres' own names of their types."""
    sql = (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = "
        f"{quote_literal(_there(table))}::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    return dict(session.sql(f"FROM postgres_query({quote_literal(session.catalog)}, {quote_literal(sql)})"))


def _there(table: Target) -> str:
    """Return a table's name in Postgres' own form."""
    return f"{quote_identifier(table.schema)}.{quote_identifier(table.name)}"


def _on_postgres(session: Session, sql: str) -> None:
    session.sql(f"CALL postgres_execute({quote_literal(session.catalog)}, {quote_literal(sql)})")


def _told(error: DatabaseError, place: Attached) -> DatabaseError:
    """Return an error with the name of its database."""
    text = str(error)
    reason = text.removeprefix("the database: ").removeprefix(f"{place.name}: ")
    return error if text.startswith(place.option) else DatabaseError(f"{place.name}: {reason}")

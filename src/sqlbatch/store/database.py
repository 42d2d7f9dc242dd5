"""The user's DuckDB database, open for moments only: connect, wait for a lock, migrate, wrap errors."""

from __future__ import annotations

import random
import re
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from sqlbatch import clock, trace
from sqlbatch.errors import DatabaseConflict, DatabaseError, DatabaseLocked
from sqlbatch.named_sql import read_sql, sql_folder
from sqlbatch.store import prices
from sqlbatch.store.opened import Opened, connect
from sqlbatch.store.queries import quote_identifier, quote_literal, statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

# Seconds to try again while another process holds the file: a holder like ourselves lets go within milliseconds
# (an open, insert and close measures 21 ms), a person's notebook does not.
LOCK_PATIENCE = 5.0
# What DuckDB says of a file that another is just closing: its handle, or a WAL that was checkpointed and is going.
_MEETING = (
    "Unique file handle conflict",
    "WAL was created for an older version of this database",
    '.wal": No such file or directory',
)
CONFLICT_TRIES = 20
# Texts are stored as ZSTD: dict_fsst, DuckDB's choice for them, measured three times the work and thrice the size.
# Short ones too: a word that every row has takes 2 bytes a row, where it took 25.
_COMPRESSION = "SET disabled_compression_methods = 'dict_fsst'; SET zstd_min_string_length = 1"
# Bytes that DuckDB's work may take, well under what the smallest laptop has; beyond it spills to the spool folder.
MEMORY_LIMIT = "800MB"

Written = TypeVar("Written")


class Session:
    """A connection for the moment, that runs named SQL against one database."""

    def __init__(
        self, con: duckdb.DuckDBPyConnection, catalog: str, *, owned: bool, close: Callable[[], None] | None = None
    ) -> None:
        self.con = con
        self.catalog = catalog
        self.owned = owned
        self.close = close or con.close

    def run(self, name: str, params: Mapping[str, object] | None = None, /, **places: str) -> list[tuple[Any, ...]]:
        """Run the block `file.block` and return its rows; raise DatabaseError for what DuckDB cannot do."""
        return self.sql(statement(name, self.catalog, **places), params, name)

    def sql(
        self, sql: str, params: Mapping[str, object] | None = None, name: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Run a SQL text and return its rows; raise DatabaseError for what DuckDB cannot do."""
        began = trace.now()
        try:
            return self.con.execute(sql, dict(params) if params else None).fetchall()
        except duckdb.Error as error:
            raise wrapped(error) from error
        finally:
            trace.sql_told(sql, began, name)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block does, or nothing of it."""
        self.sql("BEGIN TRANSACTION")
        try:
            yield
            self.sql("COMMIT")
        except BaseException:
            # Where DuckDB has rolled back by itself, what went wrong first is what is raised.
            with suppress(duckdb.Error):
                self.con.execute("ROLLBACK")
            raise

    @contextmanager
    def keeping_row_order(self, *, keep: bool) -> Iterator[None]:
        """Set whether results keep the rows' order; where they need not, DuckDB needs a third of the memory.

        The setting belongs to the whole instance: on a connection of the user's it is set only where the order must be
        kept, and put back.
        """
        before = bool(self.sql("SELECT current_setting('preserve_insertion_order')::BOOLEAN")[0][0])
        if before == keep or not (keep or self.owned):
            yield
            return
        self.sql(f"SET preserve_insertion_order = {keep}")
        try:
            yield
        finally:
            # After an error the transaction takes no statement; what went wrong first is what is raised.
            with suppress(duckdb.Error):
                self.con.execute(f"SET preserve_insertion_order = {before}").fetchall()

    def has_schema(self) -> bool:
        """Return whether the schema `sqlbatch` is in this database."""
        return bool(self.run("store.has_schema", {"catalog": self.catalog}))


class Database:
    """A DuckDB file by its path, or a connection of the user's that is used through cursors and never closed."""

    def __init__(
        self,
        path: Path | None = None,
        connection: duckdb.DuckDBPyConnection | None = None,
        *,
        attach: tuple[str, ...] = (),
        memory_limit: str = MEMORY_LIMIT,
        threads: int | None = None,
        spool: Path | None = None,
    ) -> None:
        self.path = path
        self.connection = connection
        self._attach = attach
        self._memory_limit = memory_limit
        self._threads = threads
        self._spool = spool
        self._migrated = False
        # A cursor does not know where its connection stands; asked once, for a connection has one result at a time.
        self._standing = _standing(connection) if connection is not None else ("", "")

    @property
    def name(self) -> str:
        """What to call the database in messages."""
        return str(self.path) if self.path else "the connection's database"

    def exists(self) -> bool:
        """Return whether there is anything to read: a file, or a connection."""
        return self.connection is not None or (self.path is not None and self.path.exists())

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return a connection that its caller keeps, or the user's own; raises duckdb.Error."""
        if self.connection is not None:
            return self.connection
        return connect(self.path) if self.path is not None else duckdb.connect()

    @contextmanager
    def session(
        self, *, migrate: bool = True, patience: float | None = None, scratch: Path | None = None
    ) -> Iterator[Session]:
        """Open the database for the block, with its schema made or brought up to date.

        With `migrate=False` nothing is written: a file that is not there is not made, an empty database stands in.
        `scratch` is a database file that is attached for the block, under the name `scratch_name` gives it.
        Raises DatabaseLocked once another process has held the file for `patience` seconds (LOCK_PATIENCE unless
        given), DatabaseError otherwise.
        """
        if self.connection is not None:
            session = self._cursor(self.connection)
        else:
            session = self._open(
                LOCK_PATIENCE if patience is None else patience,
                in_memory=not migrate and not self.exists(),
                # What a killed process has spilled goes with the folder of its scratch file.
                spill=scratch.parent if scratch is not None else self._spool,
            )
        try:
            if migrate and not self._migrated:
                self._migrate(session)
            elif not self._migrated:
                self._refuse_newer(session)
            if scratch is None:
                yield session
                return
            session.sql(f"ATTACH {quote_literal(str(scratch))} AS {scratch_name(scratch)}")
            try:
                yield session
            finally:
                session.sql(f"DETACH {scratch_name(scratch)}")
        finally:
            session.close()

    def write(self, work: Callable[[Session], Written], *, scratch: Path | None = None) -> Written:
        """Do the work in one transaction, again where another connection changed the same rows first."""
        for tries in range(CONFLICT_TRIES):
            try:
                with self.session(scratch=scratch) as session, session.transaction():
                    return work(session)
            except DatabaseConflict:
                if tries == CONFLICT_TRIES - 1:
                    raise
            time.sleep(random.random() * 0.05 * (tries + 1))  # noqa: S311
        raise AssertionError("the last try returns or raises")

    def read(self, work: Callable[[Session], Written]) -> Written:
        """Do the work in one session, outside of a transaction."""
        with self.session() as session:
            return work(session)

    def _cursor(self, connection: duckdb.DuckDBPyConnection) -> Session:
        try:
            catalog, schema = self._standing
            cursor = connection.cursor()
            cursor.execute(f"USE {quote_identifier(catalog)}.{quote_identifier(schema)}")
            cursor.execute("SET TimeZone = 'UTC'")
        except duckdb.Error as error:
            raise wrapped(error) from error
        return Session(cursor, catalog, owned=False)

    def _open(self, patience: float, *, in_memory: bool, spill: Path | None) -> Session:
        opened = None if in_memory or self.path is None else self._connect(self.path, patience)
        con = opened.cursor if opened else duckdb.connect()
        session = Session(con, "", owned=True, close=opened.close if opened else None)
        try:
            session.catalog = session.sql("SELECT current_catalog()")[0][0]
            if not in_memory:
                self._refuse_other_files(session)
            session.sql("SET TimeZone = 'UTC'; SET python_enable_replacements = false")
            session.sql(_COMPRESSION)
            session.sql(f"SET memory_limit = {quote_literal(self._memory_limit)}")
            if self._threads:
                session.sql(f"SET threads = {self._threads}")
            if spill is not None and spill.is_dir():
                # Where another thread has the file open and spills already, its place is ours.
                with suppress(duckdb.Error):
                    con.execute(f"SET temp_directory = {quote_literal(str(spill))}")
            for clause in self._attach:
                session.sql(clause)
        except BaseException:
            session.close()
            raise
        return session

    def _connect(self, path: Path, patience: float) -> Opened:
        until = time.monotonic() + patience
        while True:
            try:
                return Opened(path)
            except duckdb.Error as error:
                problem = wrapped(error, self.name)
                # Who opens the file while another process checkpoints and closes it meets its last moment.
                meeting = any(sign in str(error) for sign in _MEETING)
                if not (meeting or isinstance(problem, DatabaseLocked)) or time.monotonic() > until:
                    raise problem from error
            # Jitter keeps two waiting processes from meeting again and again.
            time.sleep(0.01 + random.random() * 0.05)  # noqa: S311

    def _refuse_other_files(self, session: Session) -> None:
        """Raise DatabaseError for what DuckDB opens as something else: a CSV file becomes a view in memory.

        DuckDB is asked, for to open and close the file by hand would end the lock that this process has on it (POSIX).
        """
        found = session.run("store.file", {"catalog": session.catalog})
        if not found or found[0][0] is None:
            raise DatabaseError(f"{self.name} is not a DuckDB database: name another file with --db")

    def _refuse_newer(self, session: Session) -> int:
        """Return the schema's version (0: none yet); raise DatabaseError where a newer sqlbatch made it."""
        version = session.run("store.version")[0][0] if session.has_schema() else 0
        newest = migrations()[-1][0]
        if version > newest:
            raise DatabaseError(
                f"{self.name}: its schema sqlbatch has version {version}, made by a newer sqlbatch; this one knows "
                f"versions up to {newest}: upgrade sqlbatch"
            )
        return int(version)

    def _migrate(self, session: Session) -> None:
        version = self._refuse_newer(session)
        pending = [migration for migration in migrations() if migration[0] > version]
        if pending:
            back = session.sql("SELECT current_schema()")[0][0]
            catalog = quote_identifier(session.catalog)
            with session.transaction():
                session.sql(f"CREATE SCHEMA IF NOT EXISTS {catalog}.sqlbatch")
                # Views find their tables in their own schema, so they still work when the file has another name.
                session.sql(f"USE {catalog}.sqlbatch")
                for number, name in pending:
                    session.sql(read_sql(f"migrations/{name}"))
                    session.run("store.migrated", {"version": number, "name": name, "now": clock.now()})
            session.sql(f"USE {catalog}.{quote_identifier(back)}")
        # Where another connection is at the same, it writes the same.
        with suppress(DatabaseConflict), session.transaction():
            prices.refresh(session)
        self._migrated = True


def _standing(connection: duckdb.DuckDBPyConnection) -> tuple[str, str]:
    try:
        catalog, schema = connection.execute("SELECT current_catalog(), current_schema()").fetchall()[0]
    except duckdb.Error as error:
        raise wrapped(error) from error
    return catalog, schema


def scratch_name(scratch: Path) -> str:
    """Return the catalogue name of an attached scratch file: its own, so that two compilers do not meet."""
    return quote_identifier(f"sqlbatch_scratch_{scratch.parent.name.rpartition('-')[2]}")


def migrations() -> list[tuple[int, str]]:
    """Return the migrations, as number and file name, in their order."""
    names = sorted(entry.name for entry in (sql_folder() / "migrations").iterdir() if entry.name.endswith(".sql"))
    return [(int(name.partition("_")[0]), name) for name in names]


def is_full_disk(error: duckdb.Error) -> bool:
    """Whether DuckDB met the end of the disk: in a file it writes, or where it lays aside what memory does not hold."""
    return any(sign in str(error) for sign in ("No space left on device", "max_temp_directory_size"))


def _folder_of(path: str) -> str:
    """Return the folder of a file, without the passing one of ours that it may lie in."""
    return re.sub(r"/\.sqlbatch-[^/]*$", "", path.rpartition("/")[0]) or "/"


def wrapped(error: duckdb.Error, name: str = "the database") -> DatabaseError:  # noqa: PLR0911 (one a cause)
    """Return DuckDB's error as ours, told in one line."""
    text = str(error)
    line = re.sub(r"^\w+( \w+)* Error: ", "", text.strip().partition("\n")[0])
    if "Could not set lock on file" in text:
        pid = re.search(r"\(PID (\d+)\)", text)
        holder = f"process {pid[1]}" if pid else "another process"
        message = f"{name} is locked by {holder}; close it there, or wait until it is done"
        return DatabaseLocked(message, int(pid[1]) if pid else None)
    if "with a different configuration than existing connections" in text:
        return DatabaseLocked(
            f"{name} is open in this process with other settings (read-only, or by %sql): close it there, or hand that "
            "connection to sqlbatch with db="
        )
    if isinstance(error, duckdb.TransactionException) and "onflict" in text:
        return DatabaseConflict(f"{name}: another connection changed the same rows first")
    if "not a valid DuckDB database file" in text:
        return DatabaseError(f"{name} is not a DuckDB database: name another file with --db")
    if "No such file or directory" in text and "Cannot open file" in text:
        return DatabaseError(f"{name} cannot be made: its folder does not exist")
    if "Permission denied" in text or "Read-only file system" in text:
        return DatabaseError(f"{name} cannot be written (permission denied): choose another place with --db")
    if is_full_disk(error):
        path = re.search(r'"(/[^"]+)"', text)
        which = f" of {_folder_of(path[1])}" if path else " for temporary files" * ("max_temp_directory_size" in text)
        return DatabaseError(f"no space is left on the disk{which}; free some and run the same command again")
    return DatabaseError(f"{name}: {line}")

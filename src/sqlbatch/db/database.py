"""The user's DuckDB database, open for moments only: connect, wait for a lock, bring the schema up to date."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, TypeVar

import duckdb

from sqlbatch.db import prices, schema
from sqlbatch.db.duckdb_errors import wrapped
from sqlbatch.db.open_file import Opened, connect, is_open_here
from sqlbatch.db.session import Session
from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import DatabaseConflict, DatabaseError, DatabaseLocked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from sqlbatch.db.attached import Attached

# Seconds to retry while another process holds the file. Another sqlbatch releases it within milliseconds (opening,
# inserting and closing takes 21 ms); a person's notebook does not.
LOCK_PATIENCE = 5.0
# DuckDB's messages about a file that another process is just closing: its handle, or a WAL that was checkpointed and is
# being deleted.
_MEETING = (
    "Unique file handle conflict",
    "WAL was created for an older version of this database",
    '.wal": No such file or directory',
)
CONFLICT_TRIES = 20
# Texts are stored as ZSTD: dict_fsst, DuckDB's default for them, took three times the work and three times the space.
# This holds for short texts too: a word in every row takes 2 bytes a row instead of 25.
_COMPRESSION = "SET disabled_compression_methods = 'dict_fsst'; SET zstd_min_string_length = 1"
# Bytes that DuckDB may use, well below the memory of the smallest laptop; beyond it, it spills to the spool folder.
MEMORY_LIMIT = "800MB"

_MIGRATING = threading.Lock()
_ATTACHING = threading.Lock()

Written = TypeVar("Written")
Had = TypeVar("Had")


# How many sessions of this process use an attached database. DuckDB attaches one once for all connections of a file.
_ATTACHED: Counter[tuple[object, Attached]] = Counter()


class Database:
    """A DuckDB file by its path, or a user's connection, which is used through cursors and never closed."""

    def __init__(
        self,
        path: Path | None = None,
        connection: duckdb.DuckDBPyConnection | None = None,
        *,
        attach: Sequence[Attached] = (),
        memory_limit: str = MEMORY_LIMIT,
        threads: int | None = None,
        spool: Path | None = None,
    ) -> None:
        self.path = path
        self.connection = connection
        self.attach = tuple(attach)
        # Called before money is spent; raises if this process may not, because another driver owns the state now.
        self.guard: Callable[[], None] | None = None
        # Called after a commit that must survive the loss of the disk; copies the file to a folder that drivers share.
        self.push: Callable[[], object] = lambda: None
        # The folder that drivers share, if the file is a copy of a state there.
        self.shared: Path | None = None
        self._memory_limit = memory_limit
        self._threads = threads
        self._spool = spool
        self._migrated = False
        self._keeping = 0
        self._kept: Opened | None = None
        self._turn = threading.Lock()
        # A cursor does not know its connection's current catalog and schema, so they are read once: a connection has
        # one result at a time.
        self._standing = _standing(connection) if connection is not None else ("", "")

    @property
    def name(self) -> str:
        """The database's name for messages."""
        return str(self.shared or self.path) if self.path else "the connection's database"

    def exists(self) -> bool:
        """Return whether there is anything to read: a file, or a connection."""
        return self.connection is not None or (self.path is not None and self.path.exists())

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return a connection that the caller keeps, or the user's own; raises DatabaseError as a session does."""
        if self.connection is not None:
            return self.connection
        if self.path is None:
            return duckdb.connect()
        alone = not is_open_here(self.path)
        connection = self._patiently(connect, self.path, LOCK_PATIENCE)
        if alone:
            # Later sessions on the same file find these settings.
            self._set(Session(connection, "", owned=True), None)
        return connection

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep the file open between the sessions of the block: opening and closing it takes longer than most of them.

        Code that waits within the block, for the network or for a person, first calls `let_go`.
        """
        with self._turn:
            self._keeping += 1
        try:
            yield
        finally:
            with self._turn:
                self._keeping -= 1
            self.let_go()

    def let_go(self) -> None:
        """Close the file between two sessions, also within a block of `kept_open`; the next session opens it again."""
        with self._turn:
            kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    @contextmanager
    def session(
        self,
        *,
        migrate: bool = True,
        patience: float | None = None,
        scratch: Path | None = None,
        attach: bool = False,
        making: str | None = None,
    ) -> Iterator[Session]:
        """Open the database for the block, after creating or updating its schema.

        With `migrate=False` nothing is written, and an empty database replaces a file that does not exist. `scratch` is
        a database file that is attached, under its `scratch_name`, until `forget`. With `attach`, the databases of
        --attach are attached too; use it only while the user's own SQL runs. The one called `making`, which is to hold
        a target, need not exist yet. Raises DatabaseLocked after another process has held the file for `patience`
        seconds (default LOCK_PATIENCE), DatabaseError otherwise.
        """
        if self.connection is not None:
            session = self._cursor(self.connection)
        else:
            session = self._open(
                LOCK_PATIENCE if patience is None else patience,
                in_memory=not migrate and not self.exists(),
                # The spill files of a killed process are deleted with the folder of its scratch file.
                spill=scratch.parent if scratch is not None else self._spool,
            )
        try:
            if migrate and not self._migrated:
                # Threads that open a new file at the same time would conflict.
                with _MIGRATING:
                    schema.bring_up_to_date(session, self.name)
                # Another connection that does the same at this moment writes the same.
                with suppress(DatabaseConflict), session.transaction():
                    prices.refresh(session)
                self._migrated = True
            elif not self._migrated:
                schema.refuse_newer(session, self.name)
            session.migrated = migrate
            if scratch is not None:
                # Another transaction of this process may still use it, so it cannot be attached anew.
                session.sql(f"ATTACH IF NOT EXISTS {quote_literal(str(scratch))} AS {scratch_name(scratch)}")
            with self._attached(session, making) if attach else nullcontext():
                yield session
        finally:
            session.close()

    def write(self, work: Callable[[Session], Written], *, scratch: Path | None = None) -> Written:
        """Do the work in one transaction; repeat it if another connection changed the same rows first."""
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

    def query(self, name: str, params: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of the block `file.block`, which writes nothing, in a session of its own."""
        return self.read(lambda session: session.run(name, params))

    def execute(self, name: str, params: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """Run the block `file.block` in a transaction of its own, and return its rows."""
        return self.write(lambda session: session.run(name, params))

    def forget(self, scratch: Path) -> None:
        """Detach a scratch file, if the database stays open in this process."""
        if self.connection is not None or (self.path is not None and is_open_here(self.path)):
            # If the database was closed in between, nothing is attached any more.
            with suppress(DatabaseError, duckdb.Error), self.session(migrate=False) as session:
                session.sql(f"DETACH DATABASE IF EXISTS {scratch_name(scratch)}")

    @contextmanager
    def _attached(self, session: Session, making: str | None) -> Iterator[None]:
        """Attach the databases of --attach for the block; overlapping sessions of this process share them."""
        # An empty in-memory database replaces a file that does not exist; each session has its own.
        where = self.path if session.catalog != "memory" else session
        held: list[Attached] = []
        try:
            for each in self.attach:
                if each.name == making and each.is_new:
                    continue
                with _ATTACHING:
                    if not _ATTACHED[where, each]:
                        each.attach(session)
                    _ATTACHED[where, each] += 1
                held.append(each)
            yield
        finally:
            for each in held:
                with _ATTACHING:
                    _ATTACHED[where, each] -= 1
                    if not _ATTACHED[where, each]:
                        with suppress(duckdb.Error):
                            session.con.execute(f"DETACH DATABASE IF EXISTS {quote_identifier(each.name)}")

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
        opened = None
        if self.path is not None and not in_memory:
            opened = self._patiently(Opened, self.path, patience)
            with self._turn:
                if self._keeping and self._kept is None:
                    self._kept = Opened(self.path)
        con = opened.cursor if opened else duckdb.connect()
        # If the file is already open in this process, its settings are those of whoever opened it.
        owned = opened.file.alone if opened else True
        session = Session(con, "", owned=owned, close=opened.close if opened else None)
        try:
            session.catalog = (opened.file.catalog if opened else "") or self._catalog(session, in_memory=in_memory)
            if opened:
                opened.file.catalog = session.catalog
            session.sql("SET TimeZone = 'UTC'; SET python_enable_replacements = false")
            spill = spill if spill is not None and spill.is_dir() else None
            if owned and (opened is None or opened.must_be_set((self._memory_limit, self._threads, spill))):
                self._set(session, spill)
        except BaseException:
            session.close()
            raise
        return session

    def _set(self, session: Session, spill: Path | None) -> None:
        session.sql(_COMPRESSION)
        session.sql(f"SET memory_limit = {quote_literal(self._memory_limit)}")
        if self._threads:
            session.sql(f"SET threads = {self._threads}")
        if spill is not None:
            # If another thread has the file open and already spills, its spill folder is used.
            with suppress(duckdb.Error):
                session.con.execute(f"SET temp_directory = {quote_literal(str(spill))}")

    def _patiently(self, how: Callable[[Path], Had], path: Path, patience: float) -> Had:
        """Open a file, and retry while another process holds it."""
        until = time.monotonic() + patience
        while True:
            try:
                return how(path)
            except duckdb.Error as error:
                problem = wrapped(error, self.name)
                # Opening a file just as another process checkpoints and closes it can fail for a moment.
                meeting = any(sign in str(error) for sign in _MEETING)
                if not (meeting or isinstance(problem, DatabaseLocked)) or time.monotonic() > until:
                    raise problem from error
            # Jitter keeps two waiting processes from colliding again and again.
            time.sleep(0.01 + random.random() * 0.05)  # noqa: S311

    def _catalog(self, session: Session, *, in_memory: bool) -> str:
        """Return the catalog of the opened database.

        Raises DatabaseError if DuckDB opened the file as something else: a CSV file becomes a view in memory. DuckDB is
        asked, because opening and closing the file by hand would end this process's lock on it (POSIX).
        """
        catalog, path = session.run("database.current")[0]
        if path is None and not in_memory:
            raise DatabaseError(f"{self.name} is not a DuckDB database: name another file with --db")
        return str(catalog)


def _standing(connection: duckdb.DuckDBPyConnection) -> tuple[str, str]:
    try:
        catalog, schema = connection.execute("SELECT current_catalog(), current_schema()").fetchall()[0]
    except duckdb.Error as error:
        raise wrapped(error) from error
    return catalog, schema


def scratch_name(scratch: Path) -> str:
    """Return the unique catalog name of an attached scratch file, so that two compilers do not collide."""
    return quote_identifier(f"sqlbatch_scratch_{scratch.parent.name.rpartition('-')[2]}")

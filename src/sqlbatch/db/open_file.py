"""Open a database file so that no commit of another thread or process is lost.

Works around a DuckDB 2.0 race: it reads a file's headers before it locks the file (1.5 reads after). Another process
that commits and closes in between would be overwritten. So we read the headers too, before DuckDB opens the file and
after it holds the lock, and open the file again where they differ.

Works around POSIX locks: they belong to the process and end when any handle of the file is closed. If one thread opened
the file while another closed its last connection, DuckDB would drop the lock in the middle of a checkpoint. So threads
share one connection and open and close it one at a time, and our header handle stays open until this process has no
other handle of the file.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from sqlbatch.db.sql import quote_literal
from sqlbatch.leases import new_owner

# The oldest storage format with all features we use. A file that the user's own DuckDB made keeps its format.
STORAGE_VERSION = "v1.5.0"
# Bytes: the main header, and the two that checkpoints write in turn.
_HEADERS = 3 * 4096

# Our handles, by the device and the number of their file.
_HANDLES: dict[tuple[int, int], int] = {}


def open_newest(path: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection to a file as it is while this process has its lock; the file is created if it does not exist.

    Threads call it one at a time. Raises duckdb.Error if the file cannot be opened.
    """
    if sys.platform == "win32":  # pragma: no cover - DuckDB shares the file with no handle of ours there
        return duckdb.connect(str(path))
    if not path.exists() and not path.with_name(f"{path.name}.wal").exists():
        _make(path)
    handle = _handle(path)
    try:
        while True:
            before = _headers(handle)
            try:
                connection = duckdb.connect(str(path))
            except duckdb.Error:
                # DuckDB refuses headers that are older than the WAL beside the file.
                if _headers(handle) == before:
                    raise
                continue
            if _headers(handle) == before:
                return connection
            connection.close()
    finally:
        let_go()


def is_open_here(path: Path) -> bool:
    """Return whether this process has the file open in another way, such as a user's connection, as far as known."""
    try:
        found = path.stat()
    except OSError:
        return False
    return (found.st_dev, found.st_ino) in _open_here()[1]


def let_go() -> None:
    """Close our handles of the files that this process has no other handle of."""
    listed, used = _open_here()
    for file, handle in list(_HANDLES.items()):
        # If the system does not list handles, ours stay open: one a file, and no lock ends.
        if handle in listed and file not in used:
            os.close(_HANDLES.pop(file))


def _open_here() -> tuple[set[int], set[tuple[int, int]]]:
    """Return the handles that the system lists, and the files of those that are not ours."""
    listed: set[int] = set()
    with suppress(OSError):
        listed = {int(entry.name) for entry in Path("/dev/fd").iterdir()}
    files = set()
    for handle in listed - set(_HANDLES.values()):
        # The handle that listed them is closed by now.
        with suppress(OSError):
            files.add(_file(handle))
    return listed, files


def _handle(path: Path) -> int | None:
    """Return our handle of a file, None if there is none to read; DuckDB then reports why."""
    try:
        if not path.is_file():
            return None
        found = path.stat()
        known = _HANDLES.get((found.st_dev, found.st_ino))
        if known is None:
            known = os.open(path, os.O_RDONLY)
            _HANDLES[_file(known)] = known
    except OSError:
        return None
    return known


def _file(handle: int) -> tuple[int, int]:
    found = os.fstat(handle)
    return found.st_dev, found.st_ino


def _headers(handle: int | None) -> bytes | None:
    with suppress(OSError):
        return os.pread(handle, _HEADERS, 0) if handle is not None else None
    return None


def _make(path: Path) -> None:
    """Create an empty database under its name, unless another process creates it first.

    Once it has the lock, DuckDB writes its first headers over whatever is there, even a file that another process has
    created, filled and closed since DuckDB looked for it.
    """
    # If the folder allows no other file, or no second name for one, DuckDB creates the file itself, or reports why not.
    with suppress(OSError), TemporaryDirectory(prefix=f".sqlbatch-{new_owner()}-", dir=path.parent) as folder:
        made = f"{folder}/made"
        with duckdb.connect(":memory:") as connection:
            # So DuckDB 1.5 can open the file too, for example its command line, or an older notebook.
            connection.execute(f"ATTACH {quote_literal(made)} AS made (STORAGE_VERSION '{STORAGE_VERSION}')")
        os.link(made, path)


_TURN = threading.RLock()


@dataclass
class OpenFile:
    """A file's connection, which all cursors of this process share; its catalog, as noted by whoever opened it.

    `alone`: the file was not open in this process otherwise, so DuckDB's settings are ours to make.
    """

    connection: duckdb.DuckDBPyConnection
    alone: bool
    users: int = 0
    catalog: str = ""
    settings: object = None


_FILES: dict[Path, OpenFile] = {}


class Opened:
    """A cursor on a file's connection, which is closed with the last of them."""

    def __init__(self, path: Path) -> None:
        """Open the file, or join an open connection; raises duckdb.Error if it cannot be opened."""
        self._path = path.absolute()
        with _TURN:
            self.file = _FILES.get(self._path) or OpenFile(alone=not is_open_here(path), connection=open_newest(path))
            self.cursor = self.file.connection.cursor()
            self.file.users += 1
            _FILES[self._path] = self.file

    def must_be_set(self, settings: object) -> bool:
        """Return whether DuckDB's settings are still to be made as given, and note that they are."""
        before, self.file.settings = self.file.settings, settings
        return before != settings

    def close(self) -> None:
        """Close the cursor, and the file if no other session of this process uses it."""
        with _TURN:
            self.cursor.close()
            self.file.users -= 1
            if not self.file.users:
                del _FILES[self._path]
                self.file.connection.close()
                let_go()


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection to a file that the caller keeps, opened while no other thread closes it."""
    with _TURN:
        return open_newest(path)

"""The files beside the database: transfers in progress, the local server's state, scratch files."""

from __future__ import annotations

import atexit
import contextlib
import functools
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sqlbatch.leases import is_gone, new_owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.db.database import Database


def state_dir(database: Database) -> Path:
    """Return the folder beside the database file for transfers in progress and the local server's state.

    For an in-memory database it is a temporary folder, deleted when the process ends.
    """
    path = file_of(database)
    return path.with_name(path.name + ".sqlbatch") if path is not None else _passing_home()


def spool_dir(database: Database) -> Path:
    """Return the folder for transfers in progress; it is created if it does not exist."""
    spool = state_dir(database) / "spool"
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    return spool


def file_of(database: Database) -> Path | None:
    """Return the file of a database, also of a user's connection; None if it is in memory."""
    if database.connection is None:
        return database.path
    with database.session(migrate=False) as session:
        _, path = session.run("database.current")[0]
    return Path(path) if path else None


@contextlib.contextmanager
def scratch_file(database: Database) -> Iterator[Path]:
    """Create a scratch database for the block; it is deleted at the end of the block."""
    folder = scratch_folder(database)
    scratch = folder / "scratch.duckdb"
    try:
        yield scratch
    finally:
        database.forget(scratch)
        shutil.rmtree(folder, ignore_errors=True)


def scratch_folder(database: Database) -> Path:
    """Create a folder for scratch files, beside the database if that place is writable."""
    beside = database.path.parent if database.path is not None else None
    sweep(database)
    with contextlib.suppress(OSError):
        if beside is not None and beside.is_dir():
            return Path(tempfile.mkdtemp(prefix=f".sqlbatch-{new_owner()}-", dir=beside))
    return Path(tempfile.mkdtemp(prefix="sqlbatch-"))


def sweep(database: Database) -> None:
    """Delete the scratch folders of killed processes beside the database; they contain the user's rows."""
    for folder in database.path.parent.glob(".sqlbatch-*-*") if database.path is not None else ():
        if is_gone(folder.name.removeprefix(".sqlbatch-").rpartition("-")[0]):
            shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _passing_home() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sqlbatch-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder

"""The server's folder: its lock, its files, and its state in SQLite. The SQL is in sql/server.sql."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sqlbatch.named_sql import blocks
from sqlbatch.server.config import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


if sys.platform == "win32":  # pragma: no cover - Windows has its own file locks
    import msvcrt
else:
    import fcntl


class Folder:
    """Paths in the server's folder, which only its owner can read. Names from clients never become paths."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = path / "files"
        self.uploads = path / "uploads"
        self.inputs = path / "inputs"
        self.database = path / "state.sqlite"
        self.ledger = path / "ledger.jsonl"

    def create(self) -> None:
        """Create the folder and its subfolders, readable by their owner only."""
        for part in (self.path, self.files, self.uploads, self.inputs):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):
            self.path.chmod(0o700)
        self.database.touch(mode=0o600)

    def content(self, file_id: str) -> Path:
        """Return the path of a file's content. `file_id` must come from the state, never from a client."""
        return self.files / file_id

    def input(self, batch_id: str) -> Path:
        """Return the path of the batch's own link to its input file. The link stays when the file is deleted."""
        return self.inputs / batch_id

    def link_input(self, file_id: str, batch_id: str) -> bool:
        """Link the input file under the batch's id; return False if the file has been deleted."""
        kept = self.input(batch_id)
        kept.unlink(missing_ok=True)
        try:
            kept.hardlink_to(self.content(file_id))
        except FileNotFoundError:
            return False
        except OSError:  # the file system has no hard links
            try:
                shutil.copyfile(self.content(file_id), kept)
            except FileNotFoundError:
                return False
        return True

    def delete_input(self, batch_id: str) -> None:
        """Delete a batch's link to its input file."""
        self.input(batch_id).unlink(missing_ok=True)

    def delete_leftovers(self, files: set[str], batches: set[str]) -> None:
        """Delete the leftovers of a killed process: all but the contents of `files` and the inputs of `batches`."""
        for folder, kept in ((self.files, files), (self.inputs, batches), (self.uploads, set[str]())):
            for path in folder.iterdir():
                if path.name not in kept:
                    path.unlink(missing_ok=True)

    def sync(self) -> None:
        """Flush the names in the files folder to disk."""
        if sys.platform == "win32":  # pragma: no cover - Windows flushes names together with the file
            return
        descriptor = os.open(self.files, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class FolderLock:
    """The lock on the folder, and a file with the address of the server that holds it.

    The operating system releases the lock when the process dies.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = folder / "server.lock"
        self._address = folder / "server.json"
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Lock the folder; return False if another server holds the lock."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if sys.platform == "win32":  # pragma: no cover
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        self._address.unlink(missing_ok=True)  # left by a server that died
        return True

    def announce(self, base_url: str) -> None:
        """Write the address of this server to a file. The file is complete as soon as it exists."""
        text = json.dumps({"base_url": base_url, "pid": os.getpid()})
        draft = self._address.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
            handle.write(text)
        draft.replace(self._address)

    def holder(self) -> tuple[str, int] | None:
        """Return the base URL and process id of the server that holds the lock; None while it is starting."""
        try:
            found = json.loads(self._address.read_text(encoding="utf-8"))
            return str(found["base_url"]), int(found["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def release(self) -> None:
        """Release the lock; does nothing if this object does not hold it."""
        if self._descriptor is None:
            return
        self._address.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None


UNFINISHED = frozenset({"validating", "in_progress", "finalizing", "cancelling"})


@dataclass(frozen=True)
class FileRecord:
    """One row of the files table."""

    seq: int
    id: str
    filename: str
    purpose: str
    bytes: int
    created_at: int
    expires_at: int | None
    deleted_at: int | None


@dataclass(frozen=True)
class BatchRecord:
    """One row of the batches table."""

    seq: int
    id: str
    endpoint: str
    input_file_id: str
    completion_window: str
    output_expires_seconds: int | None
    metadata: str | None
    status: str
    model: str | None
    errors: str | None
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    expires_at: int
    in_progress_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    lines: int
    total: int
    completed: int
    failed: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    output_draft: str | None
    error_draft: str | None
    output_bytes: int
    error_bytes: int


class State:
    """One connection to the state in SQLite.

    Only the thread that opened it may use it. With `shared`, any thread may, but only one at a time. When a statement
    returns, its change is on disk (WAL, synchronous FULL).
    """

    def __init__(self, database: Path, *, shared: bool = False) -> None:
        self._sql = {name: block.sql for name, block in blocks("server.sql").items()}
        self._connection = sqlite3.connect(database, isolation_level=None, timeout=30, check_same_thread=not shared)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")

    def create(self) -> None:
        """Create the tables that do not exist."""
        self._connection.executescript(self._sql["schema"])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Run statements in one transaction."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def run(self, block: str, **values: Any) -> int:
        """Run a statement that changes rows; return the number of changed rows."""
        return self._connection.execute(self._sql[block], values).rowcount

    def ids(self, block: str, **values: Any) -> list[str]:
        """Return the first column of all rows of a query."""
        return [row[0] for row in self._connection.execute(self._sql[block], values)]

    def first_integer(self, block: str, **values: Any) -> int | None:
        """Return the first column of the only row of a query, or None without a row."""
        row = self._connection.execute(self._sql[block], values).fetchone()
        return None if row is None else int(row[0])

    def file(self, file_id: str, now: float) -> FileRecord | None:
        """Return a file that is neither deleted nor expired at `now`, or None."""
        row = self._connection.execute(self._sql["get_file"], {"id": file_id, "now": now}).fetchone()
        return None if row is None else FileRecord(**row)

    def files(self, block: str, **values: Any) -> list[FileRecord]:
        """Return the files that a query lists."""
        return [FileRecord(**row) for row in self._connection.execute(self._sql[block], values)]

    def batch(self, batch_id: str) -> BatchRecord | None:
        """Return one batch, or None."""
        row = self._connection.execute(self._sql["get_batch"], {"id": batch_id}).fetchone()
        return None if row is None else BatchRecord(**row)

    def batches(self, after: int | None, limit: int) -> list[BatchRecord]:
        """Return the batches before position `after`, newest first; None starts with the newest."""
        rows = self._connection.execute(self._sql["list_batches"], {"after": after, "limit": limit})
        return [BatchRecord(**row) for row in rows]

    def clock(self, speed: float) -> Clock:
        """Return the folder's clock. It continues from the saved time, and never shows less than real time."""
        row = self._connection.execute(self._sql["get_meta"], {"key": "clock"}).fetchone()
        if row is None:
            clock = Clock(speed)
        else:
            saved = json.loads(row[0])
            shown = Clock(saved["speed"], saved["real"], saved["shown"]).now()
            clock = Clock(speed, shown=max(shown, Clock().now()))
        self.save_clock(clock)
        return clock

    def save_clock(self, clock: Clock) -> None:
        """Save the clock, so that it never runs backwards after a restart."""
        real, shown = clock.origin()
        self.run("set_meta", key="clock", value=json.dumps({"real": real, "shown": shown, "speed": clock.speed}))


_Result = TypeVar("_Result")


async def in_thread(function: Callable[[], _Result]) -> _Result:
    """Run a function that waits for the disk in another thread, so that the event loop continues; return its result."""
    try:
        waiting = asyncio.get_running_loop().run_in_executor(None, function)
    except RuntimeError:  # the interpreter is exiting and starts no more threads
        return function()
    return await waiting

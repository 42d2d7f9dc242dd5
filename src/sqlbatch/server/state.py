"""The server's state in SQLite; every statement is a named block of sql/server.sql."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from sqlbatch.named_sql import blocks
from sqlbatch.server.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


_FILE_COLUMNS = [column.name for column in fields(FileRecord)]
_BATCH_COLUMNS = [column.name for column in fields(BatchRecord)]


class State:
    """One connection to the state, for one thread at a time; `shared` lets threads take turns.

    A statement that returns has reached the disk (WAL, synchronous FULL).
    """

    def __init__(self, database: Path, *, shared: bool = False) -> None:
        self._sql = {name: block.sql for name, block in blocks("server.sql").items()}
        self._connection = sqlite3.connect(database, isolation_level=None, timeout=30, check_same_thread=not shared)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")

    def create(self) -> None:
        """Make the tables where they are missing."""
        self._connection.executescript(self._sql["schema"])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several statements one: all of them happen, or none."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def run(self, block: str, **values: Any) -> int:
        """Run a statement that changes rows; return how many it changed."""
        return self._connection.execute(self._sql[block], values).rowcount

    def ids(self, block: str, **values: Any) -> list[str]:
        """Return the first column of a query's rows."""
        return [row[0] for row in self._connection.execute(self._sql[block], values)]

    def position(self, block: str, **values: Any) -> int | None:
        """Return the first column of a query's only row, or None."""
        row = self._connection.execute(self._sql[block], values).fetchone()
        return None if row is None else int(row[0])

    def file(self, file_id: str, now: float) -> FileRecord | None:
        """Return a file that can be read at `now`."""
        row = self._connection.execute(self._sql["get_file"], {"id": file_id, "now": now}).fetchone()
        return None if row is None else _file(row)

    def files(self, block: str, **values: Any) -> list[FileRecord]:
        """Return the files a listing statement finds."""
        return [_file(row) for row in self._connection.execute(self._sql[block], values)]

    def batch(self, batch_id: str) -> BatchRecord | None:
        """Return one batch."""
        row = self._connection.execute(self._sql["get_batch"], {"id": batch_id}).fetchone()
        return None if row is None else _batch(row)

    def batches(self, after: int | None, limit: int) -> list[BatchRecord]:
        """Return batches, newest first, that were created before position `after`."""
        rows = self._connection.execute(self._sql["list_batches"], {"after": after, "limit": limit})
        return [_batch(row) for row in rows]

    def clock(self, speed: float) -> Clock:
        """Return the folder's clock, going on from what it showed before; a new folder's shows real time."""
        row = self._connection.execute(self._sql["get_meta"], {"key": "clock"}).fetchone()
        if row is None:
            clock = Clock(speed)
        else:
            kept = json.loads(row[0])
            shown = Clock(kept["speed"], kept["real"], kept["shown"]).now()
            clock = Clock(speed, shown=max(shown, Clock().now()))
        self.keep_clock(clock)
        return clock

    def keep_clock(self, clock: Clock) -> None:
        """Remember the clock, so that it never runs backwards across a restart."""
        real, shown = clock.origin()
        self.run("set_meta", key="clock", value=json.dumps({"real": real, "shown": shown, "speed": clock.speed}))


def _file(row: sqlite3.Row) -> FileRecord:
    return FileRecord(**{name: row[name] for name in _FILE_COLUMNS})


def _batch(row: sqlite3.Row) -> BatchRecord:
    return BatchRecord(**{name: row[name] for name in _BATCH_COLUMNS})

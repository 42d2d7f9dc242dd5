"""The files that this process has open: each once, however many threads work on it.

POSIX locks of a file belong to the process, and end with any handle of it that is closed. Were a thread to open the
file while another's last connection is being closed, DuckDB would refuse it, close the new handle, and so drop the
lock under a checkpoint that is still being written: another process would read the file as it was before, and what was
committed would be lost. So threads share one connection, and open and close it one at a time.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch.db.headers import is_open_here, let_go, open_newest

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

_TURN = threading.RLock()


@dataclass
class _Opened:
    connection: duckdb.DuckDBPyConnection
    alone: bool
    users: int = 0


_FILES: dict[Path, _Opened] = {}


class Opened:
    """A cursor on a file's connection, which is closed with the last of them.

    `alone` is true where the file was not open in this process otherwise: DuckDB's settings are ours to make.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or join who has; raises duckdb.Error where it cannot be opened."""
        self._path = path.absolute()
        with _TURN:
            opened = _FILES.get(self._path) or _Opened(alone=not is_open_here(path), connection=open_newest(path))
            self.alone = opened.alone
            self.cursor = opened.connection.cursor()
            opened.users += 1
            _FILES[self._path] = opened

    def close(self) -> None:
        """Close the cursor, and the file where nobody else in this process works on it."""
        with _TURN:
            self.cursor.close()
            opened = _FILES[self._path]
            opened.users -= 1
            if not opened.users:
                del _FILES[self._path]
                opened.connection.close()
                let_go()


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection to a file that its caller keeps, opened while nobody here closes it."""
    with _TURN:
        return open_newest(path)

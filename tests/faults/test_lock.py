"""DuckDB's lock on the file is what keeps two processes from writing at once; nothing of ours may let it go."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from sqlbatch.store.database import Database

if TYPE_CHECKING:
    from pathlib import Path

_OPEN = """
import duckdb, sys
try:
    duckdb.connect(sys.argv[1]).close()
except duckdb.IOException as error:
    sys.exit("Could not set lock" not in str(error))
sys.exit("another process opened the file while we held it")
"""


def test_a_second_session_of_this_process_keeps_the_lock_of_the_first(tmp_path: Path) -> None:
    """To open and close the file by hand ends every lock that this process has on it: POSIX."""
    path = tmp_path / "a.duckdb"
    with Database(path).session():
        with Database(path).session() as second:
            assert second.sql("SELECT 1") == [(1,)]
        done = subprocess.run([sys.executable, "-c", _OPEN, str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

"""DuckDB's lock on the file is what keeps two processes from writing at once; nothing of ours may let it go."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from sqlbatch.db.database import Database

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

_WRITERS = """
import sys, threading, time
from pathlib import Path
from sqlbatch.db.database import Database

def write(thread):
    for number in range(20):
        # Backoff of different lengths, so that now and then nobody here has the file open.
        time.sleep((thread * 7 + number * 13) % 30 / 1000)
        with db.session(patience=60) as session, session.transaction():
            session.sql(f"INSERT INTO written VALUES ({int(sys.argv[2])}, {thread}, {number})")

db = Database(Path(sys.argv[1]))
threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_a_second_session_of_this_process_keeps_the_lock_of_the_first(tmp_path: Path) -> None:
    """To open and close the file by hand ends every lock that this process has on it: POSIX."""
    path = tmp_path / "a.duckdb"
    with Database(path).session():
        with Database(path).session() as second:
            assert second.sql("SELECT 1") == [(1,)]
        done = subprocess.run([sys.executable, "-c", _OPEN, str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_what_threads_of_several_processes_commit_is_never_lost(tmp_path: Path) -> None:
    """Threads that open the file each for themselves lose one commit in twenty here, by locks that end too early."""
    path = tmp_path / "a.duckdb"
    db = Database(path)
    db.write(lambda session: session.sql("CREATE TABLE written (process INTEGER, thread INTEGER, number INTEGER)"))
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITERS, str(path), str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    assert [writer.communicate()[1] for writer in writers] == ["", ""]
    counted = "SELECT count(*), count(DISTINCT (process, thread, number)) FROM written"
    assert db.read(lambda session: session.sql(counted)) == [(2 * 4 * 20, 2 * 4 * 20)]

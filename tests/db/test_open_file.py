"""What another process commits while a file is being opened is there; and no lock ends with a handle of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sqlbatch.db import open_file
from sqlbatch.db.database import Database

_INSERT = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('INSERT INTO films VALUES (' + sys.argv[2] + ')')"
_CREATE = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('CREATE TABLE films AS SELECT 1 AS id')"
# Kills itself before it closes the file, so that what it committed is in the WAL.
_INSERT_AND_DIE = f"{_INSERT}; import os; os.kill(os.getpid(), 9)".replace(
    "duckdb.connect(sys.argv[1]).execute", "con = duckdb.connect(sys.argv[1]); con.execute"
)


def _elsewhere(script: str, path: Path, *given: str) -> int:
    """Run the script in another process, and return its exit code."""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), *given], capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, -9} or "Could not set lock" in done.stderr, done.stderr
    return done.returncode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "films.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE films(id INTEGER)")
    return path


class _Between:
    """DuckDB's connect; what happens between its reading of the headers and its lock happens just before it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *happens: Any) -> None:
        self.calls, self._connect, self._happens = 0, duckdb.connect, list(happens)
        monkeypatch.setattr(duckdb, "connect", self)

    def __call__(self, path: str) -> duckdb.DuckDBPyConnection:
        self.calls += 1
        if self._happens:
            self._happens.pop(0)()
        return self._connect(path)


def test_a_file_whose_headers_change_while_it_is_opened_is_opened_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    between = _Between(monkeypatch, *(lambda i=i: _elsewhere(_INSERT, path, str(i)) for i in range(3)))
    assert Database(path).read(lambda session: session.sql("FROM films ORDER BY id")) == [(0,), (1,), (2,)]
    assert between.calls == 4


def test_a_wal_that_is_newer_than_the_headers_is_read_with_newer_headers(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile() -> None:
        assert _elsewhere(_INSERT, path, "1") == 0
        assert _elsewhere(_INSERT_AND_DIE, path, "2") == -9
        raise duckdb.IOException("the WAL was created for a newer version of this database")

    between = _Between(monkeypatch, meanwhile)
    assert Database(path).read(lambda session: session.sql("FROM films ORDER BY id")) == [(1,), (2,)]
    assert between.calls == 2


def test_a_file_that_another_process_made_meanwhile_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new.duckdb"
    _Between(monkeypatch, lambda: _elsewhere(_CREATE, path))
    assert Database(path).read(lambda session: session.sql("FROM films")) == [(1,)]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_where_a_file_can_have_no_second_name_duckdb_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    assert Database(tmp_path / "new.duckdb").read(lambda session: session.sql("SELECT 1")) == [(1,)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["new.duckdb"]


def test_a_file_that_is_closed_leaves_no_handle_behind(path: Path) -> None:
    for _ in range(3):
        with Database(path).session() as session:
            session.sql("INSERT INTO films VALUES (1)")
    assert not open_file._HANDLES
    assert str(path) not in [os.path.realpath(entry) for entry in Path("/dev/fd").iterdir()]


@pytest.mark.parametrize("joined", ["before", "meanwhile"])
def test_the_lock_of_a_connection_of_the_users_outlives_our_session(path: Path, joined: str) -> None:
    """Both work on one instance of DuckDB, which has the lock until the last of them is closed."""
    own = duckdb.connect(str(path)) if joined == "before" else None
    with Database(path).session():
        own = own or duckdb.connect(str(path))
    assert _elsewhere(_INSERT, path, "1") == 1, "another process opened the file"
    own.close()
    assert _elsewhere(_INSERT, path, "2") == 0
    assert Database(path).read(lambda session: session.sql("FROM films")) == [(2,)]
    assert not open_file._HANDLES


def test_a_connection_of_the_users_keeps_its_settings(path: Path) -> None:
    with duckdb.connect(str(path)) as own:
        own.execute("SET memory_limit = '3GB'; SET threads = 3")
        asked = "SELECT current_setting('memory_limit'), current_setting('threads'), current_setting('temp_directory')"
        before = own.execute(asked).fetchall()
        Database(path, memory_limit="100MB", threads=1, spool=path.parent).write(
            lambda session: session.sql("SELECT 1")
        )
        assert own.execute(asked).fetchall() == before
    with Database(path, memory_limit="100MB", threads=1).session() as session:
        assert session.sql(asked) != before


def test_a_file_that_we_make_is_opened_by_duckdb_1_5(tmp_path: Path) -> None:
    path = tmp_path / "new.duckdb"
    Database(path).write(lambda session: session.sql("CREATE TABLE films AS SELECT 1 AS id"))
    with duckdb.connect(str(path)) as con:
        con.execute("INSERT INTO films VALUES (2); CHECKPOINT")
        tags = con.execute("SELECT tags['storage_version'] FROM duckdb_databases() WHERE path IS NOT NULL").fetchall()
    assert str(tags[0][0]).startswith("v1.5.0"), tags

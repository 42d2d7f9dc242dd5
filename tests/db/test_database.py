"""The database file: open for moments only, one writer's turn at a time, and untouched by who only looks."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from sqlbatch import clock, options, paths, prepare
from sqlbatch.db import database as opening
from sqlbatch.db.database import Database, scratch_name
from sqlbatch.errors import DatabaseConflict, DatabaseError, DatabaseLocked, InvalidSettings
from sqlbatch.source import Source
from tests.query.support import begin, content, database, enrich, rows

if TYPE_CHECKING:
    from pathlib import Path

    from sqlbatch.db.session import Session
    from tests.conftest import Command


def test_two_writers_conflict_and_the_second_gets_its_turn_again() -> None:
    db = database()
    tries = []

    def work(session: Session) -> list[tuple[int]]:
        tries.append(1)
        if len(tries) == 1:
            session.run("database.planner_lock")
            # Somebody else's turn, not committed yet when ours is: one of the two must be told.
            other = duckdb.connect(str(db.path))
            try:
                other.execute("BEGIN; UPDATE work.sqlbatch.planner_lock SET turns = turns + 10")
            finally:
                other.close()
        session.run("database.planner_lock")
        return session.sql("SELECT turns FROM work.sqlbatch.planner_lock")

    with pytest.raises(duckdb.TransactionException, match="onflict"):
        db.write(work)
    assert db.write(work) == [(1,)]


def test_a_conflict_passes_by_itself() -> None:
    db = database()
    tries = []

    def work(session: Session) -> int:
        tries.append(1)
        if len(tries) < 3:
            with duckdb.connect(str(db.path)) as other:
                # The other's turn is committed after ours began, so ours was taken on old ground.
                session.sql("SELECT turns FROM work.sqlbatch.planner_lock")
                other.execute("UPDATE work.sqlbatch.planner_lock SET turns = turns + 1")
        session.run("database.planner_lock")
        return len(tries)

    assert db.write(work) == 3
    assert rows(db, "SELECT turns FROM work.sqlbatch.planner_lock") == [(3,)]


def test_a_conflict_that_never_passes_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "CONFLICT_TRIES", 2)

    def work(_: Session) -> None:
        raise DatabaseConflict("again")

    with pytest.raises(DatabaseConflict):
        database().write(work)


def test_writers_in_threads_lose_nothing() -> None:
    db = database()
    with db.session():
        pass

    def work() -> None:
        for _ in range(10):
            Database(db.path).write(lambda session: session.run("database.planner_lock"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(db, "SELECT turns FROM work.sqlbatch.planner_lock") == [(40,)]


def test_a_write_that_fails_leaves_nothing() -> None:
    db = database(setup="CREATE TABLE t (x INTEGER)")

    def work(session: Session) -> None:
        session.sql("INSERT INTO t VALUES (1)")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        db.write(work)
    assert rows(db, "FROM t") == []


def test_a_constraint_that_breaks_is_one_line_of_ours() -> None:
    db = database(setup="CREATE TABLE t (x INTEGER NOT NULL)")
    with pytest.raises(DatabaseError) as raised, db.session() as session:
        session.sql("INSERT INTO t VALUES (NULL)")
    assert "\n" not in str(raised.value)
    assert "NOT NULL constraint failed" in str(raised.value)


def test_a_file_that_this_process_holds_read_only_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "LOCK_PATIENCE", 0.1)
    db = database(setup="CREATE TABLE t (x INTEGER)")
    with (
        duckdb.connect(str(db.path), read_only=True),
        pytest.raises(DatabaseLocked, match="open in this process with other settings"),
        db.session(),
    ):
        pass


def test_a_users_connection_is_left_open_and_as_it_was(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "theirs.duckdb")) as con:
        con.execute("CREATE SCHEMA marts; USE marts; CREATE TABLE films AS SELECT 'Alien' AS title")
        con.execute("SET TimeZone = 'Asia/Tokyo'; SET memory_limit = '2GB'")
        db = Database(connection=con)
        job_id = begin(db, "SELECT title FROM films", into="main.tags")
        assert job_id == 1
        settings = con.execute(
            "SELECT current_schema(), current_setting('memory_limit'), current_setting('preserve_insertion_order')"
        ).fetchall()
        assert settings == [("marts", "1.8 GiB", True)]
        assert con.execute("SELECT title FROM films").fetchall() == [("Alien",)]


def test_the_database_is_closed_between_two_looks() -> None:
    db = database()
    begin(db, "SELECT 1 AS a")
    # DuckDB refuses two configurations of one file in one process, so this fails while anything of ours is open.
    with duckdb.connect(str(db.path), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM sqlbatch.jobs").fetchall() == [(1,)]


@pytest.mark.parametrize("state", ["theirs alone", "with a job", "with an open job"])
def test_a_plan_leaves_every_byte_of_the_file(state: str, here: Command, tmp_path: Path) -> None:
    db = database("enriched.duckdb", "CREATE TABLE films AS SELECT unnest(['Alien', 'Brazil']) AS title")
    query = "SELECT title FROM films"
    if state != "theirs alone":
        enrich(db, query, content, into="tags")
    if state == "with an open job":
        begin(db, query, into="others", instructions="Say it twice.")
    before = (tmp_path / "enriched.duckdb").read_bytes()
    for given in ([], ["--json"], ["--fresh"], ["--into", "tags"], ["--into", "films", "--replace"]):
        assert here("plan", query, "--provider", "local", "--instructions", "Say it again.", *given).code == 0
        assert (tmp_path / "enriched.duckdb").read_bytes() == before
    assert not (tmp_path / "enriched.duckdb.wal").exists()


def test_the_local_home_is_beside_the_file_and_a_memory_database_has_one_of_its_own(tmp_path: Path) -> None:
    assert paths.state_dir(Database(tmp_path / "work.duckdb")) == tmp_path / "work.duckdb.sqlbatch"
    with duckdb.connect() as con:
        assert str(tmp_path) not in str(paths.state_dir(Database(connection=con)))


def test_the_clock_runs_faster_where_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock.speed() == 1.0
    assert clock.after(60) > clock.now()
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "1000")
    assert clock.speed() == 1000.0
    began = clock.now()
    clock.sleep(1)
    assert (clock.now() - began).total_seconds() >= 1
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "-1")
    with pytest.raises(InvalidSettings, match="SQLBATCH_CLOCK_SPEED=-1"):
        clock.now()


def test_a_file_that_another_process_is_just_closing_is_opened_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = Database(tmp_path / "films.duckdb")
    with db.session():
        pass
    stale = "WAL was created for an older version of this database. File checkpoint iteration: 40, WAL: 39"
    real, told = duckdb.connect, [duckdb.IOException(stale)]

    def connect(path: str) -> duckdb.DuckDBPyConnection:
        if told:
            raise told.pop()
        return real(path)

    monkeypatch.setattr(duckdb, "connect", connect)
    assert db.read(lambda session: session.sql("SELECT 1")) == [(1,)]


def test_what_does_not_fit_in_memory_is_spilled_beside_the_scratch_file_also_where_there_is_no_database(
    tmp_path: Path,
) -> None:
    folder = paths.scratch_folder(Database(tmp_path / "new.duckdb"))
    db = Database(tmp_path / "new.duckdb", memory_limit="50MB", threads=1, spool=tmp_path / "none")
    with db.session(migrate=False, scratch=folder / "scratch.duckdb") as session:
        session.sql("CREATE TEMP TABLE wide AS SELECT repeat(i::VARCHAR, 100) AS text FROM range(200000) r(i)")
        assert [path.name for path in folder.glob("duckdb_temp*")]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_scratch_file_is_had_again_though_another_transaction_of_the_process_sees_it(tmp_path: Path) -> None:
    """Enrichments in threads: DuckDB attaches no file anew that somebody who began before still sees."""
    path = tmp_path / "a.duckdb"
    db = Database(path)
    folder = paths.scratch_folder(db)
    scratch = folder / "scratch.duckdb"
    name = scratch_name(scratch)
    with Database(path).session() as other:
        with db.session(scratch=scratch) as session:
            session.sql(f"CREATE TABLE {name}.main.kept AS SELECT 1 AS a")
            other.sql("BEGIN")
            assert other.sql(f"FROM {name}.main.kept") == [(1,)]
        with db.session(scratch=scratch) as session:
            assert session.sql(f"FROM {name}.main.kept") == [(1,)]
        other.sql("ROLLBACK")
        db.forget(scratch)
        assert name.strip('"') not in str(other.sql("SELECT database_name FROM duckdb_databases()"))


def test_a_connection_of_the_users_keeps_no_scratch_file() -> None:
    con = duckdb.connect()
    before = con.execute("SELECT database_name FROM duckdb_databases()").fetchall()
    db = Database(connection=con)
    asked = options.enrich_options(Source("SELECT 1 AS a", {}, None), {"provider": "local", "instructions": "x"})
    with prepare.prepared(db, asked.enrichment, asked.provider, "t") as ask:
        assert con.execute("SELECT database_name FROM duckdb_databases()").fetchall() != before
        prepare.start(db, ask)
    assert con.execute("SELECT database_name FROM duckdb_databases()").fetchall() == before
    con.close()


def test_threads_that_meet_on_a_new_file_all_find_its_schema(tmp_path: Path) -> None:
    for number in range(5):
        path, problems = tmp_path / f"{number}.duckdb", list[BaseException]()
        together = threading.Barrier(6)

        def look(path: Path = path, together: threading.Barrier = together, problems: Any = problems) -> None:
            together.wait()
            try:
                assert Database(path).read(lambda session: session.has_schema())
            except BaseException as error:  # noqa: BLE001 (told by the thread that asserts)
                problems.append(error)

        threads = [threading.Thread(target=look) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []


def test_a_kept_connection_waits_for_a_lock_as_a_session_does(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Database(path).session():
        pass
    holding = "import duckdb, sys, time; con = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep(0.5)"
    with subprocess.Popen([sys.executable, "-c", holding, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with Database(path).connect() as con:
            assert con.execute("SELECT 1").fetchall() == [(1,)]


def test_threads_of_a_process_share_one_connection_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To open a file while this process closes it drops its lock, and another process may read what is not whole."""
    opened: list[object] = []
    connect = duckdb.connect

    def counted(*given: Any) -> duckdb.DuckDBPyConnection:
        opened.append(given)
        return connect(*given)

    path = tmp_path / "a.duckdb"
    with Database(path).session():
        pass
    monkeypatch.setattr(duckdb, "connect", counted)
    with Database(path).session() as first:
        inside = threading.Thread(target=lambda: Database(path).read(lambda session: session.sql("SELECT 1")))
        inside.start()
        inside.join()
        assert first.sql("SELECT 1") == [(1,)]
        assert len(opened) == 1
    with Database(path).session():
        assert len(opened) == 2

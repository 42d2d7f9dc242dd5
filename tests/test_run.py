"""Where a run keeps its files, how long it pauses, and what it does when the database is not to be had."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from sqlbatch import connection, leases, paths, prepare, run
from sqlbatch.batches.events import Loaded, Packed, Progress, Waiting
from sqlbatch.batches.providers import KNOWN, Provider
from sqlbatch.cli import main
from sqlbatch.clock import Backoff
from sqlbatch.db.database import Database
from sqlbatch.display.progress import Counts
from sqlbatch.errors import DatabaseLocked, InvalidSettings
from sqlbatch.query.enrichment import CHAT, Enrichment


def begun(path: Path, rows: int = 3) -> int:
    """Begin a job at the local provider."""
    query = f"SELECT 'row ' || n AS text FROM range({rows}) r(n)"
    enrichment = Enrichment(query, "", None, "Repeat.", ("text",), CHAT, "offline", (), "local", "local", None)
    with prepare.prepared(Database(path), enrichment, KNOWN["local"], "answers") as prepared:
        return prepare.start(Database(path), prepared)


def test_the_folder_lies_beside_the_database(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    assert paths.state_dir(Database(path)) == tmp_path / "a.duckdb.sqlbatch"
    with duckdb.connect(str(path)) as con:
        assert paths.state_dir(Database(connection=con)) == tmp_path / "a.duckdb.sqlbatch"


def test_what_is_in_memory_has_one_private_folder_for_the_process() -> None:
    with duckdb.connect() as one, duckdb.connect() as other:
        folder = paths.state_dir(Database(connection=one))
        assert folder == paths.state_dir(Database(connection=other))
        assert folder.stat().st_mode & 0o777 == 0o700
        assert paths.file_of(Database(connection=one)) is None


def test_a_quote_alone_leaves_nothing_behind(tmp_path: Path) -> None:
    enrichment = Enrichment(
        "SELECT 'x' AS text", "", None, "Repeat.", ("text",), CHAT, "offline", (), "local", "local", None
    )
    with prepare.prepared(Database(tmp_path / "a.duckdb"), enrichment, KNOWN["local"], "answers") as prepared:
        assert prepared.scratch.exists()
        assert prepared.scratch.parent.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []


def test_a_lock_at_the_very_beginning_of_wait_is_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "60")
    job_id = begun(tmp_path / "a.duckdb")
    read, locked = Database.read, [3]

    def locking(database: Database, work: object) -> object:
        if locked[0]:
            locked[0] -= 1
            raise DatabaseLocked("a.duckdb is locked by process 4711", 4711)
        return read(database, work)  # type: ignore[arg-type]

    monkeypatch.setattr(Database, "read", locking)
    events = list(run.run_job(Database(tmp_path / "a.duckdb"), job_id))
    assert [event.reason for event in events if isinstance(event, Waiting)] == [
        "a.duckdb is locked by process 4711"
    ] * 3
    monkeypatch.setattr(Database, "read", read)
    with Database(tmp_path / "a.duckdb").session() as session:
        assert session.sql("SELECT count(*) FROM answers WHERE ai_status = 'answered'") == [(3,)]


def test_a_step_of_its_own_tells_of_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = begun(tmp_path / "a.duckdb")

    def locked(*_: object) -> None:
        raise DatabaseLocked("a.duckdb is locked by process 4711", 4711)

    monkeypatch.setattr(Database, "read", locked)
    with pytest.raises(DatabaseLocked, match="4711"):
        list(run.run_job(Database(tmp_path / "a.duckdb"), job_id, once=True))


def test_what_is_sent_again_is_counted_beside_what_is_done() -> None:
    job = SimpleNamespace(requests=950, max_attempts=3, answered=0, failed=0)
    counts = Counts(job)  # type: ignore[arg-type]
    at_work = Progress(1, 44, 0, 0, (("in_progress", 1),))
    counts.take(Loaded("ours", "theirs", "completed", answered=900, failed=6, retryable=44, released=0))
    counts.take(Packed(1, 44))
    assert counts.in_words(at_work) == "906/950 done, 44 retrying (attempt 2 of 3)"
    counts.take(Loaded("ours", "theirs", "completed", answered=40, failed=0, retryable=4, released=0))
    counts.take(Packed(1, 4))
    assert counts.in_words(Progress(0, 0, 0, 0, ())) == "946/950 done, 4 retrying (attempt 3 of 3)"


def test_pauses_grow_to_the_slowest_and_begin_anew() -> None:
    pauses = Backoff(2.0, 60.0, None)
    seen = [pauses.next() for _ in range(12)]
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (2.0, 60.0)
    assert pauses.longer(300.0) == 300.0
    pauses.restart()
    assert pauses.next() == 2.0
    assert [Backoff(2.0, 60.0, 7.0).next() for _ in range(3)] == [7.0] * 3


def test_a_batch_is_looked_at_at_once_after_it_is_made_and_then_at_growing_pauses() -> None:
    pauses = Backoff(2.0, 60.0, None)
    assert [pauses.early(), pauses.next(), pauses.next()] == [0.1, 2.0, 3.2]
    assert Backoff(2.0, 60.0, 7.0).early() == 7.0


def test_a_key_is_asked_for_only_where_one_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidSettings, match="--provider local"):
        connection.key_of(KNOWN["openai"])
    assert connection.key_of(Provider("openai", "http://127.0.0.1:8000/v1", "OPENAI_API_KEY")) is None
    assert connection.key_of(KNOWN["local"]) is None
    monkeypatch.setenv("OPENAI_API_KEY", " sk-test\n")
    assert connection.key_of(KNOWN["openai"]) == "sk-test"


def test_a_run_of_this_process_is_gone_once_it_and_its_transfers_have_ended() -> None:
    name = leases.new_owner()
    assert not leases.is_gone(name)
    with leases.hold_leases(name):
        with leases.hold_leases(name):
            pass
        assert not leases.is_gone(name)
    assert leases.is_gone(name)
    with leases.hold_leases(name):
        assert not leases.is_gone(name)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell")
def test_a_process_that_was_killed_and_that_nobody_has_asked_for_is_gone() -> None:
    """As in a container whose first process reaps no others."""
    killed = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    name = f"{socket.gethostname()}:{killed.pid}:00000000"
    assert not leases.is_gone(name)
    killed.kill()
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)
    assert leases.is_gone(name)
    killed.wait()


def test_an_owner_is_gone_only_where_that_can_be_known() -> None:
    assert not leases.is_gone(leases.new_owner())
    here = os.uname().nodename
    assert not leases.is_gone(f"another-{here}:1:00000000")
    assert not leases.is_gone("strange")
    assert not leases.is_gone(f"{here}:1:00000000")
    assert leases.is_gone(f"{here}:{2**22 + 1}:00000000")


def test_an_interrupt_that_the_command_line_returns_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typer raises its exit code for an interrupt, or returns it: both are told, and end with ours."""
    monkeypatch.setattr("sqlbatch.cli.app._application", lambda: lambda *_, **__: 130)
    assert main(["jobs"]) == 4
    assert "interrupted; nothing was started" in capsys.readouterr().err

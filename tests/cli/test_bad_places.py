"""Databases, files, keys and servers that cannot be used: told in one line, nothing sent, nothing changed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from sqlbatch import run
from sqlbatch.db import database as opening
from sqlbatch.errors import DatabaseLocked

from .conftest import Unchanged

if TYPE_CHECKING:
    from tests.conftest import Command, Refusing

MOVIES = "SELECT title FROM movies"
FREE = ("--provider", "local", "--instructions", "Say it.")
PAID = ("--model", "gpt-6-luna", "--instructions", "Say it.")
SECRET = "sk-secret-9f8e7d6c"


@pytest.mark.parametrize(
    "command", [["plan", MOVIES, *FREE], ["enrich", MOVIES, *FREE], ["query", "SELECT 1"], ["jobs"]]
)
def test_a_database_that_another_process_holds_is_refused_with_its_process_id(
    command: list[str], here: Command, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "LOCK_PATIENCE", 0.2)
    holding = "import duckdb, sys; con = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(theirs)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        before = Unchanged(tmp_path)
        ran = here(*command)
        before.check()
        holder.communicate("")
    assert ran.code == 1
    assert f"enriched.duckdb is locked by process {holder.pid}" in ran.error


def test_a_lock_that_comes_once_a_job_is_begun_is_told_with_how_to_go_on(
    here: Command, theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object, **__: object) -> None:
        raise DatabaseLocked(f"{theirs} is locked by process 7; close it there, or wait until it is done", 7)

    with monkeypatch.context() as patch:
        patch.setattr(run, "run_job", locked)
        ran = here("enrich", MOVIES, *FREE, "--no-wait")
    assert ran.code == 1
    assert ran.error.endswith("or wait until it is done; sqlbatch wait 1 continues job 1")
    assert here("wait", "1").code == 0


def test_an_interrupted_sync_steps_no_further_job(here: Command, theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stepped: list[int] = []

    def interrupted(_: object, job_id: int, **__: object) -> None:
        stepped.append(job_id)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_job", interrupted)
    for target in ("one", "two"):
        assert here("enrich", MOVIES, *FREE, "--no-wait", "--into", target).code == 4
    ran = here("sync")
    assert ran.code == 4
    assert "continue with: sqlbatch wait 1" in ran.err
    assert stepped == [1, 2, 1]
    assert theirs.exists()


@pytest.mark.parametrize(
    "command", [["plan", "SELECT 1 a", *FREE], ["enrich", "SELECT 1 a", *FREE], ["query", "SELECT 1"]]
)
@pytest.mark.parametrize("content", [b"title,overview\nAlien,A crew wakes.\n" * 1000, b"x"])
@pytest.mark.usefixtures("nothing_sent")
def test_a_file_that_is_no_database_is_left_alone(
    content: bytes, command: list[str], here: Command, tmp_path: Path
) -> None:
    (tmp_path / "films.csv").write_bytes(content)
    before = Unchanged(tmp_path)
    ran = here(*command, "--db", "films.csv")
    assert ran.code == 1
    assert "films.csv is not a DuckDB database" in ran.error
    before.check()


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="it needs a folder that nobody can write to")
@pytest.mark.parametrize("command", [["enrich", "SELECT 1 a", *FREE], ["query", "CREATE TABLE t (x INT)"]])
@pytest.mark.usefixtures("nothing_sent")
def test_a_folder_that_cannot_be_written_is_told(command: list[str], here: Command, tmp_path: Path) -> None:
    ran = here(*command, "--db", "/proc/enriched.duckdb")
    assert ran.code == 1
    assert "/proc/enriched.duckdb" in ran.error
    assert "Traceback" not in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
@pytest.mark.usefixtures("nothing_sent")
def test_a_read_only_folder_is_told(here: Command, tmp_path: Path) -> None:
    folder = tmp_path / "fixed"
    folder.mkdir(mode=0o500)
    ran = here("enrich", "SELECT 1 a", *FREE, "--db", "fixed/enriched.duckdb")
    assert ran.code == 1
    assert "permission denied" in ran.error.casefold()


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="it needs a folder that nobody can write to")
@pytest.mark.usefixtures("nothing_sent")
def test_a_plan_writes_nothing_even_where_it_could_not(here: Command) -> None:
    assert here("plan", "SELECT 1 a", *FREE, "--db", "/proc/enriched.duckdb").code == 0


def test_a_wrong_key_is_refused_once_and_never_shown(
    here: Command, theirs: Path, tmp_path: Path, refusing: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    before = Unchanged(tmp_path)
    ran = here("enrich", MOVIES, *PAID, "--base-url", refusing.base_url, "--yes")
    assert ran.code == 1
    assert " refused the API key (401): Incorrect API key provided" in ran.error
    assert [(method, path.partition("?")[0]) for method, path, _ in refusing.asked] == [("GET", "/v1/batches")]
    assert refusing.asked[0][2] == f"Bearer {SECRET}"
    assert "sk-" not in ran.err + ran.out
    before.check()


def test_a_key_does_not_go_where_only_the_database_says(
    here: Command, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's database may say that a job is at their own server."""
    assert here("enrich", MOVIES, *FREE, "--into", "said").code == 0
    url = "http://192.0.2.1:9/v1"
    with duckdb.connect(str(theirs)) as con:
        con.execute("UPDATE sqlbatch.jobs SET finished_at = NULL, provider = 'openai', base_url = $1", [url])
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    for command in ("wait", "sync"):
        ran = here(command)
        assert ran.code == 1
        told = (
            f"its job is at {url}, which nothing else here names: if OPENAI_API_KEY may go there, set SQLBATCH_BASE_URL"
        )
        assert told in " ".join(ran.err.split()), command
    assert "sk-" not in ran.err + ran.out


def test_no_key_is_in_any_message_traceback_file_or_table(
    cli: Command, here: Command, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusing: Refusing
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    ran = cli("--debug", "enrich", MOVIES, *PAID, "--base-url", refusing.base_url, "--yes")
    assert ran.code == 1
    assert "Traceback" in ran.err
    assert SECRET not in ran.err + ran.out
    assert refusing.asked
    free = here("enrich", MOVIES, *FREE)
    assert free.code == 0
    assert SECRET not in free.err + free.out
    assert [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()] == []


def test_a_server_that_is_not_there_is_told_within_seconds(here: Command, theirs: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        before = Unchanged(tmp_path)
        began = time.monotonic()
        ran = here("enrich", MOVIES, *PAID, "--base-url", url, "--yes")
    assert ran.code == 1
    assert " cannot be reached" in ran.error
    assert time.monotonic() - began < 20
    before.check()


def test_money_is_not_spent_unasked_where_nobody_can_be_asked(
    here: Command, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlbatch import connection  # noqa: PLC0415 (only here is its check in the way)

    monkeypatch.setattr(connection, "check_provider", lambda *_: None)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    before = Unchanged(tmp_path)
    ran = here("--quiet", "enrich", MOVIES, "--model", "of-unknown-price", "--instructions", "Say it.")
    assert ran.code == 1
    assert "add --yes" in ran.error
    # Whoever is asked is shown what for, whatever else shall be quiet.
    assert "to send" in ran.err
    before.check()


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://127.0.0.1/v1", "http://", "https://user:pass@127.0.0.1/v1", "http://[::1"]
)
@pytest.mark.usefixtures("nothing_sent")
def test_a_base_url_that_is_none_is_refused(url: str, here: Command) -> None:
    ran = here("plan", "SELECT 1 a", *PAID, "--base-url", url)
    assert ran.code == 1
    assert "--base-url" in ran.error
    assert "pass@" not in ran.err


@pytest.mark.one_of(2)
@pytest.mark.parametrize("name", ["sqlbatch", "it's a.b"])
def test_a_database_file_may_have_the_name_of_our_schema_or_any_other(name: str, here: Command) -> None:
    db = ("--db", f"{name}.duckdb")
    assert here("enrich", "SELECT 'Alien' AS title", *FREE, "--into", "tags", *db).code == 0
    assert here("query", "SELECT title FROM tags", "--format", "csv", *db).out == "title\nAlien\n"
    assert here("show", "tags", *db).code == 0
    assert here("sync", *db).code == 0
    assert "to send        nothing" in here("plan", "SELECT 'Alien' AS title", *FREE, "--into", "tags", *db).out


@pytest.mark.parametrize("command", ["jobs", "show", "wait", "sync", "load"])
def test_a_command_about_jobs_makes_no_database(command: str, here: Command, tmp_path: Path) -> None:
    ran = here(command)
    assert ran.code == 1
    assert ran.error.startswith("there is no database enriched.duckdb yet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["jobs", "sync"])
def test_a_database_without_a_job_is_fine(command: str, here: Command, theirs: Path) -> None:
    assert here(command).code == 0


@pytest.mark.parametrize("command", ["show", "wait", "load"])
@pytest.mark.parametrize(
    ("job", "says"), [("7", "there is no job 7"), ("tags", "no job has the target tags"), ("²", "²")]
)
def test_a_job_that_is_not_there_is_told(job: str, says: str, command: str, here: Command, theirs: Path) -> None:
    ran = here(command, job)
    assert ran.code == 1
    assert says in ran.error


@pytest.mark.usefixtures("nothing_sent")
def test_a_folder_is_no_file(here: Command, tmp_path: Path) -> None:
    (tmp_path / "films.sql").mkdir()
    ran = here("plan", "films.sql", *FREE)
    assert (ran.code, ran.error) == (1, "films.sql cannot be read: Is a directory")


@pytest.mark.parametrize("argument", ["films.sql", "-"])
@pytest.mark.usefixtures("nothing_sent")
def test_another_encoding_is_told(argument: str, here: Command, tmp_path: Path) -> None:
    content = "SELECT 'größe' AS a".encode("latin-1")
    (tmp_path / "films.sql").write_bytes(content)
    ran = here("plan", argument, *FREE, stdin=content)
    assert ran.code == 1
    assert "is not UTF-8 text" in ran.error


@pytest.mark.usefixtures("nothing_sent")
def test_a_byte_order_mark_is_no_matter(here: Command, tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf/* sqlbatch\ninstructions = 'x' */ SELECT 1 a"
    (tmp_path / "Films.SQL").write_bytes(content)
    for argument in ("Films.SQL", "-"):
        assert here("plan", argument, "--provider", "local", stdin=content).code == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("model = ", "the options in its first comment are not TOML"),
        ("\n\nreturns = a INT", "line 4"),
        ("instruction = 'x'", "unknown option instruction in its first comment; did you mean instructions?"),
        ("db = 'x.duckdb'", "unknown option db"),
        ("yes = true", "unknown option yes in its first comment; known are: "),
        ("input = 3", "option input must be a text, or a list of texts"),
        ("input = [1]", "option input must be a text, or a list of texts"),
        ("limit = true", "option limit must be a whole number"),
        ("limit = '3'", "option limit must be a whole number"),
        ("model = 3", "option model must be a text"),
        ("param = 'x'", "option param must be a table"),
        ("param = { stream = true }", "sqlbatch sets stream itself"),
        ("param = { stop = 2024-01-01 }", "JSON cannot write 2024-01-01"),
        ("param = { top_p = inf }", "JSON cannot write inf"),
        ("into = ''", "--into is empty"),
        ("instructions = '@missing.txt'", "@missing.txt: the file cannot be read"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("nothing_sent")
def test_a_wrong_first_comment_is_told(options: str, says: str, here: Command, tmp_path: Path) -> None:
    (tmp_path / "films.sql").write_text(f"/* sqlbatch\n{options}\n*/\nSELECT 1 AS a")
    before = Unchanged(tmp_path)
    ran = here("enrich", "films.sql", "--provider", "local")
    assert ran.code == 1
    assert says in ran.error
    before.check()


@pytest.mark.usefixtures("nothing_sent")
def test_a_first_comment_without_an_end_is_told(here: Command, tmp_path: Path) -> None:
    (tmp_path / "films.sql").write_text("/* sqlbatch\nmodel = 'x'\nSELECT 1 AS a")
    assert "has no end" in here("plan", "films.sql", *FREE).error


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"model = ", "sqlbatch.toml is not TOML"),
        (b"modle = 'x'", "sqlbatch.toml, line 1: unknown option modle; did you mean model?"),
        (b"zzz = 'x'", "known are: attach, budget, db"),
        (b"model = 3", "sqlbatch.toml, line 1: model must be a text"),
        (b"max_attempts = true", "sqlbatch.toml, line 1: max_attempts must be a whole number"),
        (b"db = '\xff'", "sqlbatch.toml cannot be read"),
    ],
)
@pytest.mark.usefixtures("nothing_sent")
def test_a_wrong_sqlbatch_toml_is_told(content: bytes, says: str, here: Command, tmp_path: Path) -> None:
    (tmp_path / "sqlbatch.toml").write_bytes(content)
    before = Unchanged(tmp_path)
    ran = here("enrich", "SELECT 1 AS a", *PAID)
    assert ran.code == 1
    assert says in ran.error
    before.check()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SQLBATCH_MAX_ATTEMPTS", "many"),
        ("SQLBATCH_POLL", "soon"),
        ("SQLBATCH_POLL", "0"),
        ("SQLBATCH_POLL", "nan"),
        ("SQLBATCH_CLOCK_SPEED", "fast"),
        ("SQLBATCH_CLOCK_SPEED", "0"),
        ("SQLBATCH_CLOCK_SPEED", "inf"),
    ],
)
@pytest.mark.usefixtures("nothing_sent")
def test_a_wrong_variable_is_told_before_anything_is_made(
    name: str, value: str, here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    ran = here("enrich", "SELECT 1 AS a", *FREE)
    assert ran.code in {1, 2}
    assert value in ran.error
    assert list(tmp_path.iterdir()) == []


def test_what_nobody_expected_is_one_line_too(here: Command, monkeypatch: pytest.MonkeyPatch, theirs: Path) -> None:
    from sqlbatch import prepare  # noqa: PLC0415 (only here it is broken)

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("one\ntwo")

    monkeypatch.setattr(prepare, "prepared", broken)
    ran = here("plan", MOVIES, *FREE)
    assert ran.code == 1
    assert ran.error.startswith("ZeroDivisionError: one two (")
    with pytest.raises(ZeroDivisionError):
        here("--debug", "plan", MOVIES, *FREE)


def test_a_database_of_a_newer_sqlbatch_is_refused_by_name(here: Command, theirs: Path) -> None:
    assert here("enrich", "SELECT 1 AS a", *FREE).code == 0
    with duckdb.connect(str(theirs)) as con:
        con.execute("INSERT INTO enriched.sqlbatch.migrations VALUES (99, 'later', now()::TIMESTAMP)")
    for command in (["plan", "SELECT 1 AS a", *FREE], ["jobs"], ["sync"], ["show"], ["query", "SELECT 1"]):
        ran = here(*command)
        assert ran.code == 1
        assert "enriched.duckdb: its schema sqlbatch has version 99" in ran.error
        assert "upgrade sqlbatch" in ran.error

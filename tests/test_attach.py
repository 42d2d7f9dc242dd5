"""Databases that a query reads besides: attached while it is compiled and no longer; their passwords are never told."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb
import pytest

from sqlbatch.batches import providers

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Command

ASK = ("--provider", "local", "--instructions", "Repeat.", "--into", "told", "--yes")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Make another database with films."""
    with duckdb.connect(str(tmp_path / "crm.duckdb")) as con:
        con.execute("CREATE TABLE films AS SELECT 'film ' || i AS title FROM range(5) t(i)")
    return tmp_path / "crm.duckdb"


def test_a_job_of_several_batches_reads_an_attached_database(
    here: Command, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(providers.KNOWN, "local", replace(providers.KNOWN["local"], max_requests=2))
    ran = here("enrich", "FROM crm.films", "--attach", str(source), *ASK)
    assert ran.code == 0, ran.err
    with duckdb.connect("enriched.duckdb") as con:
        assert con.execute("SELECT count(*) FROM sqlbatch.batches").fetchall() == [(3,)]
        assert con.execute("SELECT count(*) FROM told WHERE ai_status = 'answered'").fetchall() == [(5,)]


def test_a_source_is_attached_only_while_the_query_is_compiled(here: Command, source: Path) -> None:
    ran = here("enrich", "FROM crm.films", "--attach", str(source), "-v", *ASK)
    assert ran.code == 0, ran.err
    assert ran.err.count("attach crm: ATTACH") == 1


@pytest.mark.parametrize("place", ["toml", "header", "variable"])
def test_a_source_can_be_named_in_a_file(
    here: Command, source: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "asks").mkdir()
    header = 'attach = "../crm.duckdb"' if place == "header" else ""
    (tmp_path / "asks" / "films.sql").write_text(f"/* sqlbatch\n{header}\n*/ FROM crm.films")
    if place == "toml":
        (tmp_path / "sqlbatch.toml").write_text('attach = ["crm.duckdb"]')
    if place == "variable":
        monkeypatch.setenv("SQLBATCH_ATTACH", str(source))
    (tmp_path / "elsewhere").mkdir()
    with contextlib.chdir(tmp_path / "elsewhere"):
        ran = here("enrich", str(tmp_path / "asks" / "films.sql"), *ASK[:-2], "films")
        assert ran.code == 0, ran.err
        assert here("query", "SELECT count(*) FROM films").out.endswith("\n5\n")


def test_a_sqlite_file_is_read_as_it_is(here: Command, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db")) as con, con:
        con.execute("CREATE TABLE films AS SELECT 'Heat' AS title")
    ran = here("plan", "FROM app.films", "--attach", "app.db", *ASK[:-1])
    if "Failed to download extension" in ran.err or "sqlite" in ran.err:
        pytest.skip("DuckDB's sqlite extension cannot be had here")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    ("attach", "query"),
    [
        ("gone/password=hunter2 AS theirs", "FROM theirs.films"),
        ("postgres:host=127.0.0.1 port=1 password=hunter2 AS theirs", "FROM theirs.films"),
        ("mysql:password=hunter2", "FROM theirs.films"),
        (None, "FROM postgres_scan('host=127.0.0.1 port=1 password=hunter2', 'public', 'films')"),
        (None, "SELECT * FROM films, read_csv('https://ann:hunter2@127.0.0.1:1/x.csv')"),
        (None, "SELECT nothing FROM 'host=x password=hunter2'"),
    ],
)
def test_a_password_is_in_no_error(here: Command, attach: str | None, query: str) -> None:
    for command in ("plan", "query"):
        more = ASK[:-1] if command == "plan" else ()
        ran = here(command, query, *(("--attach", attach) if attach else ()), *more, "-v")
        assert ran.code == 1
        assert "hunter2" not in ran.err
    assert attach is None or "theirs" in ran.err or "AS source" in ran.err


def test_a_password_is_not_stored(here: Command) -> None:
    query = "SELECT 'a' AS title WHERE 'host=x password=hunter2 dbname=y' <> ''"
    assert here("enrich", query, *ASK).code == 0
    ran = here("show")
    assert "password=…" in ran.out
    assert "hunter2" not in ran.out + here("show", "--json").out
    assert "hunter2" not in here("query", "FROM sqlbatch.jobs", "--format", "csv").out
    with duckdb.connect("enriched.duckdb") as con:
        con.execute("UPDATE sqlbatch.jobs SET query = $query", {"query": query})
    old = here("show")
    assert "password=…" in old.out
    assert "hunter2" not in old.out + here("show", "--json").out + here("jobs", "--json").out
    assert here("enrich", query, *ASK).code == 0

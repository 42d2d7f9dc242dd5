"""The schema: the migrations make exactly `schema.sql`, in any file, under any name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from sqlbatch.db import jobs
from sqlbatch.db.database import Database
from sqlbatch.db.schema import bring_up_to_date, migrations
from sqlbatch.errors import DatabaseError
from sqlbatch.named_sql import read_sql
from sqlbatch.trace import masked
from tests.query.support import answer, begin, content, database, enrich

if TYPE_CHECKING:
    from pathlib import Path

VIEWS = ("job_status", "in_flight", "counted", "settled", "due", "responses", "failures", "costs", "audit")


def test_the_migrations_give_exactly_the_schema() -> None:
    migrated, written = duckdb.connect(), duckdb.connect()
    for con, texts in (
        (migrated, [read_sql(f"migrations/{name}") for _, name in migrations()]),
        (written, [read_sql("schema.sql")]),
    ):
        con.execute("CREATE SCHEMA sqlbatch; USE memory.sqlbatch")
        for text in texts:
            con.execute(text)
    assert _described(migrated) == _described(written)
    assert {name for kind, name, *_ in _described(written) if kind == "view"} >= set(VIEWS)
    migrated.close()
    written.close()


def test_migrations_are_numbered_one_after_the_other() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))
    assert all(re.fullmatch(r"\d{4}_[a-z_]+\.sql", name) for _, name in migrations())


def test_a_database_is_migrated_once_and_says_so(tmp_path: Path) -> None:
    for _ in range(2):
        with Database(tmp_path / "work.duckdb").session() as session:
            assert session.has_schema()
            noted = session.sql('SELECT version, name FROM "work".sqlbatch.migrations ORDER BY version')
            assert noted == migrations()
            # Whoever opens the file finds their own schema, not ours.
            assert session.sql("SELECT current_schema()") == [("main",)]


def test_a_schema_is_in_the_file_itself_once_it_is_committed(tmp_path: Path) -> None:
    """A process that is killed right then leaves no WAL that alters tables: DuckDB 1.5 opens no file beside one."""
    path = tmp_path / "work.duckdb"
    duckdb.connect(str(path)).close()
    with Database(path).session(migrate=False) as session:
        before = session.sql("SELECT current_setting('checkpoint_threshold')")
        bring_up_to_date(session, "work.duckdb")
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
        assert session.sql("SELECT current_setting('checkpoint_threshold')") == before
        assert session.has_schema()


SECRET = "hunter2"


@pytest.mark.parametrize(
    "query",
    [
        "FROM postgres_scan('host=x password=hunter2 user=u', 'films', 't')",
        "FROM postgres_query('dbname=a PASSWORD=''hunter2 x'' host=y', 'SELECT ''b''')",
        "FROM read_csv('https://u:hunter2@h/x.csv?sig=hunter2&x=1&key=hunter2')",
        "FROM f(password := 'hunter2', api_key => 'hunter2''s', x := 3)",
        "SELECT 'it''s' AS a, token FROM t WHERE token = 3 AND password = 'x'",
        "SELECT 'a' 'b' -- it's a comment",
    ],
)
def test_passwords_that_old_jobs_have_stored_are_masked_in_place(query: str, tmp_path: Path) -> None:
    path = tmp_path / "old.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE SCHEMA sqlbatch; USE old.sqlbatch")
        for number, name in migrations()[:18]:
            con.execute(read_sql(f"migrations/{name}"))
            con.execute("INSERT INTO migrations VALUES (?, ?, now()::TIMESTAMP)", [number, name])
        con.execute(
            "INSERT INTO jobs (target, query, enrichment, provider, base_url, rows, skipped, requests, reused, bytes, "
            "tokens, max_attempts, replacing, created_at) SELECT 't', $1, json_object('query', $1, 'model', 'm'), 'p', "
            "'u', 1, 0, 1, 0, 1, 1, 3, false, now()::TIMESTAMP",
            [query],
        )
        con.execute("INSERT INTO ai_sources VALUES (1, 1, 'films', ?, 1)", [query])
    with Database(path).session() as session:
        stored = session.sql("SELECT query, enrichment->>'query', enrichment->>'model' FROM sqlbatch.jobs")
        sources = session.sql("SELECT query FROM sqlbatch.ai_sources")
    assert stored == [(masked(query, sql=True), masked(query, sql=True), "m")]
    assert sources == [(masked(query, sql=True),)]
    assert SECRET not in str(stored + sources)


def test_a_newer_schema_is_refused_by_name(tmp_path: Path) -> None:
    db = Database(tmp_path / "work.duckdb")
    with db.session() as session:
        session.sql("INSERT INTO work.sqlbatch.migrations VALUES (99, 'later', now()::TIMESTAMP)")
    for migrate in (True, False):
        with (
            pytest.raises(DatabaseError, match=r"work\.duckdb: its schema sqlbatch has version 99.*upgrade sqlbatch"),
            Database(tmp_path / "work.duckdb").session(migrate=migrate),
        ):
            pass


@pytest.mark.one_of(4)
@pytest.mark.parametrize("name", ["sqlbatch", "renamed", "my data", "select", "main", "temp", "größe", "it's a.b"])
def test_views_work_after_the_file_is_renamed_or_attached_under_another_name(name: str, tmp_path: Path) -> None:
    db = database()
    enrich(db, "SELECT unnest(['a', 'b']) AS x", content)
    begin(db, "SELECT 'c' AS x", into="others")
    (tmp_path / "work.duckdb").rename(tmp_path / f"{name}.duckdb")
    moved = Database(tmp_path / f"{name}.duckdb")
    assert [job.status for job in moved.read(jobs.rows)] == ["running", "done"]
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{str(moved.path).replace(chr(39), chr(39) * 2)}' AS \"another name\" (READ_ONLY)")
        for view in VIEWS:
            con.execute(f'FROM "another name".sqlbatch.{view}').fetchall()
        assert con.execute('SELECT status FROM "another name".sqlbatch.job_status ORDER BY 1').fetchall() == [
            ("done",),
            ("running",),
        ]
        assert con.execute('SELECT custom_id FROM "another name".sqlbatch.due').fetchall() != []
    answer(moved, 2, content)
    assert moved.read(lambda session: jobs.find(session, "2")).answered == 1


@pytest.mark.parametrize("name", ["sqlbatch", "my data"])
def test_a_job_runs_in_a_file_of_any_name(name: str) -> None:
    db = database(f"{name}.duckdb", "CREATE TABLE movies AS SELECT 'Alien' AS title")
    joined = enrich(db, "SELECT title FROM movies", content, into="tags")
    assert (joined.rows, joined.answered) == (1, 1)
    with duckdb.connect(str(db.path)) as con:
        assert con.execute("SELECT title, response FROM tags").fetchall() == [("Alien", "Alien")]


def test_a_plain_connection_reads_the_target_and_the_jobs() -> None:
    db = database()
    enrich(db, "SELECT 'Alien' AS title", content, into="tags")
    with duckdb.connect(str(db.path)) as con:
        assert con.execute("SELECT title, ai_status FROM tags").fetchall() == [("Alien", "answered")]
        assert con.execute("SELECT target, rows FROM sqlbatch.jobs").fetchall() == [("tags", 1)]
        assert con.execute("SELECT status FROM sqlbatch.job_status").fetchall() == [("done",)]


def _described(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Return all that a schema is made of, in one spelling."""
    queries = (
        "SELECT 'table', table_name, estimated_size, has_primary_key, check_constraint_count FROM duckdb_tables()",
        (
            "SELECT 'column', table_name, column_index, column_name, data_type, column_default, is_nullable "
            "FROM duckdb_columns() WHERE schema_name = 'sqlbatch'"
        ),
        "SELECT 'view', view_name, sql FROM duckdb_views() WHERE NOT internal",
        "SELECT 'constraint', table_name, constraint_type, constraint_text FROM duckdb_constraints()",
        (
            "SELECT 'macro', function_name, parameters, macro_definition FROM duckdb_functions() "
            "WHERE schema_name = 'sqlbatch'"
        ),
        "SELECT 'sequence', sequence_name, start_value, increment_by FROM duckdb_sequences()",
        "SELECT 'index', index_name, sql FROM duckdb_indexes()",
    )
    return sorted((row for query in queries for row in con.execute(query).fetchall()), key=str)

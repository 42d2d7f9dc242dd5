"""Targets in another database: built here, published there in one commit, whoever is killed and whoever was first."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

import sqlbatch
from sqlbatch import run
from sqlbatch.db import jobs
from sqlbatch.db.attached import Attached
from sqlbatch.db.database import Database
from sqlbatch.db.session import Session
from sqlbatch.errors import InvalidOption, InvalidPrompt, InvalidQuery, InvalidTarget, JobError, NotPublished
from sqlbatch.functions.prepare import check_options
from sqlbatch.lake import places, publishing
from sqlbatch.query.enrichment import Enrichment
from tests.query.support import answer, begin, content

if TYPE_CHECKING:
    from sqlbatch.db.jobs import JobRow

    from .conftest import Command

FILMS = "SELECT i AS id, 'film ' || i AS title FROM range(1, 6) t(i)"
KEYED: dict[str, Any] = {"incremental": True, "unique_key": ["id"]}


def rows(file: str, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(file) as con:
        return con.execute(sql).fetchall()


def state(file: str = "work.duckdb") -> Database:
    """Return a database with another beside it."""
    return Database(Path.cwd() / file, attach=[Attached.parse("other.duckdb", "--attach")])


def alone() -> Database:
    return Database(Path.cwd() / "work.duckdb")


def build(db: Database, query: str = FILMS, into: str = "other.films", **more: Any) -> int:
    """Have a job of which all is answered and built here, and nothing is published."""
    asked = {"into": into, "input": ["title"], "returns": "name VARCHAR"} | more
    column = asked["returns"].split()[0]
    job_id = begin(db, query, **asked)
    answer(db, job_id, lambda body: json.dumps({column: content(body).upper()}))
    assert run.finish(db, job_id) is not None
    return job_id


def publish(db: Database, job_id: int, *, replacing: bool = False) -> JobRow:
    deque(publishing.publish(db, job_id, replacing=replacing), maxlen=0)
    return db.read(lambda session: jobs.find(session, str(job_id)))


def ask(db: Database, query: str = FILMS, into: str = "other.films", **more: Any) -> int:
    job_id = build(db, query, into, **more)
    if into.startswith("other"):
        publish(db, job_id)
    return job_id


def test_one_command_brings_rows_from_one_database_to_another(here: Command) -> None:
    rows("crm.duckdb", f"CREATE TABLE films AS {FILMS}")
    asked = ("--input", "title", "--instructions", "Repeat.", "--returns", "name VARCHAR", "--provider", "local")
    ran = here(
        "enrich",
        "FROM crm.films",
        "--attach",
        "crm.duckdb",
        "--attach",
        "other.duckdb",
        *asked,
        "--into",
        "other.films",
    )
    assert ran.code == 0, ran.err
    assert "published other.main.films: 5 rows" in ran.err
    assert "job 1 done: other.main.films has 5 rows" in ran.err
    assert ran.out.startswith("id,title,name,custom_id,ai_status")
    assert rows("other.duckdb", "SELECT id, title, ai_status FROM films ORDER BY id")[4] == (5, "film 5", "answered")
    assert rows("other.duckdb", "SELECT target, job_id, rows FROM sqlbatch_published") == [("films", 1, 5)]
    assert rows("enriched.duckdb", "SELECT target FROM enriched.sqlbatch.jobs") == [("other.main.films",)]
    listed = json.loads(here("jobs", "--json").out)[0]
    assert (listed["published_rows"], listed["publish_error"]) == (5, None)
    assert listed["place"] == f"{Path.cwd()}/other.duckdb AS other"
    assert "published" in here("jobs").out.splitlines()[0]
    assert "5 rows in other.main.films" in here("show").out
    assert sqlbatch.find().publish().table().count("*").fetchall() == [(5,)]


def test_prune_deletes_what_is_published_and_publish_says_so(here: Command) -> None:
    db = state()
    ask(db)
    at = ("--db", "work.duckdb")
    again = json.loads(here("publish", *at, "--json").out)
    assert (again["job_id"], again["published_rows"], again["publish_error"]) == (1, 5, None)
    assert "5 rows of 1 job, published and kept here too" in here("prune", "--dry-run", *at).err
    gone = json.loads(here("prune", "--yes", "--json", *at).out)
    assert (gone["built"], gone["built_rows"]) == (1, 5)
    assert "nothing to prune" in here("prune", *at).err
    assert rows("work.duckdb", "FROM duckdb_tables() WHERE table_name LIKE 'built_%'") == []
    assert "no longer kept here: run its enrich again, which sends only" in here("publish", *at).error
    assert json.loads(here("show", "--json", *at).out)["published_rows"] == 5
    assert here("wait", *at).code == 0
    # What is built and not published is all there is of it: it stays.
    job_id = build(db, f"SELECT *, 1 AS more FROM ({FILMS})")
    assert json.loads(here("prune", "--yes", "--json", *at).out)["built"] == 0
    assert publish(db, job_id).published_rows == 5


def test_what_was_built_goes_with_the_next_job() -> None:
    db = state()
    ask(db)
    ask(db, f"{FILMS} WHERE i > 0")
    assert rows("work.duckdb", "SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'built_%'") == [
        ("built_2",)
    ]
    assert not list(Path.cwd().rglob("*.parquet"))


def test_a_place_that_is_down_delays_publishing_and_loses_nothing(
    here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PATIENCE", 0.1)
    db = state()
    ask(db)
    job_id = build(db, f"SELECT *, 1 AS more FROM ({FILMS})")
    holding = (
        "import duckdb, sys; c = duckdb.connect('other.duckdb', read_only=True); print(flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(NotPublished, match=f"job 2 is built here.*locked by process {holder.pid}.*sqlbatch publish 2"):
        publish(db, job_id)
    listed = json.loads(here("jobs", "--db", "work.duckdb", "--json").out)[0]
    assert (listed["status"], listed["published_at"]) == ("done", None)
    assert "locked" in listed["publish_error"]
    assert listed["next"].startswith("sqlbatch publish 2 --db work.duckdb brings its rows to other.main.films")
    assert "not yet: other" in here("show", "--db", "work.duckdb").out
    assert "not yet" in here("jobs", "--db", "work.duckdb").out
    holder.communicate(b"")
    # `sync` brings it there; it needs no --attach.
    assert here("sync", "--db", "work.duckdb").code == 0
    assert json.loads(here("jobs", "--db", "work.duckdb", "--json").out)[0]["published_rows"] == 5
    assert here("publish", "1", "--db", "work.duckdb").error == (
        "other.main.films has the rows of job 2, which is newer: job 1 leaves it alone"
    )


def test_a_table_of_somebody_else_is_left_alone_before_anything_is_sent() -> None:
    rows("other.duckdb", "CREATE TABLE films AS SELECT 1 AS id")
    db = state()
    with pytest.raises(InvalidTarget, match="was not made by sqlbatch"):
        build(db)
    ask(db, replace=True)
    assert rows("other.duckdb", "SELECT count(*) FROM films") == [(5,)]
    # What another state has published is somebody else's too.
    with pytest.raises(InvalidTarget, match="was published by another sqlbatch database"):
        build(state("second.duckdb"))


def test_a_table_that_appears_meanwhile_is_left_alone() -> None:
    db = state()
    job_id = build(db)
    rows("other.duckdb", "CREATE TABLE films AS SELECT 1 AS id")
    with pytest.raises(NotPublished, match="sqlbatch did not make: rename or drop it there"):
        publish(db, job_id)
    assert rows("other.duckdb", "FROM films") == [(1,)]
    assert publish(db, job_id, replacing=True).published_rows == 5


NOWHERE = [
    ("lake.films", "the schema lake of --into does not exist"),
    ("lake.main.films", "no database of --attach is called lake"),
    ("other.main.sqlbatch_published", "where sqlbatch notes what it published"),
    ("other.nowhere.films", "the schema nowhere of --into does not exist in other: create it there first"),
]


def test_a_place_that_cannot_be_is_refused_in_a_line() -> None:
    for file in ("other.duckdb", "work.duckdb"):
        duckdb.connect(file).close()
    for into, says in NOWHERE:
        with pytest.raises(InvalidTarget, match=says):
            begin(state(), FILMS, into=into)


def test_of_two_jobs_the_newer_wins_also_where_only_the_marker_knows_it() -> None:
    db = state()
    first = build(db)
    ask(db, f"{FILMS} WHERE i < 4")
    with pytest.raises(NotPublished, match="has the rows of job 2, which is newer: job 1 leaves it alone"):
        publish(db, first)
    rows("work.duckdb", "UPDATE work.sqlbatch.publications SET published_at = NULL")
    rows("work.duckdb", "CREATE TABLE work.sqlbatch.built_1 AS FROM work.sqlbatch.built_2")
    with pytest.raises(NotPublished, match="has the rows of job 2, which is newer: job 1 leaves it alone"):
        publish(db, first)
    assert rows("other.duckdb", "SELECT count(*) FROM films") == [(3,)]


def test_ended_at_any_statement_of_publishing_it_is_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing ends after a statement, here or there; to publish again gives all rows, once. See tests/warehouse."""
    db = state()
    ask(db)
    build(db, f"SELECT *, 'new' AS more FROM ({FILMS})")
    sql, left, ended = Session.sql, 0, True

    def ending(self: Session, *more: Any) -> Any:
        nonlocal left
        result = sql(self, *more)
        left -= 1
        if not left:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(Session, "sql", ending)
    step = 20
    while ended:
        step += 5
        left, ended = step, False
        try:
            publish(db, 2)
        except KeyboardInterrupt:
            ended = True
        left = 0
        assert rows("other.duckdb", "SELECT count(*), count(DISTINCT id) FROM films") == [(5, 5)]
        assert len(rows("other.duckdb", "FROM sqlbatch_published")) == 1
    assert step > 45
    assert rows("other.duckdb", "SELECT DISTINCT more FROM films") == [("new",)]


def test_what_was_committed_there_is_noted_here_and_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(*_: object) -> None:
        raise KeyboardInterrupt

    db = state()
    job_id = build(db)
    noting = publishing.note_published
    monkeypatch.setattr(publishing, "note_published", ends)
    with pytest.raises(KeyboardInterrupt):
        publish(db, job_id)
    monkeypatch.setattr(publishing, "note_published", noting)
    rows("other.duckdb", "UPDATE films SET title = 'by hand'")
    assert publish(db, job_id).published_rows == 5
    assert rows("other.duckdb", "SELECT DISTINCT title FROM films") == [("by hand",)]


def test_the_test_of_kills_sees_every_statement() -> None:
    """It counts what goes through Session.sql: nothing there goes past it but how columns are carried."""
    assert "session.con." not in inspect.getsource(places).replace("carried(session.con", "")


def test_a_password_is_neither_kept_nor_told(tmp_path: Path) -> None:
    place = Attached.parse("postgres:host=x password=hunter2 AS pg (TOKEN 'hunter3', SECRET mine)", "--attach")
    assert place.kept() == "postgres:host=x password=… AS pg (TOKEN …, SECRET mine)"
    kept = Attached.parse("ducklake:sub/meta.ducklake AS lake (DATA_PATH 'files')", "--attach").kept()
    assert kept == f"ducklake:{tmp_path}/sub/meta.ducklake AS lake (DATA_PATH 'files')"


def test_a_missing_extension_is_one_line_with_what_to_do(here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    place = "postgres:dbname=x AS pg (CONNECTION_LIMIT 1)"
    ran = here("plan", "FROM pg.films", "--attach", place, "--provider", "local", "--instructions", "x")
    if "cannot be attached: DuckDB's extension" not in ran.err:
        pytest.skip("DuckDB could get the extension")
    assert "run sqlbatch query 'INSTALL postgres_scanner' once with a network, or copy" in ran.error


# ---- Incremental targets, here and elsewhere.


@pytest.mark.one_of(2)
@pytest.mark.parametrize("into", ["films", "other.films"])
def test_rows_are_updated_or_added_by_key_and_the_others_and_other_columns_stay(into: str) -> None:
    db, file = (state(), "other.duckdb") if into.startswith("other") else (alone(), "work.duckdb")
    ask(db, into=into, **KEYED)
    rows(file, "ALTER TABLE films ADD COLUMN mine VARCHAR; UPDATE films SET mine = 'm' || id")
    # A subset asked again, a row that is new, and a column that is new.
    query = "SELECT i AS id, 'new ' || i AS title, i * 2 AS double FROM range(1, 8) t(i)"
    ask(db, query, into, where="id IN (2, 7)", **KEYED)
    assert rows(file, "SELECT id, title, name, mine, double FROM films ORDER BY id") == [
        (1, "film 1", "FILM 1", "m1", None), (2, "new 2", "NEW 2", "m2", 4), (3, "film 3", "FILM 3", "m3", None),
        (4, "film 4", "FILM 4", "m4", None), (5, "film 5", "FILM 5", "m5", None), (7, "new 7", "NEW 7", None, 14),
    ]  # fmt: skip
    # One returned column more: the first one stays.
    ask(db, into=into, **KEYED | {"returns": "mood VARCHAR"})
    assert rows(file, "SELECT count(name), count(mood) FROM films") == [(6, 5)]
    # All of it anew is said with --replace, which is dbt's full refresh.
    ask(db, into=into, **KEYED, replace=True)
    assert [row[0] for row in rows(file, "DESCRIBE films")] == [
        "id", "title", "name", "custom_id", "ai_status", "ai_error", "ai_model",
    ]  # fmt: skip


def test_an_incremental_job_that_was_not_published_goes_before_the_next() -> None:
    db = state()
    ask(db, **KEYED)
    build(db, "SELECT 9 AS id, 'nine' AS title", **KEYED)
    ask(db, "SELECT 10 AS id, 'ten' AS title", **KEYED)
    assert rows("other.duckdb", "SELECT count(*), max(id) FROM films") == [(7, 10)]
    assert db.read(publishing.due) == []


REFUSED: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    (f"{FILMS} UNION ALL SELECT 3, 'again'", KEYED, InvalidQuery, "2 rows share 1 key, rows 3 and 6"),
    (f"{FILMS} UNION ALL SELECT NULL, 'none'", KEYED, InvalidQuery, "1 row has NULL there, row 6"),
    (FILMS, KEYED | {"unique_key": ["idd"]}, InvalidOption, "the query has no such column; did you mean id"),
    (FILMS, {"incremental": True}, InvalidOption, "--incremental needs --unique-key"),
    (FILMS, {"unique_key": ["id"]}, InvalidOption, "goes with --incremental"),
    ("SELECT '1' AS id, 'x' AS title", KEYED, InvalidTarget, "films.id is BIGINT and would be VARCHAR"),
    ("SELECT 1 AS other, 'x' AS title", KEYED | {"unique_key": ["other"]}, InvalidTarget, "has no column other"),
    (f"{FILMS};", KEYED | {"where": "id ="}, InvalidQuery, "syntax error"),
]


def test_what_cannot_be_found_by_its_key_is_refused_before_anything_is_sent() -> None:
    db = alone()
    ask(db, into="films", **KEYED)
    for query, more, error, says in REFUSED:
        with pytest.raises(error, match=says):
            begin(db, query, **{"into": "films", "input": ["title"], "returns": "name VARCHAR"} | more)
    # Of a query with AI functions the rows are known only at its end.
    asked = Enrichment(FILMS, "", None, None, (), "/v1/chat/completions", "", (), "", "", None, incremental=True)
    with pytest.raises(InvalidPrompt, match="--incremental does not go with"):
        check_options(asked)
    # While another job of the target is open, its rows would be lost.
    begin(db, FILMS, into="films")
    with pytest.raises(JobError, match="job 2 for films is not done"):
        begin(db, "SELECT 8 AS id, 'x' AS title", into="films", input=["title"], returns="name VARCHAR", **KEYED)
    assert rows("work.duckdb", "SELECT count(*) FROM work.sqlbatch.jobs") == [(2,)]


def test_prune_keeps_the_answers_that_an_incremental_target_still_shows(here: Command) -> None:
    db = alone()
    ask(db, into="films", **KEYED)
    ask(db, "SELECT 9 AS id, 'nine' AS title", into="films", **KEYED)
    assert here("prune", "--results", "--yes", "--db", "work.duckdb").code == 0
    assert rows("work.duckdb", "SELECT count(*) FROM work.sqlbatch.results") == [(6,)]


def test_where_takes_a_subset_of_rows_that_are_handed_over() -> None:
    films = [{"id": 1, "title": "a"}, {"id": 2, "title": "b"}]
    how: dict[str, Any] = {"provider": "local", "input": "title", "instructions": "x"}
    assert sqlbatch.plan(films, into="films", where="id > 1", **how).rows == 1


def test_a_file_says_it_all(here: Command) -> None:
    header = 'attach = "other.duckdb"\ninto = "other.films"\nincremental = true\nunique_key = "id"\nwhere = "id < 3"'
    text = f'/* sqlbatch\n{header}\ninput = "title"\ninstructions = "Repeat."\n*/\n{FILMS} -- to the end'
    Path("films.sql").write_text(text)
    ran = here("plan", "films.sql", "--provider", "local", "--json")
    quote = json.loads(ran.out)
    assert (quote["target"], quote["rows"]) == ("other.main.films", 2)

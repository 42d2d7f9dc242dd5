"""Targets in a real Postgres and in DuckLake: the promises of tests/test_places.py, and the types that arrive there."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from sqlbatch import run
from sqlbatch.db import jobs
from sqlbatch.db.attached import Attached
from sqlbatch.db.database import Database
from sqlbatch.errors import InvalidTarget, NotPublished
from sqlbatch.lake import publishing
from tests.query.support import answer, begin, content
from tests.test_exchange import TYPES

from . import publisher

if TYPE_CHECKING:
    from sqlbatch.db.jobs import JobRow
    from tests.conftest import Command

    from .conftest import Place

FILMS = "SELECT i AS id, 'film ' || i AS title FROM range(1, 6) t(i)"
KEYED: dict[str, Any] = {"incremental": True, "unique_key": ["id"]}


def state(place: Place, file: str = "work.duckdb") -> Database:
    return Database(Path.cwd() / file, attach=[Attached.parse(place.attach, "--attach")])


def build(db: Database, place: Place, query: str = FILMS, **more: Any) -> int:
    """Have a job of which all is answered and built here, and nothing is published."""
    asked = {"into": f"{place.name}.marts.films", "input": ["title"], "returns": "name VARCHAR"} | more
    column = asked["returns"].split()[0]
    job_id = begin(db, query, **asked)
    answer(db, job_id, lambda body: json.dumps({column: content(body).upper()}))
    assert run.finish(db, job_id) is not None
    return job_id


def publish(db: Database, job_id: int, *, replacing: bool = False) -> JobRow:
    deque(publishing.publish(db, job_id, replacing=replacing), maxlen=0)
    return db.read(lambda session: jobs.find(session, str(job_id)))


def ask(db: Database, place: Place, query: str = FILMS, **more: Any) -> int:
    job_id = build(db, place, query, **more)
    publish(db, job_id)
    return job_id


def test_200k_rows_go_in_and_come_back_typed_in_one_command(here: Command, place: Place) -> None:
    """The rows have 500 distinct texts, so that the model in this process does not take the time."""
    name = place.name
    place.rows(
        f"CREATE TABLE {name}.marts.tickets AS SELECT i AS id, 'ticket ' || i % 500 AS body, "
        "(i * 1.5)::DECIMAL(12,2) AS amount, TIMESTAMPTZ '2024-01-01' + i * INTERVAL 1 SECOND AS created "
        "FROM range(200_000) t(i)"
    )
    asked = ("--input", "body", "--instructions", "Sum it up.", "--returns", "topics VARCHAR[], weight INTEGER")
    began = time.monotonic()
    ran = here("enrich", f"FROM {name}.marts.tickets", "--attach", place.attach, *asked, "--provider", "local",
               "--into", f"{name}.marts.topics", "-q")  # fmt: skip
    took = time.monotonic() - began
    assert ran.code == 0, ran.err
    hashed = "SELECT count(*), sum(hash(id, body, amount, created))"
    read, written = (place.rows(f"{hashed} FROM {name}.marts.{table}") for table in ("tickets", "topics"))
    assert read == written
    built = "SELECT count(*), sum(hash(columns(*)::VARCHAR)) FROM"
    columns = "id, body, amount, created, topics, weight, custom_id, ai_status, ai_error, ai_model"
    texts = "concat_ws('|', " + ", ".join(f"coalesce({each}::VARCHAR, 'NULL')" for each in columns.split(", ")) + ")"
    with duckdb.connect("enriched.duckdb") as con:
        con.execute("SET TimeZone = 'UTC'")
        kept = con.execute(f"SELECT count(*), sum(hash({texts})) FROM sqlbatch.built_1").fetchall()
    assert place.rows(f"SELECT count(*), sum(hash({texts})) FROM {name}.marts.topics") == kept, built
    types = {row[0]: row[1] for row in place.rows(f"DESCRIBE {name}.marts.topics")}
    assert types["topics"] == "VARCHAR[]"
    assert (types["amount"], types["weight"]) == ("DECIMAL(12,2)", "INTEGER")
    sys.stdout.write(f"{name}: 200,000 rows in {took:.1f} s\n")


@pytest.mark.parametrize("place", ["postgres", "ducklake", "duckdb"], indirect=True)
def test_every_type_arrives_with_its_values(place: Place) -> None:
    columns = ", ".join(f"{sql} AS c{number}" for number, (sql, *_) in enumerate(TYPES))
    nothing = ", ".join(f"NULL AS c{number}" for number in range(len(TYPES)))
    db = state(place)
    ask(db, place, f"SELECT 'a' AS title, {columns} UNION ALL SELECT 'b' AS title, {nothing}")
    table = f"{place.name}.marts.films"
    found = {row[0]: row[1] for row in place.rows(f"DESCRIBE {table}")}
    lake = {"ENUM('a', 'it''s')": "VARCHAR", "BIT": "VARCHAR", "FLOAT[3]": "FLOAT[]"}
    texts = "SELECT " + ", ".join(f"c{number}::VARCHAR" for number in range(len(TYPES)))
    there, nothing_there = place.rows(f"{texts} FROM {table} ORDER BY title")
    with duckdb.connect("work.duckdb") as con:
        con.execute("SET TimeZone = 'UTC'")
        built = con.execute(f"{texts} FROM sqlbatch.built_1 ORDER BY title").fetchall()[0]
    assert set(nothing_there) == {None}
    for number, (sql, here, postgres, _) in enumerate(TYPES):
        expected = {"pg": postgres, "lake": lake.get(here, here)}.get(place.name, here)
        # DuckDB sees Postgres' JSON as VARCHAR.
        seen = "VARCHAR" if (place.name, expected) == ("pg", "JSON") else expected
        if place.name == "lake":
            seen = seen.replace("ENUM('x')", "VARCHAR")
        assert found[f"c{number}"].replace('"a"', "a") == seen, sql
        if expected not in {"JSON", "TIMESTAMP"}:
            assert there[number] == built[number], sql
        elif expected == "JSON":
            json.loads(there[number])
    # The same columns again: nothing is made anew.
    ask(db, place, f"SELECT 'a' AS title, {columns} UNION ALL SELECT 'c' AS title, {nothing}")
    assert place.rows(f"SELECT count(*) FROM {table}") == [(2,)]


CHILD = """
import os, signal, sys
from collections import deque
from pathlib import Path
from sqlbatch.db.attached import Attached
from sqlbatch.db.database import Database
from sqlbatch.db.session import Session
from sqlbatch.lake import publishing
count, sql, told = int(sys.argv[1]), Session.sql, 0
def killing(self, text, *more):
    global told
    result = sql(self, text, *more)
    told += 1
    if told == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
Session.sql = killing
db = Database(Path("work.duckdb"), attach=[Attached.parse(sys.argv[2], "--attach")])
deque(publishing.publish(db, 2), maxlen=0)
"""


def test_killed_after_any_statement_of_publishing_it_is_repaired(place: Place) -> None:
    """The process is killed (-9), here or there; to publish again gives all rows, once."""
    db, table = state(place), f"{place.name}.marts.films"
    ask(db, place)
    build(db, place, f"SELECT *, 'new' AS more FROM ({FILMS})")
    for point in publisher.BEFORE + publisher.AFTER:
        assert publisher.killed(place.attach, 2, point), point
        committed = point in publisher.AFTER
        there = f"SELECT job_id, rows, (FROM {table} SELECT count(*)), (FROM {table} SELECT count(DISTINCT id))"
        assert place.rows(f"{there} FROM {place.name}.marts.sqlbatch_published") == [(1 + committed, 5, 5, 5)]
    assert publish(db, 2).published_rows == 5
    assert place.rows(f"SELECT DISTINCT more FROM {table}") == [("new",)]
    assert not list(Path.cwd().glob(".sqlbatch-*"))


def test_of_two_publishers_at_once_the_newer_wins(place: Place) -> None:
    db = state(place)
    for number in range(2):
        older = build(db, place, f"{FILMS} WHERE i + {number} > 0", replace=True)
        newer = build(db, place, f"{FILMS} WHERE i < 4 + {number} * 0", replace=True)
        problems: list[Exception] = []

        def publishing_of(job_id: int, problems: list[Exception] = problems) -> None:
            try:
                publish(state(place), job_id)
            except Exception as error:  # noqa: BLE001 (told below)
                problems.append(error)

        threads = [threading.Thread(target=publishing_of, args=(each,)) for each in (older, newer)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert all("which is newer" in str(each) or "no longer kept" in str(each) for each in problems), problems
        marked = place.rows(f"SELECT job_id, rows FROM {place.name}.marts.sqlbatch_published")
        assert marked == [(newer, 3)]
        assert place.rows(f"SELECT count(*) FROM {place.name}.marts.films") == [(3,)]


def test_rows_are_updated_or_added_by_key_and_the_others_and_other_columns_stay(place: Place) -> None:
    db, table = state(place), f"{place.name}.marts.films"
    ask(db, place, **KEYED)
    place.rows(f"ALTER TABLE {table} ADD COLUMN mine VARCHAR")
    place.rows(f"UPDATE {table} SET mine = 'm' || id")
    query = "SELECT i AS id, 'new ' || i AS title, i * 2 AS double FROM range(1, 8) t(i)"
    ask(db, place, query, where="id IN (2, 7)", **KEYED)
    assert place.rows(f"SELECT id, title, name, mine, double FROM {table} ORDER BY id") == [
        (1, "film 1", "FILM 1", "m1", None), (2, "new 2", "NEW 2", "m2", 4), (3, "film 3", "FILM 3", "m3", None),
        (4, "film 4", "FILM 4", "m4", None), (5, "film 5", "FILM 5", "m5", None), (7, "new 7", "NEW 7", None, 14),
    ]  # fmt: skip
    ask(db, place, **KEYED | {"returns": "mood VARCHAR"})
    assert place.rows(f"SELECT count(name), count(mood) FROM {table}") == [(6, 5)]


def test_a_table_of_somebody_else_is_left_alone(place: Place) -> None:
    table = f"{place.name}.marts.films"
    db = state(place)
    job_id = build(db, place)
    place.rows(f"CREATE TABLE {table} AS SELECT 1 AS id")
    with pytest.raises(NotPublished, match="sqlbatch did not make: rename or drop it there"):
        publish(db, job_id)
    with pytest.raises(InvalidTarget, match="was not made by sqlbatch"):
        build(db, place)
    assert publish(db, job_id, replacing=True).published_rows == 5
    with pytest.raises(InvalidTarget, match="was published by another sqlbatch database"):
        build(state(place, "second.duckdb"), place)


def test_views_and_grants_stay_where_the_columns_are_the_same_and_are_told_where_not(pg: Place) -> None:
    db = state(pg)
    films = "SELECT i AS id, 'film ' || i AS title, {'year': 1990 + i} AS facts FROM range(1, 6) t(i)"
    ask(db, pg, films)
    pg.rows("CALL postgres_execute('pg', 'CREATE VIEW marts.titles AS SELECT title FROM marts.films; "
            "CREATE ROLE reader; GRANT SELECT ON marts.films TO reader')")  # fmt: skip
    ask(db, pg, f"{films} WHERE i < 9")
    granted = "SELECT has_table_privilege(''reader'', ''marts.films'', ''SELECT'')"
    assert pg.rows(f"FROM postgres_query('pg', '{granted}')") == [(True,)]
    assert pg.rows("SELECT count(*) FROM pg.marts.titles") == [(5,)]
    job_id = build(db, pg, f"SELECT *, 1 AS more FROM ({films})")
    with pytest.raises(NotPublished, match=r"the view marts.titles depends on it: drop the view there"):
        publish(db, job_id)
    pg.rows("CALL postgres_execute('pg', 'DROP VIEW marts.titles; DROP OWNED BY reader; DROP ROLE reader')")
    assert publish(db, job_id).published_rows == 5


def test_a_warehouse_that_is_down_delays_publishing_and_its_password_is_not_told(pg: Place) -> None:
    job_id = build(state(pg), pg)
    down = Attached.parse("postgres:host=127.0.0.1 port=1 password=hunter2 user=x AS pg", "--attach")
    with pytest.raises(NotPublished, match=r"--attach pg: postgres:host=127\.0\.0\.1 port=1") as told:
        publish(Database(Path.cwd() / "work.duckdb", attach=[down]), job_id)
    assert "hunter2" not in str(told.value)
    assert "\n" not in str(told.value)
    # It is reached as it was named when the job began.
    assert publish(Database(Path.cwd() / "work.duckdb"), job_id).published_rows == 5


def test_texts_with_nul_characters_arrive_without_them(pg: Place) -> None:
    ask(state(pg), pg, "SELECT 'a' || chr(0) || 'b' AS title, {'x': 'c' || chr(0)} AS s, ['d' || chr(0)] AS l")
    assert pg.rows("SELECT title, s::VARCHAR, l FROM pg.marts.films") == [("ab", '{"x":"c"}', ["d"])]


def test_a_target_may_be_named_without_its_schema(place: Place) -> None:
    ask(state(place), place, into=f"{place.name}.films")
    assert place.rows(f"SELECT count(*) FROM {place.name}.{place.schema}.films") == [(5,)]


def test_rows_are_read_from_sqlite_which_is_no_place_for_a_target(here: Command) -> None:
    with duckdb.connect() as con:
        con.execute("ATTACH 'app.db' AS app (TYPE sqlite); CREATE TABLE app.films AS SELECT 'Heat' AS title")
    asked = ("--attach", "sqlite:app.db AS app", "--provider", "local", "--instructions", "x")
    assert json.loads(here("plan", "FROM app.films", *asked, "--json").out)["rows"] == 1
    assert "app is sqlite: write the table here" in here("plan", "FROM app.films", *asked, "--into", "app.tags").error

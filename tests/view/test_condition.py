"""A condition decides which rows are shown: it cannot write, read files, run other statements, or reach beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sqlbatch.errors import InvalidQuery
from sqlbatch.view.condition import check_condition
from sqlbatch.view.relation import reading
from tests.query.support import database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.db.session import Session

FINE = (
    "year > 1990",
    "title = 'it''s; -- no (comment'",
    "year IN (SELECT year FROM others)",
    "EXISTS (WITH few AS (FROM others LIMIT 3) SELECT 1 FROM few WHERE few.year = films.year)",
    "list_contains(list_filter(genres, lambda g: len(g) > 3), 'crime')",
    "year BETWEEN 1990 AND 2000 OR title ILIKE '%the%' -- a remark",
    "year = (SELECT max(y) FROM range(1, 5) r(y))",
    "title IN (SELECT others.title FROM others JOIN films USING (year) UNION SELECT 'x')",
    "CASE WHEN year IS NULL THEN false ELSE year % 2 = 0 END",
    "year > (SELECT avg(year) OVER () FROM others LIMIT 1)",
)
WRONG = (
    "",
    "-- nothing",
    "true); DROP TABLE films; SELECT 1 WHERE (true",
    "true); SELECT * FROM others WHERE (true",
    "true) UNION SELECT 1 FROM others WHERE (true",
    "true) ORDER BY (year",
    "true) LIMIT (1",
    "true) GROUP BY (year",
    "year > 1990 /* no end",
    "year > 1990)",
    "year >",
    "DROP TABLE films",
    "title IN (SELECT content FROM read_text('/etc/hostname'))",
    "EXISTS (FROM read_csv('/etc/passwd'))",
    "EXISTS (FROM '/etc/passwd.csv')",
    'EXISTS (FROM "secrets.parquet")',
    "EXISTS (FROM glob('/*'))",
    "EXISTS (FROM query('DROP TABLE films'))",
    "EXISTS (FROM query_table('films'))",
    "EXISTS (FROM duckdb_secrets())",
    "EXISTS (FROM pragma_database_list())",
    "EXISTS (FROM sniff_csv('x'))",
    "EXISTS (FROM json_execute_serialized_sql('x'))",
    "EXISTS (WITH w AS (INSERT INTO films VALUES (1) RETURNING 1) FROM w)",
    "EXISTS (WITH w AS (DELETE FROM films RETURNING 1) FROM w)",
    'EXISTS (WITH "x.csv" AS (SELECT 1) FROM "x.csv")',
    "year = nextval('numbers')",
    "title = getenv('HOME')",
    "title = current_setting('secret_directory')",
    "year = $1",
    "year = ?",
    "year = $sqlbatch_0",
)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Open a database with two tables and a sequence."""
    setup = (
        "CREATE TABLE films AS SELECT 1994 AS year, 'Crime' AS title, ['crime'] AS genres;"
        "CREATE TABLE others AS FROM films; CREATE SEQUENCE numbers"
    )
    db = database(str(tmp_path_factory.mktemp("conditions") / "work.duckdb"), setup)
    with db.session() as opened:
        yield opened


@pytest.mark.parametrize("condition", FINE)
def test_a_condition_may_be_any_that_chooses_rows(session: Session, condition: str) -> None:
    check_condition(session, condition)
    with reading(session):
        assert session.sql(f"SELECT count(*) FROM films WHERE (\n{condition}\n)")


@pytest.mark.parametrize("condition", WRONG)
def test_what_does_more_is_refused_before_it_runs(session: Session, condition: str) -> None:
    with pytest.raises(InvalidQuery, match=r"^the condition"):
        check_condition(session, condition)
    assert session.sql("SELECT count(*) FROM films") == [(1,)]


def test_a_page_cannot_write_whatever_gets_through(session: Session) -> None:
    with pytest.raises(Exception, match="read-only"), reading(session):
        session.sql("DELETE FROM films")
    assert session.sql("SELECT count(*) FROM films") == [(1,)]


def test_a_condition_that_never_ends_is_ended(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlbatch.view.relation.PATIENCE", 0.2)
    endless = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range + b.range = -1"
    with pytest.raises(InvalidQuery, match="took longer than"), reading(session):
        session.sql(endless)
    assert session.sql("SELECT 1") == [(1,)]

"""The target: the query's columns and rows in their order, the answers beside their own rows, and whose table it is."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pytest

from sqlbatch import job_actions, run
from sqlbatch.db import jobs
from sqlbatch.errors import InvalidTarget, JobError
from sqlbatch.query.target import Target, comment_of, parse_target

from .support import Failure, answer, begin, content, database, enrich, rows

FILMS = """
CREATE TABLE films AS FROM (VALUES ('Alien', 1979, 'A crew wakes.'), ('Brazil', 1985, 'A clerk dreams.'),
  ('Cube', 1997, NULL), ('Dark City', 1998, 'A man wakes.')) AS f(title, year, overview);
"""
ADDED = ["custom_id", "ai_status", "ai_error", "ai_model"]


def columns(name: str) -> list[tuple[str, str]]:
    """Return a table's columns and their types, as a plain connection reads them."""
    with duckdb.connect("work.duckdb") as con:
        return [(row[0], row[1]) for row in con.execute(f"DESCRIBE {name}").fetchall()]


def comment(name: str) -> str | None:
    with duckdb.connect("work.duckdb") as con:
        found = con.execute("SELECT comment FROM duckdb_tables() WHERE table_name = $1", [name]).fetchall()
        return None if not found else found[0][0]


def test_columns_stand_in_the_querys_order_then_the_returned_then_ours() -> None:
    db = database(setup=FILMS)
    enrich(
        db,
        "SELECT year, overview, title, title || '!' AS \"loud title\" FROM films",
        lambda _: '{"genres": ["war"], "stars": 3}',
        returns="genres VARCHAR[], stars INTEGER",
        input=["overview"],
        into="tags",
    )
    assert columns("tags") == [
        ("year", "INTEGER"), ("overview", "VARCHAR"), ("title", "VARCHAR"), ("loud title", "VARCHAR"),
        ("genres", "VARCHAR[]"), ("stars", "INTEGER"),
        ("custom_id", "UUID"), ("ai_status", "VARCHAR"), ("ai_error", "VARCHAR"), ("ai_model", "VARCHAR"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("returns", "reply", "type_", "value"),
    [(None, "So.", "VARCHAR", "So."), ("JSON", '{"a": [1]}', "JSON", '{"a": [1]}')],
)
def test_without_columns_the_answer_is_called_response(returns: str | None, reply: str, type_: str, value: str) -> None:
    db = database()
    enrich(db, "SELECT 1 AS x", lambda _: reply, returns=returns)
    assert columns("answers") == [
        ("x", "INTEGER"), ("response", type_),
        ("custom_id", "UUID"), ("ai_status", "VARCHAR"), ("ai_error", "VARCHAR"), ("ai_model", "VARCHAR"),
    ]  # fmt: skip
    assert rows(db, "SELECT response::VARCHAR FROM answers") == [(value,)]


def test_every_answer_stands_beside_its_own_row_in_the_querys_order() -> None:
    db = database()
    query = "SELECT i, (i * 7919) % 5003 AS shuffled FROM range(5003) AS r(i) ORDER BY shuffled"
    joined = enrich(db, query, lambda body: f"answer to {content(body)}", input=["i"])
    assert (joined.rows, joined.answered) == (5003, 5003)
    found = rows(db, "SELECT shuffled, response = 'answer to ' || i FROM answers")
    assert found == [(n, True) for n in range(5003)]


def test_many_rows_keep_the_querys_order() -> None:
    db = database()
    query = "SELECT i, i % 7 AS kind FROM range(300000) AS r(i) ORDER BY (i * 7919) % 300007"
    assert enrich(db, query, content, input=["kind"]).answered == 300_000
    # In a table, rowid is where a row stands.
    placed = "SELECT (i * 7919) % 300007 AS place, lag(place) OVER (ORDER BY rowid) AS before FROM answers"
    assert rows(db, f"SELECT count(*) FROM ({placed}) WHERE place < before") == [(0,)]
    assert rows(db, "SELECT count(*) FROM answers WHERE response <> kind::VARCHAR") == [(0,)]


def test_equal_rows_are_asked_once_and_all_get_the_answer() -> None:
    db = database()
    asked: list[str] = []

    def reply(body: Any) -> str:
        asked.append(content(body))
        return content(body).upper()

    enrich(db, "SELECT ['a', 'b', 'a', NULL, 'a'][i] AS x, i FROM range(1, 6) AS r(i)", reply, input=["x"])
    assert sorted(asked) == ["a", "b"]
    assert rows(db, "SELECT i, response FROM answers") == [(1, "A"), (2, "B"), (3, "A"), (4, None), (5, "A")]


def test_null_never_means_two_things() -> None:
    db = database()
    replies: dict[str, str | Failure | None] = {
        "said": '{"word": "yes"}', "said null": '{"word": null}', "refused": Failure("refusal", "I would rather not."),
        "tried": Failure("http_500", "oops", "retryable"), "waiting": None,
    }  # fmt: skip
    query = "SELECT unnest(['said', 'said null', 'refused', 'tried', 'waiting', NULL]) AS x"
    job_id = begin(db, query, returns="word VARCHAR")
    answer(db, job_id, lambda body: replies[content(body)])
    joined = job_actions.load(db, job_id)
    assert (joined.rows, joined.answered, joined.failed, joined.pending, joined.skipped) == (6, 2, 1, 2, 1)
    assert rows(db, "SELECT x, word, ai_status, ai_error, ai_model FROM answers") == [
        ("said", "yes", "answered", None, "offline"),
        ("said null", None, "answered", None, "offline"),
        ("refused", None, "failed", "refusal: I would rather not.", None),
        ("tried", None, "pending", "http_500: oops", None),
        ("waiting", None, "pending", None, None),
        (None, None, "skipped", "x is NULL", None),
    ]
    assert rows(db, "SELECT count(*) FROM answers WHERE custom_id IS NULL") == [(1,)]


def test_a_request_that_failed_often_enough_is_failed() -> None:
    db = database()
    job_id = begin(db, "SELECT 'x' AS x", max_attempts=1)
    answer(db, job_id, lambda _: Failure("http_500", "oops", "retryable"))
    run.finish(db, job_id)
    assert rows(db, "SELECT ai_status, ai_error FROM answers") == [("failed", "http_500: oops")]


def test_a_job_that_is_done_drops_its_rows_and_one_with_failures_keeps_them() -> None:
    db = database()
    enrich(db, "SELECT unnest(['a', NULL]) AS x", content, into="well")
    enrich(db, "SELECT 'b' AS x", lambda _: Failure("refusal"), into="badly")
    names = {name for (name,) in rows(db, "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'sqlbatch'")}
    assert {"rows_2", "asks_2"} <= names
    assert not {"rows_1", "asks_1"} & names


def test_the_comment_says_whose_the_table_is() -> None:
    db = database()
    enrich(db, "SELECT 1 AS x", content, into="tags")
    assert comment("tags") == comment_of(1) == "made by sqlbatch, job 1"


def test_the_target_is_made_anew_by_the_same_query_with_fewer_rows() -> None:
    db = database(setup=FILMS)
    query = "SELECT title FROM films"
    enrich(db, query, content, into="tags")
    rows(db, "DELETE FROM films WHERE year > 1990")
    assert enrich(db, query, content, into="tags").rows == 2


def test_a_target_is_not_shrunk_by_another_query_unasked() -> None:
    db = database(setup=FILMS)
    enrich(db, "SELECT title FROM films", content, into="tags")
    with pytest.raises(InvalidTarget, match=r"tags: 4 -> 2 rows, from another query: add --replace"):
        begin(db, "SELECT title FROM films LIMIT 2", into="tags")
    assert rows(db, "SELECT count(*) FROM tags") == [(4,)]
    assert enrich(db, "SELECT title FROM films LIMIT 2", content, into="tags", replace=True).rows == 2


def test_a_target_grows_by_another_query_unasked() -> None:
    db = database(setup=FILMS)
    enrich(db, "SELECT title FROM films LIMIT 2", content, into="tags")
    assert enrich(db, "SELECT title, year FROM films", content, into="tags", input=["title"]).rows == 4
    assert [name for name, _ in columns("tags")] == ["title", "year", "response", *ADDED]


def test_a_users_table_is_replaced_only_when_asked() -> None:
    db = database(setup=FILMS)
    with pytest.raises(InvalidTarget, match="films exists and was not made by sqlbatch"):
        begin(db, "SELECT title FROM films", into="films")
    enrich(db, "SELECT title FROM films", content, into="films", replace=True)
    assert [name for name, _ in columns("films")] == ["title", "response", *ADDED]


@pytest.mark.parametrize("forged", ["made by sqlbatch, job 7", "made by sqlbatch, job 1", "made by sqlbatch, job x"])
def test_a_forged_comment_makes_no_table_ours(forged: str) -> None:
    db = database(setup=f"{FILMS} COMMENT ON TABLE films IS '{forged}'")
    enrich(db, "SELECT 1 AS x", content, into="tags")
    with pytest.raises(InvalidTarget, match="was not made by sqlbatch"):
        begin(db, "SELECT title FROM films", into="films")


def test_a_view_is_never_replaced() -> None:
    db = database(setup=f"{FILMS} CREATE VIEW seen AS FROM films; COMMENT ON VIEW seen IS 'made by sqlbatch, job 1'")
    enrich(db, "SELECT 1 AS x", content, into="tags")
    for replace in (False, True):
        with pytest.raises(InvalidTarget, match="seen is a view, and sqlbatch never replaces"):
            begin(db, "SELECT title FROM films", into="seen", replace=replace)


@pytest.mark.parametrize("statement", ["CREATE TABLE tags (mine INTEGER)", "CREATE VIEW tags AS SELECT 1 AS mine"])
def test_what_another_made_meanwhile_is_not_replaced_and_the_job_says_how_to_take_it_over(statement: str) -> None:
    db = database()
    job_id = begin(db, "SELECT 'a' AS x", into="tags")
    answer(db, job_id, content)
    rows(db, statement)
    with pytest.raises(JobError, match="that sqlbatch did not make: rename or drop it, then run sqlbatch load 1"):
        run.finish(db, job_id)
    assert rows(db, "SELECT count(*) FROM tags WHERE mine IS NULL") == [(0,)]
    found = db.read(lambda session: jobs.find(session, "1"))
    assert found.status == "done"
    assert found.error is not None
    rows(db, f"DROP {statement.split()[1]} tags")
    assert job_actions.load(db, job_id).answered == 1
    assert db.read(lambda session: jobs.find(session, "1")).error is None


@pytest.mark.parametrize("spelled", ["tags", "Tags"])
def test_only_the_newest_job_writes_the_target(spelled: str) -> None:
    db = database()
    first = begin(db, "SELECT 'a' AS x", into=spelled)
    second = begin(db, "SELECT 'b' AS x", into="tags")
    answer(db, first, content)
    answer(db, second, content)
    assert db.read(lambda session: jobs.find(session, str(first))).status == "superseded"
    with pytest.raises(JobError, match="a newer job has the target"):
        run.finish(db, first)
    run.finish(db, second)
    assert rows(db, "SELECT x FROM tags") == [("b",)]
    with pytest.raises(JobError, match="job 2 is the newest job for"):
        job_actions.load(db, first)


def test_a_target_written_half_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    db = database()
    enrich(db, "SELECT 'old' AS x", content, into="tags")
    job_id = begin(db, "SELECT 'new' AS x", into="tags")
    answer(db, job_id, content)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(jobs, "finish", broken)
    with pytest.raises(ZeroDivisionError):
        run.finish(db, job_id)
    assert rows(db, "SELECT x FROM tags") == [("old",)]
    assert comment("tags") == comment_of(1)


@pytest.mark.one_of(4)
@pytest.mark.parametrize(
    ("into", "schema", "name", "sql"),
    [
        ("films", "main", "films", "films"),
        ("Films_2", "main", "Films_2", "Films_2"),
        ("work.main.films", "main", "films", "films"),
        ("work.marts.films", "marts", "films", "marts.films"),
        (' "marts" . "my films" ', "marts", "my films", 'marts."my films"'),
        ('"dotted.name"', "main", "dotted.name", '"dotted.name"'),
        ('"quo""ted"', "main", 'quo"ted', '"quo""ted"'),
        ("my-films.2024", "main", "my-films.2024", '"my-films.2024"'),
        ("it's", "main", "it's", '"it\'s"'),
        ("select", "main", "select", '"select"'),
        ("Größe", "main", "Größe", '"Größe"'),
        ("{target}", "main", "{target}", '"{target}"'),
        ("x; DROP TABLE films", "main", "x; DROP TABLE films", '"x; DROP TABLE films"'),
    ],
)
def test_a_target_may_have_any_name(into: str, schema: str, name: str, sql: str) -> None:
    target = parse_target(into, "work")
    assert target == Target(schema, name)
    assert target.sql == sql
    assert parse_target(target.sql, "work") == target
    db = database(setup="CREATE SCHEMA marts")
    for _ in range(2):
        enrich(db, "SELECT 'Alien' AS title", content, into=into)
    with duckdb.connect("work.duckdb") as con:
        assert con.execute(f"SELECT title FROM {sql}").fetchall() == [("Alien",)]
        assert con.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE schema_name <> 'sqlbatch'"
        ).fetchall() == [(schema, name)]
    for spelled in (sql, sql.upper() if sql.isascii() else sql, name if schema == "main" else sql):
        assert db.read(lambda session, job=spelled: jobs.find(session, job)).job_id == 2  # type: ignore[misc]


def test_a_target_without_a_name_is_named_by_its_job() -> None:
    db = database()
    for number in (1, 2):
        enrich(db, f"SELECT 'Alien' AS title WHERE {number} > 0", content, into=None)
        assert rows(db, f"SELECT title FROM enriched_{number}") == [("Alien",)]


def test_columns_of_any_name_come_through() -> None:
    db = database()
    query = (
        "SELECT {'content': 1} AS sqlbatch_answer, {'a': 2} AS sqlbatch_query, {'b': 3} AS sqlbatch_rows, "
        "4 AS skipped, "
        "5 AS input, 6 AS outcome, 7 AS content, 8 AS settled, "
        '9 AS "a ""b"" c.d", 10 AS "select", 11 AS "{typed}"'
    )
    enrich(
        db,
        query,
        lambda _: json.dumps({"sqlbatch_asks": "yes", 'q"uote': 1}),
        returns='sqlbatch_asks VARCHAR, "q""uote" INT',
    )
    with duckdb.connect("work.duckdb") as con:
        found = con.execute(f"SELECT * EXCLUDE ({', '.join(ADDED)}) FROM answers")
        names = [each[0] for each in found.description or []]
        values = found.fetchall()
    assert names == ["sqlbatch_answer", "sqlbatch_query", "sqlbatch_rows", "skipped", "input", "outcome", "content",
                     "settled", 'a "b" c.d', "select", "{typed}", "sqlbatch_asks", 'q"uote']  # fmt: skip
    assert values == [({"content": 1}, {"a": 2}, {"b": 3}, 4, 5, 6, 7, 8, 9, 10, 11, "yes", 1)]


@pytest.mark.one_of(3)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE answers SET response = 'mine' WHERE title = 'Alien'", "some of its values have changed"),
        ("DELETE FROM answers WHERE title = 'Alien'", "it has 1 rows and had 2"),
        ("ALTER TABLE answers ADD COLUMN checked BOOLEAN", "its columns have changed"),
    ],
)
def test_a_target_that_was_changed_by_hand_is_not_overwritten(change: str, says: str) -> None:
    query = "SELECT * FROM (VALUES ('Alien'), ('Heat')) t(title)"
    db = database()
    enrich(db, query, content)
    assert enrich(db, query, content).rows == 2, "what sqlbatch wrote itself is replaced"
    rows(db, change)
    with pytest.raises(InvalidTarget, match=f"was changed since job 2 wrote it: {says}.*--replace"):
        begin(db, query)
    # What changes while a job is under way is not lost either.
    other = begin(db, query, replace=True)
    assert run.finish(db, other) is not None
    later = begin(db, query)
    rows(db, "UPDATE answers SET response = 'mine'")
    with pytest.raises(JobError, match=f"sqlbatch load {later} --replace"):
        run.finish(db, later)
    assert rows(db, "SELECT DISTINCT response FROM answers") == [("mine",)]


def test_a_target_of_another_release_of_duckdb_is_judged_by_its_columns_and_rows() -> None:
    db = database()
    enrich(db, "SELECT 'Alien' AS title", content)
    rows(db, "UPDATE work.sqlbatch.jobs SET target_state = replace(target_state, version(), 'v0.0.0')")
    rows(db, "UPDATE answers SET response = 'mine'")
    assert begin(db, "SELECT 'Alien' AS title") == 2
    rows(db, "DELETE FROM answers")
    with pytest.raises(InvalidTarget, match="it has 0 rows and had 1"):
        begin(db, "SELECT 'Alien' AS title")


def test_the_same_query_without_into_writes_the_same_table() -> None:
    db = database()
    for query, returns, target in (
        ("SELECT 'Alien' AS title", None, "enriched_1"),
        ("SELECT 'Alien' AS title", None, "enriched_1"),
        ("SELECT 'Heat' AS title", None, "enriched_3"),
        ("SELECT 'Alien' AS title", "mood VARCHAR", "enriched_4"),
    ):
        reply = content if returns is None else (lambda _: '{"mood": "x"}')
        assert enrich(db, query, reply, into=None, returns=returns).target == target

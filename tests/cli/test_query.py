"""`sqlbatch query`: any SQL of the user's, its last rows in five formats, its errors where they are."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import duckdb
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command

ROWS = (
    "SELECT 1 AS n, 'a|b' AS \"two words\", NULL AS nothing UNION ALL SELECT 2, e'line\nfeed, ü \"q\"', NULL ORDER BY n"
)


def test_csv_in_a_pipe(here: Command) -> None:
    ran = here("query", ROWS, "--format", "csv")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == 'n,two words,nothing\n1,a|b,\n2,"line\nfeed, ü ""q""",\n'


def test_json_in_a_pipe(here: Command) -> None:
    ran = here("query", ROWS, "--format", "json")
    assert json.loads(ran.out) == [
        {"n": 1, "two words": "a|b", "nothing": None},
        {"n": 2, "two words": 'line\nfeed, ü "q"', "nothing": None},
    ]
    assert json.loads(here("query", "SELECT 1 AS n WHERE false", "--format", "json").out) == []


def test_in_a_pipe_csv_is_the_default(here: Command) -> None:
    assert here("query", "SELECT i, 'a b' AS t FROM range(200) AS r(i)").out.count(",a b\n") == 200


ODD = """SELECT * FROM (VALUES ('nan'::DOUBLE, [{'x': 'inf'::FLOAT, 'y': 'NaN: "Infinity", \\ '}],
  to_json('nan'::DOUBLE), 0.5), (1.5, [], 'null', NULL)) t(a, sqlbatch_rows, c, "Infinity")"""


def test_json_never_has_what_json_does_not_have(here: Command) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(here("query", ODD, "--format", "json").out, parse_constant=refuse)
    assert found == [
        {"a": None, "sqlbatch_rows": [{"x": None, "y": 'NaN: "Infinity", \\ '}], "c": None, "Infinity": 0.5},
        {"a": 1.5, "sqlbatch_rows": [], "c": None, "Infinity": None},
    ]
    written = here(
        "query", "CREATE TABLE t (x DOUBLE); INSERT INTO t VALUES ('nan'), (2) RETURNING x", "--format", "json"
    )
    assert json.loads(written.out, parse_constant=refuse) == [{"x": None}, {"x": 2}]


@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.md", "rows.parquet"])
def test_a_file_is_written_whole_in_the_format_of_its_name(name: str, here: Command, tmp_path: Path) -> None:
    ran = here("query", "SELECT 7 AS n", "--output", name)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith(f"wrote {name} ({name.partition('.')[2].replace('md', 'markdown')}, 0.0 kB)"[:-8])
    text = (tmp_path / name).read_bytes()
    if name == "rows.parquet":
        with duckdb.connect() as con:
            assert con.execute(f"FROM '{tmp_path / name}'").fetchall() == [(7,)]
    else:
        assert (
            text
            == {"rows.csv": b"n\n7\n", "rows.json": b'[\n{"n":7}\n]\n', "rows.md": b"| n |\n| --- |\n| 7 |\n"}[name]
        )
    # An error leaves what was there.
    assert here("query", "SELECT error('no') FROM range(3)", "-o", name).code == 1
    assert (tmp_path / name).read_bytes() == text
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--output", "rows.txt"), "is no known format"),
        (("--output", "nowhere/rows.csv"), "a folder that exists"),
        (("--output", "x.csv", "--format", "table"), "for reading"),
        (("--output", "enriched.duckdb", "--format", "csv"), "the database itself"),
    ],
)
def test_a_file_that_cannot_be_is_refused(arguments: tuple[str, ...], told: str, here: Command) -> None:
    ran = here("query", "SELECT 1 AS n", *arguments)
    assert ran.code == 1
    assert told in ran.error


def test_a_wide_table_is_written_one_record_a_row(here: Command) -> None:
    columns = ", ".join(f"'{'word ' * 6}' AS column_number_{i}" for i in range(8))
    ran = here("query", f"SELECT {columns}, NULL AS none", "--format", "table")
    assert "│" not in ran.out
    assert ran.out.startswith("row 1 ──")
    assert "column_number_7:  word word word word word word\n" in ran.out
    assert "none:             NULL\n" in ran.out


def test_markdown_in_a_pipe(here: Command) -> None:
    ran = here("query", ROWS, "--format", "markdown")
    assert ran.out.splitlines() == [
        "| n | two words | nothing |",
        "| --- | --- | --- |",
        r"| 1 | a\|b |  |",
        '| 2 | line feed, ü "q" |  |',
    ]


def test_a_table_in_a_pipe_says_null_and_counts_what_it_leaves_out(here: Command) -> None:
    ran = here("query", "SELECT i, NULL AS x, '[red]' AS y FROM range(103) AS r(i)", "--format", "table")
    assert "│ 99 " in ran.out
    assert "│ 100 " not in ran.out
    assert "NULL" in ran.out
    assert "[red]" in ran.out
    assert "3 more rows" in ran.err


def test_parquet_in_a_pipe(cli: Command, tmp_path: Path) -> None:
    with (tmp_path / "rows.parquet").open("wb") as out:
        command = [sys.executable, "-m", "sqlbatch", "query", ROWS, "--format", "parquet"]
        assert subprocess.run(command, stdout=out, check=False).returncode == 0
    with duckdb.connect() as con:
        found = con.execute("SELECT n, \"two words\" FROM 'rows.parquet'").fetchall()
    assert found == [(1, "a|b"), (2, 'line\nfeed, ü "q"')]


def test_what_stands_in_a_file_already_stays_there(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("before\n")
    with path.open("ab") as out:
        command = [sys.executable, "-m", "sqlbatch", "query", "SELECT 1 AS n", "--format", "csv"]
        assert subprocess.run(command, stdout=out, check=False).returncode == 0
    assert path.read_text() == "before\nn\n1\n"


@pytest.mark.parametrize("form", ["csv", "markdown"])
def test_a_reader_that_has_read_enough_is_no_error(form: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sqlbatch", "query", "FROM range(3_000_000) AS r(i)", "--format", form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() in {b"i\n", b"| i |\n"}
        process.stdout.close()
        told = process.stderr.read()
        assert (process.wait(), told) == (0, b"")


def test_several_statements_run_in_turn_and_the_last_prints_its_rows(here: Command) -> None:
    ran = here(
        "query",
        "CREATE TABLE t (x INT); INSERT INTO t VALUES (1), (2);\n-- and then; or not\nFROM t;",
        "--format",
        "csv",
    )
    assert (ran.code, ran.out) == (0, "x\n1\n2\n")
    assert here("query", "DELETE FROM t WHERE x = 1").err == "done: 1 row\n"
    assert here("query", "DROP TABLE t").err == "done\n"


@pytest.mark.skipif(duckdb.__version__ < "2", reason="DuckDB 1.5 has no writes in a WITH")
@pytest.mark.parametrize("form", ["table", "csv", "json", "markdown", "parquet"])
def test_a_statement_that_writes_and_returns_rows_is_run_once(form: str, here: Command) -> None:
    here("query", "CREATE TABLE t (x INT); CREATE SEQUENCE numbers")
    for sql in (
        "INSERT INTO t VALUES (1) RETURNING x AS seven",
        "WITH a AS (INSERT INTO t VALUES (2) RETURNING x AS seven) FROM a",
        "SELECT nextval('numbers') AS seven",
    ):
        ran = here("query", sql, "--format", form)
        assert ran.code == 0, ran.err
        assert "seven" in ran.out
    assert here("query", "SELECT count(*) AS n, nextval('numbers') AS m FROM t", "--format", "csv").out == "n,m\n2,2\n"


def test_what_is_no_select_prints_its_rows_too(here: Command, caplog: pytest.LogCaptureFixture) -> None:
    here("query", "CREATE TABLE films (title VARCHAR)")
    assert "films" in here("query", "SHOW TABLES").out
    assert "title" in here("query", "DESCRIBE films", "--format", "csv").out
    explained = here("query", "EXPLAIN ANALYZE FROM films")
    assert "analyzed_plan" in explained.out
    assert explained.err == ""
    assert not caplog.records, "a parser's notes are no business of the user's"
    assert "physical_plan" in here("query", "EXPLAIN FROM films").out
    assert here("query", "PIVOT (SELECT 'a' AS k, 2 AS v) ON k USING sum(v)", "--format", "csv").out == "a\n2\n"
    assert here("query", "PRAGMA table_info('films')").code == 0


@pytest.mark.parametrize("form", ["table", "csv", "json", "markdown"])
@pytest.mark.parametrize(
    ("sql", "line", "pointer"),
    [
        ("SELECT nope FROM range(3)", 1, "nope"),
        ("SELECT 1;\n\n-- a comment\nSELECT i,\n  nope\nFROM range(3) AS r(i); ", 5, "nope"),
        ("CREATE TEMP TABLE t (x INT);\nINSERT INTO t SELECT nope", 2, "nope"),
        ("SELECT 1;\nSELEC 2", 2, "SELEC"),
        ("SELECT 1;\nSELECT nope;\nSELECT 3", 2, "nope"),
    ],
)
def test_an_error_points_at_its_place_in_the_whole_text(
    sql: str, line: int, pointer: str, form: str, here: Command
) -> None:
    ran = here("query", sql, "--format", form)
    assert ran.code == 1
    assert ran.out == ""
    assert ran.error.startswith("SQL: ")
    shown, marks = ran.err.splitlines()[1:]
    assert shown.startswith(f"  line {line}: ")
    assert shown[marks.index("^") : marks.index("^") + len(pointer)] == pointer


def test_only_a_statement_that_writes_makes_a_database(here: Command, tmp_path: Path) -> None:
    assert here("query", "SELECT 1; EXPLAIN SELECT 2").code == 0
    assert here("query", "SELEC").code == 1
    assert here("query", "").code == 1
    assert list(tmp_path.iterdir()) == []
    assert here("query", "CREATE TABLE t (x INT)").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["enriched.duckdb"]


def test_sql_comes_from_a_file_or_standard_input(here: Command, tmp_path: Path) -> None:
    (tmp_path / "films.sql").write_text("SELECT 'größe' AS x", encoding="utf-8")
    assert here("query", "films.sql", "--format", "csv").out == "x\ngröße\n"
    assert here("query", "-", "--format", "csv", stdin="SELECT 2 AS x").out == "x\n2\n"


def test_another_database_is_read_and_never_written(here: Command, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "other.duckdb")) as con:
        con.execute("CREATE TABLE films AS SELECT 'Alien' AS title")
    for attach, name in (
        ("other.duckdb", "other"),
        ("other.duckdb AS b", "b"),
        ('other.duckdb as my "b"', '"my ""b"""'),
    ):
        assert here("query", f"FROM {name}.films", "--attach", attach, "--format", "csv").out == "title\nAlien\n"
    ran = here("query", "DELETE FROM other.films", "--attach", "other.duckdb")
    assert ran.code == 1
    assert "read-only" in ran.error


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM sqlbatch.jobs",
        'UPDATE "SQLBATCH".results SET content = NULL',
        "SELECT 1; DROP TABLE IF EXISTS enriched.sqlbatch.results",
        "DROP SCHEMA sqlbatch CASCADE",
        "USE sqlbatch; TRUNCATE jobs",
        pytest.param(
            "WITH gone AS (DELETE FROM sqlbatch.jobs RETURNING *) SELECT * FROM gone",
            marks=pytest.mark.skipif(duckdb.__version__ < "2", reason="DuckDB 1.5 has no writes in a WITH"),
        ),
        "EXPLAIN ANALYZE DELETE FROM sqlbatch.jobs",
        "EXPLAIN (ANALYZE, FORMAT json) DELETE FROM sqlbatch.jobs",
        "PREPARE emptied AS TRUNCATE sqlbatch.jobs; EXECUTE emptied",
        "ALTER TABLE sqlbatch.jobs ADD COLUMN mine INTEGER",
        "CREATE OR REPLACE VIEW sqlbatch.due AS SELECT 1",
    ],
)
def test_what_sqlbatch_keeps_is_not_changed_by_hand(here: Command, tmp_path: Path, sql: str) -> None:
    here("query", "CREATE TABLE mine AS SELECT 1 AS x")
    ran = here("query", sql)
    assert ran.code == 1
    assert "sqlbatch's own record of what was sent and paid for" in ran.error
    assert here("query", "FROM sqlbatch.jobs").code == 0


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE copied AS FROM sqlbatch.jobs",
        "INSERT INTO mine SELECT job_id FROM sqlbatch.jobs",
        "COPY sqlbatch.jobs TO 'jobs.csv'",
        "BEGIN; INSERT INTO mine VALUES (2); COMMIT",
        "INSERT INTO sqlbatch.prices (model, input, output) VALUES ('mine', 1, 2)",
    ],
)
def test_what_is_the_users_may_be_changed(here: Command, sql: str) -> None:
    here("query", "CREATE TABLE mine AS SELECT 1 AS x")
    assert here("query", sql).code == 0


def test_a_transaction_that_is_never_ended_is_refused_before_it_begins(here: Command) -> None:
    here("query", "CREATE TABLE mine AS SELECT 1 AS x")
    ran = here("query", "BEGIN; INSERT INTO mine VALUES (2)")
    assert (ran.code, ran.error) == (
        1,
        "the SQL starts a transaction and never commits it, so nothing would be kept: add COMMIT",
    )


def test_a_vector_is_shown_by_its_first_numbers_and_written_whole(here: Command) -> None:
    ran = here("enrich", "SELECT 'a' AS x", "--provider", "local", "--endpoint", "embeddings", "--into", "t")
    assert ran.code == 0, ran.err
    assert "in all" not in ran.out
    assert ran.out.count(",") >= 255
    shown = here("query", "SELECT embedding, [1, 2] AS few, 'a' AS few FROM t", "--format", "table")
    assert " in all]" in shown.out
    assert "[1, 2]" in shown.out
    for form in ("csv", "json", "markdown"):
        whole = here("query", "SELECT embedding FROM t", "--format", form).out
        assert "in all" not in whole
        assert whole.count(",") >= 255

"""Rows arrive as they are: relations, DataFrames, Arrow, dicts, pipes, odd files; and no error tells what they hold."""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

import sqlbatch
from sqlbatch.cli import main
from sqlbatch.errors import InvalidEnrichment, InvalidQuery, InvalidSettings, SqlbatchError
from sqlbatch.python_messages import in_python

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Command

ASK = {"provider": "local", "instructions": "Repeat.", "into": "t"}
EVERY_TYPE = (
    "SELECT 'a' AS title, sum(1) AS whole, INTERVAL 1 DAY AS span, '12:00:00+01'::TIMETZ AS hour, "
    "union_value(k := 1) AS either, 'x'::ENUM('x', 'y') AS kind, '101'::BIT AS bits, [1, 2]::INTEGER[2] AS pair, "
    "{'a': 1.50} AS s, MAP {'k': 2} AS m, 'a56a1d0a-0000-4000-8000-000000000000'::UUID AS id"
)


def ids(db: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(db)) as con:
        return con.execute("SELECT custom_id, input FROM sqlbatch.requests ORDER BY ALL").fetchall()


def types(db: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(db)) as con:
        return con.execute("SELECT column_name, column_type FROM (DESCRIBE sqlbatch.rows_1)").fetchall()


def test_a_relation_keeps_every_type_and_has_the_ids_of_the_command(tmp_path: Path) -> None:
    sqlbatch.enrich(EVERY_TYPE, db=tmp_path / "a.duckdb", **ASK)  # type: ignore[arg-type]
    with duckdb.connect() as con:
        sqlbatch.enrich(con.sql(EVERY_TYPE), db=tmp_path / "b.duckdb", **ASK)  # type: ignore[arg-type]
        assert con.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall() == []
        assert len(con.execute("FROM duckdb_databases() WHERE NOT internal").fetchall()) == 1
    assert ids(tmp_path / "a.duckdb") == ids(tmp_path / "b.duckdb") != []
    assert types(tmp_path / "a.duckdb") == types(tmp_path / "b.duckdb")


def _frames() -> list[Any]:
    def pandas() -> Any:
        return pytest.importorskip("pandas").DataFrame({"title": ["Heat", "Up"], "year": [1995, 2009]})

    def polars() -> Any:
        pytest.importorskip("pyarrow")
        return pytest.importorskip("polars").DataFrame({"title": ["Heat", "Up"], "year": [1995, 2009]})

    def arrow() -> Any:
        return pytest.importorskip("pyarrow").table({"title": ["Heat", "Up"], "year": [1995, 2009]})

    def reader() -> Any:
        return arrow().to_reader()

    def dicts() -> Any:
        return [{"title": "Heat", "year": 1995}, {"year": 2009, "title": "Up"}]

    return [pytest.param(each, id=each.__name__) for each in (pandas, polars, arrow, reader, dicts)]


@pytest.mark.parametrize("make", _frames())
def test_rows_of_python_are_taken_as_they_are(make: Any, tmp_path: Path) -> None:
    job = sqlbatch.enrich(make(), db=tmp_path / "a.duckdb", input="title", **ASK).wait()  # type: ignore[arg-type]
    assert job.table().project("title, year, response").fetchall() == [("Heat", 1995, "Heat"), ("Up", 2009, "Up")]
    assert "title" in job.status().query
    quote = sqlbatch.plan(make(), db=tmp_path / "a.duckdb", input="title", **ASK)  # type: ignore[arg-type]
    assert (quote.answered, quote.to_send) == (2, 0)


def test_dicts_may_have_other_keys_and_values_of_any_type(tmp_path: Path) -> None:
    rows = [
        {"a": 1, "when": dt.date(2026, 1, 2), "x": {"k": [1, 2]}, "none": None},
        {"a": None, "price": decimal.Decimal("1.50"), "raw": b"\x00", "none": None},
    ]
    sqlbatch.plan(rows, db=tmp_path / "a.duckdb", **ASK)  # type: ignore[arg-type]
    preview = sqlbatch.preview(rows, db=tmp_path / "a.duckdb", provider="local", instructions="x", input=["a", "x"])
    assert preview.rows[0].input["when"] == "2026-01-02"
    assert preview.rows[1].input["price"] == 1.5


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "empty"),
        ([1, 2], "not a dict"),
        (None, "None cannot be read"),
        (object(), "cannot be read as rows"),
        (Path("films.csv"), r"films\.csv is not a \.sql file"),
        (Path("gone.sql"), r"gone\.sql cannot be read"),
    ],
)
def test_what_is_no_rows_is_told(rows: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidQuery, match=says):
        sqlbatch.plan(rows, db=tmp_path / "a.duckdb", **ASK)  # type: ignore[arg-type]


def test_the_same_arguments_go_for_plan_preview_and_enrich(tmp_path: Path) -> None:
    calls: list[Any] = [sqlbatch.plan, sqlbatch.preview, sqlbatch.enrich]
    for call in calls:
        call("SELECT 1 AS a", db=tmp_path / "a.duckdb", **ASK)


def test_a_path_is_a_sql_file(tmp_path: Path) -> None:
    (tmp_path / "films.sql").write_text("/* sqlbatch\ninstructions = 'x'\n*/ SELECT 'Heat' AS title")
    assert sqlbatch.plan(tmp_path / "films.sql", db=tmp_path / "a.duckdb", provider="local").target == "films"


@pytest.mark.parametrize("file", [True, False])
def test_what_only_the_connection_sees_is_found(file: bool, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    with duckdb.connect(str(tmp_path / "mine.duckdb") if file else ":memory:") as con:
        con.register("films", pandas.DataFrame({"title": ["Heat"]}))
        con.execute("CREATE TEMP TABLE years AS SELECT 'Heat' AS title, 1995 AS year")
        job = sqlbatch.enrich("FROM films JOIN years USING (title)", db=con, input="title", **ASK).wait()  # type: ignore[arg-type]
        assert job.table().project("year, response").fetchall() == [(1995, "Heat")]
        con.execute("CREATE TABLE kept (i INTEGER)")
        with pytest.raises(InvalidQuery, match=r"writes|A CTE needs a SELECT"):
            sqlbatch.plan("WITH w AS (INSERT INTO kept VALUES (1) RETURNING i) FROM w", db=con, **ASK)  # type: ignore[arg-type]
        assert con.execute("FROM kept").fetchall() == []


def test_an_open_transaction_of_a_relation_is_told(tmp_path: Path) -> None:
    with duckdb.connect() as con:
        con.execute("BEGIN; CREATE TABLE films AS SELECT 'Heat' AS title")
        with pytest.raises(SqlbatchError, match="open transaction: commit it first"):
            sqlbatch.plan(con.sql("FROM films"), db=tmp_path / "a.duckdb", **ASK)  # type: ignore[arg-type]


def test_errors_speak_python(tmp_path: Path) -> None:
    for given, says in (
        ({"input": "gone", "instructions": "x"}, "^input: the query has no column gone"),
        ({"instructions": "x", "limit": 0}, "^limit=0: it must be 1 or more"),
        ({}, "give prompt='a template"),
        ({"instructions": "x", "params": {"n": 2}}, r'^params\["n"\]: '),
        ({"instructions": "x", "returns": "a NONSENSE"}, "^returns"),
    ):
        with pytest.raises(InvalidEnrichment, match=says) as caught:
            sqlbatch.plan("SELECT 1 AS a", db=tmp_path / "a.duckdb", provider="local", **given)
        assert "--" not in str(caught.value)
    sqlbatch.enrich("SELECT 1 AS a", db=tmp_path / "a.duckdb", provider="local", instructions="x").wait()
    with pytest.raises(InvalidSettings, match=r"^structured=prose: "):
        sqlbatch.find(db=tmp_path / "a.duckdb").load(judge_again=True, structured="prose")
    assert in_python("sqlbatch wait 3 --keep-going goes on") == "sqlbatch wait 3 --keep-going goes on"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no /dev/stdin")
def test_a_pipe_is_read_once_and_whole(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    query = "SELECT * FROM read_csv('/dev/stdin')"
    command = [sys.executable, "-m", "sqlbatch", "plan", query, "--provider", "local", "--instructions", "x", "--json"]
    done = subprocess.run(command, input=b"a\n1\n2\n3\n", capture_output=True, cwd=tmp_path, check=True)
    assert b'"rows": 3' in done.stdout
    with _piped(b"a\n1\n2\n") as pipe:
        assert sqlbatch.plan(f"FROM read_csv('{pipe}')", db=tmp_path / "a.duckdb", **ASK).rows == 2  # type: ignore[arg-type]
    with _piped(b"a\n1\n2\n") as pipe:
        query = f"CREATE TABLE t AS FROM read_csv('{pipe}'); SELECT count(*) AS n FROM t"
        assert main(["query", query, "--db", str(tmp_path / "b.duckdb")]) == 0
    with _piped(b"a\n1\n2\n3\n") as pipe:
        assert main(["query", f"FROM read_csv('{pipe}')", "--db", str(tmp_path / "b.duckdb")]) == 0
    assert capfd.readouterr().out == "n\n2\na\n1\n2\n3\n"


@contextlib.contextmanager
def _piped(content: bytes) -> Iterator[str]:
    read, write = os.pipe()
    os.write(write, content)
    os.close(write)
    yield f"/dev/fd/{read}"
    os.close(read)


SECRET = "my secret row"
HIDDEN = f"FROM (SELECT '{SECRET[:5]}' || '{SECRET[5:]}' || i AS x FROM range(3) t(i))"


@pytest.mark.parametrize(
    ("content", "query", "says", "mended"),
    [
        (f"id,name\n1,caf\u00e9 {SECRET}\n".encode("latin-1"), "FROM 'x.csv'", "x.csv, line 2: it is not UTF-8", None),
        (b"id,n\n1," + b"s" * 3_000_000 + b"\n2,x\n", "FROM 'x.csv'", "line is longer than 2 MB", None),
        (
            b"id,n\n" + b"".join(b"%d,%d\n" % (i, i) for i in range(30_000)) + b"5,my secret row\n",
            "FROM 'x.csv'",
            "line 30002: the value of n is not BIGINT",
            None,
        ),
        (
            b"id,n\n" + b"".join(b"%d,%d\n" % (i, i) for i in range(30_000)) + b"5,my secret row,1,2\n",
            "FROM 'x.csv'",
            "line 30002",
            False,
        ),
        (b"", f"SELECT x::INT {HIDDEN}", "…", False),
        (
            b"",
            f"SELECT x::DATE {HIDDEN}",
            "…",
            False,
        ),
        (
            b"",
            f"SELECT strptime(x, '%Y') {HIDDEN}",
            "…",
            False,
        ),
        (
            b"",
            f"SELECT x::JSON {HIDDEN}",
            "…",
            False,
        ),
    ],
    ids=["latin-1", "long cell", "type", "columns", "integer", "date", "strptime", "json"],
)
def test_an_error_tells_the_remedy_and_nothing_of_a_row(
    here: Command, tmp_path: Path, content: bytes, query: str, says: str, mended: bool | None
) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    arguments = ("--provider", "local", "--instructions", "x")
    ran = here("plan", query, *arguments)
    assert ran.code == 1
    assert says in ran.error
    assert len(ran.error) < 300
    assert SECRET not in ran.err
    assert "ssss" not in ran.err
    if mended is None:
        # What it says to write is what helps.
        remedy = ran.error[ran.error.index("read_csv(") :]
        assert here("plan", f"FROM {remedy}", *arguments).code == 0


def test_pictures_of_a_hugging_face_data_set_are_seen(here: Command) -> None:
    png = "'\\x89PNG\\x0D\\x0A\\x1A\\x0A'::BLOB"
    query = f"SELECT 1 AS id, {{'bytes': {png}, 'path': 'x.png'}} AS image"
    ran = here("plan", query, "--image", "image", "--provider", "local", "--instructions", "x", "--json")
    assert ran.code == 0, ran.err
    assert '"pictures": 1' in ran.out

"""Spark's rows go in, and Spark's table comes out: every type keeps its value, and every request its id."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

import sqlbatch
from sqlbatch import spark as sqlbatch_spark
from sqlbatch.errors import EngineError, InvalidQuery, InvalidSettings, InvalidTarget, JobError
from sqlbatch.lake.spark import Spark

from .conftest import QUERY
from .types_in import query_of

if TYPE_CHECKING:
    from .conftest import SparkBench


# Every type that a model can be asked for, and what it is at Spark.
RETURNED = [
    ("BOOLEAN", "boolean"),
    ("TINYINT", "tinyint"), ("SMALLINT", "smallint"), ("INTEGER", "int"), ("BIGINT", "bigint"),
    ("UTINYINT", "smallint"), ("USMALLINT", "int"), ("UINTEGER", "bigint"), ("UBIGINT", "decimal(20,0)"),
    ("HUGEINT", "decimal(38,0)"), ("FLOAT", "float"), ("DOUBLE", "double"), ("DECIMAL(10,2)", "decimal(10,2)"),
    ("VARCHAR", "string"), ("ENUM('x', 'y')", "string"), ("DATE", "date"), ("TIME", "string"),
    ("TIMESTAMP", "timestamp_ntz"), ("TIMESTAMPTZ", "timestamp"), ("UUID", "string"), ("JSON", "string"),
    ("VARCHAR[]", "array<string>"), ("INTEGER[][]", "array<array<int>>"), ("FLOAT[3]", "array<float>"),
    ("STRUCT(a INTEGER, b VARCHAR)", "struct<a:int,b:string>"),
    ("STRUCT(day DATE, at TIME)[]", "array<struct<day:date,at:string>>"),
]  # fmt: skip


def test_rows_are_planned_previewed_asked_about_and_written(bench: SparkBench) -> None:
    """The quote counts Spark's rows, the preview's answers are kept, the table has all rows; again sends nothing."""
    query = QUERY.format(rows=6)
    quote = bench.plan(query)
    assert (quote.rows, quote.to_send, quote.target) == (6, 6, "default.tags")
    assert (quote.sent_columns, quote.also_kept) == (("text",), ("id", "twice"))
    assert not bench.path.exists()
    shown = bench.preview(query, rows=2)
    assert [row.input for row in shown.rows] == [{"text": "row 0"}, {"text": "row 1"}]
    assert shown.of("answered") == 2
    assert bench.runs() == []
    job = bench.enrich(query)
    assert len(bench.runs()) == 1
    job.wait(poll=60)
    bench.check(6)
    assert bench.runs() == []
    assert job.table().count() == 6
    again = bench.enrich(bench.spark.sql(query)).wait(poll=60)
    assert again.job_id == 2
    bench.check(6)
    assert len(bench.control.ledger()) == 6


def test_a_condition_limits_a_dataframe_too(bench: SparkBench) -> None:
    """Only the rows that fulfil it are quoted, asked about and written."""
    frame = bench.spark.sql(QUERY.format(rows=6))
    assert bench.plan(frame, where="id < 2").to_send == 2
    assert len(bench.preview(frame, where="id < 2").rows) == 2
    bench.enrich(frame, where="id < 2").wait(poll=60)
    assert len(bench.rows()) == len(bench.control.ledger()) == 2


def test_rows_of_a_table_that_is_written_anew_cannot_be_updated(bench: SparkBench) -> None:
    """Spark replaces its table in one commit, so that rows of earlier runs would be lost."""
    with pytest.raises(InvalidSettings, match=r"incremental.* does not go with Spark"):
        bench.enrich(incremental=True, unique_key="id")
    assert bench.control.ledger() == []


def test_every_type_that_is_sent_makes_the_request_that_the_command_makes(bench: SparkBench) -> None:
    """So an answer that is paid for once is there for both, and the other columns arrive as they were."""
    asked = {"instructions": "Repeat the text.", "model": "offline", "base_url": bench.base_url}
    there = bench.path.with_name("there.duckdb")
    sqlbatch.enrich(query_of(1), db=there, yes=True, into="tags", **asked)  # type: ignore[arg-type]
    bench.enrich(query_of(0), input=None).wait(poll=60)
    ids = "SELECT custom_id::VARCHAR FROM sqlbatch.requests"
    with duckdb.connect(str(there)) as con:
        assert bench.sql(ids) == con.execute(ids).fetchall()
    (row,) = bench.rows()
    assert row["wide"] == Decimal("1234567890.123456789")
    assert (row["tags"], row["pair"].asDict(), row["counts"]) == (["a", None], {"a": 1, "b": Decimal("1.50")}, {"k": 1})


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("SELECT INTERVAL '1' DAY AS text", "text is interval day, which cannot be sent to a model: cast it"),
        ("SELECT 'a' AS text, 1 AS sqlbatch_ref", "the query has a column sqlbatch_ref"),
        ("SELECT 'a' AS text, 1 AS ai_status", "ai_status has the name of a column that sqlbatch adds"),
        ("SELECT nope AS text", "nope"),
        ("SELECT ai_classify('a', array('b')) AS text", "ask with instructions= and returns= instead"),
        ("CREATE TABLE made AS SELECT 'a' AS text", "the query"),
    ],
)
def test_what_cannot_be_asked_about_is_refused_before_anything_is_kept(
    bench: SparkBench, query: str, problem: str
) -> None:
    """One line that says what; no table is made, nothing is sent."""
    with pytest.raises(InvalidQuery, match=problem) as refused:
        bench.enrich(query)
    assert "\n" not in str(refused.value)
    assert bench.runs() == []
    assert not bench.spark.catalog.tableExists("made")
    assert bench.control.ledger() == []


def test_a_table_that_sqlbatch_did_not_make_stays(bench: SparkBench) -> None:
    """It is refused before anything is sent, and replaced where that is asked for."""
    bench.spark.sql("CREATE TABLE mine AS SELECT 1 AS a")
    with pytest.raises(InvalidTarget, match="mine is a table that sqlbatch did not make"):
        bench.enrich(into="mine")
    bench.enrich(into="mine", replace=True).wait(poll=60)
    bench.check(6, "mine")


def test_answers_arrive_as_types_that_spark_has(bench: SparkBench) -> None:
    """What Spark has no type for, as text; the rest as it is."""
    returns = ", ".join(f"c{number} {returned}" for number, (returned, _) in enumerate(RETURNED))
    bench.enrich("SELECT 1 AS id, 'In 1931 a baker paid 12.50.' AS text", returns=returns).wait(poll=60)
    schema = bench.spark.table("default.tags").schema
    kinds = {field.name: field.dataType.simpleString() for field in schema.fields}
    ours = dict.fromkeys(("custom_id", "ai_status", "ai_error", "ai_model"), "string")
    assert kinds == {"id": "int", "text": "string"} | {f"c{n}": kind for n, (_, kind) in enumerate(RETURNED)} | ours
    (row,) = bench.rows()
    assert row["ai_status"] == "answered"
    columns = ", ".join(f"c{number}::VARCHAR" for number in range(len(RETURNED)))
    (built,) = bench.sql(f'SELECT {columns} FROM "default.tags"')
    for number, value in enumerate(built):
        arrived, kind = row[f"c{number}"], RETURNED[number][1]
        assert (arrived is None) == (value is None), RETURNED[number]
        if value is not None and kind in {"string", "date", "tinyint", "smallint", "int", "bigint"}:
            assert str(arrived) == value, RETURNED[number]


def test_spark_that_cannot_write_loses_nothing(bench: SparkBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job is done and paid, why it is not written is on record, and coming back to it writes the table."""
    job = bench.enrich()

    def broken(*_: Any) -> int:
        raise EngineError("Spark could not write default.tags: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Spark, "publish", broken)
        with pytest.raises(EngineError, match="the disk is full"):
            job.wait(poll=60)
    assert job.status().status == "done"
    assert bench.sql("SELECT published_at IS NULL, error FROM sqlbatch.publications")[0][0]
    sqlbatch_spark.find(bench.spark, "default.tags", db=bench.path).wait()
    bench.check(6)


def test_an_older_job_leaves_the_table_to_the_newer(bench: SparkBench) -> None:
    """Whoever comes back to it last."""
    first = bench.enrich(rows=4)
    bench.enrich(rows=6).wait(poll=60)
    with pytest.raises(JobError, match="job 2"):
        first.wait(poll=60)
    with pytest.raises(JobError, match="job 2 is the newest for default"):
        first.publish()
    bench.check(6)


def test_a_job_of_the_database_is_no_job_of_sparks(bench: SparkBench) -> None:
    """It is found where it is."""
    asked = {"instructions": "Repeat it.", "provider": "local", "db": bench.path}
    sqlbatch.enrich("SELECT 'a' AS text", **asked)  # type: ignore[arg-type]
    with pytest.raises(JobError, match="find has it"):
        sqlbatch_spark.find(bench.spark, db=bench.path)

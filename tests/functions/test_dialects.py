"""Queries in the SQL of other products run unchanged, and give the table of the same query in DuckDB's SQL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import duckdb
import pytest

import sqlbatch
from sqlbatch.cli import main
from sqlbatch.errors import InvalidOption, InvalidQuery
from sqlbatch.functions.dialects import DIALECTS, translate
from tests.functions.oracle import Direct, Model, connect, plan_of, run_plan
from tests.functions.test_oracle import read
from tests.query.support import database, rows

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(duckdb.__version__ < "2", reason="AI functions need DuckDB 2.0")

WRITTEN = read("dialects.sql")


@pytest.fixture(scope="module")
def direct() -> Direct:
    """Return the connection that runs queries as they stand."""
    return Direct()


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    """Return the connection that plans are made and run on."""
    return connect()


@pytest.mark.one_of(3)
@pytest.mark.parametrize("name", WRITTEN)
def test_a_query_of_another_product_gives_the_table_of_the_same_in_duckdb(
    name: str, direct: Direct, con: duckdb.DuckDBPyConnection
) -> None:
    query, _, same = WRITTEN[name].partition("\n--> ")
    wanted = direct.run(same, Model(3, failing=10))
    sql = translate(query, name.partition("_")[0]).sql
    found = run_plan(con, plan_of(con, sql), Model(3, failing=10))
    assert (found.names, found.types, found.sorted()) == (wanted.names, wanted.types, wanted.sorted()), sql


def test_there_are_as_many_as_promised_of_each() -> None:
    assert len(WRITTEN) >= 25
    assert {name.partition("_")[0] for name in WRITTEN} == set(DIALECTS)


@pytest.mark.parametrize(
    ("dialect", "query", "words"),
    [
        (
            "snowflake",
            "SELECT AI_COUNT_TOKENS('m', t) FROM x",
            "ai_count_tokens of snowflake is not known here; there are",
        ),
        (
            "snowflake",
            "SELECT AI_CLASSIFY(t, ['a']):score FROM x",
            "score is no part of the answer that sqlbatch has: it has labels",
        ),
        (
            "snowflake",
            "SELECT AI_CLASSIFY(t, c) FROM x",
            "ai_classify: c must be constant, because all rows of a batch share it",
        ),
        ("bigquery", "SELECT AI.IF(t, magic => 1) FROM x", "ai_if: sqlbatch has no equivalent of its argument magic"),
        (
            "databricks",
            "SELECT ai_query('m', t, returnType => 'NONSENSE<') FROM x",
            "ai_query: the type NONSENSE< cannot be read",
        ),
        (
            "bigquery",
            "SELECT 'é',\n  r FROM ML.GENERATE_TEXT(MODEL `m`, TABLE t, STRUCT(1 AS x))",
            "2:   r FROM ML.GENERATE_TEXT(MODEL `m`, TABLE t, STRUCT(1 AS x))\n                   ^^^^^^^^^^^^^^^^",
        ),
        ("bigquery", "SELECT FROM WHERE", "the query cannot be read as bigquery's SQL"),
        ("databricks", "SELECT 1; SELECT 2", "it must be one SELECT, not 2 statements"),
    ],
)
def test_what_has_no_counterpart_is_refused_with_its_name(dialect: str, query: str, words: str) -> None:
    with pytest.raises(InvalidQuery) as refused:
        translate(query, dialect)
    assert words in str(refused.value)


def test_the_option_the_front_matter_and_python_read_a_dialect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = database(setup="CREATE TABLE films AS SELECT 'film ' || i AS title FROM range(4) t(i)")
    query = "SELECT title, AI_COMPLETE('claude-4-sonnet', PROMPT('Judge {0}', title)) AS said FROM films"
    told = ["--provider", "local", "--db", str(db.path)]
    assert main(["plan", query, "--dialect", "snowflake", "--json", *told]) == 0
    quote = json.loads(capsys.readouterr().out)
    assert quote["stages"][0]["calls"] == ["ai_complete(prompt('Judge {0}', title))"]
    assert quote["notes"] == ["the query names claude-4-sonnet, of another vendor: --model answers in its place"]
    file = tmp_path / "judged.sql"
    file.write_text(f'/* sqlbatch\ndialect = "snowflake"\nprovider = "local"\n*/\n{query}')
    assert main(["enrich", str(file), "--db", str(db.path)]) == 0
    assert rows(db, "SELECT count(said) FROM judged") == [(4,)]
    assert sqlbatch.plan(query, dialect="snowflake", db=db.path, provider="local").answered == 4
    with pytest.raises(InvalidOption, match="dialect snow: did you mean snowflake"):
        sqlbatch.plan(query, dialect="snow", db=db.path, provider="local")


def test_a_place_in_a_translated_query_is_said_to_be_one() -> None:
    db = database(setup="CREATE TABLE t AS SELECT 'a' AS x")
    with pytest.raises(InvalidQuery, match=r"\n  \(shown as DuckDB's SQL, which your snowflake SQL was read as\)$"):
        sqlbatch.plan(
            "SELECT AI_CLASSIFY(x, ['a', 'a']) AS c FROM t", dialect="snowflake", db=db.path, provider="local"
        )


def test_a_query_without_calls_is_read_in_its_dialect_too() -> None:
    db = database(setup="CREATE TABLE t AS SELECT 'a' AS x, [1, 2] AS y")
    quote = sqlbatch.plan(
        "SELECT x, y[OFFSET(0)] AS first FROM `t`", dialect="bigquery", input="x", instructions="Say.", db=db.path,
        provider="local",
    )  # fmt: skip
    assert quote.to_send == 1

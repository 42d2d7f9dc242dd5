"""Answers are joined to rows only where the joined SQL gives the same table."""

from __future__ import annotations

from uuid import UUID

import duckdb
import pytest

from sqlbatch.functions.joins import Answers, with_joins

pytestmark = pytest.mark.skipif(duckdb.__version__ < "2", reason="AI functions need DuckDB 2.0")

ANSWERS = {1: Answers("answers_1", UUID(int=1), 1), 2: Answers("answers_2", UUID(int=2), 2)}


def joined(sql: str, *, in_order: bool = True, binds: bool = True) -> str:
    return with_joins(sql, ANSWERS, lambda _: binds, in_order=in_order)


@pytest.mark.parametrize(
    ("sql", "joins"),
    [
        ("SELECT x, sqlbatch_ai_1(x) AS a FROM t WHERE sqlbatch_ai_2(x) ORDER BY t.rowid", 2),
        ("SELECT x, sqlbatch_ai_1(x) AS a, sqlbatch_why_1(x) AS b FROM t ORDER BY t.rowid", 1),
        ("SELECT x, sqlbatch_ai_1(x) AS a, sqlbatch_ai_1(lower(y)) AS b FROM t ORDER BY t.rowid", 2),
        ("SELECT *, sqlbatch_ai_1(x) AS a FROM t , u ORDER BY t.rowid", 1),
        ("SELECT sqlbatch_ai_1(x) AS a, count(*) AS n FROM t GROUP BY a", 1),
        ("SELECT y, count(*) FILTER (sqlbatch_ai_1(x)) AS n FROM t GROUP BY y", 1),
    ],
)
def test_a_call_of_each_row_is_looked_up_by_a_join(sql: str, joins: int) -> None:
    assert joined(sql).count("LEFT JOIN") == joins


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("SELECT x, sqlbatch_ai_1(x) AS a FROM t", id="no order is given"),
        pytest.param("SELECT sqlbatch_ai_1(x) AS a FROM (FROM t LIMIT 5) AS t ORDER BY a", id="a limit takes any rows"),
        pytest.param(
            "SELECT sqlbatch_ai_1(x) AS a FROM (SELECT DISTINCT ON (y) x FROM t) AS t ORDER BY a", id="any row"
        ),
        pytest.param("SELECT y, any_value(sqlbatch_ai_1(x)) AS a FROM t GROUP BY y", id="any value"),
        pytest.param("SELECT sqlbatch_ai_1(x) AS a FROM t ORDER BY row_number() OVER ()", id="a window has no order"),
        pytest.param("SELECT list(sqlbatch_ai_1(x)) AS a FROM t GROUP BY y", id="a list is in the rows' order"),
        pytest.param("SELECT sqlbatch_ai_1(x::INTEGER) AS a FROM t WHERE y ORDER BY 1", id="a cast may fail"),
        pytest.param("SELECT lower(y) AS x, sqlbatch_ai_1(x) AS a FROM t ORDER BY 1", id="a name may mean two columns"),
        pytest.param("SELECT sqlbatch_ai_1(x) FROM t ORDER BY 1", id="the column is called by its text"),
        pytest.param("SELECT x, sqlbatch_ai_1(x) AS a FROM t GROUP BY x", id="a call of groups"),
        pytest.param("SELECT x, sqlbatch_ai_3(x) AS a FROM t ORDER BY 1", id="a call without a table of answers"),
    ],
)
def test_what_a_join_could_change_stays_as_it_is(sql: str) -> None:
    assert joined(sql) == sql


def test_where_nobody_sees_the_order_none_need_be_given() -> None:
    assert "LEFT JOIN" in joined("SELECT x, sqlbatch_ai_1(x) AS a FROM t", in_order=False)


def test_what_duckdb_does_not_accept_stays_as_it_is() -> None:
    sql = "SELECT x, sqlbatch_ai_1(x) AS a FROM t ORDER BY t.rowid"
    assert joined(sql, binds=False) == sql

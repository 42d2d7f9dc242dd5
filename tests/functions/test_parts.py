"""LIMIT under a condition that is asked: the first rows are asked first, and more only while too few pass."""

from __future__ import annotations

import duckdb
import pytest

from sqlbatch.functions import parts
from sqlbatch.functions.conditions import Policy
from tests.functions.oracle import Direct, Model, connect, plan_of, run_plan
from tests.functions.test_oracle import QUERIES

pytestmark = pytest.mark.skipif(duckdb.__version__ < "2", reason="AI functions need DuckDB 2.0")

LIMITED = {
    "ordered": QUERIES["filter_order_limit"],
    "then_asked": QUERIES["top_filtered"],
    "two_conditions": "SELECT title, ai_summarize(overview) AS s FROM movies WHERE ai_filter(overview, 'rare') "
    "AND ai_score(title, 's') > 0.8 AND year > 1981 LIMIT 3",
    "unknown_passes": "SELECT title FROM movies WHERE ai_filter(overview, 'p') IS NOT FALSE "
    "AND NOT ai_filter(title, 'q') ORDER BY rating DESC LIMIT 4 OFFSET 2",
    "never_enough": "SELECT title FROM movies WHERE ai_score(title, 'never') > 1 LIMIT 2",
}


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make parts so small that the tables of the written queries have several."""
    monkeypatch.setattr(parts, "AT_LEAST", 4)
    monkeypatch.setattr(parts, "FOR_EACH", 1)


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("name", LIMITED)
def test_parts_give_the_table_that_direct_calls_give(name: str) -> None:
    direct, con = Direct(), connect()
    for seed in (1, 2):
        wanted = direct.run(LIMITED[name], Model(seed, failing=10))
        for policy in (Policy.BALANCED, Policy.LEAN):
            found = run_plan(con, plan_of(con, LIMITED[name], policy), Model(seed, failing=10))
            assert (found.names, found.types, found.sorted()) == (wanted.names, wanted.types, wanted.sorted())


def test_rows_beyond_those_that_are_needed_are_not_asked() -> None:
    con = connect()
    con.execute("CREATE TABLE many AS SELECT 'text ' || i AS t, i FROM range(5000) r(i)")
    query = "SELECT t FROM many WHERE ai_filter(t, 'p') LIMIT 5"
    plan = plan_of(con, query)
    assert plan.stages > 3
    found = run_plan(con, plan, Model())
    assert len(found.rows) == 5
    assert len(found.asked) == parts.AT_LEAST
    assert plan_of(con, query, Policy.FUSE).stages == 1


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(
    "query",
    [
        "SELECT title, row_number() OVER (ORDER BY id) AS n FROM movies WHERE ai_filter(title, 'p') LIMIT 2",
        "SELECT studio, count(*) FROM movies WHERE ai_filter(title, 'p') GROUP BY studio ORDER BY studio LIMIT 2",
        "SELECT DISTINCT studio FROM movies WHERE ai_filter(title, 'p') LIMIT 2",
    ],
)
def test_where_rows_beyond_the_limit_count_all_are_asked_at_once(query: str) -> None:
    assert plan_of(connect(), query).stages == 1

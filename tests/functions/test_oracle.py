"""The staged plan gives the table that DuckDB gives when it calls the functions directly, for written queries."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from sqlbatch.functions.conditions import Policy
from tests.functions.generate import generated
from tests.functions.oracle import Direct, Model, connect, plan_of, plans_of, run_plan
from tests.long import one_of

if TYPE_CHECKING:
    from sqlbatch.functions.plan import Plan

pytestmark = pytest.mark.skipif(duckdb.__version__ < "2", reason="AI functions need DuckDB 2.0")

HERE = Path(__file__).parent
HEADER = re.compile(r"^-- (?P<name>[a-z0-9_]+): .*$", re.MULTILINE)
# Queries for which the plan asks more than DuckDB does, which takes conditions in an order of its own; and why.
ASKS_MORE = {
    "join_three": "two filters on two tables: the plan asks the written one first, DuckDB each before the join",
    "cte_chain": "DuckDB moves the reader's condition below the filter of the CTE",
    "subquery_two_levels": "a call is lifted by one level: the outermost condition is above that",
    "cte_renamed": "a CTE with renamed columns is not lifted",
}


def read(file: str) -> dict[str, str]:
    """Return the queries of a file by name."""
    text = (HERE / file).read_text()
    headers = list(HEADER.finditer(text))
    ends = [*(header.start() for header in headers[1:]), len(text)]
    return {h["name"]: text[h.end() : end].strip().rstrip(";") for h, end in zip(headers, ends, strict=True)}


QUERIES = read("queries.sql")


@pytest.fixture(scope="module")
def direct() -> Direct:
    """Return the connection that runs queries as they stand."""
    return Direct()


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    """Return the connection that plans are made and run on."""
    return connect()


@pytest.mark.parametrize("name", one_of(4, QUERIES))
def test_a_plan_gives_the_table_that_direct_calls_give(
    name: str, direct: Direct, con: duckdb.DuckDBPyConnection
) -> None:
    query = QUERIES[name]
    expected = {failing: direct.run(query, Model(failing > 0, failing)) for failing in (0, 15)}
    for plan, policies in distinct(plans_of(con, query)):
        assert plan.columns == tuple(zip(expected[0].names, expected[0].types, strict=True))
        # One set of answers for each policy, some failed for the default; `python -m tests.plans` has all with all.
        for failing in sorted({15 if policy is Policy.BALANCED else 0 for policy in policies}):
            found, wanted = run_plan(con, plan, Model(failing > 0, failing)), expected[failing]
            assert (found.names, found.types) == (wanted.names, wanted.types)
            assert found.sorted() == wanted.sorted(), policies
            if Policy.LEAN in policies and not failing:
                assert name in ASKS_MORE or found.asked <= wanted.asked


def distinct(plans: list[Plan]) -> list[tuple[Plan, list[Policy]]]:
    """Return the different ones of some plans, each with its policies: equal plans are run once."""
    found: list[tuple[Plan, list[Policy]]] = []
    for plan in plans:
        same = next((policies for known, policies in found if replace(plan, policy=known.policy) == known), None)
        if same is None:
            found.append((plan, [plan.policy]))
        else:
            same.append(plan.policy)
    return found


@pytest.mark.parametrize("seed", one_of(3, range(30)))
def test_a_generated_query_gives_the_table_that_direct_calls_give(
    seed: int, direct: Direct, con: duckdb.DuckDBPyConnection
) -> None:
    query, model = generated(seed), Model(seed, failing=10)
    wanted = direct.run(query, model)
    for plan, policies in distinct(plans_of(con, query)):
        found = run_plan(con, plan, Model(seed, failing=10))
        assert (found.names, found.types) == (wanted.names, wanted.types)
        assert found.sorted() == wanted.sorted(), (policies, query)


def test_each_exception_from_asking_less_is_a_query() -> None:
    assert set(ASKS_MORE) <= set(QUERIES)


# What a cheap condition of the query says of the texts that it may ask, checked without any planner.
RULED_OUT = {
    "filter_or_cheap": "SELECT overview FROM movies WHERE year >= 1990",
    "case_guard": "SELECT title FROM movies WHERE year > 1995",
    "coalesced": "SELECT title FROM movies WHERE overview IS NULL",
    "top_by_cheap": "FROM (SELECT title FROM movies ORDER BY rating DESC, id LIMIT 7)",
    "cte": "SELECT overview FROM movies WHERE year > 2000",
    "qualify_cheap": "SELECT title FROM movies QUALIFY row_number() OVER (PARTITION BY studio ORDER BY id) <= 2",
    "join_inner": "SELECT body FROM reviews JOIN movies ON id = movie WHERE year > 1990",
    "exists_call": "SELECT body FROM reviews WHERE movie IN (SELECT id FROM movies)",
    "join_on_call_left_filtered": "SELECT title || name FROM movies JOIN people ON director = pid WHERE year > 1995",
    "having_cheap": "SELECT overview FROM movies WHERE director IN "
    "(SELECT director FROM movies GROUP BY 1 HAVING count(*) > 6) OR (director IS NULL AND "
    "(SELECT count(*) FROM movies WHERE director IS NULL) > 6)",
    "subquery_from": "SELECT title FROM movies WHERE year > 2000",
    "cte_unused": "SELECT name FROM people",
}


@pytest.mark.parametrize("name", RULED_OUT)
def test_what_a_cheap_condition_rules_out_is_never_asked(name: str, con: duckdb.DuckDBPyConnection) -> None:
    model = Model()
    for policy in (Policy.BALANCED, Policy.LEAN):
        asked = {text for _, text in run_plan(con, plan_of(con, QUERIES[name], policy), model).asked}
        assert asked <= {text for (text,) in con.execute(RULED_OUT[name]).fetchall()}


def test_sources_that_change_after_planning_change_nothing(direct: Direct) -> None:
    query, model = QUERIES["join_three"], Model()
    con = connect()
    plan = plan_of(con, query)
    con.execute("DELETE FROM movies WHERE id % 2 = 0; UPDATE reviews SET body = 'other'; DROP TABLE tags")
    assert run_plan(con, plan, model).sorted() == direct.run(query, Model()).sorted()


def test_the_time_is_that_of_planning(con: duckdb.DuckDBPyConnection) -> None:
    plan = plan_of(
        con, "SELECT now() AS a, current_date AS b, ai_complete(title) AS c FROM movies WHERE today() > '2000-01-01'"
    )
    assert not re.search(r"now\(|current_date\b(?!\")|today\(", re.sub(r'AS "?\w+"?', "", plan.query))


def test_each_policy_is_what_it_says(con: duckdb.DuckDBPyConnection) -> None:
    stages = {policy: plan_of(con, QUERIES["two_filters"], policy).stages for policy in Policy}
    assert stages == {Policy.BALANCED: 1, Policy.LEAN: 2, Policy.FUSE: 1}
    stages = {policy: plan_of(con, QUERIES["design_example"], policy).stages for policy in Policy}
    assert stages == {Policy.BALANCED: 2, Policy.LEAN: 2, Policy.FUSE: 1}

"""Plan a query with AI functions: find its calls, keep its sources, put its calls into stages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import duckdb

from sqlbatch.functions.clauses import merge_equal, order_rows
from sqlbatch.functions.conditions import Policy
from sqlbatch.functions.find import find_calls
from sqlbatch.functions.inputs import PICTURE
from sqlbatch.functions.lookups import TEXT, lookup
from sqlbatch.functions.places import place_calls
from sqlbatch.functions.plan import Plan
from sqlbatch.functions.sources import Source, fix_clock, pin_sources
from sqlbatch.functions.stages import Planner
from sqlbatch.functions.syntax import Node, Syntax

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlbatch.functions.find import Found
    from sqlbatch.query.enrichment import Enrichment


def make_plan(
    con: duckdb.DuckDBPyConnection,
    query: str,
    enrichment: Enrichment,
    keep: Callable[[Source], str],
    policy: Policy = Policy.BALANCED,
    own: frozenset[str] = frozenset(),
) -> Plan:
    """Plan a query on a connection that sees its tables.

    `keep` stores a source and returns the name of the table that holds its rows from then on; `own` are names of the
    user's functions. Raises InvalidEnrichment, with the place in the query, if it cannot be planned.
    """
    return make_plans(con, query, enrichment, keep, (policy,), own)[0]


def make_plans(
    con: duckdb.DuckDBPyConnection,
    query: str,
    enrichment: Enrichment,
    keep: Callable[[Source], str],
    policies: Iterable[Policy],
    own: frozenset[str] = frozenset(),
) -> list[Plan]:
    """Plan a query as `make_plan` does, by each of several policies; all share the same sources, stored once."""
    syntax = Syntax()
    found = find_calls(syntax, query, own)
    moment: dict[str, Node] = {}

    def constant(name: str) -> Node:
        if name not in moment:
            shown = name if name.startswith(("current_", "local")) and "local" not in name[1:] else f"{name}()"
            value, kind = con.execute(f"SELECT x::VARCHAR, typeof(x) FROM (SELECT {shown} AS x)").fetchall()[0]
            moment[name] = syntax.expression(f"CAST('{value}' AS {kind})")
        return moment[name]

    before = con.execute("SELECT current_setting('disabled_optimizers')").fetchall()[0][0]
    try:
        # If all rows had the same value, the optimizer would compute with it, and an explained plan would not show the
        # call.
        disabled = ",".join(part for part in (before, "statistics_propagation") if part)
        con.execute("SET disabled_optimizers = $disabled", {"disabled": disabled})
        return _planned(con, syntax, found, enrichment, keep, policies, constant)
    finally:
        con.execute("SET disabled_optimizers = $before", {"before": before})


def _planned(
    con: duckdb.DuckDBPyConnection,
    syntax: Syntax,
    found: Found,
    enrichment: Enrichment,
    keep: Callable[[Source], str],
    policies: Iterable[Policy],
    constant: Callable[[str], Node],
) -> list[Plan]:
    con.execute(TEXT)
    con.execute(f"CREATE OR REPLACE TEMP MACRO {PICTURE}(sqlbatch_x) AS sqlbatch_picture_name(sqlbatch_x)")
    lookups = {call.number: lookup(call, enrichment) for call in found.calls}
    for each in lookups.values():
        for macro in each.probe_macros():
            con.execute(macro)
    root = fix_clock(found.root, constant) if _has_clock(found.query) else found.root
    found = place_calls(found, root, lambda name, select: _is_column(con, syntax, name, select))
    sources = pin_sources(syntax, found, lambda sql: _binds(con, sql))
    found = merge_equal(found, syntax)
    order_rows(found, syntax)
    tables = {source.number: keep(source) for source in sources}
    planner = Planner(con, syntax, found, tables, lookups)
    columns = planner.check(syntax.write(found.root))
    planned = {policy: planner.calls(policy) for policy in policies}
    final = planner.with_failures()
    plans = []
    for policy, calls in planned.items():
        asked = {call.number for call in calls}
        unasked = tuple(each for number, each in lookups.items() if number not in asked)
        plans.append(Plan(sources, calls, final, columns, policy, unasked))
    return plans


def _has_clock(query: str) -> bool:
    return (
        re.search(r"(?i)\b(now|today|current_\w+|local\w*time\w*|get_current_\w+|transaction_timestamp)\b", query)
        is not None
    )


def _is_column(con: duckdb.DuckDBPyConnection, syntax: Syntax, name: Node, select: Node) -> bool:
    node = syntax.select(
        [name], like=syntax.query("FROM t") | {"from_table": select["from_table"], "cte_map": select["cte_map"]}
    )
    return _binds(con, syntax.write(node))


def _binds(con: duckdb.DuckDBPyConnection, sql: str) -> bool:
    try:
        con.execute(f"EXPLAIN {sql}").fetchall()
    except duckdb.Error:
        return False
    return True

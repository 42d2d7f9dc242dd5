"""Plan a query with AI functions: find its calls, keep its sources, put its calls into stages."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import duckdb

from sqlbatch.errors import InvalidQuery
from sqlbatch.functions.clauses import merge_equal, order_rows
from sqlbatch.functions.collect import Collector
from sqlbatch.functions.conditions import Policy, Spot
from sqlbatch.functions.find import find_calls
from sqlbatch.functions.inputs import PICTURE, VALUE, WHY
from sqlbatch.functions.lookups import PROBE, TEXT, Lookup, lookup
from sqlbatch.functions.parts import Parts, bounds_of, taken_in_parts
from sqlbatch.functions.places import place_calls
from sqlbatch.functions.plan import SOURCE, Plan, PlannedCall, numbers_of, stages_of, with_sources
from sqlbatch.functions.sources import Source, fix_clock, pin_sources
from sqlbatch.functions.syntax import Node, Syntax, calling, point, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sqlbatch.functions.find import Call, Found
    from sqlbatch.query.enrichment import Enrichment

_CLOCK = re.compile(r"(?i)\b(now|today|current_\w+|local\w*time\w*|get_current_\w+|transaction_timestamp)\b")


def make_plans(
    con: duckdb.DuckDBPyConnection,
    query: str,
    enrichment: Enrichment,
    keep: Callable[[Source], str],
    policies: Iterable[Policy],
    own: frozenset[str] = frozenset(),
) -> list[Plan]:
    """Plan a query by each of some policies, on a connection that sees its tables.

    `keep` stores a source, once for all plans, and returns the name of the table that holds its rows from then on;
    `own` are names of the user's functions. Raises InvalidEnrichment, with the place in the query, if it cannot be
    planned.
    """
    syntax = Syntax()
    found = find_calls(syntax, query, own)
    moment: dict[str, Node] = {}

    def constant(name: str) -> Node:
        if name not in moment:
            shown = name if name.startswith(("current_", "local")) and "local" not in name[1:] else f"{name}()"
            value, kind = con.execute(f"SELECT x::VARCHAR, typeof(x) FROM (SELECT {shown} AS x)").fetchall()[0]
            moment[name] = syntax.expression(f"CAST('{value}' AS {kind})")
        return moment[name]

    def binds(sql: str) -> bool:
        try:
            con.execute(f"EXPLAIN {sql}").fetchall()
        except duckdb.Error:
            return False
        return True

    def is_column(name: Node, select: Node) -> bool:
        return binds(syntax.write(syntax.select([name], select["from_table"]) | {"cte_map": select["cte_map"]}))

    with _calls_shown_in_plans(con):
        con.execute(TEXT)
        con.execute(f"CREATE OR REPLACE TEMP MACRO {PICTURE}(sqlbatch_x) AS sqlbatch_picture_name(sqlbatch_x)")
        lookups = {call.number: lookup(call, enrichment) for call in found.calls}
        for each in lookups.values():
            con.execute(each.probe_macros())
        root = fix_clock(found.root, constant) if _CLOCK.search(query) else found.root
        found = place_calls(found, root, is_column)
        sources = pin_sources(syntax, found, binds)
        found = merge_equal(found, syntax)
        order_rows(found, syntax)
        tables = {source.number: keep(source) for source in sources}
        planner = _Planner(con, syntax, found, tables, lookups)
        columns = planner.check(syntax.write(found.root))
        planned = {policy: planner.calls(policy) for policy in policies}
        final = planner.with_failures()
    plans = []
    for policy, calls in planned.items():
        asked = {call.number for call in calls}
        unasked = tuple(each for number, each in lookups.items() if number not in asked)
        plans.append(Plan(sources, calls, final, columns, policy, unasked))
    return plans


@contextmanager
def _calls_shown_in_plans(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Keep the optimizer from computing with a value that all rows have, which would hide a call in a plan."""
    before = con.execute("SELECT current_setting('disabled_optimizers')").fetchall()[0][0]
    disabled = ",".join(part for part in (before, "statistics_propagation") if part)
    con.execute("SET disabled_optimizers = $disabled", {"disabled": disabled})
    try:
        yield
    finally:
        con.execute("SET disabled_optimizers = $before", {"before": before})


@dataclass
class _Planner:
    """Puts the calls of a query whose sources are kept into stages, by one policy or several.

    `tables` has the table of each source by its number, `lookups` the lookup of each call.
    """

    con: duckdb.DuckDBPyConnection
    syntax: Syntax
    found: Found
    tables: Mapping[int, str]
    lookups: Mapping[int, Lookup]
    _explained: dict[str, str | None] = field(default_factory=dict)
    _widest: dict[int, PlannedCall] = field(default_factory=dict)

    def named(self, sql: str) -> str:
        """Return planned SQL that runs on the connection."""
        return with_sources(sql, lambda number: self.tables[number])

    def check(self, sql: str) -> tuple[tuple[str, str], ...]:
        """Return names and types of the planned query; raise InvalidQuery if DuckDB does not accept it."""
        try:
            described = self.con.execute(f"DESCRIBE {self.named(sql)}").fetchall()
        except duckdb.Error as error:
            message = str(error).split("\nLINE ")[0].split("\n\nLINE ")[0]
            message = re.sub(r"^\w+( \w+)* Error: ", "", " ".join(message.split()))
            for call in self.found.calls:
                message = message.replace(call.name, call.ask.function)
            raise InvalidQuery(f"the query: {SOURCE.sub('the source', message)}") from error
        return tuple((name, kind) for name, kind, *_ in described)

    def calls(self, policy: Policy) -> tuple[PlannedCall, ...]:
        """Return the calls in their stages."""
        made: dict[int, PlannedCall] = {}
        by_number = {call.number: call for call in self.found.calls}
        # An answer that the result does not depend on is never requested.
        todo = set(self.needs(self.found.root))
        while todo:
            call = by_number[todo.pop()]
            made[call.number] = self._planned(call, policy)
            todo |= made[call.number].needs - set(made)
        made |= self._in_parts(made, policy)
        while True:
            stages, stuck = stages_of({number: each.needs for number, each in made.items()})
            if not stuck:
                break
            again = {number for number in stuck if made[number].collection != made[number].bound}
            if not again:
                call = by_number[min(stuck)]
                why = f"{call.ask.function} waits for its own answers: put it into a subquery"
                raise point(self.found.query, call.location, why)
            for number in again & set(by_number):
                made[number] = self._planned(by_number[number], Policy.FUSE)
        return tuple(
            replace(made[number], stage=stages[number]) for number in sorted(made, key=lambda n: (stages[n], n))
        )

    def _in_parts(self, made: Mapping[int, PlannedCall], policy: Policy) -> dict[int, PlannedCall]:
        """Return calls of a WHERE with a LIMIT split into parts, so that the first rows are asked about first."""
        collector = self._collector(policy)
        found: dict[int, PlannedCall] = {}
        # Each part is a call with a number of its own.
        unused = 1 + max(self.lookups, default=0)
        for scope in self.found.scopes:
            calls = [call for call in self.found.calls if call.scope is scope and call.clause == "where"]
            taken = taken_in_parts(collector, scope, calls) if calls else None
            simple = scope.place == "root" and all(
                call.number in made and not made[call.number].needs and not call.shared for call in calls
            )
            if taken is None or not simple:
                continue
            parts = Parts(collector, scope, *taken)
            counted = self.syntax.write(parts.candidates())
            rows = self.con.execute(f"SELECT count(*) FROM ({self.named(counted)})").fetchall()[0][0]
            bounds = bounds_of(rows, taken[0])
            # The last part has the call's own number, because all that depends on the call waits for all parts.
            numbers = {}
            for call in calls:
                numbers[call.number] = [*range(unused, unused + len(bounds)), call.number]
                unused += len(bounds)
            for part, (after, until) in enumerate(pairwise([0, *bounds, None]) if bounds else ()):
                before = {f"{VALUE}{n}": f"{VALUE}{named[part - 1]}" for n, named in numbers.items()} if part else None
                for call in calls:
                    own = replace(self.lookups[call.number], number=numbers[call.number][part])
                    self.con.execute(own.probe_macros())
                    spot = collector.spot_of(call)
                    node = parts.collection(spot, after or 0, until, before)
                    bound = parts.collection(spot, after or 0, until, None)
                    told = call.text if not part else f"{call.text}, while fewer than {taken[0]:,} rows pass"
                    found[own.number] = PlannedCall(own, told, "where", self.syntax.write(node),
                                                    self.syntax.write(bound), self.needs(node), 0)  # fmt: skip
        return found

    def with_failures(self) -> str:
        """Return the query with a column `sqlbatch_failed`: which of a row's own calls have no answer, and why."""
        root = self.found.root
        nothing = self.syntax.expression("CAST(NULL AS VARCHAR) AS sqlbatch_failed")
        kinds = {modifier["type"] for modifier in root["modifiers"]}
        grouped = root.get("aggregate_handling") == "FORCE_AGGREGATES"
        # GROUP BY ALL would group by the added column, too.
        if root["type"] != "SELECT_NODE" or "DISTINCT_MODIFIER" in kinds or grouped:
            whole = self.syntax.in_from(root, "sqlbatch_whole")
            return self.syntax.write(self.syntax.select([self.syntax.expression("*"), nothing], whole))
        told = [part for item in root["select_list"] for part in self._failures_of(item)]
        while told:
            whole = self.syntax.expression("concat_ws('; ')")
            whole |= {"arguments": [*whole["arguments"], *({"name": "", "expression": each} for each in told)]}
            # concat_ws without values is an empty text, not NULL.
            failed = self.syntax.expression("nullif(x, '') AS sqlbatch_failed", x=whole)
            tried = root | {"select_list": [*root["select_list"], failed]}
            if self.binds(tried):
                return self.syntax.write(tried)
            # The inputs of an aggregate belong to no single row.
            told.pop()
        return self.syntax.write(root | {"select_list": [*root["select_list"], nothing]})

    def _failures_of(self, item: Node) -> Iterator[Node]:
        """Return why calls of a column have no answer, of the calls that each row asks by itself."""
        collector = self._collector(Policy.BALANCED)
        name = item["alias"] or (item["column_names"][-1] if item["class"] == "COLUMN_REF" else "")
        # The last level of an aggregate reports why one before it has no answer.
        inner = [part for call in self.found.calls if call.ask.pieces for part in walk(call.node["arguments"])]
        for call in self.found.calls:
            mine = call.scope.node is self.found.root and call.clause == "select"
            if (
                not mine
                or not any(part is call.node for part in walk(item))
                or any(each is call.node for each in inner)
            ):
                continue
            why = calling(call.node, f"{WHY}{call.number}") | {"alias": ""}
            spot = Spot(call.scope, call.clause, call.path, why, many=False, name=call.name, shared=call.shared)
            inside, windowed = collector.boundary(spot)
            if inside is None and not windowed:
                label = self.syntax.text(f"{name or call.ask.function}: ")
                yield self.syntax.expression("a || b", a=label, b=collector.guarded(spot))

    def _planned(self, call: Call, policy: Policy) -> PlannedCall:
        if call.number not in self._widest:
            node = self._collector(Policy.FUSE).collect(call)
            clause = {"table": "from", "on": "join"}.get(call.clause, call.clause)
            sql, needs = self.syntax.write(node), self.needs(node)
            widest = PlannedCall(self.lookups[call.number], call.text, clause, sql, sql, needs, 0, needs)
            self._widest[call.number] = widest
        widest = self._widest[call.number]
        if policy is Policy.FUSE:
            return widest
        node = self._collector(policy).collect(call)
        return replace(widest, collection=self.syntax.write(node), needs=self.needs(node))

    def _collector(self, policy: Policy) -> Collector:
        return Collector(self.syntax, self.found, self.binds, self.needs, policy)

    def binds(self, node: Node) -> bool:
        """Whether DuckDB accepts a query."""
        return self._explain(node) is not None

    def needs(self, node: Node) -> frozenset[int]:
        """Return the calls whose answers the rows of a query depend on, according to DuckDB's optimizer."""
        return numbers_of(self._explain(node) or "", PROBE)

    def _explain(self, node: Node) -> str | None:
        """Return the optimized plan of a query, None if DuckDB does not accept it.

        EXPLAIN does not show what is behind a column's name, so the plan is written as JSON. A plan that DuckDB cannot
        write counts as depending on every call in the text.
        """
        sql = self.named(self.syntax.write(node))
        if sql not in self._explained:
            try:
                written = self.con.execute(
                    "SELECT json_serialize_plan($sql, optimize := true)", {"sql": sql}
                ).fetchall()[0][0]
                if '"error":true' in written[:40].replace(" ", ""):
                    self.con.execute(f"EXPLAIN {sql}").fetchall()
                    written = "".join(f"{PROBE}{number}:" for number in numbers_of(sql))
                self._explained[sql] = written
            except duckdb.Error:
                self._explained[sql] = None
        return self._explained[sql]

"""The calls of a query in stages: what each asks, which calls it waits for, and the query that joins the answers."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import duckdb

from sqlbatch.errors import InvalidQuery
from sqlbatch.functions.conditions import Policy, Spot
from sqlbatch.functions.inputs import VALUE
from sqlbatch.functions.lift import LiftingCollector
from sqlbatch.functions.lookups import PROBE, Lookup
from sqlbatch.functions.parts import Parts, bounds_of, taken_in_parts
from sqlbatch.functions.plan import SOURCE, PlannedCall, names_of_calls, stages_of, with_sources
from sqlbatch.functions.syntax import Node, Syntax, point, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlbatch.functions.find import Call, Found

_PROBED = re.compile(r"sqlbatch_probe_(\d+):")


class Planner:
    """Puts the calls of a query whose sources are kept into stages, by one policy or several.

    `tables` has the table of each source by its number, `lookups` the lookup of each call.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        syntax: Syntax,
        found: Found,
        tables: Mapping[int, str],
        lookups: Mapping[int, Lookup],
    ) -> None:
        self.con = con
        self.syntax = syntax
        self.found = found
        self.tables = tables
        self.lookups = lookups
        self._explained: dict[str, str | None] = {}
        self._widest: dict[int, PlannedCall] = {}
        self._next = 1

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
        self._next = 1 + max(self.lookups, default=0)
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
            numbers = {call.number: [*self._numbers(call, len(bounds)), call.number] for call in calls}
            for part, (after, until) in enumerate(pairwise([0, *bounds, None]) if bounds else ()):
                for call in calls:
                    spot = collector.spot_of(call)
                    before = (
                        {f"{VALUE}{n}": f"{VALUE}{named[part - 1]}" for n, named in numbers.items()} if part else None
                    )
                    node = parts.collection(spot, after or 0, until, before)
                    bound = parts.collection(spot, after or 0, until, None)
                    number = numbers[call.number][part]
                    own = replace(self.lookups[call.number], number=number)
                    told = call.text if not part else f"{call.text}, while fewer than {taken[0]:,} rows pass"
                    found[number] = PlannedCall(own, told, "where", self.syntax.write(node), self.syntax.write(bound),
                                                self.needs(node), 0, frozenset())  # fmt: skip
        return found

    def _numbers(self, call: Call, parts: int) -> list[int]:
        """Return numbers for further calls with the same question, each with macros of its own."""
        numbers = [self._next + i for i in range(parts)]
        self._next += parts
        for number in numbers:
            for macro in replace(self.lookups[call.number], number=number).probe_macros():
                self.con.execute(macro)
        return numbers

    def with_failures(self) -> str:
        """Return the query with a column `sqlbatch_failed`: which of a row's own calls have no answer, and why."""
        root = self.found.root
        nothing = self.syntax.expression("CAST(NULL AS VARCHAR) AS sqlbatch_failed")
        kinds = {modifier["type"] for modifier in root["modifiers"]}
        plain = root["type"] == "SELECT_NODE" and "DISTINCT_MODIFIER" not in kinds
        # GROUP BY ALL would group by the added column, too.
        plain = plain and root["aggregate_handling"] != "FORCE_AGGREGATES"
        if plain:
            told = [part for item in root["select_list"] for part in self._failures_of(item)]
            while told:
                whole = self.syntax.expression("concat_ws('; ')") | {"alias": "sqlbatch_failed"}
                whole["arguments"] = [*whole["arguments"], *({"name": "", "expression": each} for each in told)]
                # concat_ws without values is an empty text, not NULL.
                whole = self.syntax.expression("nullif(x, '')", x=whole | {"alias": ""}) | {"alias": "sqlbatch_failed"}
                tried = root | {"select_list": [*root["select_list"], whole]}
                if self.binds(tried):
                    return self.syntax.write(tried)
                # The inputs of an aggregate belong to no single row.
                told.pop()
            return self.syntax.write(root | {"select_list": [*root["select_list"], nothing]})
        around = self.syntax.select([self.syntax.expression("*"), nothing], like=self.syntax.query("FROM t"))
        return self.syntax.write(around | {"from_table": self.syntax.in_from(root, "sqlbatch_whole")})

    def _failures_of(self, item: Node) -> Iterator[Node]:
        """Return why calls of a column have no answer, of the calls that each row asks by itself."""
        collector = self._collector(Policy.BALANCED)
        name = item["alias"] or (item["column_names"][-1] if item["class"] == "COLUMN_REF" else "")
        for call in self.found.calls:
            mine = call.scope.node is self.found.root and call.clause == "select"
            if not mine or not any(part is call.node for part in walk(item)):
                continue
            if any(
                call.node is part
                for other in self.found.calls
                if other.ask.pieces
                for part in walk(other.node["arguments"])
            ):
                # The last level of an aggregate reports why one before it has no answer.
                continue
            spot = Spot(call.scope, call.clause, call.path, _why(call), many=False, name=call.name, shared=call.shared)
            inside, windowed = collector.boundary(spot)
            if inside is None and not windowed:
                why = collector.guarded(spot, Policy.BALANCED)
                label = self.syntax.text(f"{name or call.ask.function}: ")
                yield self.syntax.expression("a || b", a=label, b=why)

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

    def _collector(self, policy: Policy) -> LiftingCollector:
        return LiftingCollector(self.syntax, self.found, self.binds, self.needs, policy)

    def binds(self, node: Node) -> bool:
        """Whether DuckDB accepts a query."""
        return self._explain(node) is not None

    def needs(self, node: Node) -> frozenset[int]:
        """Return the calls whose answers the rows of a query depend on, according to DuckDB's optimizer."""
        return frozenset(int(number) for number in _PROBED.findall(self._explain(node) or ""))

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
                    written = "".join(PROBE.format(number) for number in names_of_calls(sql))
                self._explained[sql] = written
            except duckdb.Error:
                self._explained[sql] = None
        return self._explained[sql]


def _why(call: Call) -> Node:
    name = f"sqlbatch_why_{call.number}"
    return call.node | {"function_name": name, "qualified_name": {"path": [name]}, "alias": ""}

"""The plan of a query with AI functions: its sources, its calls in stages, and the query that joins the answers."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import duckdb

from sqlbatch.errors import InvalidQuery
from sqlbatch.functions.clauses import merge_equal, order_rows
from sqlbatch.functions.collect import Policy, Spot
from sqlbatch.functions.find import VALUE, find_calls
from sqlbatch.functions.lift import LiftingCollector
from sqlbatch.functions.lookups import PROBE, TEXT, Lookup, lookup
from sqlbatch.functions.parts import Parts, bounds_of, taken_in_parts
from sqlbatch.functions.places import place_calls
from sqlbatch.functions.sources import Source, fix_clock, pin_sources
from sqlbatch.functions.syntax import Node, Syntax, point, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlbatch.functions.find import Call, Found
    from sqlbatch.query.enrichment import Enrichment

_PROBED = re.compile(r"sqlbatch_probe_(\d+):")
_SOURCE = re.compile(r'"?@sqlbatch_source_(\d+)@"?')


@dataclass(frozen=True)
class PlannedCall:
    """One call of a plan: what it asks, the query that collects its inputs, the calls it waits for, and its stage."""

    lookup: Lookup
    text: str
    clause: str
    collection: str
    bound: str
    needs: frozenset[int]
    stage: int
    bound_needs: frozenset[int] = frozenset()

    @property
    def number(self) -> int:
        """Return the number of the call."""
        return self.lookup.number


@dataclass(frozen=True)
class Plan:
    """How a query with AI functions is answered.

    In `query` and the collections a source is named `"@sqlbatch_source_<n>@"` (see `with_sources`) and a call
    `sqlbatch_ai_<n>`; `columns` are the names and types of the result. `unasked` are calls that it does not rest on.
    """

    sources: tuple[Source, ...]
    calls: tuple[PlannedCall, ...]
    query: str
    columns: tuple[tuple[str, str], ...]
    policy: Policy
    unasked: tuple[Lookup, ...] = ()

    @property
    def stages(self) -> int:
        """Return how many rounds of batches it takes."""
        return max((call.stage for call in self.calls), default=0)

    @property
    def fused_stages(self) -> int:
        """Return how many rounds it takes by the policy `fuse`, which asks all that may be needed."""
        asked = {call.number for call in self.calls}
        stages, _ = _stages({call.number: call.bound_needs & asked for call in self.calls})
        return max(stages.values(), default=0)


def with_sources(sql: str, name: Callable[[int], str]) -> str:
    """Return planned SQL with its sources named."""
    return _SOURCE.sub(lambda found: name(int(found[1])), sql)


def make_plan(
    con: duckdb.DuckDBPyConnection,
    query: str,
    enrichment: Enrichment,
    keep: Callable[[Source], str],
    policy: Policy = Policy.BALANCED,
    own: frozenset[str] = frozenset(),
) -> Plan:
    """Plan a query on a connection that sees its tables.

    `keep` stores a source and returns the name of the table that has its rows from then on; `own` are names of the
    user's functions. Raises InvalidEnrichment, with the place in the query, for what cannot be planned.
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

    before = con.execute("SELECT current_setting('disabled_optimizers')").fetchall()[0][0]
    try:
        # Where all rows have one value, the optimizer would compute with it, and a plan would not show the call.
        disabled = ",".join(part for part in (before, "statistics_propagation") if part)
        con.execute("SET disabled_optimizers = $disabled", {"disabled": disabled})
        return _planned(con, syntax, found, enrichment, keep, policy, constant)
    finally:
        con.execute("SET disabled_optimizers = $before", {"before": before})


def _planned(
    con: duckdb.DuckDBPyConnection,
    syntax: Syntax,
    found: Found,
    enrichment: Enrichment,
    keep: Callable[[Source], str],
    policy: Policy,
    constant: Callable[[str], Node],
) -> Plan:
    con.execute(TEXT)
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
    planner = _Planner(con, syntax, found, tables, policy)
    columns = planner.check(syntax.write(found.root))
    planned = planner.calls(lookups)
    final = planner.with_failures()
    asked = {call.number for call in planned}
    unasked = tuple(each for number, each in lookups.items() if number not in asked)
    return Plan(sources, planned, final, columns, policy, unasked)


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


class _Planner:
    def __init__(
        self, con: duckdb.DuckDBPyConnection, syntax: Syntax, found: Found, tables: Mapping[int, str], policy: Policy
    ) -> None:
        self.con = con
        self.syntax = syntax
        self.found = found
        self.tables = tables
        self.policy = policy
        self._explained: dict[str, str | None] = {}
        self._next = 1 + max((call.number for call in found.calls), default=0)

    def named(self, sql: str) -> str:
        """Return planned SQL that runs on the connection."""
        return with_sources(sql, lambda number: self.tables[number])

    def check(self, sql: str) -> tuple[tuple[str, str], ...]:
        """Return names and types of the planned query; raise InvalidQuery where DuckDB does not accept it."""
        try:
            described = self.con.execute(f"DESCRIBE {self.named(sql)}").fetchall()
        except duckdb.Error as error:
            message = str(error).split("\nLINE ")[0].split("\n\nLINE ")[0]
            message = re.sub(r"^\w+( \w+)* Error: ", "", " ".join(message.split()))
            for call in self.found.calls:
                message = message.replace(call.name, call.ask.function)
            raise InvalidQuery(f"the query: {_SOURCE.sub('the source', message)}") from error
        return tuple((name, kind) for name, kind, *_ in described)

    def calls(self, lookups: Mapping[int, Lookup]) -> tuple[PlannedCall, ...]:
        """Return the calls in their stages."""
        made: dict[int, PlannedCall] = {}
        by_number = {call.number: call for call in self.found.calls}
        # An answer that the result does not rest on is never asked for.
        todo = set(self.needs(self.found.root))
        while todo:
            call = by_number[todo.pop()]
            made[call.number] = self._planned(call, lookups[call.number], self.policy)
            todo |= made[call.number].needs - set(made)
        made |= self._in_parts(made, lookups)
        while True:
            stages, stuck = _stages({number: each.needs for number, each in made.items()})
            if not stuck:
                break
            again = {number for number in stuck if made[number].collection != made[number].bound}
            if not again:
                call = by_number[min(stuck)]
                why = f"{call.ask.function} waits for its own answers: put it into a subquery"
                raise point(self.found.query, call.location, why)
            for number in again & set(by_number):
                made[number] = self._planned(by_number[number], lookups[number], Policy.FUSE)
        return tuple(
            replace(made[number], stage=stages[number]) for number in sorted(made, key=lambda n: (stages[n], n))
        )

    def _in_parts(self, made: Mapping[int, PlannedCall], lookups: Mapping[int, Lookup]) -> dict[int, PlannedCall]:
        """Return calls of WHERE below a LIMIT anew, to be asked for the first rows first, with a call for each part."""
        collector = LiftingCollector(self.syntax, self.found, self.binds, self.needs, self.policy)
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
            # The last part has the call's own number, for all that rests on the call waits for all parts.
            numbers = {call.number: [*self._numbers(call, lookups, len(bounds)), call.number] for call in calls}
            for part, (after, until) in enumerate(pairwise([0, *bounds, None]) if bounds else ()):
                for call in calls:
                    spot = collector.spot_of(call)
                    before = (
                        {f"{VALUE}{n}": f"{VALUE}{named[part - 1]}" for n, named in numbers.items()} if part else None
                    )
                    node = parts.collection(spot, after or 0, until, before)
                    bound = parts.collection(spot, after or 0, until, None)
                    number = numbers[call.number][part]
                    own = replace(lookups[call.number], number=number)
                    told = call.text if not part else f"{call.text}, while fewer than {taken[0]:,} rows pass"
                    found[number] = PlannedCall(own, told, "where", self.syntax.write(node), self.syntax.write(bound),
                                                self.needs(node), 0, frozenset())  # fmt: skip
        return found

    def _numbers(self, call: Call, lookups: Mapping[int, Lookup], parts: int) -> list[int]:
        """Return numbers for further calls with the question of a call, each with macros of its own."""
        numbers = [self._next + i for i in range(parts)]
        self._next += parts
        for number in numbers:
            for macro in replace(lookups[call.number], number=number).probe_macros():
                self.con.execute(macro)
        return numbers

    def with_failures(self) -> str:
        """Return the query with a column `sqlbatch_failed`: which of a row's own calls have no answer, and why."""
        root = self.found.root
        nothing = self.syntax.expression("CAST(NULL AS VARCHAR) AS sqlbatch_failed")
        kinds = {modifier["type"] for modifier in root["modifiers"]}
        plain = root["type"] == "SELECT_NODE" and "DISTINCT_MODIFIER" not in kinds
        # GROUP BY ALL would group by one more column.
        plain = plain and root["aggregate_handling"] != "FORCE_AGGREGATES"
        if plain:
            told = [part for item in root["select_list"] for part in self._failures_of(item)]
            while told:
                whole = self.syntax.expression("concat_ws('; ')") | {"alias": "sqlbatch_failed"}
                whole["arguments"] = [*whole["arguments"], *({"name": "", "expression": each} for each in told)]
                # concat_ws of nothing is a text, not NULL.
                whole = self.syntax.expression("nullif(x, '')", x=whole | {"alias": ""}) | {"alias": "sqlbatch_failed"}
                tried = root | {"select_list": [*root["select_list"], whole]}
                if self.binds(tried):
                    return self.syntax.write(tried)
                # What an aggregate is made of is no row's own.
                told.pop()
            return self.syntax.write(root | {"select_list": [*root["select_list"], nothing]})
        around = self.syntax.select([self.syntax.expression("*"), nothing], like=self.syntax.query("FROM t"))
        return self.syntax.write(around | {"from_table": self.syntax.in_from(root, "sqlbatch_whole")})

    def _failures_of(self, item: Node) -> Iterator[Node]:
        """Return why calls of a column have no answer: of those that each row asks by itself."""
        collector = LiftingCollector(self.syntax, self.found, self.binds, self.needs, self.policy)
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
                # The last level of an aggregate tells why one before it has no answer.
                continue
            spot = Spot(call.scope, call.clause, call.path, _why(call), many=False, name=call.name, shared=call.shared)
            inside, windowed = collector.boundary(spot)
            if inside is None and not windowed:
                why = collector.guarded(spot, Policy.BALANCED)
                label = self.syntax.text(f"{name or call.ask.function}: ")
                yield self.syntax.expression("a || b", a=label, b=why)

    def _planned(self, call: Call, found: Lookup, policy: Policy) -> PlannedCall:
        collector = LiftingCollector(self.syntax, self.found, self.binds, self.needs, policy)
        widest = collector.collect(call, Policy.FUSE)
        node = widest if policy is Policy.FUSE else collector.collect(call)
        clause = {"table": "from", "on": "join"}.get(call.clause, call.clause)
        return PlannedCall(
            found, call.text, clause, self.syntax.write(node), self.syntax.write(widest), self.needs(node), 0,
            self.needs(widest)
        )  # fmt: skip

    def binds(self, node: Node) -> bool:
        """Whether DuckDB accepts a query."""
        return self._explain(node) is not None

    def needs(self, node: Node) -> frozenset[int]:
        """Return the calls on whose answers the rows of a query rest, as DuckDB's optimizer sees it."""
        return frozenset(int(number) for number in _PROBED.findall(self._explain(node) or ""))

    def _explain(self, node: Node) -> str | None:
        """Return the optimized plan of a query, None where DuckDB does not accept it.

        EXPLAIN does not show what is behind a column's name, so the plan is written as JSON. What DuckDB cannot write
        is taken to rest on every call in the text.
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


def _stages(needs: Mapping[int, frozenset[int]]) -> tuple[dict[int, int], set[int]]:
    """Return the stage of each call, and the calls that wait for one another in a circle."""
    stages: dict[int, int] = {}
    while True:
        ready = {
            number: 1 + max((stages[each] for each in waits), default=0)
            for number, waits in needs.items()
            if number not in stages and all(each in stages for each in waits)
        }
        if not ready:
            break
        stages.update(ready)
    return stages, set(needs) - set(stages)


def names_of_calls(sql: str) -> frozenset[int]:
    """Return the numbers of the calls in a planned SQL."""
    return frozenset(int(number) for number in re.findall(rf"{VALUE}(\d+)", sql))

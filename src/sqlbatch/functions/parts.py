"""LIMIT with AI conditions: the first rows are asked about first, and more rows only while too few of them pass.

Rows are taken in the order of LIMIT, by their rank, so the first rows that pass are those of the whole query. Each part
is a call of its own with the first one's question; its collection depends on the answers of the part before, and is
empty once enough rows have passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch.functions.clauses import limit_of, makes_groups
from sqlbatch.functions.conditions import BARE, INPUT, Policy
from sqlbatch.functions.sources import has_calls
from sqlbatch.functions.syntax import Node, calling, conjuncts, function_of, rewritten, walk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlbatch.functions.collect import Collector
    from sqlbatch.functions.conditions import Spot
    from sqlbatch.functions.find import Call, Scope

# Rows of the first part: at least so many, and so many for each row of LIMIT; then the factor by which each further
# part is larger.
AT_LEAST, FOR_EACH, GROWTH = 100, 4, 4


def taken_in_parts(collector: Collector, scope: Scope, calls: Sequence[Call]) -> tuple[int, list[Node]] | None:
    """Return how many rows a SELECT's LIMIT takes and in which order, if its WHERE may be asked in parts.

    `calls` are those of its WHERE. Returns None if it has no such LIMIT, or if rows beyond it count: windows, groups.
    """
    node = scope.node
    found = limit_of(node)
    if found is None or collector.policy is Policy.FUSE or node["qualify"] is not None:
        return None
    count, skip, orders = found
    parts = [*node["select_list"], *(order["expression"] for order in orders)]
    counted = any(
        part.get("class") == "WINDOW" or function_of(part) == "unnest" for item in parts for part in walk(item)
    )
    nested = any(has_calls(call.node["arguments"]) for call in calls)
    if counted or nested or makes_groups(node, collector.syntax) or any(map(has_calls, orders)):
        return None
    return count + skip, orders


def bounds_of(rows: int, wanted: int) -> list[int]:
    """Return the last rank of each part but the last, for so many candidates; none if one part is enough."""
    bounds: list[int] = []
    size = max(AT_LEAST, FOR_EACH * wanted)
    while size * 2 < rows:
        bounds.append(size)
        size *= GROWTH
    return bounds


@dataclass
class Parts:
    """The collections of the calls in one WHERE, part by part."""

    collector: Collector
    scope: Scope
    wanted: int
    orders: list[Node]

    def candidates(self) -> Node:
        """Return a query with one row for each row that the conditions without calls keep."""
        return self._ranked(self.collector.syntax.expression("1"), None)

    def collection(self, spot: Spot, after: int, until: int | None, named: Mapping[str, str] | None) -> Node:
        """Return the inputs of the rows from one rank to another; `named` maps calls to their names in the part before.

        Without `named`, it does not check whether enough rows have passed: the first part, or an upper limit.
        """
        syntax = self.collector.syntax
        limits = f"sqlbatch_rank > {after}" + (f" AND sqlbatch_rank <= {until}" if until is not None else "")
        passes = None
        if named is not None:
            asking = [part for part in conjuncts(self.scope.node["where_clause"]) if has_calls(part)]
            before = rewritten(asking, lambda n: calling(n, named[function_of(n)]) if function_of(n) in named else None)
            passes = syntax.all_of(before)
        inner = self._ranked(self.collector.guarded(spot), passes)
        if named is not None:
            counted = syntax.query(
                f"SELECT *, count_if(sqlbatch_passes AND sqlbatch_rank <= {after}) OVER () AS sqlbatch_passed FROM t"
            )
            inner = counted | {"from_table": syntax.in_from(inner, "sqlbatch_ranked")}
            limits += f" AND sqlbatch_passed < {self.wanted}"
        copy = syntax.query(f"SELECT {INPUT} FROM t WHERE {limits}")
        copy = copy | {"from_table": syntax.in_from(inner, "sqlbatch_part")}
        return self.collector.alone(copy, self.scope.environment, many=spot.many)

    def _ranked(self, asked: Node, passes: Node | None) -> Node:
        syntax = self.collector.syntax
        orders = [order | {"expression": order["expression"] | {"alias": ""}} for order in self.orders]
        rank = syntax.expression("rank() OVER (ORDER BY o) AS sqlbatch_rank") | {"orders": orders}
        items = [asked | {"alias": INPUT}, rank]
        if passes is not None:
            items.append(syntax.expression("coalesce(p, false) AS sqlbatch_passes", p=passes | {"alias": ""}))
        cheap = syntax.all_of(part for part in conjuncts(self.scope.node["where_clause"]) if not has_calls(part))
        return self.scope.node | BARE | {"select_list": items, "where_clause": cheap}

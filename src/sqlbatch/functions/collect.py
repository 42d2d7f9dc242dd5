"""The collection of a call: the query that returns the inputs for which the user's query needs an answer.

It is a copy of the SELECT that contains the call, with the input instead of its columns: after joins and filters, so
that rows they exclude are never asked about. It may return an input that turns out not to matter, but never misses one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlbatch.functions.clauses import (
    group_keys,
    joins_around,
    left_out,
    limit_of,
    makes_groups,
    names,
    stands_before,
    with_ctes,
)
from sqlbatch.functions.conditions import ASK, BARE, INPUT, Conditions, Policy, Spot
from sqlbatch.functions.sources import has_calls
from sqlbatch.functions.syntax import Node, conjuncts, point, replaced, walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.functions.find import Call, Scope


class Collector(Conditions):
    """Builds the collections of calls."""

    def collect(self, call: Call, policy: Policy | None = None) -> Node:
        """Return the collection of a call: a query of one column, the inputs as they are sent."""
        policy = policy or self.policy
        spot = self.spot_of(call)
        lifted = self.lifted(spot) if policy is not Policy.FUSE else None
        if lifted is not None:
            return lifted
        while True:
            copy, many = self._copy(spot, policy)
            whole = self.alone(copy, spot.scope.environment, many=many)
            if self.binds(whole):
                return whole
            outer = self._outside(spot.scope, copy, many=many, name=call.name)
            if outer is None:
                why = f"{call.ask.function} cannot be planned in this place: put what is around it into a subquery"
                raise point(self.found.query, call.location, why)
            spot = outer

    def spot_of(self, call: Call) -> Spot:
        """Return the place where a call asks."""
        ask = {**call.node, "function_name": f"{ASK}{call.number}", "alias": "",
               "qualified_name": {"path": [f"{ASK}{call.number}"]}}  # fmt: skip
        return Spot(call.scope, call.clause, call.path, ask, many=call.ask.pieces, name=call.name, shared=call.shared)

    def lifted(self, spot: Spot) -> Node | None:  # noqa: ARG002 (lift.LiftingCollector says more)
        """Return a collection built from the SELECT that reads the call's own SELECT, if that asks less."""
        return None

    def _outside(self, scope: Scope, copy: Node, *, many: bool, name: str) -> Spot | None:
        """Return the place in the outer SELECT of a correlated subquery, for the whole subquery."""
        if scope.parent is None or scope.position is None:
            return None
        inputs = self.syntax.expression("flatten(list(x))" if many else "list(DISTINCT x)", x=self.syntax.column(INPUT))
        whole = self.syntax.select([inputs], like=self._from(self.syntax.in_from(copy, "sqlbatch_inner")))
        asked = self.syntax.scalar(whole)
        if scope.clause:
            return Spot(scope.parent, scope.clause, scope.path, asked, many=True, name=name)
        return Spot(scope.parent, "table", (scope.position,), asked, many=True, name=name)

    def alone(self, copy: Node, environment: Sequence[tuple[str, Node]], *, many: bool) -> Node:
        """Return a copy of a SELECT as a query of its own, with the CTEs that it reads."""
        inner = self.syntax.in_from(copy, "sqlbatch_inner")
        column = self.syntax.column(INPUT)
        if many:
            each = self.syntax.expression("unnest(x)", x=column) | {"alias": INPUT}
            inner = self.syntax.in_from(self.syntax.select([each], like=self._from(inner)), "sqlbatch_each")
        # A join may give an input many times, so they are told apart before they are kept. Those of one relation are
        # kept as they come, and told apart by their ids.
        one = copy["type"] == "SELECT_NODE" and copy["from_table"]["type"] == "BASE_TABLE" and not many
        shape = self.syntax.query(f"SELECT {'' if one else 'DISTINCT '}{INPUT} FROM t WHERE {INPUT} IS NOT NULL")
        return with_ctes({**shape, "from_table": inner}, environment)

    def _from(self, relation: Node) -> Node:
        return self.syntax.query("FROM t") | {"from_table": relation}

    # One SELECT, with the asked expression as its only column, or as an additional one.

    def _copy(self, spot: Spot, policy: Policy) -> tuple[Node, bool]:  # noqa: PLR0911 (one for each kind of clause)
        node = spot.scope.node
        if spot.clause == "on":
            return self._copy_on(spot, policy), spot.many
        if spot.clause == "table":
            return self._copy_table(spot), spot.many
        where = self.where(spot, policy)
        if spot.clause in {"where", "group"}:
            return self._rows(spot, where, self.guarded(spot, policy)), spot.many
        inside, windowed = self.boundary(spot)
        if makes_groups(node, self.syntax) and not self._is_group_key(spot):
            if inside is None:
                # The rows of a group are part of the question, so no condition on its rows may be left out.
                return self._groups(spot, node["where_clause"], policy, windowed=windowed)
            return self._in_aggregate(spot, where, inside)
        if makes_groups(node, self.syntax):
            return self._rows(spot, where, self.guarded(spot, policy, inside)), spot.many
        return self._after_rows(spot, where, policy, windowed=windowed)

    def _rows(self, spot: Spot, where: Node | None, asked: Node) -> Node:
        """Return the rows of FROM and WHERE, before groups or windows."""
        node = spot.scope.node
        asked = asked | {"alias": INPUT}
        copy = node | BARE | {"select_list": [asked], "where_clause": where, "modifiers": []}
        if makes_groups(node, self.syntax) or self._bound(copy, spot.scope):
            return copy
        # A later clause uses an alias of the SELECT list, so the list stays.
        return copy | {"select_list": [*node["select_list"], asked]}

    def _in_aggregate(self, spot: Spot, where: Node | None, inside: Node) -> tuple[Node, bool]:
        """Return the inputs inside an aggregate: of all rows, or of the groups that a HAVING without calls keeps."""
        node = spot.scope.node
        asked = self.guarded(spot, Policy.FUSE, inside)
        having = [part for part in conjuncts(node["having"]) if not has_calls(part)]
        if left_out(where, node["where_clause"]):
            # On more rows than the query groups, a condition on groups would mean something else.
            having = []
        keys_call = any(has_calls(key) for key in group_keys(node, self.syntax))
        plain = node | BARE | {"select_list": [asked | {"alias": INPUT}], "where_clause": where, "modifiers": []}
        if not having and self._bound(plain, spot.scope):
            return plain, spot.many
        listed = self.syntax.expression("flatten(list(x))" if spot.many else "list(DISTINCT x)", x=asked) | {
            "alias": INPUT
        }
        kept = None if keys_call else self.syntax.all_of(having)
        copy = node | {"select_list": [*node["select_list"], listed], "where_clause": where, "modifiers": [],
                       "having": kept, "qualify": None}  # fmt: skip
        # A group with a call in its own condition is not known before the answer.
        if not self._bound(copy, spot.scope) and self._bound(plain, spot.scope):
            return plain, spot.many
        return copy, True

    def _groups(self, spot: Spot, where: Node | None, policy: Policy, *, windowed: bool) -> tuple[Node, bool]:
        """Return the inputs that are made of whole groups."""
        node = spot.scope.node
        having = self._others(node["having"], spot, policy, own=spot.clause == "having")
        asked = self.guarded(spot, policy) | {"alias": INPUT}
        early = windowed or spot.clause == "having" or left_out(having, node["having"])
        qualify = None if early else self._others(node["qualify"], spot, policy, own=spot.clause == "qualify")
        items = [*node["select_list"], asked]
        copy = node | {
            "select_list": items,
            "where_clause": where,
            "modifiers": [],
            "having": having,
            "qualify": qualify,
        }
        return self._limited(copy, spot, policy), spot.many

    def _after_rows(self, spot: Spot, where: Node | None, policy: Policy, *, windowed: bool) -> tuple[Node, bool]:
        """Return the inputs of a SELECT without groups: its rows that QUALIFY and LIMIT keep."""
        node = spot.scope.node
        asked = self.guarded(spot, policy) | {"alias": INPUT}
        early = windowed or left_out(where, node["where_clause"])
        qualify = None if early else self._others(node["qualify"], spot, policy, own=spot.clause == "qualify")
        if qualify is None and self._limits(spot) is None:
            return self._rows(spot, where, asked), spot.many
        copy = node | {
            "select_list": [*node["select_list"], asked],
            "where_clause": where,
            "modifiers": [],
            "qualify": qualify,
        }
        return self._limited(copy, spot, policy), spot.many

    def _copy_on(self, spot: Spot, policy: Policy) -> Node:
        """Return the pairs of rows that a join compares: those of a cross join, without the condition itself."""
        node, join = spot.scope.node, spot.path[0]
        others = self._others(join["condition"], spot, policy, own=True)
        asked = self.guarded(spot, policy) | {"alias": INPUT}
        inner = join | {"condition": others, "join_type": "INNER", "ref_type": "REGULAR"}
        if others is None:
            inner |= {"ref_type": "CROSS"}
        around = joins_around(node["from_table"], join)
        plain = join["join_type"] == "INNER"
        if plain and all(each["join_type"] == "INNER" and each["ref_type"] in {"REGULAR", "CROSS"} for each in around):
            copy = node | BARE | {"select_list": [asked], "modifiers": [], "from_table": inner, "where_clause": None}
            kept: Node | None = inner
        else:
            side = {"LEFT": "left", "SEMI": "left", "ANTI": "left", "RIGHT": "right"}.get(join["join_type"])
            kept = join[side] if side and all(each["join_type"] == "INNER" for each in around) else None
            copy = node | BARE | {"select_list": [asked], "modifiers": [], "from_table": inner, "where_clause": None}
        if kept is None:
            return copy
        return copy | {"where_clause": self._binding(conjuncts(node["where_clause"]), kept, spot.scope)}

    def _copy_table(self, spot: Spot) -> Node:
        """Return the rows before a relation in FROM that is evaluated for each of them (LATERAL)."""
        node = spot.scope.node
        before = stands_before(node["from_table"], spot.path[0])
        if before is None:
            before = self.syntax.query("SELECT 1")["from_table"]
        asked = spot.asked | {"alias": INPUT}
        copy = node | BARE | {"select_list": [asked], "modifiers": [], "from_table": before, "where_clause": None}
        if any(each["join_type"] != "INNER" for each in joins_around(node["from_table"], spot.path[0])):
            return copy
        return copy | {"where_clause": self._binding(conjuncts(node["where_clause"]), before, spot.scope)}

    # LIMIT.

    def _limits(self, spot: Spot) -> tuple[int, int, list[Node]] | None:
        """Return how many rows LIMIT takes and in which order, if only those rows need be asked about."""
        node = spot.scope.node
        if spot.clause != "select" or any(part.get("class") == "WINDOW" for part in spot.path):
            return None
        found = limit_of(node)
        if found is None or any(names(order["expression"], spot.name) for order in found[2]):
            return None
        return found

    def _limited(self, copy: Node, spot: Spot, policy: Policy) -> Node:
        limits = self._limits(spot)
        node = spot.scope.node
        dropped = any(left_out(copy[key], node[key]) for key in ("where_clause", "having", "qualify"))
        if limits is None or dropped:
            # Among more rows than the query reads, the first rows may be different ones.
            return copy
        if policy is Policy.FUSE and any(has_calls(order["expression"]) for order in limits[2]):
            return copy
        count, skip, orders = limits
        named = [order["expression"] | {"alias": f"sqlbatch_order_{i}"} for i, order in enumerate(orders)]
        inner = copy | {"select_list": [*copy["select_list"], *named]}
        # Rows that tie at the limit may be on either side of it, so all of them are asked about.
        skipped = f" AND count(*) OVER (ORDER BY o) > {skip}" if skip else ""
        shape = self.syntax.query(f"SELECT {INPUT} FROM t QUALIFY rank() OVER (ORDER BY o) <= {count + skip}{skipped}")
        by = [order | {"expression": self.syntax.column(f"sqlbatch_order_{i}")} for i, order in enumerate(orders)]
        qualify = shape["qualify"]
        for window in [part for part in walk(qualify) if part.get("class") == "WINDOW"]:
            qualify = replaced(qualify, window, window | {"orders": by})
        whole = shape | {
            "qualify": qualify,
            "from_table": self.syntax.in_from(inner, "sqlbatch_ranked"),
        }
        return whole if self._bound(whole, spot.scope) else copy

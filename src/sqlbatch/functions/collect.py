"""The collection of a call: the query that returns the inputs for which the user's query needs an answer.

It is a copy of the SELECT that contains the call, with the input instead of its columns: after joins and filters, so
that rows they exclude are never asked about. It may return an input that turns out not to matter, but never misses one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlbatch.functions.clauses import (
    group_keys,
    joins_around,
    left_out,
    limit_of,
    makes_groups,
    names,
    stands_before,
)
from sqlbatch.functions.conditions import ASK, BARE, INPUT, Conditions, Policy, Spot
from sqlbatch.functions.lift import lifted
from sqlbatch.functions.sources import has_calls
from sqlbatch.functions.syntax import Node, calling, conjuncts, point, rewritten

if TYPE_CHECKING:
    from sqlbatch.functions.find import Call, Scope


class Collector(Conditions):
    """Builds the collections of calls."""

    def collect(self, call: Call) -> Node:
        """Return the collection of a call: a query of one column, the inputs as they are sent."""
        spot = self.spot_of(call)
        if self.policy is not Policy.FUSE and (less := lifted(self, spot)) is not None:
            return less
        while True:
            copy, many = self._copy(spot)
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
        ask = calling(call.node, f"{ASK}{call.number}") | {"alias": ""}
        return Spot(call.scope, call.clause, call.path, ask, many=call.ask.pieces, name=call.name, shared=call.shared)

    def _outside(self, scope: Scope, copy: Node, *, many: bool, name: str) -> Spot | None:
        """Return the place in the outer SELECT of a correlated subquery, for the whole subquery."""
        if scope.parent is None or scope.position is None:
            return None
        inputs = self._listed(self.syntax.column(INPUT), many=many)
        asked = self.syntax.scalar(self.syntax.select([inputs], self.syntax.in_from(copy, "sqlbatch_inner")))
        clause, path = (scope.clause, scope.path) if scope.clause else ("table", (scope.position,))
        return Spot(scope.parent, clause, path, asked, many=True, name=name)

    def _listed(self, asked: Node, *, many: bool) -> Node:
        """Return an aggregate that lists the inputs of rows, which may be lists themselves."""
        return self.syntax.expression("flatten(list(x))" if many else "list(DISTINCT x)", x=asked)

    # One SELECT, with the asked expression as its only column, or as an additional one.

    def _copy(self, spot: Spot) -> tuple[Node, bool]:
        node = spot.scope.node
        if spot.clause in {"on", "table"}:
            return (self._copy_on(spot) if spot.clause == "on" else self._copy_table(spot)), spot.many
        where = self.where(spot)
        if spot.clause in {"where", "group"}:
            return self._rows(spot, where, self.guarded(spot)), spot.many
        inside, windowed = self.boundary(spot)
        if makes_groups(node, self.syntax):
            if self._is_group_key(spot):
                return self._rows(spot, where, self.guarded(spot, inside)), spot.many
            if inside is not None:
                return self._in_aggregate(spot, where, inside)
            # The rows of a group are part of the question, so no condition on its rows may be left out.
            where = node["where_clause"]
        return self._kept(spot, where, windowed=windowed), spot.many

    def _rows(self, spot: Spot, where: Node | None, asked: Node) -> Node:
        """Return the rows of FROM and WHERE, before groups or windows."""
        node = spot.scope.node
        asked = asked | {"alias": INPUT}
        copy = node | BARE | {"select_list": [asked], "where_clause": where}
        if makes_groups(node, self.syntax) or self._bound(copy, spot.scope):
            return copy
        # A later clause uses an alias of the SELECT list, so the list stays.
        return copy | {"select_list": [*node["select_list"], asked]}

    def _beside(self, spot: Spot, asked: Node, where: Node | None, having: Node | None, qualify: Node | None) -> Node:
        """Return the SELECT with an additional column, and other conditions."""
        node = spot.scope.node
        items = [*node["select_list"], asked | {"alias": INPUT}]
        clauses = {"where_clause": where, "having": having, "qualify": qualify}
        return node | {"select_list": items, "modifiers": []} | clauses

    def _in_aggregate(self, spot: Spot, where: Node | None, inside: Node) -> tuple[Node, bool]:
        """Return the inputs inside an aggregate: of all rows, or of the groups that a HAVING without calls keeps."""
        node = spot.scope.node
        # A condition that calls functions is not known for each row of the aggregate.
        asked = replace(self, policy=Policy.FUSE).guarded(spot, inside)
        having = [part for part in conjuncts(node["having"]) if not has_calls(part)]
        if left_out(where, node["where_clause"]):
            # On more rows than the query groups, a condition on groups would mean something else.
            having = []
        plain = node | BARE | {"select_list": [asked | {"alias": INPUT}], "where_clause": where}
        if not having and self._bound(plain, spot.scope):
            return plain, spot.many
        keys_call = any(has_calls(key) for key in group_keys(node, self.syntax))
        kept = None if keys_call else self.syntax.all_of(having)
        copy = self._beside(spot, self._listed(asked, many=spot.many), where, kept, None)
        # A group with a call in its own condition is not known before the answer.
        if not self._bound(copy, spot.scope) and self._bound(plain, spot.scope):
            return plain, spot.many
        return copy, True

    def _kept(self, spot: Spot, where: Node | None, *, windowed: bool) -> Node:
        """Return the inputs of the rows, or of the whole groups, that HAVING, QUALIFY and LIMIT keep."""
        node = spot.scope.node
        asked = self.guarded(spot)
        having = self._others(node["having"], spot, own=spot.clause == "having")
        early = windowed or spot.clause == "having"
        qualify = None
        if not early and not left_out(where, node["where_clause"]) and not left_out(having, node["having"]):
            qualify = self._others(node["qualify"], spot, own=spot.clause == "qualify")
        if qualify is None and self._limits(spot) is None and not makes_groups(node, self.syntax):
            return self._rows(spot, where, asked)
        return self._limited(self._beside(spot, asked, where, having, qualify), spot)

    def _copy_on(self, spot: Spot) -> Node:
        """Return the pairs of rows that a join compares: those of a cross join, without the condition itself."""
        node, join = spot.scope.node, spot.path[0]
        others = self._others(join["condition"], spot, own=True)
        kind = "CROSS" if others is None else "REGULAR"
        inner = join | {"condition": others, "join_type": "INNER", "ref_type": kind}
        around = joins_around(node["from_table"], join)
        kept: Node | None = None
        if all(each["join_type"] == "INNER" for each in around):
            side = {"LEFT": "left", "SEMI": "left", "ANTI": "left", "RIGHT": "right"}.get(join["join_type"])
            kept = join[side] if side else None
            if join["join_type"] == "INNER" and all(each["ref_type"] in {"REGULAR", "CROSS"} for each in around):
                kept = inner
        return self._of_relation(spot, self.guarded(spot), inner, kept)

    def _copy_table(self, spot: Spot) -> Node:
        """Return the rows before a relation in FROM that is evaluated for each of them (LATERAL)."""
        relations = spot.scope.node["from_table"]
        before = stands_before(relations, spot.path[0]) or self.syntax.query("SELECT 1")["from_table"]
        inner = all(each["join_type"] == "INNER" for each in joins_around(relations, spot.path[0]))
        return self._of_relation(spot, spot.asked, before, before if inner else None)

    def _of_relation(self, spot: Spot, asked: Node, relation: Node, kept: Node | None) -> Node:
        """Return the inputs from a part of FROM, where the conditions on `kept` hold."""
        node = spot.scope.node
        where = None if kept is None else self._binding(conjuncts(node["where_clause"]), kept, spot.scope)
        items = [asked | {"alias": INPUT}]
        return node | BARE | {"select_list": items, "from_table": relation, "where_clause": where}

    # LIMIT.

    def _limits(self, spot: Spot) -> tuple[int, int, list[Node]] | None:
        """Return how many rows LIMIT takes and in which order, if only those rows need be asked about."""
        if spot.clause != "select" or any(part.get("class") == "WINDOW" for part in spot.path):
            return None
        found = limit_of(spot.scope.node)
        if found is None or any(names(order["expression"], spot.name) for order in found[2]):
            return None
        return found

    def _limited(self, copy: Node, spot: Spot) -> Node:
        limits = self._limits(spot)
        node = spot.scope.node
        dropped = any(left_out(copy[key], node[key]) for key in ("where_clause", "having", "qualify"))
        if limits is None or dropped:
            # Among more rows than the query reads, the first rows may be different ones.
            return copy
        count, skip, orders = limits
        if self.policy is Policy.FUSE and any(has_calls(order["expression"]) for order in orders):
            return copy
        named = [order["expression"] | {"alias": f"sqlbatch_order_{i}"} for i, order in enumerate(orders)]
        inner = copy | {"select_list": [*copy["select_list"], *named]}
        # Rows that tie at the limit may be on either side of it, so all of them are asked about.
        skipped = f" AND count(*) OVER (ORDER BY o) > {skip}" if skip else ""
        shape = self.syntax.query(f"SELECT {INPUT} FROM t QUALIFY rank() OVER (ORDER BY o) <= {count + skip}{skipped}")
        by = [order | {"expression": self.syntax.column(f"sqlbatch_order_{i}")} for i, order in enumerate(orders)]
        ordered = rewritten(shape["qualify"], lambda n: n | {"orders": by} if n.get("class") == "WINDOW" else None)
        whole = shape | {"qualify": ordered, "from_table": self.syntax.in_from(inner, "sqlbatch_ranked")}
        return whole if self._bound(whole, spot.scope) else copy

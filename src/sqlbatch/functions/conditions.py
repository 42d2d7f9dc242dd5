"""The rows that a call is asked about: those that the conditions beside it keep and its guards let through."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

from sqlbatch.functions.clauses import group_keys, is_aggregate, names, with_ctes
from sqlbatch.functions.sources import has_calls
from sqlbatch.functions.syntax import Node, Syntax, conjuncts, function_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlbatch.functions.find import Found, Scope

# The rendered input of a call, and the column of a collection.
ASK = "sqlbatch_ask_"
INPUT = "sqlbatch_input"
# A SELECT without anything that follows its FROM and WHERE.
BARE: Node = {
    "group_expressions": [],
    "group_sets": [],
    "aggregate_handling": "STANDARD_HANDLING",
    "having": None,
    "qualify": None,
    "modifiers": [],
}


class Policy(StrEnum):
    """How far calls wait for one another: `lean` asks least, `fuse` needs the fewest rounds."""

    BALANCED = "balanced"
    LEAN = "lean"
    FUSE = "fuse"


@dataclass(frozen=True)
class Spot:
    """The place of an asked expression: a call itself, or a subquery that contains it.

    `asked` is SQL of the input, or of a list of inputs if `many`; `name` is that of the call.
    """

    scope: Scope
    clause: str
    path: tuple[Node, ...]
    asked: Node
    many: bool
    name: str
    shared: bool = False


@dataclass
class Conditions:
    """Conditions around calls; `binds` says whether DuckDB accepts a query, `needs` which calls its rows depend on."""

    syntax: Syntax
    found: Found
    binds: Callable[[Node], bool]
    needs: Callable[[Node], frozenset[int]]
    policy: Policy

    # Conditions that the asked rows already satisfy.

    def _binding(self, conditions: Iterable[Node], relation: Node, scope: Scope) -> Node | None:
        """Return those conditions without calls that can be evaluated on one relation alone."""
        shape = self.syntax.query("SELECT 1 FROM t") | {"from_table": relation, "cte_map": scope.node["cte_map"]}
        return self.syntax.all_of(
            each
            for each in conditions
            if not has_calls(each) and self.binds(with_ctes(shape | {"where_clause": each}, scope.environment))
        )

    def alone(self, copy: Node, environment: Sequence[tuple[str, Node]], *, many: bool = False) -> Node:
        """Return a copy of a SELECT as a query of its own, with the CTEs that it reads."""
        inner = self.syntax.in_from(copy, "sqlbatch_inner")
        if many:
            each = self.syntax.expression("unnest(x)", x=self.syntax.column(INPUT)) | {"alias": INPUT}
            inner = self.syntax.in_from(self.syntax.select([each], inner), "sqlbatch_each")
        # A join may give an input many times, so they are told apart before they are kept. Those of one relation are
        # kept as they come, and told apart by their ids.
        one = copy["type"] == "SELECT_NODE" and copy["from_table"]["type"] == "BASE_TABLE" and not many
        shape = self.syntax.query(f"SELECT {'' if one else 'DISTINCT '}{INPUT} FROM t WHERE {INPUT} IS NOT NULL")
        return with_ctes({**shape, "from_table": inner}, environment)

    def where(self, spot: Spot) -> Node | None:
        """Return the conditions of WHERE that the asked rows already satisfy."""
        return self._others(spot.scope.node["where_clause"], spot, own=spot.clause == "where")

    def _others(self, condition: Node | None, spot: Spot, *, own: bool) -> Node | None:
        """Return the conditions beside the call's own (`own`), or all conditions of earlier clauses."""
        kept: list[Node] = []
        seen = False
        for part in conjuncts(condition):
            if (own and any(part is node for node in spot.path)) or names(part, spot.name):
                seen = True
            elif self.policy is Policy.FUSE:
                # A condition without a call may still depend on one, through a subquery in FROM.
                if not has_calls(part) and not self._rests_on_calls(part, spot.scope):
                    kept.append(part)
            elif not (has_calls(part) and own and (self.policy is not Policy.LEAN or seen)):
                kept.append(part)
        return self.syntax.all_of(kept)

    def _rests_on_calls(self, condition: Node, scope: Scope) -> bool:
        node = scope.node
        shape = node | BARE | {"select_list": [self.syntax.expression("1")]}
        with_it = with_ctes(shape | {"where_clause": condition}, scope.environment)
        if not self.binds(with_it):
            return False
        without = with_ctes(shape | {"where_clause": None}, scope.environment)
        return bool(self.needs(with_it) - self.needs(without))

    def guarded(self, spot: Spot, inside: Node | None = None) -> Node:
        """Return the asked expression, NULL where the surrounding CASE, COALESCE, AND or OR does not evaluate it."""
        if spot.shared:
            return spot.asked
        path = list(spot.path)
        if inside is not None:
            path = path[next(i for i, node in enumerate(path) if node is inside) + 1 :]
        else:
            window = max((i for i, node in enumerate(path) if node.get("class") == "WINDOW"), default=-1)
            path = path[window + 1 :]
        guards: list[Node] = []
        top = inside is None and spot.clause in {"where", "having", "qualify", "on"}
        for parent, child in pairwise(path):
            if top and (parent.get("type") == "CONJUNCTION_AND" or "class" not in parent):
                continue
            top = False
            guards += self._guards(parent, child)
        whole = self.syntax.all_of(guards)
        if whole is None:
            return spot.asked
        return self.syntax.expression("CASE WHEN g THEN x END", g=whole, x=spot.asked)

    def _guards(self, parent: Node, child: Node) -> list[Node]:
        """Return the conditions under which an expression evaluates one of its parts.

        One that calls functions does not count for the policy `fuse`; in AND and OR, it counts only for `lean`, and
        before the part.
        """
        kind = parent.get("type")
        said: list[tuple[str, Node]] = []
        if kind == "CASE_EXPR":
            for check in parent["case_checks"]:
                if check["when_expr"] is child:
                    break
                if check["then_expr"] is child:
                    said.append(("g", check["when_expr"]))
                    break
                said.append(("g IS DISTINCT FROM true", check["when_expr"]))
        elif kind == "OPERATOR_COALESCE" or function_of(parent) == "ifnull":
            parts = parent.get("children") or [each["expression"] for each in parent["arguments"]]
            said = [("g IS NULL", each) for each in takewhile(lambda each: each is not child, parts)]
        elif function_of(parent) == "if" and len(parent["arguments"]) == 3:
            test, then, _ = (each["expression"] for each in parent["arguments"])
            if child is not test:
                said = [("g" if child is then else "g IS DISTINCT FROM true", test)]
        elif kind in {"CONJUNCTION_AND", "CONJUNCTION_OR"}:
            before = self.policy is Policy.LEAN
            for each in parent["children"]:
                if each is child:
                    before = False
                elif before or not has_calls(each):
                    said.append((f"g IS DISTINCT FROM {'false' if kind == 'CONJUNCTION_AND' else 'true'}", each))
        return [
            self.syntax.expression(sql, g=node)
            for sql, node in said
            if self.policy is not Policy.FUSE or not has_calls(node)
        ]

    def boundary(self, spot: Spot) -> tuple[Node | None, bool]:
        """Return the aggregate that has the place in its argument, and whether it is a window function."""
        inside, windowed = None, False
        for node in spot.path:
            if node.get("class") == "WINDOW":
                windowed = True
            if is_aggregate(node, self.syntax):
                inside = node
        return inside, windowed

    def _is_group_key(self, spot: Spot) -> bool:
        """Whether the place is part of an expression that rows are grouped by."""
        node = spot.scope.node
        keys = group_keys(node, self.syntax)
        if any(key is part for key in keys for part in spot.path):
            return True
        texts = {self.syntax.write_expression(key) for key in keys if has_calls(key)}
        return bool(texts) and any(
            "class" in part and self.syntax.write_expression(part) in texts for part in spot.path
        )

    def _bound(self, copy: Node, scope: Scope) -> bool:
        """Whether a copy binds, by itself or (for a correlated subquery) in the place of the original."""
        if self.binds(with_ctes(copy, scope.environment)):
            return True
        if scope.parent is None or scope.position is None:
            return False
        # A correlated SELECT is tried in its place, as an EXISTS.
        exists = self.syntax.expression("EXISTS (SELECT 1)")
        tried = {**exists, "subquery": {"node": copy, "named_param_map": []}}
        parent = scope.parent
        outer = parent.node | BARE | {"select_list": [tried], "where_clause": None}
        return self._bound(outer, parent)

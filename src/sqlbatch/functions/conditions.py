"""The rows that a call is asked about: those that the conditions beside it keep and its guards let through."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING

from sqlbatch.functions.clauses import group_keys, guards_of, is_aggregate, names, with_ctes
from sqlbatch.functions.sources import has_calls
from sqlbatch.functions.syntax import Node, Syntax, conjuncts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlbatch.functions.find import Found, Scope

# The rendered input of a call, and the column of a collection.
ASK = "sqlbatch_ask_"
INPUT = "sqlbatch_input"
BARE: Node = {
    "group_expressions": [],
    "group_sets": [],
    "aggregate_handling": "STANDARD_HANDLING",
    "having": None,
    "qualify": None,
}


class Policy(StrEnum):
    """How far calls wait for one another: `lean` asks least, `fuse` needs the fewest rounds."""

    BALANCED = "balanced"
    LEAN = "lean"
    FUSE = "fuse"


@dataclass(frozen=True)
class Spot:
    """The place of an asked expression: a call itself, or a subquery that contains it.

    `asked` is SQL of the input, or of a list of inputs if `many`; `names` are the calls that it represents.
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
    policy: Policy = Policy.BALANCED

    # Conditions that the asked rows already satisfy.

    def _binding(self, conditions: Iterable[Node], relation: Node, scope: Scope) -> Node | None:
        """Return those conditions without calls that can be evaluated on one relation alone."""
        shape = self.syntax.query("SELECT 1 FROM t") | {"from_table": relation, "cte_map": scope.node["cte_map"]}
        cheap = [each for each in conditions if not has_calls(each)]
        return self.syntax.all_of(
            each for each in cheap if self.binds(with_ctes(shape | {"where_clause": each}, scope.environment))
        )

    def where(self, spot: Spot, policy: Policy) -> Node | None:
        """Return the conditions of WHERE that the asked rows already satisfy."""
        return self._others(spot.scope.node["where_clause"], spot, policy, own=spot.clause == "where")

    def _others(self, condition: Node | None, spot: Spot, policy: Policy, *, own: bool) -> Node | None:
        """Return the conditions beside the call's own (`own`), or all conditions of earlier clauses."""
        kept: list[Node] = []
        seen = False
        for part in conjuncts(condition):
            mine = own and any(part is node for node in spot.path)
            mine = mine or names(part, spot.name)
            seen = seen or mine
            if mine:
                continue
            if not has_calls(part):
                # A condition without a call may still depend on one, through a subquery in FROM.
                if policy is not Policy.FUSE or not self._rests_on_calls(part, spot.scope):
                    kept.append(part)
            elif policy is not Policy.FUSE and not (own and (policy is not Policy.LEAN or seen)):
                kept.append(part)
        return self.syntax.all_of(kept)

    def _rests_on_calls(self, condition: Node, scope: Scope) -> bool:
        node = scope.node
        shape = node | BARE | {"select_list": [self.syntax.expression("1")], "modifiers": []}
        with_it = with_ctes(shape | {"where_clause": condition}, scope.environment)
        if not self.binds(with_it):
            return False
        without = with_ctes(shape | {"where_clause": None}, scope.environment)
        return bool(self.needs(with_it) - self.needs(without))

    def guarded(self, spot: Spot, policy: Policy, inside: Node | None = None) -> Node:
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
            guards += guards_of(self.syntax, parent, child, bold=policy is not Policy.FUSE, lean=policy is Policy.LEAN)
        whole = self.syntax.all_of(guards)
        if whole is None:
            return spot.asked
        return self.syntax.expression("CASE WHEN g THEN x END", g=whole, x=spot.asked)

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
        outer = parent.node | BARE | {"select_list": [tried], "where_clause": None, "modifiers": []}
        return self._bound(outer, parent)

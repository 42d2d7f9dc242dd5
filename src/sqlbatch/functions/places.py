"""The places of a query's calls: in which SELECT, in which clause, below which expressions."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from sqlbatch.functions.find import CLAUSES, Found, Scope
from sqlbatch.functions.syntax import (
    Node,
    children,
    function_of,
    is_query,
    is_relation,
    name_alone,
    point,
    rewritten,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlbatch.functions.find import Call


def place_calls(found: Found, root: Node, is_column: Callable[[Node, Node], bool]) -> Found:
    """Return the calls of a query with their places in its tree `root`, which names them as `found` does.

    `is_column` says whether a name is a column of what a SELECT reads; an alias of a call is replaced by the call.
    Raises InvalidQuery, pointing at the place, for a call that cannot be planned there.
    """
    placer = _Placer(found)
    for select in [node for node in walk(root) if node.get("type") == "SELECT_NODE"]:
        placer.write_out(select, is_column)
    placer.visit(root, None, "root", ())
    return Found(found.query, root, found.calls, tuple(placer.scopes))


class _Placer:
    def __init__(self, found: Found) -> None:
        self.query = found.query
        self.by_name = {call.name: call for call in found.calls}
        self.scopes: list[Scope] = []

    def error(self, call: Call, why: str) -> Exception:
        """Return an error about a call in the query."""
        return point(self.query, call.location, f"{call.ask.function} {why}")

    def write_out(self, select: Node, is_column: Callable[[Node, Node], bool]) -> None:
        """Replace, in place, the names of columns that call functions by their expressions, wherever they are used."""
        items = select["select_list"]
        # Each name refers to an earlier column of the list, whose names are already replaced.
        for number, item in enumerate(items):
            meant = {str(each["alias"]).casefold(): each for each in items[:number] if any(self._calls_in(each))}
            if meant:
                items[number] = self._written_out(item, meant, select, is_column)
        meant = {str(each["alias"]).casefold(): each for each in items if each["alias"] and any(self._calls_in(each))}
        for key in ("where_clause", "having", "qualify"):
            if meant and select[key] is not None:
                select[key] = self._written_out(select[key], meant, select, is_column)

    def _written_out(
        self, value: Node, meant: Mapping[str, Node], select: Node, is_column: Callable[[Node, Node], bool]
    ) -> Node:
        def expression_of(node: Node) -> Node | None:
            item = meant.get(name_alone(node) or "")
            if item is not None and not is_column(node, select):
                return copy.deepcopy(item) | {"alias": node["alias"]}
            return node if is_query(node) else None

        whole: Node = rewritten(value, expression_of)
        return whole

    def visit(
        self,
        node: Node,
        parent: Scope | None,
        place: str,
        environment: tuple[tuple[str, Node], ...],
        **more: Any,
    ) -> None:
        """Note the scopes and the calls of a query node."""
        for entry in node["cte_map"]["map"]:
            inner = entry["value"]["query_node"]
            if inner["type"] == "RECURSIVE_CTE_NODE":
                self._refuse_in(inner["right"], "in the recursive part of a CTE: build the rows first, and call the "
                                "function in the SELECT that reads them")  # fmt: skip
                inner = inner["left"]
            self.visit(inner, parent, "cte", environment, cte=entry["key"])
            environment = (*environment, (entry["key"], entry["value"]))
        kind = node["type"]
        if kind == "SELECT_NODE":
            self._select(node, Scope(node, parent, place, environment, **more))
            return
        if kind in {"SET_OPERATION_NODE", "RECURSIVE_CTE_NODE"}:
            self._refuse_in(node["modifiers"], "in ORDER BY or LIMIT of a set operation: put the set operation into a "
                            "subquery and call the function outside of it")  # fmt: skip
            for part in [*(node.get("children") or ()), node.get("left"), node.get("right")]:
                if part:
                    # A subquery in an expression stays one, so that its references to the outer query are found.
                    self.visit(part, parent, "set" if place != "expression" else place, environment, **more)
            return
        self._refuse_in(node, f"in a {kind.replace('_NODE', '').lower()} that cannot be planned: use a SELECT")

    def _refuse_in(self, value: Any, why: str) -> None:
        for call in self._calls_in(value):
            raise self.error(call, why)

    def _calls_in(self, value: Any) -> Iterator[Call]:
        names = (function_of(node) for node in walk(value))
        return (self.by_name[name] for name in names if name in self.by_name)

    def _select(self, node: Node, scope: Scope) -> None:
        self.scopes.append(scope)
        if node["sample"] is not None:
            sampled = {key: value for key, value in node.items() if key != "sample"}
            self._refuse_in(sampled, "beside USING SAMPLE: take the sample into a table first")
        self._from(node["from_table"], scope)
        for item in node["select_list"]:
            self._expression(item, scope, "select", ())
        for clause, key in (("where", "where_clause"), ("having", "having"), ("qualify", "qualify")):
            if node[key] is not None:
                self._expression(node[key], scope, clause, ())
        for item in node["group_expressions"]:
            self._expression(item, scope, "group", ())
        for modifier in node["modifiers"]:
            if modifier["type"] in {"LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER"}:
                self._refuse_in(modifier, "in LIMIT: give a number")
            for order in modifier.get("orders", ()):
                self._expression(order["expression"], scope, "order", ())
            for target in modifier.get("distinct_on_targets", ()):
                self._expression(target, scope, "distinct", ())

    def _from(self, relation: Node, scope: Scope) -> None:
        kind = relation["type"]
        if kind == "JOIN":
            if relation["ref_type"] in {"ASOF", "POSITIONAL"}:
                why = (
                    f"in the ON of an {relation['ref_type']} JOIN: join first, and call the function in WHERE around it"
                )
                self._refuse_in(relation["condition"] or {}, why)
            self._from(relation["left"], scope)
            self._from(relation["right"], scope)
            if relation["condition"] is not None:
                self._expression(relation["condition"], scope, "on", (relation,))
        elif kind == "SUBQUERY":
            self.visit(relation["subquery"]["node"], scope, "from", scope.environment, position=relation)
        elif kind == "TABLE_FUNCTION":
            self._expression(relation["function"], scope, "table", (relation,))
        elif kind not in {"BASE_TABLE", "EMPTY"}:
            names = {"PIVOT": "inside PIVOT: build the pivoted table in a subquery first, without the call",
                     "EXPRESSION_LIST": "in VALUES: write SELECT … UNION ALL SELECT …"}  # fmt: skip
            self._refuse_in(relation, names.get(kind, "in this relation: use a subquery"))

    def _expression(self, node: Node, scope: Scope, clause: str, path: tuple[Node, ...]) -> None:
        path = (*path, node)
        call = self.by_name.get(function_of(node))
        if call is not None:
            self._place(call, scope, clause, path)
        for child in children(node):
            if is_query(child):
                self.visit(child, scope, "expression", scope.environment, position=node, clause=clause, path=path)
            elif is_relation(child):
                self._refuse_in(child, "in this place: use a subquery")
            else:
                self._expression(child, scope, clause, path)

    def _place(self, call: Call, scope: Scope, clause: str, path: tuple[Node, ...]) -> None:
        first = not hasattr(call, "scope")
        if first or CLAUSES.index(clause) < CLAUSES.index(call.clause):
            # Through an alias, a call may be in several clauses; the first of them is computed for the most rows.
            call.scope, call.clause, call.node = scope, clause, path[-1]
            call.path = path
        call.shared = call.shared or not first
        self._check_path(call)

    def _check_path(self, call: Call) -> None:
        for node in call.path[:-1]:
            if node.get("class") == "LAMBDA":
                raise self.error(call, "in a lambda or list comprehension: unnest the list, call the function on each "
                                 "element, and collect them with list(… ORDER BY …)")  # fmt: skip
            if node.get("type") == "OPERATOR_TRY":
                raise self.error(call, "inside TRY: take the call out of it; it never raises")
            if node.get("class") == "STAR" and node.get("columns"):
                raise self.error(call, "beside COLUMNS(): name the columns")
            if function_of(node) == "unnest" and call.clause == "select" and call.ask.question.shape == "struct":
                name = f"unnest of {call.ask.function} in SELECT"
                raise point(self.query, call.location, f"{name} makes columns of a struct: name the fields, (x).field")

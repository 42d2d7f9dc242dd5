"""The meaning of a SELECT's clauses: groups, orders, joins, and when an expression evaluates one of its parts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlbatch.functions.find import CLAUSES
from sqlbatch.functions.sources import row_orders
from sqlbatch.functions.syntax import (
    Node,
    Syntax,
    calling,
    conjuncts,
    function_of,
    name_alone,
    walk,
    without_subqueries,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.functions.find import Call, Found


def with_ctes(node: Node, environment: Sequence[tuple[str, Node]]) -> Node:
    """Return a query with the surrounding CTEs that it reads, directly or through others."""
    named = {key.casefold(): (key, value) for key, value in environment}
    own = {entry["key"].casefold() for entry in node["cte_map"]["map"]}
    wanted: set[str] = set()
    todo = [node]
    while todo:
        for part in walk(todo.pop()):
            name = str(part.get("table_name", "")).casefold()
            if part.get("type") == "BASE_TABLE" and name in named and name not in wanted and name not in own:
                wanted.add(name)
                todo.append(named[name][1]["query_node"])
    kept = [{"key": key, "value": value} for name, (key, value) in named.items() if name in wanted]
    return node | {"cte_map": {"map": [*kept, *node["cte_map"]["map"]]}}


def group_keys(node: Node, syntax: Syntax) -> list[Node]:
    """Return the expressions that a SELECT groups by, with positions and aliases replaced by their expressions."""
    items = node["select_list"]
    keys: list[Node] = []
    for key in node["group_expressions"]:
        position = whole_number(key)
        if position is not None and 0 < position <= len(items):
            keys.append(items[position - 1])
        elif name := name_alone(key):
            keys += [item for item in items if str(item["alias"]).casefold() == name]
        keys.append(key)
    if node["aggregate_handling"] == "FORCE_AGGREGATES":
        keys += [item for item in items if not any(is_aggregate(part, syntax) for part in without_subqueries(item))]
    return keys


def merge_equal(found: Found, syntax: Syntax) -> Found:
    """Merge equal calls of one SELECT, because DuckDB must see that they are equal (GROUP BY, DISTINCT)."""
    kept = [call for call in found.calls if call.clause in {"on", "table", "where"}]
    first: list[tuple[Call, str]] = []
    for call in sorted(found.calls, key=lambda each: CLAUSES.index(each.clause)):
        if call.clause in {"on", "table", "where"}:
            continue
        source = syntax.write_expression(call.node["arguments"][0]["expression"])
        same = next((o for o, s in first if o.scope is call.scope and o.ask == call.ask and s == source), None)
        if same is None:
            first.append((call, source))
        else:
            call.node.update(calling(call.node, same.name))
            same.shared = True
    kept += [call for call, _ in first]
    return replace(found, calls=tuple(sorted(kept, key=lambda each: each.number)))


def order_rows(found: Found, syntax: Syntax) -> None:
    """Order a query without ORDER BY by its sources' row numbers, so that LIMIT takes the same rows each time."""
    for scope in found.scopes:
        node = scope.node
        kinds = {modifier["type"] for modifier in node["modifiers"]}
        wanted = node is found.root or "LIMIT_MODIFIER" in kinds
        if not wanted or kinds & {"ORDER_MODIFIER", "DISTINCT_MODIFIER"} or makes_groups(node, syntax):
            continue
        orders = row_orders(syntax, node["from_table"])
        if orders:
            shape = syntax.query("FROM t ORDER BY x")["modifiers"][0]
            by = [shape["orders"][0] | {"expression": each} for each in orders]
            node["modifiers"] = [shape | {"orders": by}, *node["modifiers"]]


def left_out(kept: Node | None, condition: Node | None) -> bool:
    """Whether a part of a condition is missing."""
    return len(conjuncts(kept)) < len(conjuncts(condition))


def makes_groups(node: Node, syntax: Syntax) -> bool:
    """Whether a SELECT makes groups."""
    if node["group_expressions"] or node["aggregate_handling"] == "FORCE_AGGREGATES" or node["having"] is not None:
        return True
    orders = [order["expression"] for modifier in node["modifiers"] for order in modifier.get("orders", ())]
    parts = [*node["select_list"], *orders, *([node["qualify"]] if node["qualify"] else [])]
    return any(is_aggregate(each, syntax) for part in parts for each in without_subqueries(part))


def is_aggregate(node: Node, syntax: Syntax) -> bool:
    """Whether an expression calls an aggregate function (not a window function)."""
    return function_of(node) in syntax.aggregates


def names(value: Node, name: str) -> bool:
    """Whether a part of the tree contains a call of the plan."""
    return any(function_of(node) == name for node in walk(value))


def whole_number(expression: Node) -> int | None:
    """Return the value of a literal that is a whole number, None for anything else."""
    literal = expression.get("literal") if expression.get("class") == "CONSTANT" else None
    return int(literal["text"]) if literal and literal["kind"] == "INTEGER" and literal["text"].isdigit() else None


def is_plain(node: Node, syntax: Syntax) -> bool:
    """Whether a SELECT returns one row for each row of its FROM and WHERE, independently of the others."""
    parts = [part for item in node["select_list"] for part in without_subqueries(item)]
    return (
        not node["modifiers"]
        and node["qualify"] is None
        and not makes_groups(node, syntax)
        and not any(part.get("class") == "WINDOW" or function_of(part) == "unnest" for part in parts)
    )


def relations(relation: Node) -> list[Node]:
    """Return a relation in FROM, and for a join also its sides."""
    if relation["type"] == "JOIN":
        return [relation, *relations(relation["left"]), *relations(relation["right"])]
    return [relation]


def joins_around(whole: Node, relation: Node) -> list[Node]:
    """Return the joins that contain a relation, without the relation itself."""
    return [join for join in relations(whole) if join["type"] == "JOIN" and join is not relation
            and any(each is relation for each in relations(join))]  # fmt: skip


def reads_rows(whole: Node, relation: Node) -> bool:
    """Whether each row of a relation appears by itself in FROM: only plain joins surround it."""
    return all(
        join["join_type"] in {"INNER", "LEFT", "RIGHT", "OUTER"} and join["ref_type"] in {"REGULAR", "CROSS"}
        for join in joins_around(whole, relation)
    )


def stands_before(relation: Node, lateral: Node) -> Node | None:
    """Return the relations before a relation in FROM."""
    if relation is lateral or relation["type"] != "JOIN":
        return None
    if any(each is lateral for each in relations(relation["right"])):
        rest = stands_before(relation["right"], lateral)
        return relation["left"] if rest is None else relation | {"right": rest}
    return stands_before(relation["left"], lateral)


def limit_of(node: Node) -> tuple[int, int, list[Node]] | None:
    """Return LIMIT, OFFSET and orders of a SELECT with ORDER BY, aliases and positions resolved; None for any other."""
    kinds = {modifier["type"]: modifier for modifier in node["modifiers"]}
    limit = kinds.get("LIMIT_MODIFIER")
    if limit is None or "DISTINCT_MODIFIER" in kinds or "ORDER_MODIFIER" not in kinds:
        return None
    if limit.get("limit_type", "ROW_COUNT") != "ROW_COUNT" or limit["limit"] is None:
        return None
    count = whole_number(limit["limit"])
    skip = 0 if limit["offset"] is None else whole_number(limit["offset"])
    orders = [resolved_order(order, node) for order in kinds["ORDER_MODIFIER"]["orders"]]
    if count is None or skip is None or any(order is None for order in orders):
        return None
    return count, skip, [order for order in orders if order is not None]


def resolved_order(order: Node, node: Node) -> Node | None:
    """Return an order with its position or alias replaced by the expression."""
    expression = order["expression"]
    position = whole_number(expression)
    if position is not None:
        stars = any(item["class"] == "STAR" for item in node["select_list"])
        if stars or not 0 < position <= len(node["select_list"]):
            return None
        return order | {"expression": node["select_list"][position - 1] | {"alias": ""}}
    if expression["class"] in {"STAR", "CONSTANT"}:
        return None
    for item in node["select_list"]:
        if str(item["alias"]).casefold() == name_alone(expression):
            return order | {"expression": item | {"alias": ""}}
    return order

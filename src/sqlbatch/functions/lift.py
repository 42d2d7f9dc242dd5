"""Lifting: the outer SELECT limits which rows of a subquery are asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlbatch.functions.clauses import is_plain, reads_rows, relations
from sqlbatch.functions.conditions import BARE, INPUT
from sqlbatch.functions.sources import has_calls
from sqlbatch.functions.syntax import Node, conjuncts, rewritten, walk

if TYPE_CHECKING:
    from sqlbatch.functions.conditions import Conditions, Spot
    from sqlbatch.functions.find import Found, Scope


def lifted(around: Conditions, spot: Spot) -> Node | None:
    """Return the collection of a call in a plain subquery in FROM, or in a CTE that is read once.

    It asks only about the rows that the outer SELECT needs. None if it cannot be built so, or asks no less.
    """
    scope, syntax = spot.scope, around.syntax
    inside, windowed = around.boundary(spot)
    if spot.clause != "select" or inside or windowed or not is_plain(scope.node, syntax):
        return None
    found = _reader(around.found, scope)
    if found is None:
        return None
    reader, relation = found
    asked = around.guarded(spot) | {"alias": INPUT}
    inner = scope.node | {"select_list": [*scope.node["select_list"], asked], "where_clause": around.where(spot)}
    alias = relation["alias"] or (scope.cte or "sqlbatch_read")
    carried = syntax.in_from(inner, alias)
    sources = reader.node["from_table"]
    column = syntax.column(alias, INPUT) | {"alias": INPUT}
    relations_with = rewritten(sources, lambda node: carried if node is relation else None)
    shape = reader.node | BARE | {"select_list": [column], "from_table": relations_with, "where_clause": None}

    def fits(whole: Node) -> bool:
        return around.binds(whole) and int(spot.name.rpartition("_")[2]) not in around.needs(whole)

    whole = around.alone(shape, reader.environment)
    if not fits(whole):
        return None
    kept: list[Node] = []
    for part in conjuncts(reader.node["where_clause"]):
        tried = around.alone(shape | {"where_clause": syntax.all_of([*kept, part])}, reader.environment)
        if not has_calls(part) and fits(tried):
            kept.append(part)
            whole = tried
    return whole if kept or sources is not relation else None


def _reader(found: Found, scope: Scope) -> tuple[Scope, Node] | None:
    """Return the one SELECT that reads a subquery in FROM or a CTE row by row, and the relation that does so."""
    if scope.place == "from":
        if scope.parent is None or scope.position is None or scope.position.get("column_name_alias"):
            return None
        return (scope.parent, scope.position) if reads_rows(scope.parent.node["from_table"], scope.position) else None
    if scope.place != "cte":
        return None
    name = (scope.cte or "").casefold()
    readers = [
        (each, node)
        for each in found.scopes
        for node in relations(each.node["from_table"])
        if node["type"] == "BASE_TABLE" and not node["schema_name"] and node["table_name"].casefold() == name
    ]
    others = sum(
        node.get("type") == "BASE_TABLE" and str(node["table_name"]).casefold() == name for node in walk(found.root)
    )
    if len(readers) != 1 or others != 1:
        return None
    reader, relation = readers[0]
    in_query = reader.clause or (reader.parent is not None and reader.place == "expression")
    if in_query or relation.get("column_name_alias") or not reads_rows(reader.node["from_table"], relation):
        return None
    value = next((value for key, value in reversed(reader.environment) if key.casefold() == name), None)
    same = value is not None and value["query_node"] is scope.node and not value["aliases"]
    return (reader, relation) if same else None

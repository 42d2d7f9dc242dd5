"""Lifting: the outer SELECT limits which rows of a subquery are asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlbatch.functions.clauses import is_plain, reads_rows, relations
from sqlbatch.functions.collect import Collector
from sqlbatch.functions.conditions import BARE, INPUT
from sqlbatch.functions.sources import has_calls
from sqlbatch.functions.syntax import Node, conjuncts, replaced, walk

if TYPE_CHECKING:
    from sqlbatch.functions.conditions import Spot
    from sqlbatch.functions.find import Scope


class LiftingCollector(Collector):
    """Asks only about the rows of a subquery in FROM, or of a CTE, that its outer SELECT needs."""

    def lifted(self, spot: Spot) -> Node | None:
        """Return the collection of a call in a plain subquery in FROM, or in a CTE that is read once."""
        scope = spot.scope
        inside, windowed = self.boundary(spot)
        if (
            spot.clause != "select"
            or scope.place not in {"from", "cte"}
            or inside
            or windowed
            or not is_plain(scope.node, self.syntax)
        ):
            return None
        reader, relation, environment = self._reader(scope)
        if reader is None or relation is None:
            return None
        where = self.where(spot, self.policy)
        asked = self.guarded(spot, self.policy) | {"alias": INPUT}
        inner = scope.node | {"select_list": [*scope.node["select_list"], asked], "where_clause": where}
        alias = relation["alias"] or (scope.cte or "sqlbatch_read")
        carried = self.syntax.in_from(inner, alias) | {"column_name_alias": []}
        if relation.get("column_name_alias"):
            return None
        shape = (
            reader.node
            | BARE
            | {
                "select_list": [self.syntax.column(alias, INPUT) | {"alias": INPUT}],
                "modifiers": [],
                "from_table": replaced(reader.node["from_table"], relation, carried),
                "where_clause": None,
            }
        )
        own = spot.name.rpartition("_")[2]
        base = self.alone(shape, environment, many=False)
        if not self.binds(base) or int(own) in self.needs(base):
            return None
        kept: list[Node] = []
        for part in conjuncts(reader.node["where_clause"]):
            tried = shape | {"where_clause": self.syntax.all_of([*kept, part])}
            whole = self.alone(tried, environment, many=False)
            if not has_calls(part) and self.binds(whole) and int(own) not in self.needs(whole):
                kept.append(part)
        if not kept and reader.node["from_table"] is relation:
            return None
        return self.alone(shape | {"where_clause": self.syntax.all_of(kept)}, environment, many=False)

    def _reader(self, scope: Scope) -> tuple[Scope | None, Node | None, tuple[tuple[str, Node], ...]]:
        """Return the one SELECT that reads a subquery or CTE, the relation that does so, and the visible CTEs."""
        nothing = (None, None, ())
        if scope.place == "from":
            parent, relation = scope.parent, scope.position
            if parent is None or relation is None or not reads_rows(parent.node["from_table"], relation):
                return nothing
            return parent, relation, parent.environment
        name = (scope.cte or "").casefold()
        readers = [
            (each, node)
            for each in self.found.scopes
            for node in relations(each.node["from_table"])
            if node["type"] == "BASE_TABLE" and not node["schema_name"] and node["table_name"].casefold() == name
        ]
        others = sum(
            node.get("type") == "BASE_TABLE" and str(node["table_name"]).casefold() == name
            for node in walk(self.found.root)
        )
        if len(readers) != 1 or others != 1:
            return nothing
        reader, relation = readers[0]
        in_query = reader.clause or (reader.parent is not None and reader.place == "expression")
        if in_query or not reads_rows(reader.node["from_table"], relation):
            return nothing
        value = next((value for key, value in reversed(reader.environment) if key.casefold() == name), None)
        if value is None or value["query_node"] is not scope.node or value["aliases"]:
            return nothing
        return reader, relation, reader.environment

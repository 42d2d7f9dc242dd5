"""The collection of a call: the query that gives the inputs which the rest of the user's query needs it for.

It is a copy of the SELECT that the call stands in, with the input in the place of its columns: after joins and filters,
so that what they rule out is never asked. It may give an input that turns out not to matter, and never misses one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlbatch.functions.find import CLAUSES
from sqlbatch.functions.sources import has_calls, row_orders
from sqlbatch.functions.syntax import (
    Node,
    Syntax,
    conjuncts,
    point,
    replaced,
    walk,
    without_subqueries,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlbatch.functions.find import Call, Found, Scope

# The rendered input of a call, and the column that a collection gives.
ASK = "sqlbatch_ask_"
INPUT = "sqlbatch_input"
_BARE = {
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
    """Where an asked expression stands: for a call itself, or for a subquery that has it.

    `asked` is SQL of the input, or of a list of inputs where `many`; `names` are the calls that it stands for.
    """

    scope: Scope
    clause: str
    path: tuple[Node, ...]
    asked: Node
    many: bool
    name: str


@dataclass
class Collector:
    """Makes collections; `binds` says whether DuckDB accepts a query, `needs` which calls' answers its rows rest on."""

    syntax: Syntax
    found: Found
    binds: Callable[[Node], bool]
    needs: Callable[[Node], frozenset[int]]
    policy: Policy = Policy.BALANCED
    notes: dict[int, str] = field(default_factory=dict)

    def collect(self, call: Call, policy: Policy | None = None) -> Node:
        """Return the collection of a call: a query of one column, the distinct inputs as the model is shown them."""
        policy = policy or self.policy
        ask = {**call.node, "function_name": f"{ASK}{call.number}", "alias": "",
               "qualified_name": {"path": [f"{ASK}{call.number}"]}}  # fmt: skip
        spot = Spot(call.scope, call.clause, call.path, ask, many=False, name=call.name)
        lifted = self._lifted(spot, policy) if policy is not Policy.FUSE else None
        if lifted is not None:
            return lifted
        while True:
            copy, many = self._copy(spot, policy)
            whole = self._alone(copy, spot.scope.environment, many=many)
            if self.binds(whole):
                return whole
            outer = self._outside(spot.scope, copy, many=many, name=call.name)
            if outer is None:
                raise point(self.found.query, call.location, f"{call.ask.function} cannot be planned in this place: put what "
                            "is around it into a subquery")  # fmt: skip
            spot = outer

    def _outside(self, scope: Scope, copy: Node, *, many: bool, name: str) -> Spot | None:
        """Return the spot in the SELECT around a correlated subquery that stands for the subquery."""
        if scope.parent is None or scope.position is None:
            return None
        inputs = self.syntax.expression("flatten(list(x))" if many else "list(DISTINCT x)", x=self.syntax.column(INPUT))
        whole = self.syntax.select([inputs], like=self._from(self.syntax.in_from(copy, "sqlbatch_inner")))
        asked = self.syntax.scalar(whole)
        if scope.clause:
            return Spot(scope.parent, scope.clause, scope.path, asked, many=True, name=name)
        return Spot(scope.parent, "table", (scope.position,), asked, many=True, name=name)

    def _alone(self, copy: Node, environment: Sequence[tuple[str, Node]], *, many: bool) -> Node:
        """Return a copy of a SELECT as a query by itself, with the CTEs that it reads."""
        inner = self.syntax.in_from(copy, "sqlbatch_inner")
        column = self.syntax.column(INPUT)
        if many:
            each = self.syntax.expression("unnest(x)", x=column) | {"alias": INPUT}
            inner = self.syntax.in_from(self.syntax.select([each], like=self._from(inner)), "sqlbatch_each")
        shape = self.syntax.query(f"SELECT DISTINCT {INPUT} FROM t WHERE {INPUT} IS NOT NULL")
        return with_ctes({**shape, "from_table": inner}, environment)

    def _from(self, relation: Node) -> Node:
        return self.syntax.query("FROM t") | {"from_table": relation}

    # One SELECT, with the asked expression as its only column, or as one more.

    def _copy(self, spot: Spot, policy: Policy) -> tuple[Node, bool]:
        node = spot.scope.node
        if spot.clause == "on":
            return self._copy_on(spot, policy), spot.many
        if spot.clause == "table":
            return self._copy_table(spot), spot.many
        where = self._where(spot, policy)
        if spot.clause == "where" or spot.clause == "group":
            return self._rows(spot, where, self._guarded(spot, policy)), spot.many
        inside, windowed = self._boundary(spot)
        if _aggregates(node, self.syntax) and not self._is_group_key(spot):
            if inside is None:
                # What a group is made of is part of the question, so no condition on its rows may be left out.
                return self._groups(spot, node["where_clause"], policy, windowed=windowed)
            return self._in_aggregate(spot, where, inside)
        if _aggregates(node, self.syntax):
            return self._rows(spot, where, self._guarded(spot, policy, inside)), spot.many
        return self._after_rows(spot, where, policy, windowed=windowed)

    def _rows(self, spot: Spot, where: Node | None, asked: Node) -> Node:
        """Return the rows of FROM and WHERE, whatever is made of them later."""
        node = spot.scope.node
        asked = asked | {"alias": INPUT}
        copy = node | _BARE | {"select_list": [asked], "where_clause": where, "modifiers": []}
        if _aggregates(node, self.syntax) or self._bound(copy, spot.scope):
            return copy
        # A name of the SELECT list is used, so the list stays.
        return copy | {"select_list": [*node["select_list"], asked]}

    def _in_aggregate(self, spot: Spot, where: Node | None, inside: Node) -> tuple[Node, bool]:
        """Return the inputs inside an aggregate: of all rows, or of the groups that a cheap HAVING keeps."""
        node = spot.scope.node
        asked = self._guarded(spot, Policy.FUSE, inside)
        having = [part for part in conjuncts(node["having"]) if not has_calls(part)]
        if _left_out(where, node["where_clause"]):
            # Of more rows than the query groups, a condition on groups would say something else.
            having = []
        keys_call = any(has_calls(key) for key in group_keys(node, self.syntax))
        plain = node | _BARE | {"select_list": [asked | {"alias": INPUT}], "where_clause": where, "modifiers": []}
        if not having and self._bound(plain, spot.scope):
            return plain, spot.many
        listed = self.syntax.expression("flatten(list(x))" if spot.many else "list(DISTINCT x)", x=asked) | {
            "alias": INPUT
        }
        kept = None if keys_call else self.syntax.all_of(having)
        copy = node | {"select_list": [*node["select_list"], listed], "where_clause": where, "modifiers": [],
                       "having": kept, "qualify": None}  # fmt: skip
        # A group that a call inside of its own condition decides is not known before.
        if not self._bound(copy, spot.scope) and self._bound(plain, spot.scope):
            return plain, spot.many
        return copy, True

    def _groups(self, spot: Spot, where: Node | None, policy: Policy, *, windowed: bool) -> tuple[Node, bool]:
        """Return the inputs that are made of whole groups."""
        node = spot.scope.node
        having = self._others(node["having"], spot, policy, own=spot.clause == "having")
        asked = self._guarded(spot, policy) | {"alias": INPUT}
        early = windowed or spot.clause == "having" or _left_out(having, node["having"])
        qualify = None if early else self._others(node["qualify"], spot, policy, own=spot.clause == "qualify")
        copy = node | {"select_list": [*node["select_list"], asked], "where_clause": where, "modifiers": [], "having": having,
                       "qualify": qualify}  # fmt: skip
        return self._limited(copy, spot, policy), spot.many

    def _after_rows(self, spot: Spot, where: Node | None, policy: Policy, *, windowed: bool) -> tuple[Node, bool]:
        """Return the inputs of a SELECT that makes no groups: its rows, those that QUALIFY and LIMIT keep."""
        node = spot.scope.node
        asked = self._guarded(spot, policy) | {"alias": INPUT}
        early = windowed or _left_out(where, node["where_clause"])
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
        """Return the pairs of rows that a join compares: as of an inner join, without the condition itself."""
        node, join = spot.scope.node, spot.path[0]
        others = self._others(join["condition"], spot, policy, own=True)
        asked = self._guarded(spot, policy) | {"alias": INPUT}
        inner = join | {"condition": others, "join_type": "INNER", "ref_type": "REGULAR"}
        if others is None:
            inner |= {"ref_type": "CROSS"}
        around = _joins_around(node["from_table"], join)
        plain = join["join_type"] == "INNER"
        if plain and all(each["join_type"] == "INNER" and each["ref_type"] in {"REGULAR", "CROSS"} for each in around):
            copy = node | _BARE | {"select_list": [asked], "modifiers": [], "from_table": inner, "where_clause": None}
            kept = inner
        else:
            side = {"LEFT": "left", "SEMI": "left", "ANTI": "left", "RIGHT": "right"}.get(join["join_type"])
            kept = join[side] if side and all(each["join_type"] == "INNER" for each in around) else None
            copy = node | _BARE | {"select_list": [asked], "modifiers": [], "from_table": inner, "where_clause": None}
        if kept is None:
            return copy
        return copy | {"where_clause": self._binding(conjuncts(node["where_clause"]), kept, spot.scope)}

    def _copy_table(self, spot: Spot) -> Node:
        """Return the rows before a relation in FROM that is made anew for each of them (LATERAL)."""
        node = spot.scope.node
        before = _before(node["from_table"], spot.path[0])
        if before is None:
            before = self.syntax.query("SELECT 1")["from_table"]
        asked = spot.asked | {"alias": INPUT}
        copy = node | _BARE | {"select_list": [asked], "modifiers": [], "from_table": before, "where_clause": None}
        if any(each["join_type"] != "INNER" for each in _joins_around(node["from_table"], spot.path[0])):
            return copy
        return copy | {"where_clause": self._binding(conjuncts(node["where_clause"]), before, spot.scope)}

    def _binding(self, conditions: Iterable[Node], relation: Node, scope: Scope) -> Node | None:
        """Return those cheap conditions that can be told from one relation alone."""
        shape = self.syntax.query("SELECT 1 FROM t") | {"from_table": relation, "cte_map": scope.node["cte_map"]}
        cheap = [each for each in conditions if not has_calls(each)]
        return self.syntax.all_of(
            each for each in cheap if self.binds(with_ctes(shape | {"where_clause": each}, scope.environment))
        )

    # Which conditions the asked rows already satisfy.

    def _where(self, spot: Spot, policy: Policy) -> Node | None:
        return self._others(spot.scope.node["where_clause"], spot, policy, own=spot.clause == "where")

    def _others(self, condition: Node | None, spot: Spot, policy: Policy, *, own: bool) -> Node | None:
        """Return the conditions beside the one that the call stands in (`own`), or all that come before its clause."""
        kept: list[Node] = []
        seen = False
        for part in conjuncts(condition):
            mine = own and any(part is node for node in spot.path)
            mine = mine or _names(part, spot.name)
            seen = seen or mine
            if mine:
                continue
            if not has_calls(part):
                # Also a condition without a call may rest on one, by way of a subquery in FROM.
                if policy is not Policy.FUSE or not self._rests_on_calls(part, spot.scope):
                    kept.append(part)
            elif policy is not Policy.FUSE and not (own and (policy is not Policy.LEAN or seen)):
                kept.append(part)
        return self.syntax.all_of(kept)

    def _rests_on_calls(self, condition: Node, scope: Scope) -> bool:
        node = scope.node
        shape = node | _BARE | {"select_list": [self.syntax.expression("1")], "modifiers": []}
        with_it = with_ctes(shape | {"where_clause": condition}, scope.environment)
        if not self.binds(with_it):
            return False
        without = with_ctes(shape | {"where_clause": None}, scope.environment)
        return bool(self.needs(with_it) - self.needs(without))

    def _guarded(self, spot: Spot, policy: Policy, inside: Node | None = None) -> Node:
        """Return the asked expression, NULL where CASE, COALESCE, AND or OR around it do not look at it."""
        path = list(spot.path)
        if inside is not None:
            path = path[next(i for i, node in enumerate(path) if node is inside) + 1 :]
        else:
            window = max((i for i, node in enumerate(path) if node.get("class") == "WINDOW"), default=-1)
            path = path[window + 1 :]
        guards: list[Node] = []
        top = inside is None and spot.clause in {"where", "having", "qualify", "on"}
        for parent, child in zip(path, path[1:], strict=False):
            if top and (parent.get("type") == "CONJUNCTION_AND" or "class" not in parent):
                continue
            top = False
            guards += self._guards_of(parent, child, policy)
        whole = self.syntax.all_of(guards)
        if whole is None:
            return spot.asked
        return self.syntax.expression("CASE WHEN g THEN x END", g=whole, x=spot.asked)

    def _guards_of(self, parent: Node, child: Node, policy: Policy) -> list[Node]:
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
            return [
                self.syntax.expression(sql, g=node)
                for sql, node in said
                if policy is not Policy.FUSE or not has_calls(node)
            ]
        if kind == "OPERATOR_COALESCE" or _calls(parent, "ifnull"):
            for each in parent.get("children") or [each["expression"] for each in parent["arguments"]]:
                if each is child:
                    break
                said.append(("g IS NULL", each))
            return [
                self.syntax.expression(sql, g=node)
                for sql, node in said
                if policy is not Policy.FUSE or not has_calls(node)
            ]
        if _calls(parent, "if") and len(parent["arguments"]) == 3:
            test, then, _ = (each["expression"] for each in parent["arguments"])
            sql = "g" if child is then else "g IS DISTINCT FROM true"
            return (
                []
                if child is test or (policy is Policy.FUSE and has_calls(test))
                else [self.syntax.expression(sql, g=test)]
            )
        if kind in {"CONJUNCTION_AND", "CONJUNCTION_OR"}:
            sql = f"g IS DISTINCT FROM {'false' if kind == 'CONJUNCTION_AND' else 'true'}"
            before = True
            for each in parent["children"]:
                if each is child:
                    before = False
                elif not has_calls(each) or (policy is Policy.LEAN and before):
                    said.append((sql, each))
        return [self.syntax.expression(sql, g=node) for sql, node in said]

    # Groups and windows.

    def _boundary(self, spot: Spot) -> tuple[Node | None, bool]:
        """Return the aggregate that the spot is an argument of, and whether it is one of a window function."""
        inside, windowed = None, False
        for node in spot.path:
            if node.get("class") == "WINDOW":
                windowed = True
            if _is_aggregate(node, self.syntax):
                inside = node
        return inside, windowed

    def _is_group_key(self, spot: Spot) -> bool:
        """Whether the spot is part of an expression that rows are grouped by."""
        node = spot.scope.node
        keys = group_keys(node, self.syntax)
        if any(key is part for key in keys for part in spot.path):
            return True
        texts = {self.syntax.write_expression(key) for key in keys if has_calls(key)}
        return bool(texts) and any(
            "class" in part and self.syntax.write_expression(part) in texts for part in spot.path
        )

    # LIMIT.

    def _limits(self, spot: Spot) -> tuple[int, int, list[Node]] | None:
        """Return how many rows LIMIT looks at and by which order, where only those rows need be asked."""
        node = spot.scope.node
        if spot.clause != "select" or any(part.get("class") == "WINDOW" for part in spot.path):
            return None
        kinds = {modifier["type"]: modifier for modifier in node["modifiers"]}
        limit = kinds.get("LIMIT_MODIFIER")
        if limit is None or "DISTINCT_MODIFIER" in kinds or "ORDER_MODIFIER" not in kinds:
            return None
        if limit.get("limit_type", "ROW_COUNT") != "ROW_COUNT" or limit["limit"] is None:
            return None
        count = _whole(limit["limit"])
        skip = 0 if limit["offset"] is None else _whole(limit["offset"])
        orders = [self._resolved(order, node) for order in kinds["ORDER_MODIFIER"]["orders"]]
        if count is None or skip is None or any(order is None for order in orders):
            return None
        known = [order for order in orders if order is not None]
        if any(_names(order["expression"], spot.name) for order in known):
            return None
        return count, skip, known

    def _resolved(self, order: Node, node: Node) -> Node | None:
        """Return an order by the expression that its position or its alias means."""
        expression = order["expression"]
        position = _whole(expression)
        if position is not None:
            stars = any(item["class"] == "STAR" for item in node["select_list"])
            if stars or not 0 < position <= len(node["select_list"]):
                return None
            return order | {"expression": node["select_list"][position - 1] | {"alias": ""}}
        if expression["class"] in {"STAR", "CONSTANT"}:
            return None
        if expression["class"] == "COLUMN_REF" and len(expression["column_names"]) == 1:
            name = expression["column_names"][0].casefold()
            for item in node["select_list"]:
                if str(item["alias"]).casefold() == name:
                    return order | {"expression": item | {"alias": ""}}
        return order

    def _limited(self, copy: Node, spot: Spot, policy: Policy) -> Node:
        limits = self._limits(spot)
        node = spot.scope.node
        dropped = any(_left_out(copy[key], node[key]) for key in ("where_clause", "having", "qualify"))
        if limits is None or dropped:
            # The first rows of more than the query looks at may be others.
            return copy
        if policy is Policy.FUSE and any(has_calls(order["expression"]) for order in limits[2]):
            return copy
        count, skip, orders = limits
        named = [order["expression"] | {"alias": f"sqlbatch_order_{i}"} for i, order in enumerate(orders)]
        inner = copy | {"select_list": [*copy["select_list"], *named]}
        # Rows with equal places may stand on either side of the limit, so all of them are asked.
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

    # Lifting: what the reader of a subquery does not keep, is not asked.

    def _lifted(self, spot: Spot, policy: Policy) -> Node | None:
        """Return the collection of a call in a plain subquery in FROM or a CTE that is read once, as its reader sees it."""
        scope = spot.scope
        inside, windowed = self._boundary(spot)
        if (
            spot.clause != "select"
            or scope.place not in {"from", "cte"}
            or inside
            or windowed
            or not _is_plain(scope.node, self.syntax)
        ):
            return None
        reader, relation, environment = self._reader(scope)
        if reader is None or relation is None:
            return None
        where = self._where(spot, policy)
        asked = self._guarded(spot, policy) | {"alias": INPUT}
        inner = scope.node | {"select_list": [*scope.node["select_list"], asked], "where_clause": where}
        alias = relation["alias"] or (scope.cte or "sqlbatch_read")
        carried = self.syntax.in_from(inner, alias) | {"column_name_alias": []}
        if relation.get("column_name_alias"):
            return None
        shape = (
            reader.node
            | _BARE
            | {
                "select_list": [self.syntax.column(alias, INPUT) | {"alias": INPUT}],
                "modifiers": [],
                "from_table": replaced(reader.node["from_table"], relation, carried),
                "where_clause": None,
            }
        )
        own = spot.name.rpartition("_")[2]
        base = self._alone(shape, environment, many=False)
        if not self.binds(base) or int(own) in self.needs(base):
            return None
        kept: list[Node] = []
        for part in conjuncts(reader.node["where_clause"]):
            tried = shape | {"where_clause": self.syntax.all_of([*kept, part])}
            whole = self._alone(tried, environment, many=False)
            if not has_calls(part) and self.binds(whole) and int(own) not in self.needs(whole):
                kept.append(part)
        if not kept and reader.node["from_table"] is relation:
            return None
        return self._alone(shape | {"where_clause": self.syntax.all_of(kept)}, environment, many=False)

    def _reader(self, scope: Scope) -> tuple[Scope | None, Node | None, tuple[tuple[str, Node], ...]]:
        """Return the one SELECT that reads a subquery or CTE, the relation by which it does, and the CTEs it sees."""
        nothing = (None, None, ())
        if scope.place == "from":
            parent, relation = scope.parent, scope.position
            if parent is None or relation is None or not _reads_rows(parent.node["from_table"], relation):
                return nothing
            return parent, relation, parent.environment
        name = (scope.cte or "").casefold()
        readers = [
            (each, node)
            for each in self.found.scopes
            for node in _relations(each.node["from_table"])
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
        if in_query or not _reads_rows(reader.node["from_table"], relation):
            return nothing
        value = next((value for key, value in reversed(reader.environment) if key.casefold() == name), None)
        if value is None or value["query_node"] is not scope.node or value["aliases"]:
            return nothing
        return reader, relation, reader.environment

    def _bound(self, copy: Node, scope: Scope) -> bool:
        """Whether a copy binds, by itself or (for a correlated subquery) where the original stands."""
        if self.binds(with_ctes(copy, scope.environment)):
            return True
        if scope.parent is None or scope.position is None:
            return False
        # A correlated SELECT is tried in its place, as an EXISTS.
        exists = self.syntax.expression("EXISTS (SELECT 1)")
        tried = {**exists, "subquery": {"node": copy, "named_param_map": []}}
        parent = scope.parent
        outer = parent.node | _BARE | {"select_list": [tried], "where_clause": None, "modifiers": []}
        return self._bound(outer, parent)


def with_ctes(node: Node, environment: Sequence[tuple[str, Node]]) -> Node:
    """Return a query with the CTEs of its surroundings that it reads, directly or by way of others."""
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
    """Return the expressions that a SELECT groups by: positions and names of its list by what they mean."""
    items = node["select_list"]
    keys: list[Node] = []
    for key in node["group_expressions"]:
        position = _whole(key)
        name = (
            key["column_names"][0].casefold()
            if key["class"] == "COLUMN_REF" and len(key["column_names"]) == 1
            else None
        )
        if position is not None and 0 < position <= len(items):
            keys.append(items[position - 1])
        elif name is not None and (same := [item for item in items if str(item["alias"]).casefold() == name]):
            keys += same
        keys.append(key)
    if node["aggregate_handling"] == "FORCE_AGGREGATES":
        keys += [item for item in items if not any(_is_aggregate(part, syntax) for part in without_subqueries(item))]
    return keys


def merge_equal(found: Found, syntax: Syntax) -> Found:
    """Let equal calls of one SELECT be one call, where DuckDB must see that they are equal (GROUP BY, DISTINCT)."""
    kept: list[Call] = []
    for call in sorted(found.calls, key=lambda each: CLAUSES.index(each.clause)):
        source = syntax.write_expression(call.node["arguments"][0]["expression"])
        if call.clause not in {"on", "table", "where"}:
            same = next(
                (o for o in kept if o.scope is call.scope and o.ask == call.ask and o.clause not in {"on", "table", "where"}
                 and syntax.write_expression(o.node["arguments"][0]["expression"]) == source), None)  # fmt: skip
            if same is not None:
                call.node["function_name"] = same.name
                call.node["qualified_name"] = {"path": [same.name]}
                # What guards one place says nothing of the other.
                boundary = [node for node in same.path if node.get("class") == "WINDOW" or _is_aggregate(node, syntax)]
                same.path = (*boundary, same.node)
                continue
        kept.append(call)
    return type(found)(found.query, found.root, tuple(sorted(kept, key=lambda each: each.number)), found.scopes)


def order_rows(found: Found, syntax: Syntax) -> None:
    """Give the query, where it has no ORDER BY, the order of its sources' rows; so LIMIT takes the same ones each time."""
    for scope in found.scopes:
        node = scope.node
        kinds = {modifier["type"] for modifier in node["modifiers"]}
        wanted = node is found.root or "LIMIT_MODIFIER" in kinds
        if not wanted or kinds & {"ORDER_MODIFIER", "DISTINCT_MODIFIER"} or _aggregates(node, syntax):
            continue
        orders = row_orders(syntax, node["from_table"])
        if orders:
            shape = syntax.query("FROM t ORDER BY x")["modifiers"][0]
            by = [shape["orders"][0] | {"expression": each} for each in orders]
            node["modifiers"] = [shape | {"orders": by}, *node["modifiers"]]


def _left_out(kept: Node | None, condition: Node | None) -> bool:
    return len(conjuncts(kept)) < len(conjuncts(condition))


def _aggregates(node: Node, syntax: Syntax) -> bool:
    """Whether a SELECT makes groups."""
    if node["group_expressions"] or node["aggregate_handling"] == "FORCE_AGGREGATES" or node["having"] is not None:
        return True
    orders = [order["expression"] for modifier in node["modifiers"] for order in modifier.get("orders", ())]
    parts = [*node["select_list"], *orders, *([node["qualify"]] if node["qualify"] else [])]
    return any(_is_aggregate(each, syntax) for part in parts for each in without_subqueries(part))


def _is_aggregate(node: Node, syntax: Syntax) -> bool:
    return node.get("class") == "FUNCTION" and str(node["function_name"]).casefold() in syntax.aggregates


def _calls(node: Node, name: str) -> bool:
    return node.get("class") == "FUNCTION" and str(node["function_name"]).casefold() == name


def _names(value: Node, name: str) -> bool:
    return any(node.get("function_name") == name for node in walk(value))


def _whole(expression: Node) -> int | None:
    literal = expression.get("literal") if expression.get("class") == "CONSTANT" else None
    return int(literal["text"]) if literal and literal["kind"] == "INTEGER" and literal["text"].isdigit() else None


def _is_plain(node: Node, syntax: Syntax) -> bool:
    """Whether a SELECT gives one row for each row of its FROM and WHERE, each by itself."""
    parts = [part for item in node["select_list"] for part in without_subqueries(item)]
    return (
        not node["modifiers"]
        and node["qualify"] is None
        and not _aggregates(node, syntax)
        and not any(part.get("class") == "WINDOW" or part.get("function_name") == "unnest" for part in parts)
    )


def _relations(relation: Node) -> list[Node]:
    if relation["type"] == "JOIN":
        return [relation, *_relations(relation["left"]), *_relations(relation["right"])]
    return [relation]


def _joins_around(whole: Node, relation: Node) -> list[Node]:
    """Return the joins that a relation is part of, without itself."""
    return [join for join in _relations(whole) if join["type"] == "JOIN" and join is not relation
            and any(each is relation for each in _relations(join))]  # fmt: skip


def _reads_rows(whole: Node, relation: Node) -> bool:
    """Whether every row of a relation stands by itself in FROM: only plain joins are around it."""
    return all(
        join["join_type"] in {"INNER", "LEFT", "RIGHT", "OUTER"} and join["ref_type"] in {"REGULAR", "CROSS"}
        for join in _joins_around(whole, relation)
    )


def _before(relation: Node, lateral: Node) -> Node | None:
    """Return what stands before a relation in FROM."""
    if relation is lateral or relation["type"] != "JOIN":
        return None
    if any(each is lateral for each in _relations(relation["right"])):
        rest = _before(relation["right"], lateral)
        return relation["left"] if rest is None else relation | {"right": rest}
    return _before(relation["left"], lateral)

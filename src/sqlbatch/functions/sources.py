"""The sources of a query, each kept as it was when the query was planned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from sqlbatch.functions.inputs import VALUE
from sqlbatch.functions.syntax import (
    Node,
    Syntax,
    children,
    conjuncts,
    function_of,
    is_query,
    name_alone,
    point,
    rewritten,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlbatch.functions.find import Found

# The name of a pinned source in the planned SQL, with its number between the signs.
NAME = "@sqlbatch_source_{}@"
# Functions whose value depends on the time but is the same for all rows of one query; it is fixed when the query is
# planned.
CLOCK = frozenset({
    "now", "current_timestamp", "current_date", "current_time", "today", "localtime", "localtimestamp",
    "get_current_timestamp", "get_current_time", "transaction_timestamp", "current_localtime", "current_localtimestamp",
})  # fmt: skip
# Functions with another value for each row.
RANDOM = frozenset({"random", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "nextval", "setseed", "hash_random"})


@dataclass(frozen=True)
class Source:
    """A relation of the query without calls: `query` is the SQL of its rows."""

    number: int
    relation: str
    query: str

    @property
    def name(self) -> str:
        """Its name in the planned SQL."""
        return NAME.format(self.number)


def has_calls(value: Any) -> bool:
    """Whether a part of a planned tree calls an AI function."""
    return any(function_of(node).startswith(VALUE) for node in walk(value))


def fix_clock(root: Node, constant: Callable[[str], Node]) -> Node:
    """Return a tree with now() and the like replaced by the values that `constant` returns."""

    def fixed(node: Node) -> Node | None:
        name = function_of(node) if not node.get("arguments") else ""
        alone = name_alone(node) or ""
        # A column may have the name of a function that is called without parentheses.
        if alone.startswith(("current_", "local")):
            name = alone
        return constant(name) | {"alias": node["alias"] or alone} if name in CLOCK else None

    whole: Node = rewritten(root, fixed)
    return whole


def pin_sources(syntax: Syntax, found: Found, binds: Callable[[str], bool]) -> tuple[Source, ...]:
    """Replace the relations of a query without calls by pinned ones, in place, and return these.

    `binds` says whether DuckDB accepts a query as it stands. Raises InvalidQuery for random functions outside of them.
    """
    pinning = _Pinning(syntax, found, binds)
    pinning.query(found.root, frozenset())
    for node in walk(found.root):
        if (name := function_of(node)) in RANDOM:
            raise point(found.query, node, f"{name}() has another value in each stage: compute it in a table first")
    return tuple(pinning.sources)


class _Pinning:
    def __init__(self, syntax: Syntax, found: Found, binds: Callable[[str], bool]) -> None:
        self.syntax = syntax
        self.found = found
        self.binds = binds
        self.sources: list[Source] = []
        self._known: dict[str, Source] = {}
        self._names, self._wholes, self._all = _mentioned(found.root)

    def query(self, node: Node, ctes: frozenset[str]) -> None:
        """Pin the sources of a query node; `ctes` are the names of CTEs there."""
        for entry in node["cte_map"]["map"]:
            inner = entry["value"]["query_node"]
            name = entry["key"].casefold()
            whole = self.syntax.in_from(inner, entry["key"])
            if inner["type"] == "RECURSIVE_CTE_NODE" or has_calls(inner) or _reads(inner, ctes):
                self.query(inner, ctes | {name} if inner["type"] == "RECURSIVE_CTE_NODE" else ctes)
            elif (pinned := self._pinned(whole, None, every=bool(entry["value"]["aliases"]))) is not whole:
                entry["value"]["query_node"] = self.syntax.select([self.syntax.expression("*")], pinned)
            ctes |= {name}
        for part in [*(node.get("children") or ()), node.get("left"), node.get("right")]:
            if part:
                self.query(part, ctes)
        if node["type"] != "SELECT_NODE":
            return
        node["from_table"] = self._relation(node["from_table"], node, ctes)
        for key, value in node.items():
            if key not in {"from_table", "cte_map"} and isinstance(value, dict | list):
                self._subqueries(value, ctes)

    def _subqueries(self, value: Any, ctes: frozenset[str]) -> None:
        if is_query(value):
            self.query(value, ctes)
            return
        for child in children(value):
            self._subqueries(child, ctes)

    def _relation(self, relation: Node, select: Node, ctes: frozenset[str]) -> Node:
        kind = relation["type"]
        if kind == "JOIN":
            # The change is in place, because calls in ON remember their join.
            for side in ("left", "right"):
                relation[side] = self._relation(relation[side], select, ctes)
            if relation["condition"] is not None:
                self._subqueries(relation["condition"], ctes)
            return relation
        if kind == "EMPTY" or has_calls(relation) or _reads(relation, ctes):
            if kind == "SUBQUERY":
                self.query(relation["subquery"]["node"], ctes)
            elif kind == "TABLE_FUNCTION":
                self._subqueries(relation["function"], ctes)
            return relation
        return self._pinned(relation, select)

    def _pinned(self, relation: Node, select: Node | None, *, every: bool = False) -> Node:
        whole = self.syntax.select([self.syntax.expression("*")], relation)
        if not self.binds(self.syntax.write(whole)):
            # It uses columns of the relations before it (LATERAL), or is unknown, which the query's check reports.
            if relation["type"] == "SUBQUERY":
                self.query(relation["subquery"]["node"], frozenset())
            return relation
        alias = relation["alias"] or _default_alias(relation, len(self.sources))
        pinned = whole if every else whole | {"select_list": self._columns(whole, alias)}
        for condition in self._conditions(relation, select) if select else ():
            narrower = pinned | {"where_clause": self.syntax.all_of([*conjuncts(pinned["where_clause"]), condition])}
            if self.binds(self.syntax.write(narrower)):
                pinned = narrower
        sql = self.syntax.write(pinned)
        if sql not in self._known:
            source = Source(len(self.sources) + 1, alias, sql)
            self.sources.append(source)
            self._known[sql] = source
        return self.syntax.table(self._known[sql].name, alias)

    def _conditions(self, relation: Node, select: Node) -> list[Node]:
        """Return the conditions of WHERE that only read, and can be checked on the rows of one relation alone."""
        joins = select["from_table"]
        if joins is not relation and not _all_inner(joins):
            return []
        found = []
        for part in conjuncts(select["where_clause"]):
            classes = {node.get("class") for node in walk(part)}
            fixed = not any(function_of(node) in RANDOM for node in walk(part))
            if "COLUMN_REF" in classes and not classes & {"SUBQUERY", "WINDOW"} and fixed and not has_calls(part):
                found.append(part)
        return found

    def _columns(self, whole: Node, alias: str) -> list[Node]:
        """Return the columns to keep: those that the query names anywhere, or all of them."""
        if self._all or alias.casefold() in self._wholes:
            return list(whole["select_list"])
        names = self.syntax.list_of(self.syntax.text(name) for name in sorted(self._names))
        pattern = self.syntax.expression("COLUMNS(lambda c: list_contains(names, lower(c)))", names=names)
        kept = whole | {"select_list": [pattern]}
        if self.binds(self.syntax.write(kept)):
            return [pattern]
        none = [self.syntax.expression("1 AS sqlbatch_one")]
        return none if self.binds(self.syntax.write(whole | {"select_list": none})) else list(whole["select_list"])


def _mentioned(root: Node) -> tuple[frozenset[str], frozenset[str], bool]:
    """Return all names in the query, those without a table, both in lower case, and whether a `*` may name others.

    A name alone may be a whole row: SELECT m FROM movies m.
    """
    names: set[str] = set()
    alone: set[str] = set()
    everything = False
    for node in walk(root):
        if node.get("class") == "COLUMN_REF":
            parts = [str(name).casefold() for name in node["column_names"]]
            names.update(parts)
            alone.update(parts if len(parts) == 1 else ())
        elif (
            node.get("class") in {"STAR", "POSITIONAL_REFERENCE"}
            or node.get("ref_type") == "NATURAL"
            or node.get("type") == "PIVOT"
        ):
            everything = True
        elif node.get("type") == "JOIN":
            names.update(str(name).casefold() for name in node["using_columns"])
    return frozenset(names), frozenset(alone), everything


def _reads(relation: Node, ctes: frozenset[str]) -> bool:
    """Whether a relation reads a CTE, which is pinned where it is defined."""
    return any(
        node.get("type") == "BASE_TABLE" and not node["schema_name"] and str(node["table_name"]).casefold() in ctes
        for node in walk(relation)
    )


def _all_inner(relation: Node) -> bool:
    return all(
        node.get("type") != "JOIN" or (node["join_type"] == "INNER" and node["ref_type"] in {"REGULAR", "CROSS"})
        for node in walk(relation)
        if not is_query(node)
    )


def _default_alias(relation: Node, number: int) -> str:
    if relation["type"] == "TABLE_FUNCTION":
        return str(relation["function"]["function_name"])
    if relation["type"] == "BASE_TABLE":
        name = str(relation["table_name"])
        # The default name of a file in FROM is its stem.
        return PurePath(name).name.split(".")[0] if "/" in name or "." in name else name
    return f"sqlbatch_unnamed_{number}"


def row_orders(syntax: Syntax, relation: Node) -> list[Node] | None:
    """Return the row numbers of all sources in FROM, which put its rows in one order.

    None if it has other relations.
    """
    if relation["type"] == "BASE_TABLE" and str(relation["table_name"]).startswith("@sqlbatch_source_"):
        return [syntax.column(relation["alias"], "rowid")]
    if relation["type"] == "JOIN" and relation["ref_type"] in {"REGULAR", "CROSS"} and relation["join_type"] == "INNER":
        left, right = row_orders(syntax, relation["left"]), row_orders(syntax, relation["right"])
        return None if left is None or right is None else left + right
    return None

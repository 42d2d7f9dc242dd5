"""Answers joined to rows: where a call stands in a SELECT of its own rows, its answer is looked up by a join.

A look-up in a subquery is right wherever a call stands, but DuckDB groups and copies all rows by the call's argument
for it. With a million texts of 400 bytes the join takes 7 CPU seconds where the subquery takes 12, and does not spill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlbatch.functions.clauses import is_aggregate, makes_groups
from sqlbatch.functions.conditions import ASK
from sqlbatch.functions.inputs import ORDERED, VALUE, WHY
from sqlbatch.functions.lookups import custom_id
from sqlbatch.functions.syntax import (
    Node,
    Syntax,
    columns_in,
    function_of,
    is_query,
    name_alone,
    rewritten,
    walk,
    without_subqueries,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from uuid import UUID

# The reason for an answer that is not there yet, and its SQL.
NO_ANSWER = "\x01"
PENDING = "chr(1)"
# What a table of answers has: the request's id, its value, and why there is none.
COLUMNS = ("sqlbatch_key", "sqlbatch_value", "sqlbatch_why")
# Functions that fail for no value and mean the same in the condition of a join. Whatever else stands in an argument,
# such as a cast to a number, may fail for rows that the query leaves out.
_HARMLESS = frozenset(
    {"||", "concat", "concat_ws", "lower", "upper", "trim", "ltrim", "rtrim", "left", "right", "replace"}
)
_HARMLESS_CLASSES = frozenset({"COLUMN_REF", "CONSTANT"})


@dataclass(frozen=True)
class Answers:
    """Where the answers of a call are, and whether some failed, or are not there yet."""

    table: str
    call_id: UUID
    number: int
    failures: bool = True
    unfinished: bool = False

    def key(self, given: str) -> str:
        """Return SQL of a request's id, from SQL of the call's argument."""
        return custom_id(self.call_id, f"{ASK}{self.number}({given})")

    def why(self, given: str, name: str) -> str:
        """Return SQL of why there is no answer, from SQL of the argument and the name of the joined table."""
        if not self.failures:
            return "CAST(NULL AS VARCHAR)"
        if not self.unfinished:
            return f"{name}.sqlbatch_why"
        told = f"CASE WHEN {name}.sqlbatch_key IS NULL THEN {PENDING} ELSE {name}.sqlbatch_why END"
        return f"CASE WHEN {ASK}{self.number}({given}) IS NOT NULL THEN {told} END"


def with_joins(sql: str, answers: Mapping[int, Answers], binds: Callable[[str], bool], *, in_order: bool) -> str:
    """Return planned SQL with the calls that `answers` has looked up by joins, as far as that says the same.

    A join may give rows in another order: SQL that rests on their order stays as it is, and so does, where its result
    is to come `in_order`, SQL that does not say in which. Where DuckDB does not accept it (`binds`), it stays too.
    """
    joining = _Joining(answers)
    tree = joining.syntax.read(sql)
    if any(map(_rests_on_order, walk(tree))) or (in_order and not _says_order(tree, joining.syntax)):
        return sql
    root = rewritten(tree, joining.change)
    if not joining.joins:
        return sql
    joined = joining.syntax.write(root)
    return joined if binds(joined) else sql


class _Joining:
    def __init__(self, answers: Mapping[int, Answers]) -> None:
        self.syntax = Syntax()
        self.answers = answers
        self.joins = 0

    def change(self, node: Node) -> Node | None:
        """Return a SELECT with joins, in those inside it first; None for any other node."""
        if node.get("type") != "SELECT_NODE":
            return None
        return self._select({name: rewritten(part, self.change) for name, part in node.items()})

    def _select(self, node: Node) -> Node:
        parts = {name: part for name, part in node.items() if name not in {"from_table", "cte_map"}}
        calls = [call for call in self._calls(parts) if self._number(call) in self.answers]
        if not calls or node["from_table"]["type"] == "EMPTY" or not self._may_join(node, calls):
            return node
        if makes_groups(node, self.syntax):
            calls = [call for call in calls if self._is_of_rows(node, call)]
        relation = node["from_table"]
        names: dict[tuple[int, str], str] = {}
        replacing: dict[int, Node] = {}
        for call in calls:
            number, given = self._number(call), self._argument(call)
            if (number, given) not in names:
                self.joins += 1
                names[number, given] = f"sqlbatch_join_{self.joins}"
                relation = self._join(relation, names[number, given], self.answers[number], given)
            name = names[number, given]
            found = f"{name}.sqlbatch_value"
            if function_of(call).startswith(WHY):
                found = self.answers[number].why(given, name)
            replacing[id(call)] = self.syntax.expression(found) | {"alias": call["alias"]}
        if not calls:
            return node
        for star in without_subqueries(parts):
            if star["class"] == "STAR" and not star["relation_name"]:
                star["exclude_list"] = [*star["exclude_list"], *COLUMNS]

        def change(part: Node) -> Node | None:
            # Calls in subqueries are looked up there.
            return part if is_query(part) else replacing.get(id(part))

        return node | {name: rewritten(part, change) for name, part in parts.items()} | {"from_table": relation}

    def _may_join(self, node: Node, calls: list[Node]) -> bool:
        """Whether the arguments mean the same in FROM, and the columns of the SELECT keep their names."""
        items = node["select_list"]
        parts = [part for name, part in node.items() if name not in {"from_table", "cte_map"}]
        for part in without_subqueries(parts):
            if part["class"] == "STAR" and (part["columns"] or not any(part is item for item in items)):
                return False
        # A column without a name is called by its text, which changes.
        if any(not item["alias"] and any(part is call for call in calls for part in walk(item)) for item in items):
            return False
        # A name may mean a column of the SELECT list in one clause, and one of the rows in another.
        aliases = {item["alias"].casefold() for item in items if item["alias"]}
        used = {column["column_names"][0].casefold() for call in calls for column in columns_in(call["arguments"])}
        return not aliases & used and all(map(_is_harmless, calls))

    def _is_of_rows(self, node: Node, call: Node) -> bool:
        """Whether a call in a SELECT that makes groups is made for its rows, or is what it groups by."""
        aggregates = [part for part in walk(node) if is_aggregate(part, self.syntax)]
        if any(part is call for part in walk([node["where_clause"], node["group_expressions"], aggregates])):
            return True
        same = (self._number(call), self._argument(call))
        groups = [(self._number(each), self._argument(each)) for each in self._calls(node["group_expressions"])]
        if same in groups:
            return True
        for place, item in enumerate(node["select_list"], 1):
            if any(part is call for part in walk(item)):
                by_place = any(each.get("literal", {}).get("text") == str(place) for each in node["group_expressions"])
                by_name = any(name_alone(each) == item["alias"].casefold() for each in node["group_expressions"])
                return by_place or by_name or node["aggregate_handling"] == "FORCE_AGGREGATES"
        return False

    def _join(self, relation: Node, name: str, answers: Answers, given: str) -> Node:
        key = self.syntax.expression(f"{name}.sqlbatch_key = {answers.key(given)}")
        shape = self.syntax.query("FROM a LEFT JOIN b ON x")["from_table"]
        return {**shape, "left": _explicit(relation), "right": self.syntax.table(answers.table, name), "condition": key}

    def _argument(self, call: Node) -> str:
        return self.syntax.write_expression(call["arguments"][0]["expression"])

    @staticmethod
    def _number(call: Node) -> int:
        return int(function_of(call).rpartition("_")[2])

    def _calls(self, value: Any) -> Iterator[Node]:
        """Return the calls of the plan in a part of the tree, but for what stands in subqueries."""
        return (part for part in without_subqueries(value) if function_of(part).startswith((VALUE, WHY)))


def _rests_on_order(node: Node) -> bool:
    """Whether a part of the tree gives something else where rows come in another order."""
    if is_query(node):
        kinds = {modifier["type"] for modifier in node["modifiers"]}
        takes_some = kinds & {"LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER"} or any(
            modifier.get("distinct_on_targets") for modifier in node["modifiers"]
        )
        return bool(takes_some) and "ORDER_MODIFIER" not in kinds
    if node.get("class") == "WINDOW":
        return not node["orders"]
    ordered = function_of(node) in ORDERED | {"any_value"}
    return bool(node.get("sample")) or (ordered and not node["order_bys"]["orders"])


def _says_order(root: Node, syntax: Syntax) -> bool:
    """Whether the rows of a query come in an order that it gives, or in none (those of groups)."""
    kinds = {modifier["type"] for modifier in root["modifiers"]}
    return "ORDER_MODIFIER" in kinds or (root["type"] == "SELECT_NODE" and makes_groups(root, syntax))


def _is_harmless(call: Node) -> bool:
    """Whether the argument of a call can be computed for every row of FROM."""
    return all(
        part.get("class") in _HARMLESS_CLASSES
        or function_of(part) in _HARMLESS
        or (part.get("class") == "OPERATOR" and part.get("type") == "OPERATOR_COALESCE")
        for part in walk(call["arguments"][0]["expression"])
    )


def _explicit(relation: Node) -> Node:
    """Return a relation with CROSS JOIN in the place of commas, which bind less than a join that follows."""
    if relation["type"] != "JOIN":
        return relation
    return relation | {"is_implicit": False, "left": _explicit(relation["left"])}

"""Find the AI functions that a query calls: their places, their questions, and what cannot be planned."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import duckdb

from sqlbatch.functions import aggregates, catalogue
from sqlbatch.functions.catalogue import Ask, BadArgument
from sqlbatch.functions.inputs import VALUE, Inputs, is_prompt
from sqlbatch.functions.syntax import Node, Syntax, calling, columns_in, is_query, walk

# The clauses of a SELECT, starting with those that are computed for the most rows.
CLAUSES = ("on", "table", "where", "group", "having", "qualify", "distinct", "order", "select")


@dataclass(eq=False)
class Scope:
    """One SELECT of the query: its node, the SELECT around it, and how it is used there.

    `place` is root, cte, set (part of a set operation), from (a subquery in FROM) or expression. `position` is the
    relation or the subquery expression in the parent, `clause` and `path` the place of that expression. `environment`
    are the visible CTEs by name, outer ones first.
    """

    node: Node
    parent: Scope | None
    place: str
    environment: tuple[tuple[str, Node], ...] = ()
    position: Node | None = None
    clause: str = ""
    path: tuple[Node, ...] = ()
    cte: str | None = None


@dataclass(eq=False)
class Call:
    """One call of an AI function.

    `path` leads from the clause's expression down to `node`, which the plan calls `sqlbatch_ai_<number>`; `text` is the
    call as the user wrote it. A `shared` call occurs in several places of its SELECT, so the surroundings of one place
    say nothing about the others.
    """

    number: int
    ask: Ask
    node: Node
    text: str
    location: Node
    scope: Scope = field(init=False)
    clause: str = field(init=False)
    path: tuple[Node, ...] = field(init=False)
    shared: bool = False
    pictures: bool = False

    @property
    def name(self) -> str:
        """The name of the call in the planned SQL."""
        return f"{VALUE}{self.number}"


@dataclass(frozen=True)
class Found:
    """A query with its calls: `root` is its tree, in which each call has the name `sqlbatch_ai_<number>`."""

    query: str
    root: Node
    calls: tuple[Call, ...]
    scopes: tuple[Scope, ...]


def mentions_calls(query: str) -> bool:
    """Whether a text may contain calls of AI functions; this quick check saves parsing most queries."""
    names = [*catalogue.FUNCTIONS, *catalogue.OTHER_NAMES]
    return re.search(rf"(?i)\b(ai_\w+|ai\s*\.\s*if|{'|'.join(names)})\s*\(", query) is not None


def find_calls(syntax: Syntax, query: str, own: frozenset[str] = frozenset()) -> Found:
    """Return a query's calls, without their places; `own` are names of the user's own functions.

    Raises InvalidQuery, pointing at the place, for a call that cannot be planned.
    """
    root = syntax.read(query)
    finder = _Finder(syntax, query, own)
    for item in [item for node in walk(root) if node.get("type") == "SELECT_NODE" for item in node["select_list"]]:
        # DuckDB would name the column by the call as it was written.
        if not item["alias"] and item["class"] != "STAR" and any(map(finder.function_of, walk(item))):
            item["alias"] = syntax.write_expression(item)
    root = finder.rewrite(root)
    return Found(query, root, tuple(finder.calls), ())


class _Finder(Inputs):
    def __init__(self, syntax: Syntax, query: str, own: frozenset[str]) -> None:
        super().__init__(syntax, query)
        self.own = own
        self.calls: list[Call] = []

    def function_of(self, node: Node) -> catalogue.Function | str | None:
        """Return the AI function that a node calls, its name if it is unknown, None for any other node."""
        if node.get("class") == "WINDOW" and catalogue.find(name := str(node.get("function_name", ""))) is not None:
            raise self.error(node, f"{name} is no window function: call it in a subquery, and look over its rows there")
        if node.get("class") != "FUNCTION":
            return None
        path = node["qualified_name"]["path"]
        name = str(path[-1]).casefold()
        if len(path) == 2 and str(path[0]).casefold() == "ai":
            name = f"ai_{name}"
        if name in {"ai_similarity", "ai_image"}:
            return name
        function = catalogue.find(name)
        if function is None and name.startswith("ai_") and name not in self.own:
            return name
        # The user may have a macro or table called prompt; the AI function has one text, or a template.
        return function if function is None or name not in self.own or name.startswith("ai_") else None

    def rewrite(self, value: Any, place: str = "") -> Any:
        """Return the tree with every call in the plan's form, innermost first.

        `place` is `input` for the input of a call, and `part` for a value in prompt('…', …), where pictures are
        allowed.
        """
        if isinstance(value, list):
            return [self.rewrite(each) for each in value]
        if not isinstance(value, dict):
            return value
        function = self.function_of(value)
        text = self.syntax.write_expression(value) if function else ""
        node = {key: self.rewrite(each) for key, each in value.items() if key != "arguments"}
        if "arguments" in value:
            # The input of a call may be built by prompt('… {0} …', a, b), which asks nothing by itself then.
            first, others = "input" if function else "", ""
            if function and is_prompt(value) and len(value["arguments"]) > 1:
                first, others = "", "part"
            node["arguments"] = [
                {**each, "expression": self.rewrite(each["expression"], others if number else first)}
                for number, each in enumerate(value["arguments"])
            ]
        if function is None:
            return node
        if isinstance(function, str):
            return self._special(function, node, place)
        if is_prompt(node) and len(node["arguments"]) > 1:
            template = self._template(node)
            if place == "input":
                return template
            node["arguments"] = [{"name": "", "expression": template}]
        return self._call(function, node, text)

    def _special(self, function: str, node: Node, place: str) -> Node:
        """Return the replacement of a function that asks nothing by itself; raise InvalidQuery for an unknown one."""
        if function == "ai_similarity":
            return self._similarity(node)
        if function == "ai_image":
            return self._image(node, place)
        raise self.error(node, catalogue.near(function))

    def _similarity(self, node: Node) -> Node:
        given = [each for each in node["arguments"] if not each["name"]]
        if len(given) != 2:
            raise self.error(node, "ai_similarity takes two inputs: ai_similarity(a, b)")
        named = [each for each in node["arguments"] if each["name"]]
        embedded = []
        for each in given:
            embed = calling(node, "ai_embed") | {"arguments": [each, *named], "alias": ""}
            embedded.append(self._call(catalogue.FUNCTIONS["ai_embed"], embed, self.syntax.write_expression(embed)))
        whole = self.syntax.expression("CAST(array_cosine_similarity(a, b) AS DOUBLE)", a=embedded[0], b=embedded[1])
        return whole | {"alias": node["alias"]}

    def _call(self, function: catalogue.Function, node: Node, text: str) -> Node:
        path = node["qualified_name"]["path"]
        given = [(each["name"], each["expression"]) for each in node["arguments"]]
        if len(path) > 1 and str(path[0]).casefold() != "ai":
            # DuckDB parses x.ai_filter('…') as a function of the schema x.
            given.insert(0, ("", self.syntax.column(*path[:-1])))
        if not function.aggregates and (node["filter"] or node["distinct"] or node["order_bys"]["orders"]):
            raise self.error(node, f"{function.name} is no aggregate: it takes no DISTINCT, ORDER BY or FILTER")
        positional = [expression for name, expression in given if not name]
        named = {name: expression for name, expression in given if name}
        if "input" in named:
            positional.insert(0, named.pop("input"))
        if not positional:
            raise self.error(node, f"{function.name} needs an input: {function.signature}")
        source, *constants = positional
        swapped = function.name == "ai_filter" and constants and source["class"] == "CONSTANT"
        if swapped and any(columns_in(constants[0])):
            raise self.error(node, "ai_filter takes the input first and the predicate second: swap its arguments")
        self._check_input(function, source)
        shows = self._shows(function, source, node)
        if function.aggregates and node["distinct"] and node["order_bys"]["orders"]:
            raise self.error(node, f"{function.name} takes DISTINCT or ORDER BY, not both: leave one out")
        values = [self._constant(function, each) for each in constants]
        named_values = {name: self._constant(function, each, name) for name, each in named.items()}
        written = self._written(node) or text
        try:
            ask = catalogue.bind(function, values, named_values)
            if function.aggregates:
                return self._aggregate(function, values, named_values, source, node, written)
        except BadArgument as bad:
            about = next(
                (each for name, each in named.items() if bad.name and name.casefold() == bad.name.casefold()), node
            )
            raise self.error(about, str(bad)) from None
        return self._planned(ask, source, node, written, pictures=shows)

    def _planned(self, ask: Ask, source: Node, node: Node, text: str, *, pictures: bool = False) -> Node:
        """Return the node that replaces a call in the plan."""
        number = len(self.calls) + 1
        planned = {
            **calling(self.syntax.expression("f(x)"), f"{VALUE}{number}"),
            "alias": node["alias"],
            "arguments": [{"name": "", "expression": source}],
            "query_location": node["query_location"],
            "query_location_length": node["query_location_length"],
        }
        self.calls.append(Call(number, ask, planned, text, node, pictures=pictures))
        return planned

    def _aggregate(
        self,
        function: catalogue.Function,
        values: list[Any],
        named: dict[str, Any],
        source: Node,
        node: Node,
        text: str,
    ) -> Node:
        """Return an aggregate over texts: a call over the pieces of the group, and one more for each level."""
        if function.name == "ai_summarize_agg":
            function, values = catalogue.FUNCTIONS["ai_agg"], [catalogue.SUMMARIZE]
        asks = [catalogue.bind(each, values, named) for each in (function, catalogue.COMBINED)]

        def call(pieces: Node, level: int) -> Node:
            told = text if level == 1 else f"{text}, combined"
            return self._planned(asks[level > 1], pieces, node | {"alias": ""}, told)

        whole = aggregates.levels_of(self.syntax, aggregates.texts_of(self.syntax, source, node), call)
        return whole | {"alias": node["alias"]}

    def _written(self, node: Node) -> str:
        """Return a part of the query as its user wrote it, on one line."""
        at, length = node["query_location"], node["query_location_length"]
        return " ".join(self.query.encode()[at : at + length].decode(errors="replace").split()) if length else ""

    def _constant(self, function: catalogue.Function, expression: Node, name: str | None = None) -> Any:
        what = f"{function.name}: {name}" if name else f"{function.name}: every argument but the input"
        if any(columns_in(expression)) or any(map(is_query, walk(expression))):
            raise self.error(expression, f"{what} must be constant, because all rows of a batch share it")
        sql = self.syntax.write_expression(expression | {"alias": ""})
        try:
            found = self.syntax.compute(f"SELECT to_json(sqlbatch_v)::VARCHAR FROM (SELECT {sql} AS sqlbatch_v)")
        except duckdb.Error as error:
            first = str(error).split("\n")[0]
            raise self.error(expression, f"{what} cannot be computed: {first}") from error
        return None if found is None else json.loads(found)

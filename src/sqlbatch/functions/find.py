"""The AI functions that a query calls: where each stands, what it asks, and what cannot be planned."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb

from sqlbatch.functions import catalogue
from sqlbatch.functions.catalogue import Ask, BadArgument
from sqlbatch.functions.syntax import (
    Node,
    Syntax,
    children,
    columns_in,
    is_expression,
    is_query,
    is_relation,
    point,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# The clauses of a SELECT, those first whose expressions are computed of the most rows.
CLAUSES = ("on", "table", "where", "group", "having", "qualify", "distinct", "order", "select")
# A call is named like this in the planned SQL, followed by its number.
VALUE = "sqlbatch_ai_"
# Aggregates whose result depends on the order of their rows.
ORDERED = frozenset({"string_agg", "group_concat", "listagg", "list", "array_agg", "first", "last", "arbitrary"})


@dataclass(eq=False)
class Scope:
    """One SELECT of the query: its node, the SELECT around it, and how it stands there.

    `place` is root, cte, set (part of a set operation), from (a subquery in FROM) or expression. `position` is the
    relation or the subquery expression in the parent, `clause` and `path` where that expression stands. `environment`
    are the CTEs that it sees, by name, outer ones first.
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
    call as the user wrote it.
    """

    number: int
    ask: Ask
    node: Node
    text: str
    location: Node
    scope: Scope = field(init=False)
    clause: str = field(init=False)
    path: tuple[Node, ...] = field(init=False)

    @property
    def name(self) -> str:
        """Return the name of the call in the planned SQL."""
        return f"{VALUE}{self.number}"


@dataclass(frozen=True)
class Found:
    """A query with its calls: `root` is its tree, in which each call has the name `sqlbatch_ai_<number>`."""

    query: str
    root: Node
    calls: tuple[Call, ...]
    scopes: tuple[Scope, ...]


def mentions_calls(query: str) -> bool:
    """Whether a text may have calls of AI functions; a quick look that spares most queries the reading."""
    names = [*catalogue.FUNCTIONS, *catalogue.OTHER_NAMES]
    return re.search(rf"(?i)\b(ai_\w+|ai\s*\.\s*if|{'|'.join(names)})\s*\(", query) is not None


def find_calls(syntax: Syntax, query: str, own: frozenset[str] = frozenset()) -> Found:
    """Return a query's calls, which have no places yet; `own` are names of the user's own functions.

    Raises InvalidQuery, pointing at the place, for a call that cannot be planned.
    """
    root = syntax.read(query)
    finder = _Finder(syntax, query, own)
    for items in [node["select_list"] for node in walk(root) if node.get("type") == "SELECT_NODE"]:
        finder.keep_names(items)
    root = finder.rewrite(root)
    return Found(query, root, tuple(finder.calls), ())


def place_calls(syntax: Syntax, found: Found, root: Node, is_column: Callable[[Node, Node], bool]) -> Found:
    """Return the calls of a query with their places in its tree `root`, which names them as `found` does.

    `is_column` says whether a name means a column of what a SELECT reads; an alias that means a call is written out.
    Raises InvalidQuery, pointing at the place, for a call that cannot be planned there.
    """
    finder = _Finder(syntax, found.query, frozenset())
    finder.calls = list(found.calls)
    finder.by_name = {call.name: call for call in finder.calls}
    for select in [node for node in walk(root) if node.get("type") == "SELECT_NODE"]:
        finder.write_out(select, is_column)
    finder.visit(root, None, "root", ())
    return Found(found.query, root, found.calls, tuple(finder.scopes))


class _Finder:
    def __init__(self, syntax: Syntax, query: str, own: frozenset[str]) -> None:
        self.syntax = syntax
        self.query = query
        self.own = own
        self.calls: list[Call] = []
        self.scopes: list[Scope] = []
        self.by_name: dict[str, Call] = {}

    def keep_names(self, items: Sequence[Node]) -> None:
        """Give columns that are named after a call the name that DuckDB would give them."""
        for item in items:
            if not item["alias"] and item["class"] != "STAR" and any(self._function(node) for node in walk(item)):
                item["alias"] = self.syntax.write_expression(item)

    def write_out(self, select: Node, is_column: Callable[[Node, Node], bool]) -> None:
        """Replace, in place, the names of columns that call functions by what they mean, where they are used again."""
        items = select["select_list"]
        # Each name means an earlier column of the list, in which names are written out already.
        for number, item in enumerate(items):
            meant = {str(each["alias"]).casefold(): each for each in items[:number] if any(self._calls_in(each))}
            if meant:
                items[number] = self._written_out(item, meant, select, is_column)
        meant = {str(each["alias"]).casefold(): each for each in items if each["alias"] and any(self._calls_in(each))}
        for key in ("where_clause", "having", "qualify"):
            if meant and select[key] is not None:
                select[key] = self._written_out(select[key], meant, select, is_column)

    def _written_out(
        self, value: Any, meant: Mapping[str, Node], select: Node, is_column: Callable[[Node, Node], bool]
    ) -> Any:
        if isinstance(value, list):
            return [self._written_out(each, meant, select, is_column) for each in value]
        if not isinstance(value, dict) or is_query(value):
            return value
        if value.get("class") == "COLUMN_REF" and len(value["column_names"]) == 1:
            item = meant.get(str(value["column_names"][0]).casefold())
            if item is not None and not is_column(value, select):
                return copy.deepcopy(item) | {"alias": value["alias"]}
            return value
        return {key: self._written_out(each, meant, select, is_column) for key, each in value.items()}

    def _function(self, node: Node) -> catalogue.Function | str | None:
        """Return the AI function that a node calls, its name where it is unknown, None for any other node."""
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
        # A macro or table of the user's own may be called prompt; the model's has one text, or a template.
        return function if function is None or name not in self.own or name.startswith("ai_") else None

    def rewrite(self, value: Any, *, as_input: bool = False) -> Any:
        """Return the tree with every call in the plan's form, the innermost first."""
        if isinstance(value, list):
            return [self.rewrite(each) for each in value]
        if not isinstance(value, dict):
            return value
        function = self._function(value)
        text = self.syntax.write_expression(value) if function else ""
        node = {key: self.rewrite(each) for key, each in value.items() if key != "arguments"}
        if "arguments" in value:
            # The input of a call may be built by prompt('… {0} …', a, b), which asks nothing then.
            first = function is not None and bool(value["arguments"])
            node["arguments"] = [
                {**each, "expression": self.rewrite(each["expression"], as_input=first and number == 0)}
                for number, each in enumerate(value["arguments"])
            ]
        if function is None:
            return node
        if function == "ai_similarity":
            return self._similarity(node)
        if function == "ai_image":
            raise self.error(node, "ai_image is not supported in a query yet: ask about pictures with --image")
        if isinstance(function, str):
            raise self.error(node, catalogue.near(function))
        if str(node["function_name"]).casefold() == "prompt" and len(node["arguments"]) > 1:
            template = self._template(node)
            if as_input:
                return template
            node["arguments"] = [{"name": "", "expression": template}]
        return self._call(function, node, text)

    def error(self, node: Node | None, message: str) -> Exception:
        """Return an error about a place in the query."""
        return point(self.query, node, message)

    def _similarity(self, node: Node) -> Node:
        given = [each["expression"] for each in node["arguments"] if not each["name"]]
        if len(given) != 2:
            raise self.error(node, "ai_similarity takes two inputs: ai_similarity(a, b)")
        named = [each for each in node["arguments"] if each["name"]]
        embedded = []
        for each in given:
            arguments = [{"name": "", "expression": each}, *named]
            embed = node | {"arguments": arguments, "alias": "", "qualified_name": {"path": ["ai_embed"]}}
            embedded.append(self._call(catalogue.FUNCTIONS["ai_embed"], embed, self.syntax.write_expression(embed)))
        whole = self.syntax.expression("CAST(array_cosine_similarity(a, b) AS DOUBLE)", a=embedded[0], b=embedded[1])
        return whole | {"alias": node["alias"]}

    def _call(self, function: catalogue.Function, node: Node, text: str) -> Node:
        path = node["qualified_name"]["path"]
        given = [(each["name"], each["expression"]) for each in node["arguments"]]
        if len(path) > 1 and str(path[0]).casefold() != "ai":
            # x.ai_filter('…') is read as a function of the schema x.
            given.insert(0, ("", self.syntax.column(*path[:-1])))
        if node["filter"] or node["distinct"] or node["order_bys"]["orders"]:
            if not function.aggregates:
                raise self.error(node, f"{function.name} is no aggregate: it takes no DISTINCT, ORDER BY or FILTER")
        if function.aggregates:
            raise self.error(node, f"{function.name} is not supported yet: collect the group's texts and ask about them, "
                             "ai_complete(string_agg(text, chr(10) ORDER BY text), 'instructions')")  # fmt: skip
        inputs = [expression for name, expression in given if not name]
        named = {name: expression for name, expression in given if name}
        if "input" in named:
            inputs.insert(0, named.pop("input"))
        if not inputs:
            raise self.error(node, f"{function.name} needs an input: {function.signature}")
        source, constants = inputs[0], inputs[1:]
        if (
            function.name == "ai_filter"
            and constants
            and source["class"] == "CONSTANT"
            and any(columns_in(constants[0]))
        ):
            raise self.error(node, "ai_filter takes the input first and the predicate second: swap its arguments")
        try:
            positional = [self._constant(function, each) for each in constants]
            values = {name: self._constant(function, each, name) for name, each in named.items()}
            if function.name == "ai_translate" and len(positional) == 2:
                positional = [positional[0], positional[1]]
            ask = catalogue.bind(function, positional, values)
        except BadArgument as bad:
            about = next(
                (each for name, each in named.items() if bad.name and name.casefold() == bad.name.casefold()), node
            )
            raise self.error(about, str(bad)) from None
        self._check_input(function, source)
        number = len(self.calls) + 1
        planned = {
            **self.syntax.expression("f(x)"),
            "alias": node["alias"],
            "function_name": f"{VALUE}{number}",
            "qualified_name": {"path": [f"{VALUE}{number}"]},
            "arguments": [{"name": "", "expression": source}],
            "query_location": node["query_location"],
            "query_location_length": node["query_location_length"],
        }
        call = Call(number, ask, planned, text, node)
        self.calls.append(call)
        self.by_name[call.name] = call
        return planned

    def _template(self, node: Node) -> Node:
        """Return the text of prompt('… {0} …', a, b) as an expression: NULL where a value is NULL."""
        parts = [each["expression"] for each in node["arguments"]]
        literal = parts[0].get("literal") or {}
        if literal.get("kind") != "STRING":
            raise self.error(parts[0], "prompt begins with a constant template: prompt('… {0} …', a)")
        whole: Node | None = None
        for number, piece in enumerate(re.split(r"\{(\d+)\}", literal["text"])):
            if number % 2 and int(piece) + 1 >= len(parts):
                raise self.error(parts[0], f"prompt has {{{piece}}} and only {len(parts) - 1} values")
            if number % 2:
                shown = self.syntax.expression("sqlbatch_text(x)", x=parts[int(piece) + 1])
            elif piece:
                shown = self.syntax.text(piece)
            else:
                continue
            whole = shown if whole is None else self.syntax.expression("a || b", a=whole, b=shown)
        return whole or self.syntax.text("")

    def _check_input(self, function: catalogue.Function, source: Node) -> None:
        for node in walk(source):
            if node.get("class") == "WINDOW":
                raise self.error(node, f"{function.name} over a window function: compute the window in a subquery, and "
                                 "call the function outside of it")  # fmt: skip
            if node.get("class") == "STAR":
                raise self.error(node, f"{function.name} takes one input, not * or COLUMNS: name the column, or several "
                                 "as {'a': a, 'b': b}")  # fmt: skip
            if node.get("class") == "FUNCTION" and str(node["function_name"]).casefold() in ORDERED:
                if not node["order_bys"]["orders"] and not node["distinct"]:
                    name = node["function_name"]
                    raise self.error(node, f"{name} inside {function.name} gives another text each time, for it has no "
                                     f"order: write {name}(… ORDER BY …)")  # fmt: skip

    def _constant(self, function: catalogue.Function, expression: Node, name: str | None = None) -> Any:
        what = f"{function.name}: {name}" if name else f"{function.name}: every argument but the input"
        depends = any(columns_in(expression)) or any(is_query(node) for node in walk(expression))
        if depends:
            raise self.error(expression, f"{what} must be constant, for all rows of a batch share it")
        sql = self.syntax.write_expression(expression | {"alias": ""})
        try:
            found = self.syntax.compute(f"SELECT to_json(sqlbatch_v)::VARCHAR FROM (SELECT {sql} AS sqlbatch_v)")
        except duckdb.Error as error:
            first = str(error).split("\n")[0]
            raise self.error(expression, f"{what} cannot be computed: {first}") from error
        return None if found is None else json.loads(found)

    # Places: scopes, clauses and paths.

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
            value = entry["value"]
            if value["query_node"]["type"] == "RECURSIVE_CTE_NODE":
                self._recursive(value["query_node"], entry["key"], parent, (*environment, (entry["key"], value)))
            else:
                self.visit(value["query_node"], parent, "cte", environment, cte=entry["key"])
            environment = (*environment, (entry["key"], value))
        kind = node["type"]
        if kind == "SELECT_NODE":
            self._select(node, Scope(node, parent, place, environment, **more))
            return
        if kind in {"SET_OPERATION_NODE", "RECURSIVE_CTE_NODE"}:
            self._refuse_in(node["modifiers"], "in ORDER BY or LIMIT of a set operation: put the set operation into a subquery "
                            "and call the function outside of it")  # fmt: skip
            for part in [*(node.get("children") or ()), node.get("left"), node.get("right")]:
                if part:
                    # A subquery of an expression stays one, so that what it takes from outside is found.
                    self.visit(part, parent, "set" if place != "expression" else place, environment, **more)
            return
        self._refuse_in(node, f"in a {kind.replace('_NODE', '').lower()} that cannot be planned: use a SELECT")

    def _recursive(
        self, node: Node, name: str, parent: Scope | None, environment: tuple[tuple[str, Node], ...]
    ) -> None:
        self._refuse_in(node["right"], "in the recursive part of a CTE: build the rows first, and call the function in "
                        "the SELECT that reads them")  # fmt: skip
        self.visit(node["left"], parent, "cte", environment[:-1], cte=name)

    def _refuse_in(self, value: Any, why: str) -> None:
        for call in self._calls_in(value):
            raise self.error(call.location, f"{call.ask.function} {why}")

    def _calls_in(self, value: Any) -> Iterator[Call]:
        for node in walk(value):
            if node.get("class") == "FUNCTION" and node["function_name"] in self.by_name:
                yield self.by_name[node["function_name"]]

    def _select(self, node: Node, scope: Scope) -> None:
        self.scopes.append(scope)
        if node["sample"] is not None:
            self._refuse_in({k: v for k, v in node.items() if k != "sample"}, "beside USING SAMPLE: take the sample into a "
                            "table first")  # fmt: skip
        self._from(node["from_table"], scope)
        for item in node["select_list"]:
            self._expression(item, scope, "select", ())
        for clause, key in (("where", "where_clause"), ("having", "having"), ("qualify", "qualify")):
            if node[key] is not None:
                self._expression(node[key], scope, clause, ())
        for item in node["group_expressions"]:
            self._expression(item, scope, "group", ())
        for modifier in node["modifiers"]:
            if modifier["type"] == "LIMIT_MODIFIER" or modifier["type"] == "LIMIT_PERCENT_MODIFIER":
                self._refuse_in(modifier, "in LIMIT: give a number")
            for order in modifier.get("orders", ()):
                self._expression(order["expression"], scope, "order", ())
            for target in modifier.get("distinct_on_targets", ()):
                self._expression(target, scope, "distinct", ())

    def _from(self, relation: Node, scope: Scope) -> None:
        kind = relation["type"]
        if kind == "JOIN":
            if any(True for _ in self._calls_in(relation["condition"] or {})):
                if relation["ref_type"] in {"ASOF", "POSITIONAL"}:
                    self._refuse_in(relation["condition"], f"in the ON of an {relation['ref_type']} JOIN: join first, and call "
                                    "the function in WHERE of a query around it")  # fmt: skip
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
        call = self.by_name.get(node.get("function_name", "")) if node.get("class") == "FUNCTION" else None
        if call is not None:
            self._place(call, scope, clause, path)
        for child in children(node):
            if is_query(child):
                self.visit(child, scope, "expression", scope.environment, position=node, clause=clause, path=path)
            elif is_expression(child):
                self._expression(child, scope, clause, path)
            elif is_relation(child):
                self._refuse_in(child, "in this place: use a subquery")

    def _place(self, call: Call, scope: Scope, clause: str, path: tuple[Node, ...]) -> None:
        first = not hasattr(call, "scope")
        if first or CLAUSES.index(clause) < CLAUSES.index(call.clause):
            # By way of an alias a call may stand in several clauses; the first of them looks at the most rows.
            call.scope, call.clause, call.node = scope, clause, path[-1]
            call.path = path
        if not first:
            call.path = tuple(part for part in call.path if part.get("class") == "WINDOW" or part is call.node)
        self._check_path(call)

    def _check_path(self, call: Call) -> None:
        name = call.ask.function
        for node in call.path[:-1]:
            if node.get("class") == "LAMBDA":
                raise self.error(call.location, f"{name} in a lambda or list comprehension: unnest the list, call the "
                                 "function on each element, and collect them with list(… ORDER BY …)")  # fmt: skip
            if node.get("type") == "OPERATOR_TRY":
                raise self.error(call.location, f"{name} inside TRY: take the call out of it; it never raises")
            if node.get("class") == "STAR" and node.get("columns"):
                raise self.error(call.location, f"{name} beside COLUMNS(): name the columns")
            if (
                node.get("class") == "FUNCTION"
                and node["function_name"].casefold() == "unnest"
                and call.clause == "select"
            ):
                if call.ask.question.shape == "struct":
                    raise self.error(call.location, f"unnest of {name} in SELECT makes columns of a struct: name the fields, "
                                     "(x).field")  # fmt: skip

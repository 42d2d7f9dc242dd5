"""DuckDB's own syntax tree of a query, as dictionaries: parse, walk, build and write back as SQL."""

from __future__ import annotations

import functools
import json
import threading
from typing import TYPE_CHECKING, Any

import duckdb

from sqlbatch.errors import InvalidQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Node = dict[str, Any]

# DuckDB's location of a node without a place in the text.
NOWHERE = 2**64 - 1


class _Empty(threading.local):
    """A connection without data, one for each thread: creating one takes longer than planning a query."""

    def __init__(self) -> None:
        self.con = duckdb.connect(config={"threads": 1})


_EMPTY = _Empty()


@functools.cache
def _aggregates() -> frozenset[str]:
    """Return the names of DuckDB's aggregate functions, in lower case."""
    named = "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE function_type = 'aggregate'"
    return frozenset(name for (name,) in _EMPTY.con.execute(named).fetchall())


@functools.lru_cache(maxsize=1000)
def _serialized(sql: str) -> str:
    """Return the syntax tree of SQL, as JSON."""
    return str(_EMPTY.con.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()[0][0])


class Syntax:
    """Parses SQL into DuckDB's syntax tree and writes it back, on a connection without data."""

    def __init__(self) -> None:
        self._con = _EMPTY.con
        self.aggregates = _aggregates()
        self._templates: dict[str, Node] = {}

    def read(self, query: str) -> Node:
        """Return the query node of one SELECT; raise InvalidQuery if DuckDB cannot parse it."""
        tree = json.loads(_serialized(query))
        if tree.get("error"):
            raise InvalidQuery(f"the query: {tree.get('error_message', 'DuckDB cannot read it')}")
        node: Node = tree["statements"][0]["node"]
        return node

    def write(self, node: Node) -> str:
        """Return the SQL of a query node."""
        tree = {"error": False, "statements": [{"node": node, "named_param_map": []}]}
        found = self._con.execute("SELECT json_deserialize_sql(?::JSON)", [json.dumps(tree)]).fetchall()
        return str(found[0][0])

    def write_expression(self, expression: Node) -> str:
        """Return the SQL of an expression."""
        return self.write(self.select([expression | {"alias": ""}])).removeprefix("SELECT ")

    def expression(self, sql: str, **parts: Node) -> Node:
        """Return the tree of an expression, with columns named like `parts` replaced by those."""
        if sql not in self._templates:
            self._templates[sql] = self.read(f"SELECT {sql}")["select_list"][0]
        filled: Node = rewritten(self._templates[sql], lambda node: parts.get(name_alone(node) or ""))
        return filled

    def select(self, items: list[Node], relation: Node | None = None) -> Node:
        """Return a SELECT of these items, from a relation."""
        plain = self.query("SELECT 1") | {"select_list": items}
        return plain if relation is None else plain | {"from_table": relation}

    def query(self, sql: str) -> Node:
        """Return the query node of our own SQL."""
        if sql not in self._templates:
            self._templates[sql] = self.read(sql)
        return self._templates[sql]

    def table(self, name: str, alias: str) -> Node:
        """Return a reference to a table in FROM."""
        return {**self.query("FROM t AS a")["from_table"], "table_name": name, "alias": alias,
                "qualified_name": {"path": [name]}}  # fmt: skip

    def in_from(self, node: Node, alias: str) -> Node:
        """Return a query as a relation in FROM."""
        shape = self.query("FROM (SELECT 1) AS a")["from_table"]
        return {**shape, "alias": alias, "subquery": {"node": node, "named_param_map": []}}

    def scalar(self, node: Node) -> Node:
        """Return a query as an expression."""
        shape = self.expression("(SELECT 1)")
        return {**shape, "alias": "", "subquery": {"node": node, "named_param_map": []}}

    def column(self, *names: str) -> Node:
        """Return a reference to a column."""
        return {**self.expression("x"), "column_names": list(names)}

    def text(self, value: str) -> Node:
        """Return a text as a literal."""
        return {**self.expression("'x'"), "literal": {"kind": "STRING", "text": value}}

    def list_of(self, elements: Iterable[Node]) -> Node:
        """Return a list of expressions."""
        return {**self.expression("['x']"), "arguments": [{"name": "", "expression": each} for each in elements]}

    def all_of(self, conditions: Iterable[Node]) -> Node | None:
        """Return conditions joined by AND; None where there is none."""
        parts = list(conditions)
        if len(parts) < 2:
            return parts[0] if parts else None
        return {**self.expression("a AND b"), "children": parts}

    def compute(self, sql: str) -> Any:
        """Return the one value of a query that reads no tables; raise duckdb.Error if it cannot be computed."""
        return self._con.execute(sql).fetchall()[0][0]


def name_alone(node: Node) -> str | None:
    """Return the name of a column that is referred to without its table, in lower case; None for any other node."""
    names = node["column_names"] if node.get("class") == "COLUMN_REF" else []
    return str(names[0]).casefold() if len(names) == 1 else None


def function_of(node: Node) -> str:
    """Return the name of the function that a node calls, in lower case; empty for any other node."""
    return str(node["function_name"]).casefold() if node.get("class") == "FUNCTION" else ""


def calling(node: Node, name: str) -> Node:
    """Return a call of another function with the same arguments."""
    return node | {"function_name": name, "qualified_name": {"path": [name]}}


def is_query(value: Any) -> bool:
    """Whether a part of the tree is a query node: a SELECT, a set operation or a recursive CTE."""
    return isinstance(value, dict) and "modifiers" in value and str(value.get("type", "")).endswith("_NODE")


def children(value: Any) -> Iterator[Node]:
    """Return the next expressions, relations and queries below a part of the tree."""
    parts = value.values() if isinstance(value, dict) else value
    for part in parts:
        # Most nodes of a tree are texts and numbers.
        if isinstance(part, dict):
            if "class" in part or is_query(part) or is_relation(part):
                yield part
            else:
                yield from children(part)
        elif part and isinstance(part, list):
            yield from children(part)


def is_relation(value: Any) -> bool:
    """Whether a part of the tree is a relation in FROM."""
    return isinstance(value, dict) and "sample" in value and "alias" in value and "class" not in value


def walk(value: Any) -> Iterator[Node]:
    """Yield a part of the tree and everything below it."""
    if isinstance(value, dict) and ("class" in value or is_query(value) or is_relation(value)):
        yield value
    for child in children(value) if isinstance(value, dict | list) else ():
        yield from walk(child)


def without_subqueries(value: Any) -> Iterator[Node]:
    """Yield the expressions in a part of the tree, except those in subqueries."""
    if isinstance(value, dict) and "class" in value:
        yield value
    for child in children(value):
        if not is_query(child):
            yield from without_subqueries(child)


def conjuncts(condition: Node | None) -> list[Node]:
    """Return the parts of a condition that are joined by AND."""
    if condition is None:
        return []
    if condition.get("type") == "CONJUNCTION_AND":
        return [part for child in condition["children"] for part in conjuncts(child)]
    return [condition]


def columns_in(value: Any) -> Iterator[Node]:
    """Return the references to columns in a part of the tree."""
    return (node for node in walk(value) if node.get("class") == "COLUMN_REF")


def rewritten(value: Any, change: Callable[[Node], Any]) -> Any:
    """Return a part of the tree with nodes replaced by what `change` returns for them, the outer ones first.

    Where it returns None, a node stays and what is in it is rewritten.
    """
    if isinstance(value, list):
        return [rewritten(each, change) for each in value]
    if not isinstance(value, dict):
        return value
    new = change(value)
    return {name: rewritten(each, change) for name, each in value.items()} if new is None else new


def point(query: str, node: Node | None, message: str) -> InvalidQuery:
    """Return an error about a place in the user's SQL: the line, and carets below the place."""
    at = node.get("query_location", NOWHERE) if node else NOWHERE
    if at == NOWHERE:
        return InvalidQuery(f"the query: {message}")
    encoded = query.encode()
    length = node.get("query_location_length", 1) if node else 1
    before = encoded[:at].decode(errors="replace")
    start = before.rfind("\n") + 1
    line = query[start:].split("\n", 1)[0]
    marked = encoded[at : at + length].decode(errors="replace").split("\n", 1)[0]
    label = f"line {before.count(chr(10)) + 1}: "
    column = len(before) - start
    # A long line is shortened around the place.
    cut = max(0, column - 60)
    shown = ("…" if cut else "") + line[cut : cut + 120]
    caret = " " * (len(label) + column - cut + bool(cut)) + "^" * max(1, min(len(marked), 120 - (column - cut)))
    return InvalidQuery(f"the query: {message}\n  {label}{shown}\n  {caret}")

"""Translate queries in the SQL of Snowflake, BigQuery or Databricks to DuckDB's with sqlbatch's functions."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ErrorLevel, SqlglotError

from sqlbatch.errors import InvalidQuery
from sqlbatch.functions.dialect_functions import FUNCTIONS
from sqlbatch.functions.dialect_values import Given, Struct, Unknown, written
from sqlbatch.functions.syntax import point

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlbatch.functions.dialect_values import Shape

DIALECTS = tuple(FUNCTIONS)
# Names of AI functions are replaced by these prefixes before sqlglot parses the query: it has its own types for some of
# them, which lose arguments (BigQuery's AI.IF becomes a CASE).
_OURS = "sqlbatch_fn__"
_SHAPE = "sqlbatch_shape_"
# BigQuery's functions that take a model and a table, and how to ask the same for each row.
_TABLES = {
    "generate_text": "SELECT *, AI.GENERATE(prompt).result AS result FROM (SELECT …)",
    "generate_table": "SELECT *, AI.GENERATE(prompt, output_schema => 'a STRING, b INT64') AS answer FROM (SELECT …)",
    "generate_bool": "SELECT *, AI.GENERATE_BOOL(prompt).result AS result FROM (SELECT …)",
    "generate_embedding": "SELECT *, AI.EMBED(content).result AS embedding FROM (SELECT …)",
}


@dataclass(frozen=True)
class Translated:
    """A query as DuckDB's SQL; `models` are the models that it named, which belong to its product and are not used."""

    sql: str
    models: tuple[str, ...]

    @property
    def note(self) -> str | None:
        """Return the note about the models that the query names."""
        if not self.models:
            return None
        return f"the query names {', '.join(self.models)}, of another vendor: --model answers in its place"


def translate(query: str, dialect: str) -> Translated:
    """Return a query of another dialect as DuckDB's; raise InvalidQuery if it cannot be parsed or translated."""
    reader = _Reader(dialect)
    renamed = reader.renamed(query)
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        statements = [each for each in sqlglot.parse(renamed, read=dialect) if each is not None]
    except SqlglotError as error:
        first = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split("\n")[0]
        raise InvalidQuery(f"the query cannot be read as {dialect}'s SQL: {first.replace(_OURS, '')}") from error
    if len(statements) != 1:
        raise InvalidQuery(f"the query: it must be one SELECT, not {len(statements)} statements")
    tree = statements[0]
    reader.rewrite(tree)
    try:
        sql = tree.sql(dialect="duckdb", normalize_functions=False, unsupported_level=ErrorLevel.RAISE, comments=False)
    except SqlglotError as error:
        raise InvalidQuery(f"the query: {str(error).split(chr(10))[0]} in DuckDB's SQL: write it in that") from error
    return Translated(sql, tuple(dict.fromkeys(reader.models)))


@dataclass
class _Reader:
    dialect: str
    models: list[str] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)

    def renamed(self, query: str) -> str:
        """Return the query with the names of AI functions replaced by names of our own."""
        try:
            tokens = Dialect.get_or_raise(self.dialect).tokenize(query)
        except SqlglotError as error:
            raise InvalidQuery(f"the query cannot be read as {self.dialect}'s SQL: {error}") from error
        parts, at = [], 0
        for start, end, name in self._names([(each.text, each.start, each.end) for each in tokens]):
            self._check(query, start, end, name)
            parts += [query[at:start], f"{_OURS}{name}"]
            at = end + 1
        return "".join([*parts, query[at:]])

    def _check(self, query: str, start: int, end: int, name: str) -> None:
        """Raise InvalidQuery, pointing at the place in the user's own text, for an unknown function."""
        known = FUNCTIONS[self.dialect]
        if name in known:
            return
        place = {"query_location": len(query[:start].encode()), "query_location_length": end + 1 - start}
        family, _, rest = name.partition("_")
        if self.dialect == "bigquery" and family in {"ai", "ml"} and rest in _TABLES:
            told = (
                f"{family.upper()}.{rest.upper()} makes a table of a table: ask for each row instead, as in "
                f"{_TABLES[rest]}"
            )
            raise point(query, place, told)
        raise point(query, place, f"{name} of {self.dialect} is not known here; there are {', '.join(sorted(known))}")

    def _names(self, tokens: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, int, str]]:
        """Return where names of AI functions stand in a text, and which ones: `ai.if` is ai_if."""
        texts = [text.casefold() for text, _, _ in tokens]
        for number, text in enumerate(texts[:-1]):
            if texts[number + 1] != "(":
                continue
            before = texts[max(0, number - 4) : number]
            if before[-4:] == ["snowflake", ".", "cortex", "."]:
                yield tokens[number - 4][1], tokens[number][2], f"cortex_{text}"
            elif before[-2:] == ["ml", "."] and self.dialect == "bigquery" and text in _TABLES:
                yield tokens[number - 2][1], tokens[number][2], f"ml_{text}"
            elif before[-2:] == ["ai", "."]:
                yield tokens[number - 2][1], tokens[number][2], f"ai_{text}"
            elif before[-1:] != ["."] and (text.startswith("ai_") or text in FUNCTIONS[self.dialect]):
                yield tokens[number][1], tokens[number][2], text

    def rewrite(self, tree: exp.Expr) -> None:
        """Translate calls of AI functions, and expressions that take a part of their values, in place."""
        for node in reversed(list(tree.dfs())):
            if isinstance(node, exp.Anonymous) and str(node.this).casefold().startswith(_OURS):
                node.replace(self._placed(self._call(node)))
            elif (steps := _path(node)) is not None:
                shape = self._shape(node.this)
                if shape is not None:
                    taken = self._placed(self._taken(shape, steps))
                    # A single field names its column.
                    named = isinstance(node, exp.Dot) and isinstance(node.parent, exp.Select)
                    node.replace(exp.alias_(taken, str(steps[-1]), quoted=True) if named else taken)
                elif isinstance(node, exp.JSONExtract) and self.dialect == "snowflake":
                    node.replace(_of_object(node))
        for node in reversed(list(tree.dfs())):
            shape = self._shape(node)
            if shape is not None:
                node.replace(written(shape))

    def _call(self, node: exp.Anonymous) -> Shape:
        name = str(node.this).casefold().removeprefix(_OURS)
        given = Given(node.expressions, self.models)
        try:
            shape = FUNCTIONS[self.dialect][name](given)
            given.done()
        except Unknown as problem:
            raise InvalidQuery(f"the query: {name}: {problem}") from problem
        return shape

    def _placed(self, shape: Shape) -> exp.Expr:
        if isinstance(shape, exp.Expr):
            return shape
        self.shapes.append(shape)
        return exp.Anonymous(this=f"{_SHAPE}{len(self.shapes) - 1}", expressions=[])

    def _shape(self, node: Any) -> Shape | None:
        while isinstance(node, exp.Paren):
            node = node.this
        name = str(node.this) if isinstance(node, exp.Anonymous) else ""
        return self.shapes[int(name.removeprefix(_SHAPE))] if name.startswith(_SHAPE) else None

    def _taken(self, shape: Shape, steps: Sequence[str | int]) -> Shape:
        for number, step in enumerate(steps):
            if isinstance(shape, dict) and isinstance(step, str):
                found = {name.casefold(): each for name, each in shape.items()}.get(step.casefold())
            elif isinstance(shape, list) and isinstance(step, int):
                found = shape[step] if 0 <= step < len(shape) else None
            elif isinstance(shape, Struct) and isinstance(step, str):
                found = exp.Dot(this=exp.Paren(this=shape.value), expression=exp.to_identifier(step, quoted=True))
            elif isinstance(shape, exp.Expr) and isinstance(step, int):
                found = exp.Anonymous(this="list_extract", expressions=[shape, exp.Literal.number(step + 1)])
            elif isinstance(shape, exp.Expr) and number:
                path = exp.Literal.string(f"$.{step}" if isinstance(step, str) else f"$[{step}]")
                as_json = exp.Anonymous(this="to_json", expressions=[shape])
                found = exp.Anonymous(this="json_extract", expressions=[as_json, path])
            else:
                found = None
            if found is None:
                has = ", ".join(shape) if isinstance(shape, dict) else "no such part"
                raise InvalidQuery(f"the query: {step} is no part of the answer that sqlbatch has: it has {has}")
            shape = found
        return shape


def _path(node: exp.Expr) -> list[str | int] | None:
    """Return what a node takes from the value before it: keys, and positions from 0; None for any other node."""
    if isinstance(node, exp.JSONExtract) and isinstance(node.expression, exp.JSONPath):
        steps = [part.this for part in node.expression.expressions[1:]]
        return steps if all(isinstance(step, str | int) for step in steps) else None
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Identifier):
        return [node.expression.name]
    if isinstance(node, exp.Bracket) and len(node.expressions) == 1 and isinstance(node.expressions[0], exp.Literal):
        literal = node.expressions[0]
        return [literal.name if literal.is_string else int(literal.name)]
    return None


def _of_object(node: exp.JSONExtract) -> exp.Expr:
    """Return `column:path` as DuckDB accesses JSON and structs; a text without its quotes if a text is wanted."""
    as_json = exp.Anonymous(this="to_json", expressions=[node.this.copy()])
    path = node.expression.sql(dialect="duckdb")
    wanted = node.parent
    text = isinstance(wanted, exp.Cast) and wanted.this is node
    name = "json_extract_string" if text else "json_extract"
    return exp.Anonymous(this=name, expressions=[as_json, exp.Literal.string(path.strip("'"))])

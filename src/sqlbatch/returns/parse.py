"""Parse a column list, as in RETURNS TABLE: sqlglot parses the structure, DuckDB names the types.

sqlglot parses an outline in which names and texts are numbers in quotes, conditions are numbers, and each token has its
own line. So reserved words can be names, a condition reaches DuckDB as it was written, and the line of a syntax error
names the token.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections import deque

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError

from sqlbatch.db.sql import quote_identifier
from sqlbatch.errors import InvalidReturns, did_you_mean
from sqlbatch.returns.conditions import connect
from sqlbatch.returns.tokens import Token, in_one_line, tokens
from sqlbatch.returns.types import (
    FLOATS,
    FORMATS,
    INTEGERS,
    Check,
    Column,
    Decimal,
    Enum,
    Json,
    List,
    Scalar,
    Struct,
    Type,
)

_JSON_WITH_SCHEMA = "SQLBATCH_JSON"
_EXAMPLE = "write names and types, such as summary VARCHAR"
_NOT_HERE = "has no meaning here: the model answers each row; leave it out"

_BYTES = "JSON carries no bytes; use VARCHAR and decode it in SQL"
_BITS = "use VARCHAR with CHECK (regexp_full_match(name, '[01]+'))"
_NANOSECONDS = "JSON answers carry microseconds; use TIMESTAMP, TIMESTAMP WITH TIME ZONE or TIME"
_DIGITS = "use HUGEINT, or VARCHAR for more than 38 digits"
_ANYTHING = "it may be anything; use JSON or STRUCT(...)"
# Types that cannot be requested, with the reason and an alternative.
REFUSED_TYPES = {
    "ARRAY": "write INTEGER[3] for an array, INTEGER[] for a list",
    "BIGNUM": _DIGITS,
    "BIT": _BITS,
    "BLOB": _BYTES,
    "GEOMETRY": "use VARCHAR for well-known text, or STRUCT(longitude DOUBLE, latitude DOUBLE)",
    "INTERVAL": "use an INTEGER in one unit, such as minutes",
    "LIST": "write INTEGER[] for a list of integers",
    "MAP": "its keys are open; use STRUCT(key VARCHAR, value ...)[]",
    "NULL": "say which type it has when it is not NULL",
    "TIME_NS": _NANOSECONDS,
    "TIMESTAMP_NS": _NANOSECONDS,
    "TIMESTAMPTZ_NS": _NANOSECONDS,
    "TUPLE": "use STRUCT with named fields",
    "TYPE": "use VARCHAR",
    "UNION": "use a STRUCT with one nullable field for each case",
    "VARIANT": _ANYTHING,
}
_SCALARS = frozenset([*INTEGERS, *FLOATS, *FORMATS, "BOOLEAN", "VARCHAR"])


def parse_columns(text: str) -> tuple[tuple[Column, ...], tuple[Check, ...]]:
    """Parse a column list into its columns and the conditions beside them, not bound yet.

    Raises InvalidReturns that names the column and says what to do.
    """
    if "\0" in text:
        raise InvalidReturns("--returns: it has a NUL character; leave that out")
    outline = _Outline(tokens(text))
    try:
        table = sqlglot.parse_one("\n".join(["CREATE TABLE t (", *outline.lines, ")"]), dialect="duckdb")
        return outline.columns(table.this.expressions)
    except ParseError as error:
        at = min(error.errors[0]["line"] - 2, len(outline.lines) - 1)
        hint = "a comma ends a column, and names with spaces are quoted"
        raise _error(outline.where[at], f"unexpected {outline.shown[at]}; {hint}") from None
    except RecursionError:
        raise InvalidReturns("--returns: types are nested too deep; a strict schema takes 10 levels") from None


def _error(where: str, message: str) -> InvalidReturns:
    return InvalidReturns(" ".join(f"{where}: {message}".split()))


class _Outline:
    """A column list as an outline for sqlglot.

    Each of `lines` is a token, with its original text and the column it belongs to; the numbers that replace names,
    texts and conditions count `texts`.
    """

    def __init__(self, found: list[Token]) -> None:
        self.lines: list[str] = []
        self.shown: list[str] = []
        self.where: list[str] = []
        self.texts: list[str] = []
        self._path: list[str] = []  # the column, and the fields of a STRUCT, that are being read
        self._levels = [","]  # what closes each open bracket, with a comma where columns or fields are listed
        self._at_name = True
        rest = deque(found)
        while rest:
            token = rest.popleft()
            if self._listed and token.upper == "CONSTRAINT" and len(rest) > 1 and rest[1].upper == "CHECK":
                rest.popleft()
                continue
            line = self._line(token, rest)
            self.lines.append(line)
            self.shown.append(token.text)
            self.where.append(self._place)
        if self._at_name:
            raise _error(self._place, f"expected a column name at the end; {_EXAMPLE}")
        if len(self._levels) > 1:
            raise _error(self._place, f"expected a closing {self._levels[-1][0]} at the end")

    @property
    def _place(self) -> str:
        return f"--returns: {'.'.join(self._path)}" if self._path else "--returns"

    @property
    def _listed(self) -> bool:
        """Return whether columns or fields are listed here, not the arguments of a type."""
        return "," in self._levels[-1]

    def _line(self, token: Token, rest: deque[Token]) -> str:
        """Return the outline's text for a token, which may consume some of the following tokens."""
        after = rest[0] if rest else Token("end", "")
        if self._listed and token.upper == "CHECK" and (after.text == "(" or not self._at_name):
            self._at_name = False
            return f"CHECK ({self._number(_condition(rest, self._place))})"
        if self._at_name:
            return self._name(token, after)
        if token.text in set("()[],;"):
            self._bracket(token.text)
        elif token.kind == "string":
            return f"'{self._number(token.value)}'"
        elif self._listed and token.upper == "COMMENT" and after.kind != "string":
            raise _error(self._place, "COMMENT takes a text in single quotes, such as COMMENT 'one sentence'")
        elif self._listed and token.upper == "ARRAY" and not self.lines[-1].startswith('"'):
            return "" if after.text == "[" else "[]"  # sqlglot takes the word behind ARRAY for a size
        elif token.upper == "JSON" and after.text == "(":
            return _JSON_WITH_SCHEMA  # sqlglot drops the arguments of JSON
        return token.text

    def _name(self, token: Token, after: Token) -> str:
        if token.upper in {"PRIMARY", "UNIQUE", "FOREIGN"} and (after.text == "(" or after.upper == "KEY"):
            raise _error(self._place, f"{token.text} {_NOT_HERE}")
        if token.kind not in {"word", "quoted"}:
            raise _error(self._place, f"expected a column name instead of {token.text}; {_EXAMPLE}")
        self._path.append(token.value)
        self._at_name = False
        if after.text in {",", ")", ""}:
            raise _error(self._place, _no_type(token))
        return f'"{self._number(token.value)}"'

    def _bracket(self, text: str) -> None:
        """Follow a bracket or comma into or out of a list."""
        if text in {"(", "["}:
            self._at_name = text == "(" and self.shown[-1].upper() in {"STRUCT", "ROW"}
            self._levels.append((")" if text == "(" else "]") + "," * self._at_name)
        elif text in self._levels[-1]:
            if self._listed:
                del self._path[sum("," in level for level in self._levels) - 1 :]
            self._at_name = text == ","
            if text != ",":
                self._levels.pop()
        elif text != ",":
            raise _error(self._place, f"unexpected {text}; it closes nothing")

    def _number(self, text: str) -> int:
        self.texts.append(text)
        return len(self.texts) - 1

    def columns(self, nodes: list[exp.Expr], where: str = "--returns") -> tuple[tuple[Column, ...], tuple[Check, ...]]:
        """Return columns or fields, and the conditions beside them."""
        columns: dict[str, Column] = {}
        checks: list[Check] = []
        for node in nodes:
            if isinstance(node, exp.CheckColumnConstraint):
                checks.append(Check(self.texts[int(node.this.this)]))
                continue
            if not isinstance(node, exp.ColumnDef):
                raise _error(where, f"{node.sql('duckdb')} {_NOT_HERE}")
            name = self.texts[int(node.this.name)]
            inside = f"{where}{': ' if where == '--returns' else '.'}{name}"
            if not name:
                raise _error(where, "a name is empty; give it one")
            if name.casefold() in columns:
                raise _error(inside, "the name occurs twice; choose another (SQL does not tell capitals apart)")
            columns[name.casefold()] = self._column(name, node, inside)
        return tuple(columns.values()), tuple(checks)

    def _column(self, name: str, node: exp.ColumnDef, where: str) -> Column:
        kind = self._type(node.args["kind"], where) if node.args.get("kind") else None
        nullable: set[bool] = set()
        comments: list[str] = []
        checks: list[str] = []
        for constraint in node.args.get("constraints") or ():
            found = constraint.kind
            if isinstance(found, exp.NotNullColumnConstraint):
                nullable.add(bool(found.args.get("allow_null")))
            elif isinstance(found, exp.CommentColumnConstraint):
                comments.append(self.texts[int(found.this.name)])
            elif isinstance(found, exp.CheckColumnConstraint):
                checks.append(self.texts[int(found.this.this)])
            else:
                raise _error(where, f"{found.sql('duckdb')} {_NOT_HERE}")
        if kind is None:
            raise _error(where, "the type is missing; write one such as VARCHAR behind the name")
        if len(nullable) > 1 or len(comments) > 1:
            raise _error(
                where, "COMMENT occurs twice; keep one" if comments[1:] else "NULL and NOT NULL at once; keep one"
            )
        check = checks[0] if len(checks) == 1 else " AND ".join(f"({one})" for one in checks)
        return Column(name, kind, False in nullable, comments[0] if comments else None, Check(check) if check else None)

    def _type(self, node: exp.DataType, where: str) -> Type:
        parts = node.expressions
        match node.this:
            case exp.DType.ARRAY if parts:
                element = self._type(parts[0], where)
                return List(element, _size(element, node.args.get("values"), where))
            case exp.DType.STRUCT:
                if not all(isinstance(part, exp.ColumnDef) for part in parts or [None]):
                    raise _error(where, "STRUCT takes its fields, such as STRUCT(a VARCHAR, b INTEGER)")
                return Struct(self.columns(parts, where)[0])
            case exp.DType.ENUM:
                if not all(isinstance(part, exp.Literal) and part.is_string for part in parts or [None]):
                    raise _error(where, "ENUM takes its values in single quotes, such as ENUM('good', 'bad')")
                values = [self.texts[int(part.name)] for part in parts]
                if twice := [value for i, value in enumerate(values) if value in values[:i]]:
                    raise _error(where, f"the ENUM value '{twice[0]}' occurs twice; keep one")
                return Enum(tuple(values))
            case exp.DType.JSON:
                return Json()
            case exp.DType.USERDEFINED if str(node.args.get("kind")) == _JSON_WITH_SCHEMA:
                with contextlib.suppress(ValueError):
                    schema = json.loads(self.texts[int(parts[0].name)]) if len(parts) == 1 else None
                    if isinstance(schema, dict):
                        return Json(json.dumps(schema, ensure_ascii=False, separators=(",", ":")))
                raise _error(where, """JSON takes a JSON Schema in single quotes, such as JSON('{"type": "object"}')""")
            case _:
                return _scalar(node, where)


def _condition(rest: deque[Token], where: str) -> str:
    """Consume a condition in parentheses, and return its content as one line."""
    if not rest or rest.popleft().text != "(":
        raise _error(where, "CHECK takes a condition in parentheses, such as CHECK (year > 1900)")
    inner: list[Token] = []
    depth = 1
    while depth:
        if not rest:
            raise _error(where, "the parenthesis of CHECK is not closed")
        inner.append(rest.popleft())
        depth += {"(": 1, ")": -1}.get(inner[-1].text, 0)
    if len(inner) == 1:
        raise _error(where, "CHECK () says nothing; leave it out")
    return in_one_line(inner[:-1])


def _no_type(name: Token) -> str:
    if name.kind == "word" and _named_by_duckdb(name.text):
        return f"a name is missing before the type; write for example answer {name.text}"
    example = name.value if name.value.isidentifier() else quote_identifier(name.value)
    return f"the type is missing; write for example {example} VARCHAR"


def _size(element: Type, sizes: list[exp.Expr] | None, where: str) -> int | None:
    if not sizes:
        return None
    if not sizes[0].is_int or not 1 <= int(sizes[0].name or 0) <= 10**9:
        raise _error(where, f"a list is written {element}[], an array of three {element}[3]")
    if int(sizes[0].name) > 100_000:
        raise _error(where, "an array has at most 100,000 elements; use a list, written []")
    return int(sizes[0].name)


def _scalar(node: exp.DataType, where: str) -> Type:
    """Return the scalar type that DuckDB makes of a written one."""
    written = node.sql(dialect="duckdb")
    name = "ARRAY" if node.this is exp.DType.ARRAY else written.split("(")[0].upper()
    if name in REFUSED_TYPES:
        raise _error(where, f"a strict schema cannot say {name}: {REFUSED_TYPES[name]}")
    named = _named_by_duckdb(written)
    if named is None and name == "DECIMAL":
        digits = "DECIMAL has 1 to 38 digits, and no more of them after the point"
        raise _error(where, f"{digits}, such as DECIMAL(10, 2)")
    if named is None and (alone := _named_by_duckdb(name)):
        raise _error(where, f"{alone} takes no argument; leave the parentheses out")
    if named is None:
        hint = did_you_mean(name, _type_names(), 0.7, "use a type such as VARCHAR, INTEGER or ENUM('a', 'b')")
        raise _error(where, f"DuckDB has no type {written}; {hint}")
    if decimal := re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", named):
        return Decimal(int(decimal[1]), int(decimal[2]))
    if named not in _SCALARS:
        reason = REFUSED_TYPES.get(named.split("(")[0], "use VARCHAR")
        raise _error(where, f"a strict schema cannot say {named}: {reason}")
    return Scalar(named)


@functools.cache
def _named_by_duckdb(written: str) -> str | None:
    """Return a type as DuckDB prints it, or None if DuckDB has no such type."""
    with connect() as connection:
        try:
            return str(connection.execute(f"SELECT typeof(CAST(NULL AS {written}))").fetchall()[0][0])
        except duckdb.Error:
            return None


@functools.cache
def _type_names() -> list[str]:
    """Return the names of DuckDB's types, in capitals."""
    with connect() as connection:
        return [row[0] for row in connection.execute("SELECT DISTINCT upper(type_name) FROM duckdb_types()").fetchall()]

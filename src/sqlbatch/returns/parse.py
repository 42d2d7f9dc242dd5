"""A column list, as in RETURNS TABLE, read into columns: sqlglot reads the structure, DuckDB names types and conditions.

sqlglot sees an outline: names and texts are numbers in quotes and conditions are numbers, one token a line. So reserved
words are names, a condition reaches DuckDB as it was written, and the line of a syntax error is the token it is about.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from dataclasses import dataclass, field

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sqlbatch.errors import InvalidReturns
from sqlbatch.returns.types import FLOATS, FORMATS, INTEGERS, Check, Column, Decimal, Enum, Json, List, Scalar, Struct, Type
from sqlbatch.returns.conditions import connect
from sqlbatch.store.queries import quote_identifier

_TOKEN = re.compile(
    r"""
    (?P<space>    \s+ | --[^\n]* | /\*.*?\*/ )
  | (?P<quoted>   "(?:[^"]|"")*" )
  | (?P<string>   '(?:[^']|'')*' | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$ )
  | (?P<escaped>  [eExXbB]'(?:[^'\\]|''|\\.)*' )
  | (?P<number>   (?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)? )
  | (?P<word>     [^\W\d][\w$]* )
  | (?P<mark>     [()\[\]{},.;?] | :: )
  | (?P<operator> <-> | ->>? | (?:(?!/\*|::)[*/<>=~!@\#%^&|`:])+ | [-+] )
    """,
    re.VERBOSE | re.DOTALL,
)
# Words before a parenthesis that are no function's name, and before a sign that makes a number of what follows.
_KEYWORD = re.compile(
    "and|or|not|in|between|when|then|else|case|i?like|is|to|distinct|any|all|over|lambda|where|by|end", re.IGNORECASE
)
_DEEPEST = 20  # parentheses; a strict schema takes 10 levels

_MODEL_ANSWERS = "has no meaning here: the model answers every column; leave it out"
_NO_KEYS = "keys have no meaning here: rows are answered one by one; leave them out"
# What CREATE TABLE takes behind a type and an answer cannot have.
_REFUSED_WORDS = {
    "DEFAULT": f"DEFAULT {_MODEL_ANSWERS}",
    "GENERATED": f"GENERATED {_MODEL_ANSWERS}",
    "AS": f"AS {_MODEL_ANSWERS}",
    "PRIMARY": _NO_KEYS,
    "UNIQUE": _NO_KEYS,
    "REFERENCES": _NO_KEYS,
    "FOREIGN": _NO_KEYS,
    "COLLATE": "COLLATE is not kept; give it in the query that reads the table",
    "USING": "USING COMPRESSION is not kept; leave it out",
}
_BYTES = "JSON carries no bytes; use VARCHAR and decode it in SQL"
_BITS = "use VARCHAR with CHECK (regexp_full_match(name, '[01]+'))"
_NANOSECONDS = "JSON answers carry microseconds; use TIMESTAMP, TIMESTAMP WITH TIME ZONE or TIME"
_DIGITS = "use HUGEINT, or VARCHAR for more than 38 digits"
_ANYTHING = "it may be anything; use JSON or STRUCT(...)"
# Why a type cannot be asked for, and what can.
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


@dataclass(frozen=True)
class Token:
    """A token: its kind, and its text as written."""

    kind: str
    text: str

    @property
    def upper(self) -> str:
        """The text in capitals, to compare keywords with; a quoted name is no keyword."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def value(self) -> str:
        """The name or text it stands for."""
        if self.kind == "quoted":
            return self.text[1:-1].replace('""', '"')
        if self.text.startswith("$"):
            width = self.text.index("$", 1) + 1
            return self.text[width:-width]
        return self.text[1:-1].replace("''", "'") if self.kind == "string" else self.text


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text without spaces and comments.

    Raises InvalidReturns where a quote is not closed or a character has no business in SQL.
    """
    found: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            rest = " ".join(text[position : position + 30].split())
            unclosed = text[position] in "'\"" or text.startswith(("/*", "$"), position)
            raise InvalidReturns(f"--returns: {'a quote is not closed' if unclosed else 'not SQL'} at: {rest}")
        if match["space"] is None:
            found.append(Token(str(match.lastgroup), match[0]))
        position = match.end()
    return found


def _in_one_line(parts: list[Token]) -> str:
    """Return tokens as one line of SQL that does not depend on how the source was laid out."""
    line = ""
    for i, token in enumerate(parts):
        if i > 0 and not _is_tight(parts[i - 2] if i > 1 else None, parts[i - 1], token):
            line += " "
        line += token.text
    return line


def _is_tight(earlier: Token | None, before: Token, token: Token) -> bool:
    if "::" in (before.text, token.text) or before.text in set("([.{") or token.text in set(")].,}"):
        return True
    if before.text in {"-", "+"}:
        return earlier is None or not _ends_value(earlier)
    return token.text in {"(", "["} and _ends_value(before) and (token.text == "[" or before.kind in {"word", "quoted"})


def _ends_value(token: Token) -> bool:
    """Tell whether a value may end with a token, so that a sign behind it takes two sides."""
    if token.kind == "word":
        return _KEYWORD.fullmatch(token.text) is None
    return token.kind in {"quoted", "string", "escaped", "number"} or token.text in {")", "]", "}"}


def parse_columns(text: str) -> tuple[tuple[Column, ...], tuple[Check, ...]]:
    """Read a column list into its columns and the conditions beside them, none of these bound yet.

    Raises InvalidReturns that names the column and says what to do.
    """
    if "\0" in text:
        raise InvalidReturns("--returns: it has a NUL character; leave that out")
    outline = _Outline(tokens(text))
    try:
        table = sqlglot.parse_one("\n".join(["CREATE TABLE t (", *outline.lines, ")"]), dialect="duckdb")
        nodes = table.this.expressions
        columns = tuple(outline.column(node) for node in nodes if isinstance(node, exp.ColumnDef))
        checks = tuple(outline.check(node) for node in nodes if isinstance(node, exp.CheckColumnConstraint))
    except SqlglotError as error:
        raise outline.unexpected(error) from None
    except RecursionError:
        raise InvalidReturns("--returns: types are nested too deep; a strict schema takes 10 levels") from None
    return columns, checks


def _error(where: str, message: str) -> InvalidReturns:
    return InvalidReturns(" ".join(f"{where}: {message}".split()))


@dataclass
class _Level:
    """A list of columns or fields, or the arguments of a type, that the outline is in."""

    path: str
    closing: str
    fields: bool
    names: set[str] = field(default_factory=set)


class _Outline:
    """A column list as sqlglot reads it, a token a line; `where` names the column that each line belongs to."""

    def __init__(self, found: list[Token]) -> None:
        self.lines: list[str] = []
        self._where: list[str] = []
        self._shown: list[str] = []
        self._texts: list[str] = []
        self._found = found
        self._read()

    def _read(self) -> None:
        found, levels = [*self._found, Token("end", "")], [_Level("--returns", "", fields=True)]
        path, at_name, i = "--returns", True, 0
        while i < len(found) - 1:
            token, after, level = found[i], found[i + 1], levels[-1]
            if level.fields and token.upper == "CONSTRAINT" and found[min(i + 2, len(found) - 1)].upper == "CHECK":
                i += 2
                continue
            if level.fields and token.upper == "CHECK" and (after.text == "(" or not at_name):
                i = self._condition(i, path)
                at_name = False
                continue
            if at_name:
                path = self._name(token, after, level)
                at_name = False
            elif token.text in {"(", "["}:
                fields = token.text == "(" and found[i - 1].upper in {"STRUCT", "ROW"}
                levels.append(_Level(path, ")" if token.text == "(" else "]", fields))
                at_name = fields
                self._add(token.text, token, path)
                if len(levels) > _DEEPEST:
                    raise _error(path, "types are nested too deep; a strict schema takes 10 levels")
            elif token.text in {")", "]"}:
                if level.closing != token.text:
                    raise _error(path, f"unexpected {token.text}; nothing is open there")
                path = levels.pop().path
                self._add(token.text, token, path)
            elif token.text == "," and level.fields:
                path, at_name = level.path, True
                self._add(",", token, path)
            else:
                self._word(token, after, level, path)
            i += 1
        if at_name:
            raise _error(path, "expected a column name at the end; write names and types, such as summary VARCHAR")
        if len(levels) > 1:
            raise _error(path, f"the end comes before a closing {levels[-1].closing}")

    def _add(self, line: str, token: Token, where: str) -> None:
        self.lines.append(line)
        self._shown.append(token.text)
        self._where.append(where)

    def _number(self, text: str) -> int:
        self._texts.append(text)
        return len(self._texts) - 1

    def _condition(self, start: int, path: str) -> int:
        """Add a CHECK as a number, and return the place behind it."""
        if self._found[start + 1 : start + 2] == [] or self._found[start + 1].text != "(":
            raise _error(path, "CHECK takes a condition in parentheses, such as CHECK (year > 1900)")
        depth, end = 1, start + 2
        while depth and end < len(self._found):
            depth += {"(": 1, ")": -1}.get(self._found[end].text, 0)
            end += 1
        if depth:
            raise _error(path, "the parenthesis of CHECK is not closed")
        condition = self._found[start + 2 : end - 1]
        if not condition:
            raise _error(path, "CHECK () says nothing; leave it out")
        self._add(f"CHECK ({self._number(_in_one_line(condition))})", self._found[start], path)
        return end

    def _name(self, token: Token, after: Token, level: _Level) -> str:
        """Add the name of a column or field, and return its path."""
        usage = "write names and types, such as summary VARCHAR"
        if token.upper in _REFUSED_WORDS and (after.text == "(" or after.upper == "KEY"):
            raise _error(level.path, _REFUSED_WORDS[token.upper])
        if token.kind not in {"word", "quoted"}:
            raise _error(level.path, f"expected a column name instead of {token.text}; {usage}")
        if not token.value:
            raise _error(level.path, "a name is empty; give it one")
        path = f"{level.path}{': ' if level.path == '--returns' else '.'}{token.value}"
        if token.value.casefold() in level.names:
            raise _error(path, "the name occurs twice; choose another (SQL does not tell capitals apart)")
        level.names.add(token.value.casefold())
        if after.text in {",", ")", ""}:
            if token.upper and _named_by_duckdb(token.upper):
                raise _error(path, f"a name is missing before the type; write for example answer {token.value}")
            example = token.value if token.value.isidentifier() else quote_identifier(token.value)
            raise _error(path, f"the type is missing; write for example {example} VARCHAR")
        self._add(f'"{self._number(token.value)}"', token, path)
        return path

    def _word(self, token: Token, after: Token, level: _Level, path: str) -> None:
        """Add any other token: of a type, its arguments, or a constraint."""
        if level.fields and token.upper in _REFUSED_WORDS:
            raise _error(path, _REFUSED_WORDS[token.upper])
        if level.fields and token.upper == "COMMENT" and after.kind != "string":
            raise _error(path, "COMMENT takes a text in single quotes, such as COMMENT 'one sentence'")
        if level.fields and token.upper == "ARRAY" and self._found[0] is not token:
            # sqlglot takes the word behind ARRAY for a size.
            self._add("" if after.text == "[" else "[]", token, path)
        elif token.kind == "string":
            self._add(f"'{self._number(token.value)}'", token, path)
        else:
            self._add(token.text, token, path)

    def unexpected(self, error: SqlglotError) -> InvalidReturns:
        """Return what to tell of a syntax error that sqlglot found."""
        details = getattr(error, "errors", None) or [{}]
        line = min(max(int(details[0].get("line") or 2) - 2, 0), len(self.lines) - 1)
        hint = "a comma ends a column, and names with spaces are quoted"
        return _error(self._where[line], f"unexpected {self._shown[line]}; {hint}")

    def check(self, node: exp.Expr) -> Check:
        """Return a condition."""
        return Check(self._texts[int(node.this.this)])

    def column(self, node: exp.Expr, outer: str = "--returns: ") -> Column:
        """Return a column or field."""
        name = self._texts[int(node.this.name)]
        where = f"{outer}{name}"
        kind = self._type(node.args.get("kind"), where)
        nullable: set[bool] = set()
        comments: list[str] = []
        checks: list[str] = []
        for constraint in node.args.get("constraints") or ():
            match constraint.kind:
                case exp.NotNullColumnConstraint() as found:
                    nullable.add(bool(found.args.get("allow_null")))
                case exp.CommentColumnConstraint() as found:
                    comments.append(self._texts[int(found.this.name)])
                case exp.CheckColumnConstraint() as found:
                    checks.append(self.check(found).text)
                case found:
                    raise _error(where, f"{found.sql('duckdb')} has no meaning here; leave it out")
        if len(nullable) > 1:
            raise _error(where, "NULL and NOT NULL at once; keep one")
        if len(comments) > 1:
            raise _error(where, "COMMENT occurs twice; keep one")
        check = checks[0] if len(checks) == 1 else " AND ".join(f"({one})" for one in checks)
        return Column(name, kind, False in nullable, comments[0] if comments else None, Check(check) if check else None)

    def _type(self, node: exp.Expr | None, where: str) -> Type:
        if not isinstance(node, exp.DataType):
            raise _error(where, "the type is missing; write for example VARCHAR")
        parts = node.expressions
        match node.this:
            case exp.DType.ARRAY if parts:
                return self._list(node, where)
            case exp.DType.STRUCT:
                if not parts or not all(isinstance(part, exp.ColumnDef) for part in parts):
                    raise _error(where, "STRUCT takes its fields, such as STRUCT(a VARCHAR, b INTEGER)")
                return Struct(tuple(self.column(part, f"{where}.") for part in parts))
            case exp.DType.ENUM:
                return self._enum(parts, where)
            case _:
                return _scalar(node, where)

    def _list(self, node: exp.DataType, where: str) -> List:
        element, sizes = self._type(node.expressions[0], where), node.args.get("values")
        if not sizes:
            return List(element)
        size = sizes[0].this if isinstance(sizes[0], exp.Literal) and not sizes[0].is_string else ""
        if not re.fullmatch("[1-9][0-9]{0,8}", str(size)):
            raise _error(where, f"a list is written {element}[], an array of three {element}[3]")
        if int(size) > 100_000:
            raise _error(where, "an array has at most 100,000 elements; use a list, written []")
        return List(element, int(size))

    def _enum(self, parts: list[exp.Expr], where: str) -> Enum:
        if not parts or not all(isinstance(part, exp.Literal) and part.is_string for part in parts):
            raise _error(where, "ENUM takes its values in single quotes, such as ENUM('good', 'bad')")
        values = [self._texts[int(part.name)] for part in parts]
        for value in values:
            if values.count(value) > 1:
                raise _error(where, f"the ENUM value '{value}' occurs twice; keep one")
        return Enum(tuple(values))


def _scalar(node: exp.DataType, where: str) -> Type:
    """Return the type without parts that DuckDB takes a written one for."""
    written = node.sql(dialect="duckdb")
    name = written.split("(")[0].upper()
    if name in REFUSED_TYPES:
        raise _error(where, f"a strict schema cannot say {name}: {REFUSED_TYPES[name]}")
    named = _named_by_duckdb(written)
    if named is None and _named_by_duckdb(name):
        raise _error(where, f"{written} is no type; write {name} alone, or such as DECIMAL(10, 2)")
    if named is None:
        close = difflib.get_close_matches(name, _type_names(), n=1, cutoff=0.7)
        hint = f"did you mean {close[0]}?" if close else "use a type such as VARCHAR, INTEGER or ENUM('a', 'b')"
        raise _error(where, f"DuckDB has no type {written}; {hint}")
    if digits := re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", named):
        return Decimal(int(digits[1]), int(digits[2]))
    if named not in _SCALARS:
        reason = REFUSED_TYPES.get(named.split("(")[0], "use VARCHAR")
        raise _error(where, f"a strict schema cannot say {named}: {reason}")
    return Scalar(named)


@functools.cache
def _named_by_duckdb(written: str) -> str | None:
    """Return a type as DuckDB prints it, or None where it has none such."""
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

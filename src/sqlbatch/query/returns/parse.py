"""A column list, as in RETURNS TABLE, read into fields and conditions."""

from __future__ import annotations

from dataclasses import dataclass

from sqlbatch.errors import InvalidReturns
from sqlbatch.query.returns.kinds import Decimal, Enum, Field, List, Scalar, Struct, Type
from sqlbatch.query.returns.lexer import Token, join, tokens
from sqlbatch.query.returns.names import ALIASES, PHRASES, REFUSED, similar_type
from sqlbatch.store.queries import quote_identifier

_END = Token("end", "", -1)
_MODEL_ANSWERS = "the model answers every column; leave it away"
# What CREATE TABLE takes behind a type and an answer cannot have.
_CONSTRAINTS = {
    "DEFAULT": f"DEFAULT has no meaning here: {_MODEL_ANSWERS}",
    "PRIMARY": "PRIMARY KEY has no meaning here: rows are answered one by one; leave it away",
    "UNIQUE": "UNIQUE has no meaning here: rows are answered one by one; leave it away",
    "REFERENCES": "REFERENCES has no meaning here; leave it away",
    "FOREIGN": "FOREIGN KEY has no meaning here; leave it away",
    "GENERATED": f"GENERATED has no meaning here: {_MODEL_ANSWERS}",
    "AS": f"AS has no meaning here: {_MODEL_ANSWERS}",
    "COLLATE": "COLLATE is not kept; give it in the query that reads the table",
    "USING": "USING COMPRESSION is not kept; leave it away",
}
_DEEPEST = 100  # far beyond what a strict schema allows, far below where recursion ends


@dataclass(frozen=True)
class ParsedColumn:
    """A column as written: the field, and the text of its condition."""

    field: Field
    check: str | None


@dataclass(frozen=True)
class Parsed:
    """A column list as written; `checks` are the conditions that stand beside the columns."""

    columns: tuple[ParsedColumn, ...]
    checks: tuple[str, ...]


def parse_columns(text: str) -> Parsed:
    """Read a column list.

    Raises InvalidReturns that names the column and says what to do.
    """
    if "\0" in text:
        raise InvalidReturns("--returns: it has a NUL character; leave that away")
    return _Parser(tokens(text)).columns()


class _Parser:
    """Reads tokens from left to right."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._position = 0
        self._where = "--returns"
        self._depth = 0

    def columns(self) -> Parsed:
        columns: list[ParsedColumn] = []
        checks: list[str] = []
        while True:
            if self._peek().upper == "CONSTRAINT" and self._peek(2).upper == "CHECK":
                self._position += 2
            if self._peek().upper == "CHECK" and self._peek(1).text == "(":
                self._next()
                checks.append(self._condition())
            else:
                columns.append(self._column([column.field for column in columns]))
            self._where = "--returns"
            if self._at_end():
                break
            self._expect(",", "a comma between columns")
        return Parsed(tuple(columns), tuple(checks))

    def _column(self, before: list[Field]) -> ParsedColumn:
        if (self._peek().upper in _CONSTRAINTS and self._peek(1).text == "(") or self._peek(1).upper == "KEY":
            raise self._error(_CONSTRAINTS.get(self._peek().upper, "keys have no meaning here; leave them away"))
        field, checks = self._field(before, conditions=True)
        check = checks[0] if len(checks) == 1 else " AND ".join(f"({one})" for one in checks)
        return ParsedColumn(field, check or None)

    def _field(self, before: list[Field], *, conditions: bool) -> tuple[Field, list[str]]:
        outer = self._where
        name = self._name()
        self._where = f"{outer}: {name}" if outer == "--returns" else f"{outer}.{name}"
        if any(field.name.casefold() == name.casefold() for field in before):
            raise self._error("the name occurs twice; choose another (SQL does not tell capitals apart)")
        if self._at_end() or self._peek().text in {",", ")"}:
            raise self._error(_no_type(name))
        kind = self._type()
        not_null, comment, checks = self._constraints(conditions=conditions)
        self._where = outer
        return Field(name, kind, not_null, comment), checks

    def _constraints(self, *, conditions: bool) -> tuple[bool, str | None, list[str]]:
        nullable: bool | None = None
        comment: str | None = None
        checks: list[str] = []
        while not self._at_end() and self._peek().text not in {",", ")"}:
            token = self._next()
            if token.upper in {"NOT", "NULL"}:
                if token.upper == "NOT" and self._next().upper != "NULL":
                    raise self._error("NOT stands before NULL only; did you mean NOT NULL?")
                if nullable is not None and nullable != (token.upper == "NULL"):
                    raise self._error("NULL and NOT NULL at once; keep one")
                nullable = token.upper == "NULL"
            elif token.upper == "COMMENT":
                if comment is not None:
                    raise self._error("COMMENT occurs twice; keep one")
                comment = self._string("COMMENT takes a text in single quotes, such as COMMENT 'one sentence'")
            elif token.upper == "CONSTRAINT" and self._peek(1).upper == "CHECK":
                self._next()
            elif token.upper == "CHECK":
                checks.append(self._condition())
                if not conditions:
                    raise self._error("CHECK stands behind a column, not inside a STRUCT; give it behind the column")
            elif token.upper in _CONSTRAINTS:
                raise self._error(_CONSTRAINTS[token.upper])
            else:
                raise self._error(f"unexpected {token.text}; a comma ends a column, and names with spaces are quoted")
        return nullable is False, comment, checks

    def _condition(self) -> str:
        """Return what stands in the parentheses that follow, as one line."""
        self._expect("(", "a condition in parentheses behind CHECK")
        begin, depth = self._position, 1
        while depth:
            if self._at_end():
                raise self._error("the parenthesis of CHECK is not closed")
            depth += {"(": 1, ")": -1}.get(self._next().text, 0)
        inner = self._tokens[begin : self._position - 1]
        if not inner:
            raise self._error("CHECK () says nothing; leave it away")
        return join(inner)

    def _type(self) -> Type:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error("types are nested too deep; 10 levels are allowed")
        kind = self._simple_type()
        while True:
            if self._peek().upper == "ARRAY":
                self._next()
                kind = self._suffix(kind) if self._peek().text == "[" else List(kind)
            elif self._peek().text == "[":
                kind = self._suffix(kind)
            else:
                break
        self._depth -= 1
        return kind

    def _suffix(self, kind: Type) -> Type:
        self._next()
        if self._peek().text == "]":
            self._next()
            return List(kind)
        size = self._whole(f"a list is written {kind}[], an array of three {kind}[3]", least=1)
        if size > 100_000:
            raise self._error("an array has at most 100,000 elements; use a list, written []")
        self._expect("]", "a closing bracket")
        return List(kind, size)

    def _simple_type(self) -> Type:
        token = self._next()
        if token.kind not in {"word", "quoted"}:
            raise self._error(f"expected a type, such as VARCHAR, instead of {token.text or 'the end'}")
        name = self._type_name(token)
        arguments = self._peek().text == "("
        match name:
            case "STRUCT":
                return self._struct()
            case "ENUM":
                return self._enum()
            case "DECIMAL":
                return self._decimal() if arguments else Decimal(18, 3)
            case "VARCHAR" if arguments:
                # Read and dropped as DuckDB does: VARCHAR(10) is VARCHAR there.
                self._arguments("VARCHAR(10)", at_most=1)
            case _ if arguments:
                raise self._error(f"{name} takes no argument; leave the parentheses away")
        return Scalar(name)

    def _type_name(self, token: Token) -> str:
        for phrase, name in PHRASES.items():
            if (token.upper, *(self._peek(i).upper for i in range(len(phrase) - 1))) == phrase:
                self._position += len(phrase) - 1
                return name
        written = token.value.lower()
        if written in REFUSED:
            raise self._error(f"a strict schema cannot say {token.value.upper()}: {REFUSED[written]}")
        if written not in ALIASES:
            similar = similar_type(written)
            hint = f"did you mean {similar}?" if similar else "use a type such as VARCHAR, INTEGER or ENUM('a', 'b')"
            raise self._error(f"DuckDB has no type {token.value}; {hint}")
        return ALIASES[written]

    def _struct(self) -> Type:
        self._expect("(", "the fields of a STRUCT, such as STRUCT(name VARCHAR, age INTEGER)")
        fields: list[Field] = []
        while True:
            fields.append(self._field(fields, conditions=False)[0])
            if self._peek().text == ")":
                self._next()
                return Struct(tuple(fields))
            self._expect(",", "a comma between the fields of a STRUCT")

    def _enum(self) -> Type:
        usage = "ENUM takes its values in single quotes, such as ENUM('good', 'bad')"
        if self._next().text != "(":
            raise self._error(usage)
        values: list[str] = []
        while True:
            values.append(self._string(usage))
            if self._peek().text == ")":
                break
            self._expect(",", "a comma between the values of ENUM")
        self._next()
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise self._error(f"the ENUM value '{twice}' occurs twice; keep one")
        return Enum(tuple(values))

    def _decimal(self) -> Type:
        given = self._arguments("DECIMAL(10, 2)", at_most=2)
        precision, scale = given[0], given[1] if len(given) > 1 else 0
        if not 1 <= precision <= 38 or scale > precision:
            raise self._error("DECIMAL has 1 to 38 digits, and no more of them after the point, such as DECIMAL(10, 2)")
        return Decimal(precision, scale)

    def _arguments(self, usage: str, at_most: int) -> list[int]:
        self._next()
        given = [self._whole(f"expected whole numbers, such as {usage}", least=0)]
        while self._peek().text == "," and len(given) < at_most:
            self._next()
            given.append(self._whole(f"expected whole numbers, such as {usage}", least=0))
        self._expect(")", f"a closing parenthesis, such as {usage}")
        return given

    def _name(self) -> str:
        token = self._next()
        if token.kind not in {"word", "quoted"}:
            where = f"instead of {token.text}" if token.text else "at the end"
            raise self._error(f"expected a column name {where}; write names and types, such as summary VARCHAR")
        if not token.value:
            raise self._error("a name is empty; give it one")
        return token.value

    def _string(self, usage: str) -> str:
        token = self._next()
        if token.kind != "string":
            raise self._error(usage)
        return token.value

    def _whole(self, usage: str, least: int) -> int:
        token = self._next()
        if not token.text.isascii() or not token.text.isdigit() or len(token.text) > 9 or int(token.text) < least:
            raise self._error(usage)
        return int(token.text)

    def _expect(self, text: str, what: str) -> None:
        token = self._next()
        if token.text != text:
            raise self._error(f"expected {what} instead of {token.text or 'the end'}")

    def _peek(self, ahead: int = 0) -> Token:
        position = self._position + ahead
        return self._tokens[position] if position < len(self._tokens) else _END

    def _next(self) -> Token:
        token = self._peek()
        self._position += 1
        return token

    def _at_end(self) -> bool:
        return self._position >= len(self._tokens)

    def _error(self, message: str) -> InvalidReturns:
        return InvalidReturns(" ".join(f"{self._where}: {message}".split()))


def _no_type(name: str) -> str:
    if name.lower() in ALIASES:
        return f"a name is missing before the type; write for example answer {name}"
    return (
        f"the type is missing; write for example {quote_identifier(name) if not name.isidentifier() else name} VARCHAR"
    )

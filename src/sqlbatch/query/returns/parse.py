"""A column list, as in RETURNS TABLE, read into columns."""

from __future__ import annotations

from dataclasses import dataclass

from sqlbatch.db.sql import quote_identifier
from sqlbatch.errors import InvalidReturns
from sqlbatch.query.returns.kinds import Check, Column, Decimal, Enum, List, Scalar, Struct, Type
from sqlbatch.query.returns.lexer import Token, tokens
from sqlbatch.query.returns.names import ALIASES, PHRASES, REFUSED, similar_type
from sqlbatch.query.returns.reader import Reader

_MODEL_ANSWERS = "the model answers every column; leave it away"
_NO_KEYS = "keys have no meaning here: rows are answered one by one; leave them away"
# What CREATE TABLE takes behind a type and an answer cannot have.
_REFUSED_CONSTRAINTS = {
    "DEFAULT": f"DEFAULT has no meaning here: {_MODEL_ANSWERS}",
    "GENERATED": f"GENERATED has no meaning here: {_MODEL_ANSWERS}",
    "AS": f"AS has no meaning here: {_MODEL_ANSWERS}",
    "PRIMARY": _NO_KEYS,
    "UNIQUE": _NO_KEYS,
    "REFERENCES": _NO_KEYS,
    "FOREIGN": _NO_KEYS,
    "COLLATE": "COLLATE is not kept; give it in the query that reads the table",
    "USING": "USING COMPRESSION is not kept; leave it away",
}
_DEEPEST = 50  # far beyond what a strict schema allows, and far before recursion ends


@dataclass(frozen=True)
class Parsed:
    """A column list as written, its conditions not yet bound; `checks` are those that stand beside the columns."""

    columns: tuple[Column, ...]
    checks: tuple[Check, ...]


def parse_columns(text: str) -> Parsed:
    """Read a column list.

    Raises InvalidReturns that names the column and says what to do.
    """
    if "\0" in text:
        raise InvalidReturns("--returns: it has a NUL character; leave that away")
    reader = Reader(tokens(text))
    columns: list[Column] = []
    checks: list[Check] = []
    while True:
        if reader.peek().upper == "CONSTRAINT" and reader.peek(2).upper == "CHECK":
            reader.skip(2)
        if reader.peek(1).text == "(" and reader.take("CHECK"):
            checks.append(Check(reader.parenthesised()))
        else:
            columns.append(_column(reader, columns, 0))
        if reader.at_end:
            return Parsed(tuple(columns), tuple(checks))
        reader.expect(",", "a comma between columns")


def _column(reader: Reader, before: list[Column], depth: int) -> Column:
    outer, first = reader.where, reader.peek()
    if first.upper in _REFUSED_CONSTRAINTS and (reader.peek(1).text == "(" or reader.peek(1).upper == "KEY"):
        raise reader.error(_REFUSED_CONSTRAINTS[first.upper])
    name = reader.name()
    reader.where = f"{outer}: {name}" if depth == 0 else f"{outer}.{name}"
    if any(column.name.casefold() == name.casefold() for column in before):
        raise reader.error("the name occurs twice; choose another (SQL does not tell capitals apart)")
    if reader.at_end_of_column:
        raise reader.error(_no_type(name))
    kind = _type(reader, depth)
    not_null, check, comment = _constraints(reader)
    reader.where = outer
    return Column(name, kind, not_null, comment, check)


def _no_type(name: str) -> str:
    if name.lower() in ALIASES:
        return f"a name is missing before the type; write for example answer {name}"
    return f"the type is missing; write for example {name if name.isidentifier() else quote_identifier(name)} VARCHAR"


def _constraints(reader: Reader) -> tuple[bool, Check | None, str | None]:
    nullable: bool | None = None
    comment: str | None = None
    checks: list[str] = []
    while not reader.at_end_of_column:
        if reader.take("NOT", "NULL") or reader.take("NULL"):
            negated = reader.peek(-2).upper == "NOT"
            if nullable is negated:
                raise reader.error("NULL and NOT NULL at once; keep one")
            nullable = not negated
        elif reader.take("COMMENT"):
            if comment is not None:
                raise reader.error("COMMENT occurs twice; keep one")
            comment = reader.string("COMMENT takes a text in single quotes, such as COMMENT 'one sentence'")
        elif reader.take("CHECK"):
            checks.append(reader.parenthesised())
        elif reader.peek().upper == "CONSTRAINT" and reader.peek(2).upper == "CHECK":
            reader.skip(2)
        else:
            token = reader.next()
            unexpected = f"unexpected {token.text}; a comma ends a column, and names with spaces are quoted"
            raise reader.error(_REFUSED_CONSTRAINTS.get(token.upper, unexpected))
    check = checks[0] if len(checks) == 1 else " AND ".join(f"({one})" for one in checks)
    return nullable is False, Check(check) if check else None, comment


def _type(reader: Reader, depth: int) -> Type:
    if depth > _DEEPEST:
        raise reader.error("types are nested too deep; a strict schema takes 10 levels")
    kind = _simple_type(reader, depth)
    while reader.peek().text == "[" or reader.peek().upper == "ARRAY":
        word = reader.take("ARRAY")
        if word and reader.peek().text != "[":
            kind = List(kind)
            continue
        reader.next()
        size = None
        if reader.peek().text != "]":
            size = reader.whole(f"a list is written {kind}[], an array of three {kind}[3]", least=1)
        reader.expect("]", "a closing bracket")
        if size is not None and size > 100_000:
            raise reader.error("an array has at most 100,000 elements; use a list, written []")
        kind = List(kind, size)
    return kind


def _simple_type(reader: Reader, depth: int) -> Type:
    token = reader.next()
    if token.kind not in {"word", "quoted"}:
        raise reader.error(f"expected a type, such as VARCHAR, instead of {token.text or 'the end'}")
    name = _type_name(reader, token)
    arguments = reader.peek().text == "("
    if name == "STRUCT":
        return _struct(reader, depth)
    if name == "ENUM":
        return _enum(reader)
    if name == "DECIMAL":
        return _decimal(reader) if arguments else Decimal(18, 3)
    if name == "VARCHAR" and arguments:
        # Read and dropped, as DuckDB does: VARCHAR(10) is VARCHAR there.
        _arguments(reader, "VARCHAR(10)", at_most=1)
    elif arguments:
        raise reader.error(f"{name} takes no argument; leave the parentheses away")
    return Scalar(name)


def _type_name(reader: Reader, token: Token) -> str:
    for phrase, name in PHRASES.items():
        if token.upper == phrase[0] and reader.take(*phrase[1:]):
            return name
    written = token.value.lower()
    if written in REFUSED:
        raise reader.error(f"a strict schema cannot say {token.value.upper()}: {REFUSED[written]}")
    if written not in ALIASES:
        similar = similar_type(written)
        hint = f"did you mean {similar}?" if similar else "use a type such as VARCHAR, INTEGER or ENUM('a', 'b')"
        raise reader.error(f"DuckDB has no type {token.value}; {hint}")
    return ALIASES[written]


def _struct(reader: Reader, depth: int) -> Type:
    reader.expect("(", "the fields of a STRUCT, such as STRUCT(a VARCHAR, b INTEGER)")
    fields: list[Column] = []
    while True:
        fields.append(_column(reader, fields, depth + 1))
        if reader.peek().text == ")":
            reader.next()
            return Struct(tuple(fields))
        reader.expect(",", "a comma between the fields of a STRUCT")


def _enum(reader: Reader) -> Type:
    usage = "ENUM takes its values in single quotes, such as ENUM('good', 'bad')"
    if reader.next().text != "(":
        raise reader.error(usage)
    values: dict[str, None] = {}
    while True:
        value = reader.string(usage)
        if value in values:
            raise reader.error(f"the ENUM value '{value}' occurs twice; keep one")
        values[value] = None
        if reader.peek().text == ")":
            reader.next()
            return Enum(tuple(values))
        reader.expect(",", "a comma between the values of ENUM")


def _decimal(reader: Reader) -> Type:
    precision, scale = [*_arguments(reader, "DECIMAL(10, 2)", at_most=2), 0][:2]
    if not 1 <= precision <= 38 or scale > precision:
        raise reader.error("DECIMAL has 1 to 38 digits, and no more of them after the point, such as DECIMAL(10, 2)")
    return Decimal(precision, scale)


def _arguments(reader: Reader, usage: str, at_most: int) -> list[int]:
    reader.next()
    given = [reader.whole(f"expected whole numbers, such as {usage}")]
    while reader.peek().text == "," and len(given) < at_most:
        reader.next()
        given.append(reader.whole(f"expected whole numbers, such as {usage}"))
    reader.expect(")", f"a closing parenthesis, such as {usage}")
    return given

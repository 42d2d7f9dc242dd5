"""CHECK conditions: bound by DuckDB to the columns they name, and translated to keywords of JSON Schema if possible."""

from __future__ import annotations

import dataclasses
import decimal
import functools
import json
import re
from typing import TYPE_CHECKING, Any

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sqlbatch.db.sql import quote_identifier
from sqlbatch.errors import InvalidReturns
from sqlbatch.returns.types import FLOATS, INTEGERS, Check, Column, Decimal, Enum, List, Reference, Scalar, Struct, Type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Keywords = dict[str, Any]

_PREFIX = "SELECT "
_TABLE = "sqlbatch_returns"
_STRING = re.compile(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$", re.DOTALL)
_NAME = re.compile(rb'"(?:[^"]|"")*"|[\w$\x80-\xff]+')
# Words that look like a column but are a value, unless a column has the name.
_VALUES = frozenset(["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"])


def bind(columns: Sequence[Column], checks: Sequence[Check]) -> tuple[tuple[Column, ...], tuple[Check, ...]]:
    """Return columns and conditions, bound: those inside a STRUCT to its fields, all others to the columns.

    Raises InvalidReturns in DuckDB's words: an unknown column or function, a subquery, an aggregate, unfitting types.
    """
    if not checks and not any(_has_check(column) for column in columns):
        return tuple(columns), tuple(checks)
    with connect() as connection:
        bound = _bound_columns(connection, columns, "--returns: ")
        return bound, tuple(_bound_check(connection, columns, check, "--returns: ") for check in checks)


def connect() -> duckdb.DuckDBPyConnection:
    """Return a connection to an empty database without access to files, which a condition does not need."""
    return _database().cursor()


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"enable_external_access": "false"})


def in_one_line(error: duckdb.Error) -> str:
    """Return DuckDB's message without its kind and without the place in our own statement."""
    found = [line.strip() for line in str(error).split("LINE 1:")[0].splitlines() if line.strip()]
    first, *more = found or [": no reason given"]
    kept = [first.split(": ", 1)[-1], *(line for line in more if line.startswith(("Candidate", "Did you mean")))]
    return " ".join(kept).replace("WHERE clause", "a CHECK").replace(" in FROM clause!", " among the columns.")


def _has_check(column: Column) -> bool:
    kind = column.type
    while isinstance(kind, List):
        kind = kind.element
    return column.check is not None or (isinstance(kind, Struct) and any(map(_has_check, kind.fields)))


def _bound_columns(con: duckdb.DuckDBPyConnection, columns: Sequence[Column], where: str) -> tuple[Column, ...]:
    return tuple(
        dataclasses.replace(
            column,
            type=_bound_type(con, column.type, f"{where}{column.name}"),
            check=column.check and _bound_check(con, columns, column.check, f"{where}{column.name}: "),
        )
        for column in columns
    )


def _bound_type(con: duckdb.DuckDBPyConnection, kind: Type, where: str) -> Type:
    match kind:
        case List():
            return List(_bound_type(con, kind.element, where), kind.size)
        case Struct():
            return Struct(_bound_columns(con, kind.fields, f"{where}."))
        case _:
            return kind


def _bound_check(con: duckdb.DuckDBPyConnection, columns: Sequence[Column], check: Check, where: str) -> Check:
    where = f"{where}CHECK ({check.text})"
    definitions = ", ".join(f"{quote_identifier(column.name)} {column.type}" for column in columns)
    try:
        con.execute(f"CREATE OR REPLACE TEMP TABLE {_TABLE} ({definitions})").fetchall()
        # The condition is tried as a filter: like a CHECK it refuses aggregates, but unlike a CHECK it allows lambdas
        # and fields.
        con.execute(f"SELECT 1 FROM {_TABLE} WHERE CAST(({check.text}) AS BOOLEAN)").fetchall()
        parsed = con.execute("SELECT json_serialize_sql(?::VARCHAR)", [_PREFIX + check.text]).fetchall()[0][0]
    except duckdb.Error as error:
        raise InvalidReturns(f"{where}: {in_one_line(error)}") from error
    numbers = {column.name.casefold(): i for i, column in enumerate(columns)}
    return Check(check.text, tuple(_references(json.loads(parsed), check.text.encode(), numbers, where)))


def _references(tree: Any, source: bytes, numbers: Mapping[str, int], where: str) -> list[Reference]:
    found: dict[int, Reference] = {}
    for node, hidden in _nodes(tree, frozenset()):
        if node.get("type") == "SUBQUERY":
            raise InvalidReturns(f"{where}: a subquery; a condition sees one answer alone")
        if node.get("type") == "STAR":
            raise InvalidReturns(f"{where}: a star; a condition names its columns")
        if node.get("type") != "COLUMN_REF":
            continue
        name = node["column_names"][0]
        column = numbers.get(name.casefold())
        if name.casefold() in hidden or (column is None and name.casefold() in _VALUES):
            continue
        if column is None:
            raise InvalidReturns(f"{where}: there is no column {name}; a condition names the returned columns alone")
        start = node["query_location"] - len(_PREFIX)
        match = _NAME.match(source, start) if 0 <= start < len(source) else None
        if match is None:
            raise InvalidReturns(f"{where}: the column {name} cannot be found in it; write it in double quotes")
        found[start] = Reference(start, match.end(), column)
    return [found[start] for start in sorted(found)]


def _nodes(tree: Any, hidden: frozenset[str]) -> Iterator[tuple[dict[str, Any], frozenset[str]]]:
    """Yield the nodes of DuckDB's syntax tree, with the names that lambda parameters hide there."""
    if isinstance(tree, list):
        for part in tree:
            yield from _nodes(part, hidden)
    elif isinstance(tree, dict) and tree.get("type") == "LAMBDA":
        parameters = [node for node, _ in _nodes(tree.get("lhs"), frozenset()) if node.get("type") == "COLUMN_REF"]
        names = frozenset(node["column_names"][-1].casefold() for node in parameters)
        yield from _nodes(tree.get("expr"), hidden | names)
    elif isinstance(tree, dict):
        yield tree, hidden
        for part in tree.values():
            yield from _nodes(part, hidden)


_BOUNDS: dict[type[exp.Expr], str] = {
    exp.GT: "exclusiveMinimum",
    exp.GTE: "minimum",
    exp.LT: "exclusiveMaximum",
    exp.LTE: "maximum",
}
_TURNED: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
    exp.EQ: exp.EQ,
}

# A regular expression that means the same in DuckDB and in JSON Schema: no flags, look-arounds, named groups, classes
# by name, or other kinds of anchors.
_COMMON_PATTERN = re.compile(r"(?:\\[dDwWsSnrt.*+?^$|()\[\]{}\\/-]|\[(?!\[?:)|\((?!\?[^:])|[^\\\[(])*", re.DOTALL)


def keywords(column: Column, condition: str) -> tuple[Keywords, bool]:
    """Return the keywords that express a condition on a column, and whether they express all of it."""
    try:
        tree = sqlglot.parse_one(condition, dialect="duckdb")
    except SqlglotError:
        return {}, False
    found: Keywords = {}
    complete = True
    for part in _conjuncts(tree):
        said = _said(column, part, condition)
        if said is None or ("pattern" in said and "pattern" in found):
            complete = False
        else:
            found = narrowed(found, said)
    return found, complete


def narrowed(schema: Keywords, further: Keywords) -> Keywords:
    """Return a schema with further keywords: the narrower of two bounds, the values that two enums share."""
    result = dict(schema)
    for key, value in further.items():
        if key in {"minimum", "exclusiveMinimum", "minItems"}:
            result[key] = max(value, result.get(key, value))
        elif key in {"maximum", "exclusiveMaximum", "maxItems"}:
            result[key] = min(value, result.get(key, value))
        elif key == "enum":
            result[key] = [one for one in result[key] if one in value] if key in result else value
        else:
            result[key] = value
    # Of an open and a closed bound on one side, only the narrower has an effect.
    for closed, opened, sign in (("minimum", "exclusiveMinimum", 1), ("maximum", "exclusiveMaximum", -1)):
        if closed in result and opened in result:
            result.pop(closed if result[opened] * sign >= result[closed] * sign else opened)
    return result


def allows_nothing(schema: Keywords) -> bool:
    """Return whether the bounds or the enum of a schema allow no value."""
    least, greatest = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    return (
        ("enum" in schema and not schema["enum"])
        or (least is not None and greatest is not None and least > greatest)
        or (above is not None and greatest is not None and above >= greatest)
        or (least is not None and below is not None and least >= below)
        or (above is not None and below is not None and above >= below)
        or schema.get("minItems", 0) > schema.get("maxItems", schema.get("minItems", 0))
    )


def _conjuncts(tree: exp.Expr) -> Iterator[exp.Expr]:
    tree = tree.unnest()
    if isinstance(tree, exp.And):
        yield from _conjuncts(tree.this)
        yield from _conjuncts(tree.expression)
    else:
        yield tree


def _said(column: Column, part: exp.Expr, condition: str) -> Keywords | None:
    """Return the keywords that express one part of a condition, or None if there are none."""
    match part:
        case exp.Between() if not part.args.get("symmetric"):
            low = _comparison(column, exp.GTE, part.this, part.args["low"])
            high = _comparison(column, exp.LTE, part.this, part.args["high"])
            return None if low is None or high is None else low | high
        case exp.In() if part.expressions and _is_column(column, part.this):
            values = [_constant(column.type, value) for value in part.expressions]
            return _one_of(column, values)
        case exp.GT() | exp.GTE() | exp.LT() | exp.LTE() | exp.EQ():
            return _comparison(column, type(part), part.this, part.expression) or _comparison(
                column, _TURNED[type(part)], part.expression, part.this
            )
        case exp.RegexpLike() | exp.RegexpFullMatch() | exp.SimilarTo():
            return _pattern(column, part, condition)
    return None


def _comparison(column: Column, kind: type[exp.Expr], left: exp.Expr, right: exp.Expr) -> Keywords | None:
    """Return the keywords of `column kind constant`, or, for a list, of `len(column) kind constant`."""
    counted = isinstance(left, exp.Length | exp.ArraySize) and not left.args.get("expression")
    if counted and isinstance(column.type, List) and _is_column(column, left.this):
        return _count(kind, _number(right))
    if not _is_column(column, left):
        return None
    value = _constant(column.type, right)
    if value is None:
        return None
    if kind is exp.EQ:
        return _one_of(column, [value])
    return None if isinstance(value, str) else {_BOUNDS[kind]: value}


def _one_of(column: Column, values: Sequence[str | int | float | None]) -> Keywords | None:
    if None in values or (str(column.type) in INTEGERS and any(isinstance(value, float) for value in values)):
        return None
    return {"enum": list(dict.fromkeys(values))}


def _count(kind: type[exp.Expr], count: int | float | None) -> Keywords | None:
    if not isinstance(count, int) or count < 0:
        return None
    if kind is exp.EQ:
        return {"minItems": count, "maxItems": count}
    if kind is exp.GT or kind is exp.GTE:
        return {"minItems": count + (kind is exp.GT)}
    return {"maxItems": max(count - (kind is exp.LT), 0)}


def _pattern(column: Column, part: exp.Expr, condition: str) -> Keywords | None:
    """Return the pattern of a regular expression, if every reader understands it alike."""
    literal = part.expression
    if column.type != Scalar("VARCHAR") or not _is_column(column, part.this) or part.args.get("flag"):
        return None
    if not isinstance(literal, exp.Literal) or not literal.is_string or not _is_common(literal.this):
        return None
    whole = True
    if isinstance(part, exp.RegexpLike):
        tildes = re.search(r"(?<!~)~(?!~)", _STRING.sub("", condition)) is not None
        if tildes and "regexp_matches" in condition.lower():
            return None  # both are the same to the parser
        whole = tildes and _tilde_means_whole()
    return {"pattern": _anchored(literal.this) if whole else literal.this}


def _anchored(pattern: str) -> str:
    if "|" in pattern:
        return f"^({pattern})$"
    start = "" if pattern.startswith("^") else "^"
    end = "" if re.search(r"(?<!\\)(?:\\\\)*\$\Z", pattern) else "$"
    return f"{start}{pattern}{end}"


def _is_common(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return _COMMON_PATTERN.fullmatch(pattern) is not None


@functools.cache
def _tilde_means_whole() -> bool:
    """Return whether `~` must match the whole text, as up to DuckDB 1.5, or a part of it, as from 2.0 on."""
    with connect() as connection:
        return connection.execute("SELECT NOT ('ab' ~ 'a')").fetchall() == [(True,)]


def _is_column(column: Column, node: exp.Expr) -> bool:
    node = node.unnest()
    return isinstance(node, exp.Column) and len(node.parts) == 1 and node.name.casefold() == column.name.casefold()


def _constant(kind: Type, node: exp.Expr) -> str | int | float | None:
    """Return a constant that a schema can compare with a value of this type, or None."""
    if isinstance(kind, Enum) or kind == Scalar("VARCHAR"):
        return str(node.this) if isinstance(node, exp.Literal) and node.is_string else None
    numeric = not kind.is_text if isinstance(kind, Decimal) else str(kind) in {*INTEGERS, *FLOATS}
    return _number(node) if numeric else None


def _number(node: exp.Expr) -> int | float | None:
    node = node.unnest()
    sign = 1
    while isinstance(node, exp.Neg):
        node, sign = node.this.unnest(), -sign
    if not isinstance(node, exp.Literal) or node.is_string:
        return None
    try:
        value = decimal.Decimal(node.this.replace("_", "")) * sign
    except decimal.InvalidOperation:
        return None
    if not value.is_finite() or abs(value.adjusted()) > 40:
        return None
    return int(value) if value == value.to_integral_value() else float(value)

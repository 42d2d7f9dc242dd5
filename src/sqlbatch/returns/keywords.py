"""CHECK conditions as keywords of a JSON Schema: what the model can be held to while it writes."""

from __future__ import annotations

import decimal
import functools
import re
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sqlbatch.query.returns.conditions import connect
from sqlbatch.query.returns.kinds import FLOATS, INTEGERS, Column, Decimal, Enum, List, Scalar, Type
from sqlbatch.query.returns.lexer import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Keywords = dict[str, Any]

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

# A regular expression that means the same to DuckDB and to a reader of JSON Schema: no flags, look-arounds, named
# groups, classes by name, or anchors of other kinds.
_COMMON_PATTERN = re.compile(r"(?:\\[dDwWsSnrt.*+?^$|()\[\]{}\\/-]|\[(?!\[?:)|\((?!\?[^:])|[^\\\[(])*", re.DOTALL)


def keywords(column: Column, condition: str) -> tuple[Keywords, bool]:
    """Return the keywords that say a condition on a column, and whether they say all of it."""
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
    """Return a schema with further keywords: of two bounds the narrower, of two enums what is in both."""
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
    # Of an open and a closed bound on one side only the narrower says anything.
    for closed, opened, sign in (("minimum", "exclusiveMinimum", 1), ("maximum", "exclusiveMaximum", -1)):
        if closed in result and opened in result:
            result.pop(closed if result[opened] * sign >= result[closed] * sign else opened)
    return result


def allows_nothing(schema: Keywords) -> bool:
    """Tell whether the bounds or the enum of a schema leave no value."""
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
    """Return the keywords that say one part of a condition, or None where there are none."""
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
    """Return the keywords of `column kind constant`, or of `len(column) kind constant` where the column is a list."""
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
    """Return the pattern of a regular expression, if it means the same to all."""
    literal = part.expression
    if column.type != Scalar("VARCHAR") or not _is_column(column, part.this) or part.args.get("flag"):
        return None
    if not isinstance(literal, exp.Literal) or not literal.is_string or not _is_common(literal.this):
        return None
    whole = True
    if isinstance(part, exp.RegexpLike):
        tildes = any(token.text in {"~", "!~"} for token in tokens(condition))
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
    """Tell whether `~` matches the whole text, as up to DuckDB 1.5, or a part of it, as from 2.0 on."""
    with connect() as connection:
        return connection.execute("SELECT NOT ('ab' ~ 'a')").fetchall() == [(True,)]


def _is_column(column: Column, node: exp.Expr) -> bool:
    node = node.unnest()
    return isinstance(node, exp.Column) and len(node.parts) == 1 and node.name.casefold() == column.name.casefold()


def _constant(kind: Type, node: exp.Expr) -> str | int | float | None:
    """Return a constant that a value of this type can be compared with in a schema, or None."""
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

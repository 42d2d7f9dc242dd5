"""Arguments of AI functions in other dialects, and their values in DuckDB's SQL."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlglot import exp
from sqlglot.errors import SqlglotError

from sqlbatch.errors import InvalidEnrichment
from sqlbatch.returns import returns_from_schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Unknown(Exception):
    """sqlbatch has no equivalent of an argument."""


@dataclass(frozen=True)
class Struct:
    """An answer that is a STRUCT in DuckDB too."""

    value: exp.Expr


# A value, or an object or list that a query takes parts of by a path.
Shape = exp.Expr | Struct | dict[str, Any] | list[Any]


@dataclass
class Given:
    """The arguments of a call; each is taken once, and an argument left at the end is an error.

    `models` collects the models that calls name.
    """

    arguments: Sequence[exp.Expr]
    models: list[str]
    positional: list[exp.Expr] = field(init=False)
    named: dict[str, exp.Expr] = field(init=False)

    def __post_init__(self) -> None:
        self.positional = [each for each in self.arguments if not isinstance(each, exp.Kwarg)]
        named = [each for each in self.arguments if isinstance(each, exp.Kwarg)]
        self.named = {each.this.name.casefold(): each.expression for each in named}

    def take(self, *names: str) -> exp.Expr | None:
        """Return the argument of one of these names, else the next by position; None if there is none."""
        found = self.by_name(*names)
        return self.positional.pop(0) if found is None and self.positional else found

    def by_name(self, *names: str) -> exp.Expr | None:
        """Return the argument of one of these names; None if there is none."""
        return next((self.named.pop(name) for name in names if name in self.named), None)

    def rest(self) -> list[exp.Expr]:
        """Return the further arguments by position."""
        taken, self.positional = self.positional, []
        return taken

    def input(self, *names: str) -> exp.Expr:
        """Return the input of the call; the parts of a tuple become one text."""
        found = self.take(*names)
        if found is None:
            raise Unknown("it needs an input")
        return _joined(found)

    def model(self, *names: str, positional: bool = False) -> None:
        """Take the call's model."""
        found = self.take(*names) if positional else self.by_name(*names)
        if found is not None:
            self.models.append(found.name if isinstance(found, exp.Literal) else found.sql())

    def forget(self, *names: str) -> None:
        """Ignore arguments that only say where or how the other product works."""
        for name in names:
            self.named.pop(name, None)

    def done(self) -> None:
        """Raise Unknown if arguments are left."""
        if self.positional or self.named:
            left = next(iter(self.named), None) or self.positional[0].sql()
            raise Unknown(
                f"sqlbatch has no equivalent of its argument {left}: leave it out, or write the call for DuckDB"
            )


def constant(node: exp.Expr | None) -> Any:  # noqa: PLR0911 (one for each kind of literal)
    """Return the value of a literal, or of a list or object of literals; raise Unknown for anything else."""
    match node:
        case None | exp.Null():
            return None
        case exp.Boolean():
            return bool(node.this)
        case exp.Literal():
            return node.name if node.is_string else json.loads(node.name)
        case exp.Neg():
            return -constant(node.this)
        case exp.Array() | exp.Tuple():
            return [constant(each) for each in node.expressions]
        case exp.Struct():
            return {each.this.name: constant(each.expression) for each in node.expressions}
        case exp.Map() | exp.VarMap():
            keys, values = constant(node.args["keys"]), constant(node.args["values"])
            return dict(zip(keys, values, strict=True))
        case exp.ParseJSON() | exp.JSON():
            return json.loads(constant(node.this))
        case _:
            raise Unknown(f"{node.sql()} must be constant, because all rows of a batch share it")


def written(value: Any) -> exp.Expr:
    """Return a constant, or the shape of an answer, as an expression."""
    if isinstance(value, Struct):
        return value.value
    if isinstance(value, dict):
        pairs = [exp.PropertyEQ(this=exp.to_identifier(name, quoted=True), expression=written(each))
                 for name, each in value.items()]  # fmt: skip
        return exp.Struct(expressions=pairs)
    if isinstance(value, list):
        return exp.Array(expressions=[written(each) for each in value])
    literal: exp.Expr = exp.convert(value)
    return literal


def ours(name: str, source: exp.Expr, *more: Any, **named: Any) -> exp.Expr:
    """Return a call of one of sqlbatch's functions; arguments that are None are left out."""
    arguments = [source, *(written(each) for each in more)]
    arguments += [
        exp.Kwarg(this=exp.var(key), expression=written(value)) for key, value in named.items() if value is not None
    ]
    return exp.Anonymous(this=name, expressions=arguments)


def _joined(node: exp.Expr) -> exp.Expr:
    """Return the parts of a prompt as one text."""
    node = node.unnest()
    if not isinstance(node, exp.Tuple | exp.Struct):
        return node.copy()
    parts = [each.expression if isinstance(each, exp.PropertyEQ) else each for each in node.expressions]
    whole: exp.Expr = parts[0].copy()
    for part in parts[1:]:
        whole = exp.DPipe(this=whole, expression=exp.Paren(this=part.copy()))
    return whole


def columns(text: str, dialect: str) -> str:
    """Return a column list of another dialect as one for `returns`: `a STRING, b INT64` or `STRUCT<a: STRING>`."""
    inner = text.strip()
    if not inner.upper().startswith(("STRUCT<", "STRUCT (", "STRUCT(")) and ("," in inner or " " in inner):
        inner = f"STRUCT<{inner}>"
    try:
        kind = exp.DataType.build(inner, dialect=dialect)
    except (SqlglotError, ValueError) as error:
        raise Unknown(f"the type {text} cannot be read") from error
    return _type(kind, top=True)


def _type(kind: exp.DataType, *, top: bool = False) -> str:
    if kind.is_type("struct"):
        fields = ", ".join(
            f"{exp.to_identifier(each.this.name, quoted=True).sql('duckdb')} {_type(each.args['kind'])}"
            for each in kind.expressions
        )
        return fields if top else f"STRUCT({fields})"
    if kind.is_type("array"):
        return f"{_type(kind.expressions[0])}[]"
    if kind.this in exp.DataType.TEXT_TYPES:
        return "VARCHAR"
    return kind.sql("duckdb")


def from_schema(schema: Mapping[str, Any]) -> str:
    """Return a JSON Schema, also one in a product's wrapper, as a column list for `returns`."""
    inner = schema.get("schema", schema)
    inner = inner.get("schema", inner)
    try:
        return returns_from_schema(dict(inner)).text
    except InvalidEnrichment as error:
        raise Unknown(str(error).removeprefix("--json-schema: ")) from error


def shaped(source: exp.Expr, returns: str | None, **named: Any) -> Shape:
    """Return ai_complete with its type: a STRUCT if it has several columns."""
    call = ours("ai_complete", source, returns=returns, **named)
    return Struct(call) if returns is not None and " " in returns.strip().strip('"') else call

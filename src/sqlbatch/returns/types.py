"""Returned columns and their types, as frozen values that render their own text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sqlbatch.db.sql import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Callable

# The integer types, with their smallest and largest values.
INTEGERS = {
    "TINYINT": (-(2**7), 2**7 - 1),
    "SMALLINT": (-(2**15), 2**15 - 1),
    "INTEGER": (-(2**31), 2**31 - 1),
    "BIGINT": (-(2**63), 2**63 - 1),
    "HUGEINT": (-(2**127), 2**127 - 1),
    "UTINYINT": (0, 2**8 - 1),
    "USMALLINT": (0, 2**16 - 1),
    "UINTEGER": (0, 2**32 - 1),
    "UBIGINT": (0, 2**64 - 1),
    "UHUGEINT": (0, 2**128 - 1),
}
FLOATS = ("FLOAT", "DOUBLE")
# Types that are strings in JSON, with their format in a JSON Schema.
FORMATS = {
    "DATE": "date",
    "TIME": "time",
    "TIME WITH TIME ZONE": "time",
    "TIMESTAMP": "date-time",
    "TIMESTAMP_S": "date-time",
    "TIMESTAMP_MS": "date-time",
    "TIMESTAMP WITH TIME ZONE": "date-time",
    "UUID": "uuid",
}

# A JSON number is read as a double, which is exact to this many digits; a wider DECIMAL is sent as a string.
EXACT_DIGITS = 15


@dataclass(frozen=True)
class Scalar:
    """A type without parts, by DuckDB's own name for it: VARCHAR, BIGINT, TIMESTAMP WITH TIME ZONE."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Decimal:
    """A number with `precision` digits, `scale` of them after the point."""

    precision: int
    scale: int

    @property
    def is_text(self) -> bool:
        """Whether it is sent as a JSON string, because a JSON number would lose digits."""
        return self.precision > EXACT_DIGITS

    def __str__(self) -> str:
        return f"DECIMAL({self.precision},{self.scale})"


@dataclass(frozen=True)
class Enum:
    """One of a few texts."""

    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"ENUM({', '.join(map(quote_literal, self.values))})"


@dataclass(frozen=True)
class List:
    """A list, or with a size an array of that many elements.

    No element is NULL: a model leaves out an element that it has nothing to say about, and `len` counts the rest.
    """

    element: Type
    size: int | None = None

    def __str__(self) -> str:
        return f"{self.element}[{'' if self.size is None else self.size}]"


@dataclass(frozen=True)
class Struct:
    """Named fields, in order."""

    fields: tuple[Column, ...]

    def __str__(self) -> str:
        return f"STRUCT({', '.join(f'{quote_identifier(field.name)} {field.type}' for field in self.fields)})"


@dataclass(frozen=True)
class Json:
    """Any JSON value; `schema` is the JSON Schema, as text, that is sent to the model unchanged."""

    schema: str | None = None

    def __str__(self) -> str:
        return "JSON"


Type: TypeAlias = Scalar | Decimal | Enum | List | Struct | Json


@dataclass(frozen=True)
class Reference:
    """A column's name in a condition: the bytes from `start` to `end` of its text, and the column's number."""

    start: int
    end: int
    column: int


@dataclass(frozen=True)
class Check:
    """A condition, as written, and its references to columns; NULL satisfies it, as in SQL."""

    text: str
    references: tuple[Reference, ...] = ()

    def with_columns(self, sql: Callable[[int], str]) -> str:
        """Return the condition with each column replaced by `sql` of its number."""
        source = self.text.encode()
        for reference in reversed(self.references):
            source = source[: reference.start] + sql(reference.column).encode() + source[reference.end :]
        return source.decode()


@dataclass(frozen=True)
class Column:
    """A returned column, or a field of a STRUCT; its value may be NULL unless `not_null`.

    `comment` and the conditions in `check` are sent to the model.
    """

    name: str
    type: Type
    not_null: bool = False
    comment: str | None = None
    check: Check | None = None

    @property
    def sql_type(self) -> str:
        """The type as DuckDB reads it, for example `VARCHAR[]` or `STRUCT("x" INTEGER)`."""
        return str(self.type)

    @property
    def definition(self) -> str:
        """The column in the form that `--returns` reads."""
        parts = [quote_identifier(self.name), _definition(self.type)]
        if self.not_null:
            parts.append("NOT NULL")
        if self.check is not None:
            parts.append(f"CHECK ({self.check.text})")
        if self.comment is not None:
            parts.append(f"COMMENT {quote_literal(self.comment)}")
        return " ".join(parts)


def _definition(kind: Type) -> str:
    """Return a type in the form that `--returns` reads.

    DuckDB's text, with the constraints of fields inside a STRUCT.
    """
    match kind:
        case List():
            return f"{_definition(kind.element)}[{'' if kind.size is None else kind.size}]"
        case Struct():
            return f"STRUCT({', '.join(field.definition for field in kind.fields)})"
        case Json(schema) if schema is not None:
            return f"JSON({quote_literal(schema)})"
        case _:
            return str(kind)

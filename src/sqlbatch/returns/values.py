"""When the JSON value of a scalar is of its type, in SQL, and what a reason says where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch.db.sql import quote_literal
from sqlbatch.query.returns.kinds import FLOATS, INTEGERS, Decimal, Enum, Scalar, Type

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = 60  # characters of a wrong value or answer that a reason quotes

_DAY = r"\d{4}-\d{2}-\d{2}"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_ZONE = r"(?:[Zz]|[+-]\d{2}:\d{2})"
# How a value must be written, beside being one that DuckDB casts: its casts also take 'epoch', '2024-1-5' and '24:00'.
_WRITTEN = {
    "DATE": _DAY,
    "TIME": rf"{_CLOCK}(?:\.\d{{1,6}}0*)?{_ZONE}?",
    "TIME WITH TIME ZONE": rf"{_CLOCK}(?:\.\d{{1,6}}0*)?{_ZONE}",
    "TIMESTAMP": rf"{_DAY}[Tt ]{_CLOCK}(?:\.\d{{1,6}}0*)?{_ZONE}?",
    "TIMESTAMP_S": rf"{_DAY}[Tt ]{_CLOCK}(?:\.0+)?{_ZONE}?",
    "TIMESTAMP_MS": rf"{_DAY}[Tt ]{_CLOCK}(?:\.\d{{1,3}}0*)?{_ZONE}?",
    "TIMESTAMP WITH TIME ZONE": rf"{_DAY}[Tt ]{_CLOCK}(?:\.\d{{1,6}}0*)?{_ZONE}",
    "UUID": "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
}
# Of these the JSON type tells all.
TOLD_BY_JSON_TYPE = (Scalar("VARCHAR"), Scalar("BOOLEAN"))
_EXAMPLES = {
    "DATE": "2024-12-31",
    "TIME": "23:59:59",
    "TIME WITH TIME ZONE": "23:59:59+01:00",
    "TIMESTAMP": "2024-12-31T23:59:59",
    "TIMESTAMP_S": "2024-12-31T23:59:59",
    "TIMESTAMP_MS": "2024-12-31T23:59:59.999",
    "TIMESTAMP WITH TIME ZONE": "2024-12-31T23:59:59+01:00",
}


@dataclass(frozen=True)
class Value:
    """A JSON value in SQL: its JSON type (NULL where it is missing), its text, and the path that a reason names."""

    json_type: str
    text: str
    path: tuple[str, ...]  # SQL texts, to be joined

    def because(self, reason: str) -> str:
        """Return SQL of `path: reason`, the reason being SQL too."""
        return f"concat({', '.join(self.path)}, ': ', {reason})"

    def shown(self) -> str:
        """Return SQL of the value as a reason quotes it, in JSON's own writing."""
        shown = f"CASE {self.json_type} WHEN 'VARCHAR' THEN CAST(to_json({self.text}) AS VARCHAR) ELSE {self.text} END"
        return f"(CASE WHEN length({shown}) > {SHOWN} THEN left({shown}, {SHOWN}) || '…' ELSE {shown} END)"

    def is_not(self, what: str) -> str:
        """Return SQL of the reason that the value is not of some kind."""
        return self.because(f"{self.shown()}, {quote_literal(f' is not {what}')}")


def scalar_cases(kind: Type, value: Value) -> str:
    """Return the cases of a CASE that says what is wrong with a value that is there and not null."""
    condition, what = _condition(kind, value.json_type, value.text)
    out_of_range = ""
    if str(kind) in INTEGERS:
        whole = f"{_is_number(value.json_type)} AND {_is_whole(value.text)}"
        out_of_range = f"WHEN {whole} THEN " + value.because(f"{value.shown()}, ' is out of range for {kind}'")
    return f"WHEN {condition} THEN NULL {out_of_range} ELSE {value.is_not(what)}"


def _condition(kind: Type, json_type: str, text: str) -> tuple[str, str]:
    """Return when a value is of a type, in SQL, and what it should have been, in words."""
    cast = f"TRY_CAST({text} AS {kind})"
    match kind:
        case Enum():
            written, what = None, f"one of {_some(kind.values)}"
        case Decimal() if kind.is_text:
            written, what = rf"-?\d+(?:\.\d{{1,{kind.scale}}}0*)?" if kind.scale else r"-?\d+", f"a {kind} as text"
        case Decimal():
            # Division of two exact doubles is right to the last bit, so that any digit too many shows.
            number = f"TRY_CAST({text} AS DOUBLE)"
            return f"{_is_number(json_type)} AND {number} = CAST(TRY_CAST({number} AS {kind}) AS DOUBLE)", f"a {kind}"
        case Scalar(name) if name in INTEGERS:
            whole = f"{json_type} = 'DOUBLE' AND {_is_whole(text)}"
            return f"({json_type} IN ('UBIGINT', 'BIGINT') OR {whole}) AND {cast} IS NOT NULL", _article(name)
        case Scalar(name) if name in FLOATS:
            return f"{_is_number(json_type)} AND isfinite({cast})", _article(name)
        case _ if kind in TOLD_BY_JSON_TYPE:
            return f"{json_type} = '{kind}'", _article(str(kind))
        case _:
            written, example = _WRITTEN[str(kind)], _EXAMPLES.get(str(kind))
            what = _article(str(kind)) + (f" such as {example}" if example else "")
    matches = f"regexp_full_match({text}, {quote_literal(written)}) AND " if written else ""
    return f"{json_type} = 'VARCHAR' AND {matches}{cast} IS NOT NULL", what


def _is_number(json_type: str) -> str:
    return f"{json_type} IN ('UBIGINT', 'BIGINT', 'DOUBLE')"


def _is_whole(text: str) -> str:
    # 3.0 is an integer to JSON Schema, and exact up to 15 digits; integers beyond 64 bits come without a point.
    return rf"regexp_full_match({text}, '-?(?:\d+|\d{{1,15}}\.0)')"


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIO' else 'a'} {name}"


def _some(values: Sequence[str]) -> str:
    shown = ", ".join(quote_literal(value[:20]) for value in values[:5])
    return f"{shown} and {len(values) - 5} more" if len(values) > 5 else shown

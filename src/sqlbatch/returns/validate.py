"""SQL for the reason why an answer does not have the requested shape; NULL if it does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.returns.convert import literals, pointer, typed
from sqlbatch.returns.types import FLOATS, INTEGERS, Check, Column, Decimal, Enum, Json, List, Scalar, Struct, Type

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = 60  # characters of a wrong value or answer that a reason quotes

_DAY = r"\d{4}-\d{2}-\d{2}"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_ZONE = r"(?:[Zz]|[+-]\d{2}:\d{2})"
_MOMENT = rf"{_DAY}[Tt ]{_CLOCK}"
_MICROS = r"(?:\.\d{1,6}0*)?"
# How a value must be written, besides being castable in DuckDB, whose casts also accept 'epoch', '2024-1-5' and
# '24:00'; and an example.
_WRITTEN = {
    "DATE": (_DAY, "2024-12-31"),
    "TIME": (rf"{_CLOCK}{_MICROS}{_ZONE}?", "23:59:59"),
    "TIME WITH TIME ZONE": (rf"{_CLOCK}{_MICROS}{_ZONE}", "23:59:59+01:00"),
    "TIMESTAMP": (rf"{_MOMENT}{_MICROS}{_ZONE}?", "2024-12-31T23:59:59"),
    "TIMESTAMP_S": (rf"{_MOMENT}(?:\.0+)?{_ZONE}?", "2024-12-31T23:59:59"),
    "TIMESTAMP_MS": (rf"{_MOMENT}(?:\.\d{{1,3}}0*)?{_ZONE}?", "2024-12-31T23:59:59.999"),
    "TIMESTAMP WITH TIME ZONE": (rf"{_MOMENT}{_MICROS}{_ZONE}", "2024-12-31T23:59:59+01:00"),
    "UUID": ("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", ""),
}
# Types that are fully checked by their JSON type.
TOLD_BY_JSON_TYPE = (Scalar("VARCHAR"), Scalar("BOOLEAN"))

# DuckDB's JSON reader accepts a comma before a bracket, NaN and Infinity, which are not JSON. The first pattern quickly
# finds texts that may have one; then strings are replaced by 0, and the second pattern decides.
_COMMA = r",\s*[\]}]"
_MAYBE_LENIENT = _COMMA + r"|[,:\[]\s*-?(?i:nan|inf)"
_LENIENT = _COMMA + r"|(?i:nan|inf)"
_STRING = r'"(?:[^"\\]|\\.)*"'

_ANSWER = "sqlbatch_answer"
_ROOT = ("'$'",)
_NO_OBJECT = f"concat('$: ', left(trim({_ANSWER}), {SHOWN}), ' is not an object')"


def check_columns(columns: Sequence[Column], checks: Sequence[Check], content: str) -> str:
    """Return SQL for the reason against an answer, or NULL."""
    scope = _Scope(_ANSWER, 0)
    no_object = f"WHEN {scope.json_type('$')} <> 'OBJECT' THEN {_NO_OBJECT}"
    reasons = f"CASE {no_object} ELSE {_fields(columns, checks, scope, '', _ROOT)} END"
    any_json = any("JSON" in column.sql_type for column in columns)
    lenient = (_MAYBE_LENIENT, _LENIENT) if any_json else (_COMMA, _COMMA)
    checked = _in_json(content, scope.around(reasons), *lenient)
    plainly = None if checks else _plainly_right(columns, content)
    return f"CASE WHEN {plainly} THEN NULL ELSE {checked} END" if plainly else checked


def _plainly_right(columns: Sequence[Column], content: str) -> str | None:
    """Return SQL that is true only for valid answers, in half the time of the full check; None if there is none.

    It is for texts, booleans and lists of them. DuckDB's structure of a document ignores nulls in lists and duplicate
    keys, so these are checked separately; all other answers go to the full check.
    """
    structure: dict[str, object] = {}
    for column in columns:
        kind = column.type.element if isinstance(column.type, List) and column.type.size is None else column.type
        if column.check or kind not in TOLD_BY_JSON_TYPE:
            return None
        structure[column.name] = [str(kind)] if isinstance(column.type, List) else str(kind)
    expected = quote_literal(json.dumps(structure, ensure_ascii=False, separators=(",", ":")))
    return (
        f"coalesce(TRY(json_structure({content}))::VARCHAR = {expected} "
        f"AND len(TRY(json_keys({content}))) = {len(columns)} AND NOT contains({content}, 'null') "
        f"AND NOT regexp_matches({content}, {quote_literal(_COMMA)}), false)"
    )


def check_json(content: str) -> str:
    """Return SQL for the reason against an answer in JSON mode, which may be any JSON object, or NULL."""
    inner = f"CASE WHEN json_type({_ANSWER}) <> 'OBJECT' THEN {_NO_OBJECT} END"
    return _in_json(content, inner, _MAYBE_LENIENT, _LENIENT)


def check_vector(content: str, vector: str, column: Column) -> str:
    """Return SQL for the reason against a vector, or NULL; anything but a list of numbers has arrived as NULL."""
    length = column.type.size if isinstance(column.type, List) else None
    return (
        f"CASE WHEN {vector} IS NULL THEN concat('not a list of numbers: ', left({content}, {SHOWN})) "
        f"WHEN len({vector}) <> {length} THEN concat('a vector of ', len({vector}), ' numbers, not {length}') "
        f"WHEN list_count({vector}) < len({vector}) OR NOT isfinite(list_sum({vector})) "
        "THEN 'a value of the vector is no number' END"
    )


def _in_json(content: str, inner: str, maybe_lenient: str, lenient: str) -> str:
    """Return SQL for the reason against an answer that is not JSON; for one that is, `inner` gives it.

    A list of one element with a lambda over it gives an expression a name in SQL: here the answer, below its parts.
    """
    stripped = f"regexp_replace({_ANSWER}, {quote_literal(_STRING)}, '0', 'g')"
    start = rf"left(trim(regexp_replace({_ANSWER}, '\s+', ' ', 'g')), {SHOWN})"
    no_json = f"concat('not JSON: ', coalesce(nullif({start}, ''), 'an empty text'))"
    return (
        f"list_transform([{content}], lambda {_ANSWER}: CASE "
        f"WHEN {_ANSWER} IS NULL THEN 'not JSON: no text' "
        f"WHEN NOT json_valid({_ANSWER}) THEN {no_json} "
        f"WHEN regexp_matches({_ANSWER}, {quote_literal(maybe_lenient)}) "
        f"AND regexp_matches({stripped}, {quote_literal(lenient)}) THEN {no_json} "
        f"ELSE {inner} END)[1]"
    )


class _Scope:
    """The parts of one JSON document that are read at once, into the parameter of a lambda.

    Its field `t` has the JSON types of the parts, and `v` the texts of those that are needed even in a valid answer.
    """

    def __init__(self, document: str, depth: int) -> None:
        self.document = document
        self.depth = depth
        self._name = f"sqlbatch_parts_{depth}"
        self._types: dict[str, int] = {}
        self._texts: dict[str, int] = {}

    def json_type(self, path: str) -> str:
        return f"{self._name}.t[{self._types.setdefault(path, len(self._types) + 1)}]"

    def text(self, path: str) -> str:
        return f"{self._name}.v[{self._texts.setdefault(path, len(self._texts) + 1)}]"

    def rare_text(self, path: str) -> str:
        return f"json_extract_string({self.document}, {quote_literal(path)})"

    def around(self, inner: str) -> str:
        """Return SQL that reads the parts requested so far, then evaluates what `inner` makes of them."""
        parts = f"t := json_type({self.document}, {literals(self._types)})"
        if self._texts:
            parts += f", v := json_extract_string({self.document}, {literals(self._texts)})"
        return f"list_transform([struct_pack({parts})], lambda {self._name}: {inner})[1]"


def _fields(
    columns: Sequence[Column], checks: Sequence[Check], scope: _Scope, pointed: str, path: tuple[str, ...]
) -> str:
    """Return SQL for the first reason against the fields of the object at a JSON pointer."""
    conditions: list[tuple[int | None, Check]] = [(i, column.check) for i, column in enumerate(columns) if column.check]
    conditions += [(None, check) for check in checks]
    named = {reference.column for _, check in conditions for reference in check.references}
    values: list[Value] = []
    reasons: list[str] = []
    for i, column in enumerate(columns):
        place = pointed + pointer(column)
        rare = i not in named and (column.type in TOLD_BY_JSON_TYPE or isinstance(column.type, Struct))
        text = scope.rare_text(place) if rare else scope.text(place)
        value = Value(scope.json_type(place), text, (*path, _step(column.name)))
        missing = value.because("'missing'")
        null = value.because("'null, but it is NOT NULL'") if column.not_null else "NULL"
        reasons.append(
            f"CASE WHEN {value.json_type} IS NULL THEN {missing} "
            f"WHEN {value.json_type} = 'NULL' THEN {null} {_cases(column.type, value, scope, place)} END"
        )
        values.append(value)
    reasons.append(_twice(columns, scope, pointed, path))
    reasons += [_violated(check, columns, values, None if i is None else values[i], path) for i, check in conditions]
    return f"coalesce({', '.join(reasons)})"


def _cases(kind: Type, value: Value, scope: _Scope, pointed: str) -> str:
    """Return the cases of a CASE that says what is wrong with a value that exists and is not null."""
    match kind:
        case List():
            return _list_cases(kind, value, scope.depth + 1)
        case Struct():
            no_object = f"WHEN {value.json_type} <> 'OBJECT' THEN {value.is_not('an object')}"
            return f"{no_object} ELSE {_fields(kind.fields, (), scope, pointed, value.path)}"
        case _:
            return _scalar_cases(kind, value)


def _list_cases(kind: List, value: Value, depth: int) -> str:
    element, index = f"sqlbatch_element_{depth}", f"sqlbatch_index_{depth}"
    path = (*value.path, "'['", f"{index} - 1", "']'")
    inner = Value(f"json_type({element})", f"json_extract_string({element}, '$')", path)
    cases = f"WHEN {value.json_type} <> 'ARRAY' THEN {value.is_not('a list')} "
    if kind.size is not None:
        count = f"json_array_length({value.text})"
        wrong = value.because(f"{count}, ' elements, not {kind.size}'")
        cases += f"WHEN {count} <> {kind.size} THEN {wrong} "
    if isinstance(kind.element, Struct):
        scope = _Scope(element, depth)
        fields = _fields(kind.element.fields, (), scope, "", path)
        of_element = f"WHEN {inner.json_type} <> 'OBJECT' THEN {inner.is_not('an object')} ELSE {scope.around(fields)}"
    elif isinstance(kind.element, List):
        of_element = _list_cases(kind.element, inner, depth + 1)
    else:
        of_element = _scalar_cases(kind.element, inner)
    null = inner.because("'null, and a list has no nulls here'")
    reason = f"CASE WHEN {inner.json_type} = 'NULL' THEN {null} {of_element} END"
    reasons = f"list_transform(json_extract({value.text}, '$[*]'), lambda {element}, {index}: {reason})"
    return f"{cases} ELSE list_filter({reasons}, lambda sqlbatch_reason: sqlbatch_reason IS NOT NULL)[1]"


def _twice(columns: Sequence[Column], scope: _Scope, pointed: str, path: tuple[str, ...]) -> str:
    """Return SQL for the reason against a duplicate key; an object has one only if it has more keys than columns."""
    keys = f"json_keys({scope.document}, {quote_literal(pointed)})" if pointed else f"json_keys({scope.document})"
    key, other = f"sqlbatch_key_{scope.depth}", f"sqlbatch_other_{scope.depth}"
    count = f"len(list_filter({keys}, lambda {other}: {other} = {key}))"
    twice = f"list_filter({literals(column.name for column in columns)}, lambda {key}: {count} > 1)[1]"
    reason = Value("", "", path).because(f"'the key ', to_json({twice}), ' occurs twice'")
    return f"CASE WHEN len({keys}) > {len(columns)} AND {twice} IS NOT NULL THEN {reason} END"


def _violated(
    check: Check, columns: Sequence[Column], values: Sequence[Value], own: Value | None, path: tuple[str, ...]
) -> str:
    """Return SQL for the reason against values that violate a CHECK; as in SQL, NULL passes."""
    row = "sqlbatch_row"
    used = sorted({reference.column for reference in check.references})
    named = ", ".join(f"c{i} := {_value(columns[i].type, values[i])}" for i in used)
    condition = check.with_columns(lambda i: f"({row}.c{i})")
    # An error in the condition must not end the query, and must not count as NULL.
    holds = f"TRY(coalesce(CAST(({condition}) AS BOOLEAN), true))"
    if used:
        holds = f"list_transform([struct_pack({named})], lambda {row}: {holds})[1]"
    value = own or Value("", "", path)
    shown = f"{own.shown()}, ' violates '" if own else "'violates '"
    label = quote_literal(f"CHECK ({check.text})")
    violated, failed = value.because(f"{shown}, {label}"), value.because(f"{label}, ' cannot be evaluated'")
    return f"CASE {holds} WHEN true THEN NULL WHEN false THEN {violated} ELSE {failed} END"


def _value(kind: Type, value: Value) -> str:
    """Return SQL of a value as a condition reads it."""
    if isinstance(kind, Json):
        return (
            f"CASE {value.json_type} WHEN 'VARCHAR' THEN to_json({value.text}) ELSE TRY_CAST({value.text} AS JSON) END"
        )
    return typed(kind, value.text)


def _step(name: str) -> str:
    """Return SQL of a step into a field, as a reason writes it: `.genre`, or `."a b"`."""
    return quote_literal("." + (name if name.isidentifier() else quote_identifier(name)))


@dataclass(frozen=True)
class Value:
    """A JSON value in SQL: its JSON type (NULL if it is missing), its text, and its path for the reason."""

    json_type: str
    text: str
    path: tuple[str, ...]  # SQL texts, to be joined

    def because(self, reason: str) -> str:
        """Return SQL of `path: reason`; the reason is SQL too."""
        return f"concat({', '.join(self.path)}, ': ', {reason})"

    def shown(self) -> str:
        """Return SQL of the value as a reason quotes it, as JSON."""
        shown = f"CASE {self.json_type} WHEN 'VARCHAR' THEN CAST(to_json({self.text}) AS VARCHAR) ELSE {self.text} END"
        return f"(CASE WHEN length({shown}) > {SHOWN} THEN left({shown}, {SHOWN}) || '…' ELSE {shown} END)"

    def is_not(self, what: str) -> str:
        """Return SQL of the reason that the value is not of some kind."""
        return self.because(f"{self.shown()}, {quote_literal(f' is not {what}')}")


def _scalar_cases(kind: Type, value: Value) -> str:
    """Return the cases of a CASE that says what is wrong with a value that exists and is not null."""
    if isinstance(kind, Json):
        return ""
    condition, what = _condition(kind, value.json_type, value.text)
    out_of_range = ""
    if str(kind) in INTEGERS:
        whole = f"{_is_number(value.json_type)} AND {_is_whole(value.text)}"
        out_of_range = f"WHEN {whole} THEN " + value.because(f"{value.shown()}, ' is out of range for {kind}'")
    return f"WHEN {condition} THEN NULL {out_of_range} ELSE {value.is_not(what)}"


def _condition(kind: Type, json_type: str, text: str) -> tuple[str, str]:
    """Return the SQL condition under which a value is of a type, and the type in words."""
    cast = f"TRY_CAST({text} AS {kind})"
    match kind:
        case Enum():
            written, what = None, f"one of {_some(kind.values)}"
        case Decimal() if kind.is_text:
            written, what = rf"-?\d+(?:\.\d{{1,{kind.scale}}}0*)?" if kind.scale else r"-?\d+", f"a {kind} as text"
        case Decimal():
            # Dividing two exact doubles is right to the last bit, so any extra digit shows.
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
            written, example = _WRITTEN[str(kind)]
            what = _article(str(kind)) + (f" such as {example}" if example else "")
    matches = f"regexp_full_match({text}, {quote_literal(written)}) AND " if written else ""
    return f"{json_type} = 'VARCHAR' AND {matches}{cast} IS NOT NULL", what


def _is_number(json_type: str) -> str:
    return f"{json_type} IN ('UBIGINT', 'BIGINT', 'DOUBLE')"


def _is_whole(text: str) -> str:
    # In JSON Schema 3.0 is an integer, and exact up to 15 digits; integers beyond 64 bits have no point.
    return rf"regexp_full_match({text}, '-?(?:\d+|\d{{1,15}}\.0)')"


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIO' else 'a'} {name}"


def _some(values: Sequence[str]) -> str:
    shown = ", ".join(quote_literal(value[:20]) for value in values[:5])
    return f"{shown} and {len(values) - 5} more" if len(values) > 5 else shown

"""The reason why an answer has not the asked-for shape, in SQL; NULL where it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch.query.returns.kinds import FLOATS, INTEGERS, Decimal, Enum, Field, List, Scalar, Struct, Type
from sqlbatch.query.returns.typed import pointer, pointers, typed
from sqlbatch.store.queries import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.query.returns.conditions import Check

_SHOWN = 60  # characters of a wrong value or answer that a reason quotes

# What DuckDB's JSON reader takes and JSON does not have: a comma before a bracket, and NaN or Infinity, which columns refuse
# as values. The first pattern finds fast who may have it; then strings are made 0, and the second decides.
_COMMA = r",\s*[\]}]"
_MAYBE_LENIENT = _COMMA + r"|[,:\[]\s*-?(?i:nan|inf)"
_LENIENT = _COMMA + r"|(?i:nan|inf)"
_STRING = r'"(?:[^"\\]|\\.)*"'

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
_TOLD_BY_JSON_TYPE = (Scalar("VARCHAR"), Scalar("BOOLEAN"))
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
class _Value:
    """A JSON value in SQL: its JSON type (NULL where it is missing), its text, and the path that a reason names."""

    json_type: str
    text: str
    path: tuple[str, ...]  # SQL texts, to be joined
    depth: int  # how many lambdas it stands in

    def because(self, reason: str) -> str:
        """Return SQL of `path: reason`, the reason being SQL too."""
        return f"concat({', '.join(self.path)}, ': ', {reason})"

    def shown(self) -> str:
        """Return SQL of the value as a reason quotes it, in JSON's own writing."""
        json = f"CASE {self.json_type} WHEN 'VARCHAR' THEN CAST(to_json({self.text}) AS VARCHAR) ELSE {self.text} END"
        return f"left({json}, {_SHOWN})"


_ANSWER = "sqlbatch_answer"
# As text the root is the answer itself: a reason quotes it, and its parts are read from it, as it came.
_ROOT = _Value(f"json_type({_ANSWER})", _ANSWER, ("'$'",), 0)


def check_columns(fields: Sequence[Field], checks: Sequence[Check], content: str) -> str:
    """Return SQL that gives the reason against an answer, or NULL."""
    return _in_json(content, _object(fields, _ROOT, checks), _COMMA, _COMMA)


def check_json(content: str) -> str:
    """Return SQL that gives the reason against an answer of JSON mode, which is any JSON object, or NULL."""
    inner = f"CASE WHEN {_ROOT.json_type} <> 'OBJECT' THEN {_is_not(_ROOT, 'an object')} END"
    return _in_json(content, inner, _MAYBE_LENIENT, _LENIENT)


def _in_json(content: str, inner: str, maybe_lenient: str, lenient: str) -> str:
    """Return SQL of the reason against an answer that is no JSON; `inner` is asked about one that is."""
    stripped = f"regexp_replace({_ANSWER}, {quote_literal(_STRING)}, '0', 'g')"
    no_json = rf"concat('not JSON: ', left(trim(regexp_replace({_ANSWER}, '\s+', ' ', 'g')), {_SHOWN}))"
    return (
        f"list_transform([{content}], lambda {_ANSWER}: CASE "
        f"WHEN {_ANSWER} IS NULL THEN 'not JSON: no text' "
        f"WHEN NOT json_valid({_ANSWER}) THEN {no_json} "
        f"WHEN regexp_matches({_ANSWER}, {quote_literal(maybe_lenient)}) "
        f"AND regexp_matches({stripped}, {quote_literal(lenient)}) THEN {no_json} "
        f"ELSE {inner} END)[1]"
    )


def _object(fields: Sequence[Field], value: _Value, checks: Sequence[Check] = ()) -> str:
    """Return SQL of the reason against the fields of an object, which are read once, into a lambda's parameter.

    That has the JSON types `t`, of the object itself and of its fields, and the texts `v` of those fields that need one
    even if all is well.
    """
    here = f"sqlbatch_object_{value.depth}"
    named = {reference.column for check in checks for reference in check.references}
    read = [i for i, field in enumerate(fields) if i in named or field.type not in _TOLD_BY_JSON_TYPE]
    values = [
        _Value(
            f"{here}.t[{i + 2}]",
            f"{here}.v[{read.index(i) + 1}]"
            if i in read
            else f"json_extract_string({value.text}, {quote_literal(pointer(field))})",
            (*value.path, _step(field.name)),
            value.depth + 1,
        )
        for i, field in enumerate(fields)
    ]
    reasons = [_field(field, part) for field, part in zip(fields, values, strict=True)]
    reasons.append(_twice(fields, value))
    reasons.extend(_violated(check, fields, values) for check in checks)
    parts = f"t := json_type({value.text}, {pointers(fields, '$')})"
    if read:
        parts += f", v := json_extract_string({value.text}, {pointers([fields[i] for i in read])})"
    return (
        f"list_transform([struct_pack({parts})], lambda {here}: CASE "
        f"WHEN {here}.t[1] <> 'OBJECT' THEN {_is_not(value, 'an object')} ELSE coalesce({', '.join(reasons)}) END)[1]"
    )


def _field(field: Field, value: _Value) -> str:
    null = value.because("'null, but it is NOT NULL'") if field.not_null else "NULL"
    return (
        f"CASE WHEN {value.json_type} IS NULL THEN {value.because(quote_literal('missing'))} "
        f"WHEN {value.json_type} = 'NULL' THEN {null} {_cases(field.type, value)} END"
    )


def _cases(kind: Type, value: _Value) -> str:
    """Return the cases of a CASE that says what is wrong with a value that is there and not null."""
    match kind:
        case List():
            return _list_cases(kind, value)
        case Struct():
            wrong = f"WHEN {value.json_type} <> 'OBJECT' THEN {_is_not(value, 'an object')}"
            return f"{wrong} ELSE {_object(kind.fields, value)}"
        case _:
            condition, what = _scalar(kind, value)
            return f"WHEN {condition} THEN NULL {_range_case(kind, value)} ELSE {_is_not(value, what)}"


def _is_not(value: _Value, what: str) -> str:
    return value.because(f"{value.shown()}, {quote_literal(f' is not {what}')}")


def _scalar(kind: Type, value: _Value) -> tuple[str, str]:
    """Return when a value is of a type, in SQL, and what it should have been, in words."""
    json_type, text = value.json_type, value.text
    cast = f"TRY_CAST({text} AS {kind})"
    match kind:
        case Enum():
            return f"{json_type} = 'VARCHAR' AND {cast} IS NOT NULL", f"one of {_some(kind.values)}"
        case Decimal() if kind.is_text:
            digits = rf"-?\d+(?:\.\d{{1,{kind.scale}}}0*)?" if kind.scale else r"-?\d+"
            written = f"regexp_full_match({text}, {quote_literal(digits)})"
            return f"{json_type} = 'VARCHAR' AND {written} AND {cast} IS NOT NULL", f"a {kind} as text"
        case Decimal():
            # Division of two exact doubles is right to the last bit, so that any digit too many shows.
            return f"{_is_number(json_type)} AND TRY_CAST({text} AS DOUBLE) = CAST({cast} AS DOUBLE)", f"a {kind}"
        case Scalar(name) if name in INTEGERS:
            whole = f"{json_type} = 'DOUBLE' AND {_is_whole(text)}"
            return f"({json_type} IN ('UBIGINT', 'BIGINT') OR {whole}) AND {cast} IS NOT NULL", _article(name)
        case Scalar(name) if name in FLOATS:
            return f"{_is_number(json_type)} AND isfinite({cast})", _article(name)
        case Scalar(name) if name in _WRITTEN:
            written = f"regexp_full_match({text}, {quote_literal(_WRITTEN[name])})"
            example = f" such as {_EXAMPLES[name]}" if name in _EXAMPLES else ""
            return f"{json_type} = 'VARCHAR' AND {written} AND {cast} IS NOT NULL", f"a {name}{example}"
        case _:
            return f"{json_type} = {quote_literal(str(kind))}", _article(str(kind))


def _range_case(kind: Type, value: _Value) -> str:
    """Return the case of a whole number that is too large or too small for an integer type."""
    if str(kind) not in INTEGERS:
        return ""
    whole = f"{value.json_type} IN ('UBIGINT', 'BIGINT', 'DOUBLE') AND {_is_whole(value.text)}"
    return f"WHEN {whole} THEN " + value.because(f"{value.shown()}, ' is out of range for {kind}'")


def _is_number(json_type: str) -> str:
    return f"{json_type} IN ('UBIGINT', 'BIGINT', 'DOUBLE')"


def _is_whole(text: str) -> str:
    # 3.0 is an integer to JSON Schema, and exact up to 15 digits; integers beyond 64 bits keep their digits and have no point.
    return rf"regexp_full_match({text}, '-?(?:\d+|\d{{1,15}}\.0)')"


def _list_cases(kind: List, value: _Value) -> str:
    element, index = f"sqlbatch_element_{value.depth}", f"sqlbatch_index_{value.depth}"
    inner = _Value(
        f"json_type({element})",
        f"json_extract_string({element}, '$')",
        (*value.path, "'['", f"{index} - 1", "']'"),
        value.depth + 1,
    )
    cases = f"WHEN {value.json_type} <> 'ARRAY' THEN {_is_not(value, 'a list')} "
    if kind.size is not None:
        count = f"json_array_length({value.text})"
        wrong = value.because(f"{count}, ' elements, not {kind.size}'")
        cases += f"WHEN {count} <> {kind.size} THEN {wrong} "
    null = f"WHEN {inner.json_type} = 'NULL' THEN {inner.because(quote_literal('null, and a list has no nulls here'))}"
    reason = f"CASE {null} {_cases(kind.element, inner)} END"
    reasons = f"list_transform(json_extract({value.text}, '$[*]'), lambda {element}, {index}: {reason})"
    return f"{cases} ELSE list_filter({reasons}, lambda sqlbatch_reason: sqlbatch_reason IS NOT NULL)[1]"


def _twice(fields: Sequence[Field], value: _Value) -> str:
    """Return SQL of the reason against a key that occurs twice, which only an object of more keys than fields can have."""
    keys, key, other = f"json_keys({value.text})", f"sqlbatch_key_{value.depth}", f"sqlbatch_other_{value.depth}"
    names = f"[{', '.join(quote_literal(field.name) for field in fields)}]"
    count = f"len(list_filter({keys}, lambda {other}: {other} = {key}))"
    twice = f"list_filter({names}, lambda {key}: {count} > 1)[1]"
    reason = value.because(f"'the key ', to_json({twice}), ' occurs twice'")
    return f"CASE WHEN len({keys}) > {len(fields)} AND {twice} IS NOT NULL THEN {reason} END"


def _violated(check: Check, fields: Sequence[Field], values: Sequence[_Value]) -> str:
    """Return SQL of the reason against values that a CHECK does not hold for; as in SQL, NULL passes."""
    row = "sqlbatch_row"
    used = sorted({reference.column for reference in check.references})
    typed_values = ", ".join(f"c{i} := {typed(fields[i].type, values[i].text)}" for i in used)
    condition = check.with_columns(lambda column: f"({row}.c{column})")
    label = quote_literal(f"CHECK ({check.text})")
    value = values[check.column] if check.column is not None else None
    path = value.path if value else ("'$'",)
    shown = f"{value.shown()}, ' violates '" if value else "'it violates '"
    holds = f"TRY(coalesce(CAST(({condition}) AS BOOLEAN), true))"
    if used:
        holds = f"list_transform([struct_pack({typed_values})], lambda {row}: {holds})[1]"
    return (
        f"CASE {holds} WHEN true THEN NULL "
        f"WHEN false THEN concat({', '.join(path)}, ': ', {shown}, {label}) "
        f"ELSE concat({', '.join(path)}, ': ', {label}, ' cannot be evaluated') END"
    )


def _step(name: str) -> str:
    """Return SQL of a step into a field, as a reason writes it: `.genre`, or `."a b"`."""
    plain = name.isidentifier()
    return quote_literal("." + (name if plain else quote_identifier(name)))


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIO' else 'a'} {name}"


def _some(values: Sequence[str]) -> str:
    shown = ", ".join(quote_literal(value[:20]) for value in values[:5])
    return f"{shown} and {len(values) - 5} more" if len(values) > 5 else shown

"""The reason why an answer has not the asked-for shape, in SQL; NULL where it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlbatch.query.returns.kinds import Check, Column, List, Struct, Type
from sqlbatch.query.returns.typed import pointer, pointers, typed
from sqlbatch.query.returns.values import SHOWN, TOLD_BY_JSON_TYPE, Value, scalar_cases
from sqlbatch.store.queries import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Sequence

# What DuckDB's JSON reader takes and JSON does not have: a comma before a bracket, and NaN or Infinity, which columns
# refuse as values. The first pattern finds fast who may have it; then strings are made 0, and the second decides.
_COMMA = r",\s*[\]}]"
_MAYBE_LENIENT = _COMMA + r"|[,:\[]\s*-?(?i:nan|inf)"
_LENIENT = _COMMA + r"|(?i:nan|inf)"
_STRING = r'"(?:[^"\\]|\\.)*"'

_ANSWER = "sqlbatch_answer"
_ROOT = Value(f"json_type({_ANSWER})", _ANSWER, ("'$'",), 0)
_NO_OBJECT = f"concat('$: ', left(trim({_ANSWER}), {SHOWN}), ' is not an object')"


def check_columns(columns: Sequence[Column], checks: Sequence[Check], content: str) -> str:
    """Return SQL that gives the reason against an answer, or NULL."""
    return _in_json(content, _object(columns, _ROOT, checks), _COMMA, _COMMA)


def check_json(content: str) -> str:
    """Return SQL that gives the reason against an answer of JSON mode, which is any JSON object, or NULL."""
    inner = f"CASE WHEN {_ROOT.json_type} <> 'OBJECT' THEN {_NO_OBJECT} END"
    return _in_json(content, inner, _MAYBE_LENIENT, _LENIENT)


def _in_json(content: str, inner: str, maybe_lenient: str, lenient: str) -> str:
    """Return SQL of the reason against an answer that is no JSON; `inner` is asked about one that is.

    A list of one with a lambda over it is how an expression gets a name in SQL: the answer here, its parts below.
    """
    stripped = f"regexp_replace({_ANSWER}, {quote_literal(_STRING)}, '0', 'g')"
    no_json = rf"concat('not JSON: ', left(trim(regexp_replace({_ANSWER}, '\s+', ' ', 'g')), {SHOWN}))"
    return (
        f"list_transform([{content}], lambda {_ANSWER}: CASE "
        f"WHEN {_ANSWER} IS NULL THEN 'not JSON: no text' "
        f"WHEN NOT json_valid({_ANSWER}) THEN {no_json} "
        f"WHEN regexp_matches({_ANSWER}, {quote_literal(maybe_lenient)}) "
        f"AND regexp_matches({stripped}, {quote_literal(lenient)}) THEN {no_json} "
        f"ELSE {inner} END)[1]"
    )


def _object(columns: Sequence[Column], value: Value, checks: Sequence[Check] = ()) -> str:
    """Return SQL of the reason against the fields of an object, which are read once, into a lambda's parameter.

    That has the JSON types `t`, of the object itself and of its fields, and the texts `v` of those fields that need one
    even if all is well.
    """
    here = f"sqlbatch_object_{value.depth}"
    conditions = [*(column.check for column in columns if column.check), *checks]
    named = {reference.column for check in conditions for reference in check.references}
    read = [i for i, column in enumerate(columns) if i in named or column.type not in TOLD_BY_JSON_TYPE]
    texts = {i: f"{here}.v[{place}]" for place, i in enumerate(read, 1)}
    values = [
        Value(
            f"{here}.t[{i + 2}]",
            texts.get(i) or f"json_extract_string({value.text}, {quote_literal(pointer(column))})",
            (*value.path, _step(column.name)),
            value.depth + 1,
        )
        for i, column in enumerate(columns)
    ]
    reasons = [_column(column, part) for column, part in zip(columns, values, strict=True)]
    reasons.append(_twice(columns, value))
    reasons += [_violated(column.check, columns, values, i) for i, column in enumerate(columns) if column.check]
    reasons += [_violated(check, columns, values, None) for check in checks]
    parts = f"t := json_type({value.text}, {pointers(columns, '$')})"
    if read:
        parts += f", v := json_extract_string({value.text}, {pointers([columns[i] for i in read])})"
    return (
        f"list_transform([struct_pack({parts})], lambda {here}: CASE "
        f"WHEN {here}.t[1] <> 'OBJECT' THEN {_NO_OBJECT} ELSE coalesce({', '.join(reasons)}) END)[1]"
    )


def _column(column: Column, value: Value) -> str:
    null = value.because("'null, but it is NOT NULL'") if column.not_null else "NULL"
    return (
        f"CASE WHEN {value.json_type} IS NULL THEN {value.because(quote_literal('missing'))} "
        f"WHEN {value.json_type} = 'NULL' THEN {null} {_cases(column.type, value)} END"
    )


def _cases(kind: Type, value: Value) -> str:
    """Return the cases of a CASE that says what is wrong with a value that is there and not null."""
    match kind:
        case List():
            return _list_cases(kind, value)
        case Struct():
            no_object = f"WHEN {value.json_type} <> 'OBJECT' THEN {value.is_not('an object')}"
            return f"{no_object} ELSE {_object(kind.fields, value)}"
        case _:
            return scalar_cases(kind, value)


def _list_cases(kind: List, value: Value) -> str:
    element, index = f"sqlbatch_element_{value.depth}", f"sqlbatch_index_{value.depth}"
    inner = Value(
        f"json_type({element})",
        f"json_extract_string({element}, '$')",
        (*value.path, "'['", f"{index} - 1", "']'"),
        value.depth + 1,
    )
    cases = f"WHEN {value.json_type} <> 'ARRAY' THEN {value.is_not('a list')} "
    if kind.size is not None:
        count = f"json_array_length({value.text})"
        wrong = value.because(f"{count}, ' elements, not {kind.size}'")
        cases += f"WHEN {count} <> {kind.size} THEN {wrong} "
    null = f"WHEN {inner.json_type} = 'NULL' THEN {inner.because(quote_literal('null, and a list has no nulls here'))}"
    reason = f"CASE {null} {_cases(kind.element, inner)} END"
    reasons = f"list_transform(json_extract({value.text}, '$[*]'), lambda {element}, {index}: {reason})"
    return f"{cases} ELSE list_filter({reasons}, lambda sqlbatch_reason: sqlbatch_reason IS NOT NULL)[1]"


def _twice(columns: Sequence[Column], value: Value) -> str:
    """Return SQL of the reason against a key that occurs twice, which takes more keys than columns."""
    keys, key, other = f"json_keys({value.text})", f"sqlbatch_key_{value.depth}", f"sqlbatch_other_{value.depth}"
    names = f"[{', '.join(quote_literal(column.name) for column in columns)}]"
    count = f"len(list_filter({keys}, lambda {other}: {other} = {key}))"
    twice = f"list_filter({names}, lambda {key}: {count} > 1)[1]"
    reason = value.because(f"'the key ', to_json({twice}), ' occurs twice'")
    return f"CASE WHEN len({keys}) > {len(columns)} AND {twice} IS NOT NULL THEN {reason} END"


def _violated(check: Check, columns: Sequence[Column], values: Sequence[Value], own: int | None) -> str:
    """Return SQL of the reason against values that a CHECK does not hold for; as in SQL, NULL passes."""
    row = "sqlbatch_row"
    used = sorted({reference.column for reference in check.references})
    named = ", ".join(f"c{i} := {typed(columns[i].type, values[i].text)}" for i in used)
    condition = check.with_columns(lambda i: f"({row}.c{i})")
    # An error in the condition must not end the query, and must not pass for NULL.
    holds = f"TRY(coalesce(CAST(({condition}) AS BOOLEAN), true))"
    if used:
        holds = f"list_transform([struct_pack({named})], lambda {row}: {holds})[1]"
    value = values[own] if own is not None else Value("''", "''", values[0].path[:-1], 0)
    shown = f"{value.shown()}, ' violates '" if own is not None else "'violates '"
    label = quote_literal(f"CHECK ({check.text})")
    violated, failed = value.because(f"{shown}, {label}"), value.because(f"{label}, ' cannot be evaluated'")
    return f"CASE {holds} WHEN true THEN NULL WHEN false THEN {violated} ELSE {failed} END"


def _step(name: str) -> str:
    """Return SQL of a step into a field, as a reason writes it: `.genre`, or `."a b"`."""
    return quote_literal("." + (name if name.isidentifier() else quote_identifier(name)))

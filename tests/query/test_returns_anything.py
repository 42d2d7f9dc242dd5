"""Whatever the names, types, values and texts: what a model says arrives exactly, and nothing raises."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.returns import parse_returns
from tests.query.returns_support import connection, is_valid, reason, reasons, schema_of, typed

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
# A NUL cannot be part of SQL.
SQL_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
NAMES = SQL_TEXTS.filter(bool)


def integers(name: str, least: int, greatest: int) -> tuple[str, st.SearchStrategy[Any]]:
    """Return an integer type and its values."""
    return name, st.integers(least, greatest)


SCALARS: list[tuple[str, st.SearchStrategy[Any]]] = [
    ("VARCHAR", TEXTS),
    ("BOOLEAN", st.booleans()),
    integers("TINYINT", -128, 127),
    integers("BIGINT", -(2**63), 2**63 - 1),
    integers("UBIGINT", 0, 2**64 - 1),
    integers("HUGEINT", -(2**127), 2**127 - 1),
    ("DOUBLE", st.floats(allow_nan=False, allow_infinity=False)),
    ("DECIMAL(15,4)", st.decimals(-(10**11) + 1, 10**11 - 1, places=4)),
    ("DECIMAL(38,10)", st.decimals(-(10**27), 10**27, places=10)),
    ("DATE", st.dates(dt.date(1, 1, 1))),
    ("TIMESTAMP", st.datetimes(dt.datetime(1, 1, 1))),  # noqa: DTZ001 - a timestamp without time zone
    ("UUID", st.uuids()),
]


@st.composite
def enums(draw: st.DrawFn) -> tuple[str, st.SearchStrategy[Any]]:
    """Draw an ENUM and its values."""
    values = draw(st.lists(SQL_TEXTS, min_size=1, max_size=5, unique=True))
    return f"ENUM({', '.join(map(quote_literal, values))})", st.sampled_from(values)


def lists(inner: st.SearchStrategy[tuple[str, Any]]) -> st.SearchStrategy[tuple[str, Any]]:
    """Draw lists of a drawn type."""
    return inner.map(lambda drawn: (f"{drawn[0]}[]", st.lists(drawn[1], max_size=3)))


def structs(inner: st.SearchStrategy[tuple[str, Any]]) -> st.SearchStrategy[tuple[str, Any]]:
    """Draw STRUCTs of drawn types."""
    fields = st.dictionaries(NAMES.map(str.casefold), inner, min_size=1, max_size=3)
    return fields.map(
        lambda drawn: (
            f"STRUCT({', '.join(f'{quote_identifier(name)} {sql}' for name, (sql, _) in drawn.items())})",
            st.fixed_dictionaries({name: st.none() | values for name, (_, values) in drawn.items()}),
        )
    )


TYPES: st.SearchStrategy[tuple[str, Any]] = st.recursive(
    st.sampled_from(SCALARS) | enums(), lambda inner: lists(inner) | structs(inner), max_leaves=4
)


def as_answered(value: Any) -> Any:
    """Return a value as a model writes it in JSON, as far as `json` does not know."""
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, dt.date) else str(value)


def as_text(sql: str, value: Any) -> Any:
    """Return a value with the wide decimals as text, as they travel."""
    if isinstance(value, dict):
        return {name: as_text(sql, part) for name, part in value.items()}
    if isinstance(value, list):
        return [as_text(sql, part) for part in value]
    return f"{value:f}" if isinstance(value, decimal.Decimal) and "DECIMAL(38,10)" in sql else value


@settings(max_examples=50, deadline=None)
@given(data=st.data(), name=NAMES, drawn=TYPES)
def test_every_value_of_every_type_arrives_exactly(data: st.DataObject, name: str, drawn: tuple[str, Any]) -> None:
    sql, values = drawn
    if "DECIMAL(38,10)" in sql and "DECIMAL(15,4)" in sql:
        return  # the two travel differently, which `as_text` does not tell apart
    value = data.draw(values | st.none())
    returns = parse_returns(f"{quote_identifier(name)} {sql}")
    assert parse_returns(returns.text) == returns
    answer = json.dumps({name: as_text(sql, value)}, ensure_ascii=data.draw(st.booleans()), default=as_answered)
    assert is_valid(returns, answer)
    assert reason(returns, answer) is None
    assert typed(returns, answer) == {name: value}


@settings(max_examples=50, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=5, unique_by=str.casefold), comment=SQL_TEXTS)
def test_columns_of_any_names_keep_apart_and_comments_stay_as_they_are(names: list[str], comment: str) -> None:
    definition = f"INTEGER COMMENT {quote_literal(comment)}"
    returns = parse_returns(", ".join(f"{quote_identifier(name)} {definition}" for name in names))
    answer = {name: i for i, name in enumerate(names)}
    assert parse_returns(returns.text) == returns
    assert [part.get("description", "") for part in schema_of(returns)["properties"].values()] == [comment] * len(names)
    assert reason(returns, answer) is None
    assert typed(returns, json.dumps(answer)) == answer
    assert str(reason(returns, answer | {names[-1]: "x"})).endswith(': "x" is not an INTEGER')


@settings(max_examples=50, deadline=None)
@given(text=SQL_TEXTS, other=SQL_TEXTS)
def test_texts_in_conditions_are_compared_as_they_are(text: str, other: str) -> None:
    returns = parse_returns(f"x VARCHAR CHECK (x = {quote_literal(text)})")
    assert parse_returns(returns.text) == returns
    assert schema_of(returns)["properties"]["x"]["enum"] == [text, None]
    assert reason(returns, {"x": text}) is None
    assert (reason(returns, {"x": other}) is None) == (text == other)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcdef") | TEXTS, inner, max_size=7),
    max_leaves=12,
)
WIDE = parse_returns(
    "a INTEGER NOT NULL CHECK (a::VARCHAR::TINYINT > 0), b VARCHAR[],"
    " c STRUCT(a DATE, b DECIMAL(5,2))[] CHECK (len(c) < 2), d ENUM('', 'x'), e DOUBLE[2],"
    " f STRUCT(a STRUCT(b UUID)), CHECK (f.a.b IS NULL OR e[1] > e[2])"
)


@settings(max_examples=50, deadline=None)
@given(answers=st.lists(ANYTHING.map(json.dumps) | TEXTS | st.none(), min_size=1, max_size=20))
def test_no_answer_makes_the_query_fail(answers: list[str | None]) -> None:
    found = reasons(WIDE, *answers)
    columns = ", ".join(sql for _, sql in WIDE.typed_sql("a.content"))
    connection().execute(f"SELECT {columns} FROM (SELECT unnest(?::VARCHAR[]) AS content) a", [answers]).fetchall()
    for answer, why in zip(answers, found, strict=True):
        assert why is None or why.startswith(("$", "not JSON: "))
        if why is None:
            assert is_valid(WIDE, str(answer))


@settings(max_examples=40, deadline=None)
@given(value=st.floats() | st.integers() | st.integers().map(float) | TEXTS | st.booleans() | st.none())
def test_a_schema_and_the_check_agree_on_scalars(value: Any) -> None:
    for sql in ("INTEGER", "DOUBLE", "VARCHAR", "BOOLEAN", "ENUM('a', '')"):
        returns = parse_returns(f"x {sql}")
        answer = json.dumps({"x": value})
        if reason(returns, answer) is None:
            assert is_valid(returns, answer)
        elif is_valid(returns, answer):  # the schema knows no limit of digits, and Python reads what JSON has not
            assert isinstance(value, float)

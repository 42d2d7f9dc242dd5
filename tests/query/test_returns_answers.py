"""Each kind of bad answer, and the reason that is given for it."""

from __future__ import annotations

import json

import pytest

from sqlbatch.returns import parse_returns
from tests.query.returns_support import connection, is_valid, reason, reasons, typed

GENRE = "genre VARCHAR, year INTEGER"
GOOD = '{"genre": "war", "year": 1998}'


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (GOOD, None),
        ('\n {"year": 1998.0, "genre": null}\n', None),
        ('{"genre": "war", "year": 1998, "mood": [NaN, {}]}', None),  # what was not asked for is ignored
        ('{"genre": "war, ] } inf", "year": null}', None),
        ("", "not JSON: an empty text"),
        (" \n ", "not JSON: an empty text"),
        ("I am sorry,\nI cannot.", "not JSON: I am sorry, I cannot."),
        (f"```json\n{GOOD}\n```", 'not JSON: ```json {"genre": "war", "year": 1998} ```'),
        (f"Here you are: {GOOD}", 'not JSON: Here you are: {"genre": "war", "year": 1998}'),
        (f"{GOOD} Anything else?", 'not JSON: {"genre": "war", "year": 1998} Anything else?'),
        (GOOD[:-4], 'not JSON: {"genre": "war", "year": 1'),
        (f"{GOOD}{GOOD}", 'not JSON: {"genre": "war", "year": 1998}{"genre": "war", "year": 1998}'),
        (f"{GOOD[:-1]},}}", 'not JSON: {"genre": "war", "year": 1998,}'),
        (f"\ufeff{GOOD}", 'not JSON: \ufeff{"genre": "war", "year": 1998}'),
        ("{'genre': 'war', 'year': 1998}", "not JSON: {'genre': 'war', 'year': 1998}"),
        (r'{"genre": "\ud83d", "year": 1}', r'not JSON: {"genre": "\ud83d", "year": 1}'),
        ("x" * 100, f"not JSON: {'x' * 60}"),
        (f"[{GOOD}]", '$: [{"genre": "war", "year": 1998}] is not an object'),
        ('"war"', '$: "war" is not an object'),
        ("null", "$: null is not an object"),
        ("1998", "$: 1998 is not an object"),
        ("{}", "$.genre: missing"),
        ('{"year": 1998}', "$.genre: missing"),
        ('{"genre": "war", "Year": 1998}', "$.year: missing"),
        ('{"genre": "war", "year": 1998, "year": 1999}', '$: the key "year" occurs twice'),
        ('{"genre": 3, "year": 1998}', "$.genre: 3 is not a VARCHAR"),
        ('{"genre": true, "year": 1998}', "$.genre: true is not a VARCHAR"),
        ('{"genre": ["war"], "year": 1998}', '$.genre: ["war"] is not a VARCHAR'),
        ('{"genre": {"a": 1}, "year": 1998}', '$.genre: {"a":1} is not a VARCHAR'),
        ('{"genre": "war", "year": 3.7}', "$.year: 3.7 is not an INTEGER"),
        ('{"genre": "war", "year": "3"}', '$.year: "3" is not an INTEGER'),
        ('{"genre": "war", "year": true}', "$.year: true is not an INTEGER"),
        ('{"genre": "war", "year": 3000000000}', "$.year: 3000000000 is out of range for INTEGER"),
        ('{"genre": "war", "year": NaN}', "$.year: NaN is not an INTEGER"),
        ('{"genre": "war", "year": "' + "9" * 100 + '"}', '$.year: "' + "9" * 59 + "… is not an INTEGER"),
    ],
)
def test_an_answer_is_taken_as_asked_for_or_refused_with_the_path(answer: str, expected: str | None) -> None:
    returns = parse_returns(GENRE)
    assert reason(returns, answer) == expected
    typed(returns, answer)  # does not raise


@pytest.mark.parametrize(
    ("sql", "value", "expected"),
    [
        ("TINYINT", "128", "128 is out of range for TINYINT"),
        ("TINYINT", "-129", "-129 is out of range for TINYINT"),
        ("UTINYINT", "-1", "-1 is out of range for UTINYINT"),
        ("BIGINT", "9223372036854775808", "9223372036854775808 is out of range for BIGINT"),
        ("UBIGINT", str(2**64), f"{2**64} is out of range for UBIGINT"),
        ("HUGEINT", str(2**127), f"{2**127} is out of range for HUGEINT"),
        ("UBIGINT", "12345678901234567890.0", "12345678901234567000.0 is not a UBIGINT"),  # digits are lost: not exact
        ("HUGEINT", "1e30", "1e30 is not a HUGEINT"),
        ("INTEGER", "1e-3", "0.001 is not an INTEGER"),
        ("BOOLEAN", "1", "1 is not a BOOLEAN"),
        ("BOOLEAN", '"true"', '"true" is not a BOOLEAN'),
        ("DOUBLE", '"1.5"', '"1.5" is not a DOUBLE'),
        ("DOUBLE", "Infinity", "Infinity is not a DOUBLE"),
        ("DOUBLE", "1e400", "1e400 is not a DOUBLE"),
        ("FLOAT", "1e39", "1e39 is not a FLOAT"),
        ("DOUBLE", "true", "true is not a DOUBLE"),
        ("DECIMAL(5,2)", "12.345", "12.345 is not a DECIMAL(5,2)"),
        ("DECIMAL(5,2)", "-12.341", "-12.341 is not a DECIMAL(5,2)"),
        ("DECIMAL(5,2)", "12.341", "12.341 is not a DECIMAL(5,2)"),
        ("DECIMAL(5,2)", "1000", "1000 is not a DECIMAL(5,2)"),
        ("DECIMAL(5,2)", '"1.5"', '"1.5" is not a DECIMAL(5,2)'),
        ("DECIMAL(5,2)", "NaN", "NaN is not a DECIMAL(5,2)"),
        ("DECIMAL(20,2)", "1.5", "1.5 is not a DECIMAL(20,2) as text"),
        ("DECIMAL(20,2)", '"1.555"', '"1.555" is not a DECIMAL(20,2) as text'),
        ("DECIMAL(20,2)", '"1e3"', '"1e3" is not a DECIMAL(20,2) as text'),
        ("DECIMAL(20,2)", '"1,000.00"', '"1,000.00" is not a DECIMAL(20,2) as text'),
        ("DECIMAL(20,2)", f'"{"9" * 19}"', f'"{"9" * 19}" is not a DECIMAL(20,2) as text'),
        ("DATE", '"2024-02-30"', '"2024-02-30" is not a DATE such as 2024-12-31'),
        ("DATE", '"30.2.2024"', '"30.2.2024" is not a DATE such as 2024-12-31'),
        ("DATE", '"2024-2-3"', '"2024-2-3" is not a DATE such as 2024-12-31'),
        ("DATE", '"2024-02-03T00:00:00"', '"2024-02-03T00:00:00" is not a DATE such as 2024-12-31'),
        ("DATE", '"infinity"', '"infinity" is not a DATE such as 2024-12-31'),
        ("DATE", '""', '"" is not a DATE such as 2024-12-31'),
        ("DATE", "20240203", "20240203 is not a DATE such as 2024-12-31"),
        ("TIME", '"24:00:00"', '"24:00:00" is not a TIME such as 23:59:59'),
        ("TIME", '"12:00"', '"12:00" is not a TIME such as 23:59:59'),
        ("TIMESTAMP", '"2024-01-01"', '"2024-01-01" is not a TIMESTAMP such as 2024-12-31T23:59:59'),
        ("TIMESTAMP", '"2024-13-01T00:00:00"', '"2024-13-01T00:00:00" is not a TIMESTAMP such as 2024-12-31T23:59:59'),
        (
            "TIMESTAMP WITH TIME ZONE",
            '"2024-01-01T00:00:00"',
            '"2024-01-01T00:00:00" is not a TIMESTAMP WITH TIME ZONE such as 2024-12-31T23:59:59+01:00',
        ),
        ("UUID", '"a0eebc999c0b4ef8bb6d6bb9bd380a11"', '"a0eebc999c0b4ef8bb6d6bb9bd380a11" is not a UUID'),
        ("UUID", '"x"', '"x" is not a UUID'),
        ("ENUM('a', 'it''s')", '"A"', "\"A\" is not one of 'a', 'it''s'"),
        ("ENUM('a', 'it''s')", "1", "1 is not one of 'a', 'it''s'"),
        ("ENUM('a','b','c','d','e','f','g')", '"x"', "\"x\" is not one of 'a', 'b', 'c', 'd', 'e' and 2 more"),
        ("VARCHAR[]", '"a"', '"a" is not a list'),
        ("VARCHAR[]", '{"a": 1}', '{"a":1} is not a list'),
        ("INTEGER[3]", "[1, 2]", "2 elements, not 3"),
        ("STRUCT(a INTEGER)", "[1]", "[1] is not an object"),
        ("STRUCT(a INTEGER)", '"{}"', '"{}" is not an object'),
        ("STRUCT(a INTEGER)", '"a"', '"a" is not an object'),
    ],
)
def test_a_value_that_is_not_of_its_type_is_refused_and_never_converted(sql: str, value: str, expected: str) -> None:
    assert reason(parse_returns(f"x {sql}"), f'{{"x": {value}}}') == f"$.x: {expected}"
    assert reason(parse_returns(f"x STRUCT(y {sql})"), f'{{"x": {{"y": {value}}}}}') == f"$.x.y: {expected}"
    assert reason(parse_returns(f"x {sql}[]"), f'{{"x": [{value}]}}') == f"$.x[0]: {expected}"


@pytest.mark.parametrize(
    ("sql", "value", "expected"),
    [
        ("VARCHAR[]", ["a", 1], "$.x[1]: 1 is not a VARCHAR"),
        ("VARCHAR[]", ["a", None], "$.x[1]: null, and a list has no nulls here"),
        ("INTEGER[][]", [[1], [2, 3.5]], "$.x[1][1]: 3.5 is not an INTEGER"),
        ("INTEGER[2][]", [[1, 2], [3]], "$.x[1]: 1 elements, not 2"),
        ("STRUCT(a INT, b STRUCT(c VARCHAR[]))", {"a": 1, "b": {"c": ["x", {}]}}, "$.x.b.c[1]: {} is not a VARCHAR"),
        ("STRUCT(a INT, b INT)", {"b": 1}, "$.x.a: missing"),
        ("STRUCT(a INT NOT NULL)", {"a": None}, "$.x.a: null, but it is NOT NULL"),
        ("STRUCT(price DOUBLE)[]", [{"price": 1}, {}], "$.x[1].price: missing"),
        ("STRUCT(price DOUBLE)[]", [{"price": 1}, None], "$.x[1]: null, and a list has no nulls here"),
        (
            "STRUCT(a STRUCT(b INT)[])[]",
            [{"a": []}, {"a": [{"b": 1}, {"b": "x"}]}],
            '$.x[1].a[1].b: "x" is not an INTEGER',
        ),
    ],
)
def test_a_reason_names_the_path_into_lists_and_structs(sql: str, value: object, expected: str) -> None:
    assert reason(parse_returns(f"x {sql}"), {"x": value}) == expected


def test_a_key_that_occurs_twice_is_found_in_a_struct_too() -> None:
    returns = parse_returns("x STRUCT(a INTEGER, b INTEGER)[]")
    assert reason(returns, '{"x": [{"a": 1, "b": 2}, {"a": 1, "b": 2, "b": 3}]}') == '$.x[1]: the key "b" occurs twice'
    assert reason(returns, '{"x": [{"a": 1, "b": 2, "c": 3, "c": 4}]}') is None


def test_what_is_wrong_by_the_schema_is_wrong_here_too() -> None:
    returns = parse_returns("a INTEGER NOT NULL, b ENUM('x', 'y'), c BOOLEAN[], d STRUCT(e DOUBLE)")
    right: dict[str, object] = {"a": 1, "b": "x", "c": [True], "d": {"e": 1}}
    wrongs: list[tuple[str, object]] = [
        ("a", None),
        ("a", "1"),
        ("a", 1.5),
        ("b", "z"),
        ("b", 1),
        ("c", [1]),
        ("c", [None]),
        ("c", True),
        ("d", {}),
    ]
    for name, wrong in wrongs:
        answer = json.dumps(right | {name: wrong})
        assert not is_valid(returns, answer)
        assert reason(returns, answer) is not None


def test_each_answer_of_many_gets_its_own_reason() -> None:
    returns = parse_returns("x INTEGER, y VARCHAR[]")
    answers = [f'{{"x": {i}, "y": ["a"]}}' for i in range(5000)]
    answers[1234], answers[4321], answers[77] = '{"x": 1.5, "y": []}', "x", '{"x": 1, "y": ["a", 2]}'
    found = reasons(returns, *answers, None)
    assert {i: why for i, why in enumerate(found) if why} == {
        77: "$.y[1]: 2 is not a VARCHAR",
        1234: "$.x: 1.5 is not an INTEGER",
        4321: "not JSON: x",
        5000: "not JSON: no text",
    }


def test_names_around_do_not_get_into_the_check() -> None:
    returns = parse_returns("item STRUCT(price INTEGER), content INTEGER CHECK (content > item.price)")
    sql = f"SELECT {returns.check_sql('item.content')} FROM (SELECT ? AS content, 100 AS price, 0 AS t, 0 AS v) item"
    for content, expected in ((6, None), (4, "$.content: 4 violates CHECK (content > item.price)")):
        answer = json.dumps({"item": {"price": 5}, "content": content})
        assert connection().execute(sql, [answer]).fetchall() == [(expected,)]


def test_the_check_stands_in_filters_cases_and_aggregates() -> None:
    returns = parse_returns("x INTEGER")
    check = returns.check_sql("a.content")
    source = """(VALUES (1, '{"x": 1}'), (2, 'x'), (3, '{"x": "1"}')) a(id, content)"""
    query = f"SELECT count({check}), list(a.id ORDER BY a.id) FILTER ({check} IS NULL) FROM {source}"
    assert connection().execute(query).fetchall() == [(2, [1])]
    cases = f"SELECT CASE WHEN a.id = 2 THEN 'skipped' ELSE {check} END FROM {source} ORDER BY a.id"
    assert connection().execute(cases).fetchall() == [(None,), ("skipped",), ('$.x: "1" is not an INTEGER',)]


def test_typed_columns_of_an_answer_that_was_not_checked_are_null_and_never_raise() -> None:
    returns = parse_returns("a INTEGER, b VARCHAR[], c STRUCT(d DATE), e DECIMAL(5,2), f ENUM('x'), g INTEGER[2]")
    for answer in (None, "", "x", "[]", '{"a": "x", "b": "x", "c": 1, "e": "x", "f": "y", "g": [1]}'):
        found = typed(returns, answer)
        assert {found.pop("c") == {"d": None} or None, *found.values()} <= {None, True}

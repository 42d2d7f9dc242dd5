"""CHECK conditions: told to the model where a schema has a keyword, and held to answers in any case."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from sqlbatch.errors import InvalidReturns
from sqlbatch.returns import parse_returns
from tests.query.returns_support import dumps, is_valid, property_of, reason, schema_of

BOUND = {"minimum": -(2**31), "maximum": 2**31 - 1}


def said(definition: str) -> dict[str, Any]:
    """Return the keywords of the column x beyond its type."""
    return {key: value for key, value in property_of(parse_returns(definition)).items() if key != "type"}


@pytest.mark.parametrize(
    ("definition", "keywords", "good", "bad"),
    [
        ("x INTEGER CHECK (x > 1900)", {"exclusiveMinimum": 1900, "maximum": BOUND["maximum"]}, [1901, None], [1900]),
        ("x INTEGER CHECK (1900 <= x)", {"minimum": 1900, "maximum": BOUND["maximum"]}, [1900], [1899]),
        ("x INTEGER CHECK (x < -5)", {"minimum": BOUND["minimum"], "exclusiveMaximum": -5}, [-6], [-5]),
        ("x INTEGER CHECK (x BETWEEN 1 AND 5)", {"minimum": 1, "maximum": 5}, [1, 5, 3.0], [0, 6]),
        ("x INTEGER CHECK (x >= 1 AND (x < 6))", {"minimum": 1, "exclusiveMaximum": 6}, [1, 5], [0, 6]),
        ("x TINYINT CHECK (x < 1000)", {"minimum": -128, "maximum": 127}, [127], []),
        (
            "x DOUBLE NOT NULL CHECK (x >= 0.5 AND x <= 1e3)",
            {"minimum": 0.5, "maximum": 1000},
            [0.5, 1000],
            [0.4, 1001],
        ),
        (
            "x DECIMAL(5,2) CHECK (x >= 0)",
            {"minimum": 0, "exclusiveMaximum": 1000, "description": "A number with at most 2 digits after the point."},
            [0, 9.99],
            [-0.01],
        ),
        ("x INTEGER NOT NULL CHECK (x IN (1, 2, -3))", BOUND | {"enum": [1, 2, -3]}, [1, -3], [3]),
        ("x INTEGER CHECK (x = 7)", BOUND | {"enum": [7, None]}, [7, None], [8]),
        ("x VARCHAR CHECK (x IN ('a', 'it''s'))", {"enum": ["a", "it's", None]}, ["a", "it's", None], ["b", ""]),
        ("x VARCHAR NOT NULL CHECK (x = 'a')", {"enum": ["a"]}, ["a"], ["b"]),
        ("x ENUM('a', 'b', 'c') NOT NULL CHECK (x IN ('c', 'a'))", {"enum": ["a", "c"]}, ["a"], ["b"]),
        (
            "x VARCHAR CHECK (regexp_full_match(x, '[A-Z]{2}\\d'))",
            {"pattern": "^[A-Z]{2}\\d$"},
            ["AB1"],
            ["AB12", "xAB1"],
        ),
        ("x VARCHAR CHECK (x SIMILAR TO 'a|b')", {"pattern": "^(a|b)$"}, ["a", "b"], ["ab", "c"]),
        ("x VARCHAR CHECK (regexp_matches(x, 'b+'))", {"pattern": "b+"}, ["abba"], ["ac"]),
        ("x VARCHAR CHECK (regexp_matches(x, '^a.*z$'))", {"pattern": "^a.*z$"}, ["a to z"], ["a to y"]),
    ],
)
def test_a_condition_becomes_a_keyword_and_is_held_to_the_answer(
    definition: str, keywords: dict[str, Any], good: list[Any], bad: list[Any]
) -> None:
    returns = parse_returns(definition)
    assert said(definition) == keywords
    for value in good:
        assert is_valid(returns, dumps({"x": value}))
        assert reason(returns, {"x": value}) is None
    condition = returns.columns[0].check
    assert condition is not None
    for value in bad:
        assert not is_valid(returns, dumps({"x": value}))
        assert reason(returns, {"x": value}) == f"$.x: {dumps(value)} violates CHECK ({condition.text})"


@pytest.mark.parametrize(
    ("condition", "keywords", "good", "bad"),
    [
        ("len(x) >= 1", {"minItems": 1}, [["a"]], [[]]),
        ("length(x) BETWEEN 1 AND 2", None, [["a"], ["a", "b"]], [[], ["a", "b", "c"]]),
        ("array_length(x) < 3 AND len(x) > 1", {"minItems": 2, "maxItems": 2}, [["a", "b"]], [["a"], ["a", "b", "c"]]),
        ("len(x) = 2", {"minItems": 2, "maxItems": 2}, [["a", "b"]], [[], ["a"]]),
    ],
)
def test_the_length_of_a_list_becomes_min_and_max_items(
    condition: str, keywords: dict[str, int] | None, good: list[Any], bad: list[Any]
) -> None:
    returns = parse_returns(f"x VARCHAR[] NOT NULL CHECK ({condition})")
    found = property_of(returns)
    if keywords is None:
        keywords = {"minItems": 1, "maxItems": 2}
    assert found == {"type": "array", "items": {"type": "string"}} | keywords
    assert all(reason(returns, {"x": value}) is None for value in good)
    assert all(str(reason(returns, {"x": value})).endswith(f"violates CHECK ({condition})") for value in bad)


@pytest.mark.parametrize(
    ("definition", "good", "bad"),
    [
        ("x VARCHAR CHECK (length(x) <= 5)", ["short", "", None], ["too long"]),
        ("x VARCHAR CHECK (x LIKE 'A%' OR x = 'b')", ["Abc", "b"], ["c"]),
        ("x VARCHAR CHECK (x <> 'unknown')", ["a"], ["unknown"]),
        ("x VARCHAR CHECK (NOT x IN ('a'))", ["b"], ["a"]),
        ("x VARCHAR CHECK (lower(x) = x)", ["a"], ["A"]),
        ("x VARCHAR CHECK (regexp_matches(x, '(?i)^a'))", ["Abc", "abc"], ["b"]),
        ("x VARCHAR CHECK (regexp_matches(x, 'a', 'i'))", ["bA"], ["b"]),
        ("x DATE CHECK (x >= DATE '2000-01-01')", ["2000-01-01", None], ["1999-12-31"]),
        ("x DATE CHECK (x <= today())", ["2000-01-01"], ["9999-12-31"]),
        ("x DATE CHECK (x <= current_date)", ["2000-01-01"], ["9999-12-31"]),
        ("x VARCHAR[] CHECK (len(list_filter(x, lambda x: x = 'a')) = 0)", [["b"], []], [["b", "a"]]),
        ("x INTEGER[] CHECK (list_sum([y * x[1] for y in x]) < 9)", [[1, 2], []], [[3, 1]]),
        ("x INTEGER CHECK (x % 2 = 0)", [2], [3]),
        ("x INTEGER CHECK (x < 5 OR x > 10)", [4, 11], [7]),
        ("x VARCHAR[] CHECK (list_contains(x, 'a'))", [["a"]], [["b"]]),
        (
            "x STRUCT(low INTEGER, high INTEGER) CHECK (x.low <= x.high)",
            [{"low": 1, "high": 2}],
            [{"low": 2, "high": 1}],
        ),
        ("x DECIMAL(20,2) CHECK (x > 0)", ["0.01"], ["-1"]),
        ("x UUID CHECK (x <> '00000000-0000-0000-0000-000000000000')", [], ["00000000-0000-0000-0000-000000000000"]),
    ],
)
def test_a_condition_without_a_keyword_is_told_in_words_and_held_all_the_same(
    definition: str, good: list[Any], bad: list[Any]
) -> None:
    returns = parse_returns(f"{definition} COMMENT 'told.'")
    condition = returns.columns[0].check
    assert condition is not None
    description = property_of(returns)["description"]
    assert description.startswith("told. ")
    assert description.endswith(f"It must satisfy this SQL condition: {condition.text}")
    assert [reason(returns, {"x": value}) for value in good] == [None] * len(good)
    for value in bad:
        assert str(reason(returns, {"x": value})).endswith(f"violates CHECK ({condition.text})")


def test_the_tilde_means_in_the_schema_what_it_means_in_this_duckdb() -> None:
    returns = parse_returns("x VARCHAR CHECK (x ~ 'b+')")
    partly = duckdb.connect().execute("SELECT 'abba' ~ 'b+'").fetchall() == [(True,)]
    assert said("x VARCHAR CHECK (x ~ 'b+')") == {"pattern": "b+" if partly else "^b+$"}
    assert reason(returns, {"x": "bb"}) is None
    assert (reason(returns, {"x": "abba"}) is None) is partly


def test_a_condition_over_several_columns_stands_beside_or_behind_them() -> None:
    returns = parse_returns(
        "low INTEGER, high INTEGER CHECK (high < 100), CHECK (low <= high), CONSTRAINT c CHECK (low <> 7)"
    )
    assert schema_of(returns)["description"] == "It must satisfy this SQL condition: low <= high AND low <> 7"
    assert reason(returns, {"low": 1, "high": 2}) is None
    assert reason(returns, {"low": None, "high": 2}) is None
    assert reason(returns, {"low": 3, "high": 2}) == "$: violates CHECK (low <= high)"
    assert reason(returns, {"low": 7, "high": 8}) == "$: violates CHECK (low <> 7)"
    assert reason(returns, {"low": 1, "high": 100}) == "$.high: 100 violates CHECK (high < 100)"


def test_several_conditions_of_a_column_all_hold() -> None:
    returns = parse_returns("x INTEGER CHECK (x > 1) CONSTRAINT small CHECK (x < 5)")
    assert said(returns.text) == {"exclusiveMinimum": 1, "exclusiveMaximum": 5}
    assert reason(returns, {"x": 5}) == "$.x: 5 violates CHECK ((x > 1) AND (x < 5))"


def test_a_field_of_a_struct_has_conditions_over_its_neighbours() -> None:
    returns = parse_returns("items STRUCT(price DOUBLE CHECK (price >= 0), was DOUBLE CHECK (was >= price) NOT NULL)[]")
    items = schema_of(returns)["properties"]["items"]["anyOf"][0]["items"]["properties"]
    assert items["price"] == {"type": ["number", "null"], "minimum": 0}
    assert items["was"] == {"type": "number", "description": "It must satisfy this SQL condition: was >= price"}
    assert reason(returns, {"items": [{"price": 1, "was": 2}, {"price": None, "was": 0}]}) is None
    wrong = {"items": [{"price": 1, "was": 2}, {"price": 3, "was": 2}]}
    assert reason(returns, wrong) == "$.items[1].was: 2 violates CHECK (was >= price)"
    assert reason(returns, {"items": [{"price": -1, "was": 2}]}) == "$.items[0].price: -1 violates CHECK (price >= 0)"


def test_names_that_need_quotes_work_in_conditions() -> None:
    returns = parse_returns(
        '"a b" INTEGER, "x.""y" INTEGER CHECK ("x.""y" > "a b" AND "X.""Y" < 9), é INTEGER CHECK ("é" > 0 or é = 0)'
    )
    good = {"a b": 1, 'x."y': 2, "é": 1}
    assert reason(returns, good) is None
    assert reason(returns, good | {'x."y': 0}) == '$."x.""y": 0 violates CHECK ("x.""y" > "a b" AND "X.""Y" < 9)'


def test_a_condition_that_fails_to_run_is_a_reason_and_not_an_error() -> None:
    returns = parse_returns("x VARCHAR CHECK (x::INTEGER > 5), y INTEGER")
    assert reason(returns, {"x": "6", "y": 1}) is None
    assert reason(returns, {"x": "5", "y": 1}) == '$.x: "5" violates CHECK (x::INTEGER > 5)'
    assert reason(returns, {"x": "six", "y": 1}) == "$.x: CHECK (x::INTEGER > 5) cannot be evaluated"


def test_a_wrong_type_is_the_reason_before_a_condition_is() -> None:
    returns = parse_returns("x INTEGER CHECK (x > y), y INTEGER")
    assert reason(returns, {"x": 5, "y": "1"}) == '$.y: "1" is not an INTEGER'


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (
            "x INTEGER CHECK (z > 1)",
            r'--returns: x: CHECK \(z > 1\): Referenced column "z" not found among the columns\. Candidate.*: "x"',
        ),
        ("x INTEGER CHECK (other.x > 1)", r"--returns: x: CHECK \(other\.x > 1\): "),
        ("x INTEGER CHECK (sqlbatch_returns.x > 1)", "there is no column sqlbatch_returns"),
        ("x INTEGER CHECK ((SELECT 1) > x)", "a subquery; a condition sees one answer alone"),
        ("x INTEGER CHECK (sum(x) > 1)", "a CHECK cannot contain aggregates"),
        ("x INTEGER CHECK (row_number() OVER () > 1)", "a CHECK cannot contain window functions"),
        ("x INTEGER CHECK (COLUMNS(*) > 1)", "a star; a condition names its columns"),
        ("x INTEGER CHECK (rowid > 1)", "there is no column rowid"),
        ("x INTEGER CHECK (nofunction(x))", "Scalar Function with name nofunction does not exist"),
        ("x INTEGER CHECK (x >)", r"CHECK \(x >\): syntax error"),
        ("x INTEGER CHECK (x > 1; DROP TABLE a)", "syntax error"),
        ("x INTEGER CHECK (x > 1) /* ) */ , y INTEGER CHECK (1) , CHECK (w > 1)", "--returns: CHECK"),
        ("x INTEGER CHECK (x > ?)", "."),
        ("x INTEGER CHECK (x > $1)", "."),
        ("x VARCHAR CHECK (x.length() > 1)", r"write f\(x\) rather than x\.f\(\)"),
        ("x STRUCT(y INTEGER CHECK (x > 1))", r"--returns: x\.y: CHECK"),
        ("x VARCHAR CHECK (regexp_matches(x, '(?=a)'))", "invalid perl operator"),
        ("x INTEGER CHECK (x > 5 AND x < 3)", "--returns: x: no INTEGER satisfies its CHECK"),
        ("x ENUM('a') CHECK (x = 'b')", r"--returns: x: no ENUM\('a'\) satisfies its CHECK"),
        ("x TINYINT CHECK (x > 127)", "no TINYINT satisfies its CHECK"),
        ("x VARCHAR[2] CHECK (len(x) > 3)", r"no VARCHAR\[2\] satisfies its CHECK"),
        ("CHECK (1 = 1)", "conditions and no column"),
    ],
)
def test_a_condition_that_cannot_be_held_is_refused_before_anything_is_sent(definition: str, message: str) -> None:
    with pytest.raises(InvalidReturns, match=message) as caught:
        parse_returns(definition)
    assert "\n" not in str(caught.value)

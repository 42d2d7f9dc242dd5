"""Each type, nested and nullable, through schema, hand-written answer, check and typed column."""

from __future__ import annotations

import json

import pytest

from sqlbatch.errors import InvalidReturns
from sqlbatch.returns import ReturnsMode, parse_returns
from tests.query.returns_support import connection, is_valid, property_of, reason, reasons, same_type, typed, types

# A type, its part of the schema, and values as a model writes them with what DuckDB prints of them.
TYPES = [
    ("VARCHAR", {"type": "string"}, {'"a"': "a", '""': "", '"null"': "null", '"[1]"': "[1]", '"3"': "3"}),
    ("VARCHAR", {"type": "string"}, {r'"\u0000 \ud83d\ude00 \" \n \u2028 é"': '\0 😀 " \n \u2028 é'}),
    ("BOOLEAN", {"type": "boolean"}, {"true": "true", "false": "false"}),
    ("TINYINT", {"type": "integer", "minimum": -128, "maximum": 127}, {"-128": "-128", "127": "127", "3.0": "3"}),
    ("SMALLINT", {"type": "integer", "minimum": -32768, "maximum": 32767}, {"-32768": "-32768", "32767": "32767"}),
    (
        "INTEGER",
        {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
        {"-2147483648": "-2147483648", "2147483647": "2147483647", "0": "0", "-0.0": "0"},
    ),
    (
        "BIGINT",
        {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        {"9223372036854775807": "9223372036854775807", "-9223372036854775808": "-9223372036854775808"},
    ),
    ("UTINYINT", {"type": "integer", "minimum": 0, "maximum": 255}, {"0": "0", "255": "255"}),
    ("USMALLINT", {"type": "integer", "minimum": 0, "maximum": 65535}, {"65535": "65535"}),
    ("UINTEGER", {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}, {"4294967295": "4294967295"}),
    ("UBIGINT", {"type": "integer", "minimum": 0, "maximum": 2**64 - 1}, {str(2**64 - 1): str(2**64 - 1)}),
    ("HUGEINT", {"type": "integer"}, {str(2**127 - 1): str(2**127 - 1), "-" + str(2**127): "-" + str(2**127)}),
    ("UHUGEINT", {"type": "integer", "minimum": 0}, {str(2**128 - 1): str(2**128 - 1)}),
    ("FLOAT", {"type": "number"}, {"1.5": "1.5", "-2": "-2.0", "1e3": "1000.0"}),
    ("DOUBLE", {"type": "number"}, {"0.1": "0.1", "1e300": "1e+300", "12345678901234567890": "1.2345678901234567e+19"}),
    (
        "DECIMAL(5,2)",
        {
            "type": "number",
            "exclusiveMinimum": -1000,
            "exclusiveMaximum": 1000,
            "description": "A number with at most 2 digits after the point.",
        },
        {"999.99": "999.99", "-0.01": "-0.01", "19.99": "19.99", "7": "7.00", "1.10": "1.10", "1e2": "100.00"},
    ),
    (
        "DECIMAL(15,0)",
        {"type": "number", "exclusiveMinimum": -(10**15), "exclusiveMaximum": 10**15},
        {"999999999999999": "999999999999999"},
    ),
    (
        "DECIMAL(15,15)",
        {
            "type": "number",
            "exclusiveMinimum": -1,
            "exclusiveMaximum": 1,
            "description": "A number with at most 15 digits after the point.",
        },
        {"0.123456789012345": ".123456789012345", "1e-15": ".000000000000001"},
    ),
    (
        "DECIMAL(38,10)",
        {
            "type": "string",
            "pattern": r"^-?[0-9]{1,28}(\.[0-9]{1,10})?$",
            "description": "A decimal number as text with at most 10 digits after the point.",
        },
        {
            '"1234567890123456789012345678.0123456789"': "1234567890123456789012345678.0123456789",
            '"-7"': "-7.0000000000",
        },
    ),
    (
        "DECIMAL(20,20)",
        {
            "type": "string",
            "pattern": r"^-?0(\.[0-9]{1,20})?$",
            "description": "A decimal number as text with at most 20 digits after the point.",
        },
        {'"0.12345678901234567890"': ".12345678901234567890"},
    ),
    ("DATE", {"type": "string", "format": "date"}, {'"2024-02-29"': "2024-02-29"}),
    (
        "TIME",
        {"type": "string", "format": "time"},
        {'"23:59:59"': "23:59:59", '"01:02:03.5"': "01:02:03.5", '"12:00:00Z"': "12:00:00"},
    ),
    ("TIME WITH TIME ZONE", {"type": "string", "format": "time"}, {'"12:00:00+02:00"': "12:00:00+02"}),
    (
        "TIMESTAMP",
        {"type": "string", "format": "date-time"},
        {
            '"2024-12-31T23:59:59"': "2024-12-31 23:59:59",
            '"2024-12-31 23:59:59.123456"': "2024-12-31 23:59:59.123456",
            '"2024-12-31T23:59:59Z"': "2024-12-31 23:59:59",
            '"2024-12-31T23:59:59+02:00"': "2024-12-31 23:59:59",  # the clock on the wall, as DuckDB casts it
        },
    ),
    ("TIMESTAMP_S", {"type": "string", "format": "date-time"}, {'"2024-12-31T23:59:59.000Z"': "2024-12-31 23:59:59"}),
    (
        "TIMESTAMP_MS",
        {"type": "string", "format": "date-time"},
        {'"2024-12-31T23:59:59.125"': "2024-12-31 23:59:59.125"},
    ),
    (
        "TIMESTAMP WITH TIME ZONE",
        {"type": "string", "format": "date-time"},
        {'"2024-12-31T23:59:59+02:00"': "2024-12-31 21:59:59+00", '"2024-12-31T23:59:59Z"': "2024-12-31 23:59:59+00"},
    ),
    (
        "UUID",
        {"type": "string", "format": "uuid"},
        {'"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"': "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
    ),
    (
        "ENUM('it''s', 'a, b', 'ü', '', '\"q\"')",
        {"type": "string", "enum": ["it's", "a, b", "ü", "", '"q"']},
        {'"it\'s"': "it's", '"a, b"': "a, b", '"ü"': "ü", '""': "", r'"\"q\""': '"q"'},
    ),
]
CASES = [
    pytest.param(sql, part, value, text, id=f"{sql}-{value}"[:60])
    for sql, part, values in TYPES
    for value, text in values.items()
]


@pytest.mark.parametrize(("sql", "part", "value", "text"), CASES)
def test_a_value_arrives_as_it_was_written(sql: str, part: dict[str, object], value: str, text: str) -> None:
    returns = parse_returns(f"x {sql} NOT NULL")
    answer = f'{{"x": {value}}}'
    assert property_of(returns) == part
    assert is_valid(returns, answer)
    assert reason(returns, answer) is None
    assert typed(returns, answer, "VARCHAR") == {"x": text}
    assert types(returns) == [same_type(sql)]
    assert reason(returns, '{"x": null}') == "$.x: null, but it is NOT NULL"


@pytest.mark.one_of(4)
@pytest.mark.parametrize(("sql", "part", "value", "text"), CASES)
def test_null_is_a_value_unless_the_column_is_not_null(
    sql: str, part: dict[str, object], value: str, text: str
) -> None:
    returns = parse_returns(f"x {sql}")
    found = property_of(returns)
    assert found["type"] == [part["type"], "null"]
    assert found.get("enum", [None])[-1] is None
    for answer, expected in (('{"x": null}', None), (f'{{"x": {value}}}', text)):
        assert is_valid(returns, answer)
        assert reason(returns, answer) is None
        assert typed(returns, answer, "VARCHAR") == {"x": expected}


@pytest.mark.one_of(3)
@pytest.mark.parametrize(("sql", "values"), [pytest.param(sql, values, id=sql[:40]) for sql, _, values in TYPES])
def test_a_value_arrives_inside_lists_and_structs(sql: str, values: dict[str, str]) -> None:
    value, text = next(iter(values.items()))
    returns = parse_returns(f"x STRUCT(a {sql}, b {sql}[], c {sql}[2] NOT NULL, d STRUCT(e {sql})[])[] NOT NULL")
    each, fields = ", ".join(values), ", ".join(f'{{"e": {one}}}' for one in [*values, "null"])
    full = f'{{"a": {value}, "b": [{each}], "c": [{value}, {value}], "d": [{fields}]}}'
    empty = f'{{"a": null, "b": [], "c": [{value}, {value}], "d": null}}'
    answer = f'{{"x": [{full}, {empty}]}}'
    assert is_valid(returns, answer)
    assert reason(returns, answer) is None
    name, column = returns.typed_sql("a.content")[0]
    scalars = ["x[1].a", "x[1].c[2]", "x[2].a", "len(x[2].b)", "x[2].d"]
    lists = ["[v::VARCHAR for v in x[1].b]", "[v.e::VARCHAR for v in x[1].d]"]
    read = ", ".join([*(f"({path})::VARCHAR" for path in scalars), *lists])
    query = f"SELECT {read} FROM (SELECT {column} AS x FROM (SELECT ? AS content) a)"
    texts = list(values.values())
    assert name == "x"
    assert connection().execute(query, [answer]).fetchall() == [(text, text, None, "0", None, texts, [*texts, None])]
    assert types(returns) == [same_type(f"STRUCT(a {sql}, b {sql}[], c {sql}[2], d STRUCT(e {sql})[])[]")]


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("INTEGER[][]", "[[1, 2], [], [3]]"),
        ("INTEGER[2][]", "[[1, 2], [3, 4]]"),
        ("STRUCT(a INTEGER[][])", '{"a": [[1]]}'),
        ("DATE[][3]", '[["2024-01-01"], [], ["2024-01-02"]]'),
        ("STRUCT(a STRUCT(b STRUCT(c VARCHAR)[])[])[]", '[{"a": [{"b": [{"c": "x"}]}]}]'),
    ],
)
def test_lists_and_structs_nest(sql: str, answer: str) -> None:
    returns = parse_returns(f"x {sql}")
    assert is_valid(returns, f'{{"x": {answer}}}')
    assert reason(returns, f'{{"x": {answer}}}') is None
    assert types(returns) == [same_type(sql)]
    found = typed(returns, f'{{"x": {answer}}}')["x"]
    assert json.loads(json.dumps(found, default=str)) == json.loads(answer)


def test_structs_nest_to_ten_levels_and_no_deeper() -> None:
    def nested(levels: int) -> str:
        return "x VARCHAR" if levels == 0 else f"x STRUCT({nested(levels - 1)})"

    returns = parse_returns(nested(10))
    answer = '{"x": ' * 11 + '"deep"' + "}" * 11
    assert is_valid(returns, answer)
    assert reason(returns, answer) is None
    assert str(typed(returns, answer)["x"]).count("x") == 10
    assert reason(returns, answer.replace('"deep"', "1")) == "$.x.x.x.x.x.x.x.x.x.x.x: 1 is not a VARCHAR"
    with pytest.raises(
        InvalidReturns, match="11 levels of STRUCT and lists inside each other, and a strict schema takes 10"
    ):
        parse_returns(nested(11))


def test_integers_keep_every_digit_inside_lists_and_structs() -> None:
    returns = parse_returns("x STRUCT(a UBIGINT, b HUGEINT[])[]")
    answer = f'{{"x": [{{"a": {2**64 - 1}, "b": [{2**127 - 1}, {2**53 + 1}]}}]}}'
    assert reason(returns, answer) is None
    assert typed(returns, answer) == {"x": [{"a": 2**64 - 1, "b": [2**127 - 1, 2**53 + 1]}]}


def test_every_type_name_of_duckdb_is_taken_as_duckdb_takes_it_or_refused_with_a_reason() -> None:
    """Whatever names this DuckDB knows: a newer one's types are refused by name until they are looked at."""
    found = connection().execute("SELECT DISTINCT lower(type_name) FROM duckdb_types() WHERE schema_name = 'main'")
    names = [name for (name,) in found.fetchall() if " " not in name]
    assert {"integer", "varchar", "struct", "map"} <= set(names)
    arguments = {"enum": "('a')", "struct": "(a INTEGER)", "row": "(a INTEGER)"}
    refused = []
    for name in names:
        sql = name + arguments.get(name, "")
        try:
            found_types = types(parse_returns(f"x {sql}"))
        except InvalidReturns as error:
            refused.append((name, str(error)))
        else:
            assert found_types == [same_type(sql)], name
    assert [error for _, error in refused if not error.startswith("--returns: x: a strict schema cannot say ")] == []
    refused_names = {name for name, _ in refused}
    assert {"map", "union", "blob", "bit", "interval", "timestamp_ns", "variant", "list"} <= refused_names
    assert not {"oid", "guid", "int1", "uint128", "string", "real", "datetime", "json", "enum"} & refused_names


@pytest.mark.parametrize(
    "sql",
    [
        *["DOUBLE PRECISION", "CHARACTER VARYING(3)", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITHOUT TIME ZONE"],
        *["TIME WITHOUT TIME ZONE", "TIME WITH TIME ZONE", "NUMERIC", "DECIMAL(4)", "VARCHAR(3)", "INTEGER ARRAY"],
        *["INTEGER ARRAY[3]", '"int"', "Int4", "ROW(a INT)"],
    ],
)
def test_types_of_several_words_and_with_arguments_are_read_as_duckdb_reads_them(sql: str) -> None:
    assert types(parse_returns(f"x {sql}")) == [same_type(sql.replace("ARRAY[3]", "[3]").replace(" ARRAY", "[]"))]


def test_none_is_one_text_column_and_takes_any_answer() -> None:
    for text in (None, "", "  "):
        returns = parse_returns(text)
        assert (returns.mode, returns.text, returns.json_schema()) == (ReturnsMode.TEXT, "", None)
        assert [(column.name, column.sql_type) for column in returns.columns] == [("response", "VARCHAR")]
        assert reasons(returns, "anything", "{", None) == [None, None, None]
        assert typed(returns, "any\0 thing 😀") == {"response": "any\0 thing 😀"}
        assert typed(returns, None) == {"response": None}


def test_json_is_one_json_column_and_takes_any_object() -> None:
    returns = parse_returns(" json ")
    assert (returns.mode, returns.text, returns.json_schema()) == (ReturnsMode.JSON, "JSON", None)
    assert [(column.name, column.sql_type) for column in returns.columns] == [("response", "JSON")]
    assert types(returns) == ["JSON"]
    answer = '{"a": [1.10, "x"],  "b": "NaN, ]"}'
    assert reasons(returns, answer, "{}") == [None, None]
    assert typed(returns, answer) == {"response": answer}
    assert typed(returns, "no json") == {"response": None}
    assert reasons(returns, "[1]", '"x"', "{", '{"a": 1,}', '{"a": NaN}', '{"a": [-Infinity]}', "```json\n{}\n```") == [
        "$: [1] is not an object",
        '$: "x" is not an object',
        "not JSON: {",
        'not JSON: {"a": 1,}',
        'not JSON: {"a": NaN}',
        'not JSON: {"a": [-Infinity]}',
        "not JSON: ```json {} ```",
    ]

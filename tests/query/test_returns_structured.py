"""Models without JSON schemas: how they are asked, and what text around the JSON is accepted for which of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import sqlbatch
from sqlbatch import options
from sqlbatch.errors import InvalidOption, InvalidReturns
from sqlbatch.returns import Structured, parse_returns, returns_from_schema
from sqlbatch.server import EmbeddedServer, ServerConfig
from sqlbatch.source import read_source
from tests.query.returns_support import reason, reasons, typed

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = "genre VARCHAR, year INTEGER"
GOOD = '{"genre": "war", "year": 1998}'
TOLERATED = [
    GOOD,
    f"```json\n{GOOD}\n```",
    f"```\n{GOOD}\n```\n",
    f"Here is the JSON:\n\n{GOOD}\n\nAnything else?",
    f'<think>\nIs it {{"genre": "love"}}?\n</think>\n\n{GOOD}',
    f"The user wants JSON.\n</think>\n```json\n{GOOD}\n```",
    f"As {{title}} says:\n```json\n{GOOD}\n```",
    f"{GOOD}\n```json\n{GOOD}\n```",
]


@pytest.mark.parametrize("how", ["json_object", "prompt"])
def test_text_around_the_json_is_accepted_where_the_mode_says_so(how: str) -> None:
    returns = parse_returns(COLUMNS, how)
    assert reasons(returns, *TOLERATED) == [None] * len(TOLERATED)
    for answer in TOLERATED:
        assert typed(returns, answer) == {"genre": "war", "year": 1998}
    strict = reasons(parse_returns(COLUMNS), *TOLERATED)
    assert strict[0] is None
    assert all(str(why).startswith("not JSON: ") for why in strict[1:6])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, "not JSON: no text"),
        ("", "not JSON: an empty text"),
        ("I cannot.", "not JSON: I cannot."),
        (f"<think>\n{GOOD}", "not JSON: <think>"),
        (f"<think>{GOOD}</think> I cannot.", f"not JSON: <think>{GOOD}</think> I cannot."[:70]),
        (f"{GOOD}\n{GOOD[:-6]} 1999}}", "not JSON: "),
        (f"```json\n{GOOD}\n```\nor\n```json\n{GOOD[:-6]} 1999}}\n```", "not JSON: "),
        ("```json\n[1]\n```", "not JSON: "),
        ("[1]", "$: [1] is not an object"),
        (f"```json\n{GOOD[:-1]},}}\n```", "not JSON: "),
        ('```json\n{"genre": 3, "year": 1998}\n```', "$.genre: 3 is not a VARCHAR"),
    ],
)
def test_what_is_no_answer_stays_none_and_two_answers_are_none(answer: str | None, expected: str | None) -> None:
    found = reasons(parse_returns(COLUMNS, "prompt"), answer)[0]
    assert (found or "").startswith(expected or "")
    assert (found is None) == (expected is None)


def test_json_mode_is_tolerant_too_where_the_mode_says_so() -> None:
    returns = parse_returns("JSON", "prompt")
    assert reasons(returns, f"```json\n{GOOD}\n```") == [None]
    assert json.loads(typed(returns, f"```json\n{GOOD}\n```")["response"]) == json.loads(GOOD)
    assert reasons(parse_returns("JSON"), f"```json\n{GOOD}\n```")[0] is not None


def test_the_canonical_text_keeps_the_mode_and_is_the_same_as_ever_by_default() -> None:
    for text in (COLUMNS, "JSON"):
        for how in Structured:
            returns = parse_returns(text, how)
            assert parse_returns(returns.text) == returns
        assert parse_returns(text, "json_schema") == parse_returns(text)
    assert parse_returns(None, "prompt") == parse_returns(None)


def asked(tmp_path: Path, given: dict[str, Any], comment: str = "", settings: str = "") -> options.EnrichOptions:
    """Return what a query asks for, with a file's comment and a sqlbatch.toml."""
    (tmp_path / "sqlbatch.toml").write_text(settings)
    source = read_source(f"/* sqlbatch\n{comment}\n*/ SELECT 'x' AS text")
    return options.enrich_options(source, {"model": "m", "returns": COLUMNS, "instructions": "Read.", **given})


HOUSE = '[providers.house]\nbase_url = "http://127.0.0.1:9/v1"\n'


@pytest.mark.parametrize(
    ("given", "comment", "settings", "expected"),
    [
        ({}, "", "", "json_schema"),
        ({"structured": "prompt"}, 'structured = "json_object"', "", "prompt"),
        ({}, 'structured = "json_object"', 'structured = "prompt"', "json_object"),
        ({}, "", 'structured = "prompt"', "prompt"),
        ({"provider": "house"}, "", f'structured = "prompt"\n{HOUSE}structured = "json_object"', "json_object"),
        ({"provider": "house"}, 'structured = "prompt"', f'{HOUSE}structured = "json_object"', "prompt"),
    ],
)
def test_the_mode_is_an_option_like_any_other_and_a_provider_may_need_one(
    tmp_path: Path, given: dict[str, Any], comment: str, settings: str, expected: str
) -> None:
    returns = parse_returns(asked(tmp_path, given, comment, settings).enrichment.returns)
    assert returns.structured == expected


@pytest.mark.parametrize(
    ("given", "settings", "message"),
    [
        ({"structured": "json_shema"}, "", "--structured json_shema: did you mean json_schema?"),
        ({}, 'structured = "promt"', "sqlbatch.toml, line 1: structured promt: did you mean prompt?"),
        ({"provider": "house"}, f'{HOUSE}structured = "x"', "sqlbatch.toml, line 1: structured x: known are: json_sch"),
    ],
)
def test_an_unknown_mode_is_an_error_that_names_where_it_stands(
    tmp_path: Path, given: dict[str, Any], settings: str, message: str
) -> None:
    with pytest.raises(InvalidOption) as caught:
        asked(tmp_path, given, settings=settings)
    assert str(caught.value).startswith(message)


@pytest.mark.one_of(3)
@pytest.mark.parametrize("endpoint", ["chat", "responses"])
@pytest.mark.parametrize(("how", "fault"), [("json_object", "fenced"), ("prompt", "thinking"), ("prompt", "chatty")])
def test_a_model_without_schemas_that_talks_around_its_json_fills_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str, how: str, fault: str
) -> None:
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "600")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    (tmp_path / "faults.toml").write_text(f'[[fault]]\nname = "no_json_schema"\n[[fault]]\nname = "{fault}"\n')
    config = ServerConfig(tmp_path / "provider", faults=tmp_path / "faults.toml")
    with EmbeddedServer(tmp_path / "provider", config=config) as server:
        job = sqlbatch.enrich(
            "SELECT 'A war film of 1998.' AS plot", db=tmp_path / "a.duckdb", instructions="Read it.", into="films",
            returns="genre ENUM('war', 'love') NOT NULL, year INTEGER", structured=how, endpoint=endpoint,
            provider="openai", base_url=server.base_url, model="offline", yes=True,
        )  # fmt: skip
        assert job.wait().table().project("genre, year, ai_status, ai_error").fetchall() == [
            ("war", 1998, "answered", None)
        ]


def test_a_json_column_takes_any_value_and_keeps_it() -> None:
    returns = parse_returns("a VARCHAR, extra JSON NOT NULL, s STRUCT(b JSON)[]")
    assert returns.text == '"a" VARCHAR, "extra" JSON NOT NULL, "s" STRUCT("b" JSON)[]'
    assert parse_returns(returns.text) == returns
    assert not returns.is_strict()
    assert parse_returns('a VARCHAR, "JSON" INTEGER').is_strict()
    for value in ({"x": [1.10, None]}, [1], "text", 3, True):
        answer = {"a": "y", "extra": value, "s": [{"b": value}, {"b": None}]}
        assert reason(returns, answer) is None
        found = typed(returns, json.dumps(answer))
        assert json.loads(found["extra"]) == value
        assert json.loads(found["s"][0]["b"]) == value
    assert reason(returns, {"a": "y", "extra": None, "s": []}) == "$.extra: null, but it is NOT NULL"
    assert reason(returns, {"a": "y", "s": []}) == "$.extra: missing"
    assert (
        reason(returns, '{"a": "y", "extra": {"b": NaN}, "s": []}')
        == 'not JSON: {"a": "y", "extra": {"b": NaN}, "s": []}'
    )
    assert typed(parse_returns("x JSON"), '{"x": null}') == {"x": None}


def test_a_condition_on_a_json_column_sees_json() -> None:
    returns = parse_returns("x JSON CHECK (json_type(x) IN ('OBJECT', 'VARCHAR'))")
    assert [reason(returns, {"x": value}) for value in ({"a": 1}, "text", None)] == [None, None, None]
    assert str(reason(returns, {"x": [1]})).startswith("$.x: [1] violates CHECK")


OPEN = {"type": "object", "additionalProperties": {"$ref": "#/$defs/Tag"}, "minProperties": 1}
SCHEMA: dict[str, Any] = {
    "$defs": {"Tag": {"type": "string"}},
    "type": "object",
    "properties": {"extra": OPEN, "a": {"not": {}}},
}


def test_a_json_columns_part_of_a_schema_passes_through_as_it_is() -> None:
    returns = returns_from_schema(SCHEMA, "a VARCHAR, extra JSON")
    schema = returns.json_schema() or {}
    assert schema["properties"] == {"a": {"type": ["string", "null"]}, "extra": OPEN}
    assert schema["$defs"] == SCHEMA["$defs"]
    assert schema["required"] == ["a", "extra"]
    assert not returns.is_strict()
    assert parse_returns(returns.text) == returns
    assert reason(returns, {"a": "x", "extra": {"b": "c"}}) is None
    closed = {
        "type": "object",
        "properties": {"b": {"type": "string"}},
        "required": ["b"],
        "additionalProperties": False,
    }
    assert returns_from_schema({"properties": {"extra": closed}}, "extra JSON").is_strict()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("a VARCHAR", "--returns and --json-schema are two ways to say what comes back: give one of them, or name"),
        ("JSON", "--returns and --json-schema are two ways to say what comes back: give one of them, or name"),
        ("other JSON", "--json-schema: $: it has no property other, a JSON column of --returns"),
    ],
)
def test_a_schema_beside_a_column_list_is_for_its_json_columns(columns: str, message: str) -> None:
    with pytest.raises(InvalidReturns) as caught:
        returns_from_schema(SCHEMA, columns)
    assert str(caught.value).startswith(message)


def test_a_json_column_goes_out_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "600")
    schema = {"properties": {"extra": {"type": "object", "properties": {"n": {"const": 7}}, "required": ["n"],
              "additionalProperties": False}}}  # fmt: skip
    job = sqlbatch.enrich(
        "SELECT 'A war film.' AS plot", db=tmp_path / "a.duckdb", instructions="Read it.", into="films",
        returns="a VARCHAR, extra JSON", json_schema=schema, provider="local",
    )  # fmt: skip
    found = job.wait().table().project("extra::VARCHAR, typeof(extra), ai_status")
    assert found.fetchall() == [('{"n":7}', "JSON", "answered")]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": True}, '"x" BOOLEAN NOT NULL CHECK ("x" = true)'),
        ({"type": "boolean", "const": False}, '"x" BOOLEAN NOT NULL CHECK ("x" = false)'),
        ({"enum": [True, False, None]}, '"x" BOOLEAN'),
    ],
)
def test_a_schema_may_want_true(schema: dict[str, Any], expected: str) -> None:
    returns = returns_from_schema({"type": "object", "properties": {"x": schema}, "required": ["x"]})
    assert returns.text == expected
    if "true" in expected:
        assert reason(returns, {"x": True}) is None
        assert reason(returns, {"x": False}) == '$.x: false violates CHECK ("x" = true)'

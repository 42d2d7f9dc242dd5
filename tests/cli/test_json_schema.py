"""Columns from a JSON Schema: a file beside the command or the `.sql` file, or a dict; errors name file and place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch import api, options
from sqlbatch.errors import InvalidReturns, InvalidSettings
from sqlbatch.source import Source, read_source

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"genre": {"type": "string"}, "year": {"type": ["integer", "null"]}},
    "required": ["genre", "year"],
}
COLUMNS = '"genre" VARCHAR NOT NULL, "year" BIGINT'
ASK = ("SELECT 'x' AS text", "--instructions", "Read it.", "--provider", "local", "--into", "t")


def test_a_schema_gives_the_columns_and_makes_the_same_requests_as_the_list(here: Command, tmp_path: Path) -> None:
    (tmp_path / "film.json").write_text(json.dumps(SCHEMA))
    made = here("enrich", *ASK, "--json-schema", "film.json")
    assert made.code == 0, made.err
    again = here("plan", *ASK, "--returns", COLUMNS, "--json")
    assert json.loads(again.out)["to_send"] == 0


def test_in_a_sql_file_the_schema_lies_beside_it_and_the_command_line_goes_first(tmp_path: Path) -> None:
    (tmp_path / "asks").mkdir()
    (tmp_path / "asks" / "film.json").write_text(json.dumps(SCHEMA))
    ask = tmp_path / "asks" / "ask.sql"
    ask.write_text('/* sqlbatch\njson_schema = "film.json"\ninstructions = "x"\n*/ SELECT 1 AS a')
    source = read_source(str(ask))
    assert options.enrich_options(source, {"provider": "local"}).enrichment.returns == COLUMNS
    given = {"provider": "local", "returns": "other DATE"}
    assert options.enrich_options(source, given).enrichment.returns == '"other" DATE'


def test_in_a_sql_file_texts_from_files_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "asks").mkdir()
    (tmp_path / "asks" / "told.md").write_text("Read it.\n")
    (tmp_path / "asks" / "columns.txt").write_text("genre VARCHAR")
    (tmp_path / "here.md").write_text("Said here.")
    ask = tmp_path / "asks" / "ask.sql"
    ask.write_text('/* sqlbatch\ninstructions = "@told.md"\nreturns = "@columns.txt"\n*/ SELECT 1 AS a')
    source = read_source(str(ask))
    made = options.enrich_options(source, {"provider": "local"}).enrichment
    assert (made.instructions, made.returns) == ("Read it.", '"genre" VARCHAR')
    assert (
        options.enrich_options(source, {"provider": "local", "instructions": "@here.md"}).enrichment.instructions
        == "Said here."
    )
    with pytest.raises(InvalidSettings, match=r"--instructions @told\.md: the file cannot be read: No such file"):
        options.enrich_options(source, {"provider": "local", "instructions": "@told.md"})


def test_python_takes_a_dict() -> None:
    quote = api.plan("SELECT 1 AS a", instructions="x", provider="local", json_schema=SCHEMA, db="none.duckdb")
    assert quote.to_send == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--json-schema film.json: the file cannot be read: No such file or directory"),
        (b"{,}", "--json-schema film.json: it is not JSON: "),
        (b"\xff\xfe", "--json-schema film.json: it is not UTF-8 text"),
        (b"[]", "--json-schema film.json: $: expected an object"),
        (b'{"properties": {"a": {"type": "number", "x": 1}}}', "--json-schema film.json: $.a: x cannot be said"),
        (b'{"properties": {"a": {"type": ["string", "number"]}}}', "--json-schema film.json: $.a: type"),
    ],
)
def test_an_error_names_the_file_and_the_place_in_it(
    here: Command, tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "film.json").write_bytes(content)
    made = here("plan", *ASK, "--json-schema", "film.json")
    assert made.code == 1
    assert made.error.startswith(message)


def test_one_of_returns_and_schema_is_enough(here: Command, tmp_path: Path) -> None:
    (tmp_path / "film.json").write_text(json.dumps(SCHEMA))
    made = here("plan", *ASK, "--json-schema", "film.json", "--returns", "a DATE")
    assert "give one of them" in made.error
    given = {"endpoint": "moderations", "input": ["a"], "json_schema": SCHEMA, "model": "m"}
    with pytest.raises(InvalidReturns, match="leave it out"):
        options.enrich_options(Source("SELECT 1 AS a", {}, None), given)

"""The examples in `sql/examples`, as from a fresh clone: one command each."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command


@pytest.fixture(autouse=True)
def _clone(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "data", tmp_path / "data")
    shutil.copytree(ROOT / "sql" / "examples", tmp_path / "sql" / "examples")


@pytest.mark.parametrize("command", ["plan", "preview", "query"])
def test_a_file_of_rows_in_a_querys_place_is_told_how_to_ask_it(command: str, here: Command, tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("id,review\n1,Good.\n")
    free = ("--provider", "local", "--instructions", "x") if command != "query" else ()
    ran = here(command, "reviews.csv", *free)
    assert (ran.code, ran.error) == (
        1,
        "reviews.csv is not a .sql file: to read its rows, give the query, \"FROM 'reviews.csv'\"",
    )
    assert here(command, "FROM 'reviews.csv'", *free).code == 0
    # What no file can be called is SQL, and DuckDB's to judge.
    assert "is a file" not in here(command, "x" * 300, *free).err


def test_furniture_is_captioned_from_its_pictures(here: Command) -> None:
    made = here("enrich", "sql/examples/caption_furniture.sql", "--provider", "local")
    assert made.code == 0, made.err
    assert "pictures" in made.err
    sql = "SELECT count(*) AS n, count(caption) AS c FROM furniture_captions WHERE ai_status = 'answered'"
    assert json.loads(here("query", sql, "--format", "json").out) == [{"n": 30, "c": 30}]
    sql = "SELECT count(*) AS n, count(content) AS kept FROM enriched.sqlbatch.images"
    assert json.loads(here("query", sql, "--format", "json").out) == [{"n": 30, "kept": 0}]
    again = here("enrich", "sql/examples/caption_furniture.sql", "--provider", "local")
    assert "30 answered before" in again.err


def test_every_film_is_nearest_to_itself(here: Command) -> None:
    made = here("enrich", "sql/examples/embed_movies.sql", "--provider", "local")
    assert made.code == 0, made.err
    sql = """SELECT count(*) AS films, count(*) FILTER (nearest = title) AS themselves FROM (
      SELECT a.title, arg_max(b.title, array_cosine_similarity(a.embedding, b.embedding)) AS nearest
      FROM movie_vectors a, movie_vectors b GROUP BY a.rowid, a.title)"""
    assert json.loads(here("query", sql, "--format", "json").out) == [{"films": 390, "themselves": 390}]
    sql = "SELECT typeof(embedding) AS t, count(*) AS n FROM movie_vectors GROUP BY ALL"
    assert json.loads(here("query", sql, "--format", "json").out) == [{"t": "FLOAT[256]", "n": 390}]
    stored = "SELECT count(content) AS texts, count(vector) AS vectors FROM enriched.sqlbatch.results"
    assert json.loads(here("query", stored, "--format", "json").out) == [{"texts": 0, "vectors": 390}]

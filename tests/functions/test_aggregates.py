"""Aggregates over texts: groups of any size are asked in pieces and combined, and one row more asks little again."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pytest

from sqlbatch.cli import main
from tests.functions.oracle import Model, connect, plan_of, run_plan
from tests.functions.test_jobs import SETUP, begun, run_through
from tests.query.support import Failure, content, database, rows

pytestmark = pytest.mark.skipif(duckdb.__version__ < "2", reason="AI functions need DuckDB 2.0")


def test_a_large_group_is_asked_in_pieces_and_one_row_more_asks_few_of_them_again() -> None:
    con = connect()
    con.execute("CREATE TABLE texts AS SELECT i, repeat('word ' || i || ' ', 100) AS t FROM range(600) r(i)")
    query = "SELECT ai_agg(t, 'What is common?') AS said FROM texts"
    first = run_plan(con, plan_of(con, query), Model())
    pieces = [json.loads(text) for question, text in first.asked if "list of texts" in question]
    combined = [json.loads(text) for question, text in first.asked if "list of answers" in question]
    assert sorted(text for piece in pieces for text in piece) == sorted(
        text for (text,) in con.execute("SELECT t FROM texts").fetchall()
    )
    assert 10 < len(pieces) < 50
    assert all(sum(map(len, piece)) < 300_000 for piece in pieces)
    assert 1 <= len(combined) < 10
    assert first.rows[0][0].startswith("said ")
    con.execute("INSERT INTO texts VALUES (600, 'one row more')")
    again = run_plan(con, plan_of(con, query), Model())
    new = [json.loads(text) for _, text in again.asked - first.asked]
    assert len([each for each in new if "one row more" in each]) == 1
    # Its piece, perhaps cut in two, and one of each level above.
    assert 1 <= len(new) <= 6


def says(body: Any) -> str | Failure:
    """Answer with how many texts were told."""
    text = content(body)
    return Failure("refusal", "no sea") if "sea" in text else f"of {len(json.loads(text))}"


def test_filter_and_order_of_an_aggregate_hold_and_a_failed_piece_is_named() -> None:
    db = database(setup=SETUP)
    job_id = begun(
        db,
        "SELECT year > 1980 AS late, ai_agg(overview, 'What?' ORDER BY id DESC) FILTER (id <> 2) AS said FROM movies "
        "GROUP BY late ORDER BY late",
    )
    asked = []

    def reply(body: Any) -> str | Failure:
        asked.append(json.loads(content(body)))
        return says(body)

    run_through(db, job_id, reply)
    assert sorted(asked) == [["a war in space"], ["a war of elves", "a war at sea"]]
    assert rows(db, "SELECT late, said, ai_status, ai_error FROM answers") == [
        (False, "of 1", "answered", None),
        (True, None, "failed", "said: refusal: no sea"),
    ]


def test_distinct_texts_are_told_once() -> None:
    con = connect()
    asked = run_plan(con, plan_of(con, "SELECT ai_agg(DISTINCT bio, 'What?') FROM people"), Model()).asked
    assert [sorted(json.loads(text)) for _, text in asked] == [[f"bio {i}" for i in range(4)]]


def test_installed_macros_have_the_aggregates_too() -> None:
    db = database(setup=SETUP)
    query = "SELECT id < 4 AS early, ai_summarize_agg(title) AS s FROM movies GROUP BY early ORDER BY early"
    run_through(db, begun(db, query), says)
    assert main(["functions", "install", "--db", str(db.path)]) == 0
    with duckdb.connect(str(db.path)) as con:
        assert con.execute(query).fetchall() == [(False, "of 2"), (True, "of 3")]

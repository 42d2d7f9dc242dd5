"""preview as a person and a script meet it: what it prints where, what it asks first, how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT, Refusing
from tests.query.support import Failure, database, enrich

from .conftest import Unchanged

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command

FREE = ("--provider", "local", "--instructions", "Say it again.", "--input", "x")
QUERY = "SELECT unnest(['a', 'b', NULL, 'a']) AS x, 'nan'::DOUBLE AS y"


@pytest.mark.parametrize("example", ["categorize_movies", "caption_furniture"])
def test_an_example_shows_five_rows(example: str, here: Command, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(ROOT / "data")
    ran = here("preview", str(ROOT / "sql" / "examples" / f"{example}.sql"), "--provider", "local")
    assert ran.code == 0, ran.err
    assert ran.out.count(": answered") == 5
    assert "5 rows: 5 answered; 5 requests sent" in ran.err
    assert "no language model" in ran.err


def test_what_was_answered_is_shown_again_and_not_sent(here: Command) -> None:
    first = here("preview", QUERY, *FREE)
    assert first.code == 0
    assert "row 1: answered\n  x: a\n  y: " in first.out
    assert "  -> response: a\n" in first.out
    assert "row 3: skipped: x is NULL\n  x: NULL\n" in first.out
    again = here("preview", QUERY, *FREE)
    assert again.out.count(", kept") == 3
    assert "nothing sent" in again.err
    assert "2 answered before" in here("plan", QUERY, *FREE).out
    assert "2 requests sent" in here("preview", QUERY, *FREE, "--fresh").err


def test_json_is_one_object_and_valid(here: Command) -> None:
    ran = here("preview", QUERY, *FREE, "-n", "1", "--json")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(ran.out, parse_constant=refuse)
    assert found["rows"] == [
        {"row": 1, "status": "answered", "error": None, "kept": False, "input": {"x": "a", "y": None},
         "answer": {"response": "a"}}
    ]  # fmt: skip
    assert found["requests_sent"] == 1
    assert found["tokens_in"] > 0


def test_a_paid_preview_is_asked_about_and_declined_without_a_trace(here: Command, tmp_path: Path) -> None:
    before = Unchanged(tmp_path)
    paid = (
        "preview",
        QUERY,
        "--input",
        "x",
        "--instructions",
        "x",
        "--model",
        "m",
        "--base-url",
        "http://127.0.0.1:9/v1",
    )
    ran = here(*paid)
    assert ran.code == 1
    assert "--yes" in ran.error
    assert "2 requests now at the ordinary price" in ran.err
    before.check()


PRICED = "[prices.m]\ninput = {price}\noutput = {price}\nbatch_factor = 0.5\n"


@pytest.mark.parametrize(("price", "asked"), [(2, False), (2_000, True)])
def test_a_preview_is_quoted_at_the_ordinary_price_and_asks_above_a_dollar(
    price: int, asked: bool, here: Command, tmp_path: Path
) -> None:
    (tmp_path / "sqlbatch.toml").write_text(PRICED.format(price=price))
    ran = here("preview", QUERY, "--input", "x", "--instructions", "x", "--model", "m", "--param",
               "max_completion_tokens=500", "--base-url", "http://127.0.0.1:9/v1", "--quiet")  # fmt: skip
    if not asked:
        assert ran.code == 3, "it was sent, to nobody"
        assert "cost" not in ran.err
        return
    assert ran.code == 1
    # Two answers of 500 tokens, at the whole price and not at a batch's; who is asked sees it also with --quiet.
    assert "expected, up to $2." in ran.err.split("cost", 1)[1]
    assert ran.error.startswith("this costs money, $1.25 expected, up to $2.")


def test_a_provider_that_is_not_there_fails_each_row(here: Command) -> None:
    ran = here("preview", QUERY, "--instructions", "x", "--input", "x", "--model", "m", "--base-url",
               "http://127.0.0.1:9/v1", "--yes")  # fmt: skip
    assert ran.code == 3
    assert ran.out.count("failed: unreachable: 127.0.0.1:9 cannot be reached") == 3
    assert "the answers are kept" not in ran.err


def test_a_refused_key_is_told_once_a_row_and_nothing_is_kept(
    here: Command, refusing: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-0123456789password")
    ran = here("preview", QUERY, "--instructions", "x", "--input", "x", "--model", "m", "--base-url",
               refusing.base_url, "--yes")  # fmt: skip
    assert ran.code == 3
    assert "failed: invalid_api_key: Incorrect API key provided: (the key)" in ran.out
    assert "sk-" not in ran.out + ran.err
    assert "0" in here("query", "SELECT count(*) FROM sqlbatch.results").out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--rows", "0"), "--rows 0: it must be 1 to 100"),
        (("--sample", "1000"), "--sample 1000: it must be 1 to 100"),
        (("--rows", "2", "--sample", "2"), "give one of them"),
    ],
)
def test_wrong_numbers_of_rows_are_told(options: tuple[str, ...], told: str, here: Command) -> None:
    ran = here("preview", QUERY, *FREE, *options)
    assert ran.code == 2
    assert told in ran.error


def test_rows_that_are_all_skipped_and_none_at_all(here: Command) -> None:
    skipped = here("preview", "SELECT NULL::VARCHAR AS x", *FREE)
    assert skipped.code == 1
    assert "every row is skipped" in skipped.error
    assert "row 1: skipped: x is NULL" in skipped.out
    none = here("preview", "SELECT 'a' AS x WHERE false", *FREE)
    assert (none.code, none.out) == (0, "")


def test_what_failed_before_is_not_asked_again_and_the_hint_says_how(here: Command) -> None:
    enrich(database("enriched.duckdb"), "SELECT 'a' AS x", lambda _: Failure("refusal", "No."), into="t")
    asked = ("preview", "SELECT 'a' AS x", "--provider", "local", "--instructions", "Say it again.")
    before = here(*asked)
    assert before.err.endswith("1 row failed before and are not sent again: add --fresh to send them\n")
    assert "1 answered" in here(*asked, "--fresh").err

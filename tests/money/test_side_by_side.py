"""Two prompts, or two models, on the same rows: one quote and one question for both, and a kill pays nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import sqlbatch
from sqlbatch import compare, prepare, side_by_side
from sqlbatch.errors import InvalidOption, InvalidSettings
from sqlbatch.options import EnrichOptions
from tests.conftest import ROOT

if TYPE_CHECKING:
    from tests.batches.bench import Bench
    from tests.conftest import Command

FILM = """/* sqlbatch
input = ["overview"]
instructions = "{}"
returns = "genre ENUM('drama', 'war', 'comedy'), summary VARCHAR"
*/
SELECT title, {} FROM '{}/data/movies.csv'
"""


def sides(bench: Bench, **more: Any) -> list[EnrichOptions]:
    asked = []
    for words in ("Repeat the text.", "Repeat it; think twice."):
        enrichment, _ = bench.ask(20, instructions=words, **more)
        asked.append(EnrichOptions(enrichment, bench.provider, None, 3))
    return asked


def texts(bench: Bench, table: str) -> list[Any]:
    return bench.sql(f"SELECT text FROM {table} ORDER BY ALL")


def test_both_sides_ask_about_the_same_rows_and_a_second_run_pays_nothing(bench: Bench) -> None:
    for sample, sent in ((8, 16), (8, 0), (11, 6)):
        with side_by_side.prepared(bench.database, sides(bench), ["short", "long"], sample=sample) as both:
            assert (both.targets, both.to_send) == (("short_compared", "long_compared"), sent)
            jobs = side_by_side.start(bench.database, both)
        for job_id in jobs:
            bench.wait(job_id)
        assert texts(bench, "short_compared") == texts(bench, "long_compared")
        found = compare.compare(bench.database, *both.targets)
        assert (found.rows, found.only_a, found.only_b) == (sample, 0, 0)
    # A run over all rows uses the answers again.
    bench.enrich(20)
    assert bench.sql("SELECT count(*) FROM sqlbatch.results") == [(11 * 2 + 9,)]


def test_a_kill_between_or_amid_the_two_jobs_pays_nothing_twice(bench: Bench) -> None:
    with side_by_side.prepared(bench.database, sides(bench), ["short", "long"], sample=8) as both:
        first = prepare.start(bench.database, both.asks[0])
    with side_by_side.prepared(bench.database, sides(bench), ["short", "long"], sample=8) as both:
        assert both.running == (first, None)
        assert side_by_side.start(bench.database, both)[0] == first
    bench.sync(first)
    with side_by_side.prepared(bench.database, sides(bench), ["short", "long"], sample=8) as both:
        assert both.running == (1, 2)
        assert [ask.quote.in_flight for ask in both.asks] == [8, 0]
        jobs = side_by_side.start(bench.database, both)
    for job_id in jobs:
        bench.wait(job_id)
    assert jobs == (1, 2)
    assert bench.sql("SELECT count(*), count(DISTINCT custom_id) FROM sqlbatch.results") == [(16, 16)]


def test_the_quote_is_of_both_together(bench: Bench) -> None:
    bench.sql("INSERT INTO sqlbatch.prices (model, input, output) VALUES ('offline', 20, 1000)")
    capped = {"params": (("max_completion_tokens", "50"),)}
    with side_by_side.prepared(bench.database, sides(bench, **capped), ["short", "long"]) as both:
        each = [ask.quote.cost.dollars_largest or 0 for ask in both.asks]
        assert both.cost.dollars_largest == pytest.approx(sum(each))
        assert min(each) > 0
    limit = round(1.5 * max(each), 2)
    with side_by_side.prepared(bench.database, sides(bench, **capped), ["short", "long"], max_cost=limit) as both:
        # Each alone is within the limit, and both are not.
        assert [ask.over() for ask in both.asks] == [None, None]
        assert f"above --max-cost {limit:g}" in (both.over() or "")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"query": "SELECT 1 AS other"}, "no column in common"),
        ({"query": "SELECT ai_filter('x', 'y') AS text"}, "calls AI functions"),
        ({"incremental": True}, "incremental targets cannot"),
        ({"instructions": "Repeat the text."}, "both sides ask the same"),
    ],
)
def test_what_cannot_be_set_side_by_side_is_named(bench: Bench, more: dict[str, Any], says: str) -> None:
    from dataclasses import replace  # noqa: PLC0415 (of this test alone)

    first, second = sides(bench)
    second = replace(second, enrichment=replace(second.enrichment, **more))
    with (
        pytest.raises(InvalidOption, match=says),
        side_by_side.prepared(bench.database, [first, second], ["a", "b"], sample=3),
    ):
        pass


@pytest.fixture
def files() -> tuple[str, str]:
    Path("short.sql").write_text(FILM.format("Name the genre.", "overview", ROOT))
    Path("long.sql").write_text(FILM.format("Name the genre; think twice.", "overview, year", ROOT))
    return "short.sql", "long.sql"


def test_the_command_asks_both_files_and_compares(files: tuple[str, str], here: Command) -> None:
    first = here("compare", *files, "--sample", "5", "--provider", "local", "--json")
    assert first.code == 0, first.err
    told = json.loads(first.out)
    assert (told["a"], told["b"], told["rows"]) == ("short_compared", "long_compared", 5)
    assert {each["column"] for each in told["columns"]} == {"genre", "summary"}
    again = here("compare", *files, "--sample", "5", "--provider", "local")
    assert again.err.count("5 answered before") == 2
    for given, says in (
        (("short.sql",), "one .sql file with two --model"),
        (("short.sql", "short_compared"), "not one of each"),
        (("short_compared", "long_compared", "--model", "m"), "are for .sql files"),
        (("short_compared",), "name two tables, two .sql files"),
        (("short.sql", "long.sql", "--model", "a", "--model", "b"), "one .sql file with two --model"),
        (("short.sql", "short.sql", "--provider", "local"), "both sides ask the same"),
        (("short.sql", "--model", "a", "--model", "b", "--provider", "local"), "has one model, offline"),
    ):
        refused = here("compare", *given)
        assert (refused.code, says in refused.err) == (
            2 if "--model" in says and "local" in given else refused.code,
            True,
        )


def test_python_compares_two_models_and_spends_only_what_was_agreed_to(files: tuple[str, str], bench: Bench) -> None:
    bench.sql("INSERT INTO sqlbatch.prices (model, input, output) VALUES ('offline', 900, 900)")
    asked: dict[str, Any] = {"db": bench.path, "base_url": bench.base_url, "sample": 4, "model": "offline"}
    with pytest.raises(InvalidSettings, match=r"8 requests .* would be sent"):
        sqlbatch.compare_asks(Path(files[0]), Path(files[1]), **asked)
    assert bench.sql("SELECT count(*) FROM sqlbatch.jobs") == [(0,)]
    found = sqlbatch.compare_asks(Path(files[0]), Path(files[1]), yes=True, **asked)
    assert (found.rows, found.keys) == (4, ["title", "overview"])
    assert found.dollars_a
    with pytest.raises(TypeError, match="models"):
        sqlbatch.compare_asks(Path(files[0]), models=("offline",), **asked)

"""What a query with calls costs is shown stage by stage before it starts; a stage that does not fit is not asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from sqlbatch import prepare
from sqlbatch.batches import plan
from sqlbatch.batches.budget import reserve
from sqlbatch.batches.providers import find_provider
from sqlbatch.display.quote import quote_facts
from sqlbatch.functions.jobs import collect_ready
from sqlbatch.options import enrich_options
from sqlbatch.source import Source
from tests.functions.test_jobs import QUERY, SETUP, begun, reply, run_through
from tests.query.support import answer, database, rows

if TYPE_CHECKING:
    from sqlbatch.db.database import Database
    from sqlbatch.query.quote import Quote

pytestmark = pytest.mark.skipif(duckdb.__version__ < "2", reason="AI functions need DuckDB 2.0")

PAID = {"provider": "openai", "model": "gpt-6-luna", "param": ["max_completion_tokens=100"]}


def quoted(db: Database, query: str, **options: Any) -> Quote:
    """Return the quote of a query."""
    asked = enrich_options(Source(query, {}, None), PAID | options)
    with prepare.prepared(db, asked.enrichment, asked.provider, "answers") as ask:
        return ask.quote


def test_the_stages_stand_in_columns_the_first_exact_and_later_ones_at_most() -> None:
    facts = quote_facts(quoted(database(setup=SETUP), QUERY))
    first, second = facts["stage 1"], facts["stage 2"]
    assert first.split("  ")[0] == "ai_filter(overview, 'war?')"
    assert second.startswith("ai_complete(overview, 'Summarize.')")
    assert "≤" not in first
    assert " ≤ 4" in second
    assert first.index(" 4 ") + 1 == second.index("≤ 4") + 2
    assert facts["rounds"] == ("2 rounds of batches, each up to 24 h; with --fuse 1 round, which asks all of it")


def test_answers_that_are_known_tell_how_many_rows_are_likely_to_pass() -> None:
    db = database(setup=SETUP)
    run_through(db, begun(db))
    second = quote_facts(quoted(db, QUERY, provider="local", model=None, param=None))["stage 2"]
    assert second.endswith("about 3 (3 of 4 answered before pass, 30% to 95%)")


def test_max_cost_must_hold_the_first_stage_and_holds_each_later_one_as_a_whole() -> None:
    db = database(setup=SETUP)
    quote = quoted(db, QUERY)
    first, both = quote.stages[0].cost.dollars_largest, quote.cost.dollars_largest
    assert first is not None
    assert both is not None
    assert quote.over(first) is None
    assert "above --max-cost" in str(quote.over(first * 0.99))


def test_a_later_stage_is_asked_as_a_whole_or_held() -> None:
    db = database(setup=SETUP)
    asks = "ai_complete(overview, 'A') AS a, ai_complete(overview, 'B') AS b"
    job_id = begun(db, f"SELECT {asks} FROM movies WHERE ai_filter(overview, 'war?')", **PAID)
    rows(db, "UPDATE sqlbatch.jobs SET max_cost = 100")
    answer(db, job_id, reply)
    while db.write(lambda session: collect_ready(session, job_id, 10**6)):
        pass
    plan.pack(db, job_id, find_provider("openai"))
    planned = [str(row[0]) for row in rows(db, "SELECT batch_id FROM sqlbatch.batches WHERE state = 'planned'")]
    assert len(planned) == 2
    one = db.write(lambda session: reserve(session, job_id, planned[0])).dollars
    assert one
    rows(db, f"UPDATE sqlbatch.jobs SET max_cost = {one * 1.5}")
    held = db.write(lambda session: reserve(session, job_id, planned[0])).held
    assert f"the next stage may cost ${2 * one:,.4f}" in str(held)
    rows(db, f"UPDATE sqlbatch.jobs SET max_cost = {one * 2.1}")
    assert db.write(lambda session: reserve(session, job_id, planned[0])).dollars == one

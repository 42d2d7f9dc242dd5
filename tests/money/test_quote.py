"""The quote says in tokens and dollars what will be billed, what it knows that from, and asks above a dollar."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from genai_prices import Usage, calc_price

import sqlbatch
from sqlbatch import clock, prepare
from sqlbatch.batches.providers import KNOWN
from sqlbatch.db import jobs, price_library
from sqlbatch.display.quote import quote_facts, quoted
from sqlbatch.errors import InvalidSettings
from tests.conftest import ROOT

if TYPE_CHECKING:
    from sqlbatch.query.quote import Quote
    from tests.batches.bench import Bench
    from tests.conftest import Command

FILMS = f"SELECT title, overview AS text FROM '{ROOT}/data/movies.csv'"
RETURNS = "categories VARCHAR[], summary VARCHAR, fit BOOLEAN NOT NULL COMMENT 'for children'"
CAP = (("max_completion_tokens", "200"),)
OWN = "INSERT INTO sqlbatch.prices (model, input, output, batch_factor) VALUES ('offline', 2, 10, 0.5)"


def quote(bench: Bench, rows: int | str, **more: Any) -> Quote:
    enrichment, options = bench.ask(rows, **more)
    with prepare.prepared(bench.database, enrichment, bench.provider, "answers", **options) as prepared:
        return prepared.quote


def billed(bench: Bench, column: str = "tokens_in") -> int:
    return int(bench.sql(f"SELECT sum({column}) FROM sqlbatch.results")[0][0])


SHORT = "Name the film's categories."
LONG = SHORT + " Weigh each word of the text before you answer, and stay with what it says." * 300


@pytest.mark.parametrize(("returns", "inputs", "instructions"), [
    ("", ("text",), SHORT),
    ("", ("title", "text"), LONG),
    (RETURNS, ("text",), LONG),
    (RETURNS, ("title", "text"), SHORT),
])  # fmt: skip
def test_the_films_are_quoted_within_25_percent_and_within_5_of_the_bill_once_ten_results_are_known(
    returns: str, inputs: tuple[str, ...], instructions: str, bench: Bench
) -> None:
    ask: dict[str, Any] = {"returns": returns, "inputs": inputs, "instructions": instructions}
    before = quote(bench, FILMS, **ask)
    assert before.cost.estimate.source == "bytes"
    # Ten films from all over the list are answered, as a preview's sample would be.
    bench.enrich(f"FROM ({FILMS}) ORDER BY md5(title) LIMIT 10", "sample", **ask)
    # The server's model costs what gpt-6-luna does.
    for row in price_library.rows_of(KNOWN["openai"].base_url, "gpt-6-luna"):
        values = [row["tier"], row["above"], row["input"], row["cached"], row["cache_write"], row["output"]]
        bench.sql("INSERT INTO sqlbatch.prices (model, tier, above, input, cached, cache_write, output) "
                  f"VALUES ('offline', {', '.join(map(repr, values))})")  # fmt: skip
    known = quote(bench, FILMS, **ask)
    assert (known.cost.estimate.source, known.cost.estimate.known) == ("call", 10)
    first = billed(bench)
    job_id = bench.enrich(FILMS, **ask)
    assert abs(before.tokens / billed(bench) - 1) < 0.25
    assert abs(known.tokens / (billed(bench) - first) - 1) < 0.05
    bill = sum(
        calc_price(
            Usage(input_tokens=tokens_in, output_tokens=tokens_out),
            "gpt-6-luna",
            provider_id="openai",
            price_context={"processing": "batch"},
        ).total_price
        for tokens_in, tokens_out in bench.sql(
            f"SELECT tokens_in, tokens_out FROM sqlbatch.costs WHERE job_id = {job_id}"
        )
    )
    assert known.cost.dollars is not None
    assert abs(known.cost.dollars / float(bill) - 1) < 0.05


@pytest.mark.parametrize("count", ["3 * tokens_in + 40", "tokens_in // 2", "tokens_in * tokens_in // 100"])
def test_a_tokenizer_of_another_kind_is_learned(count: str, bench: Bench) -> None:
    bench.enrich(f"FROM ({FILMS}) ORDER BY md5(title) LIMIT 40", "sample")
    bench.sql(f"UPDATE sqlbatch.results SET tokens_in = {count}")
    known = quote(bench, FILMS)
    rest = f"SELECT sum({count}) FROM sqlbatch.results"
    learned = known.tokens + bench.sql("SELECT sum(tokens_in) FROM sqlbatch.results")[0][0]
    bench.sql("UPDATE sqlbatch.results SET tokens_in = NULL")
    bench.enrich(FILMS, fresh=True)
    actual = bench.sql(rest)[0][0]
    assert abs(learned / actual - 1) < 0.05


def test_another_prompt_of_the_same_model_is_set_right_by_the_first(bench: Bench) -> None:
    bench.enrich(12)
    bench.sql("UPDATE sqlbatch.results SET tokens_in = 2 * tokens_in")
    other = quote(bench, 50, instructions="Do something else.")
    assert (other.cost.estimate.source, other.cost.estimate.known) == ("model", 12)
    assert 1.5 < other.cost.estimate.slope < 2.5
    assert quote(bench, 50, model="another").cost.estimate.source == "bytes"


def test_dollars_stand_beside_the_ordinary_price_and_a_cap_bounds_them(bench: Bench) -> None:
    bench.enrich(1, "first")
    bench.sql(OWN)
    cost = quote(bench, 100, params=CAP, instructions="Else.").cost
    assert cost.dollars is not None
    assert cost.dollars_largest is not None
    assert cost.dollars_ordinary == 2 * cost.dollars
    assert cost.tokens_out_largest == 20_000
    # Numbers and rare scripts take more tokens than prose: nothing but bytes is known of these.
    assert cost.tokens_largest >= 2 * cost.tokens
    assert cost.dollars < cost.dollars_largest
    assert cost.dollars_largest == pytest.approx(0.5 * (cost.tokens_largest * 2 + 20_000 * 10) / 1e6, rel=1e-12)
    assert quote(bench, 100, instructions="Else.").cost.dollars_largest is None


def test_what_costs_a_dollar_or_less_is_not_asked_about_and_more_is(bench: Bench) -> None:
    bench.enrich(1, "first")
    assert quote(bench, 5).cost.must_be_agreed
    bench.sql(OWN)
    assert not quote(bench, 5).cost.must_be_agreed
    assert quote(bench, 5_000).cost.must_be_agreed
    bench.sql("UPDATE sqlbatch.prices SET output = NULL WHERE origin = 'own'")
    assert quote(bench, 5).cost.dollars is None
    assert quote(bench, 1).cost.free


def test_a_free_provider_costs_nothing(bench: Bench) -> None:
    cost = quote(bench.within(paid=False), 5).cost
    assert (cost.free, cost.dollars, cost.must_be_agreed) == (True, 0, False)


def test_a_model_past_its_shutdown_is_refused_and_a_near_one_is_told(bench: Bench) -> None:
    bench.enrich(3)
    today = clock.now().date()
    for days, note in ((400, ()), (20, "is shut down on")):
        day = today + timedelta(days=days)
        bench.sql("DELETE FROM sqlbatch.prices WHERE origin = 'own'")
        bench.sql(f"INSERT INTO sqlbatch.prices (model, input, output, shutdown, successor) VALUES ('offline', 1, 1, '{day}', 'next')")  # fmt: skip  # noqa: E501
        notes = quote(bench, 5).notes
        assert (notes == note) if not note else ("next replaces it" in notes[0])
    bench.sql(f"UPDATE sqlbatch.prices SET shutdown = '{today}' WHERE origin = 'own'")
    with pytest.raises(InvalidSettings, match=r"offline was shut down on .*: next replaces it; name another"):
        quote(bench, 5)
    # What is answered already is still there to be had.
    assert quote(bench, 3).to_send == 0


def test_a_retry_is_asked_about_above_a_dollar_or_at_an_unknown_price(
    bench: Bench, here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", bench.provider.base_url)
    bench.control.faults({"name": "refusal", "count": 2})
    job_id = bench.enrich(4, params=CAP)
    bench.control.faults()
    again = ("retry", str(job_id), "--db", str(bench.path))
    assert here(*again, "--quiet").error.startswith("this costs money, at an unknown price: add --yes")
    with pytest.raises(InvalidSettings, match=r"2 failed requests would be sent to .* again, at an unknown price"):
        sqlbatch.find(job_id, db=bench.path).retry()
    bench.sql(OWN.replace("2, 10", "2000, 10000"))
    asked = here(*again, "--quiet")
    assert "2 failed requests would go to 127.0.0.1" in asked.err
    assert asked.error.startswith("this costs money, $0.05 expected, up to $2.")
    assert bench.job(job_id).failed == 2
    bench.sql("DELETE FROM sqlbatch.prices WHERE origin = 'own'")
    bench.sql(OWN)
    ran = here(*again, "--no-wait")
    assert ran.code == 0, ran.err
    assert "again; cost: under $0.0001" in ran.err
    assert bench.job(job_id).open


def test_after_the_job_it_is_told_how_far_off_the_quote_was(bench: Bench) -> None:
    bench.sql(OWN)
    job_id = bench.enrich(20)
    for factor, told in ((1, "as they were billed"), (2, "50.0% less a request than billed")):
        bench.sql(f"UPDATE sqlbatch.results SET tokens_in = {factor} * {bench.job(job_id).tokens // 20}")
        assert told in str(quoted(bench.job(job_id), bench.database.read(lambda session: jobs.billed(session, job_id))))
    # What a job finds answered it neither quotes nor pays.
    again = bench.enrich(20, "again")
    assert quoted(bench.job(again), bench.database.read(lambda session: jobs.billed(session, again))) is None


def test_quoted_spent_and_reserved_stand_in_jobs_and_show(bench: Bench, here: Command) -> None:
    bench.enrich(1, "first")
    bench.sql(OWN)
    job_id = bench.begin(8, params=CAP)
    bench.control.faults({"name": "stuck_in_progress"})
    bench.sync(job_id)
    listed = {job["job_id"]: job for job in json.loads(here("jobs", "--db", str(bench.path), "--json").out)}
    job = listed[job_id]
    assert job["dollars"] == 0
    assert 0 < job["quoted"] < job["reserved"]
    shown = here("show", str(job_id), "--db", str(bench.path)).out
    assert re.search(r"quoted .*, nothing, up to \$0\.0\d+ reserved by batches under way", shown), shown
    table = here("jobs", "--db", str(bench.path)).out
    assert {"quoted", "spent", "reserved"} <= set(table.splitlines()[0].split())
    bench.control.faults()
    bench.wait(job_id)
    assert listed.keys() == {1, 2}
    after = json.loads(here("jobs", "--db", str(bench.path), "--json").out)[0]
    assert (after["reserved"], after["quoted"]) == (0, job["quoted"])
    assert after["dollars"] > 0


def test_earlier_batches_tell_when_it_may_be_finished(bench: Bench) -> None:
    bench.enrich(1, "first")
    assert quote(bench, 5).expected_seconds is None
    bench.sql("""
        INSERT INTO sqlbatch.batches BY NAME
        SELECT b.* EXCLUDE (batch_id, opened_at, ended_at, requests), uuid() AS batch_id, 0 AS requests,
          now()::TIMESTAMP AS opened_at, now()::TIMESTAMP + to_minutes(n::INT) AS ended_at
        FROM sqlbatch.batches b, (SELECT unnest([40, 50, 90]) AS n)""")
    found = quote(bench, 5)
    assert found.expected_from == 4
    assert quote_facts(found)["finish"].startswith("in about 45 min, as 4 earlier batches took")
    assert found.as_dict()["expected_seconds"] == found.expected_seconds


def test_a_changed_parameter_that_makes_paid_answers_useless_is_named_with_their_number(bench: Bench) -> None:
    bench.enrich(9)
    (note,) = quote(bench, 9, params=(("temperature", "0.5"),)).notes
    assert note == "temperature differs: 9 paid answers of job 1 are not reused"
    assert quote(bench, 9, params=CAP).notes == ()


def test_no_price_of_a_model_that_the_library_knows_is_written_by_us() -> None:
    """No file of the package names such a model beside a price: shutdowns.csv has days, and toml files no prices."""
    models = {model for model in price_library.models(KNOWN["openai"].base_url) if len(model) > 4}
    priced = re.compile(r"^\s*\[prices\b|\b(input|output|cached)\w*[\"']?\s*[=:]\s*[\"']?\d*\.?\d*[1-9]", re.MULTILINE)
    folders = (ROOT / "src", ROOT / "sql")
    texts = {
        path: path.read_text(encoding="utf-8")
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in {".py", ".sql", ".csv", ".toml", ".json"}
    }
    assert len(texts) > 100
    naming = {path for path, text in texts.items() if any(model in text for model in models)}
    assert naming, "shutdowns name their successors"
    assert [path for path in naming if priced.search(texts[path])] == []
    assert "price" not in (ROOT / "sql" / "shutdowns.csv").read_text(encoding="utf-8")

"""What was spent is known to the result, in dollars, and stays known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlbatch.db import jobs, prices

if TYPE_CHECKING:
    from tests.batches.bench import Bench

OWN = "INSERT INTO sqlbatch.prices (model, input, output, cached, batch_factor) VALUES ('offline', 2, 10, 1, 0.5)"


def spent(bench: Bench, columns: str = "sum(dollars)", where: str = "true") -> Any:
    return bench.sql(f"SELECT {columns} FROM sqlbatch.costs WHERE {where}")[0][0]


def expected(bench: Bench, where: str = "true") -> float:
    """Return what results cost by their tokens, at the price OWN."""
    sql = f"SELECT sum(((tokens_in - tokens_cached) * 2 + tokens_cached + tokens_out * 10) * 0.5 / 1e6) FROM sqlbatch.results WHERE {where}"  # fmt: skip  # noqa: E501
    return float(bench.sql(sql)[0][0])


def test_each_result_has_its_price_and_a_price_given_later_prices_earlier_results(bench: Bench) -> None:
    bench.enrich(20)
    assert spent(bench, "count(*)") == 20
    assert spent(bench, "count(dollars)") == 0
    assert bench.database.read(lambda session: jobs.billed(session, 1)).dollars is None
    bench.sql(OWN)
    assert spent(bench, "count(dollars)") == 20
    assert abs(spent(bench) - expected(bench)) < 1e-12
    bench.sql("UPDATE sqlbatch.results SET tokens_cached = 5 WHERE rowid < 3")
    assert abs(spent(bench) - expected(bench)) < 1e-12
    billed = bench.database.read(lambda session: jobs.billed(session, 1))
    assert billed.dollars is not None
    assert abs(billed.dollars - expected(bench)) < 1e-12
    assert spent(bench, "any_value(target)") == "answers"


def test_failed_answers_that_were_billed_count_and_so_does_every_attempt(bench: Bench) -> None:
    bench.sql(OWN)
    bench.control.faults({"name": "refusal", "share": 0.3}, {"name": "wrong_shape", "share": 0.2})
    bench.enrich(30, returns="answer VARCHAR")
    bench.control.faults()
    outcomes = dict(bench.sql("SELECT outcome, count(*) FROM sqlbatch.costs GROUP BY ALL"))
    assert outcomes["failed"] > 3
    assert sum(outcomes.values()) == 30
    bench.enrich(30, returns="answer VARCHAR", fresh=True)
    assert spent(bench, "count(*)") == 60
    # Each job bears what it has sent.
    assert bench.sql("SELECT job_id, count(*) FROM sqlbatch.costs GROUP BY ALL ORDER BY ALL") == [(1, 30), (2, 30)]
    assert abs(spent(bench) - expected(bench)) < 1e-12


def test_a_second_job_pays_only_for_what_it_sends(bench: Bench) -> None:
    bench.sql(OWN)
    bench.enrich(10)
    bench.enrich(15, into="more")
    assert bench.sql("SELECT target, count(*) FROM sqlbatch.costs GROUP BY ALL ORDER BY ALL") == [
        ("answers", 10),
        ("more", 5),
    ]


def test_a_preview_costs_the_full_price(bench: Bench) -> None:
    bench.sql(OWN)
    bench.enrich(10)
    whole = spent(bench)
    bench.sql("UPDATE sqlbatch.results SET source = 'preview', batch_id = NULL WHERE rowid < 5")
    assert abs(spent(bench, where="source = 'preview'") - 2 * expected(bench, "source = 'preview'")) < 1e-12
    assert spent(bench) > whole
    # It is the job's that wants it, and priced by the model that was asked.
    assert bench.sql("SELECT DISTINCT job_id, model FROM sqlbatch.costs") == [(1, "offline")]
    bench.sql("UPDATE sqlbatch.results SET batch_id = (SELECT batch_id FROM sqlbatch.batches)")


def test_the_price_of_the_day_holds_and_the_batch_factor_of_the_provider_where_the_price_has_none(bench: Bench) -> None:
    bench.enrich(4)
    bench.sql("""
        INSERT INTO sqlbatch.prices (model, input, output) VALUES ('offline', 1, 0);
        INSERT INTO sqlbatch.prices (model, input, output, valid_from) VALUES ('offline', 3, 0, DATE '2026-03-01');
        UPDATE sqlbatch.results SET received_at = TIMESTAMP '2026-02-28 23:59:59' WHERE rowid < 2;
        UPDATE sqlbatch.batches SET batch_factor = 0.25""")
    tokens = "sum(dollars) * 1e6 / sum(tokens_in)"
    assert abs(spent(bench, tokens, "day < DATE '2026-03-01'") - 0.25) < 1e-9
    assert abs(spent(bench, tokens, "day >= DATE '2026-03-01'") - 0.75) < 1e-9
    bench.sql("UPDATE sqlbatch.batches SET batch_factor = NULL")
    assert abs(spent(bench, tokens, "day >= DATE '2026-03-01'") - 3) < 1e-9


def test_a_request_of_more_than_272_000_tokens_costs_more_in_whole(bench: Bench) -> None:
    bench.enrich(4)
    bench.sql("""
        INSERT INTO sqlbatch.prices (model, above, input, output, batch_factor)
        VALUES ('offline', 0, 1, 10, 0.5), ('offline', 272000, 2, 15, 0.5);
        UPDATE sqlbatch.results SET tokens_out = 1000, tokens_in = CASE rowid WHEN 0 THEN 272000 ELSE 272001 END""")
    prices_ = sorted({round(price * 2, 6) for (price,) in bench.sql("SELECT dollars FROM sqlbatch.costs")})
    assert prices_ == [0.282, 0.559002]


def test_costs_outlive_the_results(bench: Bench) -> None:
    bench.sql(OWN)
    bench.enrich(10)
    bench.enrich(12, into="more")
    by_job = "SELECT job_id, target, model, day, source, sum(results), sum(tokens_in), sum(tokens_out), round(sum(dollars), 12) FROM sqlbatch.costs GROUP BY ALL ORDER BY ALL"  # fmt: skip  # noqa: E501
    before = bench.sql(by_job)

    def prune(session: Any) -> None:
        session.run("prices.fold", which="r.job_id = 1")
        for table in ("results", "batch_requests"):
            ours = "SELECT batch_id FROM a.sqlbatch.batches WHERE job_id = 1"
            session.sql(f"DELETE FROM a.sqlbatch.{table} WHERE batch_id IN ({ours})")
        session.sql("DELETE FROM a.sqlbatch.batches WHERE job_id = 1")

    bench.database.write(prune)
    assert bench.sql(by_job) == before
    assert bench.sql("SELECT count(*), sum(results) FROM sqlbatch.costs WHERE custom_id IS NULL") == [(1, 10)]


def test_the_offline_model_costs_nothing(bench: Bench) -> None:
    bench.enrich(3)
    bench.sql("UPDATE sqlbatch.batches SET base_url = 'local'")
    assert spent(bench) == 0


def test_the_view_and_the_quote_choose_the_same_price(bench: Bench) -> None:
    bench.enrich(1)
    bench.sql("UPDATE sqlbatch.batches SET base_url = 'https://api.openai.com/v1'")
    for model in ("gpt-4o-2024-08-06", "gpt-5.6-sol", "GPT-6-Luna", "gpt-4o-2024-05-13", "none"):
        bench.sql(f"UPDATE sqlbatch.batches SET model = '{model}', batch_factor = 0.5")
        day = bench.sql("SELECT day FROM sqlbatch.costs")[0][0]
        with bench.database.session() as session:
            prices.refresh(session)
            price = prices.find(session, "https://api.openai.com/v1", model, day, tier="batch", batch_factor=0.5)
        per_million = "sum(dollars) / sum(tokens_in) * 1e6"
        bench.sql("UPDATE sqlbatch.results SET tokens_out = 0")
        found = spent(bench, per_million)
        assert (found is None) == (price is None or price.input is None)
        if price is not None and price.input is not None:
            assert abs(found - price.input) < 1e-9

"""What sqlbatch.costs says was spent is what a second reading of the price data bills, result by result."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from genai_prices import Usage, calc_price

from sqlbatch.batches.providers import KNOWN
from sqlbatch.db import price_library, prices
from sqlbatch.db.database import Database

if TYPE_CHECKING:
    from pathlib import Path

OPENAI = KNOWN["openai"].base_url
# The library's words for how a request was processed, by the column `tier` of what is billed.
CONTEXTS: dict[str, Any] = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "default": {},
}
RESULTS = 10_000

# One result in three was sent in a batch, one at the flex price and one as an ordinary request; one in seven failed,
# one in nine read the prompt cache, one in eleven wrote it, one in thirteen is beyond the length where prices rise.
MIXED = """
INSERT INTO a.sqlbatch.calls (call_id, base_url, endpoint, model, head, tail, returns)
SELECT md5(m)::UUID, $url, '/v1/chat/completions', m, '', '', '' FROM (SELECT unnest($models::VARCHAR[]) AS m);
INSERT INTO a.sqlbatch.batches (batch_id, state, base_url, call_id, model, requests, bytes, tokens, planned_at, batch_factor)
SELECT md5('batch ' || model)::UUID, 'loaded', base_url, call_id, model, 1, 1, 1, TIMESTAMP '2026-10-20', 0.5 FROM a.sqlbatch.calls;
CREATE TEMP TABLE mixed AS
SELECT n, ($models::VARCHAR[])[1 + (hash(n, 'model') % len($models::VARCHAR[]))::INT] AS model, (['batch', 'flex', 'default'])[1 + n % 3] AS tier,
  md5('request ' || n)::UUID AS custom_id,
  CASE WHEN n % 13 = 0 THEN 272000 + hash(n, 'long') % 700000 ELSE 1 + hash(n, 'short') % 4000 END::BIGINT AS tokens_in,
  CASE WHEN n % 9 = 0 THEN tokens_in * (hash(n, 'read') % 90) // 100 ELSE 0 END::BIGINT AS tokens_cached,
  CASE WHEN n % 11 = 0 THEN (tokens_in - tokens_cached) * (hash(n, 'write') % 100) // 100 ELSE 0 END::BIGINT AS tokens_cache_write,
  (hash(n, 'out') % 3000)::BIGINT AS tokens_out,
  -- Rates of batches and flex are in the library from the middle of October 2026.
  CASE WHEN n % 3 = 2 THEN TIMESTAMP '2026-06-01' ELSE TIMESTAMP '2026-10-20' END + to_days((hash(n, 'day') % 40)::INT) AS moment
FROM range($results) r(n);
INSERT INTO a.sqlbatch.requests (seq, custom_id, call_id, input, bytes, tokens)
SELECT n, custom_id, md5(model)::UUID, '', 1, 1 FROM mixed;
INSERT INTO a.sqlbatch.batch_requests (batch_id, seq, custom_id)
SELECT md5('batch ' || model)::UUID, n, custom_id FROM mixed WHERE tier = 'batch';
UPDATE a.sqlbatch.batches b SET requests = (SELECT count(*) FROM mixed m WHERE m.tier = 'batch' AND m.model = b.model);
INSERT INTO a.sqlbatch.results (custom_id, batch_id, source, outcome, code, tokens_in, tokens_cached, tokens_cache_write, tokens_out,
  tier, asked_at, received_at)
SELECT custom_id, CASE WHEN tier = 'batch' THEN md5('batch ' || model)::UUID END, CASE WHEN tier = 'batch' THEN 'batch' ELSE 'preview' END,
  CASE WHEN n % 7 = 0 THEN 'failed' ELSE 'answered' END, CASE WHEN n % 7 = 0 THEN 'refusal' END,
  tokens_in, tokens_cached, tokens_cache_write, tokens_out, tier, moment, moment
FROM mixed"""  # noqa: E501


def priced_models() -> list[str]:
    """Return the models that have a price of their own for batches and for flex, and whose text is billed by tokens."""
    tiers = {
        model: {row["tier"] for row in price_library.rows_of(OPENAI, model) if row.get("input") and row.get("output")}
        for model in price_library.models(OPENAI)
    }
    return [model for model, found in tiers.items() if found == {"default", "batch", "flex"}]


def test_ten_thousand_mixed_results_cost_what_the_price_data_bills_to_a_millionth_of_a_dollar(tmp_path: Path) -> None:
    models = priced_models()
    assert len(models) > 10
    assert any(row.get("cache_write") for model in models for row in price_library.rows_of(OPENAI, model))
    with Database(tmp_path / "a.duckdb").session() as session:
        given = {"url": OPENAI, "models": models, "results": RESULTS}
        for statement in MIXED.split(";\n"):
            session.sql(statement, {name: value for name, value in given.items() if f"${name}" in statement})
        prices.refresh(session)
        billed = session.sql("""
            SELECT c.model, b.tier, c.tokens_in, c.tokens_cached, c.tokens_cache_write, c.tokens_out, c.day, c.dollars
            FROM a.sqlbatch.costs c JOIN a.sqlbatch.billed b USING (custom_id)""")
    assert len(billed) == RESULTS
    total = 0.0
    for model, tier, tokens_in, cached, written, out, day, dollars in billed:
        usage = Usage(input_tokens=tokens_in, cache_read_tokens=cached, cache_write_tokens=written, output_tokens=out)
        bill = calc_price(
            usage,
            model,
            provider_api_url=OPENAI,
            genai_request_timestamp=datetime(day.year, day.month, day.day, 12, tzinfo=UTC),
            price_context=CONTEXTS[tier],
        ).total_price
        assert abs(dollars - float(bill)) < 1e-6, (model, tier, tokens_in, cached, written, out, day)
        total += float(bill)
    assert total > 1_000
    assert abs(sum(row[-1] for row in billed) - total) < 1e-6

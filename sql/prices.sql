-- Prices of models: the library's rows, those of sqlbatch.toml, and the user's own rows of sqlbatch.prices.

-- known: the library's prices (a JSON array) and those of sqlbatch.toml (another), as rows of sqlbatch.prices
CREATE OR REPLACE TEMP TABLE sqlbatch_known_prices AS
SELECT p.*
FROM (
  SELECT unnest(from_json($shipped::JSON, '[{"model": "VARCHAR", "tier": "VARCHAR", "above": "BIGINT", "input": "DOUBLE",
    "cached": "DOUBLE", "cache_write": "DOUBLE", "output": "DOUBLE", "valid_from": "DATE", "shutdown": "DATE",
    "successor": "VARCHAR", "base_url": "VARCHAR", "origin": "VARCHAR", "source": "VARCHAR"}]'), recursive := true)
) AS p
UNION ALL BY NAME
SELECT p.*, 'default' AS tier, 0::BIGINT AS above, DATE '2000-01-01' AS valid_from, 'toml' AS origin
FROM (
  SELECT unnest(from_json($given::JSON, '[{"model": "VARCHAR", "input": "DOUBLE", "cached": "DOUBLE",
    "cache_write": "DOUBLE", "output": "DOUBLE", "batch_factor": "DOUBLE"}]'), recursive := true)
) AS p;

-- called: the models of calls and batches, with their addresses
SELECT base_url, model FROM sqlbatch.calls UNION SELECT base_url, model FROM sqlbatch.batches;

-- has_table: one row if the database has a table of prices in its present form
SELECT 1 FROM duckdb_columns()
WHERE database_name = $catalog AND schema_name = 'sqlbatch' AND table_name = 'prices' AND column_name = 'above';

-- shipped: the models whose rows are from this release of the library
SELECT DISTINCT base_url, model FROM sqlbatch.prices WHERE origin = 'shipped' AND source = $source;

-- kept: add their rows, and if requested the user's own
INSERT INTO sqlbatch_known_prices BY NAME
FROM sqlbatch.prices WHERE (origin = 'shipped' AND source = $source) OR (origin = 'own' AND $own::BOOLEAN);

-- find: the rates of a model's price on a day in a tier, by length of prompt, by the same rule as the view costs
WITH candidates AS (
  SELECT p.*, p.rowid AS place, p.tier = $tier AS same,
    dense_rank() OVER (
      ORDER BY sqlbatch_price_rank(p."input", p.origin, p.valid_from, p.model, p.tier, $model, $tier, $day::DATE)) AS rank
  FROM sqlbatch_known_prices p
  WHERE sqlbatch_is_price_of(p.base_url, p.model, p.tier, $base_url, $model, $tier)
), held AS (
  SELECT *, CASE WHEN same OR $tier <> 'batch' THEN 1 ELSE coalesce(batch_factor, $batch_factor::DOUBLE, 1) END AS factor
  FROM candidates WHERE rank = 1
  QUALIFY row_number() OVER (PARTITION BY above ORDER BY place DESC) = 1
)
SELECT above, "input" * factor, cached * factor, cache_write * factor, "output" * factor,
  place, shutdown, successor, origin, source, valid_from, same
FROM held ORDER BY above;

-- differ: whether these prices differ from those in the database
SELECT EXISTS (
  SELECT model, tier, above, "input", cached, cache_write, "output", batch_factor, valid_from, shutdown, successor, base_url, origin, source
  FROM sqlbatch_known_prices
  EXCEPT
  SELECT model, tier, above, "input", cached, cache_write, "output", batch_factor, valid_from, shutdown, successor, base_url, origin, source
  FROM sqlbatch.prices
) OR EXISTS (
  FROM sqlbatch.prices p WHERE p.origin = 'toml' AND p.model NOT IN (SELECT model FROM sqlbatch_known_prices WHERE origin = 'toml')
);

-- forget: delete all prices except the user's own
DELETE FROM sqlbatch.prices WHERE origin <> 'own';

-- note: add these prices to the database
INSERT INTO sqlbatch.prices BY NAME FROM sqlbatch_known_prices;

-- named: the models with a price for an address in the user's own rows or in sqlbatch.toml
SELECT DISTINCT model FROM sqlbatch_known_prices
WHERE origin <> 'shipped' AND (base_url IS NULL OR base_url = $base_url);

-- spent_by: what was billed, added up by a column of the costs; NULL dollars are counted as unpriced results
SELECT {key} AS key, sum(results)::BIGINT, sum(tokens_in)::BIGINT, sum(tokens_cached)::BIGINT, sum(tokens_cache_write)::BIGINT,
  sum(tokens_out)::BIGINT, coalesce(sum(dollars), 0), coalesce(sum(results) FILTER (dollars IS NULL), 0)::BIGINT
FROM sqlbatch.costs GROUP BY ALL ORDER BY key;

-- fold: add up the cost of some results before they are deleted: by day, job, model and everything that their price
-- depends on
INSERT INTO sqlbatch.spent BY NAME
SELECT day, job_id, batch_id, source, outcome, base_url, model, batch_factor, tier, above, sum(results)::BIGINT AS results,
  sum(tokens_in)::BIGINT AS tokens_in, sum(tokens_cached)::BIGINT AS tokens_cached,
  sum(tokens_cache_write)::BIGINT AS tokens_cache_write, sum(tokens_out)::BIGINT AS tokens_out
FROM sqlbatch.billed r
WHERE {which}
GROUP BY ALL;

-- month: the dollars billed since the first day of a month (a result that was paid for and lost costs its share of its
-- batch's reservation), the dollars that other batches in flight may cost, and how many results have no price
SELECT coalesce(c.dollars, 0) + coalesce(l.dollars, 0), coalesce(b.dollars, 0), coalesce(c.unpriced, 0)::BIGINT
FROM (
  SELECT sum(dollars) AS dollars, sum(results) FILTER (dollars IS NULL) AS unpriced FROM sqlbatch.costs WHERE day >= $first::DATE
) c, (
  SELECT sum(reserved) AS dollars FROM sqlbatch.batches
  WHERE state NOT IN ('planned', 'loaded', 'abandoned') AND batch_id IS DISTINCT FROM $batch_id::UUID
) b, (
  SELECT sum(s.reserved / s.requests) AS dollars
  FROM sqlbatch.results r JOIN sqlbatch.batches s ON s.batch_id = r.batch_id
  WHERE r.received_at >= $first::TIMESTAMP AND r.tokens_in IS NULL AND s.requests > 0
    AND r.code IN ('results_expired', 'unreadable_results', 'unreadable_line', 'missing')
) l;

-- What models cost: the shipped list, what sqlbatch.toml says, and the user's own rows of sqlbatch.prices.

-- known: the shipped list (a CSV file) and what sqlbatch.toml says (a JSON array), as rows of sqlbatch.prices
CREATE OR REPLACE TEMP TABLE sqlbatch_known_prices AS
SELECT *, 'https://api.openai.com/v1' AS base_url, 'shipped' AS origin
FROM read_csv({file}, header = true, columns = {model: 'VARCHAR', input: 'DOUBLE', cached: 'DOUBLE', output: 'DOUBLE',
  batch_factor: 'DOUBLE', long_input_factor: 'DOUBLE', long_output_factor: 'DOUBLE', valid_from: 'DATE', shutdown: 'DATE',
  successor: 'VARCHAR', source: 'VARCHAR'})
UNION ALL BY NAME
SELECT p.*, 1 AS long_input_factor, 1 AS long_output_factor, DATE '2000-01-01' AS valid_from, 'toml' AS origin
FROM (
  SELECT unnest(from_json($given::JSON, '[{"model": "VARCHAR", "input": "DOUBLE", "cached": "DOUBLE", "output": "DOUBLE",
    "batch_factor": "DOUBLE"}]'), recursive := true)
) AS p;

-- has_table: one row if the database has a table of prices
SELECT 1 FROM duckdb_tables() WHERE database_name = $catalog AND schema_name = 'sqlbatch' AND table_name = 'prices';

-- own: the user's own rows, beside what is known
INSERT INTO sqlbatch_known_prices BY NAME
FROM sqlbatch.prices WHERE origin = 'own' OR origin = 'toml' AND model NOT IN (
  SELECT model FROM sqlbatch_known_prices WHERE origin = 'toml');

-- find: the price that holds for a model on a day, as the view costs chooses it
SELECT p.model, p."input", p.cached, p."output", p.batch_factor, p.long_input_factor, p.long_output_factor, p.shutdown,
  p.successor, p.origin
FROM sqlbatch_known_prices p
WHERE (p.base_url IS NULL OR p.base_url = $base_url)
  AND lower(p.model) IN (lower($model), regexp_replace(lower($model), '-\d{4}-\d{2}-\d{2}$', ''))
ORDER BY p.valid_from <= $day::DATE DESC, lower(p.model) = lower($model) DESC,
  array_position(['own', 'toml', 'shipped'], p.origin),
  abs(date_diff('day', p.valid_from, $day::DATE)), p.rowid DESC
LIMIT 1;

-- differ: whether what is known differs from what the database has of it
SELECT EXISTS (
  SELECT model, "input", cached, "output", batch_factor, valid_from, shutdown, successor, base_url, origin, source
  FROM sqlbatch_known_prices
  EXCEPT
  SELECT model, "input", cached, "output", batch_factor, valid_from, shutdown, successor, base_url, origin, source
  FROM sqlbatch.prices
);

-- forget: what is replaced: the shipped list, and of sqlbatch.toml the models that it names now
DELETE FROM sqlbatch.prices WHERE origin = 'shipped'
  OR origin = 'toml' AND model IN (SELECT model FROM sqlbatch_known_prices WHERE origin = 'toml');

-- note: what is known, into the database
INSERT INTO sqlbatch.prices BY NAME FROM sqlbatch_known_prices;

-- fold: add up what some results cost, before they are deleted: their day, job, model and all that their price depends on
INSERT INTO sqlbatch.spent BY NAME
SELECT day, job_id, batch_id, source, outcome, base_url, model, batch_factor, long, sum(results)::BIGINT AS results,
  sum(tokens_in)::BIGINT AS tokens_in, sum(tokens_cached)::BIGINT AS tokens_cached, sum(tokens_out)::BIGINT AS tokens_out
FROM sqlbatch.billed r
WHERE {which}
GROUP BY ALL;

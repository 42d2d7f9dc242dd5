-- Prices by tier (default, batch, flex) and by length of prompt, with a rate for writing the prompt cache; results count the
-- tokens that were written to it.
ALTER TABLE results ADD COLUMN tokens_cache_write BIGINT;
CREATE OR REPLACE VIEW counted AS
SELECT w.job_id, r.*
FROM wanted w JOIN results r USING (custom_id)
WHERE w.not_before IS NULL OR r.asked_at >= w.not_before;

ALTER TABLE prices RENAME TO prices_before;
CREATE TABLE prices (
  model        VARCHAR NOT NULL,   -- also its dated versions: gpt-4o for gpt-4o-2024-08-06
  tier         VARCHAR NOT NULL DEFAULT 'default',   -- default: an ordinary request; batch; flex
  above        BIGINT NOT NULL DEFAULT 0,            -- for requests of more tokens of input than this
  "input"      DOUBLE,             -- NULL: not known
  cached       DOUBLE,             -- of input read from the prompt cache; NULL: as the rest
  cache_write  DOUBLE,             -- of input written to the prompt cache; NULL: as the rest
  "output"     DOUBLE,             -- NULL: not known, if anything comes out
  batch_factor DOUBLE,             -- the part of the default price that a batch costs; NULL: as the provider says
  valid_from   DATE NOT NULL DEFAULT '2000-01-01',
  shutdown     DATE,               -- the day from which the model is no longer served
  successor    VARCHAR,            -- what to use then
  base_url     VARCHAR,            -- NULL: wherever it is reached
  origin       VARCHAR NOT NULL DEFAULT 'own',   -- own, toml (sqlbatch.toml), shipped (the price library)
  source       VARCHAR
);
INSERT INTO prices BY NAME
SELECT model, "input", cached, "output", batch_factor, valid_from, shutdown, successor, base_url, origin, source
FROM prices_before WHERE origin = 'own'
UNION ALL BY NAME
SELECT model, 272000 AS above, "input" * long_input_factor AS "input", cached * long_input_factor AS cached,
  "output" * long_output_factor AS "output", batch_factor, valid_from, shutdown, successor, base_url, origin, source
FROM prices_before WHERE origin = 'own' AND (long_input_factor <> 1 OR long_output_factor <> 1);
DROP TABLE prices_before;

ALTER TABLE spent RENAME TO spent_before;
CREATE TABLE spent (
  day                DATE NOT NULL,
  job_id             INTEGER,
  batch_id           UUID,
  source             VARCHAR NOT NULL,
  outcome            VARCHAR NOT NULL,
  base_url           VARCHAR,
  model              VARCHAR,
  batch_factor       DOUBLE,
  tier               VARCHAR NOT NULL,
  above              BIGINT NOT NULL,   -- the longest prompt length of any price that these requests are beyond
  results            BIGINT NOT NULL,
  tokens_in          BIGINT NOT NULL,
  tokens_cached      BIGINT NOT NULL,
  tokens_cache_write BIGINT NOT NULL,
  tokens_out         BIGINT NOT NULL
);
INSERT INTO spent
SELECT day, job_id, batch_id, source, outcome, base_url, model, batch_factor,
  CASE WHEN source = 'preview' THEN 'default' ELSE 'batch' END, CASE WHEN long THEN 272000 ELSE 0 END, results,
  tokens_in, tokens_cached, 0, tokens_out
FROM spent_before;
DROP TABLE spent_before;

-- What was billed, one row a result: failed ones too. The job is the one that sent it, or the first that wants it. `above` is
-- the longest prompt length of any price that the request is beyond.
CREATE OR REPLACE VIEW billed AS
WITH paid AS (
  SELECT r.*, b.job_id AS sender, b.base_url AS sent_to, b.model AS asked, b.batch_factor,
    CASE WHEN r.source <> 'preview' THEN 'batch' WHEN r.tier = 'flex' THEN 'flex' ELSE 'default' END AS price_tier,
    coalesce(list_max(list_filter((SELECT list(DISTINCT p.above) FROM prices p), lambda x: x < r.tokens_in)), 0) AS above
  FROM results r LEFT JOIN batches b ON b.batch_id = r.batch_id
  WHERE r.tokens_in IS NOT NULL OR r.tokens_out IS NOT NULL
)
SELECT r.received_at::DATE AS day, r.sender AS job_id, r.batch_id, r.custom_id, r.source, r.outcome, r.sent_to AS base_url,
  r.asked AS model, r.batch_factor, r.price_tier AS tier, r.above, 1::BIGINT AS results, coalesce(r.tokens_in, 0) AS tokens_in,
  coalesce(r.tokens_cached, 0) AS tokens_cached, coalesce(r.tokens_cache_write, 0) AS tokens_cache_write,
  coalesce(r.tokens_out, 0) AS tokens_out
FROM paid r WHERE r.batch_id IS NOT NULL
UNION ALL
SELECT r.received_at::DATE, w.job_id, NULL, r.custom_id, r.source, r.outcome, c.base_url, coalesce(c.model, r.model), NULL,
  r.price_tier, r.above, 1, coalesce(r.tokens_in, 0), coalesce(r.tokens_cached, 0), coalesce(r.tokens_cache_write, 0),
  coalesce(r.tokens_out, 0)
FROM (FROM paid WHERE batch_id IS NULL) r
LEFT JOIN requests q ON q.custom_id = r.custom_id
LEFT JOIN calls c ON c.call_id = q.call_id
LEFT JOIN (
  SELECT custom_id, min(job_id) AS job_id FROM wanted
  SEMI JOIN (FROM results WHERE batch_id IS NULL) x USING (custom_id) GROUP BY custom_id
) w ON w.custom_id = r.custom_id;

-- What was spent, in dollars: a row a result, or a sum of those that are no longer kept (custom_id is NULL then). dollars
-- is NULL where no price is known; a price that becomes known later prices what was spent earlier. The price is that of
-- the day, the tier and the length of the prompt; yours goes before sqlbatch's, a dated model's own before its family's.
CREATE OR REPLACE VIEW costs AS
WITH all_billed AS (
  FROM billed
  UNION ALL BY NAME
  SELECT *, NULL::UUID AS custom_id FROM spent
), priced AS (
  SELECT k.base_url, k.model, k.day, k.tier, k.above, p."input", p.cached, p.cache_write, p."output", p.batch_factor,
    p.tier = k.tier AS same
  FROM (SELECT DISTINCT base_url, model, day, tier, above FROM all_billed) k
  JOIN prices p ON (p.base_url IS NULL OR p.base_url = k.base_url) AND p.above <= k.above AND p.tier IN (k.tier, 'default')
    AND lower(p.model) IN (lower(k.model), regexp_replace(lower(k.model), '-\d{4}-\d{2}-\d{2}$', ''))
  QUALIFY row_number() OVER (PARTITION BY k.base_url, k.model, k.day, k.tier, k.above
    ORDER BY p."input" IS NULL AND p.origin = 'shipped', p.valid_from <= k.day DESC, lower(p.model) = lower(k.model) DESC, array_position(['own', 'toml', 'shipped'], p.origin), p.tier = k.tier DESC,
    abs(date_diff('day', p.valid_from, k.day)), p.above DESC, p.rowid DESC) = 1
)
SELECT a.day, a.job_id, j.target, a.base_url, a.model, a.source, a.batch_id, a.custom_id, a.outcome, a.results,
  a.tokens_in, a.tokens_cached, a.tokens_cache_write, a.tokens_out,
  CASE WHEN a.base_url = 'local' OR a.batch_factor = 0 THEN 0 ELSE (
      (a.tokens_in - a.tokens_cached - a.tokens_cache_write) * p."input" + a.tokens_cached * coalesce(p.cached, p."input")
      + a.tokens_cache_write * coalesce(p.cache_write, p."input")
      + CASE WHEN a.tokens_out = 0 THEN 0 ELSE a.tokens_out * p."output" END
    ) * CASE WHEN p.same OR a.tier <> 'batch' THEN 1 ELSE coalesce(p.batch_factor, a.batch_factor, 1) END / 1e6 END AS dollars
FROM all_billed a
LEFT JOIN priced p ON p.base_url IS NOT DISTINCT FROM a.base_url AND p.model = a.model AND p.day = a.day AND p.tier = a.tier
  AND p.above = a.above
LEFT JOIN jobs j ON j.job_id = a.job_id;

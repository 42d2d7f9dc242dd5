-- Prices and what was spent: sqlbatch.prices, sqlbatch.costs in dollars, a job's quote and budget.

ALTER TABLE jobs ADD COLUMN quote JSON;
ALTER TABLE jobs ADD COLUMN max_cost DOUBLE;
ALTER TABLE batches ADD COLUMN job_id INTEGER;
ALTER TABLE batches ADD COLUMN batch_factor DOUBLE;
ALTER TABLE batches ADD COLUMN reserved DOUBLE;

-- Earlier batches are the newest job's that wanted them when they were planned.
UPDATE batches SET batch_factor = 0.5, job_id = (
  SELECT max(j.job_id) FROM batch_requests m JOIN wanted w ON w.custom_id = m.custom_id JOIN jobs j ON j.job_id = w.job_id
  WHERE m.batch_id = batches.batch_id AND j.created_at <= batches.planned_at
);

-- What models cost, in dollars per million tokens. Rows of sqlbatch's own (origin shipped) are replaced by each version
-- of sqlbatch; yours (origin own) and those of sqlbatch.toml go before them, and also hold for what was spent earlier.
CREATE TABLE prices (
  model              VARCHAR NOT NULL,   -- also its dated versions: gpt-4o for gpt-4o-2024-08-06
  "input"            DOUBLE,             -- NULL: not known
  cached             DOUBLE,             -- of input that was cached; NULL: as the rest
  "output"           DOUBLE,             -- NULL: not known, if anything comes out
  batch_factor       DOUBLE,             -- the part of it that a batch costs; NULL: as the provider says
  long_input_factor  DOUBLE NOT NULL DEFAULT 1,   -- for requests of more than 272,000 tokens of input
  long_output_factor DOUBLE NOT NULL DEFAULT 1,
  valid_from         DATE NOT NULL DEFAULT '2000-01-01',
  shutdown           DATE,               -- the day from which the model is no longer served
  successor          VARCHAR,            -- what to use then
  base_url           VARCHAR,            -- NULL: wherever it is reached
  origin             VARCHAR NOT NULL DEFAULT 'own',   -- own, toml (sqlbatch.toml), shipped
  source             VARCHAR
);

-- What results cost whose rows are no longer kept: added up by `prune`.
CREATE TABLE spent (
  day           DATE NOT NULL,
  job_id        INTEGER,
  batch_id      UUID,
  source        VARCHAR NOT NULL,
  outcome       VARCHAR NOT NULL,
  base_url      VARCHAR,
  model         VARCHAR,
  batch_factor  DOUBLE,
  long          BOOLEAN NOT NULL,
  results       BIGINT NOT NULL,
  tokens_in     BIGINT NOT NULL,
  tokens_cached BIGINT NOT NULL,
  tokens_out    BIGINT NOT NULL
);

-- Jobs with their derived status.
CREATE OR REPLACE VIEW job_status AS
SELECT j.*,
  CASE WHEN j.cancelled_at IS NOT NULL THEN 'cancelled'
       WHEN j.finished_at IS NOT NULL THEN 'done'
       WHEN EXISTS (FROM jobs n WHERE lower(n.target) = lower(j.target) AND n.job_id > j.job_id AND n.cancelled_at IS NULL) THEN 'superseded'
       WHEN j.blocked IS NOT NULL THEN 'blocked'
       ELSE 'running' END AS status
FROM jobs j;

-- What was billed, one row a result: failed ones too. The job is the one that sent it, or the first that wants it.
CREATE OR REPLACE VIEW billed AS
SELECT r.received_at::DATE AS day, b.job_id, r.batch_id, r.custom_id, r.source, r.outcome, b.base_url, b.model, b.batch_factor,
  coalesce(r.tokens_in > 272000, false) AS long, 1::BIGINT AS results,
  coalesce(r.tokens_in, 0) AS tokens_in, coalesce(r.tokens_cached, 0) AS tokens_cached, coalesce(r.tokens_out, 0) AS tokens_out
FROM results r JOIN batches b ON b.batch_id = r.batch_id
WHERE r.tokens_in IS NOT NULL OR r.tokens_out IS NOT NULL
UNION ALL
SELECT r.received_at::DATE, w.job_id, NULL, r.custom_id, r.source, r.outcome, c.base_url, coalesce(c.model, r.model), NULL,
  coalesce(r.tokens_in > 272000, false), 1, coalesce(r.tokens_in, 0), coalesce(r.tokens_cached, 0), coalesce(r.tokens_out, 0)
FROM (FROM results WHERE batch_id IS NULL AND (tokens_in IS NOT NULL OR tokens_out IS NOT NULL)) r
LEFT JOIN requests q ON q.custom_id = r.custom_id
LEFT JOIN calls c ON c.call_id = q.call_id
LEFT JOIN (
  SELECT custom_id, min(job_id) AS job_id FROM wanted
  SEMI JOIN (FROM results WHERE batch_id IS NULL) x USING (custom_id) GROUP BY custom_id
) w ON w.custom_id = r.custom_id;

-- What was spent, in dollars: a row a result, or a sum of those that are no longer kept (custom_id is NULL then). dollars
-- is NULL where no price is known; a price that becomes known later prices what was spent earlier. The price is that of
-- the day; yours goes before sqlbatch's, a dated model's own before that of its family.
CREATE OR REPLACE VIEW costs AS
WITH all_billed AS (
  FROM billed
  UNION ALL BY NAME
  SELECT *, NULL::UUID AS custom_id FROM spent
), priced AS (
  SELECT k.base_url, k.model, k.day, p.* EXCLUDE (base_url, model)
  FROM (SELECT DISTINCT base_url, model, day FROM all_billed) k
  JOIN prices p ON (p.base_url IS NULL OR p.base_url = k.base_url)
    AND lower(p.model) IN (lower(k.model), regexp_replace(lower(k.model), '-\d{4}-\d{2}-\d{2}$', ''))
  QUALIFY row_number() OVER (PARTITION BY k.base_url, k.model, k.day ORDER BY p.valid_from <= k.day DESC,
    lower(p.model) = lower(k.model) DESC, array_position(['own', 'toml', 'shipped'], p.origin),
    abs(date_diff('day', p.valid_from, k.day)), p.rowid DESC) = 1
)
SELECT a.day, a.job_id, j.target, a.base_url, a.model, a.source, a.batch_id, a.custom_id, a.outcome, a.results,
  a.tokens_in, a.tokens_cached, a.tokens_out,
  CASE WHEN a.base_url = 'local' OR a.batch_factor = 0 THEN 0 ELSE (
      ((a.tokens_in - a.tokens_cached) * p."input" + a.tokens_cached * coalesce(p.cached, p."input"))
        * CASE WHEN a.long THEN p.long_input_factor ELSE 1 END
      + CASE WHEN a.tokens_out = 0 THEN 0 ELSE a.tokens_out * p."output" END * CASE WHEN a.long THEN p.long_output_factor ELSE 1 END
    ) * CASE WHEN a.source = 'preview' THEN 1 ELSE coalesce(p.batch_factor, a.batch_factor, 1) END / 1e6 END AS dollars
FROM all_billed a
LEFT JOIN priced p ON p.base_url IS NOT DISTINCT FROM a.base_url AND p.model = a.model AND p.day = a.day
LEFT JOIN jobs j ON j.job_id = a.job_id;

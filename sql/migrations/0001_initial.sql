-- The first schema; schema.sql says what each part is for.

CREATE TABLE migrations (
  version    INTEGER NOT NULL,
  name       VARCHAR NOT NULL,
  applied_at TIMESTAMP NOT NULL
);

CREATE TABLE guard (
  turns BIGINT NOT NULL
);
INSERT INTO guard VALUES (0);

CREATE SEQUENCE job_ids START 1;

CREATE TABLE jobs (
  job_id       INTEGER NOT NULL DEFAULT nextval('job_ids'),
  target       VARCHAR NOT NULL,
  query        VARCHAR NOT NULL,
  enrichment   JSON NOT NULL,
  provider     VARCHAR NOT NULL,
  base_url     VARCHAR NOT NULL,
  "rows"       BIGINT NOT NULL,
  skipped      BIGINT NOT NULL,
  requests     BIGINT NOT NULL,
  reused       BIGINT NOT NULL,
  bytes        BIGINT NOT NULL,
  tokens       BIGINT NOT NULL,
  max_attempts INTEGER NOT NULL,
  replacing    BOOLEAN NOT NULL,
  created_at   TIMESTAMP NOT NULL,
  finished_at  TIMESTAMP,
  cancelled_at TIMESTAMP,
  not_before   TIMESTAMP,
  paused_until TIMESTAMP,
  pause_seconds DOUBLE,
  blocked      VARCHAR,
  error        VARCHAR
);

CREATE TABLE calls (
  call_id  UUID NOT NULL,
  base_url VARCHAR NOT NULL,       -- 'local' for the embedded server
  endpoint VARCHAR NOT NULL,
  model    VARCHAR NOT NULL,
  head     VARCHAR NOT NULL,
  tail     VARCHAR NOT NULL,
  returns  VARCHAR NOT NULL
);

CREATE TABLE requests (
  seq       BIGINT NOT NULL,
  custom_id UUID NOT NULL,
  call_id   UUID NOT NULL,
  input     VARCHAR NOT NULL,
  bytes     BIGINT NOT NULL,
  tokens    BIGINT NOT NULL
);

CREATE TABLE wanted (
  job_id     INTEGER NOT NULL,
  custom_id  UUID NOT NULL,
  not_before TIMESTAMP
);

CREATE TABLE batches (
  batch_id       UUID NOT NULL,
  state          VARCHAR NOT NULL,
  status         VARCHAR,          -- the provider's own word
  provider_id    VARCHAR,          -- the provider's batch
  base_url       VARCHAR NOT NULL,
  call_id        UUID NOT NULL,
  model          VARCHAR NOT NULL,
  input_file_id  VARCHAR,
  output_file_id VARCHAR,
  error_file_id  VARCHAR,
  requests       BIGINT NOT NULL,
  bytes          BIGINT NOT NULL,
  tokens         BIGINT NOT NULL,
  completed      BIGINT,           -- the provider's counts, as last seen
  failed         BIGINT,
  lease_owner    VARCHAR,
  lease_until    TIMESTAMP,
  planned_at     TIMESTAMP NOT NULL,
  creating_at    TIMESTAMP,
  opened_at      TIMESTAMP,
  ended_at       TIMESTAMP,
  loaded_at      TIMESTAMP,
  fenced_at      TIMESTAMP,
  abandoned_at   TIMESTAMP,
  adopted        BOOLEAN NOT NULL DEFAULT false,
  grace_seconds  DOUBLE,
  error_code     VARCHAR,
  error          VARCHAR
);

CREATE TABLE batch_requests (
  batch_id  UUID NOT NULL,
  seq       BIGINT NOT NULL,
  custom_id UUID NOT NULL
);

CREATE TABLE results (
  custom_id     UUID NOT NULL,
  batch_id      UUID,
  source        VARCHAR NOT NULL,
  outcome       VARCHAR NOT NULL,
  code          VARCHAR,
  message       VARCHAR,
  content       VARCHAR,
  finish_reason VARCHAR,
  model         VARCHAR,
  tokens_in     BIGINT,
  tokens_cached BIGINT,
  tokens_out    BIGINT,
  tier          VARCHAR,
  asked_at      TIMESTAMP NOT NULL,
  received_at   TIMESTAMP NOT NULL,
  raw           VARCHAR
);

CREATE TABLE quarantine (
  batch_id    UUID NOT NULL,
  reason      VARCHAR NOT NULL,
  raw         VARCHAR,
  received_at TIMESTAMP NOT NULL
);

CREATE VIEW job_status AS
SELECT j.*,
  CASE WHEN j.cancelled_at IS NOT NULL THEN 'cancelled'
       WHEN j.finished_at IS NOT NULL THEN 'done'
       WHEN EXISTS (FROM jobs n WHERE lower(n.target) = lower(j.target) AND n.job_id > j.job_id AND n.cancelled_at IS NULL) THEN 'superseded'
       WHEN j.blocked IS NOT NULL THEN 'blocked'
       ELSE 'running' END AS status
FROM jobs j;

CREATE VIEW in_flight AS
SELECT m.custom_id, m.batch_id
FROM batch_requests m JOIN batches b USING (batch_id)
WHERE b.state NOT IN ('loaded', 'abandoned');

CREATE VIEW counted AS
SELECT w.job_id, r.*
FROM wanted w JOIN results r USING (custom_id)
WHERE w.not_before IS NULL OR r.asked_at >= w.not_before;

CREATE VIEW settled AS
SELECT c.job_id, c.custom_id
FROM counted c JOIN jobs j USING (job_id)
GROUP BY c.job_id, c.custom_id, j.max_attempts
HAVING bool_or(c.outcome IN ('answered', 'failed'))
    OR count(*) FILTER (c.outcome = 'retryable' AND c.asked_at >= j.created_at) >= j.max_attempts;

CREATE VIEW due AS
SELECT w.job_id, w.custom_id
FROM (SELECT w.* FROM wanted w JOIN job_status j USING (job_id) WHERE j.status IN ('running', 'blocked')) w
ANTI JOIN settled s ON s.job_id = w.job_id AND s.custom_id = w.custom_id
ANTI JOIN in_flight f ON f.custom_id = w.custom_id;

CREATE VIEW responses AS
SELECT b.job_id, b.custom_id, b.settled, r.outcome, r.code, r.message, r.content, r.model
FROM (
  SELECT w.job_id, w.custom_id,
    max({rank: CASE r.outcome WHEN 'answered' THEN 3 WHEN 'failed' THEN 2 WHEN 'retryable' THEN 1 ELSE 0 END, row: r.rowid}) AS best,
    bool_or(r.outcome IN ('answered', 'failed'))
      OR count(*) FILTER (r.outcome = 'retryable' AND r.asked_at >= j.created_at) >= any_value(j.max_attempts) AS settled
  FROM wanted w JOIN results r ON r.custom_id = w.custom_id JOIN jobs j ON j.job_id = w.job_id
  WHERE w.not_before IS NULL OR r.asked_at >= w.not_before
  GROUP BY w.job_id, w.custom_id
) b
JOIN results r ON r.rowid = b.best.row;

CREATE VIEW failures AS
SELECT custom_id, batch_id, source, outcome, code, message, raw, received_at
FROM results
WHERE outcome <> 'answered';

CREATE VIEW costs AS
SELECT received_at::DATE AS day, model, source, count(*) AS results,
  sum(tokens_in)::BIGINT AS tokens_in, sum(tokens_cached)::BIGINT AS tokens_cached, sum(tokens_out)::BIGINT AS tokens_out
FROM results
WHERE tokens_in IS NOT NULL
GROUP BY ALL;

CREATE VIEW audit AS
SELECT *, listed = sent AND strangers = 0 AND repeated = 0 AND sent = answered + failed + released + open AS balanced
FROM (
  SELECT b.batch_id, b.state, b.requests AS sent, coalesce(m.listed, 0) AS listed,
    coalesce(r.answered, 0) AS answered, coalesce(r.failed, 0) AS failed,
    CASE WHEN b.state = 'abandoned' THEN b.requests ELSE coalesce(r.released, 0) END AS released,
    CASE WHEN b.state IN ('loaded', 'abandoned') THEN 0 ELSE b.requests - coalesce(r.results, 0) END AS open,
    coalesce(r.strangers, 0) AS strangers, coalesce(r.results - r.ids, 0) AS repeated
  FROM batches b
  LEFT JOIN (SELECT batch_id, count(*) AS listed FROM batch_requests GROUP BY batch_id) m USING (batch_id)
  LEFT JOIN (
    SELECT x.batch_id, count(*) AS results, count(DISTINCT x.custom_id) AS ids,
      count(*) FILTER (x.outcome = 'answered') AS answered,
      count(*) FILTER (x.outcome IN ('failed', 'retryable')) AS failed,
      count(*) FILTER (x.outcome = 'released') AS released,
      count(*) FILTER (y.custom_id IS NULL) AS strangers
    FROM results x LEFT JOIN batch_requests y ON y.batch_id = x.batch_id AND y.custom_id = x.custom_id
    WHERE x.batch_id IS NOT NULL
    GROUP BY x.batch_id
  ) r USING (batch_id)
);

-- The tables and views of schema `sqlbatch`, in the user's own database file. Times are UTC.
-- Facts are appended; what can be derived from them is a view. The migrations give exactly this (tested).

CREATE TABLE migrations (
  version    INTEGER NOT NULL,
  name       VARCHAR NOT NULL,
  applied_at TIMESTAMP NOT NULL
);

-- One row that each planner of due requests updates first, so that two planners conflict and cannot both choose them.
CREATE TABLE planner_lock (
  turns BIGINT NOT NULL
);
INSERT INTO planner_lock VALUES (0);

CREATE SEQUENCE job_ids START 1;

-- One row per run of an enrichment. Its status is derived, in the view job_status:
--   cancelled   cancelled_at is set                               <- `cancel`
--   done        finished_at is set                                <- the join wrote the target
--   superseded  a newer job, not cancelled, has the same target   <- a later `enrich`
--   blocked     blocked is set: why; paused_until: until when     <- quota, queue limit
--               paused_until is 9999-12-31: until its user acts       <- a permanent refusal, the budget
--               failing is true: nothing is sent for it           <- fewer than half of its first results are usable
--   running     otherwise
CREATE TABLE jobs (
  job_id       INTEGER NOT NULL DEFAULT nextval('job_ids'),
  target       VARCHAR NOT NULL,   -- as SQL: schema and name, quoted where needed
  query        VARCHAR NOT NULL,
  enrichment   JSON NOT NULL,
  provider     VARCHAR NOT NULL,
  base_url     VARCHAR NOT NULL,
  "rows"       BIGINT NOT NULL,
  skipped      BIGINT NOT NULL,
  requests     BIGINT NOT NULL,    -- distinct requests
  reused       BIGINT NOT NULL,    -- of those, settled or in flight when the job started
  bytes        BIGINT NOT NULL,    -- bytes of the request lines to send
  tokens       BIGINT NOT NULL,    -- estimated input tokens to send
  max_attempts INTEGER NOT NULL,
  replacing    BOOLEAN NOT NULL,   -- the target may replace a table that sqlbatch did not make (--replace)
  created_at   TIMESTAMP NOT NULL,
  finished_at  TIMESTAMP,
  cancelled_at TIMESTAMP,
  not_before   TIMESTAMP,          -- results of batches planned earlier do not count (--fresh)
  paused_until TIMESTAMP,          -- no requests are packed for it until then
  pause_seconds DOUBLE,            -- length of the last pause; the next one is longer
  blocked      VARCHAR,
  error        VARCHAR,            -- why a finished job wrote no target
  quote        JSON,               -- the quote that was shown before anything was sent
  max_cost     DOUBLE,             -- the most that it may cost, in dollars; NULL: no limit
  blocked_code VARCHAR,            -- the provider's code for what blocks it, or ours: failing, looks_refused
  failing      BOOLEAN,            -- NULL until its first results are judged; false if they are usable, or if the user
                                   -- continues all the same (wait --keep-going)
  target_state VARCHAR             -- a hash of the target as this job wrote it, so that later changes are not overwritten
);

-- The constant side of a model call; call_id is a hash of all of it.
CREATE TABLE calls (
  call_id  UUID NOT NULL,
  base_url VARCHAR NOT NULL,       -- 'local' for the embedded server
  endpoint VARCHAR NOT NULL,
  model    VARCHAR NOT NULL,
  head     VARCHAR NOT NULL,       -- the body is head || input || tail
  tail     VARCHAR NOT NULL,
  returns  VARCHAR NOT NULL        -- the returned columns, canonical
);

-- How a job sends a call: with the parameters outside of a request's identity, such as a token limit.
CREATE TABLE sent_calls (
  job_id INTEGER NOT NULL,
  call_id UUID NOT NULL,
  head    VARCHAR,                 -- NULL: as in calls
  tail    VARCHAR,                 -- NULL: as in calls
  extra   BIGINT NOT NULL,         -- extra bytes of a request's line, compared with the call's own head and tail
  cap     BIGINT,                  -- the most tokens of an answer; NULL: no limit
  logprobs BOOLEAN                 -- log probabilities of tokens are requested
);

-- One row per distinct request; custom_id is a hash of its call and its input.
CREATE TABLE requests (
  seq       BIGINT NOT NULL,
  custom_id UUID NOT NULL,
  call_id   UUID NOT NULL,
  input     VARCHAR NOT NULL,
  bytes     BIGINT NOT NULL,       -- bytes of the line in the input file, with the call's own head and tail
  tokens    BIGINT NOT NULL,       -- estimated input tokens
  images    VARCHAR[]              -- the pictures that the input names, by sha256; NULL: none
);

-- The places of requests' pictures, by the sha256 of their bytes: in files, or here, for as long as they may be sent.
CREATE TABLE images (
  sha256  VARCHAR NOT NULL,
  type    VARCHAR NOT NULL,        -- image/png, image/jpeg, image/webp, image/gif
  size    BIGINT NOT NULL,
  path    VARCHAR,
  content BLOB
);

-- The requests that a job needs; this is all that the answering layer knows of its rows.
CREATE TABLE wanted (
  job_id     INTEGER NOT NULL,
  custom_id  UUID NOT NULL,
  not_before TIMESTAMP
);

-- One row per attempt to send requests as one file. state:
--   asking     a run sends its requests now, to the ordinary endpoint     <- `wait --finish-now`; then loaded, or abandoned
--   planned    its manifest is written                                  <- pack
--   uploading  a process writes and uploads its file, under a lease     <- claimed
--   creating   the input file's id is known, the create may be sent     <- committed before the POST
--   open       the provider's batch is known                            <- a reply, or adopted from the provider's list
--   ended      the provider has finished it                             <- a terminal status
--   loaded     its results are stored                                   <- one transaction with the results
--   fenced     not found at the provider; its input file is deleted     <- evidence of absence
--   abandoned  certainly never created; its requests are due again      <- a 4xx reply, or absent after the grace period
--              error_code is given_up: it is no longer waited for       <- `cancel --give-up`; open again if it ends after all
CREATE TABLE batches (
  batch_id       UUID NOT NULL,
  state          VARCHAR NOT NULL,
  status         VARCHAR,          -- the provider's own status
  provider_id    VARCHAR,          -- the provider's batch
  base_url       VARCHAR NOT NULL,
  call_id        UUID NOT NULL,    -- a file has requests of one call only
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
  grace_seconds  DOUBLE,           -- seconds for which a fenced batch may still appear
  error_code     VARCHAR,
  error          VARCHAR,
  job_id         INTEGER,          -- the job that sends and pays for it
  batch_factor   DOUBLE,           -- the fraction of the ordinary price; 0: free; NULL: unknown
  reserved       DOUBLE,           -- the most that it may cost, in dollars, if there is a budget
  taken_from     VARCHAR,          -- the owner that left its upload behind
  doubled        BIGINT,           -- how many of its requests had been sent again when it appeared late
  looks          BIGINT,           -- how often its result files were downloaded and could not be used
  sent_as        INTEGER           -- the job whose sent_calls it is sent with; NULL: as in calls
);

-- The manifest: which requests a batch contains. Append-only.
CREATE TABLE batch_requests (
  batch_id  UUID NOT NULL,
  seq       BIGINT NOT NULL,
  custom_id UUID NOT NULL
);

-- The results of requests. Append-only. outcome:
--   answered   usable, of the requested shape                           <- a 2xx line
--   failed     final: the same request would fail again                 <- refusal, length, bad shape, 4xx
--   retryable  may succeed another time; counts as an attempt           <- 408, 409, 429, 5xx, expired, missing
--   released   was not tried; does not count as an attempt              <- quota, billing, key
CREATE TABLE results (
  custom_id     UUID NOT NULL,
  batch_id      UUID,
  source        VARCHAR NOT NULL,  -- batch, preview, load; judged: a stored line checked again; unsent: it could not be sent
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
  raw           VARCHAR,           -- the result line, if it could not be used
  vector        FLOAT[],           -- of an embedding, instead of content
  tokens_cache_write BIGINT,       -- input tokens that were written to the prompt cache
  cap           BIGINT,           -- the token limit of ours at which the answer was cut; NULL: none
  confidence    MAP(VARCHAR, DOUBLE) -- of each returned value, and of the whole answer as ''; NULL: not requested, empty: not returned
);

-- Lines of result files that belong to no request of their batch.
CREATE TABLE quarantine (
  batch_id    UUID,                -- NULL: of a file that the user loaded
  reason      VARCHAR NOT NULL,
  raw         VARCHAR,
  received_at TIMESTAMP NOT NULL
);

-- What models cost, in dollars per million tokens. Rows from the price library (origin shipped) are replaced by each of its
-- releases, those of sqlbatch.toml (origin toml) when it changes; yours (origin own) come before both. Prices also apply to
-- what was spent earlier.
CREATE TABLE prices (
  model        VARCHAR NOT NULL,   -- also its dated versions: gpt-4o for gpt-4o-2024-08-06
  tier         VARCHAR NOT NULL DEFAULT 'default',   -- default: an ordinary request; batch; flex
  above        BIGINT NOT NULL DEFAULT 0,            -- for requests of more input tokens than this
  "input"      DOUBLE,             -- NULL: unknown
  cached       DOUBLE,             -- of input read from the prompt cache; NULL: as other input
  cache_write  DOUBLE,             -- of input written to the prompt cache; NULL: as other input
  "output"     DOUBLE,             -- NULL: unknown, or no output
  batch_factor DOUBLE,             -- the fraction of the default price for a batch; NULL: the provider's
  valid_from   DATE NOT NULL DEFAULT '2000-01-01',
  shutdown     DATE,               -- the day from which the model is no longer served
  successor    VARCHAR,            -- the model to use then
  base_url     VARCHAR,            -- NULL: at any address
  origin       VARCHAR NOT NULL DEFAULT 'own',   -- own, toml (sqlbatch.toml), shipped (the price library)
  source       VARCHAR
);

-- The cost of deleted results, added up by `prune`.
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
  above              BIGINT NOT NULL,   -- the largest `above` of any price that these requests exceed
  results            BIGINT NOT NULL,
  tokens_in          BIGINT NOT NULL,
  tokens_cached      BIGINT NOT NULL,
  tokens_cache_write BIGINT NOT NULL,
  tokens_out         BIGINT NOT NULL
);

-- The counts of a job's requests, and the state of everything they were counted from: while the state is the same, the
-- counts are not computed again. Those of a finished job stay as they were when it ended.
CREATE TABLE tallies (
  job_id    INTEGER NOT NULL,
  state     VARCHAR NOT NULL,      -- done, or a hash of the state
  answered  BIGINT NOT NULL,
  failed    BIGINT NOT NULL,
  unsettled BIGINT NOT NULL,
  due       BIGINT NOT NULL
);

-- Jobs with their derived status.
CREATE VIEW job_status AS
SELECT j.*, t.newest, t.successor,
  CASE WHEN j.cancelled_at IS NOT NULL THEN 'cancelled'
       WHEN j.finished_at IS NOT NULL THEN 'done'
       WHEN t.successor > j.job_id THEN 'superseded'
       WHEN j.blocked IS NOT NULL OR j.failing THEN 'blocked'
       ELSE 'running' END AS status
FROM jobs j
JOIN (
  SELECT lower(target) AS target, max(job_id) AS newest, max(job_id) FILTER (cancelled_at IS NULL) AS successor
  FROM jobs GROUP BY ALL
) t ON t.target = lower(j.target);

-- Requests in batches whose results are not loaded yet.
CREATE VIEW in_flight AS
SELECT m.custom_id, m.batch_id
FROM batch_requests m JOIN batches b USING (batch_id)
WHERE b.state NOT IN ('loaded', 'abandoned');

-- The results that count for a job: of batches planned after the job's not_before.
CREATE VIEW counted AS
SELECT w.job_id, r.*
FROM wanted w JOIN results r USING (custom_id)
WHERE w.not_before IS NULL OR r.asked_at >= w.not_before;

-- Requests of a job that have a final result: answered, failed for good, or tried often enough by this job.
CREATE VIEW settled AS
SELECT c.job_id, c.custom_id
FROM counted c JOIN jobs j USING (job_id)
GROUP BY c.job_id, c.custom_id, j.max_attempts
HAVING bool_or(c.outcome IN ('answered', 'failed'))
    OR count(*) FILTER (c.outcome = 'retryable' AND c.asked_at >= j.created_at) >= j.max_attempts;

-- Requests of a job that have no answer that counts for it.
CREATE VIEW unanswered AS
SELECT w.job_id, w.custom_id
FROM (FROM wanted WHERE not_before IS NULL) w
ANTI JOIN (FROM results WHERE outcome = 'answered') r ON r.custom_id = w.custom_id
UNION ALL
SELECT w.job_id, w.custom_id
FROM (FROM wanted WHERE not_before IS NOT NULL) w
WHERE NOT EXISTS (
  FROM results r WHERE r.custom_id = w.custom_id AND r.outcome = 'answered' AND r.asked_at >= w.not_before);

-- Requests of a job that are settled without an answer, unless another answer counts: failed for good, or tried often enough.
CREATE VIEW given_up AS
SELECT c.job_id, c.custom_id
FROM counted c JOIN jobs j USING (job_id)
WHERE c.outcome <> 'answered'
GROUP BY c.job_id, c.custom_id, j.max_attempts
HAVING bool_or(c.outcome = 'failed')
    OR count(*) FILTER (c.outcome = 'retryable' AND c.asked_at >= j.created_at) >= j.max_attempts;

-- Requests of a job that are not settled. Answered ones, which are most, are removed first, because they need no grouping.
CREATE VIEW unsettled AS
SELECT u.job_id, u.custom_id
FROM unanswered u ANTI JOIN given_up g ON g.job_id = u.job_id AND g.custom_id = u.custom_id;

-- Requests that open jobs want, that are not settled, and that nobody has in flight.
CREATE VIEW due AS
SELECT u.job_id, u.custom_id
FROM (SELECT u.* FROM unsettled u JOIN job_status j USING (job_id) WHERE j.status IN ('running', 'blocked')) u
ANTI JOIN in_flight f ON f.custom_id = u.custom_id;

-- The rowid of the one result that decides a request of a job: an answer before a failure, a final failure before a
-- temporary one, then the newest, because results are appended; and whether it settles the request. Rank and place are
-- one number, which takes half the time and a third of the memory of a struct.
CREATE VIEW decided AS
SELECT w.job_id, w.custom_id,
  max((CASE r.outcome WHEN 'answered' THEN 3 WHEN 'failed' THEN 2 WHEN 'retryable' THEN 1 ELSE 0 END)::BIGINT << 56 | r.rowid)
    & ((1::BIGINT << 56) - 1) AS place,
  bool_or(r.outcome IN ('answered', 'failed'))
    OR count(*) FILTER (r.outcome = 'retryable' AND r.asked_at >= j.created_at) >= any_value(j.max_attempts) AS settled
FROM wanted w JOIN results r ON r.custom_id = w.custom_id JOIN jobs j ON j.job_id = w.job_id
WHERE w.not_before IS NULL OR r.asked_at >= w.not_before
GROUP BY w.job_id, w.custom_id;

-- The result that decides each request of a job: an answer, or why there is none.
CREATE VIEW responses AS
SELECT d.job_id, d.custom_id, d.settled, r.outcome, r.code, r.message, r.content, r.model, r.vector
FROM decided d JOIN results r ON r.rowid = d.place;

-- Results that are not answers, with the result line.
CREATE VIEW failures AS
SELECT custom_id, batch_id, source, outcome, code, message, raw, received_at
FROM results
WHERE outcome <> 'answered';

-- What was billed, one row per result, failed ones too. The job is the one that sent it, or the first that wants it. `above`
-- is the largest `above` of any price that the request exceeds.
CREATE VIEW billed AS
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

-- Whether a price is for a model in a tier. A price without an address applies everywhere, a family's also to dated models.
CREATE MACRO is_price_of(price_url, price_model, price_tier, url, model, tier) AS
  (price_url IS NULL OR price_url = url) AND price_tier IN (tier, 'default')
  AND lower(price_model) IN (lower(model), regexp_replace(lower(model), '-\d{4}-\d{2}-\d{2}$', ''));

-- The rank of a price on a day; the lowest applies: a price already valid before a later one, a dated model's own before its
-- family's, yours before sqlbatch.toml's before the price library's, the tier's own before the default one, the nearest day.
CREATE MACRO price_rank(rate, origin, valid_from, price_model, price_tier, model, tier, day) AS row(
  rate IS NULL AND origin = 'shipped', valid_from > day, lower(price_model) <> lower(model),
  array_position(['own', 'toml', 'shipped'], origin), price_tier <> tier, abs(date_diff('day', valid_from, day)));

-- What was spent, in dollars: one row per result, or a sum of deleted results (custom_id is NULL then). dollars is NULL if no
-- price is known; a price that becomes known later also applies to what was spent earlier. The price depends on the day, the
-- tier and the length of the prompt.
CREATE VIEW costs AS
WITH all_billed AS (
  FROM billed
  UNION ALL BY NAME
  SELECT *, NULL::UUID AS custom_id FROM spent
), priced AS (
  SELECT k.base_url, k.model, k.day, k.tier, k.above, p."input", p.cached, p.cache_write, p."output", p.batch_factor,
    p.tier = k.tier AS same
  FROM (SELECT DISTINCT base_url, model, day, tier, above FROM all_billed) k
  JOIN prices p ON is_price_of(p.base_url, p.model, p.tier, k.base_url, k.model, k.tier) AND p.above <= k.above
  QUALIFY row_number() OVER (PARTITION BY k.base_url, k.model, k.day, k.tier, k.above
    ORDER BY price_rank(p."input", p.origin, p.valid_from, p.model, p.tier, k.model, k.tier, k.day), p.above DESC, p.rowid DESC) = 1
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

-- The audit: every request of a batch is answered, failed, released or open. balanced is false for a batch if not.
CREATE VIEW audit AS
SELECT *, listed = sent AND strangers = 0 AND repeated = 0 AND sent = answered + failed + released + open AS balanced
FROM (
  SELECT b.batch_id, b.state, b.requests AS sent, coalesce(m.listed, 0) AS listed,
    coalesce(r.answered, 0) AS answered, coalesce(r.failed, 0) AS failed,
    -- A batch that was given up after a part of it was loaded by hand: the rest counts as released.
    CASE WHEN b.state = 'abandoned' THEN b.requests - coalesce(r.results, 0) + coalesce(r.released, 0)
      ELSE coalesce(r.released, 0) END AS released,
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

-- The plan of a job whose query calls AI functions, one row per job. In its SQL a source is named "@sqlbatch_source_<n>@" and
-- a call sqlbatch_ai_<n>.
CREATE TABLE ai_plans (
  job_id INTEGER NOT NULL,
  policy VARCHAR NOT NULL,         -- balanced, lean, fuse: how far calls wait for one another
  stages INTEGER NOT NULL,
  query  VARCHAR NOT NULL          -- returns the target's rows, once all calls are answered
);

-- The sources of such a query, each stored as it was then in src_<job>_<source>, as long as the job's rows are stored.
CREATE TABLE ai_sources (
  job_id   INTEGER NOT NULL,
  source   INTEGER NOT NULL,
  relation VARCHAR NOT NULL,       -- its name in the query
  query    VARCHAR NOT NULL,
  "rows"   BIGINT NOT NULL
);

-- The pictures that such a query asks about, read when it was planned.
CREATE TABLE ai_pictures (
  job_id  INTEGER NOT NULL,
  name    VARCHAR NOT NULL,        -- a path or URL as its row has it; bytes:<sha256>, data:<sha256>
  url     VARCHAR NOT NULL,        -- its name in a request
  sha256  VARCHAR,                 -- of its bytes; NULL: a URL that is passed on, or it cannot be sent
  extra   BIGINT,                  -- bytes that it takes in a request
  problem VARCHAR                  -- why it cannot be sent
);

-- The calls of such a query. A call is collected once all calls that it needs are collected and settled.
CREATE TABLE ai_calls (
  job_id     INTEGER NOT NULL,
  call       INTEGER NOT NULL,
  call_id    UUID NOT NULL,
  function   VARCHAR NOT NULL,
  text       VARCHAR NOT NULL,     -- as its user wrote it
  clause     VARCHAR NOT NULL,
  stage      INTEGER NOT NULL,     -- 0: nothing depends on it, and it is not asked
  collection VARCHAR NOT NULL,     -- returns its inputs
  ask        VARCHAR NOT NULL,     -- SQL of the varying part of a request's body, from the input sqlbatch_x
  "value"    VARCHAR NOT NULL,     -- SQL of its value, from sqlbatch_content, sqlbatch_vector and sqlbatch_error
  "type"     VARCHAR NOT NULL,     -- the SQL type of its value
  answers    VARCHAR NOT NULL,     -- equal for equal calls
  on_error   VARCHAR NOT NULL,
  at_most    BIGINT                -- the most requests it may have, as known when it was planned
);

-- Which calls a call waits for.
CREATE TABLE ai_needs (
  job_id INTEGER NOT NULL,
  call   INTEGER NOT NULL,
  needs  INTEGER NOT NULL
);

-- The requests of a call.
CREATE TABLE ai_asks (
  job_id    INTEGER NOT NULL,
  call      INTEGER NOT NULL,
  custom_id UUID NOT NULL
);

-- When the inputs of a call were collected, in one transaction with its requests.
CREATE TABLE ai_collected (
  job_id       INTEGER NOT NULL,
  call         INTEGER NOT NULL,
  collected_at TIMESTAMP NOT NULL,
  asked        BIGINT NOT NULL     -- distinct requests
);

-- The functions with constant arguments that were asked for, as the macros of `sqlbatch functions install` name them.
CREATE TABLE ai_signatures (
  signature VARCHAR NOT NULL,
  call_id   UUID NOT NULL,
  field     VARCHAR                -- the field of the answer that is the value; NULL: all of it, '': its text
);

-- Calls of open jobs that can be collected: all that they need is collected and settled.
CREATE VIEW ai_ready AS
SELECT c.job_id, c.call, c.stage
FROM ai_calls c JOIN job_status j ON j.job_id = c.job_id
WHERE c.stage > 0 AND j.status IN ('running', 'blocked')
  AND NOT EXISTS (FROM ai_collected d WHERE d.job_id = c.job_id AND d.call = c.call)
  AND NOT EXISTS (
    FROM ai_needs n WHERE n.job_id = c.job_id AND n.call = c.call
      AND (NOT EXISTS (FROM ai_collected d WHERE d.job_id = n.job_id AND d.call = n.needs)
        OR EXISTS (FROM ai_asks a JOIN unsettled u ON u.job_id = a.job_id AND u.custom_id = a.custom_id
          WHERE a.job_id = n.job_id AND a.call = n.needs)));

-- Failed requests of calls: the call, its place in the query, why it failed, and its input.
CREATE VIEW ai_failures AS
SELECT a.job_id, j.target, c.call, c.function, c.text, c.clause, a.custom_id, r.code, r.message, q.input
FROM ai_asks a
JOIN ai_calls c ON c.job_id = a.job_id AND c.call = a.call
JOIN jobs j ON j.job_id = a.job_id
JOIN responses r ON r.job_id = a.job_id AND r.custom_id = a.custom_id
JOIN requests q ON q.custom_id = a.custom_id
WHERE r.settled AND r.outcome <> 'answered';

-- The current result of each request: its newest answer, or why it has none.
CREATE VIEW ai_answers AS
SELECT custom_id, arg_max(content, rowid) FILTER (outcome = 'answered') AS content,
  CASE WHEN count(*) FILTER (outcome = 'answered') = 0 THEN arg_max(concat_ws(': ', code, message), rowid) END AS error
FROM results GROUP BY custom_id;

-- The id of this state, for the databases to which its targets are published.
CREATE TABLE identity (
  state_id UUID NOT NULL           -- names this state in other databases; a copy of the file has the same
);
INSERT INTO identity VALUES (uuid());

-- Rows of jobs that another engine has read and keeps: one row a run. The rows lie in a folder that engine and driver share.
CREATE TABLE snapshots (
  run_id     UUID NOT NULL,
  job_id     INTEGER NOT NULL,
  engine     VARCHAR NOT NULL,     -- spark
  query      VARCHAR NOT NULL,
  folder     VARCHAR NOT NULL,     -- holds the rows, as Parquet files
  sent       VARCHAR[] NOT NULL,   -- the columns that are sent to the model
  "rows"     BIGINT NOT NULL,
  kept_at    TIMESTAMP NOT NULL,
  dropped_at TIMESTAMP
);

-- Targets in other databases, one row a job:
--   built      exported_at is set: the job is done here               <- every request is settled
--   published  published_at is set                                    <- the marker in the other database names the job
CREATE TABLE publications (
  run_id       UUID NOT NULL,
  job_id       INTEGER NOT NULL,
  place        VARCHAR NOT NULL,   -- how the database is reached, as --attach names it, without passwords
  target       VARCHAR NOT NULL,   -- the table there, as SQL: database, schema and name
  exported_at  TIMESTAMP,          -- the job's rows and answers were built here; NULL: not yet
  published_at TIMESTAMP,          -- they are in the target; NULL: not yet
  "rows"       BIGINT,             -- of the target, as published
  error        VARCHAR             -- why the last attempt to publish failed; NULL: it did not
);

-- Verdicts of people on answers, one row each; the newest for a request and column counts (view verdicts). A review belongs to
-- an answer, by its request, so that it survives a new run of the same prompt; the row identifies its subject whatever the
-- prompt is.
CREATE TABLE reviews (
  custom_id   UUID NOT NULL,
  "column"    VARCHAR NOT NULL,    -- one of the returned columns
  verdict     VARCHAR NOT NULL,    -- approved, rejected, corrected
  "value"     JSON NOT NULL,       -- corrected: the right value; else the value that was judged
  note        VARCHAR,
  reviewer    VARCHAR NOT NULL,
  reviewed_at TIMESTAMP NOT NULL,
  target      VARCHAR NOT NULL,    -- the table in which it was reviewed, as in jobs
  source_row  JSON NOT NULL        -- the query's columns of the first row with this answer; bytes as their md5
);

-- The newest review of each request and column.
CREATE VIEW verdicts AS
SELECT * FROM reviews
QUALIFY row_number() OVER (PARTITION BY custom_id, "column" ORDER BY rowid DESC) = 1;

-- Right values, approved or corrected by a person: the newest for each row of a target and column, whatever the prompt was.
-- With a changed prompt the same rows have other answers, but these values stay right.
CREATE VIEW gold AS
SELECT target, source_row, "column", "value", verdict, custom_id, reviewer, reviewed_at FROM verdicts
WHERE verdict IN ('approved', 'corrected')
QUALIFY row_number() OVER (PARTITION BY target, source_row::VARCHAR, "column" ORDER BY reviewed_at DESC) = 1;

CREATE SEQUENCE comparison_ids START 1;

-- One row per comparison; only the newest of two tables is stored.
CREATE TABLE comparisons (
  comparison_id INTEGER NOT NULL DEFAULT nextval('comparison_ids'),
  a           VARCHAR NOT NULL,    -- the tables, as SQL
  b           VARCHAR NOT NULL,
  gold        VARCHAR,             -- the table with the right values; NULL: reviews, if there are any
  keys        VARCHAR[] NOT NULL,  -- the columns by which rows are matched
  "rows"      BIGINT NOT NULL,     -- rows of both tables that are answered in both
  only_a      BIGINT NOT NULL,     -- rows that the other table does not have
  only_b      BIGINT NOT NULL,
  unanswered  BIGINT NOT NULL,     -- rows of both tables that are not answered in both
  dollars_a   DOUBLE,              -- per 1,000 rows; NULL: unknown
  dollars_b   DOUBLE,
  compared_at TIMESTAMP NOT NULL
);

-- The values of a comparison, one line per row and column: as text, lists and objects as JSON, lists in one order.
CREATE TABLE compared (
  comparison_id INTEGER NOT NULL,
  "row"       BIGINT NOT NULL,
  "column"    VARCHAR NOT NULL,
  key         VARCHAR NOT NULL,    -- the values of the keys, as JSON
  a           VARCHAR,
  b           VARCHAR,
  gold        VARCHAR,
  a_right     BOOLEAN,             -- by gold or reviews; NULL: unknown
  b_right     BOOLEAN
);

-- The 95 % bootstrap interval of a column's kappa.
CREATE TABLE kappa_intervals (
  comparison_id INTEGER NOT NULL,
  "column"    VARCHAR NOT NULL,
  low         DOUBLE,
  high        DOUBLE,
  resamples   BIGINT NOT NULL
);

-- How often two values occur in the same row of a comparison; NULL counts as a value.
CREATE VIEW confusion AS
SELECT comparison_id, "column", a, b, count(*) AS "rows" FROM compared GROUP BY ALL;

-- Rows of a comparison where the tables differ.
CREATE VIEW differences AS
SELECT comparison_id, "column", "row", key, a, b, gold FROM compared WHERE a IS DISTINCT FROM b;

-- Per comparison and column: the fraction of rows that agree, Cohen's kappa for columns with at most 50 values (NULL if chance
-- alone explains all agreement), its bootstrap interval, and the fraction that is right by gold or reviews.
CREATE VIEW agreement AS
WITH totals AS (
  SELECT comparison_id, "column", count(*) AS "rows", count(*) FILTER (a IS NOT DISTINCT FROM b) AS agreed,
    count(a_right) AS judged_a, count(*) FILTER (a_right) AS right_a,
    count(b_right) AS judged_b, count(*) FILTER (b_right) AS right_b
  FROM compared GROUP BY ALL
), marginals AS (
  SELECT comparison_id, "column", value, sum(of_a) AS of_a, sum(of_b) AS of_b
  FROM (
    SELECT comparison_id, "column", a AS value, "rows" AS of_a, 0 AS of_b FROM confusion
    UNION ALL
    SELECT comparison_id, "column", b, 0, "rows" FROM confusion
  ) GROUP BY ALL
), chance AS (
  SELECT comparison_id, "column", count(*) AS labels, sum(of_a * of_b)::DOUBLE AS by_chance FROM marginals GROUP BY ALL
)
SELECT t.comparison_id, t."column", t."rows", t.agreed, t.agreed / t."rows" AS agreement, c.labels,
  CASE WHEN c.labels <= 50 AND c.by_chance < t."rows" * t."rows"
    THEN (t.agreed / t."rows" - c.by_chance / (t."rows" * t."rows")) / (1 - c.by_chance / (t."rows" * t."rows")) END AS kappa,
  i.low AS kappa_low, i.high AS kappa_high,
  t.judged_a, t.right_a / nullif(t.judged_a, 0) AS accuracy_a, t.judged_b, t.right_b / nullif(t.judged_b, 0) AS accuracy_b
FROM totals t
JOIN chance c ON c.comparison_id = t.comparison_id AND c."column" = t."column"
LEFT JOIN kappa_intervals i ON i.comparison_id = t.comparison_id AND i."column" = t."column";

-- The plan of a job whose query calls AI functions, one row a job. In its SQL a source is named "@sqlbatch_source_<n>@" and
-- a call sqlbatch_ai_<n>.
CREATE TABLE ai_plans (
  job_id INTEGER NOT NULL,
  policy VARCHAR NOT NULL,         -- balanced, lean, fuse: how far calls wait for one another
  stages INTEGER NOT NULL,
  query  VARCHAR NOT NULL          -- gives the target's rows, once all calls are answered
);

-- The sources of such a query, each kept as it was then in src_<job>_<source>, as long as the job's rows are kept.
CREATE TABLE ai_sources (
  job_id   INTEGER NOT NULL,
  source   INTEGER NOT NULL,
  relation VARCHAR NOT NULL,       -- its name in the query
  query    VARCHAR NOT NULL,
  "rows"   BIGINT NOT NULL
);

-- The calls of such a query. A call is collected once all calls that it needs are collected and settled.
CREATE TABLE ai_calls (
  job_id     INTEGER NOT NULL,
  call       INTEGER NOT NULL,
  call_id    UUID NOT NULL,
  function   VARCHAR NOT NULL,
  text       VARCHAR NOT NULL,     -- as its user wrote it
  clause     VARCHAR NOT NULL,
  stage      INTEGER NOT NULL,     -- 0: nothing rests on it, and it is not asked
  collection VARCHAR NOT NULL,     -- gives its inputs
  ask        VARCHAR NOT NULL,     -- SQL of the varying part of a request's body, from the input sqlbatch_x
  "value"    VARCHAR NOT NULL,     -- SQL of its value, from sqlbatch_content, sqlbatch_vector and sqlbatch_error
  "type"     VARCHAR NOT NULL,     -- the SQL type of its value
  answers    VARCHAR NOT NULL,     -- equal for calls that ask the same
  on_error   VARCHAR NOT NULL,
  at_most    BIGINT                -- requests, as far as could be told when it was planned
);

-- Which calls a call waits for.
CREATE TABLE ai_needs (
  job_id INTEGER NOT NULL,
  call   INTEGER NOT NULL,
  needs  INTEGER NOT NULL
);

-- Which requests a call asks for.
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

-- Failed requests of calls: the call, where it stands, why it failed, and what it was asked about.
CREATE VIEW ai_failures AS
SELECT a.job_id, j.target, c.call, c.function, c.text, c.clause, a.custom_id, r.code, r.message, q.input
FROM ai_asks a
JOIN ai_calls c ON c.job_id = a.job_id AND c.call = a.call
JOIN jobs j ON j.job_id = a.job_id
JOIN responses r ON r.job_id = a.job_id AND r.custom_id = a.custom_id
JOIN requests q ON q.custom_id = a.custom_id
WHERE r.settled AND r.outcome <> 'answered';

-- What is known of each request: its newest answer, or why it has none.
CREATE VIEW ai_answers AS
SELECT custom_id, arg_max(content, rowid) FILTER (outcome = 'answered') AS content,
  CASE WHEN count(*) FILTER (outcome = 'answered') = 0 THEN arg_max(concat_ws(': ', code, message), rowid) END AS error
FROM results GROUP BY custom_id;

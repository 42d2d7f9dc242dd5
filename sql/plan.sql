-- Pack due requests into batches.

-- held: one row if a job is paused, or waits for its user
SELECT 1 FROM sqlbatch.jobs WHERE job_id = $job_id AND (paused_until > $now::TIMESTAMP OR failing);

-- groups: the calls with due requests of a job, unless it is paused
SELECT r.call_id, c.model, count(*)
FROM sqlbatch.due d
JOIN sqlbatch.requests r ON r.custom_id = d.custom_id
JOIN sqlbatch.calls c ON c.call_id = r.call_id
JOIN sqlbatch.jobs j ON j.job_id = d.job_id
WHERE d.job_id = $job_id AND (j.paused_until IS NULL OR j.paused_until <= $now::TIMESTAMP) AND j.failing IS NOT TRUE
GROUP BY ALL ORDER BY ALL;

-- choose: the due requests of one call, in the order of their numbers
CREATE OR REPLACE TEMP TABLE sqlbatch_chosen AS
SELECT r.seq, r.custom_id, r.bytes + coalesce(s.extra, 0) AS bytes, r.tokens
FROM sqlbatch.due d JOIN sqlbatch.requests r ON r.custom_id = d.custom_id
LEFT JOIN sqlbatch.sent_calls s ON s.job_id = d.job_id AND s.call_id = r.call_id
WHERE d.job_id = $job_id AND r.call_id = $call_id::UUID
ORDER BY r.seq;

-- running: running sums over the requests of a table, in order; a line takes one byte more than its text
CREATE OR REPLACE TEMP TABLE sqlbatch_running AS
SELECT seq, row_number() OVER () AS place,
  sum(bytes + 1) OVER (ROWS UNBOUNDED PRECEDING) AS bytes,
  sum(tokens) OVER (ROWS UNBOUNDED PRECEDING) AS tokens
FROM {source};

-- shards: the largest files within the limits, one after the other
CREATE OR REPLACE TEMP TABLE sqlbatch_shards AS
WITH RECURSIVE shard(number, low, high, bytes, tokens) AS (
  SELECT -1::BIGINT, 0::BIGINT, 0::BIGINT, 0::HUGEINT, 0::HUGEINT
  UNION ALL
  SELECT s.number + 1, s.high + 1, x.high, x.bytes, x.tokens
  FROM shard s, LATERAL (
    SELECT max(r.place) AS high, max(r.bytes) AS bytes, max(r.tokens) AS tokens
    FROM sqlbatch_running r
    WHERE r.place > s.high AND r.place <= s.high + $max_requests::BIGINT
      AND r.bytes <= s.bytes + $max_bytes::BIGINT AND r.tokens <= s.tokens + $max_tokens::BIGINT
  ) x
  WHERE x.high IS NOT NULL
)
SELECT uuid() AS batch_id, number, low, high, high - low + 1 AS requests,
  bytes - coalesce(lag(bytes) OVER (ORDER BY number), 0) AS bytes,
  tokens - coalesce(lag(tokens) OVER (ORDER BY number), 0) AS tokens
FROM shard WHERE number >= 0;

-- covered: how many batches there are, how many requests they contain, and how many there are in all
SELECT (SELECT count(*) FROM sqlbatch_shards), (SELECT coalesce(max(high), 0) FROM sqlbatch_shards),
  (SELECT count(*) FROM sqlbatch_running);

-- learned: the largest batch of a model in tokens, if the provider has refused one within a day
-- The provider counts tokens differently: if it refused a batch below its own limit, smaller ones are tried, down to a
-- quarter.
SELECT greatest(told // 4, least(told, coalesce(refused * 3 // 4, told)))
FROM (
  SELECT arg_max(most, ended_at) AS told, min(tokens) FILTER (tokens <= most) AS refused
  FROM (
    SELECT tokens, ended_at, TRY_CAST(replace(regexp_extract(error, 'Limit: ([0-9,]+)', 1), ',', '') AS BIGINT) AS most
    FROM sqlbatch.batches
    WHERE base_url = $base_url AND model = $model AND error_code = 'token_limit_exceeded'
      AND ended_at > $now::TIMESTAMP - INTERVAL 1 DAY
  )
  WHERE most > 0
)
WHERE told IS NOT NULL;

-- longest: the tokens of the longest request of a table, which may need a batch of its own
SELECT coalesce(max(tokens), 0) FROM {source};

-- plan: add the planned batches, on the job's budget
-- Their results count for every open job, even if somebody has set the clock back since it was started or retried.
WITH open_jobs AS (
  FROM sqlbatch.jobs WHERE job_id = $job_id OR (finished_at IS NULL AND cancelled_at IS NULL)
), latest AS (
  SELECT max(greatest(created_at, not_before)) AS moment FROM open_jobs
  UNION ALL
  SELECT max(not_before) FROM sqlbatch.wanted WHERE job_id IN (SELECT job_id FROM open_jobs)
)
INSERT INTO sqlbatch.batches (batch_id, state, base_url, call_id, model, requests, bytes, tokens, planned_at, job_id, batch_factor, sent_as)
SELECT batch_id, 'planned', $base_url, $call_id::UUID, $model, requests, bytes, tokens,
  greatest($now::TIMESTAMP, (SELECT max(moment) FROM latest)), $job_id, $batch_factor::DOUBLE, $job_id
FROM sqlbatch_shards ORDER BY number;

-- manifest: which requests each batch contains
INSERT INTO sqlbatch.batch_requests (batch_id, seq, custom_id)
SELECT s.batch_id, c.seq, c.custom_id
FROM sqlbatch_chosen c
JOIN sqlbatch_running r ON r.seq = c.seq
JOIN sqlbatch_shards s ON r.place BETWEEN s.low AND s.high
ORDER BY c.seq;

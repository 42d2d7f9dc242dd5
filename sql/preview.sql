-- Send a few requests to the ordinary endpoint, without a batch.

-- call: the endpoint and returned columns against which a call's answers are checked
SELECT endpoint, returns FROM sqlbatch.calls WHERE call_id = $call_id::UUID;

-- keep: store paid results, once; a refused or lost request costs nothing, and may be sent again in a batch
-- Requests sent for a job belong to the batch that reserves them meanwhile.
SELECT n.* EXCLUDE (status, good, unreadable, mark, cut, confidence), 'preview' AS source,
  coalesce(n.confidence, CASE WHEN $logprobs THEN map([]::VARCHAR[], []::DOUBLE[]) END) AS confidence,
  CASE WHEN n.cut THEN $cap::BIGINT END AS cap,
  (SELECT any_value(m.batch_id) FROM sqlbatch.batch_requests m JOIN sqlbatch.batches b ON b.batch_id = m.batch_id
   WHERE b.state = 'asking' AND m.custom_id = n.custom_id) AS batch_id
FROM (FROM sqlbatch_parsed_results WHERE good AND outcome IN ('answered', 'failed')) n
SEMI JOIN sqlbatch.requests q ON q.custom_id = n.custom_id
ANTI JOIN sqlbatch.results o ON o.custom_id = n.custom_id AND o.source = 'preview' AND o.asked_at = n.asked_at;

-- told: the content of each line
SELECT j.custom_id::VARCHAR, j.outcome, j.code, j.message, j.good,
  coalesce(j.tokens_in, 0)::BIGINT, coalesce(j.tokens_cached, 0)::BIGINT,
  coalesce(j.tokens_cache_write, 0)::BIGINT, coalesce(j.tokens_out, 0)::BIGINT
FROM sqlbatch_parsed_results j
ORDER BY j.rowid;

-- held: the requests that runs send for jobs to the ordinary endpoint, reserved as batches that nobody else may send
SELECT batch_id::VARCHAR, lease_owner, lease_until FROM sqlbatch.batches WHERE state = 'asking';

-- renew: extend the reservation of a run
UPDATE sqlbatch.batches SET lease_until = $until::TIMESTAMP WHERE state = 'asking' AND lease_owner = $owner
RETURNING batch_id;

-- unanswered: requests without an answer are removed from a run's reservation
DELETE FROM sqlbatch.batch_requests
WHERE batch_id = $batch_id::UUID
  AND (SELECT state FROM sqlbatch.batches WHERE batch_id = $batch_id::UUID) = 'asking'
  AND custom_id NOT IN (SELECT custom_id FROM sqlbatch.results WHERE batch_id = $batch_id::UUID);

-- end: a run's reservation is loaded, with as many requests as have an answer
UPDATE sqlbatch.batches b SET requests = c.requests, bytes = c.bytes, tokens = c.tokens, completed = c.requests,
  state = CASE WHEN c.requests = 0 THEN 'abandoned' ELSE 'loaded' END,
  status = CASE WHEN c.requests > 0 THEN 'completed' END, lease_owner = NULL, lease_until = NULL,
  ended_at = $now::TIMESTAMP, loaded_at = CASE WHEN c.requests > 0 THEN $now::TIMESTAMP END,
  abandoned_at = CASE WHEN c.requests = 0 THEN $now::TIMESTAMP END,
  error_code = CASE WHEN c.requests = 0 THEN 'asked_at_once' END,
  error = CASE WHEN c.requests = 0 THEN 'it was asked at once, and no answer came' END
FROM (
  SELECT count(*) AS requests, coalesce(sum(r.bytes + 1), 0)::BIGINT AS bytes, coalesce(sum(r.tokens), 0)::BIGINT AS tokens
  FROM sqlbatch.batch_requests m JOIN sqlbatch.requests r ON r.custom_id = m.custom_id
  WHERE m.batch_id = $batch_id::UUID
) c
WHERE b.batch_id = $batch_id::UUID AND b.state = 'asking'
RETURNING b.requests;

-- remainder: a job's requests without a final result that nobody is sending: those of batches that were only planned
-- count
CREATE OR REPLACE TEMP TABLE sqlbatch_remainder AS
SELECT q.seq, q.custom_id, q.call_id, q.bytes, q.tokens
FROM sqlbatch.unsettled u JOIN sqlbatch.requests q ON q.custom_id = u.custom_id
ANTI JOIN (
  SELECT m.custom_id FROM sqlbatch.batch_requests m JOIN sqlbatch.batches b ON b.batch_id = m.batch_id
  WHERE b.state NOT IN ('planned', 'loaded', 'abandoned') OR (b.state = 'planned' AND b.lease_until > $now::TIMESTAMP)
) f ON f.custom_id = u.custom_id
WHERE u.job_id = $job_id;

-- elsewhere: how many requests of a job are in batches that are sent, or are being sent
SELECT count(*) FROM sqlbatch.unsettled u
WHERE u.job_id = $job_id AND u.custom_id NOT IN (SELECT custom_id FROM sqlbatch_remainder);

-- of_calls: the calls of a remainder, with how many requests each has and how the job sends them
SELECT c.call_id::VARCHAR, c.endpoint, c.model, count(*), coalesce(s.head, c.head), coalesce(s.tail, c.tail), c.tail, s.cap,
  coalesce(s.head IS NOT NULL OR NOT contains(s.tail, '"prompt_cache_options":{"mode":"explicit"}'), true), coalesce(s.logprobs, false)
FROM sqlbatch_remainder r JOIN sqlbatch.calls c ON c.call_id = r.call_id
LEFT JOIN sqlbatch.sent_calls s ON s.job_id = $job_id AND s.call_id = c.call_id
GROUP BY ALL ORDER BY 1;

-- of_call: the requests of one call of a remainder
CREATE OR REPLACE TEMP TABLE sqlbatch_now AS FROM sqlbatch_remainder WHERE call_id = $call_id::UUID;

-- unplan: planned batches that contain requests to be sent now are given up
UPDATE sqlbatch.batches SET state = 'abandoned', abandoned_at = $now::TIMESTAMP, lease_owner = NULL, lease_until = NULL,
  error_code = 'asked_at_once', error = 'planned, and then asked at once'
WHERE state = 'planned' AND batch_id IN (
  SELECT m.batch_id FROM sqlbatch.batch_requests m SEMI JOIN sqlbatch_remainder r ON r.custom_id = m.custom_id)
RETURNING batch_id;

-- hold: reserve the requests of one call that a run sends now, as a batch that nobody else may send
INSERT INTO sqlbatch.batches (batch_id, state, base_url, call_id, model, requests, bytes, tokens, planned_at, job_id,
  batch_factor, sent_as, lease_owner, lease_until, reserved)
SELECT $batch_id::UUID, 'asking', $base_url, $call_id::UUID, $model, count(*), coalesce(sum(bytes + 1), 0)::BIGINT,
  coalesce(sum(tokens), 0)::BIGINT, $now::TIMESTAMP, $job_id, $batch_factor::DOUBLE, $job_id, $owner,
  $until::TIMESTAMP, $reserved::DOUBLE
FROM sqlbatch_now;

-- hold_requests: the requests of that batch
INSERT INTO sqlbatch.batch_requests (batch_id, seq, custom_id)
SELECT $batch_id::UUID, seq, custom_id FROM sqlbatch_now ORDER BY seq RETURNING custom_id::VARCHAR;

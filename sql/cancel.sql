-- Stop batches that no job wants, and retry failed requests.

-- mark: the job is cancelled
UPDATE sqlbatch.jobs SET cancelled_at = $now::TIMESTAMP, blocked = NULL, blocked_code = NULL, paused_until = NULL, pause_seconds = NULL
WHERE job_id = $job_id AND finished_at IS NULL AND cancelled_at IS NULL
RETURNING job_id;

-- unwanted: batches that no open job wants, although a cancelled one did, and those that were never sent
WITH asked AS MATERIALIZED (
  FROM sqlbatch.batches
  WHERE base_url = $base_url
    AND (state = 'open' AND coalesce(status, '') NOT IN ('cancelling', 'finalizing')
        AND EXISTS (FROM sqlbatch.jobs WHERE cancelled_at IS NOT NULL)
      OR state IN ('planned', 'uploading') AND (lease_until IS NULL OR lease_until <= $now::TIMESTAMP))
), wanting AS MATERIALIZED (
  SELECT DISTINCT m.batch_id, w.job_id
  FROM (FROM sqlbatch.batch_requests SEMI JOIN asked USING (batch_id)) m
  JOIN sqlbatch.wanted w ON w.custom_id = m.custom_id
)
SELECT b.batch_id::VARCHAR, b.state, b.provider_id
FROM asked b
WHERE (b.state <> 'open' OR b.batch_id IN (
    SELECT x.batch_id FROM wanting x JOIN sqlbatch.jobs j ON j.job_id = x.job_id WHERE j.cancelled_at IS NOT NULL))
  AND b.batch_id NOT IN (
    SELECT x.batch_id FROM wanting x JOIN sqlbatch.job_status j ON j.job_id = x.job_id
    WHERE j.status IN ('running', 'blocked'));

-- never_sent: a batch that was only planned is given up; nothing of it is at the provider
UPDATE sqlbatch.batches SET state = 'abandoned', abandoned_at = $now::TIMESTAMP, lease_owner = NULL, lease_until = NULL,
  error_code = 'cancelled', error = 'cancelled before it was sent'
WHERE batch_id = $batch_id::UUID AND state IN ('planned', 'uploading')
  AND (lease_until IS NULL OR lease_until <= $now::TIMESTAMP)
RETURNING batch_id;

-- stuck: batches that carry a job's requests and may be at the provider, whatever became of them there
SELECT b.batch_id::VARCHAR, b.provider_id, b.input_file_id, b.requests, b.tokens, b.batch_factor IS DISTINCT FROM 0 AS paid
FROM sqlbatch.batches b
WHERE b.state IN ('creating', 'open', 'ended', 'fenced') AND b.batch_id IN (
  SELECT m.batch_id FROM sqlbatch.batch_requests m JOIN sqlbatch.wanted w ON w.custom_id = m.custom_id WHERE w.job_id = $job_id)
ORDER BY b.planned_at, b.batch_id;

-- stuck_requests: list the requests of those batches, with their estimated tokens
CREATE OR REPLACE TEMP TABLE sqlbatch_stuck AS
SELECT q.custom_id, q.call_id, q.tokens
FROM sqlbatch.requests q SEMI JOIN (
  SELECT m.custom_id FROM sqlbatch.batch_requests m WHERE list_contains($batches::UUID[], m.batch_id)
) s ON s.custom_id = q.custom_id;

-- calls_of: the calls of some requests, each with the token limit that a job sends it with
SELECT c.call_id::VARCHAR, c.endpoint, c.model, s.cap
FROM sqlbatch.calls c SEMI JOIN {table} q ON q.call_id = c.call_id
LEFT JOIN sqlbatch.sent_calls s ON s.job_id = $job_id AND s.call_id = c.call_id
ORDER BY c.call_id;

-- also_waiting: other open jobs that want requests that a job has at the provider
SELECT DISTINCT j.job_id
FROM sqlbatch.job_status j
JOIN sqlbatch.wanted o ON o.job_id = j.job_id
JOIN sqlbatch.wanted w ON w.custom_id = o.custom_id AND w.job_id = $job_id
JOIN sqlbatch.in_flight f ON f.custom_id = w.custom_id
WHERE j.status IN ('running', 'blocked') AND j.job_id <> $job_id
ORDER BY j.job_id;

-- give_up: a batch is no longer waited for, and its requests are due again; its results are loaded if they appear later
UPDATE sqlbatch.batches SET state = 'abandoned', abandoned_at = $now::TIMESTAMP, lease_owner = NULL, lease_until = NULL,
  error_code = 'given_up', error = 'its user gave it up'
WHERE batch_id = $batch_id::UUID AND state IN ('creating', 'open', 'ended', 'fenced')
RETURNING batch_id;

-- ask_again: the results so far of a job's failed requests no longer count for it
-- They are older than the new requests, even if somebody has set the clock back since.
WITH again AS (
  SELECT custom_id FROM sqlbatch.responses
  WHERE job_id = $job_id AND settled AND outcome <> 'answered' AND ($code::VARCHAR IS NULL OR code = $code::VARCHAR)
), latest AS (
  SELECT max(r.asked_at) + INTERVAL 1 MICROSECOND AS moment FROM sqlbatch.results r SEMI JOIN again a ON a.custom_id = r.custom_id
)
UPDATE sqlbatch.wanted SET not_before = greatest($now::TIMESTAMP, (SELECT moment FROM latest))
WHERE job_id = $job_id AND custom_id IN (SELECT custom_id FROM again)
RETURNING custom_id;

-- failed: list the requests that a retry would send, with their estimated tokens
CREATE OR REPLACE TEMP TABLE sqlbatch_failed AS
SELECT q.custom_id, q.call_id, q.tokens
FROM sqlbatch.requests q SEMI JOIN (
  FROM sqlbatch.responses
  WHERE job_id = $job_id AND settled AND outcome <> 'answered' AND ($code::VARCHAR IS NULL OR code = $code::VARCHAR)
) f ON f.custom_id = q.custom_id;

-- failed_count: how many there are
SELECT count(*) FROM sqlbatch_failed;

-- reopen: the job continues
UPDATE sqlbatch.jobs SET finished_at = NULL, error = NULL WHERE job_id = $job_id;

-- left_over: jobs that are not open and may still get results: batches at the provider, late or given-up ones
SELECT w.job_id
FROM sqlbatch.in_flight f
JOIN sqlbatch.wanted w ON w.custom_id = f.custom_id
JOIN sqlbatch.job_status j ON j.job_id = w.job_id
WHERE j.status IN ('cancelled', 'superseded')
UNION
SELECT b.job_id
FROM sqlbatch.batches b JOIN sqlbatch.job_status j ON j.job_id = b.job_id
WHERE j.status = 'done' AND b.state IN ('creating', 'open', 'ended', 'fenced')
UNION
SELECT job_id FROM sqlbatch.batches
WHERE state = 'abandoned' AND error_code = 'given_up' AND provider_id IS NOT NULL AND job_id IS NOT NULL
  AND abandoned_at > $now::TIMESTAMP - INTERVAL 30 DAY
ORDER BY job_id;

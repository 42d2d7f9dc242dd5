-- The status of batches.

-- owners: the owners of leases
SELECT DISTINCT lease_owner FROM sqlbatch.batches
WHERE base_url = $base_url AND state IN ('uploading', 'creating') AND lease_until > $now::TIMESTAMP;

-- void: end the leases of an owner that is gone
UPDATE sqlbatch.batches SET lease_until = $now::TIMESTAMP
WHERE lease_owner = $owner AND state IN ('uploading', 'creating') AND lease_until > $now::TIMESTAMP
RETURNING batch_id;

-- lost: batches whose create has an unknown outcome and that no process is creating right now
SELECT batch_id::VARCHAR, state, input_file_id, requests, coalesce(grace_seconds, $grace::DOUBLE), fenced_at, job_id
FROM sqlbatch.batches
WHERE base_url = $base_url AND state IN ('creating', 'fenced')
  AND (lease_until IS NULL OR lease_until <= $now::TIMESTAMP OR lease_owner = $owner)
ORDER BY creating_at;

-- doubtful: batches that, according to this database, are not at the provider: planned before this run began, or
-- recently refused or given up
-- A gateway may refuse (4xx) a batch that the provider behind it has created. A batch planned in the future was planned
-- before somebody set the clock back.
SELECT batch_id::VARCHAR, state, input_file_id
FROM sqlbatch.batches
WHERE base_url = $base_url
  AND (state IN ('planned', 'uploading') AND (planned_at < $begun::TIMESTAMP OR planned_at > $now::TIMESTAMP)
         AND (lease_until IS NULL OR lease_until <= $now::TIMESTAMP)
       OR state = 'abandoned' AND creating_at IS NOT NULL AND provider_id IS NULL
         AND abandoned_at > $now::TIMESTAMP - INTERVAL 25 HOUR);

-- known: batches that are at the provider, or were, and whether each is so new that a list must contain it
SELECT provider_id, opened_at > $now::TIMESTAMP - INTERVAL 1 DAY FROM sqlbatch.batches
WHERE base_url = $base_url AND provider_id IS NOT NULL AND opened_at > $now::TIMESTAMP - INTERVAL 30 DAY;

-- given_up: batches that were at the provider when their user gave them up, whose results may still appear
SELECT batch_id::VARCHAR, provider_id FROM sqlbatch.batches
WHERE base_url = $base_url AND state = 'abandoned' AND error_code = 'given_up' AND provider_id IS NOT NULL
  AND abandoned_at > $now::TIMESTAMP - INTERVAL 30 DAY;

-- adopted: a batch is at the provider, whatever this database said
UPDATE sqlbatch.batches SET state = 'open', provider_id = $provider_id, status = $status, opened_at = $now::TIMESTAMP,
  adopted = true, abandoned_at = NULL, lease_owner = NULL, lease_until = NULL, error_code = NULL, error = NULL
WHERE batch_id = $batch_id::UUID AND state = $state
RETURNING requests;

-- doubled: note how many requests of a batch were sent again since
UPDATE sqlbatch.batches SET doubled = (SELECT count(*) FROM sqlbatch.batch_requests m
WHERE m.batch_id = $batch_id::UUID AND EXISTS (
  FROM sqlbatch.batch_requests o
  JOIN sqlbatch.batches b ON b.batch_id = o.batch_id
  JOIN sqlbatch.batches late ON late.batch_id = m.batch_id
  WHERE o.custom_id = m.custom_id AND b.state <> 'abandoned' AND b.planned_at > late.planned_at))
WHERE batch_id = $batch_id::UUID
RETURNING doubled;

-- open: batches that the provider is working on
SELECT batch_id::VARCHAR, provider_id, requests, coalesce(opened_at, planned_at), job_id FROM sqlbatch.batches
WHERE base_url = $base_url AND state = 'open' ORDER BY opened_at;

-- saw: store what the provider says about a batch
UPDATE sqlbatch.batches SET status = $status, completed = $completed, failed = $failed,
  output_file_id = $output_file_id, error_file_id = $error_file_id,
  state = CASE WHEN $ended::BOOLEAN THEN 'ended' ELSE state END,
  ended_at = CASE WHEN $ended::BOOLEAN THEN $now::TIMESTAMP END,
  error_code = $code, error = $error
WHERE batch_id = $batch_id::UUID AND state = 'open'
RETURNING batch_id;

-- fence: a batch is not at the provider; its input file is about to be deleted
UPDATE sqlbatch.batches SET state = 'fenced', fenced_at = NULL, grace_seconds = $grace, lease_owner = NULL, lease_until = NULL
WHERE batch_id = $batch_id::UUID AND state = 'creating'
RETURNING batch_id;

-- fenced: the input file is deleted, and the grace period starts
UPDATE sqlbatch.batches SET fenced_at = $now::TIMESTAMP
WHERE batch_id = $batch_id::UUID AND state = 'fenced' AND fenced_at IS NULL
RETURNING batch_id;

-- progress: a job's batches and requests at the provider, by status
WITH open AS (FROM sqlbatch.batches WHERE state NOT IN ('loaded', 'abandoned')),
carried AS MATERIALIZED (FROM sqlbatch.batch_requests SEMI JOIN open USING (batch_id))
SELECT coalesce(status, state), count(*), sum(requests)::BIGINT, coalesce(sum(completed), 0)::BIGINT,
  coalesce(sum(failed), 0)::BIGINT
FROM open
WHERE batch_id IN (
  SELECT m.batch_id FROM carried m JOIN sqlbatch.wanted w ON w.custom_id = m.custom_id WHERE w.job_id = $job_id)
GROUP BY ALL ORDER BY ALL;

-- until: when the next step that depends on our clock is due
SELECT min(until) FROM (
  SELECT paused_until AS until FROM sqlbatch.jobs WHERE job_id = $job_id
  UNION ALL
  SELECT fenced_at + coalesce(grace_seconds, $grace::DOUBLE) * INTERVAL 1 SECOND FROM sqlbatch.batches
  WHERE base_url = $base_url AND state = 'fenced'
) WHERE until > $now::TIMESTAMP;

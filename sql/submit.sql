-- Send a batch to the provider.

-- ready: batches that a job needs and that are planned, or were left behind while uploading, unless the job is paused
-- If there is a limit of enqueued tokens, told by the provider or configured ($most; the smaller wins), as many batches
-- as fit beside those at the provider or on their way there, or one if there are none; and no more in an hour than the
-- provider allows ($an_hour).
WITH limits AS (
  SELECT model, arg_max(most, ended_at) AS most
  FROM (
    SELECT model, ended_at, TRY_CAST(replace(regexp_extract(error, 'Limit: ([0-9,]+)', 1), ',', '') AS BIGINT) AS most
    FROM sqlbatch.batches
    WHERE base_url = $base_url AND error_code = 'token_limit_exceeded' AND ended_at > $now::TIMESTAMP - INTERVAL 1 DAY
  )
  WHERE most > 0 GROUP BY model
), enqueued AS (
  SELECT model, sum(tokens) AS tokens FROM sqlbatch.batches
  WHERE base_url = $base_url AND (state IN ('creating', 'open', 'fenced')
    OR (state = 'uploading' AND lease_owner <> $owner AND lease_until > $now::TIMESTAMP))
  GROUP BY model
), carried AS MATERIALIZED (
  FROM sqlbatch.batch_requests
  SEMI JOIN (FROM sqlbatch.batches WHERE base_url = $base_url AND state IN ('planned', 'uploading')) USING (batch_id)
), needed AS (
  SELECT DISTINCT m.batch_id FROM carried m JOIN sqlbatch.wanted w ON w.custom_id = m.custom_id WHERE w.job_id = $job_id
)
SELECT b.batch_id::VARCHAR, b.requests, b.bytes,
  CASE WHEN b.state = 'uploading' AND b.lease_owner <> $owner THEN b.lease_owner END AS left_by
FROM sqlbatch.batches b
LEFT JOIN limits l ON l.model = b.model
LEFT JOIN enqueued e ON e.model = b.model
WHERE b.base_url = $base_url AND b.state IN ('planned', 'uploading')
  AND (b.lease_until IS NULL OR b.lease_until <= $now::TIMESTAMP OR b.lease_owner = $owner)
  AND NOT EXISTS (FROM sqlbatch.jobs j WHERE j.job_id = $job_id AND (j.paused_until > $now::TIMESTAMP OR j.failing))
  AND b.batch_id IN (FROM needed)
QUALIFY (least(l.most, $most::BIGINT) IS NULL
  OR coalesce(e.tokens, 0) + sum(b.tokens) OVER (PARTITION BY b.model ORDER BY b.planned_at, b.batch_id) <= least(l.most, $most::BIGINT)
  OR (e.tokens IS NULL AND row_number() OVER (PARTITION BY b.model ORDER BY b.planned_at, b.batch_id) = 1))
  AND ($an_hour::BIGINT IS NULL OR row_number() OVER (ORDER BY b.planned_at, b.batch_id) <= $an_hour::BIGINT - (
    SELECT count(*) FROM sqlbatch.batches m
    WHERE m.base_url = $base_url AND m.creating_at > $now::TIMESTAMP - INTERVAL 1 HOUR))
ORDER BY b.planned_at, b.batch_id;

-- limit: the most tokens of a batch's model that may be queued at the provider, told by it or configured ($most); NULL:
-- unknown
SELECT least($most::BIGINT, (
  SELECT arg_max(most, ended_at)
  FROM (
    SELECT ended_at, TRY_CAST(replace(regexp_extract(error, 'Limit: ([0-9,]+)', 1), ',', '') AS BIGINT) AS most
    FROM sqlbatch.batches
    WHERE base_url = b.base_url AND model = b.model AND error_code = 'token_limit_exceeded'
      AND ended_at > $now::TIMESTAMP - INTERVAL 1 DAY
  )
  WHERE most > 0))
FROM sqlbatch.batches b WHERE b.batch_id = $batch_id::UUID;

-- room: one row if a batch fits beside those queued at the provider or on their way there, or if there are none
SELECT 1
FROM sqlbatch.batches b, LATERAL (
  SELECT sum(e.tokens) AS tokens FROM sqlbatch.batches e
  WHERE e.base_url = b.base_url AND e.model = b.model AND e.batch_id <> b.batch_id
    AND (e.state IN ('creating', 'open', 'fenced') OR (e.state = 'uploading' AND e.lease_until > $now::TIMESTAMP))
) e
WHERE b.batch_id = $batch_id::UUID AND (e.tokens IS NULL OR e.tokens + b.tokens <= $limit::BIGINT);

-- claim: take a batch under a lease, on the job's budget; no row if another process has it, or a refusal blocks the job
UPDATE sqlbatch.batches SET state = 'uploading', lease_owner = $owner, lease_until = $until::TIMESTAMP, job_id = $job_id,
  reserved = $reserved::DOUBLE,
  taken_from = CASE WHEN state = 'uploading' AND lease_owner <> $owner THEN lease_owner ELSE taken_from END
WHERE batch_id = $batch_id::UUID AND state IN ('planned', 'uploading')
  AND (lease_until IS NULL OR lease_until <= $now::TIMESTAMP OR lease_owner = $owner)
  AND NOT EXISTS (FROM sqlbatch.jobs j WHERE j.job_id = $job_id AND j.paused_until = TIMESTAMP '9999-12-31')
RETURNING requests, bytes, input_file_id;

-- extent: the range of request numbers in a manifest, its call's endpoint, and whether it has every number of the range
SELECT min(m.seq), max(m.seq), any_value(c.endpoint), count(DISTINCT m.seq) = max(m.seq) - min(m.seq) + 1
FROM sqlbatch.batch_requests m
JOIN sqlbatch.batches b ON b.batch_id = m.batch_id
JOIN sqlbatch.calls c ON c.call_id = b.call_id
WHERE m.batch_id = $batch_id::UUID;

-- around: the head and tail of a batch's requests, as its job sends them
SELECT coalesce(s.head, c.head), coalesce(s.tail, c.tail)
FROM sqlbatch.batches b JOIN sqlbatch.calls c ON c.call_id = b.call_id
LEFT JOIN sqlbatch.sent_calls s ON s.call_id = b.call_id AND s.job_id = b.sent_as
WHERE b.batch_id = $batch_id::UUID;

-- write: write the batch's input file, one request a line
-- What all lines share is passed as two texts: joining it from tables and building it for each line would take half as
-- long again.
COPY (
  SELECT concat('{"custom_id":"', r.custom_id::VARCHAR, $before::VARCHAR, {rendered}, $behind::VARCHAR) AS line
  FROM sqlbatch.requests r {joined}
  WHERE {chosen}
) TO {path} (FORMAT CSV, HEADER false, QUOTE '', ESCAPE '', DELIMITER E'\x01', COMPRESSION none);

-- parts: ranges of request numbers, each of about the given number of bytes
SELECT min(seq), max(seq)
FROM (SELECT r.seq, sum(r.bytes) OVER (ORDER BY r.seq) // $most::BIGINT AS part FROM sqlbatch.requests r WHERE {chosen})
GROUP BY part ORDER BY part;

-- unsent: requests that cannot be sent have failed
SELECT unnest($ids::UUID[]) AS custom_id, 'unsent' AS source, 'failed' AS outcome, $code AS code,
  unnest($messages::VARCHAR[]) AS message, $now::TIMESTAMP AS asked_at;

-- leave_out: remove requests that cannot be sent from a batch before its file is written
DELETE FROM sqlbatch.batch_requests
WHERE batch_id = $batch_id::UUID AND custom_id IN (SELECT unnest($ids::UUID[]));

-- count_again: count a batch's requests; a batch without any is given up
UPDATE sqlbatch.batches b SET requests = c.requests, bytes = c.bytes, tokens = c.tokens,
  state = CASE WHEN c.requests = 0 THEN 'abandoned' ELSE b.state END,
  abandoned_at = CASE WHEN c.requests = 0 THEN $now::TIMESTAMP END,
  error_code = CASE WHEN c.requests = 0 THEN $code END,
  lease_owner = CASE WHEN c.requests > 0 THEN b.lease_owner END, lease_until = CASE WHEN c.requests > 0 THEN b.lease_until END
FROM (
  SELECT count(*) AS requests, coalesce(sum(r.bytes + coalesce(s.extra, 0) + 1), 0)::BIGINT AS bytes,
    coalesce(sum(r.tokens), 0)::BIGINT AS tokens
  FROM sqlbatch.batch_requests m JOIN sqlbatch.requests r ON r.custom_id = m.custom_id
  JOIN sqlbatch.batches o ON o.batch_id = m.batch_id
  LEFT JOIN sqlbatch.sent_calls s ON s.job_id = o.sent_as AND s.call_id = r.call_id
  WHERE m.batch_id = $batch_id::UUID
) c
WHERE b.batch_id = $batch_id::UUID
RETURNING b.requests, b.bytes;

-- creating: commit that the create may be sent; no row if the lease was lost
UPDATE sqlbatch.batches SET state = 'creating', input_file_id = $input_file_id, creating_at = $now::TIMESTAMP,
  lease_until = $until::TIMESTAMP
WHERE batch_id = $batch_id::UUID AND state = 'uploading' AND lease_owner = $owner AND lease_until > $now::TIMESTAMP
RETURNING batch_id;

-- is_creating: one row if the database says that we may create a batch
SELECT 1 FROM sqlbatch.batches WHERE batch_id = $batch_id::UUID AND state = 'creating' AND lease_owner = $owner;

-- open: the provider has the batch
UPDATE sqlbatch.batches SET state = 'open', provider_id = $provider_id, status = $status, opened_at = $now::TIMESTAMP,
  adopted = false, lease_owner = NULL, lease_until = NULL, error_code = NULL, error = NULL
WHERE batch_id = $batch_id::UUID AND state IN ('creating', 'fenced')
RETURNING requests;

-- start_over: it is certain that no batch exists, because the create was not sent or was refused ($error); its file is
-- used again
UPDATE sqlbatch.batches SET state = 'planned', lease_owner = NULL, lease_until = NULL, creating_at = NULL,
  error = coalesce($error, error)
WHERE batch_id = $batch_id::UUID AND state = 'creating' AND lease_owner = $owner
RETURNING batch_id;

-- unknown: the create's outcome is unknown; any process may look it up from now on
UPDATE sqlbatch.batches SET lease_until = $now::TIMESTAMP, grace_seconds = $grace, error = $error
WHERE batch_id = $batch_id::UUID AND state = 'creating'
RETURNING batch_id;

-- abandon: it is certain that the provider has no such batch; its requests are due again
UPDATE sqlbatch.batches SET state = 'abandoned', abandoned_at = $now::TIMESTAMP, lease_owner = NULL, lease_until = NULL,
  error_code = $code, error = $error
WHERE batch_id = $batch_id::UUID AND state IN ('creating', 'fenced')
RETURNING input_file_id;

-- let_go: release a failed upload at once
UPDATE sqlbatch.batches SET lease_owner = NULL, lease_until = NULL, error = $error
WHERE batch_id = $batch_id::UUID AND state = 'uploading' AND lease_owner = $owner
RETURNING batch_id;

-- block: a job was refused for a reason that waiting does not change; nothing is sent for it until its user acts
UPDATE sqlbatch.jobs SET blocked = $reason, blocked_code = coalesce($code, 'refused'), paused_until = TIMESTAMP '9999-12-31'
WHERE job_id = $job_id AND finished_at IS NULL AND failing IS NOT TRUE
RETURNING job_id;

-- resume: the user continues the job, to see whether what blocked or paused it has passed
UPDATE sqlbatch.jobs SET blocked = NULL, blocked_code = NULL, paused_until = NULL
WHERE job_id = $job_id AND (blocked IS NOT NULL OR paused_until IS NOT NULL) AND failing IS NOT TRUE
RETURNING job_id;

-- whose: the open job that sent a batch, or else the given one
SELECT coalesce((
  SELECT j.job_id FROM sqlbatch.batches b JOIN sqlbatch.job_status j ON j.job_id = b.job_id
  WHERE b.batch_id = $batch_id::UUID AND j.status IN ('running', 'blocked')), $job_id);

-- pause: why the job waits, and until when; a job that waits for its user stays paused
UPDATE sqlbatch.jobs SET blocked = $reason, blocked_code = $code, pause_seconds = $seconds, paused_until = $until::TIMESTAMP
WHERE job_id = ({submit.whose}) AND finished_at IS NULL AND failing IS NOT TRUE
  AND (paused_until IS DISTINCT FROM TIMESTAMP '9999-12-31' OR blocked_code = 'budget')
RETURNING job_id;

-- judge: whether a job's first results can be used; if not, it waits for its user
UPDATE sqlbatch.jobs SET failing = $failing, blocked = CASE WHEN $failing THEN $reason ELSE blocked END,
  blocked_code = CASE WHEN $failing THEN 'failing' ELSE blocked_code END
WHERE job_id = $job_id AND finished_at IS NULL AND failing IS NULL
RETURNING job_id;

-- keep_going: the user has seen the first results, and continues all the same
UPDATE sqlbatch.jobs SET failing = false, blocked = NULL, blocked_code = NULL, paused_until = NULL
WHERE job_id = $job_id AND finished_at IS NULL AND failing IS DISTINCT FROM false
RETURNING job_id;

-- looks_refused: the provider refuses status checks, because of the key or a missing permission
UPDATE sqlbatch.jobs SET blocked = $reason, blocked_code = 'looks_refused'
WHERE job_id = $job_id AND finished_at IS NULL AND failing IS NOT TRUE AND coalesce(blocked_code, 'looks_refused') = 'looks_refused'
RETURNING job_id;

-- looked: the provider allows status checks again
UPDATE sqlbatch.jobs SET blocked = NULL, blocked_code = NULL WHERE job_id = $job_id AND blocked_code = 'looks_refused'
RETURNING job_id;

-- unpause: end the temporary pause of that job
UPDATE sqlbatch.jobs SET blocked = NULL, blocked_code = NULL, pause_seconds = NULL, paused_until = NULL
WHERE job_id = ({submit.whose}) AND (blocked IS NOT NULL OR paused_until IS NOT NULL) AND failing IS NOT TRUE
  AND (paused_until IS DISTINCT FROM TIMESTAMP '9999-12-31' OR blocked_code = 'budget')
RETURNING job_id;

-- working: a job may try again at once; the length of its last pause is kept, because the next one is longer
UPDATE sqlbatch.jobs SET blocked = NULL, blocked_code = NULL, paused_until = NULL
WHERE job_id = $job_id AND (blocked IS NOT NULL OR paused_until IS NOT NULL) AND failing IS NOT TRUE
  AND (paused_until IS DISTINCT FROM TIMESTAMP '9999-12-31' OR blocked_code = 'budget')
RETURNING job_id;

-- pause_seconds: the length of that job's last pause
SELECT coalesce(pause_seconds, 0)::DOUBLE FROM sqlbatch.jobs WHERE job_id = ({submit.whose});

-- validated: batches whose files the provider has validated, so that no error will refer to their lines any more
SELECT batch_id::VARCHAR FROM sqlbatch.batches
WHERE base_url = $base_url AND state = 'open' AND status IN ('in_progress', 'finalizing', 'completed', 'cancelling');

-- needed: batches whose files may still be needed
SELECT batch_id FROM sqlbatch.batches WHERE state NOT IN ('loaded', 'abandoned');

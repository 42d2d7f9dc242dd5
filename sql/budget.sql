-- Budgets: what a job may spend, and what it has spent.

-- of_job: the most dollars that a job may cost (NULL: no limit), the month's budget under which it was quoted, and how
-- its quote estimated tokens
SELECT max_cost, (quote->>'$.month_budget')::DOUBLE, coalesce((quote->>'$.cost.estimate.slope')::DOUBLE, 1), coalesce((quote->>'$.cost.estimate.intercept')::DOUBLE, 0),
  coalesce((quote->>'$.cost.estimate.margin')::DOUBLE, 2), (quote->>'$.cost.cap')::BIGINT
FROM sqlbatch.jobs WHERE job_id = $job_id;

-- weighed: the most input tokens of a batch, the dollars for all of them, and for one output token of each request
WITH sized AS (
  SELECT ceil($margin::DOUBLE * greatest(1, $intercept::DOUBLE + $slope::DOUBLE * r.tokens)) AS most
  FROM sqlbatch.batch_requests m JOIN sqlbatch.requests r ON r.seq = m.seq AND r.custom_id = m.custom_id
  WHERE m.batch_id = $batch_id::UUID
), stepped AS (
  SELECT most, greatest(1, len(list_filter($above::BIGINT[], lambda x: x < most))) AS step FROM sized
)
SELECT count(*), coalesce(sum(most), 0)::BIGINT, coalesce(sum(most * ($inputs::DOUBLE[])[step]), 0) / 1e6,
  coalesce(sum(($outputs::DOUBLE[])[step]), 0) / 1e6
FROM stepped;

-- batch: a batch's call and batch factor; whether it is known how the call is sent, its token limit, and whether it may
-- write the prompt cache
SELECT b.base_url, b.model, b.batch_factor, s.job_id IS NOT NULL, s.cap,
  coalesce(s.head IS NOT NULL OR NOT contains(s.tail, '"prompt_cache_options":{"mode":"explicit"}'), true)
FROM sqlbatch.batches b LEFT JOIN sqlbatch.sent_calls s ON s.job_id = b.sent_as AND s.call_id = b.call_id
WHERE b.batch_id = $batch_id::UUID;

-- used: the dollars that a job's other batches have cost, or may cost; a result that was paid for and lost costs its
-- share
SELECT coalesce(sum(CASE WHEN b.state = 'loaded' THEN coalesce(c.dollars, 0) + coalesce(l.lost * b.reserved / b.requests, 0)
  ELSE coalesce(b.reserved, 0) END), 0)
FROM sqlbatch.batches b
LEFT JOIN (
  SELECT batch_id, sum(dollars) AS dollars FROM sqlbatch.costs WHERE job_id = $job_id AND batch_id IS NOT NULL GROUP BY batch_id
) c ON c.batch_id = b.batch_id
LEFT JOIN (
  SELECT batch_id, count(*) AS lost FROM sqlbatch.results
  WHERE tokens_in IS NULL AND code IN ('results_expired', 'unreadable_results', 'unreadable_line', 'missing') GROUP BY batch_id
) l ON l.batch_id = b.batch_id
WHERE b.job_id = $job_id AND b.batch_id IS DISTINCT FROM $batch_id::UUID AND b.state NOT IN ('planned', 'abandoned');

-- rest_of_stage: the other batches that would be sent now, for the first batch of a stage of a query with AI functions
SELECT b.batch_id::VARCHAR FROM sqlbatch.batches b
WHERE b.job_id = $job_id AND b.state = 'planned' AND b.batch_id <> $batch_id::UUID
  AND EXISTS (FROM sqlbatch.ai_plans p WHERE p.job_id = $job_id)
  AND NOT EXISTS (FROM sqlbatch.batches o WHERE o.job_id = $job_id AND o.state IN ('uploading', 'creating', 'asking', 'open', 'ended', 'fenced'))
ORDER BY b.batch_id;

-- block: a job waits for its user, or until a moment, unless a batch of its own is in flight and may release part of
-- its reservation
UPDATE sqlbatch.jobs SET blocked = $reason, blocked_code = 'budget',
  paused_until = coalesce($until::TIMESTAMP, TIMESTAMP '9999-12-31')
WHERE job_id = $job_id AND finished_at IS NULL AND failing IS NOT TRUE AND NOT EXISTS (
  FROM sqlbatch.batches b WHERE b.job_id = $job_id AND b.state IN ('uploading', 'creating', 'asking', 'open', 'ended', 'fenced'))
RETURNING job_id;

-- allow: set the most that a job may cost, in dollars
UPDATE sqlbatch.jobs SET max_cost = $max_cost::DOUBLE WHERE job_id = $job_id
RETURNING job_id;

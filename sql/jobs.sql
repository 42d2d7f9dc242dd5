-- Jobs: rows of sqlbatch.jobs, and what is derived from them.

-- add: a new job, with its number
INSERT INTO sqlbatch.jobs (target, query, enrichment, provider, base_url, "rows", skipped, requests, reused, bytes, tokens,
  max_attempts, replacing, created_at, not_before, quote, max_cost)
VALUES ($target, $query, $enrichment, $provider, $base_url, $rows, $skipped, $requests, $reused, $bytes, $tokens,
  $max_attempts, $replacing, $now::TIMESTAMP, $not_before::TIMESTAMP, $quote::JSON, $max_cost::DOUBLE)
RETURNING job_id;

-- unnamed: the target of the newest job with the same query and returned columns, among targets that are named after
-- their job
SELECT target FROM sqlbatch.jobs
WHERE query = $query AND (enrichment->>'returns') = $returns AND regexp_full_match(target, 'enriched_\d+')
ORDER BY job_id DESC LIMIT 1;

-- rename: name a job's target after its number
UPDATE sqlbatch.jobs SET target = $target WHERE job_id = $job_id;

-- want: the requests that the job waits for
INSERT INTO sqlbatch.wanted (job_id, custom_id, not_before)
SELECT $job_id, custom_id, $not_before::TIMESTAMP FROM {scratch}.main.requests;

-- list: jobs, newest first; their counts are in their tallies
-- Also the newest job of their target, the newest that was not cancelled, and whether their rows are still stored.
SELECT j.job_id, j.target, j.status, j.provider, j.base_url, j.query, j.enrichment::VARCHAR, j."rows", j.skipped, j.requests,
  0::BIGINT AS answered, 0::BIGINT AS failed, j.requests AS pending,
  j.reused, j.bytes, j.tokens, j.max_attempts, j.replacing, j.created_at, j.finished_at, j.paused_until, j.blocked, j.error,
  j.blocked_code, j.failing, j.newest, j.successor, k.table_name IS NOT NULL AS kept,
  p.place, p.exported_at, p.published_at, p."rows" AS published_rows, p.error AS publish_error
FROM sqlbatch.job_status j
LEFT JOIN (
  SELECT table_name FROM duckdb_tables() WHERE database_name = $catalog AND schema_name = 'sqlbatch'
) k ON k.table_name = 'rows_' || j.job_id
LEFT JOIN (
  SELECT p.* FROM sqlbatch.publications p ANTI JOIN sqlbatch.snapshots s ON s.run_id = p.run_id
) p ON p.job_id = j.job_id
WHERE ($job_id::INTEGER IS NULL OR j.job_id = $job_id::INTEGER)
ORDER BY j.job_id DESC;

-- kept: for some jobs, the state that their counts depend on, and the counts stored for it (NULL: to be counted anew)
-- The state is a hash of the number of results, the batches and the jobs, so that it changes with them. A batch and its
-- state are hashed as one text: if they were hashed apart, two batches that change to the same state would cancel out.
WITH changing AS (
  SELECT hash(r.facts, m.facts, b.facts, j.facts) AS facts
  FROM (SELECT struct_pack(entries := count(*), latest := max(rowid), newest := max(received_at)) AS facts FROM sqlbatch.results) r,
    (SELECT count(*) AS facts FROM sqlbatch.batch_requests) m,
    (SELECT bit_xor(hash(concat(batch_id, state))) AS facts FROM sqlbatch.batches) b,
    (SELECT struct_pack(jobs := count(*), cancelled := count(cancelled_at)) AS facts FROM sqlbatch.jobs) j
)
SELECT s.job_id, s.state, t.answered, t.failed, t.unsettled, t.due
FROM (
  SELECT j.job_id, CASE WHEN j.finished_at IS NOT NULL AND j.cancelled_at IS NULL THEN 'done'
    ELSE hash(c.facts, w.asked, j.cancelled_at, j.max_attempts)::VARCHAR END AS state
  FROM (
    SELECT job_id, finished_at, cancelled_at, max_attempts FROM sqlbatch.jobs WHERE list_contains($jobs::INTEGER[], job_id)
  ) j
  LEFT JOIN (
    SELECT job_id, struct_pack(entries := count(*), again := sum(epoch_us(not_before))) AS asked
    FROM sqlbatch.wanted WHERE list_contains($jobs::INTEGER[], job_id) GROUP BY job_id
  ) w ON w.job_id = j.job_id
  CROSS JOIN changing c
) s
LEFT JOIN sqlbatch.tallies t ON t.job_id = s.job_id AND t.state = s.state;

-- count: requests of some jobs: answered, failed, not settled, and due if the job is open
WITH unanswered AS MATERIALIZED (SELECT job_id, custom_id FROM sqlbatch.unanswered WHERE list_contains($jobs::INTEGER[], job_id)),
unsettled AS MATERIALIZED (
  FROM unanswered u ANTI JOIN sqlbatch.given_up g ON g.job_id = u.job_id AND g.custom_id = u.custom_id
)
SELECT j.job_id, coalesce(w.requests, 0) - coalesce(a.requests, 0), coalesce(a.requests, 0) - coalesce(u.requests, 0),
  coalesce(u.requests, 0), coalesce(d.requests, 0)
FROM sqlbatch.jobs j
LEFT JOIN (SELECT job_id, count(*) AS requests FROM sqlbatch.wanted GROUP BY job_id) w ON w.job_id = j.job_id
LEFT JOIN (SELECT job_id, count(*) AS requests FROM unanswered GROUP BY job_id) a ON a.job_id = j.job_id
LEFT JOIN (SELECT job_id, count(*) AS requests FROM unsettled GROUP BY job_id) u ON u.job_id = j.job_id
LEFT JOIN (
  SELECT job_id, count(*) AS requests FROM unsettled x ANTI JOIN sqlbatch.in_flight f ON f.custom_id = x.custom_id GROUP BY job_id
) d ON d.job_id = j.job_id
WHERE list_contains($jobs::INTEGER[], j.job_id);

-- due: how many requests of a job are to be sent
SELECT count(*) FROM sqlbatch.due WHERE job_id = $job_id;

-- forget: delete a job's stored counts
DELETE FROM sqlbatch.tallies WHERE job_id = $job_id;

-- keep: store a job's counts for a state
INSERT INTO sqlbatch.tallies (job_id, state, answered, failed, unsettled, due)
VALUES ($job_id, $state, $answered, $failed, $unsettled, $due);

-- newest: the newest job of all, or of a target
SELECT job_id FROM sqlbatch.jobs
WHERE $target::VARCHAR IS NULL OR lower(target) IN (lower($target), lower($quoted::VARCHAR))
ORDER BY job_id DESC LIMIT 1;

-- targets: the targets of all jobs
SELECT DISTINCT target FROM sqlbatch.jobs ORDER BY target;

-- finish: the job is done; error says why it wrote no target
UPDATE sqlbatch.jobs SET finished_at = coalesce(finished_at, $now::TIMESTAMP), error = $error, blocked = NULL,
  blocked_code = NULL, paused_until = NULL, pause_seconds = NULL
WHERE job_id = $job_id;

-- batches: the batches that carry a job's requests
SELECT b.batch_id::VARCHAR, b.state, b.status, b.provider_id, b.requests, a.answered, a.failed, a.released, a.open,
  b.bytes, b.planned_at, b.opened_at, b.ended_at, b.loaded_at, b.adopted, b.error, b.error_code,
  coalesce(b.completed, 0) + coalesce(b.failed, 0) AS done, coalesce(r.again, 0) AS again, coalesce(r.gone, 0) AS gone,
  CASE WHEN b.state = 'fenced' THEN b.fenced_at + coalesce(b.grace_seconds, 900) * INTERVAL 1 SECOND END AS fenced_until,
  b.taken_from, coalesce(b.doubled, 0) AS doubled
FROM sqlbatch.batches b JOIN sqlbatch.audit a ON a.batch_id = b.batch_id
LEFT JOIN (
  SELECT batch_id, count(*) FILTER (outcome = 'retryable') AS again, count(*) FILTER (code = 'results_expired') AS gone
  FROM sqlbatch.results GROUP BY batch_id
) r ON r.batch_id = b.batch_id
WHERE b.batch_id IN (
  SELECT m.batch_id FROM sqlbatch.batch_requests m JOIN sqlbatch.wanted w ON w.custom_id = m.custom_id WHERE w.job_id = $job_id
) AND b.planned_at >= (SELECT created_at FROM sqlbatch.jobs WHERE job_id = $job_id)
ORDER BY b.planned_at, b.batch_id;

-- failures: a job's failed requests by reason, the most common first
SELECT r.code, count(*), any_value(r.message)
FROM sqlbatch.responses r
WHERE r.job_id = $job_id AND r.settled AND r.outcome <> 'answered'
GROUP BY r.code ORDER BY count(*) DESC, r.code;

-- tried_again: requests of a job that failed at first and may succeed: by the last reason, what became of them
SELECT t.code, count(*), count(*) FILTER (p.outcome = 'answered'), count(*) FILTER (p.settled IS NOT TRUE),
  count(*) FILTER (p.settled AND p.outcome <> 'answered'), max(t.tries)
FROM (
  SELECT r.custom_id, count(*) AS tries, arg_max(r.code, r.rowid) AS code
  FROM sqlbatch.results r
  WHERE r.outcome = 'retryable' AND r.asked_at >= (SELECT created_at FROM sqlbatch.jobs WHERE job_id = $job_id)
    AND r.custom_id IN (SELECT custom_id FROM sqlbatch.wanted WHERE job_id = $job_id)
  GROUP BY r.custom_id
) t LEFT JOIN sqlbatch.responses p ON p.job_id = $job_id AND p.custom_id = t.custom_id
GROUP BY t.code ORDER BY count(*) DESC, t.code;

-- billed: results, tokens and dollars billed for a job's requests (NULL if any price is unknown), and its quote
SELECT coalesce(sum(results), 0)::BIGINT, coalesce(sum(tokens_in), 0)::BIGINT, coalesce(sum(tokens_cached), 0)::BIGINT,
  coalesce(sum(tokens_cache_write), 0)::BIGINT, coalesce(sum(tokens_out), 0)::BIGINT,
  CASE WHEN count(*) = count(dollars) THEN coalesce(sum(dollars), 0) END,
  (SELECT TRY_CAST(quote->>'$.cost.dollars' AS DOUBLE) FROM sqlbatch.jobs WHERE job_id = $job_id),
  (SELECT coalesce(sum(reserved), 0) FROM sqlbatch.batches
    WHERE job_id = $job_id AND state NOT IN ('planned', 'loaded', 'abandoned'))
FROM sqlbatch.costs WHERE job_id = $job_id;

-- spent: dollars billed for each of some jobs; NULL if any price is unknown
SELECT job_id, CASE WHEN count(*) = count(dollars) THEN sum(dollars) END
FROM sqlbatch.costs WHERE list_contains($jobs::INTEGER[], job_id) GROUP BY job_id;

-- promised: the dollars that jobs were quoted (NULL: unknown), and that their batches in flight may cost
SELECT j.job_id, TRY_CAST(j.quote->>'$.cost.dollars' AS DOUBLE), coalesce(sum(b.reserved), 0)
FROM sqlbatch.jobs j
LEFT JOIN sqlbatch.batches b ON b.job_id = j.job_id AND b.state NOT IN ('planned', 'loaded', 'abandoned')
WHERE list_contains($jobs::INTEGER[], j.job_id) GROUP BY ALL;

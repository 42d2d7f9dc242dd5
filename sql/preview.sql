-- From requests to answers without a batch: a handful, through the ordinary endpoint.

-- call: what the answers to a call are judged by
SELECT endpoint, returns FROM sqlbatch.calls WHERE call_id = $call_id::UUID;

-- keep: keep what was paid for, once; a refused or lost request costs nothing, and a batch may ask it again
SELECT n.* EXCLUDE (status, good, unreadable, mark, cut), 'preview' AS source,
  CASE WHEN n.cut THEN $cap::BIGINT END AS cap
FROM (FROM sqlbatch_parsed_results WHERE good AND outcome IN ('answered', 'failed')) n
SEMI JOIN sqlbatch.requests q ON q.custom_id = n.custom_id
ANTI JOIN sqlbatch.results o ON o.custom_id = n.custom_id AND o.source = 'preview' AND o.asked_at = n.asked_at;

-- told: what each line says
SELECT j.custom_id::VARCHAR, j.outcome, j.code, j.message, j.good,
  coalesce(j.tokens_in, 0)::BIGINT, coalesce(j.tokens_cached, 0)::BIGINT,
  coalesce(j.tokens_cache_write, 0)::BIGINT, coalesce(j.tokens_out, 0)::BIGINT
FROM sqlbatch_parsed_results j
ORDER BY j.rowid;

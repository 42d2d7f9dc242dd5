-- Look into a job: its failed requests, and one request in full.

-- failed: some failed requests of a job, for one code or all, in the order of their rows, each with its result line; prune may
-- have deleted their inputs
SELECT f.custom_id::VARCHAR, f.code, f.message,
  (SELECT max_by(x.raw, x.rowid) FROM sqlbatch.results x
   WHERE x.custom_id = f.custom_id AND x.outcome = f.outcome AND x.code IS NOT DISTINCT FROM f.code)
FROM (
  SELECT r.*, q.seq
  FROM sqlbatch.responses r LEFT JOIN sqlbatch.requests q ON q.custom_id = r.custom_id
  WHERE r.job_id = $job_id AND r.settled AND r.outcome <> 'answered'
    AND ($code::VARCHAR IS NULL OR r.code = $code::VARCHAR)
  ORDER BY q.seq NULLS LAST, r.custom_id LIMIT $most OFFSET $skip
) f
ORDER BY f.seq NULLS LAST, f.custom_id;

-- asked_by: which rows of a job's query need some requests: the first few of each, and how many there are
SELECT custom_id::VARCHAR, list(sqlbatch_row ORDER BY sqlbatch_row)[:5], count(*)
FROM sqlbatch.asks_{job} WHERE custom_id IN (SELECT unnest($ids::UUID[]))
GROUP BY custom_id;

-- reasons: why requests of a job failed, the most common reason first, with one request of each
SELECT r.code, r.message, count(*), min_by(r.custom_id, coalesce(q.seq, 0))::VARCHAR
FROM sqlbatch.responses r LEFT JOIN sqlbatch.requests q ON q.custom_id = r.custom_id
WHERE r.job_id = $job_id AND r.settled AND r.outcome <> 'answered'
GROUP BY r.code, r.message ORDER BY count(*) DESC, r.code, r.message;

-- named: the rows that need failed requests, by reason: how many, and the first few by a column that tells them apart
SELECT r.code, r.message, count(*), min_by(s.{column}::VARCHAR, s.sqlbatch_row, 3)
FROM sqlbatch.responses r
JOIN sqlbatch.asks_{job} a ON a.custom_id = r.custom_id
JOIN sqlbatch.rows_{job} s ON s.sqlbatch_row = a.sqlbatch_row
WHERE r.job_id = $job_id AND r.settled AND r.outcome <> 'answered'
GROUP BY r.code, r.message;

-- wants: requests of a job whose id begins like this
SELECT w.custom_id::VARCHAR FROM sqlbatch.wanted w
WHERE w.job_id = $job_id AND starts_with(w.custom_id::VARCHAR, $beginning)
LIMIT 2;

-- results: all results of a request, oldest first
SELECT source, batch_id::VARCHAR, outcome, code, message, content, vector, finish_reason, model, tokens_in, tokens_cached,
  tokens_cache_write, tokens_out, tier, asked_at, received_at, raw
FROM sqlbatch.results WHERE custom_id = $custom_id::UUID ORDER BY rowid;

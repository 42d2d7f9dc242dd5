-- The page of `sqlbatch view`: what it reads of jobs and tables, and the reviews that it writes.

-- under_way: of a job's open batches how many requests the provider has done, since when, and in how many stages it asks
SELECT coalesce(sum(coalesce(b.completed, 0) + coalesce(b.failed, 0)) FILTER (b.state IN ('open', 'ended')), 0)::BIGINT,
  min(b.opened_at), coalesce((SELECT max(stages) FROM sqlbatch.ai_plans WHERE job_id = $job_id), 1)
FROM sqlbatch.batches b WHERE b.job_id = $job_id;

-- failed: some failed requests of a job, of one code or of all, in the order of their rows, each with the line as it came
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

-- asking: which rows of a job's query ask for some requests: how many, and the first few by number and as JSON
SELECT a.custom_id::VARCHAR, count(*), min_by(r.sqlbatch_row, r.sqlbatch_row, 3), min_by(to_json({row})::VARCHAR, r.sqlbatch_row, 3)
FROM sqlbatch.asks_{job} a JOIN sqlbatch.rows_{job} r ON r.sqlbatch_row = a.sqlbatch_row
WHERE a.custom_id IN (SELECT unnest($ids::UUID[]))
GROUP BY a.custom_id;

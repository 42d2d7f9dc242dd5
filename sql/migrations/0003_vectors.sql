-- Embeddings are kept as vectors.

ALTER TABLE results ADD COLUMN vector FLOAT[];

CREATE OR REPLACE VIEW counted AS
SELECT w.job_id, r.*
FROM wanted w JOIN results r USING (custom_id)
WHERE w.not_before IS NULL OR r.asked_at >= w.not_before;

CREATE OR REPLACE VIEW responses AS
SELECT b.job_id, b.custom_id, b.settled, r.outcome, r.code, r.message, r.content, r.model, r.vector
FROM (
  SELECT w.job_id, w.custom_id,
    max({rank: CASE r.outcome WHEN 'answered' THEN 3 WHEN 'failed' THEN 2 WHEN 'retryable' THEN 1 ELSE 0 END, row: r.rowid}) AS best,
    bool_or(r.outcome IN ('answered', 'failed'))
      OR count(*) FILTER (r.outcome = 'retryable' AND r.asked_at >= j.created_at) >= any_value(j.max_attempts) AS settled
  FROM wanted w JOIN results r ON r.custom_id = w.custom_id JOIN jobs j ON j.job_id = w.job_id
  WHERE w.not_before IS NULL OR r.asked_at >= w.not_before
  GROUP BY w.job_id, w.custom_id
) b
JOIN results r ON r.rowid = b.best.row;

-- The status of a job is found by one join instead of a look at every other job; the newest job of its target, and the newest
-- that was not cancelled, stand beside it.
CREATE OR REPLACE VIEW job_status AS
SELECT j.*, t.newest, t.successor,
  CASE WHEN j.cancelled_at IS NOT NULL THEN 'cancelled'
       WHEN j.finished_at IS NOT NULL THEN 'done'
       WHEN t.successor > j.job_id THEN 'superseded'
       WHEN j.blocked IS NOT NULL OR j.failing THEN 'blocked'
       ELSE 'running' END AS status
FROM jobs j
JOIN (
  SELECT lower(target) AS target, max(job_id) AS newest, max(job_id) FILTER (cancelled_at IS NULL) AS successor
  FROM jobs GROUP BY ALL
) t ON t.target = lower(j.target);

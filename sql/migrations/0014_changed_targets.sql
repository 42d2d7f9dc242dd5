-- A target that was changed by hand is noticed.
ALTER TABLE jobs ADD COLUMN target_state VARCHAR;

-- As before, with the new column of jobs.
CREATE OR REPLACE VIEW job_status AS
SELECT j.*,
  CASE WHEN j.cancelled_at IS NOT NULL THEN 'cancelled'
       WHEN j.finished_at IS NOT NULL THEN 'done'
       WHEN EXISTS (FROM jobs n WHERE lower(n.target) = lower(j.target) AND n.job_id > j.job_id AND n.cancelled_at IS NULL) THEN 'superseded'
       WHEN j.blocked IS NOT NULL OR j.failing THEN 'blocked'
       ELSE 'running' END AS status
FROM jobs j;

-- What blocks a job, in a word a program can tell; who left a batch behind, and what appeared after it was given up.

ALTER TABLE jobs ADD COLUMN blocked_code VARCHAR;
ALTER TABLE jobs ADD COLUMN failing BOOLEAN;
ALTER TABLE batches ADD COLUMN taken_from VARCHAR;
ALTER TABLE batches ADD COLUMN doubled BIGINT;

-- Jobs with their derived status.
CREATE OR REPLACE VIEW job_status AS
SELECT j.*,
  CASE WHEN j.cancelled_at IS NOT NULL THEN 'cancelled'
       WHEN j.finished_at IS NOT NULL THEN 'done'
       WHEN EXISTS (FROM jobs n WHERE lower(n.target) = lower(j.target) AND n.job_id > j.job_id AND n.cancelled_at IS NULL) THEN 'superseded'
       WHEN j.blocked IS NOT NULL OR j.failing THEN 'blocked'
       ELSE 'running' END AS status
FROM jobs j;

-- Jobs whose rows another engine keeps (Spark), and the targets that this engine writes.

-- identity: the id of this state
SELECT state_id::VARCHAR FROM sqlbatch.identity;

-- keep: record where another engine keeps the rows of a job
INSERT INTO sqlbatch.snapshots (run_id, job_id, engine, query, folder, sent, "rows", kept_at)
VALUES ($run_id::UUID, $job_id, $engine, $query, $folder, $sent::VARCHAR[], $rows, $now::TIMESTAMP);

-- aim: record the target that the other engine will write
INSERT INTO sqlbatch.publications (run_id, job_id, place, target) VALUES ($run_id::UUID, $job_id, $engine, $target);

-- find: where a job's rows are and whether its target is published; a publication from before the job last finished does not count
SELECT s.run_id::VARCHAR, s.engine, s.folder, s.sent, s."rows", s.dropped_at IS NOT NULL, p.target,
  coalesce(p.published_at >= j.finished_at, false), p."rows", p.error
FROM sqlbatch.snapshots s
JOIN sqlbatch.publications p ON p.run_id = s.run_id
JOIN sqlbatch.jobs j ON j.job_id = s.job_id
WHERE s.job_id = $job_id;

-- ours: one row if a job of this state has written the target or has started to
SELECT 1 FROM sqlbatch.publications
WHERE place = $engine AND lower(target) = lower($target) AND exported_at IS NOT NULL LIMIT 1;

-- exported: record that the other engine can read a job's answers; the engine writes the target next
UPDATE sqlbatch.publications SET exported_at = $now::TIMESTAMP, error = NULL WHERE run_id = $run_id::UUID;

-- published: record that the target has a job's rows; only if the job is done does the target count as published
UPDATE sqlbatch.publications SET published_at = CASE WHEN $done THEN $now::TIMESTAMP END, "rows" = $rows, error = NULL
WHERE run_id = $run_id::UUID;

-- failed: record why the target could not be written
UPDATE sqlbatch.publications SET error = $error WHERE run_id = $run_id::UUID;

-- spent: folders that no job needs: those of older jobs of the target, and of the job itself if no row failed
SELECT s.run_id::VARCHAR, s.folder FROM sqlbatch.snapshots s
JOIN sqlbatch.publications p ON p.run_id = s.run_id
WHERE s.dropped_at IS NULL AND lower(p.target) = lower($target)
  AND (s.job_id < $job_id OR (s.job_id = $job_id AND $whole));

-- drop: record that the rows of a run are deleted
UPDATE sqlbatch.snapshots SET dropped_at = $now::TIMESTAMP WHERE run_id = $run_id::UUID;

-- needed: one row if a job uses the rows of a run
SELECT 1 FROM sqlbatch.snapshots WHERE run_id::VARCHAR = $run_id;

-- unsure: batches that were not sent, or not confirmed, when the state was copied: they may have been sent since
SELECT batch_id::VARCHAR, job_id FROM sqlbatch.batches WHERE state IN ('planned', 'uploading', 'creating') ORDER BY planned_at, batch_id;

-- make_unsure: mark such a batch as created with unknown outcome, so that the provider is asked about it
UPDATE sqlbatch.batches SET state = 'creating', creating_at = coalesce(creating_at, $now::TIMESTAMP), lease_owner = NULL, lease_until = NULL,
  reserved = coalesce(reserved, $reserved::DOUBLE)
WHERE batch_id = $batch_id::UUID;

-- Rows that another engine keeps, and targets that it writes.

-- identity: which state this is
SELECT state_id::VARCHAR FROM sqlbatch.identity;

-- keep: the rows of a job, and the target that they are meant for
INSERT INTO sqlbatch.snapshots (run_id, job_id, engine, query, folder, sent, "rows", kept_at)
VALUES ($run_id::UUID, $job_id, $engine, $query, $folder, $sent::VARCHAR[], $rows, $now::TIMESTAMP);

-- aim: the target that another engine shall write
INSERT INTO sqlbatch.publications (run_id, job_id, place, target) VALUES ($run_id::UUID, $job_id, $engine, $target);

-- find: a job's rows at another engine, and how its publication stands: what was published before it ended anew does not count
SELECT s.run_id::VARCHAR, s.engine, s.folder, s.sent, s."rows", s.dropped_at IS NOT NULL, p.target,
  coalesce(p.published_at >= j.finished_at, false), p."rows", p.error
FROM sqlbatch.snapshots s
JOIN sqlbatch.publications p ON p.run_id = s.run_id
JOIN sqlbatch.jobs j ON j.job_id = s.job_id
WHERE s.job_id = $job_id;

-- ours: one row if a job of this state has written the target, or is about to
SELECT 1 FROM sqlbatch.publications
WHERE place = $engine AND lower(target) = lower($target) AND exported_at IS NOT NULL LIMIT 1;

-- exported: a job's answers are where the other engine finds them, and its target is about to be written
UPDATE sqlbatch.publications SET exported_at = $now::TIMESTAMP, error = NULL WHERE run_id = $run_id::UUID;

-- published: the target has a job's rows; all of them are final where it is done
UPDATE sqlbatch.publications SET published_at = CASE WHEN $done THEN $now::TIMESTAMP END, "rows" = $rows, error = NULL
WHERE run_id = $run_id::UUID;

-- failed: why a target could not be written
UPDATE sqlbatch.publications SET error = $error WHERE run_id = $run_id::UUID;

-- spent: folders that nothing needs: of a published job without failures, and of older jobs of its target
SELECT s.run_id::VARCHAR, s.folder FROM sqlbatch.snapshots s
JOIN sqlbatch.publications p ON p.run_id = s.run_id
WHERE s.dropped_at IS NULL AND lower(p.target) = lower($target)
  AND (s.job_id < $job_id OR (s.job_id = $job_id AND $whole));

-- drop: the rows of a run are no longer kept
UPDATE sqlbatch.snapshots SET dropped_at = $now::TIMESTAMP WHERE run_id = $run_id::UUID;

-- needed: one row if a job has the rows of a run
SELECT 1 FROM sqlbatch.snapshots WHERE run_id::VARCHAR = $run_id;

-- unsure: batches that a copy of the state has as not sent, or as on their way: they may have been sent since
SELECT batch_id::VARCHAR, job_id FROM sqlbatch.batches WHERE state IN ('planned', 'uploading', 'creating') ORDER BY planned_at, batch_id;

-- make_unsure: the create of such a batch has an unknown outcome
UPDATE sqlbatch.batches SET state = 'creating', creating_at = coalesce(creating_at, $now::TIMESTAMP), lease_owner = NULL, lease_until = NULL,
  reserved = coalesce(reserved, $reserved::DOUBLE)
WHERE batch_id = $batch_id::UUID;

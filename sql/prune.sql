-- Prune finds, counts and deletes data that finished jobs no longer need. What was spent stays, and so do results unless the
-- user asks to delete those too.

-- jobs: finished jobs: neither open, nor with anything at the provider, nor with a target still to be written
SELECT j.job_id FROM sqlbatch.job_status j
ANTI JOIN (
  SELECT w.job_id FROM sqlbatch.in_flight f JOIN sqlbatch.wanted w ON w.custom_id = f.custom_id
) f ON f.job_id = j.job_id
WHERE j.status NOT IN ('running', 'blocked') AND j.error IS NULL AND ($job_id::INTEGER IS NULL OR j.job_id = $job_id::INTEGER)
ORDER BY j.job_id;

-- snapshots: the stored rows of jobs, and how many they are
SELECT CAST(regexp_extract(table_name, '^rows_(\d+)$', 1) AS INTEGER), estimated_size
FROM duckdb_tables()
WHERE database_name = $catalog AND schema_name = 'sqlbatch' AND regexp_matches(table_name, '^rows_\d+$')
ORDER BY ALL;

-- built: the tables with built rows of some jobs that are published to another database, and their numbers of rows
SELECT t.table_name, t.estimated_size FROM duckdb_tables() t
JOIN sqlbatch.publications p ON t.table_name = 'built_' || p.job_id
WHERE t.database_name = $catalog AND t.schema_name = 'sqlbatch' AND p.published_at IS NOT NULL AND list_contains($jobs::INTEGER[], p.job_id)
ORDER BY p.job_id;

-- idle: requests of the given jobs that no job with stored rows can send again, and that are not in flight
-- Previewed requests stay, because the cost of a preview is found through its request.
CREATE OR REPLACE TEMP TABLE sqlbatch_idle AS
SELECT r.custom_id, r.bytes FROM sqlbatch.requests r
SEMI JOIN (FROM sqlbatch.wanted WHERE list_contains($jobs::INTEGER[], job_id)) p ON p.custom_id = r.custom_id
ANTI JOIN (FROM sqlbatch.wanted WHERE list_contains($keeping::INTEGER[], job_id)) k ON k.custom_id = r.custom_id
ANTI JOIN (
  SELECT w.custom_id FROM sqlbatch.wanted w JOIN sqlbatch.job_status j ON j.job_id = w.job_id WHERE j.status IN ('running', 'blocked')
) o ON o.custom_id = r.custom_id
ANTI JOIN sqlbatch.in_flight f ON f.custom_id = r.custom_id
ANTI JOIN (FROM sqlbatch.results WHERE batch_id IS NULL) n ON n.custom_id = r.custom_id;

-- inputs: how many there are, and their bytes
SELECT count(*), coalesce(sum(bytes), 0)::BIGINT FROM sqlbatch_idle;

-- forget: delete their inputs; the results of answered requests stay
DELETE FROM sqlbatch.requests WHERE custom_id IN (SELECT custom_id FROM sqlbatch_idle);

-- files: the provider's files of batches whose results are loaded; not those with unreadable results that an open job
-- waits for
SELECT b.batch_id::VARCHAR, b.job_id, j.provider, b.base_url, list_filter([b.input_file_id, b.output_file_id, b.error_file_id], lambda f: f IS NOT NULL)
FROM sqlbatch.batches b JOIN sqlbatch.jobs j ON j.job_id = b.job_id
WHERE b.state = 'loaded' AND ($job_id::INTEGER IS NULL OR b.job_id = $job_id::INTEGER)
  AND coalesce(b.input_file_id, b.output_file_id, b.error_file_id) IS NOT NULL
  AND b.batch_id NOT IN (
    SELECT r.batch_id FROM sqlbatch.results r
    JOIN sqlbatch.wanted w ON w.custom_id = r.custom_id
    JOIN sqlbatch.job_status o ON o.job_id = w.job_id
    WHERE r.code = 'unreadable_results' AND r.batch_id IS NOT NULL AND o.status IN ('running', 'blocked'))
ORDER BY b.base_url, b.batch_id;

-- unreadable: batches with unreadable results that other jobs than the given ones want
SELECT DISTINCT r.batch_id::VARCHAR
FROM sqlbatch.results r JOIN sqlbatch.wanted w ON w.custom_id = r.custom_id
WHERE r.code = 'unreadable_results' AND NOT list_contains($jobs::INTEGER[], w.job_id);

-- deleted: the provider's files of a batch are deleted
UPDATE sqlbatch.batches SET input_file_id = NULL, output_file_id = NULL, error_file_id = NULL
WHERE batch_id = $batch_id::UUID AND state = 'loaded';

-- past: requests of the given jobs whose results no target shows or will show: a target shows the results of its newest
-- job (that was not cancelled, or is done), and of the job in its comment
CREATE OR REPLACE TEMP TABLE sqlbatch_past AS
WITH targets AS (
  SELECT lower(target) AS target, max(job_id) AS newest, max(job_id) FILTER (cancelled_at IS NULL) AS successor,
    max(job_id) FILTER (cancelled_at IS NULL AND finished_at IS NOT NULL) AS written
  FROM sqlbatch.jobs GROUP BY ALL
), present AS (
  SELECT j.job_id FROM sqlbatch.job_status j JOIN targets t ON t.target = lower(j.target)
  WHERE j.status IN ('running', 'blocked') OR j.error IS NOT NULL OR j.job_id IN (t.newest, t.successor, t.written)
    OR list_contains($keeping::INTEGER[], j.job_id)
    -- A target that later jobs only added to shows the earlier one's rows, too.
    OR NOT EXISTS (FROM sqlbatch.jobs n WHERE lower(n.target) = lower(j.target) AND n.job_id > j.job_id AND n.cancelled_at IS NULL
      AND (n.replacing OR NOT coalesce((n.enrichment ->> 'incremental')::BOOLEAN, false)))
  UNION
  SELECT TRY_CAST(regexp_extract(comment, '^made by sqlbatch, job (\d+)', 1) AS INTEGER) FROM duckdb_tables() WHERE database_name = $catalog
)
SELECT DISTINCT w.custom_id FROM sqlbatch.wanted w
ANTI JOIN (SELECT x.custom_id FROM sqlbatch.wanted x SEMI JOIN present p ON p.job_id = x.job_id) s ON s.custom_id = w.custom_id
ANTI JOIN sqlbatch.in_flight f ON f.custom_id = w.custom_id
WHERE list_contains($jobs::INTEGER[], w.job_id);

-- past_batches: loaded batches with only such requests are deleted whole, so that sent = answered + failed stays true
-- for the others
CREATE OR REPLACE TEMP TABLE sqlbatch_past_batches AS
SELECT m.batch_id
FROM sqlbatch.batch_requests m
JOIN (FROM sqlbatch.batches WHERE state = 'loaded') b ON b.batch_id = m.batch_id
LEFT JOIN sqlbatch_past p ON p.custom_id = m.custom_id
GROUP BY m.batch_id HAVING count(*) = count(p.custom_id);

-- keep_filed: batches with files at the provider stay until those are deleted, because only the batch names them
DELETE FROM sqlbatch_past_batches WHERE batch_id IN (
  SELECT batch_id FROM sqlbatch.batches WHERE coalesce(input_file_id, output_file_id, error_file_id) IS NOT NULL);

-- past_results: how many results there are
SELECT count(*) FROM sqlbatch.results r WHERE {past};

-- give_up: delete the results
DELETE FROM sqlbatch.results r WHERE {past};

-- give_up_manifests: delete the batches' lists of requests
DELETE FROM sqlbatch.batch_requests WHERE batch_id IN (SELECT batch_id FROM sqlbatch_past_batches);

-- give_up_batches: delete the batches
DELETE FROM sqlbatch.batches WHERE batch_id IN (SELECT batch_id FROM sqlbatch_past_batches);

-- Targets in other databases: their rows are built here and then published there.

-- add: record a job whose target is in another database
INSERT INTO sqlbatch.publications (run_id, job_id, place, target) VALUES (uuidv7(), $job_id, $place, $target);

-- built: record that the rows of a job are built; they are a new run, which must be published
UPDATE sqlbatch.publications SET run_id = uuidv7(), exported_at = $now::TIMESTAMP, published_at = NULL, "rows" = NULL, error = NULL
WHERE job_id = $job_id;

-- of_target: the built jobs of a target up to a job, newest first
SELECT p.run_id, p.job_id, p.place, p.target, p.published_at, j.replacing,
  CASE WHEN coalesce((j.enrichment ->> 'incremental')::BOOLEAN, false) AND NOT j.replacing
    THEN (j.enrichment -> 'unique_key')::VARCHAR[] ELSE [] END AS "key"
FROM sqlbatch.publications p JOIN sqlbatch.jobs j ON j.job_id = p.job_id
WHERE lower(p.target) = lower($target) AND p.job_id <= $job_id AND p.exported_at IS NOT NULL
  AND p.job_id NOT IN (SELECT job_id FROM sqlbatch.snapshots)
ORDER BY p.job_id DESC;

-- newer: the newest job after a given job that has published the target
SELECT max(job_id) FROM sqlbatch.publications
WHERE lower(target) = lower($target) AND job_id > $job_id AND published_at IS NOT NULL;

-- due: for each target in another database, the newest job if it is built and not published; targets of another engine are left out
SELECT max(p.job_id)
FROM sqlbatch.publications p
LEFT JOIN (
  SELECT lower(target) AS target, max(job_id) AS job_id FROM sqlbatch.publications WHERE published_at IS NOT NULL GROUP BY ALL
) d ON d.target = lower(p.target)
WHERE p.exported_at IS NOT NULL AND p.published_at IS NULL AND p.job_id > coalesce(d.job_id, 0)
  AND p.job_id NOT IN (SELECT job_id FROM sqlbatch.snapshots)
GROUP BY lower(p.target) ORDER BY ALL;

-- replace: allow a job to replace a table that sqlbatch did not make
UPDATE sqlbatch.jobs SET replacing = true WHERE job_id = $job_id;

-- published: record that the target has the rows of a run
UPDATE sqlbatch.publications SET published_at = $now::TIMESTAMP, "rows" = $rows, error = NULL
WHERE run_id = $run_id::UUID;

-- failed: record why a run was not published
UPDATE sqlbatch.publications SET error = $error WHERE run_id = $run_id::UUID AND published_at IS NULL;

-- older: the tables with the built rows of earlier jobs of a target
SELECT t.table_name FROM duckdb_tables() t
JOIN sqlbatch.publications p ON t.table_name = 'built_' || p.job_id
WHERE t.database_name = $catalog AND t.schema_name = 'sqlbatch' AND lower(p.target) = lower($target) AND p.job_id < $job_id;

-- drop_built: drop a table with built rows
DROP TABLE IF EXISTS sqlbatch.{table};

-- has_built: one row if the table with the built rows of a job exists
SELECT 1 FROM duckdb_tables() WHERE database_name = $catalog AND schema_name = 'sqlbatch' AND table_name = $table;

-- rows: the number of built rows
SELECT count(*) FROM {table};

-- export: write the built rows to a Parquet file, for the other database
COPY (SELECT {columns} FROM {table}) TO {path} (FORMAT parquet);

-- make_marker: create the table, in the other database, that says which run published each target
CREATE TABLE IF NOT EXISTS {marker} (target VARCHAR NOT NULL, state_id UUID NOT NULL, job_id INTEGER NOT NULL, run_id UUID NOT NULL, "rows" BIGINT NOT NULL);

-- marked: the run that published a target: state, job, run, rows
SELECT state_id, job_id, run_id, "rows" FROM {marker} WHERE target = $target;

-- unmark: delete the record of the run that published a target
DELETE FROM {marker} WHERE target = $target;

-- mark: record the run that published a target
INSERT INTO {marker} (target, state_id, job_id, run_id, "rows") VALUES ($target, $state_id, $job_id, $run_id, $rows);

-- columns: the columns of a table with their types; no rows if the table does not exist
SELECT column_name, data_type FROM duckdb_columns()
WHERE lower(database_name) = lower($catalog) AND lower(schema_name) = lower($schema) AND lower(table_name) = lower($name) ORDER BY column_index;

-- create: create the target for published rows
CREATE TABLE {target} ({columns});

-- fill: insert the published rows into the target
INSERT INTO {target} SELECT {columns} FROM read_parquet({path});

-- arriving: create a view of the published rows with their types
CREATE OR REPLACE TEMP VIEW sqlbatch_arriving AS SELECT {columns} FROM read_parquet({path});

-- empty: delete all rows of the target
DELETE FROM {target};

-- drop: drop the target
DROP TABLE {target};

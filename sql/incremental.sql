-- Incremental targets: rows update existing rows with the same key, or are added; other rows and columns stay.

-- columns: names and types of a relation's columns
DESCRIBE FROM {relation};

-- expect: the columns of a job's rows, with their types
CREATE OR REPLACE TEMP VIEW sqlbatch_expected AS
SELECT * EXCLUDE (sqlbatch_row, sqlbatch_content, sqlbatch_vector, sqlbatch_confidence), {typed},
  NULL::UUID AS custom_id, NULL::VARCHAR AS ai_status, NULL::VARCHAR AS ai_error, NULL::VARCHAR AS ai_model
FROM (SELECT *, NULL::VARCHAR AS sqlbatch_content, NULL::FLOAT[] AS sqlbatch_vector,
  NULL::MAP(VARCHAR, DOUBLE) AS sqlbatch_confidence FROM {rows} LIMIT 0);

-- null_keys: rows without a key: how many, and the first one
SELECT count(*), min(sqlbatch_row) FROM {rows} WHERE {is_null};

-- doubled_keys: keys that several rows share: how many keys, how many rows, and two rows of the first key
SELECT count(*), sum(many)::BIGINT, arg_min(first, first), arg_min(second, first) FROM (
  SELECT count(*) AS many, min(sqlbatch_row) AS first, min(sqlbatch_row, 2)[2] AS second
  FROM {rows} GROUP BY {keys} HAVING count(*) > 1);

-- open: the unfinished jobs of a target
SELECT job_id FROM sqlbatch.job_status WHERE lower(target) = lower($target) AND status IN ('running', 'blocked') ORDER BY job_id;

-- create: create the target from its first rows
CREATE TABLE {target} AS FROM {rows};

-- add_column: add a column that the target does not have
ALTER TABLE {target} ADD COLUMN {column} {type};

-- update: update the existing rows
UPDATE {target} AS sqlbatch_target SET {assignments} FROM {rows} AS sqlbatch_rows WHERE {same};

-- insert: insert the new rows
INSERT INTO {target} ({columns}) SELECT {columns} FROM {rows} AS sqlbatch_rows
WHERE NOT EXISTS (SELECT 1 FROM {target} AS sqlbatch_target WHERE {same});

-- drop: delete the rows that are in the target now
DROP TABLE {rows};

-- The target: the table of its name, who made it, and how results are joined to its rows.

-- schema_exists: one row if the schema is in the database
SELECT 1 FROM duckdb_schemas() WHERE database_name = $catalog AND lower(schema_name) = lower($schema);

-- database_type: the kind of database attached under a name; no row if there is none
SELECT type FROM duckdb_databases() WHERE lower(database_name) = lower($name);

-- identity: the id of this database's state
SELECT state_id FROM sqlbatch.identity;

-- marked: who published a target in another database: state, job and rows
SELECT state_id, job_id, "rows" FROM {marker} WHERE target = $target;

-- find: kind and comment of the table or view of a name
SELECT 'table' AS kind, comment FROM duckdb_tables()
WHERE database_name = $catalog AND lower(schema_name) = lower($schema) AND lower(table_name) = lower($name)
UNION ALL
SELECT 'view' AS kind, comment FROM duckdb_views()
WHERE database_name = $catalog AND lower(schema_name) = lower($schema) AND lower(view_name) = lower($name);

-- count: rows of the target
SELECT count(*) FROM {target};

-- state: a hash of the target's columns, and of its rows in any order; DuckDB's hash differs between releases
SELECT concat_ws('|', version(),
  (SELECT md5(string_agg(column_name, ',' ORDER BY column_index)) FROM duckdb_columns()
   WHERE database_name = $catalog AND lower(schema_name) = lower($schema) AND lower(table_name) = lower($name)),
  count(*), sum(hash(sqlbatch_target)))
FROM {target} AS sqlbatch_target;

-- state_of: the state in which a job left its target
SELECT target_state FROM sqlbatch.jobs WHERE job_id = $job_id;

-- keep_state: store the state in which a job leaves its target
UPDATE sqlbatch.jobs SET target_state = $state WHERE job_id = $job_id;

-- made_by: one row if a job of this database, by its number, writes this target
SELECT 1 FROM sqlbatch.jobs WHERE job_id = $job_id AND lower(target) = lower($target);

-- previous: query and enrichment of the job that made the target
SELECT query, enrichment FROM sqlbatch.jobs WHERE job_id = $job_id;

-- has_snapshot: one row if the rows of a job are still stored
SELECT 1 FROM duckdb_tables() WHERE database_name = $catalog AND schema_name = 'sqlbatch' AND table_name = $rows;

-- found: the result for each row, in the rows' order
CREATE OR REPLACE TEMP TABLE sqlbatch_found AS
SELECT a.sqlbatch_row, a.custom_id, a.skipped, d.place, d.settled
FROM sqlbatch.asks_{job} a
LEFT JOIN (SELECT custom_id, place, settled FROM sqlbatch.decided WHERE job_id = $job_id) d ON d.custom_id = a.custom_id
ORDER BY a.sqlbatch_row;

-- write: write some rows of the target: the query's columns, the returned columns, and the status of each row
-- Answers are converted to values after the sort, because texts sort faster than the lists and structs in them.
{begin}
SELECT * EXCLUDE (sqlbatch_row, sqlbatch_content, sqlbatch_vector, sqlbatch_id, sqlbatch_status, sqlbatch_error, sqlbatch_model,
    sqlbatch_confidence),
  {typed}, sqlbatch_id AS custom_id, sqlbatch_status AS ai_status, sqlbatch_error AS ai_error, sqlbatch_model AS ai_model
FROM (
  SELECT r.*, f.custom_id AS sqlbatch_id,
    CASE WHEN p.outcome = 'answered' THEN p.content END AS sqlbatch_content,
    CASE WHEN p.outcome = 'answered' THEN p.vector END AS sqlbatch_vector,
    CASE WHEN f.custom_id IS NULL THEN 'skipped'
         WHEN p.outcome = 'answered' THEN 'answered'
         WHEN f.settled THEN 'failed'
         ELSE 'pending' END AS sqlbatch_status,
    CASE WHEN f.custom_id IS NULL THEN f.skipped
         WHEN p.outcome = 'answered' THEN NULL
         WHEN p.outcome IS NOT NULL THEN concat_ws(': ', p.code, p.message) END AS sqlbatch_error,
    CASE WHEN p.outcome = 'answered' THEN p.model END AS sqlbatch_model,
    CASE WHEN p.outcome = 'answered' THEN p.confidence END AS sqlbatch_confidence
  FROM (FROM sqlbatch.rows_{job} WHERE sqlbatch_row BETWEEN $low AND $high) r
  JOIN (FROM sqlbatch_found WHERE sqlbatch_row BETWEEN $low AND $high) f ON f.sqlbatch_row = r.sqlbatch_row
  LEFT JOIN (SELECT rowid AS place, outcome, code, message, content, vector, model, confidence FROM sqlbatch.results) p ON p.place = f.place
  ORDER BY r.sqlbatch_row
);

-- comment: note which job made the target
COMMENT ON TABLE {target} IS {comment};

-- counts: rows of the target by their status
SELECT count(*), count(*) FILTER (ai_status = 'answered'), count(*) FILTER (ai_status = 'failed'),
  count(*) FILTER (ai_status = 'pending'), count(*) FILTER (ai_status = 'skipped')
FROM {target};

-- drop_snapshot: drop the rows of a job, and which row needs which request
DROP TABLE IF EXISTS sqlbatch.rows_{job};
DROP TABLE IF EXISTS sqlbatch.asks_{job};

-- sources: the tables with the stored sources of a job's query with AI functions
SELECT table_name FROM duckdb_tables()
WHERE database_name = $catalog AND schema_name = 'sqlbatch' AND starts_with(table_name, $prefix);

-- drop_source: drop one of them
DROP TABLE IF EXISTS sqlbatch.{source};

-- From results to the target.

-- has_snapshot: one row if the rows of a job are still kept
SELECT 1 FROM duckdb_tables() WHERE database_name = $catalog AND schema_name = 'sqlbatch' AND table_name = $rows;

-- write: the target: the query's columns, the returned columns, and what became of each row
CREATE OR REPLACE TABLE {target} AS
SELECT sqlbatch_rows.* EXCLUDE (sqlbatch_row), {typed},
  sqlbatch_asks.custom_id,
  CASE WHEN sqlbatch_asks.custom_id IS NULL THEN 'skipped'
       WHEN sqlbatch_answer.outcome = 'answered' THEN 'answered'
       WHEN sqlbatch_answer.settled THEN 'failed'
       ELSE 'pending' END AS ai_status,
  CASE WHEN sqlbatch_asks.custom_id IS NULL THEN sqlbatch_asks.skipped
       WHEN sqlbatch_answer.outcome = 'answered' THEN NULL
       WHEN sqlbatch_answer.outcome IS NOT NULL THEN concat_ws(': ', sqlbatch_answer.code, sqlbatch_answer.message) END AS ai_error,
  CASE WHEN sqlbatch_answer.outcome = 'answered' THEN sqlbatch_answer.model END AS ai_model
FROM sqlbatch.rows_{job} sqlbatch_rows
JOIN sqlbatch.asks_{job} sqlbatch_asks USING (sqlbatch_row)
LEFT JOIN (
  SELECT p.custom_id, p.outcome, p.code, p.message, p.model, p.settled,
    CASE WHEN p.outcome = 'answered' THEN p.content END AS content,
    CASE WHEN p.outcome = 'answered' THEN p.vector END AS vector
  FROM sqlbatch.responses p
  WHERE p.job_id = $job_id
) sqlbatch_answer ON sqlbatch_answer.custom_id = sqlbatch_asks.custom_id
ORDER BY sqlbatch_rows.sqlbatch_row;

-- comment: say which job made the target
COMMENT ON TABLE {target} IS {comment};

-- counts: rows of the target by what became of them
SELECT count(*), count(*) FILTER (ai_status = 'answered'), count(*) FILTER (ai_status = 'failed'),
  count(*) FILTER (ai_status = 'pending'), count(*) FILTER (ai_status = 'skipped')
FROM {target};

-- drop_rows: drop the snapshot of a job
DROP TABLE IF EXISTS sqlbatch.rows_{job};

-- drop_asks: drop which row asks which request
DROP TABLE IF EXISTS sqlbatch.asks_{job};

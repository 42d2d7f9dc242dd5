-- From results to the target.

-- has_snapshot: one row if the rows of a job are still kept
SELECT 1 FROM duckdb_tables() WHERE database_name = $catalog AND schema_name = 'sqlbatch' AND table_name = $rows;

-- write: the target: the query's columns, the returned columns, and what became of each row
-- Answers are made into values after the sort, for texts are sorted in less time than the lists and structs in them.
CREATE OR REPLACE TABLE {target} AS
SELECT * EXCLUDE (sqlbatch_row, sqlbatch_content, sqlbatch_vector, sqlbatch_id, sqlbatch_status, sqlbatch_error, sqlbatch_model),
  {typed}, sqlbatch_id AS custom_id, sqlbatch_status AS ai_status, sqlbatch_error AS ai_error, sqlbatch_model AS ai_model
FROM (
  SELECT r.*, p.content AS sqlbatch_content, p.vector AS sqlbatch_vector, a.custom_id AS sqlbatch_id,
    CASE WHEN a.custom_id IS NULL THEN 'skipped'
         WHEN p.outcome = 'answered' THEN 'answered'
         WHEN p.settled THEN 'failed'
         ELSE 'pending' END AS sqlbatch_status,
    CASE WHEN a.custom_id IS NULL THEN a.skipped
         WHEN p.outcome = 'answered' THEN NULL
         WHEN p.outcome IS NOT NULL THEN concat_ws(': ', p.code, p.message) END AS sqlbatch_error,
    CASE WHEN p.outcome = 'answered' THEN p.model END AS sqlbatch_model
  FROM sqlbatch.rows_{job} r
  JOIN sqlbatch.asks_{job} a ON a.sqlbatch_row = r.sqlbatch_row
  LEFT JOIN (
    SELECT custom_id, outcome, code, message, model, settled,
      CASE WHEN outcome = 'answered' THEN content END AS content,
      CASE WHEN outcome = 'answered' THEN vector END AS vector
    FROM sqlbatch.responses
    WHERE job_id = $job_id
  ) p ON p.custom_id = a.custom_id
  ORDER BY r.sqlbatch_row
);

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

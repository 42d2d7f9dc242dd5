-- The page of `sqlbatch view`: what it reads of jobs and tables, and the reviews that it writes.

-- under_way: for a job's open batches, how many requests the provider has done, since when, and in how many stages the
-- job asks
SELECT coalesce(sum(coalesce(b.completed, 0) + coalesce(b.failed, 0)) FILTER (b.state IN ('open', 'ended')), 0)::BIGINT,
  min(b.opened_at), coalesce((SELECT max(stages) FROM sqlbatch.ai_plans WHERE job_id = $job_id), 1)
FROM sqlbatch.batches b WHERE b.job_id = $job_id;

-- asking: which rows of a job's query need some requests: how many, and the first few by number and as JSON
SELECT a.custom_id::VARCHAR, count(*), min_by(r.sqlbatch_row, r.sqlbatch_row, 3), min_by(to_json({row})::VARCHAR, r.sqlbatch_row, 3)
FROM sqlbatch.asks_{job} a JOIN sqlbatch.rows_{job} r ON r.sqlbatch_row = a.sqlbatch_row
WHERE a.custom_id IN (SELECT unnest($ids::UUID[]))
GROUP BY a.custom_id;

-- parsed: the parse tree of a SELECT by DuckDB's parser, as JSON; nothing is run
SELECT json_serialize_sql($sql::VARCHAR);

-- table_names: the tables and views that a condition may read
SELECT table_name FROM duckdb_tables() UNION ALL SELECT view_name FROM duckdb_views();

-- tables: the user's tables and views, those written by a job first, the newest job's before all others
SELECT schema_name, name, kind, "rows", "columns", job
FROM (
  SELECT schema_name, table_name AS name, 'table' AS kind, estimated_size AS "rows", column_count AS "columns",
    TRY_CAST(regexp_extract(comment, '^made by sqlbatch, job (\d+)', 1) AS INTEGER) AS job
  FROM duckdb_tables() WHERE database_name = $catalog AND NOT internal
  UNION ALL
  SELECT schema_name, view_name, 'view', NULL, column_count, NULL
  FROM duckdb_views() WHERE database_name = $catalog AND NOT internal
)
WHERE schema_name <> 'sqlbatch'
ORDER BY job DESC NULLS LAST, schema_name, name;

-- count: how many rows a condition selects
SELECT count(*) FROM {table} WHERE {where};

-- found: the rows of a page, by their rowid
SELECT rowid FROM {table} WHERE {where} {order} LIMIT $most OFFSET $skip;

-- rows: the shown values of some rows
SELECT rowid, {shown} FROM {table} WHERE rowid IN ({ids});

-- rows_of_view: the shown values of a page of a view, which has no rowid
SELECT {shown} FROM {table} WHERE {where} {order} LIMIT $most OFFSET $skip;

-- statuses: how many rows of a target have each status, and why rows failed, in one reading of it
SELECT ai_status, CASE WHEN ai_status = 'failed' THEN split_part({why}, ': ', 1) END AS code, count(*)
FROM {table} GROUP BY ALL ORDER BY count(*) DESC, code;

-- filled: how many values of a column are not NULL
SELECT count({column}) FROM {table} WHERE {where};

-- distinct: how many different values a column has
SELECT {distinct} FROM (
  SELECT unnest({values}) AS sqlbatch_value FROM (SELECT {column} FROM {table} WHERE {where} {sample}) WHERE {column} IS NOT NULL
);

-- top: the most common values of a column
SELECT left(sqlbatch_value, 200), count(*) FROM (
  SELECT unnest({values}) AS sqlbatch_value FROM (SELECT {column} FROM {table} WHERE {where} {sample}) WHERE {column} IS NOT NULL
)
GROUP BY sqlbatch_value ORDER BY count(*) DESC, sqlbatch_value LIMIT $most;

-- bounds: the smallest, the mean and the largest number of a column
SELECT min(n), avg(n), max(n) FROM (SELECT {number} AS n FROM (SELECT {column} FROM {table} WHERE {where} {sample})) WHERE isfinite(n);

-- histogram: how many numbers of a column are in each of the parts between two bounds
SELECT least(floor((n - $low::DOUBLE) / ($high::DOUBLE - $low::DOUBLE) * $bins::INTEGER), $bins::INTEGER - 1)::INTEGER, count(*)
FROM (SELECT {number} AS n FROM (SELECT {column} FROM {table} WHERE {where} {sample})) WHERE isfinite(n) GROUP BY 1;

-- one_value: a value of one row, unless it is very large
SELECT CASE WHEN octet_length(sqlbatch_value::BLOB) <= $most THEN sqlbatch_value END
FROM (SELECT {value} AS sqlbatch_value FROM {table} WHERE rowid = $rowid);

-- The target table: what has its name, and whose it is.

-- schema_exists: one row if the schema is in the database
SELECT 1 FROM duckdb_schemas() WHERE database_name = $catalog AND lower(schema_name) = lower($schema);

-- find: kind and comment of the table or view of a name
SELECT 'table' AS kind, comment FROM duckdb_tables()
WHERE database_name = $catalog AND lower(schema_name) = lower($schema) AND lower(table_name) = lower($name)
UNION ALL
SELECT 'view' AS kind, comment FROM duckdb_views()
WHERE database_name = $catalog AND lower(schema_name) = lower($schema) AND lower(view_name) = lower($name);

-- count: rows of the target
SELECT count(*) FROM {target};

-- made_by: one row if this database's job of a number writes this target
SELECT 1 FROM sqlbatch.jobs WHERE job_id = $job_id AND lower(target) = lower($target);

-- previous: query and enrichment of the job that made the target
SELECT query, enrichment FROM sqlbatch.jobs WHERE job_id = $job_id;

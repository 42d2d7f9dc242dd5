-- The schema's version, and small queries that every module uses.

-- has_schema: one row if the schema sqlbatch is in the database
SELECT 1 FROM duckdb_tables() WHERE database_name = $catalog AND schema_name = 'sqlbatch' AND table_name = 'migrations';

-- version: the newest applied migration
SELECT coalesce(max(version), 0) FROM sqlbatch.migrations;

-- migrated: note migrations as applied
INSERT INTO sqlbatch.migrations (version, name, applied_at)
SELECT unnest($versions::INTEGER[]), unnest($names::VARCHAR[]), $now::TIMESTAMP;

-- planner_lock: make two planners conflict, so that they cannot both choose or add the same requests
UPDATE sqlbatch.planner_lock SET turns = turns + 1;

-- current: the catalog, and its file (NULL: in memory)
SELECT database_name, path FROM duckdb_databases() WHERE database_name = current_catalog();

-- append_results: append the results that a block selects; the only insert into results
INSERT INTO sqlbatch.results BY NAME
SELECT *, $now::TIMESTAMP AS received_at FROM ({source});

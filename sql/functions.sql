-- AI functions as macros that look answers up, so that the user's query runs unchanged in any client of the database.
-- sqlbatch_answer(signature, input) returns the answer as JSON (NULL: none yet), sqlbatch_error why there is none. The
-- signature is the function with its constant arguments, as Python writes it too (catalogue.signature).

-- text: a value as it is sent (a list or struct as JSON), and pieces of an aggregate, cut by hashes: 30 kB, then 16 pieces
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_text(sqlbatch_x) AS
  CASE WHEN regexp_matches(typeof(sqlbatch_x), '(\[\d*\]|^STRUCT\(.*\)|^MAP\(.*\)|^UNION\(.*\))$')
    THEN to_json(sqlbatch_x)::VARCHAR ELSE CAST(sqlbatch_x AS VARCHAR) END;
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_ends(sqlbatch_l, sqlbatch_level, sqlbatch_last) AS
  list_filter(range(1, len(sqlbatch_l) + 1), lambda sqlbatch_i: sqlbatch_i = len(sqlbatch_l) OR (NOT sqlbatch_last
    AND CASE WHEN sqlbatch_level = 1 THEN md5_number(struct_extract(sqlbatch_l[sqlbatch_i], 'k')) % 30000 < strlen(struct_extract(sqlbatch_l[sqlbatch_i], 't'))
             ELSE len(sqlbatch_l) > 16 AND md5_number(struct_extract(sqlbatch_l[sqlbatch_i], 'k') || sqlbatch_level::VARCHAR) % 16 = 0 END));
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_joined(sqlbatch_p, sqlbatch_level, sqlbatch_i) AS struct_pack(
  k := md5(array_to_string(list_transform(sqlbatch_p, lambda sqlbatch_e: struct_extract(sqlbatch_e, 'k')), ',')),
  t := CASE WHEN len(list_filter(sqlbatch_p, lambda sqlbatch_e: struct_extract(sqlbatch_e, 't') IS NULL)) > 0 THEN NULL
            WHEN len(sqlbatch_p) = 1 AND sqlbatch_level > 1 THEN struct_extract(sqlbatch_p[1], 't')
            ELSE to_json(list_transform(sqlbatch_p, lambda sqlbatch_e: struct_extract(sqlbatch_e, 't')))::VARCHAR END,
  ask := sqlbatch_level = 1 OR len(sqlbatch_p) > 1,
  why := list_max(list_transform(sqlbatch_p, lambda sqlbatch_e: struct_extract(sqlbatch_e, 'why'))),
  i := sqlbatch_i::BIGINT);
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_cut(sqlbatch_l, sqlbatch_level, sqlbatch_last) AS
  list_transform([sqlbatch_l], lambda sqlbatch_a: list_transform([{schema}sqlbatch_ends(sqlbatch_a, sqlbatch_level, sqlbatch_last)],
    lambda sqlbatch_b: list_transform(list_zip(list_prepend(0, sqlbatch_b), sqlbatch_b, true), lambda sqlbatch_z:
      {schema}sqlbatch_joined(sqlbatch_a[sqlbatch_z[1] + 1 : sqlbatch_z[2]], sqlbatch_level, sqlbatch_z[2])))[1])[1];
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_whole(sqlbatch_l) AS CAST(struct_extract(sqlbatch_l[1], 't') AS VARCHAR);

-- image: a picture as an input, by its newest entry in ai_pictures, and the input of a call about pictures
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_picture(sqlbatch_x) AS (
  SELECT sqlbatch_url FROM (SELECT name AS sqlbatch_name, arg_max(url, job_id) AS sqlbatch_url FROM sqlbatch.ai_pictures GROUP BY name)
  WHERE sqlbatch_name = {schema}sqlbatch_picture_name(sqlbatch_x));
CREATE OR REPLACE {temporary} MACRO {schema}ai_image(input) AS
  chr(2) || 'sqlbatch_image:' || {schema}sqlbatch_picture(input);
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_asked(sqlbatch_input) AS
  CASE WHEN starts_with(sqlbatch_input, chr(2) || 'sqlbatch_image:')
    THEN concat('{"role":"user","content":[', to_json(struct_pack("type" := 'image_url',
      image_url := struct_pack(url := substr(sqlbatch_input, 17))))::VARCHAR, ']}')
    ELSE to_json(struct_pack(role := 'user', content := sqlbatch_input))::VARCHAR END;

-- answer: the stored result for a question: its answer as JSON, or why there is none
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_answer(sqlbatch_signature, sqlbatch_input) AS (
  SELECT CASE WHEN sqlbatch_s.field IS NULL THEN sqlbatch_r.content
              WHEN sqlbatch_s.field = '' THEN to_json(sqlbatch_r.content)::VARCHAR
              ELSE json_extract(sqlbatch_r.content, '/' || sqlbatch_s.field)::VARCHAR END
  FROM sqlbatch.ai_signatures sqlbatch_s
  JOIN sqlbatch.ai_answers sqlbatch_r ON sqlbatch_r.custom_id = left(sha256(concat_ws(chr(31), sqlbatch_s.call_id::VARCHAR,
    {schema}sqlbatch_asked(sqlbatch_input))), 32)::UUID
  WHERE sqlbatch_s.signature = sqlbatch_signature);
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_error(sqlbatch_signature, sqlbatch_input) AS (
  SELECT sqlbatch_r.error
  FROM sqlbatch.ai_signatures sqlbatch_s
  JOIN sqlbatch.ai_answers sqlbatch_r ON sqlbatch_r.custom_id = left(sha256(concat_ws(chr(31), sqlbatch_s.call_id::VARCHAR,
    {schema}sqlbatch_asked(sqlbatch_input))), 32)::UUID
  WHERE sqlbatch_s.signature = sqlbatch_signature);

-- counting: count the calls that were never asked while they are looked up
CREATE OR REPLACE TEMP SEQUENCE sqlbatch_unasked;
CREATE OR REPLACE TEMP MACRO sqlbatch_missing(sqlbatch_signature, sqlbatch_input) AS
  CASE WHEN sqlbatch_input IS NOT NULL AND sqlbatch_error(sqlbatch_signature, sqlbatch_input) IS NULL
    AND nextval('sqlbatch_unasked') < 0 THEN '' END;

-- counted: how many calls were looked up that were never asked
SELECT coalesce(last_value, 0) FROM duckdb_sequences() WHERE sequence_name = 'sqlbatch_unasked' AND temporary;

-- value: an answer as a value of a type (with its error for capture), types as from_json takes them, and the aggregates
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_missing(sqlbatch_signature, sqlbatch_input) AS NULL::VARCHAR;
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_value(sqlbatch_signature, sqlbatch_input, sqlbatch_spec, sqlbatch_on_error) AS
  from_json(
    CASE WHEN sqlbatch_on_error <> 'capture' THEN coalesce({schema}sqlbatch_answer(sqlbatch_signature, sqlbatch_input),
           {schema}sqlbatch_missing(sqlbatch_signature, sqlbatch_input))
         ELSE concat('{"value":', coalesce({schema}sqlbatch_answer(sqlbatch_signature, sqlbatch_input), 'null'),
           ',"error":', coalesce(to_json({schema}sqlbatch_error(sqlbatch_signature, sqlbatch_input))::VARCHAR,
             CASE WHEN sqlbatch_input IS NOT NULL AND {schema}sqlbatch_answer(sqlbatch_signature, sqlbatch_input) IS NULL
               THEN '"not asked yet"' ELSE 'null' END), '}') END,
    CASE WHEN sqlbatch_on_error <> 'capture' THEN sqlbatch_spec
         ELSE concat('{"value":', sqlbatch_spec, ',"error":"VARCHAR"}') END);
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_fields(sqlbatch_r) AS
  CASE WHEN typeof(sqlbatch_r) NOT LIKE 'STRUCT%'
       THEN to_json(map_from_entries(list_transform(sqlbatch_r::VARCHAR[], lambda sqlbatch_f: struct_pack(k := sqlbatch_f, v := 'VARCHAR'))))::VARCHAR
       ELSE regexp_replace(to_json(sqlbatch_r)::VARCHAR, '":"[^"]*[ ?][^"]*"', '":"VARCHAR"', 'g') END;
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_columns(sqlbatch_r) AS
  to_json(map_from_entries(list_zip(
    list_transform(regexp_extract_all(sqlbatch_r, '(?:^|,)\s*("[^"]+"|\w+)\s+((?:[^,()]|\([^()]*\))+)', 1), lambda sqlbatch_n: trim(sqlbatch_n, '"')),
    list_transform(regexp_extract_all(sqlbatch_r, '(?:^|,)\s*("[^"]+"|\w+)\s+((?:[^,()]|\([^()]*\))+)', 2), lambda sqlbatch_t:
      regexp_replace(regexp_replace(sqlbatch_t, '(?i)\s+(NOT\s+NULL|COMMENT|CHECK)\b.*$', ''), '(?i)^ENUM\s*\([^()]*\)', 'VARCHAR')))))::VARCHAR;
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_returned(sqlbatch_r) AS
  CASE WHEN regexp_matches(sqlbatch_r, '(?i)^\s*("[^"]+"|\w+)\s+[a-z]') AND NOT regexp_matches(sqlbatch_r, '(?i)^\s*\w+\s+(not|check|comment|precision|with|without)\b')
       THEN {schema}sqlbatch_columns(sqlbatch_r) ELSE to_json(coalesce(sqlbatch_r, 'VARCHAR'))::VARCHAR END;
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_level(sqlbatch_l, sqlbatch_signature) AS (
  SELECT list(struct_pack(k := sqlbatch_e.k,
    t := CASE WHEN sqlbatch_e.ask THEN {schema}sqlbatch_answer(sqlbatch_signature, sqlbatch_e.t)::JSON->>'$' ELSE sqlbatch_e.t END,
    ask := false, why := sqlbatch_e.why, i := sqlbatch_e.i) ORDER BY sqlbatch_e.i)
  FROM (SELECT unnest(sqlbatch_l) AS sqlbatch_e));
CREATE OR REPLACE {temporary} MACRO {schema}ai_agg(input, instructions, model := NULL, on_error := 'null', params := NULL) AS
  {schema}sqlbatch_whole({schema}sqlbatch_level({schema}sqlbatch_cut({schema}sqlbatch_level({schema}sqlbatch_cut(
  {schema}sqlbatch_level({schema}sqlbatch_cut({schema}sqlbatch_level({schema}sqlbatch_cut(
    list(struct_pack(k := md5({schema}sqlbatch_text(input)), t := {schema}sqlbatch_text(input), ask := true, why := NULL::VARCHAR, i := 0::BIGINT)
      ORDER BY md5({schema}sqlbatch_text(input)), {schema}sqlbatch_text(input)) FILTER ({schema}sqlbatch_text(input) IS NOT NULL), 1, false),
    to_json(struct_pack("function" := 'ai_agg', instructions := instructions, model := model, params := params))::VARCHAR), 2, false),
    to_json(struct_pack("function" := 'ai_agg_combined', instructions := instructions, model := model, params := params))::VARCHAR), 3, false),
    to_json(struct_pack("function" := 'ai_agg_combined', instructions := instructions, model := model, params := params))::VARCHAR), 4, true),
    to_json(struct_pack("function" := 'ai_agg_combined', instructions := instructions, model := model, params := params))::VARCHAR));
CREATE OR REPLACE {temporary} MACRO {schema}ai_summarize_agg(input, model := NULL, on_error := 'null', params := NULL) AS
  {schema}ai_agg(input, 'Summarize the texts together.', model := model, on_error := on_error, params := params);

-- function: a function of the catalogue
CREATE OR REPLACE {temporary} MACRO {schema}{function}(input{parameters}, model := NULL, on_error := 'null', params := NULL) AS
  {schema}sqlbatch_value(to_json(struct_pack("function" := '{function}'{given}, model := model, params := params))::VARCHAR,
    {schema}sqlbatch_text(input), {spec}, on_error);

-- installed: the functions that are macros of the database
SELECT DISTINCT function_name FROM duckdb_functions()
WHERE database_name = $catalog AND schema_name = 'main' AND function_name LIKE 'ai\_%' ESCAPE '\'
ORDER BY function_name;

-- keep: store a source of a query as it is now, in the scratch database
CREATE TABLE {scratch}.main.src_{number} AS {query};

-- count: the rows of a table
SELECT count(*) FROM {table};

-- views: the views of the database with their SQL, and its macros
SELECT lower(view_name), sql FROM duckdb_views() WHERE NOT internal
UNION ALL
SELECT lower(function_name), macro_definition FROM duckdb_functions() WHERE NOT internal AND macro_definition IS NOT NULL;

-- collected: the requests of a call, with their sizes
CREATE OR REPLACE TEMP TABLE sqlbatch_collected AS
SELECT {custom_id} AS custom_id, {input} AS input, strlen(sqlbatch_input) + $constant::BIGINT AS bytes,
  greatest(1, (strlen(sqlbatch_input) + $constant::BIGINT + $uncounted::BIGINT + $bytes_per_token::BIGINT - 1)
    // $bytes_per_token::BIGINT) AS tokens,
  NULL::VARCHAR[] AS images, NULL::VARCHAR AS failed, 0::BIGINT AS pictures, 0::BIGINT AS extra
FROM ({collection});

-- longest: the largest request of a call, how many there are, and how many of them differ
SELECT coalesce(max(bytes), 0), count(*), count(DISTINCT custom_id) FROM sqlbatch_collected;

-- drop_repeated: keep each request once; the ids take a tenth of the memory that the inputs would
DELETE FROM sqlbatch_collected WHERE rowid NOT IN (SELECT min(rowid) FROM sqlbatch_collected GROUP BY custom_id);

-- first: tables for the requests of the first stage and the calls they belong to, in the scratch database
CREATE TABLE {scratch}.main.ai_requests (
  custom_id UUID, sqlbatch_row BIGINT, bytes BIGINT, tokens BIGINT, call_id UUID, input VARCHAR, images VARCHAR[],
  failed VARCHAR, pictures BIGINT, extra BIGINT
);
CREATE TABLE {scratch}.main.ai_asks (call INTEGER, custom_id UUID);

-- first_requests: those requests, under the name of the compiler's table
CREATE VIEW {scratch}.main.requests AS SELECT custom_id, sqlbatch_row, bytes, tokens FROM {scratch}.main.ai_requests;

-- lay_down: add the requests of a call of the first stage, in the scratch database
INSERT INTO {scratch}.main.ai_asks SELECT {call}, custom_id FROM sqlbatch_collected;
INSERT INTO {scratch}.main.ai_requests
SELECT custom_id, row_number() OVER () + (SELECT count(*) FROM {scratch}.main.ai_requests), bytes, tokens, {call_id}::UUID,
  input, images, failed, pictures, extra
FROM sqlbatch_collected ANTI JOIN {scratch}.main.ai_requests o USING (custom_id);

-- cut_before: requests of the first stage whose answers were cut at a smaller token limit than their call's are sent again
DELETE FROM {scratch}.main.known WHERE state = 'failed' AND custom_id IN (
  WITH asked AS (
    SELECT r.custom_id, c.cap::BIGINT AS cap
    FROM {scratch}.main.ai_requests r JOIN (SELECT unnest($caps, recursive := true)) c ON c.call_id = r.call_id)
  {compile.cut});

-- of_call: the requests to send for one call
CREATE OR REPLACE TEMP TABLE sqlbatch_to_send AS
SELECT s.* FROM {scratch}.main.to_send s JOIN {scratch}.main.ai_requests r USING (custom_id) WHERE r.call_id = $call_id::UUID;

-- of_first: how many requests of each call of the first stage are to be sent
SELECT a.call, count(s.custom_id)
FROM {scratch}.main.ai_asks a LEFT JOIN {scratch}.main.to_send s USING (custom_id) GROUP BY a.call;

-- judged: how many answers of filters were true, and how many there are
SELECT q.call_id::VARCHAR, count(DISTINCT r.custom_id) FILTER ((r.content->>'answer') = 'true')::BIGINT,
  count(DISTINCT r.custom_id)::BIGINT
FROM sqlbatch.results r JOIN sqlbatch.requests q ON q.custom_id = r.custom_id
WHERE list_contains($calls::UUID[], q.call_id) AND r.outcome = 'answered'
GROUP BY q.call_id;

-- add_plan: the plan of a job
INSERT INTO sqlbatch.ai_plans (job_id, policy, stages, query) VALUES ($job_id, $policy, $stages, $query);

-- add_source: a source, with its rows
CREATE TABLE sqlbatch.src_{job}_{number} AS FROM {scratch}.main.src_{number};
INSERT INTO sqlbatch.ai_sources (job_id, source, relation, query, "rows")
SELECT {job}, {number}, {relation}, {text}, (SELECT count(*) FROM {scratch}.main.src_{number});

-- add_call: a call
INSERT INTO sqlbatch.ai_calls (job_id, call, call_id, function, text, clause, stage, collection, ask, "value", "type", answers, on_error, at_most)
VALUES ($job_id, $number, $call_id::UUID, $function, $text, $clause, $stage, $collection, $ask, $value, $type, $answers, $on_error, $at_most);

-- add_need: a call waits for another
INSERT INTO sqlbatch.ai_needs (job_id, call, needs) VALUES ($job_id, $call, $needs);

-- drop_signature: drop the earlier request of a function with constant arguments
DELETE FROM sqlbatch.ai_signatures WHERE signature = $signature;

-- add_signature: add the request of a function with constant arguments
INSERT INTO sqlbatch.ai_signatures (signature, call_id, field) VALUES ($signature, $call_id::UUID, $field);

-- add_first: add the requests of the first stage
INSERT INTO sqlbatch.requests (seq, custom_id, call_id, input, bytes, tokens, images)
SELECT (SELECT coalesce(max(seq), 0) FROM sqlbatch.requests) + row_number() OVER (), n.custom_id, n.call_id, n.input, n.bytes,
  n.tokens, n.images
FROM {scratch}.main.ai_requests n ANTI JOIN sqlbatch.requests o ON o.custom_id = n.custom_id;
INSERT INTO sqlbatch.ai_asks (job_id, call, custom_id) SELECT {job}, call, custom_id FROM {scratch}.main.ai_asks;

-- add_collected: a call's inputs are collected
INSERT INTO sqlbatch.ai_collected (job_id, call, collected_at, asked)
SELECT $job_id, $call, $now::TIMESTAMP, count(*) FROM sqlbatch.ai_asks WHERE job_id = $job_id AND call = $call;

-- no_rows: a job with a plan has no rows of its own; its sources are its snapshot
CREATE TABLE sqlbatch.rows_{job} (sqlbatch_row BIGINT);
CREATE TABLE sqlbatch.asks_{job} (sqlbatch_row BIGINT, call_id UUID, custom_id UUID, skipped VARCHAR);

-- is_planned: one row if a job has a plan
SELECT 1 FROM sqlbatch.ai_plans WHERE job_id = $job_id;

-- plan: the plan of a job
SELECT policy, stages, query FROM sqlbatch.ai_plans WHERE job_id = $job_id;

-- calls: the calls of a job
SELECT a.call, a.function, a.text, a.clause, a.stage, a.collection, a.ask, a."value", a."type", a.answers, a.on_error,
  c.base_url, c.endpoint, c.model, c.head, c.tail, c.returns
FROM sqlbatch.ai_calls a JOIN sqlbatch.calls c ON c.call_id = a.call_id
WHERE a.job_id = $job_id ORDER BY a.stage, a.call;

-- ready: the calls of a job that can be collected
SELECT call FROM sqlbatch.ai_ready WHERE job_id = $job_id ORDER BY stage, call;

-- collect_again: calls whose inputs were answered after they were collected (by a retry, or late) are collected again
DELETE FROM sqlbatch.ai_collected WHERE job_id = $job_id AND call IN ({functions.outdated}) RETURNING call;

-- outdated: calls that were collected before an input of theirs was answered
SELECT d.call FROM sqlbatch.ai_collected d
WHERE d.job_id = $job_id
  AND d.collected_at < (SELECT max(received_at) FROM sqlbatch.results)
  AND EXISTS (
    FROM sqlbatch.ai_needs n JOIN sqlbatch.ai_asks a ON a.job_id = n.job_id AND a.call = n.needs
    JOIN sqlbatch.results r ON r.custom_id = a.custom_id
    WHERE n.job_id = $job_id AND n.call = d.call AND r.received_at > d.collected_at);

-- uncollected: how many calls of a job are not collected, or must be again
SELECT count(*) FROM sqlbatch.ai_calls
WHERE job_id = $job_id AND stage > 0
  AND (call NOT IN (SELECT call FROM sqlbatch.ai_collected WHERE job_id = $job_id) OR call IN ({functions.outdated}));

-- decided: the final result of each request of a job
CREATE OR REPLACE TEMP TABLE sqlbatch_decided AS
SELECT r.custom_id, q.call_id, r.settled,
  CASE WHEN r.outcome = 'answered' THEN r.content END AS sqlbatch_content,
  CASE WHEN r.outcome = 'answered' THEN r.vector END AS sqlbatch_vector,
  CASE WHEN r.outcome <> 'answered' THEN concat_ws(': ', r.code, r.message) END AS sqlbatch_error
FROM sqlbatch.responses r JOIN sqlbatch.requests q ON q.custom_id = r.custom_id
WHERE r.job_id = $job_id;

-- known: the final result of each request of some calls, for whichever job it was sent
CREATE OR REPLACE TEMP TABLE sqlbatch_decided AS
SELECT r.custom_id, any_value(q.call_id) AS call_id, true AS settled,
  arg_max(r.content, r.rowid) FILTER (r.outcome = 'answered') AS sqlbatch_content,
  arg_max(r.vector, r.rowid) FILTER (r.outcome = 'answered') AS sqlbatch_vector,
  CASE WHEN count(*) FILTER (r.outcome = 'answered') = 0 THEN arg_max(concat_ws(': ', r.code, r.message), r.rowid) END AS sqlbatch_error
FROM (SELECT rowid, * FROM sqlbatch.results WHERE outcome IN ('answered', 'failed')) r
JOIN sqlbatch.requests q ON q.custom_id = r.custom_id
WHERE list_contains($calls::UUID[], q.call_id)
GROUP BY r.custom_id;

-- unknown: the collected requests without a final result, and whether a batch has them; with $fresh, all of them
SELECT custom_id::VARCHAR, NOT $fresh::BOOLEAN AND custom_id IN (SELECT custom_id FROM sqlbatch.in_flight)
FROM sqlbatch_collected
WHERE failed IS NULL
  AND ($fresh::BOOLEAN OR custom_id NOT IN (
    SELECT custom_id FROM sqlbatch.results
    WHERE outcome IN ('answered', 'failed') AND source <> 'unsent' AND (cap IS NULL OR cap >= $cap::BIGINT)))
ORDER BY input;

-- previewed: the rows of a query as JSON, and the failures of each
SELECT (to_json(sqlbatch_query)::JSON)::VARCHAR, sqlbatch_failed FROM (
{query}
) AS sqlbatch_query;

-- answers: the values for a call
CREATE OR REPLACE TEMP TABLE {answers} AS
SELECT custom_id AS sqlbatch_key, {value} AS sqlbatch_value, sqlbatch_error AS sqlbatch_why
FROM {decided} WHERE call_id = $call_id::UUID AND settled;

-- want_requests: add a call's requests that are new
INSERT INTO sqlbatch.requests (seq, custom_id, call_id, input, bytes, tokens, images)
SELECT (SELECT coalesce(max(seq), 0) FROM sqlbatch.requests) + row_number() OVER (), n.custom_id, $call_id::UUID, n.input,
  n.bytes, n.tokens, n.images
FROM sqlbatch_collected n ANTI JOIN sqlbatch.requests o ON o.custom_id = n.custom_id;

-- want_asks: note which requests a call needs
INSERT INTO sqlbatch.ai_asks (job_id, call, custom_id)
SELECT $job_id, $call, n.custom_id
FROM sqlbatch_collected n
ANTI JOIN (SELECT custom_id FROM sqlbatch.ai_asks WHERE job_id = $job_id AND call = $call) o ON o.custom_id = n.custom_id;

-- want: the job waits for a call's requests
INSERT INTO sqlbatch.wanted (job_id, custom_id, not_before)
SELECT $job_id, n.custom_id, (SELECT not_before FROM sqlbatch.jobs WHERE job_id = $job_id)
FROM sqlbatch_collected n
ANTI JOIN (SELECT custom_id FROM sqlbatch.wanted WHERE job_id = $job_id) w ON w.custom_id = n.custom_id;

-- count_wanted: store the job's current number of requests
UPDATE sqlbatch.jobs SET requests = (SELECT count(*) FROM sqlbatch.wanted WHERE job_id = $job_id) WHERE job_id = $job_id;

-- count_rows: store the number of rows of a job's target, which is not known before
UPDATE sqlbatch.jobs SET "rows" = $rows WHERE job_id = $job_id;

-- hidden_rows: how many inputs of conditions have no answer, so that rows may be missing
SELECT count(DISTINCT f.custom_id) FROM sqlbatch.ai_failures f
WHERE f.job_id = $job_id AND f.clause IN ('where', 'having', 'qualify', 'join');

-- held: failed calls that the target must wait for (on_error fail)
SELECT f.text, count(*) FROM sqlbatch.ai_failures f JOIN sqlbatch.ai_calls c ON c.job_id = f.job_id AND c.call = f.call
WHERE f.job_id = $job_id AND c.on_error = 'fail' GROUP BY f.text ORDER BY f.text;

-- unfinished: calls of a job that are not collected, or have unsettled requests
SELECT c.call FROM sqlbatch.ai_calls c
LEFT JOIN sqlbatch.ai_collected d ON d.job_id = c.job_id AND d.call = c.call
WHERE c.job_id = $job_id AND c.stage > 0 AND (d.call IS NULL OR EXISTS (
  FROM sqlbatch.ai_asks a LEFT JOIN sqlbatch.responses r ON r.job_id = a.job_id AND r.custom_id = a.custom_id
  WHERE a.job_id = c.job_id AND a.call = c.call AND r.settled IS NOT TRUE));

-- has_failures: one row if a request of a job's calls failed
SELECT 1 FROM sqlbatch.ai_failures WHERE job_id = $job_id LIMIT 1;

-- world: the result of each request, if the failed ones had been answered differently: filters all true, all false, or
-- at random, the rest by answers to other inputs
CREATE OR REPLACE TEMP TABLE sqlbatch_world AS
WITH answered AS (
  SELECT call_id, list(DISTINCT sqlbatch_content ORDER BY sqlbatch_content) AS contents
  FROM sqlbatch_decided WHERE sqlbatch_content IS NOT NULL GROUP BY call_id
)
SELECT d.custom_id, d.call_id, d.settled, coalesce(d.sqlbatch_content, CASE
    WHEN list_contains($filters::UUID[], d.call_id) THEN
      CASE WHEN $world = 1 OR ($world > 2 AND hash(d.custom_id, $world) % 2 = 0) THEN '{"answer":true}' ELSE '{"answer":false}' END
    ELSE a.contents[1 + (hash(d.custom_id, $world) % len(a.contents))::BIGINT] END) AS sqlbatch_content,
  d.sqlbatch_vector, NULL::VARCHAR AS sqlbatch_error
FROM sqlbatch_decided d LEFT JOIN answered a ON a.call_id = d.call_id;

-- no_changes: the target's rows that a different answer changes: none yet
CREATE OR REPLACE TEMP TABLE sqlbatch_changed (row_hash UBIGINT);

-- changes: the target's rows that the query with different answers lacks, or has fewer times
INSERT INTO sqlbatch_changed
SELECT t.row_hash
FROM (SELECT hash({row}) AS row_hash, count(*) AS n FROM {target} GROUP BY ALL) t
LEFT JOIN (SELECT hash({row}) AS row_hash, count(*) AS n FROM ({query}) GROUP BY ALL) w ON w.row_hash = t.row_hash
WHERE coalesce(w.n, 0) < t.n;

-- uncertain: mark rows that different answers in place of failed ones would change
UPDATE {target} SET ai_status = 'uncertain', ai_error = 'another answer in the place of a failed one changes this row'
WHERE ai_status = 'answered' AND hash({row}) IN (SELECT row_hash FROM sqlbatch_changed);

-- write: write the target: the query's columns, and the status of each row
CREATE OR REPLACE TABLE {target} AS
SELECT * EXCLUDE (sqlbatch_failed), CASE WHEN $pending::BOOLEAN OR contains(sqlbatch_failed, chr(1)) THEN 'pending'
    WHEN sqlbatch_failed IS NOT NULL THEN 'failed' ELSE 'answered' END AS ai_status,
  CASE WHEN NOT $pending::BOOLEAN AND NOT contains(sqlbatch_failed, chr(1)) THEN sqlbatch_failed END AS ai_error
FROM (
{query}
) AS sqlbatch_query;

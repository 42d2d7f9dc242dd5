-- Compile the user's query into rows, asks and requests: first in a scratch database, then in the user's own.

-- snapshot: the query's rows as they are now, numbered in order
CREATE TABLE {scratch}.main.rows AS
SELECT row_number() OVER () AS sqlbatch_row, sqlbatch_query.* FROM (
{query}
) AS sqlbatch_query
{limit};

-- sample: a random sample of the query's rows, with their numbers in it
CREATE TABLE {scratch}.main.rows AS
FROM (SELECT row_number() OVER () AS sqlbatch_row, sqlbatch_query.* FROM (
{query}
) AS sqlbatch_query
{limit}) USING SAMPLE reservoir({sample} ROWS)
ORDER BY sqlbatch_row;

-- asks: which request each row needs; its id is a hash of the call and the input
CREATE TABLE {scratch}.main.asks AS
SELECT sqlbatch_row, skipped,
  CASE WHEN input IS NOT NULL THEN left(sha256(concat_ws(chr(31), $call_id::UUID::VARCHAR, input)), 32)::UUID END AS custom_id,
  CASE WHEN input IS NOT NULL THEN strlen(input) + $constant::BIGINT + {extra} END AS bytes{more}
FROM (SELECT sqlbatch_row, {skipped} AS skipped, {input} AS input{look} FROM {rows});

-- requests: the distinct requests, each with the first row that needs it, and its tokens estimated from bytes
CREATE TABLE {scratch}.main.requests AS
SELECT custom_id, min(sqlbatch_row) AS sqlbatch_row, any_value(bytes) AS bytes,
  greatest(1, (any_value(bytes) - {extra} + $uncounted::BIGINT + $bytes_per_token::BIGINT - 1) // $bytes_per_token::BIGINT)
    + {picture_tokens} AS tokens
FROM {scratch}.main.asks WHERE custom_id IS NOT NULL
GROUP BY custom_id;

-- invalid: the first row with a value that cannot be sent, the reason, and how many there are
SELECT min(sqlbatch_row), arg_min(reason, sqlbatch_row), count(*) AS many
FROM (SELECT sqlbatch_row, {invalid} AS reason FROM {scratch}.main.rows) WHERE reason IS NOT NULL
HAVING many > 0;

-- too_long: the first row whose request exceeds the provider's limit
SELECT sqlbatch_row, bytes FROM {scratch}.main.requests WHERE bytes > $limit ORDER BY sqlbatch_row LIMIT 1;

-- counts: rows, skipped rows and distinct requests
SELECT (SELECT count(*) FROM {scratch}.main.rows),
  (SELECT count(*) FROM {scratch}.main.asks WHERE custom_id IS NULL),
  (SELECT count(*) FROM {scratch}.main.requests);

-- skipped_why: reasons for skipping, the most common first
SELECT skipped, count(*) FROM {scratch}.main.asks WHERE custom_id IS NULL GROUP BY skipped ORDER BY count(*) DESC, skipped;

-- store_call: store the call, once
INSERT INTO sqlbatch.calls
SELECT * FROM (VALUES ($call_id::UUID, $base_url, $endpoint, $model, $head, $tail, $returns)) AS c(call_id)
WHERE call_id NOT IN (SELECT call_id FROM sqlbatch.calls);

-- send_as: store how a job sends a call, once
INSERT INTO sqlbatch.sent_calls (job_id, call_id, head, tail, extra, cap, logprobs)
SELECT * FROM (VALUES ($job_id::INTEGER, $call_id::UUID, $head::VARCHAR, $tail::VARCHAR, $extra::BIGINT, $cap::BIGINT, $logprobs::BOOLEAN)) AS s(job_id, call_id)
WHERE NOT EXISTS (FROM sqlbatch.sent_calls o WHERE o.job_id = s.job_id AND o.call_id = s.call_id);

-- cut: of requests ({asked}), each with the token limit of its call, those that were only ever cut at a smaller limit
SELECT q.custom_id FROM sqlbatch.results r JOIN {asked} q ON q.custom_id = r.custom_id
WHERE r.custom_id IN (SELECT custom_id FROM sqlbatch.results WHERE cap IS NOT NULL)
  AND r.outcome IN ('answered', 'failed') AND r.source <> 'unsent'
GROUP BY q.custom_id, q.cap HAVING bool_and(r.cap IS NOT NULL AND (r.cap >= q.cap) IS NOT TRUE)

-- cut_before: answers that were cut at a smaller token limit than the job's are due again for it
UPDATE sqlbatch.wanted SET not_before = $now::TIMESTAMP
WHERE job_id = $job_id AND not_before IS NULL AND custom_id IN (
  WITH asked AS (
    SELECT w.custom_id, s.cap FROM sqlbatch.wanted w
    JOIN sqlbatch.requests a ON a.custom_id = w.custom_id
    JOIN sqlbatch.sent_calls s ON s.job_id = w.job_id AND s.call_id = a.call_id
    WHERE w.job_id = $job_id)
  {compile.cut});

-- plain_before: answers without log probabilities are due again for a job that requests them, unless one is in flight
UPDATE sqlbatch.wanted SET not_before = $now::TIMESTAMP
WHERE job_id = $job_id AND not_before IS NULL
  AND custom_id NOT IN (SELECT custom_id FROM sqlbatch.in_flight)
  AND custom_id IN (
    SELECT r.custom_id FROM sqlbatch.results r
    SEMI JOIN (FROM sqlbatch.wanted WHERE job_id = $job_id) w ON w.custom_id = r.custom_id
    WHERE r.outcome = 'answered' GROUP BY r.custom_id HAVING arg_max(r.confidence IS NULL, r.rowid));

-- refused_before: requests that were refused for their log probabilities are due for a job that requests none
UPDATE sqlbatch.wanted SET not_before = $now::TIMESTAMP
WHERE job_id = $job_id AND not_before IS NULL
  AND custom_id IN (SELECT r.custom_id FROM sqlbatch.results r WHERE {refused})
  AND custom_id NOT IN (
    SELECT r.custom_id FROM sqlbatch.results r
    WHERE r.outcome IN ('answered', 'failed') AND r.source <> 'unsent' AND NOT coalesce({refused}, false));

-- store_rows: store the snapshot
CREATE TABLE sqlbatch.rows_{job} AS FROM {scratch}.main.rows;

-- store_asks: store which row needs which request
CREATE TABLE sqlbatch.asks_{job} AS
SELECT sqlbatch_row, $call_id::UUID AS call_id, custom_id, skipped FROM {scratch}.main.asks;

-- store_requests: add the requests that are new to the database, in the order of their rows; their text is rendered a
-- second time
INSERT INTO sqlbatch.requests (seq, custom_id, call_id, input, bytes, tokens, images)
WITH new AS MATERIALIZED (
  SELECT n.custom_id, n.sqlbatch_row, n.bytes, n.tokens,
    (SELECT coalesce(max(seq), 0) FROM sqlbatch.requests) + row_number() OVER (ORDER BY n.sqlbatch_row) AS seq
  FROM {scratch}.main.requests n ANTI JOIN sqlbatch.requests o ON o.custom_id = n.custom_id
)
SELECT n.seq, n.custom_id, $call_id::UUID, r.input, n.bytes - $extra::BIGINT, n.tokens, r.images
FROM (SELECT sqlbatch_row, {input} AS input, {images} AS images FROM {rows} SEMI JOIN new USING (sqlbatch_row)) r
JOIN new n USING (sqlbatch_row);

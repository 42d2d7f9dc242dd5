-- From result files to results.

-- ended: batches of a provider whose results are to be loaded
SELECT b.batch_id::VARCHAR, b.provider_id, b.status, b.output_file_id, b.error_file_id, b.requests, c.endpoint, c.returns,
  b.fenced_at IS NOT NULL, b.ended_at
FROM sqlbatch.batches b JOIN sqlbatch.calls c ON c.call_id = b.call_id
WHERE b.base_url = $base_url AND b.state = 'ended' ORDER BY b.ended_at;

-- judged: what each line of result files says of its request, in their order; what is no JSON keeps the id it can be told by
CREATE OR REPLACE TEMP TABLE sqlbatch_judged AS
WITH read AS (
  SELECT line
  FROM read_csv({files}, columns = {line: 'VARCHAR'}, delim = E'\x01', quote = '', escape = '', header = false,
    auto_detect = false, strict_mode = false, max_line_size = 33554432, buffer_size = 33554432, ignore_errors = true)
  WHERE starts_with(line, '{') OR trim(line) <> ''
), split AS (
  SELECT line, x, x IS NOT NULL AS ok
  FROM (
    SELECT line, TRY(line->>[
      '$.custom_id', '$.response.status_code', '{content}', '{refusal}', '{finish}', '$.response.body.model',
      '{tokens_in}', '{tokens_cached}', '{tokens_out}', '$.response.body.service_tier',
      '$.response.body.error', '$.asked_at']) AS x
    FROM read
  )
), told AS (
  SELECT TRY_CAST(CASE WHEN ok THEN x[1]
      ELSE regexp_extract(line, '"custom_id"\s*:\s*"([0-9a-fA-F-]{36})"', 1) END AS UUID) AS custom_id,
    ok, TRY_CAST(x[2] AS INTEGER) AS status, {content_sql} AS content, {refusal_sql} AS refusal, {finish_sql} AS finish,
    x[6] AS model,
    TRY_CAST(x[7] AS BIGINT) AS tokens_in, TRY_CAST(x[8] AS BIGINT) AS tokens_cached, TRY_CAST(x[9] AS BIGINT) AS tokens_out,
    x[10] AS tier, x[11] AS body_error, TRY_CAST(x[12] AS TIMESTAMP) AS asked_at, {vector_sql} AS vector, line
  FROM split
), checked AS (
  SELECT *, status BETWEEN 200 AND 299 AND body_error IS NULL AS good,
    CASE WHEN status BETWEEN 200 AND 299 AND body_error IS NULL AND content IS NOT NULL AND refusal IS NULL
              AND coalesce(finish, 'stop') NOT IN ('length', 'content_filter', 'incomplete', 'failed', 'cancelled')
         THEN {check} END AS wrong,
    -- Looked for only where there is no answer, for each place that is looked at costs time in every line.
    CASE WHEN ok AND (body_error IS NOT NULL OR status IS NULL OR status NOT BETWEEN 200 AND 299) THEN line->>[
      '$.error.code', '$.error.message', '$.response.body.error.code', '$.response.body.error.message',
      '$.response.body.error.type'] END AS e
  FROM told
), coded AS (
  SELECT *, CASE
      WHEN NOT ok THEN 'unreadable_line'
      WHEN good AND refusal IS NOT NULL THEN 'refusal'
      WHEN good AND finish IN ('length', 'content_filter', 'incomplete', 'failed', 'cancelled') THEN finish
      WHEN good AND coalesce(content, '') = '' THEN 'no_content'
      WHEN good AND wrong IS NOT NULL THEN 'bad_shape'
      WHEN good THEN NULL
      ELSE coalesce(e[3], e[5], e[1], CASE WHEN status IS NULL THEN 'no_response' ELSE concat('http_', status) END) END AS code
  FROM checked
)
SELECT custom_id, status, coalesce(ok AND good, false) AS good, asked_at, code,
  CASE WHEN code IS NULL THEN 'answered'
       WHEN NOT ok THEN 'retryable'
       WHEN good THEN 'failed'
       WHEN code IN ({blocking}) OR status = 401 THEN 'released'
       WHEN code IN ('batch_expired', 'batch_cancelled', 'rate_limit_exceeded', 'server_error') THEN 'retryable'
       WHEN status IS NULL OR status IN (0, 408, 409, 429) OR status >= 500 THEN 'retryable'
       ELSE 'failed' END AS outcome,
  CASE code WHEN 'refusal' THEN refusal WHEN 'bad_shape' THEN wrong
    WHEN 'length' THEN 'the answer was cut at the limit of tokens'
    WHEN 'content_filter' THEN 'the provider''s filter withheld the answer'
    WHEN 'no_content' THEN 'the answer has no content'
    WHEN 'incomplete' THEN 'the provider ended the answer before it was complete'
    WHEN 'failed' THEN coalesce(e[4], body_error, 'the provider could not make an answer')
    WHEN 'unreadable_line' THEN 'the result line is not JSON'
    ELSE coalesce(e[4], body_error, e[2]) END AS message,
  CASE WHEN vector IS NULL AND (code IS NULL OR code IN ('bad_shape', 'length')) THEN content END AS content,
  CASE WHEN code IS NULL THEN vector END AS vector,
  finish, model, tokens_in, tokens_cached, tokens_out, tier,
  CASE WHEN code IS NOT NULL THEN line END AS raw, hash(line) AS mark
FROM coded;

-- forbidden: what is refused for the right to ask is the key's matter where no line was answered, else the request's own
UPDATE sqlbatch_judged SET outcome = 'released'
WHERE status = 403 AND outcome = 'failed' AND NOT EXISTS (FROM sqlbatch_judged WHERE good);

-- claim: load a batch's results only once
UPDATE sqlbatch.batches SET state = 'loaded', loaded_at = $now::TIMESTAMP
WHERE batch_id = $batch_id::UUID AND state = 'ended'
RETURNING planned_at;

-- whole: one row where the lines are one for each request of some ended batches, and nothing in them wants a closer look
WITH ours AS (
  SELECT count(*) AS batches, sum(requests) AS requests FROM sqlbatch.batches
  WHERE list_contains($batches::UUID[], batch_id) AND state = 'ended'
), found AS (
  SELECT count(DISTINCT m.custom_id) AS requests
  FROM (SELECT custom_id FROM sqlbatch.batch_requests WHERE list_contains($batches::UUID[], batch_id)) m
  SEMI JOIN sqlbatch_judged j ON j.custom_id = m.custom_id
), lines AS (
  SELECT count(*) AS lines, count(*) FILTER (status = 403) AS forbidden FROM sqlbatch_judged
)
SELECT 1 FROM ours, found, lines
WHERE ours.batches = len($batches::UUID[]) AND found.requests = ours.requests AND lines.lines = ours.requests AND lines.forbidden = 0
  AND NOT EXISTS (FROM sqlbatch.results WHERE source = 'load' AND list_contains($batches::UUID[], batch_id));

-- claim_all: load some batches' results only once
UPDATE sqlbatch.batches SET state = 'loaded', loaded_at = $now::TIMESTAMP
WHERE list_contains($batches::UUID[], batch_id) AND state = 'ended'
RETURNING batch_id;

-- all_results: one result for each request of some batches, where their lines are known to be just these
INSERT INTO sqlbatch.results (custom_id, batch_id, source, outcome, code, message, content, finish_reason, model,
  tokens_in, tokens_cached, tokens_out, tier, asked_at, received_at, raw, vector)
SELECT j.custom_id, m.batch_id, 'batch', j.outcome, j.code, j.message, j.content, j.finish, j.model,
  j.tokens_in, j.tokens_cached, j.tokens_out, j.tier, b.planned_at, $now::TIMESTAMP, j.raw, j.vector
FROM sqlbatch_judged j
JOIN (SELECT batch_id, custom_id FROM sqlbatch.batch_requests WHERE list_contains($batches::UUID[], batch_id)) m
  ON m.custom_id = j.custom_id
JOIN sqlbatch.batches b ON b.batch_id = m.batch_id;

-- chosen: the line that counts for each request: the first that answers it, or the first
CREATE OR REPLACE TEMP TABLE sqlbatch_chosen_lines AS
SELECT custom_id, coalesce(min(rowid) FILTER (outcome = 'answered'), min(rowid)) AS place
FROM sqlbatch_judged WHERE custom_id IS NOT NULL GROUP BY custom_id;

-- unread: requests of a batch that none of the lines read is for, and lines that are for none of them or one too many
SELECT b.requests - r.read, (SELECT count(*) FROM sqlbatch_judged) - r.read
FROM sqlbatch.batches b, (
  SELECT count(*) AS read FROM sqlbatch.batch_requests m
  SEMI JOIN sqlbatch_chosen_lines c ON c.custom_id = m.custom_id
  WHERE m.batch_id = $batch_id::UUID
) r
WHERE b.batch_id = $batch_id::UUID;

-- results: one result for each request of the manifest; what is in neither file is missing, what was handed in is there
INSERT INTO sqlbatch.results (custom_id, batch_id, source, outcome, code, message, content, finish_reason, model,
  tokens_in, tokens_cached, tokens_out, tier, asked_at, received_at, raw, vector)
SELECT m.custom_id, $batch_id::UUID, 'batch', coalesce(j.outcome, $outcome),
  CASE WHEN j.custom_id IS NULL THEN $code ELSE j.code END,
  CASE WHEN j.custom_id IS NULL THEN $message ELSE j.message END,
  j.content, j.finish, j.model, j.tokens_in, j.tokens_cached, j.tokens_out, j.tier,
  $asked_at::TIMESTAMP, $now::TIMESTAMP, j.raw, j.vector
FROM sqlbatch.batch_requests m
LEFT JOIN (SELECT j.* FROM sqlbatch_judged j SEMI JOIN sqlbatch_chosen_lines c ON c.place = j.rowid) j ON j.custom_id = m.custom_id
ANTI JOIN (SELECT custom_id FROM sqlbatch.results WHERE batch_id = $batch_id::UUID AND source = 'load') h ON h.custom_id = m.custom_id
WHERE m.batch_id = $batch_id::UUID;

-- strangers: keep the lines that belong to no request of the batch, and second answers that differ, read once more
-- A line is found again by its hash: neither its place in the files nor its id tells it from all others.
INSERT INTO sqlbatch.quarantine (batch_id, reason, raw, received_at)
WITH ours AS MATERIALIZED (
  SELECT custom_id FROM sqlbatch.batch_requests WHERE batch_id = $batch_id::UUID
), spare AS MATERIALIZED (
  SELECT j.mark, CASE WHEN j.custom_id IS NULL THEN 'no custom_id of ours' ELSE 'not in this batch' END AS reason
  FROM sqlbatch_judged j ANTI JOIN ours ON ours.custom_id = j.custom_id
  UNION ALL
  SELECT other.mark, 'a second, different result'
  FROM sqlbatch_chosen_lines c
  JOIN sqlbatch_judged other ON other.custom_id = c.custom_id AND other.rowid <> c.place
  JOIN sqlbatch_judged used ON used.rowid = c.place
  SEMI JOIN ours ON ours.custom_id = c.custom_id
  WHERE (used.status, used.code, used.message, used.content, used.vector)
    IS DISTINCT FROM (other.status, other.code, other.message, other.content, other.vector)
), lines AS (
  SELECT hash(line) AS mark, any_value(line) AS line
  FROM read_csv({files}, columns = {line: 'VARCHAR'}, delim = E'\x01', quote = '', escape = '', header = false,
    auto_detect = false, strict_mode = false, max_line_size = 33554432, buffer_size = 33554432, ignore_errors = true)
  WHERE hash(line) IN (SELECT mark FROM spare)
  GROUP BY ALL
)
SELECT $batch_id::UUID, s.reason, l.line, $now::TIMESTAMP
FROM spare s JOIN lines l ON l.mark = s.mark;

-- same_for_all: one result for each request of a batch that brought no files
INSERT INTO sqlbatch.results (custom_id, batch_id, source, outcome, code, message, asked_at, received_at)
SELECT m.custom_id, $batch_id::UUID, 'batch', $outcome, $code, $message, $asked_at::TIMESTAMP, $now::TIMESTAMP
FROM sqlbatch.batch_requests m
ANTI JOIN (SELECT custom_id FROM sqlbatch.results WHERE batch_id = $batch_id::UUID AND source = 'load') h ON h.custom_id = m.custom_id
WHERE m.batch_id = $batch_id::UUID;

-- line_errors: the requests that a failed batch's errors name by their lines failed, the others are released
-- Where no request is named, the cause may be in any of them, and the attempt counts.
INSERT INTO sqlbatch.results (custom_id, batch_id, source, outcome, code, message, asked_at, received_at)
WITH lines AS (
  SELECT row_number() OVER () AS line, TRY_CAST(text->>'$.custom_id' AS UUID) AS custom_id
  FROM read_csv({files}, columns = {text: 'VARCHAR'}, delim = E'\x01', quote = '', escape = '', header = false,
    auto_detect = false, strict_mode = false, max_line_size = 201326592, buffer_size = 402653184, parallel = false)
), named AS (
  SELECT l.custom_id, any_value(e.code) AS code, any_value(e.message) AS message
  FROM lines l JOIN (
    SELECT unnest($lines::BIGINT[]) AS line, unnest($codes::VARCHAR[]) AS code, unnest($messages::VARCHAR[]) AS message
  ) e ON e.line = l.line
  WHERE l.custom_id IS NOT NULL
  GROUP BY l.custom_id
)
SELECT m.custom_id, $batch_id::UUID, 'batch',
  CASE WHEN n.custom_id IS NOT NULL THEN 'failed' WHEN EXISTS (FROM named) THEN 'released' ELSE 'retryable' END,
  coalesce(n.code, 'batch_failed'), coalesce(n.message, 'another line of its file was refused'),
  $asked_at::TIMESTAMP, $now::TIMESTAMP
FROM sqlbatch.batch_requests m LEFT JOIN named n ON n.custom_id = m.custom_id
ANTI JOIN (SELECT custom_id FROM sqlbatch.results WHERE batch_id = $batch_id::UUID AND source = 'load') h ON h.custom_id = m.custom_id
WHERE m.batch_id = $batch_id::UUID;

-- counts: results of a batch by outcome, and lines put aside
SELECT count(*) FILTER (outcome = 'answered'), count(*) FILTER (outcome = 'failed'), count(*) FILTER (outcome = 'retryable'),
  count(*) FILTER (outcome = 'released'), (SELECT count(*) FROM sqlbatch.quarantine WHERE batch_id = $batch_id::UUID),
  any_value(coalesce(message, code)) FILTER (outcome = 'released'), any_value(code) FILTER (outcome = 'released')
FROM sqlbatch.results WHERE batch_id = $batch_id::UUID;

-- unjudged: one row where a job's first results may be there and are not judged yet
SELECT 1 FROM sqlbatch.jobs WHERE job_id = $job_id AND failing IS NULL AND requests * max_attempts >= $first;

-- tried: results of what a job has sent since it began, and how many of them could be used
SELECT count(*), count(*) FILTER (r.outcome = 'answered')
FROM sqlbatch.results r
WHERE r.source = 'batch' AND r.outcome <> 'released'
  AND r.asked_at >= (SELECT created_at FROM sqlbatch.jobs WHERE job_id = $job_id)
  AND r.custom_id IN (SELECT custom_id FROM sqlbatch.wanted WHERE job_id = $job_id);

-- From result files to results.

-- ended: batches of a provider whose results are to be loaded
SELECT b.batch_id::VARCHAR, b.provider_id, b.status, b.output_file_id, b.error_file_id, b.requests, c.endpoint, c.returns,
  b.fenced_at IS NOT NULL, b.ended_at, coalesce(b.completed, 0), coalesce(b.looks, 0), b.completed IS NOT NULL
FROM sqlbatch.batches b JOIN sqlbatch.calls c ON c.call_id = b.call_id
WHERE b.base_url = $base_url AND b.state = 'ended' ORDER BY b.ended_at;

-- lines: the lines of files, each as one text; the only reader of JSON lines in sqlbatch
SELECT line
FROM read_csv({files}, columns = {line: 'VARCHAR'}, delim = E'\x01', quote = '', escape = '', header = false,
  auto_detect = false, strict_mode = false, max_line_size = {longest}, buffer_size = {longest}, ignore_errors = true);

-- parsed: what each line of result files says of its request, in their order
-- The usual line is read by one look at its JSON. Only what that does not explain is looked at more closely: a line that is
-- no JSON (lone surrogates and other wrong escapes become U+FFFD), one whose reply lies elsewhere than in response.body, or
-- lies there as JSON text, or is the line itself. A reply in Anthropic's words is put into OpenAI's. A line that is still not
-- explained is unreadable: nobody knows whether it was an answer.
CREATE OR REPLACE TEMP TABLE sqlbatch_parsed_results AS
WITH read AS (
  SELECT line AS raw, TRY(line->>[
      '$.custom_id', '$.response.status_code', '{content}', '{refusal}', '{finish}', '$.response.body.model',
      '{tokens_in}', '{tokens_cached}', '{tokens_out}', '$.response.body.service_tier',
      '$.response.body.error', '$.asked_at', '$.error', '{tokens_cache_write}']) AS x
  FROM ({lines})
  WHERE starts_with(line, '{') OR trim(line) <> ''
), odd AS (
  SELECT raw, x, CASE
      WHEN x IS NULL THEN regexp_replace(regexp_replace(raw, '(\\["\\/bfnrt]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u(?:[0-9abcefABCEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\\|[\x00-\x1f]',
        concat('\1', chr(65533)), 'g'), concat('(\\["\\/bfnrt]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u(?:[0-9abcefABCEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))', chr(65533)), '\1', 'g')
      WHEN TRY_CAST(x[2] AS INTEGER) IS NULL OR (x[3] IS NULL AND x[5] IS NULL AND x[11] IS NULL) THEN raw END AS other
  FROM read
), opened AS (
  SELECT raw, x, CASE WHEN other IS NULL OR TRY(json_type(other, '$.response')) IS DISTINCT FROM 'VARCHAR' THEN other
      WHEN json_valid(other->>'$.response') THEN concat('{"custom_id":', other->'$.custom_id', ',"asked_at":',
        coalesce(other->'$.asked_at', 'null'), ',"error":', coalesce(other->'$.error', 'null'), ',"response":', other->>'$.response', '}')
      ELSE other END AS other
  FROM odd
), seen AS (
  SELECT raw, x, other, CASE WHEN other IS NOT NULL THEN TRY(json_extract(other, [
      '$.response.body', '$.response', '$.body', '$.result', '$.output', '$.response.body.body', '$.response.body.data',
      '$.response.body[0]', '$.response.body.response', '$.response.body.result', '$.result.message', '$.completion', '$.data'])) END AS objects
  FROM opened
), unfolded AS (
  SELECT raw, x, other, CASE WHEN objects IS NOT NULL THEN list_append(list_transform(list_transform(objects,
      lambda object: CASE WHEN starts_with(object::VARCHAR, '"') THEN object->>'$' ELSE object::VARCHAR END),
      lambda text: CASE WHEN starts_with(ltrim(text), '{') AND json_valid(text) THEN text END),
      CASE WHEN json_type(other, '$.{reply_key}') = 'ARRAY' AND '{content}' <> '$.response.body' THEN other END) END AS texts
  FROM seen
), translated AS (
  SELECT raw, x, other, CASE WHEN texts IS NOT NULL THEN list_transform(texts, lambda text: CASE
      WHEN json_type(text, '$.error.error') = 'OBJECT' THEN concat('{"error":', text->'$.error.error', '}')
      WHEN '{text_key}' = 'content' AND (text->>'$.type') = 'message' AND json_type(text, '$.content') = 'ARRAY' THEN concat(
        '{"choices":[{"message":{"content":', text->'$.content', '},"finish_reason":', coalesce(text->'$.stop_reason', 'null'),
        '}],"model":', coalesce(text->'$.model', 'null'), ',"usage":{"prompt_tokens":', coalesce((
          TRY_CAST(text->>'$.usage.input_tokens' AS BIGINT) + coalesce(TRY_CAST(text->>'$.usage.cache_read_input_tokens' AS BIGINT), 0)
          + coalesce(TRY_CAST(text->>'$.usage.cache_creation_input_tokens' AS BIGINT), 0))::VARCHAR, 'null'),
        ',"completion_tokens":', coalesce(text->'$.usage.output_tokens', 'null'),
        ',"prompt_tokens_details":{"cached_tokens":', coalesce(text->'$.usage.cache_read_input_tokens', 'null'),
        ',"cache_write_tokens":', coalesce(text->'$.usage.cache_creation_input_tokens', 'null'), '}}}')
      ELSE text END) END AS replies
  FROM unfolded
), found AS (
  SELECT raw, x, other, CASE WHEN replies IS NOT NULL THEN coalesce(
      list_filter(replies, lambda reply: json_exists(reply, '$.{reply_key}'))[1],
      list_filter(replies, lambda reply: json_type(reply, '$.error') <> 'NULL')[1],
      CASE (other->>'$.result.type') WHEN 'expired' THEN '{"error":{"code":"batch_expired","message":"the provider let the request expire"}}'
        WHEN 'canceled' THEN '{"error":{"code":"batch_cancelled","message":"the provider canceled the request"}}' END) END AS reply
  FROM translated
), moved AS (
  SELECT raw, x, other, CASE WHEN reply IS NULL THEN other ELSE concat('{"custom_id":', coalesce(other->'$.custom_id', 'null'),
      ',"asked_at":', coalesce(other->'$.asked_at', 'null'), ',"error":', coalesce(other->'$.error', 'null'),
      ',"response":{"status_code":', coalesce(coalesce(
        TRY_CAST(other->>'$.response.status_code' AS INTEGER), TRY_CAST(other->>'$.response.status' AS INTEGER),
        TRY_CAST(other->>'$.status_code' AS INTEGER), TRY_CAST(other->>'$.status' AS INTEGER),
        CASE WHEN json_exists(reply, '$.{reply_key}') AND (reply = other
          OR lower(coalesce(other->>'$.status', '')) NOT IN ('failed', 'failure', 'error', 'errored')) THEN 200 END)::VARCHAR, 'null'),
      ',"body":', reply, '}}') END AS line
  FROM found
), split AS (
  SELECT raw, line, x, x IS NOT NULL AS ok
  FROM (
    SELECT raw, coalesce(line, raw) AS line, CASE WHEN line IS NULL THEN x ELSE TRY(line->>[
      '$.custom_id', '$.response.status_code', '{content}', '{refusal}', '{finish}', '$.response.body.model',
      '{tokens_in}', '{tokens_cached}', '{tokens_out}', '$.response.body.service_tier',
      '$.response.body.error', '$.asked_at', '$.error', '{tokens_cache_write}']) END AS x
    FROM moved
  )
), told AS (
  SELECT TRY_CAST(coalesce(x[1], regexp_extract(line, '"custom_?[iI]d"\s*:\s*"([0-9a-fA-F-]{36})"', 1)) AS UUID) AS custom_id,
    ok, TRY_CAST(x[2] AS INTEGER) AS status, {content_sql} AS given, CASE WHEN {refusal_sql} NOT IN ('', 'false', '{}', '[]') THEN {refusal_sql} END AS refusal,
    nullif({finish_sql}, '') AS finish, x[6] AS model,
    -- A count below zero, or a part that is more than the whole, is no count: it is unknown, and the line is kept.
    least(TRY_CAST(x[7] AS BIGINT), TRY_CAST(x[8] AS BIGINT), TRY_CAST(x[9] AS BIGINT), TRY_CAST(x[14] AS BIGINT)) < 0
      OR greatest(TRY_CAST(x[8] AS BIGINT), TRY_CAST(x[14] AS BIGINT)) > TRY_CAST(x[7] AS BIGINT) AS miscounted,
    CASE WHEN TRY_CAST(x[7] AS BIGINT) >= 0 THEN TRY_CAST(x[7] AS BIGINT) END AS tokens_in,
    CASE WHEN TRY_CAST(x[9] AS BIGINT) >= 0 THEN TRY_CAST(x[9] AS BIGINT) END AS tokens_out,
    CASE WHEN TRY_CAST(x[8] AS BIGINT) BETWEEN 0 AND TRY_CAST(x[7] AS BIGINT) THEN TRY_CAST(x[8] AS BIGINT) END AS tokens_cached,
    CASE WHEN TRY_CAST(x[14] AS BIGINT) BETWEEN 0 AND TRY_CAST(x[7] AS BIGINT) THEN TRY_CAST(x[14] AS BIGINT) END AS tokens_cache_write,
    x[10] AS tier, TRY_CAST(x[12] AS TIMESTAMP) AS asked_at, {vector_sql} AS vector, raw, line,
    -- Present is not true: an error without a word or a number in it, or that says success, means nothing.
    CASE WHEN x[11] IS NOT NULL AND regexp_matches(regexp_replace(x[11], '(?i)"[^"]*"\s*:|\b(null|false|none|ok|success|succeeded|200|20000)\b', '', 'g'), '[^\s"{}\[\],:.0]') THEN x[11] END AS body_error,
    CASE WHEN x[13] IS NOT NULL AND regexp_matches(regexp_replace(x[13], '(?i)"[^"]*"\s*:|\b(null|false|none|ok|success|succeeded|200|20000)\b', '', 'g'), '[^\s"{}\[\],:.0]') THEN x[13] END AS line_error
  FROM split
), typed AS (
  -- What begins like JSON, or is a number or a truth value, may be a text or a thing of that type: only its place tells.
  SELECT *, status BETWEEN 200 AND 299 AND body_error IS NULL AND line_error IS NULL AS good,
    CASE WHEN '{text_key}' <> '' AND ok AND CASE
        WHEN starts_with(given, '{') OR starts_with(given, '[') THEN regexp_matches(line, '"{text_key}"\s*:\s*[^"\s]')
        ELSE regexp_matches(given, '^(true|false|-?[0-9][0-9.eE+-]*|NaN|-?Infinity)$') END
      THEN json_type(line, '{content}') END AS type
  FROM told
), joined AS (
  SELECT * EXCLUDE (given), CASE
      WHEN type IS NULL OR type = 'VARCHAR' THEN given
      WHEN type = 'ARRAY' THEN array_to_string(list_filter(list_transform(json_extract(line, '{content}[*]'),
        lambda part: CASE WHEN starts_with(part::VARCHAR, '"') THEN part->>'$'
          WHEN coalesce(part->>'$.type', 'text') NOT IN ('text', 'output_text') THEN NULL
          WHEN json_type(part, '$.text') = 'VARCHAR' THEN part->>'$.text' END), lambda text: text IS NOT NULL), '') END AS content
  FROM typed
), checked AS (
  SELECT * EXCLUDE (type), type IS NOT NULL AND type <> 'VARCHAR' AND coalesce(content, '') = '' AS no_text,
    finish IS NULL OR lower(finish) IN ({good_finishes}) AS ended_well,
    CASE WHEN good AND content IS NOT NULL AND refusal IS NULL AND (finish IS NULL OR lower(finish) IN ({good_finishes}))
         THEN {check} END AS wrong,
    -- Looked for only where there is no answer, for each place that is looked at costs time in every line.
    CASE WHEN ok AND NOT coalesce(good, false) THEN line->>[
      '$.error.code', '$.error.message', '$.response.body.error.code', '$.response.body.error.message',
      '$.response.body.error.type', '$.response.body.code', '$.response.body.message', '$.response.body.detail',
      '$.response.body.detail[0].msg', '$.response.body', '$.error.type', '$.response.body.errors', '$.error.error.code',
      '$.error.error.message', '$.error.error.type'] END AS e,
    CASE WHEN good AND coalesce(content, '') = '' THEN line->>[
      '{thoughts}.reasoning_content', '{thoughts}.reasoning', '$.response.body'] END AS t
  FROM joined
), named AS (
  SELECT *, nullif(nullif(coalesce(e[3], e[5], e[6], e[1], e[13], e[15], e[11]), ''), 'null') AS told_code,
    -- An answer beside a status that says to ask again, and no error: nobody knows which of the two is true.
    NOT ok OR (body_error IS NULL AND line_error IS NULL AND (status IS NULL
      OR ((status IN (0, 408, 409, 429) OR status >= 500) AND coalesce(content, '') <> '' AND '{content}' <> '$.response.body')))
      AS unreadable
  FROM checked
), coded AS (
  -- A good status over an error and no body is the envelope's: the error alone says what became of the request.
  SELECT *, CASE WHEN (status IS NULL OR status BETWEEN 200 AND 299) AND TRY_CAST(told_code AS INTEGER) BETWEEN 400 AND 599
        THEN TRY_CAST(told_code AS INTEGER)
      WHEN status BETWEEN 200 AND 299 AND line_error IS NOT NULL AND coalesce(e[10], 'null') IN ('null', '{}', '[]', '') THEN NULL
      ELSE status END AS meant, CASE
      WHEN unreadable THEN 'unreadable_results'
      WHEN good AND refusal IS NOT NULL THEN 'refusal'
      WHEN good AND NOT ended_well THEN CASE WHEN regexp_matches(finish, '^[\w.:-]{1,40}$') THEN finish ELSE 'unknown_finish' END
      WHEN good AND no_text THEN 'not_text'
      WHEN good AND coalesce(content, '') = '' THEN 'no_content'
      WHEN good AND wrong IS NOT NULL THEN 'bad_shape'
      WHEN good THEN NULL
      WHEN regexp_matches(told_code, '^[\w.:-]{1,60}$') THEN CASE WHEN regexp_matches(told_code, '^[0-9]+$') THEN 'http_' ELSE '' END || told_code
      ELSE CASE WHEN coalesce(status, 200) BETWEEN 200 AND 299 THEN 'error' ELSE concat('http_', status) END END AS code
  FROM named
)
SELECT custom_id, status, coalesce(ok AND good, false) AS good, unreadable, asked_at, code,
  CASE WHEN code IS NULL THEN 'answered'
       -- An error beside an answer, whole or not: it may have been paid for.
       WHEN unreadable OR good OR (coalesce(content, '') <> '' AND '{content}' <> '$.response.body') THEN 'failed'
       WHEN code IN ({blocking}) OR meant = 401 THEN 'released'
       WHEN code IN ('batch_expired', 'batch_cancelled', 'rate_limit_exceeded', 'server_error') THEN 'retryable'
       WHEN meant IS NULL AND code IN ({final_codes}) THEN 'failed'
       WHEN meant IS NULL OR meant IN (0, 408, 409, 429) OR meant >= 500 THEN 'retryable'
       ELSE 'failed' END AS outcome,
  CASE WHEN code IS NULL THEN NULL
    WHEN unreadable THEN concat(CASE WHEN ok AND status IS NOT NULL THEN concat('this result line has an answer and the status ', status)
      ELSE 'this result line cannot be read' END, ': ', left(raw, 200))
    WHEN code = 'refusal' THEN coalesce(refusal, nullif(left(content, 1000), ''), 'the model declined to answer')
    WHEN code = 'bad_shape' THEN wrong
    WHEN NOT good THEN left(coalesce(nullif(e[4], ''), nullif(e[2], ''), nullif(e[14], ''), nullif(e[7], ''), nullif(e[9], ''), nullif(e[8], ''),
      body_error, nullif(e[12], ''), line_error, nullif(e[10], '')), 1000)
    ELSE concat(CASE
      WHEN lower(finish) IN ({cut_finishes}) THEN 'the answer was cut at the limit of tokens'
      WHEN code = 'content_filter' THEN 'the provider''s filter withheld the answer'
      WHEN code = 'incomplete' THEN 'the provider ended the answer before it was complete'
      WHEN code = 'failed' THEN 'the provider could not make an answer'
      WHEN code = 'not_text' THEN 'the content of the answer is not text'
      WHEN code = 'no_content' THEN 'the answer has no content'
      ELSE concat('the answer ended with the reason ', left(finish, 100), ', which is not known to be good') END,
      CASE WHEN coalesce(t[1], t[2], '') <> '' THEN concat('; the model wrote only its reasoning: ', left(coalesce(t[1], t[2]), 200))
        WHEN code = 'no_content' AND finish IS NULL AND t[3] IS NOT NULL THEN concat('; the reply begins: ', left(t[3], 200)) END)
    END AS message,
  CASE WHEN vector IS NULL AND status BETWEEN 200 AND 299 THEN nullif(content, '') END AS content,
  CASE WHEN code IS NULL THEN vector END AS vector,
  good AND code IS NOT NULL AND lower(finish) IN ({cut_finishes}) AND lower(finish) <> 'model_length' AS cut,
  finish AS finish_reason, model, tokens_in, tokens_cached, tokens_cache_write, tokens_out, tier,
  CASE WHEN code IS NOT NULL OR miscounted THEN raw END AS raw, hash(raw) AS mark,
  -- This is looked for only where the text has such a key, for it costs as much as all else of a line.
  CASE WHEN ok AND contains(line, '"logprob":') THEN {logprobs_sql} END AS logprobs, NULL::MAP(VARCHAR, DOUBLE) AS confidence
FROM coded;

-- forbidden: a refusal for lack of permission is about the key if no line was answered, otherwise about the request
-- itself
UPDATE sqlbatch_parsed_results SET outcome = 'released'
WHERE status = 403 AND outcome = 'failed' AND NOT EXISTS (FROM sqlbatch_parsed_results WHERE good);

-- claim: claim a batch, so that its results are loaded only once
UPDATE sqlbatch.batches SET state = 'loaded', loaded_at = $now::TIMESTAMP
WHERE batch_id = $batch_id::UUID AND state = 'ended'
RETURNING planned_at;

-- whole: one row if some ended batches have exactly one line for each request, and none needs a closer look
WITH ours AS (
  SELECT count(*) AS batches, sum(requests) AS requests FROM sqlbatch.batches
  WHERE list_contains($batches::UUID[], batch_id) AND state = 'ended'
), found AS (
  SELECT count(DISTINCT m.custom_id) AS requests
  FROM (SELECT custom_id FROM sqlbatch.batch_requests WHERE list_contains($batches::UUID[], batch_id)) m
  SEMI JOIN (FROM sqlbatch_parsed_results WHERE NOT unreadable) j ON j.custom_id = m.custom_id
), lines AS (
  SELECT count(*) AS lines, count(*) FILTER (status = 403) AS forbidden FROM sqlbatch_parsed_results
)
SELECT 1 FROM ours, found, lines
WHERE ours.batches = len($batches::UUID[]) AND found.requests = ours.requests AND lines.lines = ours.requests AND lines.forbidden = 0
  AND NOT EXISTS (FROM sqlbatch.results WHERE source = 'load' AND list_contains($batches::UUID[], batch_id));

-- claim_all: claim some batches, so that their results are loaded only once
UPDATE sqlbatch.batches SET state = 'loaded', loaded_at = $now::TIMESTAMP
WHERE list_contains($batches::UUID[], batch_id) AND state = 'ended'
RETURNING batch_id;

-- all_results: one result for each request of some batches that have exactly one line each
SELECT j.* EXCLUDE (status, good, unreadable, asked_at, mark, cut, confidence), m.batch_id, 'batch' AS source, b.planned_at AS asked_at,
  CASE WHEN j.cut THEN s.cap END AS cap,
  coalesce(j.confidence, CASE WHEN s.logprobs THEN map([]::VARCHAR[], []::DOUBLE[]) END) AS confidence
FROM sqlbatch_parsed_results j
JOIN (SELECT batch_id, custom_id FROM sqlbatch.batch_requests WHERE list_contains($batches::UUID[], batch_id)) m
  ON m.custom_id = j.custom_id
JOIN sqlbatch.batches b ON b.batch_id = m.batch_id
LEFT JOIN sqlbatch.sent_calls s ON s.job_id = b.sent_as AND s.call_id = b.call_id;

-- chosen: the line that counts for each request: the first that answers it, or else the first that can be read, or else
-- the first
CREATE OR REPLACE TEMP TABLE sqlbatch_chosen_lines AS
SELECT custom_id, coalesce(min(rowid) FILTER (outcome = 'answered'), min(rowid) FILTER (NOT unreadable), min(rowid)) AS place,
  bool_or(NOT unreadable) AS readable
FROM sqlbatch_parsed_results WHERE custom_id IS NOT NULL GROUP BY custom_id;

-- evidence: requests of a batch with a readable line; lines that belong to none of its requests or are one too many;
-- lines that cannot be read or belong to none of its requests, with the beginning of the first of them
-- A line that cannot be read does not count if another line of the same request can.
WITH ours AS MATERIALIZED (SELECT custom_id FROM sqlbatch.batch_requests WHERE batch_id = $batch_id::UUID),
known AS (SELECT count(*) AS lines, count(*) FILTER (c.readable) AS readable FROM sqlbatch_chosen_lines c SEMI JOIN ours ON ours.custom_id = c.custom_id),
strange AS (
  SELECT j.rowid AS place, coalesce(j.raw, concat('custom_id ', j.custom_id)) AS text
  FROM sqlbatch_parsed_results j
  ANTI JOIN (SELECT c.custom_id FROM sqlbatch_chosen_lines c SEMI JOIN ours ON ours.custom_id = c.custom_id WHERE c.readable) r
    ON r.custom_id = j.custom_id
)
SELECT known.readable, (SELECT count(*) FROM sqlbatch_parsed_results) - known.lines, (SELECT count(*) FROM strange),
  (SELECT arg_min(left(text, 1000), place) FROM strange)
FROM known;

-- awaiting: the requests of a batch without a result from it; those loaded by hand have one
SELECT custom_id FROM sqlbatch.batch_requests WHERE batch_id = $batch_id::UUID
  AND custom_id NOT IN (SELECT custom_id FROM sqlbatch.results WHERE batch_id = $batch_id::UUID AND source = 'load');

-- of_batch: one result for each request of a batch, from its line, or the given one for those without a line
SELECT j.* EXCLUDE (custom_id, outcome, code, message, status, good, unreadable, asked_at, mark, cut, confidence), m.custom_id,
  $batch_id::UUID AS batch_id, 'batch' AS source, coalesce(j.outcome, $outcome) AS outcome,
  CASE WHEN j.custom_id IS NULL THEN $code ELSE j.code END AS code,
  CASE WHEN j.custom_id IS NULL THEN $message ELSE j.message END AS message,
  CASE WHEN j.cut THEN s.cap END AS cap,
  coalesce(j.confidence, CASE WHEN s.logprobs THEN map([]::VARCHAR[], []::DOUBLE[]) END) AS confidence,
  $asked_at::TIMESTAMP AS asked_at
FROM ({results.awaiting}) m
LEFT JOIN (
  SELECT s.cap, s.logprobs FROM sqlbatch.batches b JOIN sqlbatch.sent_calls s ON s.job_id = b.sent_as AND s.call_id = b.call_id
  WHERE b.batch_id = $batch_id::UUID) s ON true
LEFT JOIN (SELECT j.* FROM sqlbatch_parsed_results j SEMI JOIN sqlbatch_chosen_lines c ON c.place = j.rowid) j ON j.custom_id = m.custom_id;

-- strangers: store the lines that belong to no request of the batch, and second answers that differ, from a second
-- reading
-- A line is found again by its hash: neither its place in the files nor its id is unique.
INSERT INTO sqlbatch.quarantine (batch_id, reason, raw, received_at)
WITH ours AS MATERIALIZED (
  SELECT custom_id FROM sqlbatch.batch_requests WHERE batch_id = $batch_id::UUID
), spare AS MATERIALIZED (
  SELECT j.mark, CASE WHEN j.custom_id IS NULL THEN 'no custom_id of ours' ELSE 'not in this batch' END AS reason
  FROM sqlbatch_parsed_results j ANTI JOIN ours ON ours.custom_id = j.custom_id
  UNION ALL
  SELECT other.mark, 'a second, different result'
  FROM sqlbatch_chosen_lines c
  JOIN sqlbatch_parsed_results other ON other.custom_id = c.custom_id AND other.rowid <> c.place
  JOIN sqlbatch_parsed_results used ON used.rowid = c.place
  SEMI JOIN ours ON ours.custom_id = c.custom_id
  WHERE (used.status, used.code, used.message, used.content, used.vector)
    IS DISTINCT FROM (other.status, other.code, other.message, other.content, other.vector)
), lines AS (
  SELECT hash(line) AS mark, any_value(line) AS line
  FROM ({lines})
  WHERE hash(line) IN (SELECT mark FROM spare)
  GROUP BY ALL
)
SELECT $batch_id::UUID, s.reason, l.line, $now::TIMESTAMP
FROM spare s JOIN lines l ON l.mark = s.mark;

-- same_for_all: the same result for each request of a batch without files
SELECT m.custom_id, $batch_id::UUID AS batch_id, 'batch' AS source, $outcome AS outcome, $code AS code, $message AS message,
  $asked_at::TIMESTAMP AS asked_at
FROM ({results.awaiting}) m;

-- line_errors: requests of a failed batch with an error on their line failed, the others are released
-- If no request is named, the cause may be in any of them, so the attempt counts.
WITH lines AS (
  SELECT row_number() OVER () AS number, TRY_CAST(line->>'$.custom_id' AS UUID) AS custom_id
  FROM ({lines})
), named AS (
  SELECT l.custom_id, any_value(e.code) AS code, any_value(e.message) AS message
  FROM lines l JOIN (
    SELECT unnest($lines::BIGINT[]) AS line, unnest($codes::VARCHAR[]) AS code, unnest($messages::VARCHAR[]) AS message
  ) e ON e.line = l.number
  WHERE l.custom_id IS NOT NULL
  GROUP BY l.custom_id
)
SELECT m.custom_id, $batch_id::UUID AS batch_id, 'batch' AS source,
  CASE WHEN n.custom_id IS NOT NULL THEN 'failed' WHEN EXISTS (FROM named) THEN 'released' ELSE 'retryable' END AS outcome,
  coalesce(n.code, 'batch_failed') AS code, coalesce(n.message, 'another line of its file was refused') AS message,
  $asked_at::TIMESTAMP AS asked_at
FROM ({results.awaiting}) m LEFT JOIN named n ON n.custom_id = m.custom_id;

-- counts: results of a batch by outcome, and quarantined lines
SELECT count(*) FILTER (outcome = 'answered'), count(*) FILTER (outcome = 'failed'), count(*) FILTER (outcome = 'retryable'),
  count(*) FILTER (outcome = 'released'), (SELECT count(*) FROM sqlbatch.quarantine WHERE batch_id = $batch_id::UUID),
  count(*) FILTER (code = 'unreadable_results'),
  any_value(coalesce(message, code)) FILTER (outcome = 'released'), any_value(code) FILTER (outcome = 'released'),
  count(*) FILTER (outcome = 'answered' AND cardinality(confidence) = 0)
FROM sqlbatch.results WHERE batch_id = $batch_id::UUID;

-- looked: the result files of a batch could not be used; note what the provider says about them now
UPDATE sqlbatch.batches SET looks = coalesce(looks, 0) + 1, output_file_id = $output_file_id, error_file_id = $error_file_id,
  completed = $completed
WHERE batch_id = $batch_id::UUID AND state = 'ended';

-- block: the open jobs that want a batch's unreadable results wait for their user
UPDATE sqlbatch.jobs SET blocked = $reason, blocked_code = $code, paused_until = TIMESTAMP '9999-12-31'
WHERE finished_at IS NULL AND cancelled_at IS NULL AND job_id IN (
  SELECT w.job_id FROM sqlbatch.wanted w
  JOIN sqlbatch.results r ON r.custom_id = w.custom_id AND r.batch_id = $batch_id::UUID AND r.code = $code);

-- unjudged: one row if a job's first results may be there and are not judged yet
SELECT 1 FROM sqlbatch.jobs WHERE job_id = $job_id AND failing IS NULL AND requests * max_attempts >= $first;

-- tried: results of a job since it started, and how many of them could be used
SELECT count(*), count(*) FILTER (r.outcome = 'answered')
FROM sqlbatch.results r
WHERE r.source = 'batch' AND r.outcome <> 'released' AND r.code IS DISTINCT FROM 'unreadable_results'
  AND r.asked_at >= (SELECT created_at FROM sqlbatch.jobs WHERE job_id = $job_id)
  AND r.custom_id IN (SELECT custom_id FROM sqlbatch.wanted WHERE job_id = $job_id);

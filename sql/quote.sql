-- Which of the compiled requests are settled, and which are to be sent.

-- final: the compiled requests that have a final result, as the call sends them
-- An answer that was cut at a smaller token limit than $cap (NULL: none) may be complete with the larger one. An answer
-- without log probabilities does not count if the call requests them; a refusal of them does not count if the call does
-- not.
SELECT r.custom_id, CASE WHEN bool_or(r.outcome = 'answered') THEN 'answered' ELSE 'failed' END AS state
FROM sqlbatch.results r SEMI JOIN {scratch}.main.requests q ON q.custom_id = r.custom_id
WHERE r.outcome IN ('answered', 'failed') AND r.source <> 'unsent' AND (r.cap IS NULL OR r.cap >= $cap::BIGINT)
  AND ($logprobs::BOOLEAN OR NOT coalesce({refused}, false))
GROUP BY r.custom_id
HAVING NOT ($logprobs::BOOLEAN AND coalesce(arg_max(r.confidence IS NULL, r.rowid) FILTER (r.outcome = 'answered'), false));

-- known: the requests that are settled or in flight in this database
CREATE TABLE {scratch}.main.known AS
WITH found AS (
  {quote.final}
)
FROM found
UNION ALL
SELECT DISTINCT custom_id, 'in_flight' AS state
FROM sqlbatch.in_flight SEMI JOIN {scratch}.main.requests USING (custom_id)
WHERE custom_id NOT IN (SELECT custom_id FROM found);

-- unknown: no request is settled: a new database, or --fresh
CREATE TABLE {scratch}.main.known (custom_id UUID, state VARCHAR);

-- asked_again: how many of the requests to send were answered before
SELECT count(*) FROM {scratch}.main.to_send WHERE custom_id IN (SELECT custom_id FROM sqlbatch.results WHERE outcome = 'answered');

-- to_send: the requests to send
CREATE TABLE {scratch}.main.to_send AS
SELECT sqlbatch_row AS seq, custom_id, bytes, tokens
FROM {scratch}.main.requests ANTI JOIN {scratch}.main.known USING (custom_id);

-- paid: the answers that count for a job, and that another call would not reuse
SELECT count(DISTINCT w.custom_id) FROM sqlbatch.wanted w
JOIN sqlbatch.results r ON r.custom_id = w.custom_id AND r.outcome = 'answered'
WHERE w.job_id = $job_id;

-- counts: answered, failed before, in flight, to send, and the bytes and estimated tokens of those to send
SELECT
  (SELECT count(*) FROM {scratch}.main.known WHERE state = 'answered'),
  (SELECT count(*) FROM {scratch}.main.known WHERE state = 'failed'),
  (SELECT count(*) FROM {scratch}.main.known WHERE state = 'in_flight'),
  count(*), coalesce(sum(bytes), 0)::BIGINT, coalesce(sum(tokens), 0)::BIGINT
FROM {scratch}.main.to_send;

-- measured: the tokens recently billed for a model's results, against those estimated from bytes: for this call, and
-- for any
-- The newest batches are enough, and so many of their results, so the quote of a large database takes no longer.
WITH batches AS (
  SELECT batch_id FROM sqlbatch.batches
  WHERE base_url = $base_url AND model = $model AND state = 'loaded'
  ORDER BY call_id = $call_id::UUID DESC, loaded_at DESC LIMIT 10
), told AS (
  SELECT custom_id, tokens_in, coalesce(tokens_out, 0) AS tokens_out
  FROM sqlbatch.results
  WHERE tokens_in > 0 AND (batch_id IS NULL OR batch_id IN (FROM batches))
  LIMIT 50000
), billed AS (
  SELECT q.call_id = $call_id::UUID AS same, q.tokens::DOUBLE AS estimated, t.tokens_in::DOUBLE AS billed, t.tokens_out
  FROM told t JOIN sqlbatch.requests q ON q.custom_id = t.custom_id JOIN sqlbatch.calls c ON c.call_id = q.call_id
  WHERE c.base_url = $base_url AND c.model = $model
), fitted AS (
  SELECT same, count(*) AS known, sum(billed) / sum(estimated) AS ratio,
    regr_slope(billed, estimated) AS slope, regr_intercept(billed, estimated) AS intercept,
    avg(tokens_out) AS output, avg(estimated) AS estimated,
    CASE WHEN regr_r2(tokens_out, estimated) > 0.5 THEN regr_slope(tokens_out, estimated) ELSE 0 END AS output_slope
  FROM billed GROUP BY same
)
SELECT f.same, f.known, f.ratio, f.slope, f.intercept, f.output, f.estimated, f.output_slope,
  (SELECT max(b.billed / (f.ratio * b.estimated)) FROM billed b WHERE b.same = f.same) AS worst
FROM fitted f ORDER BY f.same DESC;

-- weighed: the input tokens to send, as estimated and at most; for each, the dollars of all input, and of one output
-- token of each request, at the rates for prompts of more than $above tokens
WITH sized AS (
  SELECT greatest(1, $intercept::DOUBLE + $slope::DOUBLE * tokens) AS likely,
    ceil($margin::DOUBLE * greatest(1, $intercept::DOUBLE + $slope::DOUBLE * tokens)) AS most
  FROM {source}
), stepped AS (
  SELECT likely, most, greatest(1, len(list_filter($above::BIGINT[], lambda x: x < likely))) AS step,
    greatest(1, len(list_filter($above::BIGINT[], lambda x: x < most))) AS most_step
  FROM sized
)
SELECT count(*), coalesce(sum(likely), 0)::BIGINT, coalesce(sum(likely * ($inputs::DOUBLE[])[step]), 0) / 1e6,
  coalesce(sum(($outputs::DOUBLE[])[step]), 0) / 1e6, coalesce(sum(most), 0)::BIGINT,
  coalesce(sum(most * ($dearest::DOUBLE[])[most_step]), 0) / 1e6, coalesce(sum(($outputs::DOUBLE[])[most_step]), 0) / 1e6
FROM stepped;

-- took: how many of the newest batches of a model were timed, and their median time in seconds
SELECT count(*), median(seconds)
FROM (
  SELECT date_diff('second', opened_at, ended_at) AS seconds FROM sqlbatch.batches
  WHERE base_url = $base_url AND model = $model AND state = 'loaded' AND status = 'completed' AND provider_id IS NOT NULL
    AND ended_at >= opened_at
  ORDER BY ended_at DESC LIMIT 20
);

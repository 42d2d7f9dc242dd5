-- Result files that the user downloaded: each line is assigned to the batch that carried its request, once.

-- calls: the calls of a job
SELECT DISTINCT c.call_id::VARCHAR, c.endpoint, c.returns
FROM sqlbatch.wanted w
JOIN sqlbatch.requests r ON r.custom_id = w.custom_id
JOIN sqlbatch.calls c ON c.call_id = r.call_id
WHERE w.job_id = $job_id ORDER BY ALL;

-- theirs: the chosen lines that are results of a job's requests of one call
CREATE OR REPLACE TEMP TABLE sqlbatch_theirs AS
SELECT j.* EXCLUDE (asked_at), j.rowid AS place, w.not_before
FROM sqlbatch_parsed_results j
SEMI JOIN sqlbatch_chosen_lines c ON c.place = j.rowid
JOIN sqlbatch.wanted w ON w.custom_id = j.custom_id AND w.job_id = $job_id
SEMI JOIN (FROM sqlbatch.requests WHERE call_id = $call_id::UUID) r ON r.custom_id = j.custom_id
WHERE NOT j.unreadable;

-- new: those that are not stored yet, with the newest batch that carried the request and may have produced the result
-- That is a batch that is still to be loaded, or one in whose files the result was not found.
CREATE OR REPLACE TEMP TABLE sqlbatch_new AS
WITH unknown AS (
  SELECT t.* FROM sqlbatch_theirs t
  ANTI JOIN sqlbatch.results r ON r.custom_id = t.custom_id AND r.outcome = t.outcome AND r.code IS NOT DISTINCT FROM t.code
    AND r.content IS NOT DISTINCT FROM t.content AND r.tokens_in IS NOT DISTINCT FROM t.tokens_in
    AND r.tokens_out IS NOT DISTINCT FROM t.tokens_out AND r.vector IS NOT DISTINCT FROM t.vector
), carried AS (
  SELECT u.custom_id, b.batch_id, b.planned_at,
    b.state IN ('creating', 'open', 'ended', 'fenced') AND r.custom_id IS NULL
      OR coalesce(r.code IN ('missing', 'results_expired', 'unreadable_results'), false) AS takes
  FROM unknown u
  JOIN sqlbatch.batch_requests m ON m.custom_id = u.custom_id
  JOIN sqlbatch.batches b ON b.batch_id = m.batch_id AND b.state IN ('creating', 'open', 'ended', 'fenced', 'loaded')
  LEFT JOIN sqlbatch.results r ON r.batch_id = b.batch_id AND r.custom_id = u.custom_id
), chosen AS (
  SELECT custom_id, arg_max(batch_id, planned_at) FILTER (takes) AS batch_id, arg_max(planned_at, planned_at) FILTER (takes) AS planned_at
  FROM carried GROUP BY custom_id
)
SELECT u.*, c.batch_id, c.planned_at, c.custom_id IS NOT NULL AND c.batch_id IS NULL AS second
FROM unknown u LEFT JOIN chosen c ON c.custom_id = u.custom_id;

-- touch: conflict with any process that loads one of these batches at the same time, so that one of the two starts over
UPDATE sqlbatch.batches SET status = status WHERE batch_id IN (SELECT batch_id FROM sqlbatch_new);

-- forget: delete the placeholder of a result that could not be found
DELETE FROM sqlbatch.results
WHERE code IN ('missing', 'results_expired', 'unreadable_results') AND EXISTS (
  FROM sqlbatch_new n WHERE n.batch_id = results.batch_id AND n.custom_id = results.custom_id);

-- results: the results in the lines; a result that the user hands in counts for the job, whenever its request was sent
SELECT n.* EXCLUDE (status, good, unreadable, mark, cut, place, not_before, planned_at, second, confidence), 'load' AS source,
  coalesce(n.confidence, CASE WHEN s.logprobs THEN map([]::VARCHAR[], []::DOUBLE[]) END) AS confidence,
  greatest(coalesce(n.planned_at, $asked_at::TIMESTAMP), n.not_before) AS asked_at,
  CASE WHEN n.cut THEN s.cap END AS cap
FROM sqlbatch_new n
LEFT JOIN sqlbatch.batches b ON b.batch_id = n.batch_id
LEFT JOIN sqlbatch.sent_calls s ON s.job_id = b.sent_as AND s.call_id = b.call_id
WHERE NOT n.second;

-- whole: batches that now have a result for each request need no loading
UPDATE sqlbatch.batches SET state = 'loaded', loaded_at = $now::TIMESTAMP, ended_at = coalesce(ended_at, $now::TIMESTAMP),
  lease_owner = NULL, lease_until = NULL
WHERE state IN ('creating', 'open', 'ended', 'fenced') AND batch_id IN (SELECT batch_id FROM sqlbatch_new)
  AND requests = (SELECT count(*) FROM sqlbatch.results r WHERE r.batch_id = batches.batch_id)
RETURNING batch_id;

-- unsent: batches that were never sent but carry a request with a result are given up; their other requests are due
-- again
UPDATE sqlbatch.batches SET state = 'abandoned', abandoned_at = $now::TIMESTAMP, lease_owner = NULL, lease_until = NULL,
  error_code = 'handed_in', error = 'some of its results were loaded from a file'
WHERE state IN ('planned', 'uploading') AND (lease_until IS NULL OR lease_until <= $now::TIMESTAMP)
  AND batch_id IN (SELECT m.batch_id FROM sqlbatch.batch_requests m JOIN sqlbatch_new n ON n.custom_id = m.custom_id)
RETURNING batch_id;

-- absent: requests that could not be read before, and are not in the file that replaces their batch's, were not
-- answered
UPDATE sqlbatch.results SET outcome = 'retryable', code = 'missing', message = 'not in the file that was loaded for its batch'
WHERE code = 'unreadable_results' AND batch_id IN (
  SELECT m.batch_id FROM sqlbatch.batch_requests m JOIN sqlbatch_theirs t ON t.custom_id = m.custom_id)
RETURNING custom_id;

-- unreadable: batches with an unreadable result
SELECT DISTINCT batch_id::VARCHAR FROM sqlbatch.results WHERE code = 'unreadable_results';

-- counts: results by outcome, for a call's lines
SELECT count(*) FILTER (NOT second AND outcome = 'answered'), count(*) FILTER (NOT second AND outcome = 'failed'),
  count(*) FILTER (NOT second AND outcome IN ('retryable', 'released')),
  (SELECT count(*) FROM sqlbatch_theirs) - count(*)
FROM sqlbatch_new;

-- strange: lines that are no result of any request in this database, and second, different results of a request
CREATE OR REPLACE TEMP TABLE sqlbatch_strange AS
SELECT j.mark, CASE WHEN NOT j.unreadable THEN 'no custom_id of ours' WHEN json_valid(j.raw) THEN 'no result' ELSE 'not JSON' END AS reason
FROM sqlbatch_parsed_results j
WHERE j.unreadable OR NOT EXISTS (FROM sqlbatch.wanted w WHERE w.custom_id = j.custom_id)
UNION ALL
SELECT mark, 'a second, different result' FROM sqlbatch_new WHERE second;

-- put_aside: store such lines, each once, from a second reading
INSERT INTO sqlbatch.quarantine (batch_id, reason, raw, received_at)
WITH lines AS (
  SELECT hash(line) AS mark, any_value(line) AS line
  FROM ({lines})
  WHERE hash(line) IN (SELECT mark FROM sqlbatch_strange)
  GROUP BY ALL
), strange AS (
  SELECT l.line, any_value(s.reason) AS reason
  FROM sqlbatch_strange s JOIN lines l ON l.mark = s.mark
  GROUP BY l.line
)
SELECT NULL, s.reason, s.line, $now::TIMESTAMP
FROM strange s ANTI JOIN sqlbatch.quarantine q ON q.raw = s.line;

-- told: how many lines there are, how many are strange, how many are no results, and how many are the job's
SELECT (SELECT count(*) FROM sqlbatch_parsed_results), count(*), count(*) FILTER (reason IN ('no result', 'not JSON')),
  (SELECT count(*) FROM sqlbatch_theirs)
FROM sqlbatch_strange;

-- elsewhere: lines that are results of other jobs' requests, and one of those jobs
SELECT count(*), max(o.job_id)
FROM sqlbatch_parsed_results j
JOIN (SELECT custom_id, max(job_id) AS job_id FROM sqlbatch.wanted GROUP BY custom_id) o ON o.custom_id = j.custom_id
ANTI JOIN (FROM sqlbatch.wanted WHERE job_id = $job_id) w ON w.custom_id = j.custom_id
WHERE NOT j.unreadable;

-- Stored answers, checked again by the current rules, without asking or paying.

-- kept: the results of a job that do not count as answers, and whose line was kept
CREATE OR REPLACE TEMP TABLE sqlbatch_refused AS
SELECT r.custom_id, r.outcome, r.code, r.asked_at, r.raw, r.confidence
FROM sqlbatch.decided d JOIN sqlbatch.results r ON r.rowid = d.place
WHERE d.job_id = $job_id AND r.outcome IN ('failed', 'retryable') AND r.source <> 'preview' AND r.raw IS NOT NULL;

-- lines: write them as a result file, which is then read like any other
COPY (SELECT raw FROM sqlbatch_refused) TO {file}
  (FORMAT CSV, HEADER false, QUOTE '', ESCAPE '', DELIMITER E'\x01', COMPRESSION none);

-- results: add the results that are different now; their cost is counted with the first result, not again
-- A result that would now be temporary stays final, because only the user may decide to send, and pay, again.
SELECT k.custom_id, 'judged' AS source, j.outcome, j.code, j.message,
  CASE WHEN j.outcome = 'answered' THEN {kept} ELSE j.content END AS content,
  j.finish_reason, j.model, j.tier, k.asked_at, j.raw, j.vector, coalesce(j.confidence, k.confidence) AS confidence
FROM sqlbatch_refused k JOIN sqlbatch_parsed_results j ON j.custom_id = k.custom_id
WHERE j.outcome = 'answered' OR (j.outcome = 'failed' AND (k.outcome <> 'failed' OR k.code IS DISTINCT FROM j.code));

-- counts: how many results were checked again, and how many of them count as answers now
SELECT (SELECT count(*) FROM sqlbatch_refused), count(*)
FROM sqlbatch_parsed_results j SEMI JOIN sqlbatch_refused k ON k.custom_id = j.custom_id
WHERE j.outcome = 'answered';

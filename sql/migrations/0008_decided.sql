-- What decides a request is found by its place alone, so that a target is written part by part in little memory.

-- Where the one result is (its rowid) that decides a request of a job: an answer before a failure, a final failure before
-- a passing one, then the newest, for results are appended; and whether the request is settled by it. Rank and place are
-- one number, which is compared in half the time, and kept in a third of the memory, of a struct.
CREATE VIEW decided AS
SELECT w.job_id, w.custom_id,
  max((CASE r.outcome WHEN 'answered' THEN 3 WHEN 'failed' THEN 2 WHEN 'retryable' THEN 1 ELSE 0 END)::BIGINT << 56 | r.rowid)
    & ((1::BIGINT << 56) - 1) AS place,
  bool_or(r.outcome IN ('answered', 'failed'))
    OR count(*) FILTER (r.outcome = 'retryable' AND r.asked_at >= j.created_at) >= any_value(j.max_attempts) AS settled
FROM wanted w JOIN results r ON r.custom_id = w.custom_id JOIN jobs j ON j.job_id = w.job_id
WHERE w.not_before IS NULL OR r.asked_at >= w.not_before
GROUP BY w.job_id, w.custom_id;

-- What decides each request of a job: an answer, or why there is none.
CREATE OR REPLACE VIEW responses AS
SELECT d.job_id, d.custom_id, d.settled, r.outcome, r.code, r.message, r.content, r.model, r.vector
FROM decided d JOIN results r ON r.rowid = d.place;

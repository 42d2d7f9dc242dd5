-- What was counted of a job is kept, and what is due is found without grouping over all results.

-- What was counted of a job's requests, and the state of all that it was counted from: while that is the same, so are the
-- counts, and nothing need be counted anew. Those of a job that is done stay as they were when it ended.
CREATE TABLE tallies (
  job_id    INTEGER NOT NULL,
  state     VARCHAR NOT NULL,      -- done, or a hash of the state
  answered  BIGINT NOT NULL,
  failed    BIGINT NOT NULL,
  unsettled BIGINT NOT NULL,
  due       BIGINT NOT NULL
);

-- Requests of a job that have no answer that counts for it.
CREATE VIEW unanswered AS
SELECT w.job_id, w.custom_id
FROM (FROM wanted WHERE not_before IS NULL) w
ANTI JOIN (FROM results WHERE outcome = 'answered') r ON r.custom_id = w.custom_id
UNION ALL
SELECT w.job_id, w.custom_id
FROM (FROM wanted WHERE not_before IS NOT NULL) w
WHERE NOT EXISTS (
  FROM results r WHERE r.custom_id = w.custom_id AND r.outcome = 'answered' AND r.asked_at >= w.not_before);

-- Requests of a job that are settled without an answer, unless one of another time counts: failed for good, or tried often enough.
CREATE VIEW given_up AS
SELECT c.job_id, c.custom_id
FROM counted c JOIN jobs j USING (job_id)
WHERE c.outcome <> 'answered'
GROUP BY c.job_id, c.custom_id, j.max_attempts
HAVING bool_or(c.outcome = 'failed')
    OR count(*) FILTER (c.outcome = 'retryable' AND c.asked_at >= j.created_at) >= j.max_attempts;

-- Requests of a job that are not settled: what is answered is taken out first, for it is most, and needs no grouping.
CREATE VIEW unsettled AS
SELECT u.job_id, u.custom_id
FROM unanswered u ANTI JOIN given_up g ON g.job_id = u.job_id AND g.custom_id = u.custom_id;

-- Requests that open jobs want, that are not settled, and that nobody has in flight.
CREATE OR REPLACE VIEW due AS
SELECT u.job_id, u.custom_id
FROM (SELECT u.* FROM unsettled u JOIN job_status j USING (job_id) WHERE j.status IN ('running', 'blocked')) u
ANTI JOIN in_flight f ON f.custom_id = u.custom_id;

-- Limits of tokens and other parameters that change nothing of a finished answer are no part of a request's identity: what a
-- job really sends is kept beside the call, and a result that was cut says at which limit.

CREATE TABLE sent_calls (
  job_id INTEGER NOT NULL,
  call_id UUID NOT NULL,
  head    VARCHAR,                 -- NULL: as in calls
  tail    VARCHAR,                 -- NULL: as in calls
  extra   BIGINT NOT NULL,         -- bytes that a request's line has more than with the call's own head and tail
  cap     BIGINT                   -- the most tokens that an answer may have; NULL: not limited
);

ALTER TABLE batches ADD COLUMN sent_as INTEGER;
ALTER TABLE results ADD COLUMN cap BIGINT;
CREATE OR REPLACE VIEW counted AS
SELECT w.job_id, r.*
FROM wanted w JOIN results r USING (custom_id)
WHERE w.not_before IS NULL OR r.asked_at >= w.not_before;

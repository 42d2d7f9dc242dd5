-- What of the compiled requests is known already, and what is to be sent.

-- known: the requests that are settled or in flight in this database
CREATE TABLE {scratch}.main.known AS
WITH found AS (
  SELECT custom_id, CASE WHEN bool_or(outcome = 'answered') THEN 'answered' ELSE 'failed' END AS state
  FROM sqlbatch.results SEMI JOIN {scratch}.main.requests USING (custom_id)
  WHERE outcome IN ('answered', 'failed') AND source <> 'unsent'
  GROUP BY custom_id
)
FROM found
UNION ALL
SELECT DISTINCT custom_id, 'in_flight' AS state
FROM sqlbatch.in_flight SEMI JOIN {scratch}.main.requests USING (custom_id)
WHERE custom_id NOT IN (SELECT custom_id FROM found);

-- unknown: nothing is known: a new database, or --fresh
CREATE TABLE {scratch}.main.known (custom_id UUID, state VARCHAR);

-- to_send: the requests that would be sent
CREATE TABLE {scratch}.main.to_send AS
SELECT sqlbatch_row AS seq, custom_id, bytes, tokens
FROM {scratch}.main.requests ANTI JOIN {scratch}.main.known USING (custom_id);

-- counts: answered, failed before, in flight, to send, and the bytes and estimated tokens of what is to send
SELECT
  (SELECT count(*) FROM {scratch}.main.known WHERE state = 'answered'),
  (SELECT count(*) FROM {scratch}.main.known WHERE state = 'failed'),
  (SELECT count(*) FROM {scratch}.main.known WHERE state = 'in_flight'),
  count(*), coalesce(sum(bytes), 0)::BIGINT, coalesce(sum(tokens), 0)::BIGINT
FROM {scratch}.main.to_send;

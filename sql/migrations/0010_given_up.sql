-- A batch may be given up after a part of its results was loaded by hand.
DROP VIEW audit;

-- Nothing is missing: every batch's requests are answered, failed, released or open. balanced is false for what is not so.
CREATE VIEW audit AS
SELECT *, listed = sent AND strangers = 0 AND repeated = 0 AND sent = answered + failed + released + open AS balanced
FROM (
  SELECT b.batch_id, b.state, b.requests AS sent, coalesce(m.listed, 0) AS listed,
    coalesce(r.answered, 0) AS answered, coalesce(r.failed, 0) AS failed,
    -- What was given up after a part of it was loaded by hand: the rest counts as released.
    CASE WHEN b.state = 'abandoned' THEN b.requests - coalesce(r.results, 0) + coalesce(r.released, 0)
      ELSE coalesce(r.released, 0) END AS released,
    CASE WHEN b.state IN ('loaded', 'abandoned') THEN 0 ELSE b.requests - coalesce(r.results, 0) END AS open,
    coalesce(r.strangers, 0) AS strangers, coalesce(r.results - r.ids, 0) AS repeated
  FROM batches b
  LEFT JOIN (SELECT batch_id, count(*) AS listed FROM batch_requests GROUP BY batch_id) m USING (batch_id)
  LEFT JOIN (
    SELECT x.batch_id, count(*) AS results, count(DISTINCT x.custom_id) AS ids,
      count(*) FILTER (x.outcome = 'answered') AS answered,
      count(*) FILTER (x.outcome IN ('failed', 'retryable')) AS failed,
      count(*) FILTER (x.outcome = 'released') AS released,
      count(*) FILTER (y.custom_id IS NULL) AS strangers
    FROM results x LEFT JOIN batch_requests y ON y.batch_id = x.batch_id AND y.custom_id = x.custom_id
    WHERE x.batch_id IS NOT NULL
    GROUP BY x.batch_id
  ) r USING (batch_id)
);

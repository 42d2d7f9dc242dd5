-- The rows of a preview with their answers, before there is a job.

-- rows: each row's request and its result (one from this preview first), and row and answer as JSON
WITH best AS (
  SELECT custom_id, max({
    now: CASE WHEN source = 'preview' AND list_contains($asked::UUID[], custom_id) THEN rowid ELSE -1 END,
    rank: CASE outcome WHEN 'answered' THEN 1 ELSE 0 END,
    row: rowid}) AS best
  FROM sqlbatch.results SEMI JOIN {scratch}.main.requests USING (custom_id)
  WHERE outcome IN ('answered', 'failed')
  GROUP BY custom_id
), sqlbatch_answers AS (
  SELECT b.custom_id, r.outcome, r.code, r.message, r.model,
    CASE WHEN r.outcome = 'answered' THEN r.content END AS content,
    CASE WHEN r.outcome = 'answered' THEN r.vector END AS vector,
    CASE WHEN r.outcome = 'answered' THEN r.confidence END AS confidence
  FROM best b JOIN sqlbatch.results r ON r.rowid = b.best.row
)
SELECT sqlbatch_rows.sqlbatch_row, sqlbatch_asks.custom_id::VARCHAR, sqlbatch_asks.skipped,
  sqlbatch_asks.custom_id IN (SELECT custom_id FROM sqlbatch.in_flight),
  sqlbatch_answer.outcome, sqlbatch_answer.code, sqlbatch_answer.message,
  to_json(struct_pack({shown}))::VARCHAR,
  CASE WHEN sqlbatch_answer.outcome = 'answered' THEN to_json(struct_pack({answer}))::VARCHAR END
FROM {scratch}.main.rows sqlbatch_rows
JOIN {scratch}.main.asks sqlbatch_asks USING (sqlbatch_row)
LEFT JOIN sqlbatch_answers sqlbatch_answer ON sqlbatch_answer.custom_id = sqlbatch_asks.custom_id
ORDER BY sqlbatch_rows.sqlbatch_row;

-- to_send: the requests to send now: without those answered or sent since the quote, unless all are wanted
SELECT custom_id::VARCHAR FROM {scratch}.main.to_send
WHERE $fresh::BOOLEAN OR custom_id NOT IN (
  SELECT custom_id FROM ({quote.final})
  UNION ALL
  SELECT custom_id FROM sqlbatch.in_flight SEMI JOIN {scratch}.main.to_send USING (custom_id))
ORDER BY seq;

-- Reviews of answers, and the view of a target with their corrections.

-- any: one row if answers of a target were reviewed
SELECT 1 FROM sqlbatch.reviews WHERE lower(target) = lower($target) LIMIT 1;

-- define: the target with corrected values, NULL for rejected ones, and the verdict on each column
CREATE OR REPLACE VIEW {view} AS
SELECT {columns}, r.ai_review
FROM {target} t LEFT JOIN (
  SELECT custom_id, map_from_entries(list({'key': "column", 'value': verdict} ORDER BY "column")) AS ai_review, {newest}
  FROM {verdicts} GROUP BY custom_id
) r ON r.custom_id = t.custom_id;

-- describe: comment the view
COMMENT ON VIEW {view} IS {comment};

-- row: the first row of a target with an answer: its place, the value of a column and the query's columns, as JSON
SELECT rowid, coalesce(to_json({column}), 'null'::JSON)::VARCHAR, to_json({row})::VARCHAR
FROM {target} WHERE custom_id = $custom_id::UUID ORDER BY rowid LIMIT 1;

-- wrong: why a content does not have the requested shape, NULL if it does
SELECT {check} FROM (SELECT $content::VARCHAR AS content, NULL::FLOAT[] AS vector);

-- add: a review
INSERT INTO sqlbatch.reviews (custom_id, "column", verdict, "value", note, reviewer, reviewed_at, target, source_row)
VALUES ($custom_id::UUID, $column, $verdict, $value::JSON, $note, $reviewer, $now::TIMESTAMP, $target, $row::JSON);

-- sample: some requests of a target's rows, drawn by a seed, each with its first row and the verdict on a column
-- Strata are drawn in turn, as many as there are; if {sure} is not NULL, the smallest come first.
SELECT s.custom_id::VARCHAR, s.place, v.verdict, v.verdict = 'corrected' OR v."value"::VARCHAR = coalesce(s.shown::VARCHAR, 'null')
FROM (
  SELECT custom_id, min(rowid) AS place, to_json(min_by({column}, rowid)) AS shown, min_by({stratum}, rowid) AS stratum,
    min({sure}) AS sure
  FROM {target} WHERE custom_id IS NOT NULL AND {which} GROUP BY custom_id
) s LEFT JOIN sqlbatch.verdicts v ON v.custom_id = s.custom_id AND v."column" = $column
ORDER BY s.sure NULLS LAST, row_number() OVER (PARTITION BY s.stratum ORDER BY hash(s.custom_id, $seed::BIGINT)), hash(s.custom_id, $seed::BIGINT)
LIMIT $most;

-- verdict: the newest review of an answer, and whether it is about the current value
SELECT verdict, "value"::VARCHAR, note, reviewer, reviewed_at FROM sqlbatch.verdicts
WHERE custom_id = $custom_id::UUID AND "column" = $column;

-- earlier: the right value of a row that was given when its prompt was different
SELECT verdict, "value"::VARCHAR, reviewer, reviewed_at FROM sqlbatch.gold
WHERE lower(target) = lower($target) AND "column" = $column AND source_row::VARCHAR = $row AND custom_id <> $custom_id::UUID;

-- counts: how many of a target's current answers were reviewed, by column and verdict
SELECT v."column", v.verdict, count(*)
FROM sqlbatch.verdicts v SEMI JOIN {target} t ON t.custom_id = v.custom_id GROUP BY ALL ORDER BY ALL;

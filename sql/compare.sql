-- Compare two tables on the same rows: where they agree, and which is right.

-- columns: the columns of a table, with their types, in their order
SELECT column_name, data_type FROM duckdb_columns()
WHERE database_name = $catalog AND schema_name = $schema AND table_name = $name ORDER BY column_index;

-- has_reviews: one row if the database has reviews
SELECT 1 FROM duckdb_tables() WHERE database_name = $catalog AND schema_name = 'sqlbatch' AND table_name = 'reviews';

-- pairs: rows that two tables share by their keys, each with its values; rows with equal keys are matched in order
CREATE OR REPLACE TEMP TABLE sqlbatch_pairs AS
WITH a AS (
  SELECT {keys} AS sqlbatch_key, row_number() OVER (PARTITION BY {keys}) AS sqlbatch_place, {a_answered} AS sqlbatch_answered,
    {a_id} AS sqlbatch_id, struct_pack({a_values}) AS sqlbatch_values
  FROM {a}
), b AS (
  SELECT {keys} AS sqlbatch_key, row_number() OVER (PARTITION BY {keys}) AS sqlbatch_place, {b_answered} AS sqlbatch_answered,
    {b_id} AS sqlbatch_id, struct_pack({b_values}) AS sqlbatch_values
  FROM {b}
)
SELECT row_number() OVER (ORDER BY hash(coalesce(a.sqlbatch_key, b.sqlbatch_key), 'sqlbatch')) AS "row",
  to_json(coalesce(a.sqlbatch_key, b.sqlbatch_key))::VARCHAR AS key, coalesce(a.sqlbatch_key, b.sqlbatch_key) AS keys,
  a.sqlbatch_place IS NOT NULL AS in_a, b.sqlbatch_place IS NOT NULL AS in_b,
  a.sqlbatch_answered AND b.sqlbatch_answered AS answered, a.sqlbatch_id AS a_id, b.sqlbatch_id AS b_id,
  a.sqlbatch_values AS a, b.sqlbatch_values AS b
FROM a FULL JOIN b ON b.sqlbatch_key IS NOT DISTINCT FROM a.sqlbatch_key AND b.sqlbatch_place = a.sqlbatch_place;

-- counts: rows to compare, in one table only, and in both but not answered in both
SELECT count(*) FILTER (in_a AND in_b AND answered), count(*) FILTER (NOT in_b), count(*) FILTER (NOT in_a),
  count(*) FILTER (in_a AND in_b AND NOT answered)
FROM sqlbatch_pairs;

-- forget_values: the values of an earlier comparison of the same two tables
DELETE FROM sqlbatch.compared WHERE comparison_id IN (SELECT comparison_id FROM sqlbatch.comparisons WHERE a = $a AND b = $b);

-- forget_intervals: its intervals
DELETE FROM sqlbatch.kappa_intervals
WHERE comparison_id IN (SELECT comparison_id FROM sqlbatch.comparisons WHERE a = $a AND b = $b);

-- forget: delete it
DELETE FROM sqlbatch.comparisons WHERE a = $a AND b = $b;

-- add: add a comparison, and return its number
INSERT INTO sqlbatch.comparisons (a, b, gold, keys, "rows", only_a, only_b, unanswered, dollars_a, dollars_b, compared_at)
VALUES ($a, $b, $gold, $keys, $rows, $only_a, $only_b, $unanswered, $dollars_a::DOUBLE, $dollars_b::DOUBLE, $now::TIMESTAMP)
RETURNING comparison_id;

-- values: the values of one column, for the compared rows
INSERT INTO sqlbatch.compared (comparison_id, "row", "column", key, a, b, gold, a_right, b_right)
SELECT $comparison_id, p."row", $column, p.key, {a_text}, {b_text}, {gold_text}, {a_right}, {b_right}
FROM (FROM sqlbatch_pairs WHERE in_a AND in_b AND answered ORDER BY "row" LIMIT $rows) p {gold_join};

-- dollars: the cost of a table's answers per 1,000 rows; NULL if any price is unknown
SELECT CASE WHEN count(*) FILTER (c.dollars IS NULL) = 0 THEN 1000 * sum(c.dollars) / (SELECT count(*) FROM {table}) END
FROM sqlbatch.costs c WHERE c.custom_id IN (SELECT custom_id FROM {table});

-- intervals: the bootstrap intervals of kappa for the columns of a comparison that have at most 50 values
-- Rows are resampled by a hash of their place, so that the same rows give the same interval. With more rows than $most,
-- the cells of the confusion table are resampled: each by its count, plus or minus its square root.
INSERT INTO sqlbatch.kappa_intervals
WITH chosen AS (
  SELECT "column", "rows" FROM sqlbatch.agreement WHERE comparison_id = $comparison_id AND kappa IS NOT NULL
), numbered AS (
  SELECT c."column", a, b, row_number() OVER (PARTITION BY c."column" ORDER BY c."row") AS place, k."rows"
  FROM sqlbatch.compared c JOIN chosen k ON k."column" = c."column"
  WHERE c.comparison_id = $comparison_id AND k."rows" <= $most::BIGINT
), draws AS (
  SELECT k."column", s.sample, 1 + (hash(s.sample, i.i, 7) % k."rows")::BIGINT AS place
  FROM chosen k, range($resamples::BIGINT) s(sample), LATERAL (SELECT unnest(range(k."rows")) AS i) i
  WHERE k."rows" <= $most::BIGINT
), cells AS (
  SELECT d."column", d.sample, n.a, n.b, count(*)::DOUBLE AS weight
  FROM draws d JOIN numbered n ON n."column" = d."column" AND n.place = d.place GROUP BY ALL
  UNION ALL
  SELECT f."column", s.sample, f.a, f.b, greatest(0, f."rows" + sqrt(f."rows") * sqrt(-2 * ln((1 + hash(s.sample, f.a, f.b, 1) % 1000000) / 1000001))
    * cos(2 * pi() * (hash(s.sample, f.a, f.b, 2) % 1000000) / 1000000))
  FROM sqlbatch.confusion f JOIN chosen k ON k."column" = f."column", range($resamples::BIGINT) s(sample)
  WHERE f.comparison_id = $comparison_id AND k."rows" > $most::BIGINT
), totals AS (
  SELECT "column", sample, sum(weight) AS n, coalesce(sum(weight) FILTER (a IS NOT DISTINCT FROM b), 0) AS agreed FROM cells GROUP BY ALL
), sides AS (
  SELECT "column", sample, value, sum(of_a) AS of_a, sum(of_b) AS of_b
  FROM (SELECT "column", sample, a AS value, weight AS of_a, 0 AS of_b FROM cells
    UNION ALL SELECT "column", sample, b, 0, weight FROM cells)
  GROUP BY ALL
), chance AS (
  SELECT "column", sample, sum(of_a * of_b) AS by_chance FROM sides GROUP BY ALL
), kappas AS (
  SELECT t."column", (t.agreed / t.n - c.by_chance / (t.n * t.n)) / nullif(1 - c.by_chance / (t.n * t.n), 0) AS kappa
  FROM totals t JOIN chance c ON c."column" = t."column" AND c.sample = t.sample
)
SELECT $comparison_id, "column", quantile_cont(kappa, 0.025), quantile_cont(kappa, 0.975), count(*)
FROM kappas WHERE kappa IS NOT NULL GROUP BY "column";

-- one: a comparison
SELECT comparison_id, a, b, gold, keys, "rows", only_a, only_b, unanswered, dollars_a, dollars_b
FROM sqlbatch.comparisons WHERE comparison_id = $comparison_id;

-- list: all comparisons, newest first
SELECT comparison_id, a, b, gold, "rows", compared_at FROM sqlbatch.comparisons ORDER BY comparison_id DESC;

-- agreement: how the columns of a comparison agree, by name
SELECT "column", "rows", agreed, agreement, labels, kappa, kappa_low, kappa_high, judged_a, accuracy_a, judged_b, accuracy_b
FROM sqlbatch.agreement WHERE comparison_id = $comparison_id ORDER BY "column";

-- confusion: the confusion table of a comparison's columns that have at most so many values, the most frequent pairs
-- first
SELECT f."column", f.a, f.b, f."rows"
FROM sqlbatch.confusion f JOIN sqlbatch.agreement g ON g.comparison_id = f.comparison_id AND g."column" = f."column"
WHERE f.comparison_id = $comparison_id AND g.labels <= $most
ORDER BY f."column", f."rows" DESC, f.a, f.b;

-- differences: rows where the tables differ, side by side
SELECT "row", "column", key, a, b, gold FROM sqlbatch.differences WHERE comparison_id = $comparison_id
ORDER BY "row", "column" LIMIT $most;

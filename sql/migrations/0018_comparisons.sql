-- Comparisons of two tables on the same rows, and what they agree on.

CREATE SEQUENCE comparison_ids START 1;

-- One row a comparison; of two tables the newest is kept.
CREATE TABLE comparisons (
  comparison_id INTEGER NOT NULL DEFAULT nextval('comparison_ids'),
  a           VARCHAR NOT NULL,    -- the tables, as SQL
  b           VARCHAR NOT NULL,
  gold        VARCHAR,             -- the table that has the right values; NULL: reviews, if anything
  keys        VARCHAR[] NOT NULL,  -- the columns by which rows are matched
  "rows"      BIGINT NOT NULL,     -- that both have, and that are answered in both
  only_a      BIGINT NOT NULL,     -- that the other table does not have
  only_b      BIGINT NOT NULL,
  unanswered  BIGINT NOT NULL,     -- that both have, and that are not answered in one of them
  dollars_a   DOUBLE,              -- for 1,000 rows; NULL: not known
  dollars_b   DOUBLE,
  compared_at TIMESTAMP NOT NULL
);

-- The values of a comparison, one row a row and column: as text, lists and objects as JSON, lists in one order.
CREATE TABLE compared (
  comparison_id INTEGER NOT NULL,
  "row"       BIGINT NOT NULL,
  "column"    VARCHAR NOT NULL,
  key         VARCHAR NOT NULL,    -- the values of the keys, as JSON
  a           VARCHAR,
  b           VARCHAR,
  gold        VARCHAR,
  a_right     BOOLEAN,             -- by gold or reviews; NULL: nothing is known
  b_right     BOOLEAN
);

-- Between which values the kappa of a column lies in 95 of 100 samples of its rows drawn anew (bootstrap).
CREATE TABLE kappa_intervals (
  comparison_id INTEGER NOT NULL,
  "column"    VARCHAR NOT NULL,
  low         DOUBLE,
  high        DOUBLE,
  resamples   BIGINT NOT NULL
);

-- How often two values stand in the same row of a comparison; NULL is a value like others.
CREATE VIEW confusion AS
SELECT comparison_id, "column", a, b, count(*) AS "rows" FROM compared GROUP BY ALL;

-- Rows of a comparison where the tables differ.
CREATE VIEW differences AS
SELECT comparison_id, "column", "row", key, a, b, gold FROM compared WHERE a IS DISTINCT FROM b;

-- Per comparison and column: the part of the rows that agree, Cohen's kappa of columns with at most 50 values (NULL where
-- chance alone explains all), its bootstrap interval, and the part that is right by gold or reviews.
CREATE VIEW agreement AS
WITH totals AS (
  SELECT comparison_id, "column", count(*) AS "rows", count(*) FILTER (a IS NOT DISTINCT FROM b) AS agreed,
    count(a_right) AS judged_a, count(*) FILTER (a_right) AS right_a,
    count(b_right) AS judged_b, count(*) FILTER (b_right) AS right_b
  FROM compared GROUP BY ALL
), marginals AS (
  SELECT comparison_id, "column", value, sum(of_a) AS of_a, sum(of_b) AS of_b
  FROM (
    SELECT comparison_id, "column", a AS value, "rows" AS of_a, 0 AS of_b FROM confusion
    UNION ALL
    SELECT comparison_id, "column", b, 0, "rows" FROM confusion
  ) GROUP BY ALL
), chance AS (
  SELECT comparison_id, "column", count(*) AS labels, sum(of_a * of_b)::DOUBLE AS by_chance FROM marginals GROUP BY ALL
)
SELECT t.comparison_id, t."column", t."rows", t.agreed, t.agreed / t."rows" AS agreement, c.labels,
  CASE WHEN c.labels <= 50 AND c.by_chance < t."rows" * t."rows"
    THEN (t.agreed / t."rows" - c.by_chance / (t."rows" * t."rows")) / (1 - c.by_chance / (t."rows" * t."rows")) END AS kappa,
  i.low AS kappa_low, i.high AS kappa_high,
  t.judged_a, t.right_a / nullif(t.judged_a, 0) AS accuracy_a, t.judged_b, t.right_b / nullif(t.judged_b, 0) AS accuracy_b
FROM totals t
JOIN chance c ON c.comparison_id = t.comparison_id AND c."column" = t."column"
LEFT JOIN kappa_intervals i ON i.comparison_id = t.comparison_id AND i."column" = t."column";

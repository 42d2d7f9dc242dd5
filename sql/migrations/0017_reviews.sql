-- What people said of answers.

CREATE TABLE reviews (
  custom_id   UUID NOT NULL,
  "column"    VARCHAR NOT NULL,    -- of the returned columns
  verdict     VARCHAR NOT NULL,    -- approved, rejected, corrected
  "value"     JSON NOT NULL,       -- corrected: the right value; else the value that was judged
  note        VARCHAR,
  reviewer    VARCHAR NOT NULL,
  reviewed_at TIMESTAMP NOT NULL,
  target      VARCHAR NOT NULL,    -- the table in which it was seen, as in jobs
  source_row  JSON NOT NULL        -- the query's columns of the first row with this answer; bytes as their md5
);

CREATE VIEW verdicts AS
SELECT * FROM reviews
QUALIFY row_number() OVER (PARTITION BY custom_id, "column" ORDER BY rowid DESC) = 1;

CREATE VIEW gold AS
SELECT target, source_row, "column", "value", verdict, custom_id, reviewer, reviewed_at FROM verdicts
WHERE verdict IN ('approved', 'corrected')
QUALIFY row_number() OVER (PARTITION BY target, source_row::VARCHAR, "column" ORDER BY reviewed_at DESC) = 1;

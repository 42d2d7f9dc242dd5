-- Rows that another engine keeps, and targets in another database.

CREATE TABLE identity (
  state_id UUID NOT NULL           -- names this state in other databases; a copy of the file has the same
);
INSERT INTO identity VALUES (uuid());

CREATE TABLE snapshots (
  run_id     UUID NOT NULL,
  job_id     INTEGER NOT NULL,
  engine     VARCHAR NOT NULL,     -- spark
  query      VARCHAR NOT NULL,
  folder     VARCHAR NOT NULL,     -- holds the rows, as Parquet files
  sent       VARCHAR[] NOT NULL,   -- the columns that are sent to the model
  "rows"     BIGINT NOT NULL,
  kept_at    TIMESTAMP NOT NULL,
  dropped_at TIMESTAMP
);

CREATE TABLE publications (
  run_id       UUID NOT NULL,
  job_id       INTEGER NOT NULL,
  place        VARCHAR NOT NULL,   -- how the database is reached, as --attach names it, without passwords
  target       VARCHAR NOT NULL,   -- the table there, as SQL: database, schema and name
  exported_at  TIMESTAMP,          -- the job's rows and answers were built here; NULL: not yet
  published_at TIMESTAMP,          -- they are in the target; NULL: not yet
  "rows"       BIGINT,             -- of the target, as published
  error        VARCHAR             -- why the last try to publish failed; NULL: it did not
);

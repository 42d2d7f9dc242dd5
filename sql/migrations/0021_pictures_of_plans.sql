-- The pictures that a query with AI functions asks about, looked at when it was planned.
CREATE TABLE ai_pictures (
  job_id  INTEGER NOT NULL,
  name    VARCHAR NOT NULL,        -- a path or URL as its row has it; bytes:<sha256>, data:<sha256>
  url     VARCHAR NOT NULL,        -- what a request names it by
  sha256  VARCHAR,                 -- of its bytes; NULL: a URL that is passed on, or it cannot be sent
  extra   BIGINT,                  -- bytes that it takes in a request
  problem VARCHAR                  -- why it cannot be sent
);

-- Requests may have pictures.

ALTER TABLE requests ADD COLUMN images VARCHAR[];

CREATE TABLE images (
  sha256  VARCHAR NOT NULL,
  type    VARCHAR NOT NULL,
  size    BIGINT NOT NULL,
  path    VARCHAR,
  content BLOB
);

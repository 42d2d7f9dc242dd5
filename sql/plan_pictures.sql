-- The pictures that a query with AI functions asks about (ai_image): read once, when it is planned, and named by the
-- sha256 of their bytes from then on. In its SQL a picture is sqlbatch_picture(x).

-- name: the name of a picture: as in its row, or by the hash of bytes in the row
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_picture_name(sqlbatch_x) AS
  CASE WHEN typeof(sqlbatch_x) = 'BLOB' THEN 'bytes:' || sha256(sqlbatch_x)
       WHEN lower(left(CAST(sqlbatch_x AS VARCHAR), 5)) = 'data:' THEN 'data:' || sha256(CAST(sqlbatch_x AS VARCHAR))
       ELSE CAST(sqlbatch_x AS VARCHAR) END;

-- raw: a picture as its row has it, to be read
CREATE OR REPLACE TEMP MACRO sqlbatch_picture(sqlbatch_x) AS CASE WHEN sqlbatch_x IS NOT NULL THEN struct_pack(
  name := sqlbatch_picture_name(sqlbatch_x),
  text := CASE WHEN typeof(sqlbatch_x) <> 'BLOB' THEN CAST(sqlbatch_x AS VARCHAR) END,
  content := CASE WHEN typeof(sqlbatch_x) = 'BLOB' THEN CAST(sqlbatch_x AS BLOB) END) END;

-- seen: a picture as a request names it; one that was not read gets a name that cannot be sent
CREATE OR REPLACE TEMP MACRO sqlbatch_picture(sqlbatch_x) AS CASE WHEN sqlbatch_x IS NOT NULL THEN coalesce(
  (SELECT sqlbatch_url FROM (SELECT name AS sqlbatch_name, url AS sqlbatch_url FROM {pictures})
   WHERE sqlbatch_name = sqlbatch_picture_name(sqlbatch_x)),
  'unread:' || sqlbatch_picture_name(sqlbatch_x)) END;

-- begin: the distinct pictures of a query, in the scratch database
CREATE TABLE {scratch}.main.rows (sqlbatch_row BIGINT, name VARCHAR, ai_image VARCHAR, "ai_image (BLOB)" BLOB);

-- asks: the requests of the first stage with what is known of their pictures, under the name of the compiler's table
CREATE TABLE {scratch}.main.asks AS
SELECT sqlbatch_row, custom_id, failed, pictures, extra FROM {scratch}.main.ai_requests;

-- add: the pictures of a call, from its collection
INSERT INTO {scratch}.main.rows (sqlbatch_row, name, ai_image, "ai_image (BLOB)")
SELECT row_number() OVER () + (SELECT count(*) FROM {scratch}.main.rows), p.name, p.text, p.content
FROM (
  SELECT struct_extract(v, 'name') AS name, any_value(struct_extract(v, 'text')) AS text,
    any_value(struct_extract(v, 'content')) AS content
  FROM (SELECT unnest(sqlbatch_input) AS v FROM ({collection})) WHERE v IS NOT NULL GROUP BY ALL
) p ANTI JOIN {scratch}.main.rows o ON o.name = p.name;

-- looked: how requests name each picture, its type, and why it cannot be sent
CREATE TABLE {scratch}.main.ai_pictures AS
SELECT r.name, coalesce(l.sqlbatch_look.urls[1], 'unread:' || r.name) AS url,
  CASE WHEN l.sqlbatch_look.failed IS NULL THEN l.sqlbatch_look.images[1] END AS sha256,
  l.sqlbatch_look.extra AS extra, l.sqlbatch_look.failed AS problem
FROM {scratch}.main.rows r LEFT JOIN {scratch}.main.looks l ON l.sqlbatch_row = r.sqlbatch_row;

-- keep: store the pictures of a job's query
INSERT INTO sqlbatch.ai_pictures (job_id, name, url, sha256, extra, problem)
SELECT {job}, name, url, sha256, extra, problem FROM {scratch}.main.ai_pictures;

-- collected: the collected requests with the facts about their pictures
CREATE OR REPLACE TEMP TABLE sqlbatch_collected AS
WITH shown AS (
  SELECT rowid AS place, unnest(regexp_extract_all(input, '"(?:image_)?url":"((?:[^"\\]|\\.)*)"', 1)) AS url FROM sqlbatch_collected
), seen AS (
  SELECT s.place, count(*) AS pictures, coalesce(sum(p.extra), 0)::BIGINT AS extra,
    list_sort(list(DISTINCT p.sha256) FILTER (p.sha256 IS NOT NULL)) AS images,
    coalesce(first(p.problem) FILTER (p.problem IS NOT NULL),
      CASE WHEN count(*) > count(p.url)
        THEN 'image_unreadable: ' || substr(first(s.url) FILTER (p.url IS NULL), 8) || ': it was not looked at when the query was planned' END,
      CASE WHEN sum(p.extra) > $most::BIGINT THEN $too_many::VARCHAR END) AS failed
  FROM shown s LEFT JOIN (SELECT (to_json(url)::VARCHAR)[2:-2] AS url, any_value(extra) AS extra, any_value(sha256) AS sha256,
    any_value(problem) AS problem FROM {pictures} GROUP BY ALL) p ON p.url = s.url
  GROUP BY s.place
)
SELECT c.custom_id, c.input, c.bytes + CASE WHEN s.failed IS NULL THEN s.extra ELSE 0 END AS bytes,
  c.tokens + CASE WHEN s.failed IS NULL THEN s.pictures ELSE 0 END * $tokens::BIGINT AS tokens,
  CASE WHEN s.failed IS NULL THEN s.images ELSE ['unsent'] END AS images, s.failed AS failed, coalesce(s.pictures, 0) AS pictures, s.extra AS extra
FROM (SELECT rowid AS place, * FROM sqlbatch_collected) c LEFT JOIN seen s ON s.place = c.place
ORDER BY c.place;

-- due: the requests of a collected call, to find those that cannot be sent
CREATE OR REPLACE TEMP VIEW asks AS SELECT custom_id, failed FROM sqlbatch_collected;

-- unsent: the collected requests that cannot be sent, and why
SELECT custom_id::VARCHAR, failed FROM sqlbatch_collected WHERE failed IS NOT NULL;

-- unsent_decided: requests that cannot be sent have failed
INSERT INTO sqlbatch_decided
SELECT unnest($custom_ids::UUID[]), unnest($calls::UUID[]), true, NULL, NULL, unnest($whys::VARCHAR[]);

-- has: one row if a job's query asks about pictures
SELECT 1 FROM sqlbatch.ai_pictures WHERE job_id = $job_id LIMIT 1;

-- detail: the detail of a job's pictures, as --image-detail says
SELECT enrichment->>'image_detail' FROM sqlbatch.jobs WHERE job_id = $job_id;

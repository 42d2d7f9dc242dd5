-- The pictures of a compiled query's rows, in its scratch database; an input names each by the sha256 of its bytes.

-- begin: the pictures of each row, in the order of the columns, and tables for the files and their contents
CREATE TABLE {scratch}.main.pictures (
  sqlbatch_row BIGINT, place INTEGER, nth BIGINT, url VARCHAR, source VARCHAR, sha256 VARCHAR, size BIGINT, type VARCHAR,
  problem VARCHAR
);
CREATE TABLE {scratch}.main.contents (sha256 VARCHAR, type VARCHAR, size BIGINT, content BLOB);
CREATE TABLE {scratch}.main.located (number BIGINT, path VARCHAR, size BIGINT, problem VARCHAR);
CREATE TABLE {scratch}.main.found (path VARCHAR, sha256 VARCHAR, size BIGINT, type VARCHAR);

-- named: pictures named by a text: a URL, which is passed on, or a file
INSERT INTO {scratch}.main.pictures (sqlbatch_row, place, nth, url, source)
SELECT sqlbatch_row, {place}, nth, CASE WHEN remote THEN value END, CASE WHEN NOT remote THEN value END
FROM (
  SELECT *, regexp_matches(value, '^(?i:https?)://') AS remote
  FROM (SELECT sqlbatch_row, unnest({values}) AS value, generate_subscripts({values}, 1) AS nth FROM {scratch}.main.rows)
  WHERE value <> '' AND lower(left(value, 5)) <> 'data:'
);

-- held: pictures that the rows contain themselves: bytes, or a data: URL of them
INSERT INTO {scratch}.main.pictures (sqlbatch_row, place, nth, sha256, size, type, problem)
SELECT sqlbatch_row, {place}, nth, sha256(content), octet_length(content), {type},
  CASE WHEN content IS NULL THEN $unreadable::VARCHAR
       WHEN {type} IS NULL THEN $unsupported::VARCHAR
       WHEN octet_length(content) > $most::BIGINT THEN $too_large::VARCHAR END
FROM (
  SELECT sqlbatch_row, nth, {content} AS content
  FROM (SELECT sqlbatch_row, unnest({values}) AS value, generate_subscripts({values}, 1) AS nth FROM {scratch}.main.rows)
  WHERE {holds}
);

-- contents: the bytes of pictures in the rows, once each
INSERT INTO {scratch}.main.contents
SELECT f.sha256, f.type, f.size, {content}
FROM (
  SELECT sha256, any_value(type) AS type, any_value(size) AS size, min({r: sqlbatch_row, a: nth}) AS first
  FROM {scratch}.main.pictures p
  WHERE place = {place} AND sha256 IS NOT NULL AND problem IS NULL
    AND sha256 NOT IN (SELECT sha256 FROM {scratch}.main.contents)
  GROUP BY sha256
) f
JOIN (
  SELECT sqlbatch_row, unnest({values}) AS value, generate_subscripts({values}, 1) AS nth FROM {scratch}.main.rows
) v ON v.sqlbatch_row = f.first.r AND v.nth = f.first.a;

-- files: the distinct files, numbered
CREATE TABLE {scratch}.main.files AS
SELECT row_number() OVER () AS number, source
FROM (SELECT DISTINCT source FROM {scratch}.main.pictures WHERE source IS NOT NULL);

-- some_files: a part of the files
SELECT number, source FROM {scratch}.main.files WHERE number > $after AND number <= $after + $many ORDER BY number;

-- located: where files are, how large, and what is wrong with them
INSERT INTO {scratch}.main.located
SELECT unnest($numbers::BIGINT[]), unnest($paths::VARCHAR[]), unnest($sizes::BIGINT[]), unnest($problems::VARCHAR[]);

-- found: the contents of files
INSERT INTO {scratch}.main.found
SELECT filename, sha256(content), octet_length(content), {type} FROM read_blob($paths);

-- looks: the pictures of each row, together; and why a row cannot be asked about, starting with the code
CREATE TABLE {scratch}.main.looks AS
SELECT sqlbatch_row, struct_pack(
    urls := urls,
    images := CASE WHEN failed IS NULL THEN images ELSE ['unsent'] END,
    extra := CASE WHEN failed IS NULL THEN extra ELSE 0 END,
    pictures := CASE WHEN failed IS NULL THEN pictures ELSE 0 END,
    failed := failed
  ) AS sqlbatch_look
FROM (SELECT sqlbatch_row,
    list(coalesce(url, 'sqlbatch:' || sha256) ORDER BY place, nth) AS urls,
    list_sort(list(DISTINCT sha256) FILTER (sha256 IS NOT NULL)) AS images,
    coalesce(sum(extra), 0)::BIGINT AS extra,
    count(*) AS pictures,
    coalesce(first(problem ORDER BY place, nth) FILTER (problem IS NOT NULL),
      CASE WHEN sum(extra) > $most_of_row::BIGINT THEN $too_many::VARCHAR END) AS failed
FROM (
  SELECT p.sqlbatch_row, p.place, p.nth, p.url, coalesce(p.sha256, f.sha256) AS sha256,
    strlen('data:' || coalesce(p.type, f.type) || ';base64,') + 4 * ((coalesce(p.size, f.size) + 2) // 3)
      - strlen('sqlbatch:') - 64 AS extra,
    coalesce(p.problem, CASE
      WHEN p.url IS NOT NULL OR p.sha256 IS NOT NULL THEN NULL
      WHEN l.problem IS NOT NULL THEN l.problem
      WHEN f.path IS NULL THEN 'image_unreadable: ' || p.source || ': it cannot be read'
      WHEN f.type IS NULL THEN 'image_unsupported: ' || p.source || {unsupported} END) AS problem
  FROM {scratch}.main.pictures p
  LEFT JOIN {scratch}.main.files n ON n.source = p.source
  LEFT JOIN {scratch}.main.located l ON l.number = n.number
  LEFT JOIN (
    SELECT path, any_value(sha256) AS sha256, any_value(size) AS size, any_value(type) AS type
    FROM {scratch}.main.found GROUP BY path
  ) f ON f.path = l.path
)
GROUP BY sqlbatch_row);

-- known: requests that cannot be sent are not to be sent
INSERT INTO {scratch}.main.known
SELECT DISTINCT custom_id, 'unsent' FROM {scratch}.main.asks WHERE failed IS NOT NULL AND custom_id IS NOT NULL;

-- unsent: the rows that cannot be sent, and why; the most common reason first
SELECT failed, count(*) FROM {scratch}.main.asks WHERE failed IS NOT NULL AND custom_id IS NOT NULL
GROUP BY failed ORDER BY count(*) DESC, failed;

-- unsent_ids: the requests that cannot be sent, and why
SELECT custom_id::VARCHAR, any_value(failed) FROM {scratch}.main.asks WHERE failed IS NOT NULL AND custom_id IS NOT NULL
GROUP BY custom_id;

-- fail: requests that cannot be sent have failed
SELECT custom_id, 'unsent' AS source, 'failed' AS outcome, split_part(any_value(failed), ': ', 1) AS code,
  substr(any_value(failed), strpos(any_value(failed), ': ') + 2) AS message, $now::TIMESTAMP AS asked_at
FROM {scratch}.main.asks WHERE failed IS NOT NULL AND custom_id IS NOT NULL
GROUP BY custom_id;

-- quoted: how many pictures are to be sent, and their bytes in the files
SELECT coalesce(sum(a.pictures), 0)::BIGINT, coalesce(sum(a.extra), 0)::BIGINT
FROM {scratch}.main.to_send t JOIN {scratch}.main.asks a ON a.sqlbatch_row = t.seq;

-- store: store the places of the pictures, and the bytes of those that are in no file
INSERT INTO sqlbatch.images (sha256, type, size, path, content)
SELECT DISTINCT f.sha256, f.type, f.size, f.path, NULL::BLOB
FROM {scratch}.main.found f
ANTI JOIN sqlbatch.images i ON i.sha256 = f.sha256 AND i.path = f.path
WHERE f.type IS NOT NULL;
INSERT INTO sqlbatch.images (sha256, type, size, path, content)
SELECT c.sha256, c.type, c.size, NULL, c.content
FROM {scratch}.main.contents c
ANTI JOIN sqlbatch.images i ON i.sha256 = c.sha256 AND i.content IS NOT NULL;

-- readable_again: a request that could not be sent because of its picture, and now can, is due for a job that wants it
UPDATE sqlbatch.wanted SET not_before = $now::TIMESTAMP
WHERE job_id = $job_id
  AND custom_id IN (SELECT custom_id FROM sqlbatch.results WHERE source = 'unsent')
  AND custom_id NOT IN (SELECT custom_id FROM sqlbatch.results WHERE source <> 'unsent' AND outcome IN ('answered', 'failed'));

-- forget: delete bytes whose requests are answered, and that no open job needs
DELETE FROM sqlbatch.images
WHERE content IS NOT NULL AND sha256 NOT IN (
  SELECT unnest(r.images) FROM sqlbatch.requests r
  WHERE r.images IS NOT NULL AND (
    r.custom_id NOT IN (SELECT custom_id FROM sqlbatch.results WHERE outcome = 'answered')
    OR r.custom_id IN (
      SELECT w.custom_id FROM sqlbatch.wanted w JOIN sqlbatch.job_status j ON j.job_id = w.job_id
      WHERE j.status IN ('running', 'blocked'))
  )
) AND sha256 NOT IN (
  -- What a query with AI functions asks about later is in no request yet.
  SELECT p.sha256 FROM sqlbatch.ai_pictures p JOIN sqlbatch.job_status j ON j.job_id = p.job_id
  WHERE p.sha256 IS NOT NULL AND (j.status IN ('running', 'blocked') OR EXISTS (
    FROM sqlbatch.ai_failures f WHERE f.job_id = p.job_id))
);

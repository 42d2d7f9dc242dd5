-- Requests as the provider gets them: pictures are inserted where the input names them. An input names a picture as
-- "sqlbatch:<sha256>", after the colon of a key; text from a row has its quotes escaped.

-- needed: the pictures of requests
CREATE OR REPLACE TEMP TABLE sqlbatch_needed AS
SELECT DISTINCT unnest(r.images) AS sha256 FROM sqlbatch.requests r WHERE r.images IS NOT NULL AND {chosen};

-- kept: the bytes of those that are stored in the database
CREATE OR REPLACE TEMP TABLE sqlbatch_pictures AS
SELECT i.sha256, i.type, i.content FROM sqlbatch.images i SEMI JOIN sqlbatch_needed n ON n.sha256 = i.sha256
WHERE i.content IS NOT NULL;

-- places: the files with the others, as they were when they were read
SELECT i.sha256, i.path, i.size FROM sqlbatch.images i SEMI JOIN sqlbatch_needed n ON n.sha256 = i.sha256
ANTI JOIN sqlbatch_pictures p ON p.sha256 = i.sha256
WHERE i.path IS NOT NULL
ORDER BY i.rowid;

-- read: the bytes of files, if they still have the sha256 of the requests
INSERT INTO sqlbatch_pictures
SELECT f.sha256, any_value(i.type), any_value(f.content)
FROM (SELECT sha256(content) AS sha256, content FROM read_blob($paths)) f
JOIN sqlbatch.images i ON i.sha256 = f.sha256
SEMI JOIN sqlbatch_needed n ON n.sha256 = f.sha256
ANTI JOIN sqlbatch_pictures p ON p.sha256 = f.sha256
GROUP BY f.sha256;

-- missing: the requests with a picture that no longer exists, and a file it was in
SELECT r.custom_id::VARCHAR, any_value(i.path), any_value(m.sha256)
FROM (SELECT r.custom_id, unnest(r.images) AS sha256 FROM sqlbatch.requests r WHERE r.images IS NOT NULL AND {chosen}) r
JOIN (FROM sqlbatch_needed ANTI JOIN sqlbatch_pictures USING (sha256)) m ON m.sha256 = r.sha256
LEFT JOIN sqlbatch.images i ON i.sha256 = m.sha256
GROUP BY r.custom_id;

-- inputs: the inputs of requests, with their pictures inserted
CREATE OR REPLACE TEMP TABLE sqlbatch_inputs AS
WITH parts AS (
  SELECT r.seq, unnest(string_split(r.input, '":"sqlbatch:')) AS part,
    generate_subscripts(string_split(r.input, '":"sqlbatch:'), 1) AS place
  FROM sqlbatch.requests r WHERE r.images IS NOT NULL AND {chosen}
)
SELECT q.seq, string_agg(
  CASE WHEN q.place = 1 THEN q.part
    ELSE concat('":"data:', p.type, ';base64,', base64(p.content), substr(q.part, 65)) END, '' ORDER BY q.place) AS input
FROM parts q LEFT JOIN sqlbatch_pictures p ON q.place > 1 AND p.sha256 = left(q.part, 64)
GROUP BY q.seq;

-- pictured: one row if any of the requests has pictures
SELECT 1 FROM sqlbatch.requests r WHERE r.images IS NOT NULL AND {chosen} LIMIT 1;

-- done: drop the bytes
DROP TABLE IF EXISTS sqlbatch_pictures; DROP TABLE IF EXISTS sqlbatch_inputs; DROP TABLE IF EXISTS sqlbatch_needed;

-- bodies: endpoint and body of requests, as a job sends them, or with the given head and tail
SELECT r.custom_id::VARCHAR, c.endpoint, concat(coalesce($head, s.head, c.head), {rendered}, coalesce($tail, s.tail, c.tail))
FROM sqlbatch.requests r JOIN sqlbatch.calls c ON c.call_id = r.call_id
LEFT JOIN sqlbatch.sent_calls s ON s.call_id = r.call_id AND s.job_id = $job_id::INTEGER {joined}
WHERE {chosen}
ORDER BY r.seq;

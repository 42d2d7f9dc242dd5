-- How sure a model was of each returned value, from the log probabilities of an answer's tokens.

-- any: one row if a result line has log probabilities
SELECT 1 FROM sqlbatch_parsed_results WHERE logprobs IS NOT NULL LIMIT 1;

-- measured: for each answer with log probabilities, one number for each top-level key of its JSON, and for '' one for
-- all of it
-- A number is the geometric mean of the probabilities of the tokens that have a byte in the value's JSON text; for a
-- string, only the text between its quotes counts, unless it is empty. There is no number unless the tokens are exactly
-- the answer's text, in order. JSON is taken apart here because only its text shows which bytes a value has.
CREATE OR REPLACE TEMP TABLE sqlbatch_confidence AS
WITH said AS (
  SELECT rowid AS place, content,
    list_transform(logprobs, lambda told: CASE WHEN told->>'$.logprob' NOT LIKE '-%' THEN TRY_CAST(told->>'$.logprob' AS DOUBLE) * 0
      ELSE TRY_CAST(told->>'$.logprob' AS DOUBLE) END) AS logs,
    list_transform(logprobs, lambda told: told->>'$.token') AS texts,
    list_transform(logprobs, lambda told: json_array_length(told, '$.bytes')) AS bytes
  FROM sqlbatch_parsed_results WHERE len(logprobs) > 0 AND content <> ''
), sized AS (
  SELECT place, content, strlen(content) AS size, logs, texts,
    list_transform(texts, lambda text, i: coalesce(nullif(bytes[i], 0), strlen(text), 0)::BIGINT) AS sizes
  FROM said WHERE list_count(logs) = len(logs)
), known AS MATERIALIZED (
  -- Where a character is split between tokens, their texts have U+FFFD or \xe2 for it, and only bytes can be counted.
  SELECT place, content, size, logs, sizes FROM (SELECT *, array_to_string(texts, '') AS text FROM sized)
  WHERE starts_with(text, content) OR (list_sum(sizes) = size AND regexp_matches(text, concat(chr(65533), '|\\x')))
), tokens AS (
  SELECT place, log, size, sum(size) OVER (PARTITION BY place ORDER BY number) AS ends
  FROM (SELECT place, unnest(logs) AS log, unnest(sizes) AS size, generate_subscripts(logs, 1) AS number FROM known)
), lexemes AS (
  SELECT place, number, lexeme, sum(strlen(lexeme)) OVER so_far AS ends,
    sum(CASE WHEN lexeme IN ('{', '[') THEN 1 WHEN lexeme IN ('}', ']') THEN -1 ELSE 0 END) OVER so_far AS depth
  FROM (
    SELECT place, unnest(lexemes) AS lexeme, generate_subscripts(lexemes, 1) AS number
    FROM (SELECT place, regexp_extract_all(content, '(?s)"(?:[^"\\]|\\.)*"|[{}\[\],:]|\s+|[^"{}\[\],:\s]+|"') AS lexemes FROM known)
  )
  WINDOW so_far AS (PARTITION BY place ORDER BY number)
), numbered AS (
  SELECT place, lexeme, ends, sum((depth = 0 OR (depth = 1 AND lexeme IN ('{', ',')))::INTEGER) OVER (PARTITION BY place ORDER BY number) AS member
  FROM lexemes WHERE NOT regexp_matches(lexeme, '^\s')
), members AS (
  -- Each is the brace or comma before it, the key, the colon, and the value.
  SELECT place, list(lexeme ORDER BY ends) AS lexemes, list(ends ORDER BY ends) AS ends FROM numbered GROUP BY place, member
), spans AS (
  SELECT place, TRY(lexemes[2]::JSON ->> '$') AS name,
    CASE WHEN len(lexemes) = 4 AND strlen(lexemes[4]) > 2 AND starts_with(lexemes[4], '"') THEN 1 ELSE 0 END AS quote,
    ends[4] - strlen(lexemes[4]) + quote AS starts, ends[-1] - quote AS ends
  FROM members WHERE lexemes[3] = ':' AND len(lexemes) > 3
  UNION ALL
  SELECT place, '' AS name, 0 AS quote, 0 AS starts, size AS ends FROM known
), means AS (
  SELECT s.place, s.name, s.starts, exp(avg(t.log)) AS mean
  FROM spans s JOIN tokens t ON t.place = s.place AND t.ends - t.size < s.ends AND t.ends > s.starts
  WHERE s.name IS NOT NULL
  GROUP BY ALL
)
SELECT place, map_from_entries(list({'key': name, 'value': mean} ORDER BY name)) AS confidence
FROM (SELECT place, name, arg_max(mean, starts) AS mean FROM means GROUP BY ALL) GROUP BY place;

-- joined: add them to the parsed lines
CREATE OR REPLACE TEMP TABLE sqlbatch_parsed_results AS
SELECT p.* REPLACE (c.confidence AS confidence)
FROM sqlbatch_parsed_results p LEFT JOIN sqlbatch_confidence c ON c.place = p.rowid
ORDER BY p.rowid;

-- forget: the log probabilities themselves are no longer needed
ALTER TABLE sqlbatch_parsed_results DROP COLUMN logprobs;

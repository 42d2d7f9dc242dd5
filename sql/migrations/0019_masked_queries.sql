-- Passwords in the queries of old jobs are masked, as they are in those that are stored since: in addresses, in the texts of a
-- query (connection strings), and in named arguments. A bare word in a query is a column and stays.
CREATE TEMP TABLE sqlbatch_masked AS
WITH stored AS (
  SELECT query FROM jobs UNION SELECT query FROM ai_sources
), addresses AS (
  SELECT query, regexp_replace(regexp_replace(query,
    '(\b[a-zA-Z][\w+.-]*://[^\s/@:''"]*:)[^\s/''"]+@', '\1…@', 'g'), '([?&](?:sig|key)=)[^&\s''"]+', '\1…', 'g') AS text
  FROM stored
), texts AS (
  SELECT query, array_to_string(list_transform(
    list_zip(regexp_split_to_array(text, '''(?:[^'']|'''')*'''), regexp_extract_all(text, '''(?:[^'']|'''')*''')),
    lambda part: concat(part[1], regexp_replace(part[2],
      '(?is)(\b[\w-]*(?:password|passwd|pwd|secret|token|signature|credential|account_?key|access_?key|api_?key)\w*\s*=\s*)(?:''''.*?''''|"[^"]*"|[^\s;&,)''"]+)',
      '\1…', 'g'))), '') AS text
  FROM addresses
)
SELECT query, regexp_replace(text,
  '(?is)(\b[\w-]*(?:password|passwd|pwd|secret|token|signature|credential|account_?key|access_?key|api_?key)\w*\s*(?::=|=>)\s*)''(?:[^'']|'''')*''',
  '\1''…''', 'g') AS masked
FROM texts;

UPDATE jobs SET query = m.masked, enrichment = json_merge_patch(enrichment, json_object('query', m.masked))
FROM sqlbatch_masked m WHERE m.query = jobs.query AND m.masked <> m.query;

UPDATE ai_sources SET query = m.masked FROM sqlbatch_masked m WHERE m.query = ai_sources.query AND m.masked <> m.query;

DROP TABLE sqlbatch_masked;

-- Queries as other products document them, and behind --> the same for DuckDB, which must have the same table.

-- snowflake_filter_prompt: PROMPT builds the question
SELECT title FROM movies WHERE AI_FILTER(PROMPT('Is this a sad story? {0}', overview))
--> SELECT title FROM movies WHERE ai_filter('Is this a sad story? ' || overview)

-- snowflake_filter_concat: a text and a column
SELECT title, year FROM movies WHERE year > 1990 AND AI_FILTER('Is it about war? ' || overview) ORDER BY year, id LIMIT 5
--> SELECT title, year FROM movies WHERE year > 1990 AND ai_filter('Is it about war? ' || overview) ORDER BY year, id LIMIT 5

-- snowflake_join: rows of two tables are judged together
SELECT m.title, p.name FROM movies m JOIN people p ON AI_FILTER(PROMPT('Would {0} star in {1}?', p.bio, m.title)) WHERE m.year > 2005
--> SELECT m.title, p.name FROM movies m JOIN people p ON ai_filter('Would ' || p.bio || ' star in ' || m.title || '?') WHERE m.year > 2005

-- snowflake_classify: the label is in an array of an object
SELECT title, AI_CLASSIFY(overview, ['drama', 'comedy']):labels[0]::STRING AS genre FROM movies
--> SELECT title, ai_classify(overview, ['drama', 'comedy']) AS genre FROM movies

-- snowflake_classify_described: labels with descriptions, several of them
SELECT id, AI_CLASSIFY(title, [{'label': 'sad', 'description': 'makes one cry'}, {'label': 'funny', 'description': 'makes one laugh'}],
  {'task_description': 'Name the moods.', 'output_mode': 'multi'}):labels AS moods FROM movies
--> SELECT id, ai_classify(title, {'sad': 'makes one cry', 'funny': 'makes one laugh'}, multi := true, instructions := 'Name the moods.') AS moods FROM movies

-- snowflake_classify_grouped: counted by label, with the label's alias
SELECT AI_CLASSIFY(body, ['praise', 'blame']):labels[0]::VARCHAR AS kind, COUNT(*) AS n FROM reviews WHERE stars > 1 GROUP BY kind
--> SELECT ai_classify(body, ['praise', 'blame']) AS kind, count(*) AS n FROM reviews WHERE stars > 1 GROUP BY kind

-- snowflake_classify_cte: the object goes through a CTE
WITH c AS (SELECT id, AI_CLASSIFY(title, ['a', 'b']) AS found FROM movies) SELECT id, found:labels[0]::STRING AS label FROM c
--> SELECT id, ai_classify(title, ['a', 'b']) AS label FROM movies

-- snowflake_complete: the model first
SELECT AI_COMPLETE('llama4-maverick', CONCAT('Judge this review: ', body)) AS judged FROM reviews WHERE rid < 9
--> SELECT ai_complete('Judge this review: ' || body) AS judged FROM reviews WHERE rid < 9

-- snowflake_complete_named: by name, with a JSON schema
SELECT rid, AI_COMPLETE(model => 'mistral-large2', prompt => body, response_format => {'type': 'json', 'schema': {'type': 'object',
  'properties': {'mood': {'type': 'string'}, 'stars': {'type': 'integer'}}, 'required': ['mood', 'stars']}}):stars AS stars FROM reviews
--> SELECT rid, (ai_complete(body, returns := '"mood" VARCHAR NOT NULL, "stars" BIGINT NOT NULL')).stars AS stars FROM reviews

-- snowflake_complete_prompt: a template with two columns
SELECT AI_COMPLETE('claude-4-sonnet', PROMPT('Compare {0} with {1}.', m.title, r.body)) AS said FROM movies m JOIN reviews r ON r.movie = m.id WHERE r.stars = 3
--> SELECT ai_complete('Compare ' || m.title || ' with ' || r.body || '.') AS said FROM movies m JOIN reviews r ON r.movie = m.id WHERE r.stars = 3

-- snowflake_extract: questions by name
SELECT title, AI_EXTRACT(text => overview, responseFormat => [['hero', 'Who is the hero?'], ['place', 'Where is it?']]):response.hero::STRING AS hero FROM movies
--> SELECT title, (ai_extract(overview, {'hero': 'Who is the hero?', 'place': 'Where is it?'})).hero AS hero FROM movies

-- snowflake_sentiment: the overall one, and that about one thing
SELECT rid, AI_SENTIMENT(body, ['price']):categories[0]:sentiment::STRING AS overall FROM reviews
--> SELECT rid, ai_sentiment(body) AS overall FROM reviews

-- snowflake_translate: from and to, from any language
SELECT AI_TRANSLATE(body, 'en', 'de') AS german, AI_TRANSLATE(author, '', 'fr') AS french FROM reviews
--> SELECT ai_translate(body, 'en', 'de') AS german, ai_translate(author, 'fr') AS french FROM reviews

-- snowflake_redact: kinds
SELECT AI_REDACT(bio, ['NAME', 'EMAIL']) AS bio FROM people
--> SELECT ai_redact(bio, ['NAME', 'EMAIL']) AS bio FROM people

-- snowflake_cortex: the older names
SELECT SNOWFLAKE.CORTEX.SUMMARIZE(body) AS short, SNOWFLAKE.CORTEX.COMPLETE('mistral-7b', body) AS said,
  SNOWFLAKE.CORTEX.CLASSIFY_TEXT(body, ['a', 'b']):label::STRING AS label, SNOWFLAKE.CORTEX.TRANSLATE(body, 'en', 'fr') AS french FROM reviews
--> SELECT ai_summarize(body) AS short, ai_complete(body) AS said, ai_classify(body, ['a', 'b']) AS label, ai_translate(body, 'en', 'fr') AS french FROM reviews

-- snowflake_cortex_answer: an answer out of a text
SELECT pid, SNOWFLAKE.CORTEX.EXTRACT_ANSWER(bio, 'Where was this person born?')[0]:answer::STRING AS born FROM people
--> SELECT pid, ai_complete(bio, 'Where was this person born?') AS born FROM people

-- snowflake_qualify: a window and a flattened condition
SELECT title, studio FROM movies WHERE AI_FILTER('Good? ' || title) QUALIFY ROW_NUMBER() OVER (PARTITION BY studio ORDER BY rating DESC, id) = 1
--> SELECT title, studio FROM movies WHERE ai_filter('Good? ' || title) QUALIFY row_number() OVER (PARTITION BY studio ORDER BY rating DESC, id) = 1

-- bigquery_if: a prompt in parts
SELECT title FROM `movies` WHERE AI.IF(('Is this about war? ', overview), connection_id => 'us.example', endpoint => 'gemini-2.5-flash')
--> SELECT title FROM movies WHERE ai_filter('Is this about war? ' || overview)

-- bigquery_if_named: the prompt by its name
SELECT COUNTIF(AI.IF(prompt => ('Is it good? ', body))) AS good FROM reviews
--> SELECT count_if(ai_filter('Is it good? ' || body)) AS good FROM reviews

-- bigquery_if_join: a join by meaning
SELECT m.title, p.name FROM movies AS m JOIN people AS p ON AI.IF(('Could ', p.name, ' play in ', m.title)) WHERE m.id < 6
--> SELECT m.title, p.name FROM movies AS m JOIN people AS p ON ai_filter('Could ' || p.name || ' play in ' || m.title) WHERE m.id < 6

-- bigquery_classify: categories by name, grouped
SELECT AI.CLASSIFY(body, categories => ['praise', 'blame', 'other']) AS kind, COUNT(*) AS n FROM reviews GROUP BY kind
--> SELECT ai_classify(body, ['praise', 'blame', 'other']) AS kind, count(*) AS n FROM reviews GROUP BY kind

-- bigquery_classify_described: categories as pairs
SELECT title, AI.CLASSIFY(('A film: ', title), categories => [('old', 'before 1990'), ('new', 'after it')], connection_id => 'us.x') AS age FROM movies
--> SELECT title, ai_classify('A film: ' || title, {'old': 'before 1990', 'new': 'after it'}) AS age FROM movies

-- bigquery_score: the first by a rating
SELECT rid, body FROM reviews ORDER BY AI.SCORE(('From 1 to 10, how glad is this review? ', body)) DESC, rid LIMIT 4
--> SELECT rid, body FROM reviews ORDER BY ai_complete('From 1 to 10, how glad is this review? ' || body, 'Answer with one number.', returns := 'DOUBLE') DESC, rid LIMIT 4

-- bigquery_generate: the result of a struct
SELECT title, AI.GENERATE(('Name the capital of ', title), endpoint => 'gemini-2.5-flash').result FROM movies WHERE year < 1990
--> SELECT title, ai_complete('Name the capital of ' || title) AS result FROM movies WHERE year < 1990

-- bigquery_generate_schema: typed columns
SELECT rid, AI.GENERATE(('Look at: ', body), output_schema => 'mood STRING, stars INT64').mood AS mood FROM reviews
--> SELECT rid, (ai_complete('Look at: ' || body, returns := '"mood" VARCHAR, "stars" BIGINT')).mood AS mood FROM reviews

-- bigquery_generate_bool: one typed answer
SELECT pid, AI.GENERATE_BOOL(('Is this a person? ', bio)).result AS person, AI.GENERATE_INT(bio).result AS age FROM people
--> SELECT pid, ai_complete('Is this a person? ' || bio, returns := 'BOOLEAN') AS person, ai_complete(bio, returns := 'BIGINT') AS age FROM people

-- databricks_query: an endpoint and a prompt
SELECT title, ai_query('databricks-meta-llama-3-3-70b-instruct', 'Describe: ' || title) AS text FROM movies WHERE rating > 5
--> SELECT title, ai_complete('Describe: ' || title) AS text FROM movies WHERE rating > 5

-- databricks_query_typed: a type and parameters
SELECT rid, ai_query('my-endpoint', body, returnType => 'STRUCT<mood: STRING, stars: INT>', modelParameters => named_struct('temperature', 0.5)).stars AS stars FROM reviews
--> SELECT rid, (ai_complete(body, returns := '"mood" VARCHAR, "stars" INT', params := {temperature: 0.5})).stars AS stars FROM reviews

-- databricks_query_errors: value and error side by side
SELECT rid, ai_query('my-endpoint', body, failOnError => false).result AS said FROM reviews
--> SELECT rid, (ai_complete(body, on_error := 'capture')).value AS said FROM reviews

-- databricks_classify: labels as an array
SELECT title, ai_classify(overview, ARRAY('drama', 'comedy', 'war')) AS genre FROM movies LIMIT 8
--> SELECT title, ai_classify(overview, ['drama', 'comedy', 'war']) AS genre FROM movies LIMIT 8

-- databricks_extract: fields of a struct
SELECT pid, ai_extract(bio, array('person', 'place')).place AS place FROM people
--> SELECT pid, (ai_extract(bio, ['person', 'place'])).place AS place FROM people

-- databricks_texts: the other functions
SELECT rid, ai_analyze_sentiment(body) AS mood, ai_summarize(body, 20) AS short, ai_translate(body, 'de') AS german,
  ai_mask(body, array('person')) AS masked, ai_fix_grammar(body) AS fixed, ai_gen('Answer: ' || body) AS said FROM reviews WHERE rid < 12
--> SELECT rid, ai_sentiment(body) AS mood, ai_summarize(body, 20) AS short, ai_translate(body, 'de') AS german,
  ai_redact(body, ['person']) AS masked, ai_fix_grammar(body) AS fixed, ai_complete('Answer: ' || body) AS said FROM reviews WHERE rid < 12

-- databricks_filtered: a condition on an answer, grouped
SELECT ai_classify(body, ARRAY('a', 'b')) AS kind, count(*) AS n FROM reviews WHERE ai_analyze_sentiment(body) = 'negative' GROUP BY ALL
--> SELECT ai_classify(body, ['a', 'b']) AS kind, count(*) AS n FROM reviews WHERE ai_sentiment(body) = 'negative' GROUP BY ALL

-- Queries whose calls cannot be planned; the line behind --> is what the error says, before the place.

-- unknown_function: did you mean
SELECT ai_clasify(title, ['a']) FROM movies
--> there is no function ai_clasify; did you mean ai_classify?

-- unknown_argument: did you mean
SELECT ai_classify(title, ['a'], mutli := true) FROM movies
--> ai_classify has no argument mutli; did you mean multi?

-- missing_labels: what is missing
SELECT ai_classify(title) FROM movies
--> ai_classify needs labels: ai_classify(input, labels, multi := NULL, instructions := NULL, examples := NULL)

-- no_input: nothing at all
SELECT ai_sentiment() FROM movies
--> ai_sentiment needs an input

-- too_many: too many arguments
SELECT ai_sentiment(title, 'a') FROM movies
--> ai_sentiment takes 1 arguments: ai_sentiment(input)

-- labels_of_the_row: labels that depend on the row
SELECT ai_classify(title, [studio]) FROM movies
--> ai_classify: every argument but the input must be constant, because all rows of a batch share it

-- model_of_the_row: a model that depends on the row
SELECT ai_sentiment(title, model := studio) FROM movies
--> ai_sentiment: model must be constant

-- labels_of_a_subquery: labels from a table
SELECT ai_classify(title, (SELECT list(tag) FROM tags)) FROM movies
--> ai_classify: every argument but the input must be constant

-- reversed_filter: the predicate first
SELECT id FROM movies WHERE ai_filter('is about war', overview)
--> ai_filter takes the input first and the predicate second: swap its arguments

-- bad_on_error: an unknown way
SELECT ai_sentiment(title, on_error := 'skip') FROM movies
--> on_error is 'null', 'capture' or 'fail', not 'skip'

-- same_label_twice: labels
SELECT ai_classify(title, ['a', 'a']) FROM movies
--> labels has the same label twice

-- bad_returns: a type that no answer has
SELECT ai_complete(title, returns := 'x BLOB') FROM movies
--> ai_complete:

-- in_lambda: a lambda
SELECT list_transform([title], lambda x: ai_sentiment(x)) FROM movies
--> ai_sentiment in a lambda or list comprehension: unnest the list

-- in_comprehension: a list comprehension
SELECT [ai_sentiment(x) FOR x IN [title]] FROM movies
--> ai_sentiment in a lambda or list comprehension: unnest the list

-- over_window: a window inside of the input
SELECT ai_sentiment(lag(title) OVER (ORDER BY id)) FROM movies
--> ai_sentiment over a window function: compute the window in a subquery

-- recursive: the recursive part
WITH RECURSIVE r(n, t) AS (SELECT 1, 'x' UNION ALL SELECT n + 1, ai_complete(t) FROM r WHERE n < 3) SELECT * FROM r
--> ai_complete in the recursive part of a CTE: build the rows first

-- string_agg_without_order: another text each time
SELECT ai_summarize(string_agg(title, ' ')) FROM movies
--> string_agg inside ai_summarize returns another text each time, because it has no order: write string_agg(… ORDER BY …)

-- list_without_order: likewise
SELECT studio, ai_summarize(list(title)) FROM movies GROUP BY studio
--> list inside ai_summarize returns another text each time

-- random_rows: random
SELECT ai_sentiment(title) FROM movies WHERE random() < 0.5
--> random() has another value in each stage: compute it in a table first

-- sample: a sample
SELECT ai_sentiment(title) FROM movies USING SAMPLE 5
--> ai_sentiment beside USING SAMPLE: take the sample into a table first

-- asof: an ASOF join
SELECT m.id FROM movies m ASOF JOIN reviews r ON m.id >= r.rid AND ai_classify(m.title, ['a', 'b']) = r.author
--> ai_classify in the ON of an ASOF JOIN: join first

-- order_of_union: ORDER BY of a set operation
SELECT title FROM movies UNION SELECT name FROM people ORDER BY ai_score(title, 'q')
--> ai_score in ORDER BY or LIMIT of a set operation: put the set operation into a subquery

-- limit_by_answer: an answer as the limit
SELECT title FROM movies LIMIT ai_complete('how many?', returns := 'INTEGER')
--> ai_complete in LIMIT: give a number

-- pivot: inside of PIVOT
PIVOT movies ON studio IN ('a', 'b') USING max(ai_sentiment(title))
--> ai_sentiment inside PIVOT: build the pivoted table in a subquery first, without the call

-- in_values: inside of VALUES
SELECT * FROM (VALUES (1, ai_complete('x'))) v(a, b)
--> ai_complete in VALUES: write SELECT … UNION ALL SELECT …

-- try_around: TRY
SELECT TRY(ai_sentiment(title)) FROM movies
--> ai_sentiment inside TRY: take the call out of it; it never raises

-- columns_around: COLUMNS
SELECT ai_sentiment(COLUMNS('t.*')) FROM movies
--> ai_sentiment

-- star_input: a star
SELECT ai_sentiment(*) FROM movies
--> ai_sentiment

-- unnest_struct: a struct made into columns
SELECT unnest(ai_extract(title, ['a', 'b'])) FROM movies
--> unnest of ai_extract in SELECT makes columns of a struct: name the fields, (x).field

-- filter_clause: no aggregate
SELECT ai_sentiment(title) FILTER (WHERE id > 3) FROM movies
--> ai_sentiment is no aggregate: it takes no DISTINCT, ORDER BY or FILTER

-- aggregate_captures: a group has no one error
SELECT studio, ai_agg(title, 'what is common?', on_error := 'capture') FROM movies GROUP BY studio
--> ai_agg has no on_error 'capture': a group has many answers

-- aggregate_distinct_ordered: which of equal texts counts is not told
SELECT ai_agg(DISTINCT title, 'what is common?' ORDER BY id) FROM movies
--> ai_agg takes DISTINCT or ORDER BY, not both: leave one out

-- aggregate_without_instructions: what is missing
SELECT ai_agg(title) FROM movies
--> ai_agg needs instructions: ai_agg(input, instructions)

-- aggregate_of_nothing: nothing at all
SELECT ai_summarize_agg() FROM movies
--> ai_summarize_agg needs an input

-- over: a window
SELECT ai_agg(title, 'what?') OVER (PARTITION BY studio) FROM movies
--> ai_agg is no window function: call it in a subquery, and look over its rows there

-- image: a picture is no text
SELECT upper(ai_image(title)) FROM movies
--> ai_image is the input of another function: write ai_classify(ai_image(path), …) or

-- unknown_column: DuckDB's own words
SELECT ai_sentiment(titel) FROM movies
--> Referenced column "titel" not found

-- Queries that the staged plan must answer as DuckDB does when it calls the functions directly.

-- design_example: filter, then classify and extract what passes
SELECT title, ai_classify(overview, ['drama', 'comedy', 'war']) AS genre, ai_extract(overview, ['hero', 'place']) AS who
FROM movies WHERE year > 1990 AND ai_filter(overview, 'is about war');

-- filter_alone: one filter
SELECT id FROM movies WHERE ai_filter(overview, 'p');

-- filter_one_argument: a question alone
SELECT id FROM movies WHERE ai_filter('Is this about war? ' || overview);

-- filter_not: a negated filter drops unknown rows
SELECT id FROM movies WHERE NOT ai_filter(overview, 'p');

-- filter_is_not_false: unknown rows are kept
SELECT id FROM movies WHERE ai_filter(overview, 'p') IS NOT FALSE;

-- filter_is_null: unknown rows alone
SELECT id FROM movies WHERE ai_filter(overview, 'p') IS NULL;

-- two_filters: both in one WHERE
SELECT id FROM movies WHERE ai_filter(overview, 'p') AND ai_filter(title, 'q');

-- two_filters_or: either of two
SELECT id FROM movies WHERE ai_filter(overview, 'p') OR ai_filter(title, 'q');

-- filter_or_cheap: a cheap condition settles half
SELECT id FROM movies WHERE year < 1990 OR ai_filter(overview, 'p');

-- filter_and_or: a mix
SELECT id FROM movies WHERE (year < 1990 AND ai_filter(title, 'p')) OR (studio = 'a' AND ai_filter(overview, 'q'));

-- filter_selected: the filter in the list
SELECT id, ai_filter(overview, 'p') AS war FROM movies ORDER BY id;

-- filter_both: the same filter in the list and in WHERE
SELECT id, ai_filter(overview, 'p') AS war FROM movies WHERE ai_filter(overview, 'p') ORDER BY id;

-- unnamed: DuckDB names the columns
SELECT ai_filter(overview, 'p'), ai_sentiment(title), upper(ai_summarize(title)) FROM movies;

-- nested: an answer is the input of another call
SELECT id, ai_classify(ai_summarize(overview), ['a', 'b']) AS c FROM movies;

-- nested_three: three levels
SELECT id FROM movies WHERE ai_filter(ai_translate(ai_summarize(overview), 'German'), 'p');

-- nested_where: the inner filtered by a cheap condition
SELECT ai_score(ai_complete(title || studio), 'good') AS s FROM movies WHERE rating > 5;

-- extract_field: a field of a struct
SELECT id, ai_extract(overview, ['hero', 'place']).hero AS hero FROM movies WHERE studio = 'a';

-- extract_typed: fields with types and questions
SELECT id, ai_extract(overview, {year: 'INTEGER', who: 'Who is the hero?'}) AS e FROM movies;

-- extract_filtered: a condition on a field
SELECT id FROM movies WHERE ai_extract(overview, {n: 'INTEGER'}).n > 10;

-- classify_multi: a list of labels
SELECT id, ai_classify(overview, ['a', 'b', 'c'], multi := true) AS l FROM movies;

-- classify_unnest: a row a label
SELECT id, unnest(ai_classify(overview, ['a', 'b', 'c'], multi := true)) AS l FROM movies ORDER BY id, l;

-- classify_described: labels with descriptions
SELECT id, ai_classify(overview, {sad: 'makes one cry', gay: 'makes one laugh'}) AS l FROM movies;

-- classify_instructed: all arguments
SELECT ai_classify(title, ['a', 'b'], instructions := 'be strict', examples := [{input: 'x', label: 'a'}]) FROM movies;

-- complete_typed: a simple type
SELECT id, ai_complete(overview, 'how many', returns := 'INTEGER') AS n FROM movies;

-- complete_computed: the answer in an expression
SELECT id, ai_complete(overview, 'how many', returns := 'INTEGER') * 2 + rating AS n FROM movies WHERE id < 20;

-- score_order: ordered by a score
SELECT id, ai_score(overview, 'funny') AS s FROM movies ORDER BY s DESC NULLS LAST, id;

-- score_top: the best five
SELECT id, ai_score(overview, 'funny') AS s FROM movies ORDER BY s DESC NULLS LAST, id LIMIT 5;

-- score_order_hidden: ordered by a score that is not shown
SELECT id FROM movies WHERE year > 1990 ORDER BY ai_score(overview, 'funny') DESC NULLS LAST, id LIMIT 5;

-- cascade: a cheap filter, then a score, then an extraction
SELECT id, ai_extract(title, ['a']) AS e FROM movies
WHERE ai_filter(overview, 'p') ORDER BY ai_score(overview, 'q') DESC NULLS LAST, id LIMIT 4;

-- top_by_cheap: only the rows that LIMIT keeps
SELECT id, ai_complete(title) AS t FROM movies ORDER BY rating DESC, id LIMIT 7;

-- top_by_alias: the order names an alias
SELECT id AS n, ai_complete(title) AS t FROM movies ORDER BY n DESC LIMIT 7;

-- top_by_position: the order names a position
SELECT id, ai_complete(title) AS t FROM movies ORDER BY 1 DESC LIMIT 7 OFFSET 3;

-- top_with_ties: ties are asked
SELECT studio, ai_complete(studio) AS t FROM movies ORDER BY studio LIMIT 2;

-- top_filtered: filter and limit
SELECT id, ai_complete(title) AS t FROM movies WHERE ai_filter(overview, 'p') ORDER BY id LIMIT 3;

-- case_guard: only one branch
SELECT id, CASE WHEN year > 1995 THEN ai_complete(title) ELSE 'old' END AS t FROM movies;

-- case_chain: three branches
SELECT id, CASE WHEN year < 1985 THEN 'old' WHEN studio = 'a' THEN ai_complete(title) ELSE ai_summarize(overview) END AS t FROM movies;

-- case_on_call: a branch decided by an answer
SELECT id, CASE WHEN ai_filter(overview, 'p') THEN ai_complete(title) ELSE ai_summarize(title) END AS t FROM movies;

-- case_simple: CASE of a value
SELECT id, CASE studio WHEN 'a' THEN ai_complete(title) WHEN 'b' THEN ai_sentiment(title) END AS t FROM movies;

-- case_of_call: CASE of an answer
SELECT id, CASE ai_classify(overview, ['a', 'b']) WHEN 'a' THEN 1 WHEN 'b' THEN ai_score(title, 'q') END AS t FROM movies;

-- coalesced: asked only where the first is NULL
SELECT id, coalesce(overview, ai_complete(title)) AS t FROM movies;

-- coalesced_calls: the second where the first has no answer
SELECT id, coalesce(ai_complete(overview, returns := 'INTEGER'), ai_complete(title, returns := 'INTEGER'), 0) AS t FROM movies;

-- grouped_filter: counted by a filter
SELECT studio, count(*) FILTER (WHERE ai_filter(overview, 'p')) AS n FROM movies GROUP BY studio ORDER BY studio;

-- grouped_sum: an answer inside an aggregate
SELECT studio, sum(ai_score(overview, 'q')) AS s, avg(ai_score(title, 'q')) AS a FROM movies GROUP BY studio;

-- grouped_by_call: grouped by an answer
SELECT ai_classify(overview, ['a', 'b', 'c']) AS g, count(*) AS n FROM movies GROUP BY g ORDER BY g;

-- grouped_by_position: grouped by a position
SELECT ai_classify(overview, ['a', 'b', 'c']), count(*) FROM movies GROUP BY 1;

-- grouped_by_all: GROUP BY ALL
SELECT ai_classify(overview, ['a', 'b', 'c']) AS g, studio, max(year) FROM movies GROUP BY ALL;

-- grouped_by_repeated: the expression again
SELECT ai_classify(overview, ['a', 'b', 'c']), count(*) FROM movies GROUP BY ai_classify(overview, ['a', 'b', 'c']);

-- grouped_nested: grouped by what is made of an answer
SELECT upper(ai_classify(overview, ['a', 'b', 'c'])) AS g, count(*) FROM movies WHERE year > 1985 GROUP BY 1;

-- having_cheap: only groups that a cheap condition keeps
SELECT director, sum(ai_score(overview, 'q')) FROM movies GROUP BY director HAVING count(*) > 6;

-- having_call: a condition on an answer
SELECT studio FROM movies GROUP BY studio HAVING max(ai_score(overview, 'q')) > 0.5;

-- having_group_call: a call over a whole group
SELECT studio, count(*) FROM movies GROUP BY studio HAVING ai_filter(string_agg(title, ' ' ORDER BY id), 'p');

-- group_summary: a call over a whole group, in the list
SELECT studio, ai_summarize(string_agg(title, ' ' ORDER BY id)) AS s FROM movies GROUP BY studio;

-- group_summary_having: with a cheap condition
SELECT director, ai_summarize(string_agg(title, ' ' ORDER BY id)) AS s FROM movies GROUP BY director HAVING count(*) > 7;

-- group_summary_top: the largest group alone
SELECT director, ai_summarize(string_agg(title, ' ' ORDER BY id)) AS s, count(*) AS n FROM movies
GROUP BY director ORDER BY n DESC, director LIMIT 2;

-- group_key_call: a call over a key
SELECT studio, ai_complete(studio) AS s, count(*) FROM movies GROUP BY studio;

-- group_filtered_summary: rows chosen by a filter, then summarized
SELECT studio, ai_summarize(string_agg(title, ' ' ORDER BY id)) AS s FROM movies WHERE ai_filter(overview, 'p') GROUP BY studio;

-- group_agg_filter_summary: FILTER inside of the input
SELECT studio, ai_summarize(string_agg(title, ' ' ORDER BY id) FILTER (WHERE ai_filter(overview, 'p'))) AS s FROM movies GROUP BY studio;

-- whole_aggregate: no GROUP BY
SELECT count(*), sum(ai_score(overview, 'q')) FROM movies WHERE year > 2000;

-- rollup: grouping sets
SELECT studio, director, sum(ai_score(overview, 'q')) FROM movies GROUP BY ROLLUP (studio, director);

-- count_distinct: distinct answers
SELECT count(DISTINCT ai_classify(overview, ['a', 'b', 'c'])) FROM movies;

-- distinct: distinct answers as rows
SELECT DISTINCT ai_classify(overview, ['a', 'b', 'c']) AS c FROM movies ORDER BY c;

-- distinct_repeated: ordered by the same call
SELECT DISTINCT ai_classify(overview, ['a', 'b', 'c']) FROM movies ORDER BY ai_classify(overview, ['a', 'b', 'c']);

-- distinct_on: one row a studio
SELECT DISTINCT ON (studio) studio, ai_complete(title) AS t FROM movies ORDER BY studio, id DESC;

-- distinct_on_call: one row an answer
SELECT DISTINCT ON (ai_classify(overview, ['a', 'b'])) id FROM movies ORDER BY ai_classify(overview, ['a', 'b']), id;

-- window_over_call: a rank by an answer
SELECT id, rank() OVER (PARTITION BY studio ORDER BY ai_score(overview, 'q')) AS r FROM movies;

-- window_argument: a running sum of answers
SELECT id, sum(ai_score(overview, 'q')) OVER (ORDER BY id) AS s FROM movies;

-- window_partition: partitions by an answer
SELECT id, row_number() OVER (PARTITION BY ai_classify(overview, ['a', 'b']) ORDER BY id) AS n FROM movies;

-- window_beside: a window beside a call
SELECT id, row_number() OVER (ORDER BY id) AS n, ai_complete(title) AS t FROM movies WHERE studio = 'b';

-- qualify_cheap: only the rows that QUALIFY keeps
SELECT id, ai_complete(title) AS t FROM movies QUALIFY row_number() OVER (PARTITION BY studio ORDER BY id) <= 2;

-- qualify_call: QUALIFY by a rank of answers
SELECT id FROM movies QUALIFY row_number() OVER (PARTITION BY studio ORDER BY ai_score(overview, 'q') DESC NULLS LAST, id) <= 2;

-- qualify_both: a call beside the window
SELECT id FROM movies QUALIFY row_number() OVER (PARTITION BY studio ORDER BY id) <= 4 AND ai_filter(overview, 'p');

-- join_inner: a filter after a join
SELECT m.id, r.rid FROM movies m JOIN reviews r ON r.movie = m.id WHERE m.year > 1990 AND ai_filter(r.body, 'p');

-- join_both: calls on both sides
SELECT m.id, ai_sentiment(r.body) AS s, ai_complete(m.title) AS t FROM movies m JOIN reviews r ON r.movie = m.id WHERE r.stars > 2;

-- join_on_call: the pair decides
SELECT m.id, p.pid FROM movies m JOIN people p ON m.director = p.pid AND ai_filter(m.title || p.name, 'p');

-- join_on_call_left: the pair decides, rows without a match stay
SELECT m.id, p.pid FROM movies m LEFT JOIN people p ON m.director = p.pid AND ai_filter(m.title || p.name, 'p');

-- join_on_call_left_filtered: with a condition on the preserved side
SELECT m.id, p.pid FROM movies m LEFT JOIN people p ON m.director = p.pid AND ai_filter(m.title || p.name, 'p') WHERE m.year > 1995;

-- join_on_call_left_unmatched: rows without a match alone
SELECT m.id FROM movies m LEFT JOIN people p ON m.director = p.pid AND ai_filter(m.title || p.name, 'p') WHERE p.pid IS NULL;

-- join_on_call_right: the other side is kept
SELECT m.id, p.pid FROM movies m RIGHT JOIN people p ON m.director = p.pid AND ai_filter(m.title || p.name, 'p') WHERE p.pid > 1;

-- join_on_call_full: both sides are kept
SELECT m.id, p.pid FROM movies m FULL JOIN people p ON m.director = p.pid AND ai_filter(m.title || p.name, 'p') WHERE m.id IS NULL OR m.year > 1990;

-- join_on_call_semi: a semi join
SELECT m.id FROM movies m SEMI JOIN people p ON m.director = p.pid AND ai_filter(m.title || p.name, 'p');

-- join_on_call_anti: an anti join
SELECT m.id FROM movies m ANTI JOIN people p ON m.director = p.pid AND ai_filter(m.title || p.name, 'p');

-- join_on_equal_answers: joined by answers
SELECT a.pid, b.pid FROM people a JOIN people b ON ai_classify(a.bio, ['x', 'y']) = ai_classify(b.bio, ['x', 'y']) AND a.pid < b.pid;

-- join_three: a chain of joins
SELECT m.id, t.tag, r.rid FROM movies m JOIN tags t ON t.movie = m.id JOIN reviews r ON r.movie = m.id
WHERE t.tid < 15 AND ai_filter(r.body, 'p') AND ai_filter(t.tag, 'q');

-- join_using: USING
SELECT movie, ai_sentiment(body) AS s, tag FROM reviews JOIN tags USING (movie) WHERE stars = 3;

-- join_natural: NATURAL
SELECT ai_sentiment(body) AS s, tag FROM reviews NATURAL JOIN tags WHERE stars = 3;

-- join_cross: a comma
SELECT p.pid, q.pid FROM people p, people q WHERE p.pid < q.pid AND ai_filter(p.bio || q.bio, 'same');

-- self_join: the same table twice
SELECT a.id, b.id FROM movies a JOIN movies b ON a.title = b.title AND a.id < b.id WHERE ai_filter(a.overview, 'p') AND ai_filter(b.overview, 'p');

-- left_join_call: a call on the side that may be missing
SELECT m.id, ai_sentiment(r.body) AS s FROM movies m LEFT JOIN reviews r ON r.movie = m.id AND r.stars = 3;

-- cte: a call in a CTE, filtered by its reader
WITH g AS (SELECT id, year, ai_classify(overview, ['a', 'b']) AS c FROM movies) SELECT id FROM g WHERE year > 2000 AND c = 'a';

-- cte_star: a star around it
WITH g AS (SELECT *, ai_classify(overview, ['a', 'b']) AS c FROM movies) SELECT * FROM g WHERE year > 2000 AND c = 'a';

-- cte_twice: read twice
WITH g AS (SELECT id, ai_classify(overview, ['a', 'b']) AS c FROM movies)
SELECT a.id, b.id FROM g a JOIN g b ON a.c = b.c AND a.id + 1 = b.id;

-- cte_chain: one reads the other
WITH f AS (SELECT * FROM movies WHERE ai_filter(overview, 'p')), g AS (SELECT id, ai_complete(title) AS t FROM f WHERE year > 1990)
SELECT * FROM g WHERE t <> 'said 3';

-- cte_grouped: grouped in the reader
WITH g AS (SELECT studio, ai_classify(overview, ['a', 'b', 'c']) AS c FROM movies) SELECT c, count(*) FROM g GROUP BY c;

-- cte_joined: joined in the reader
WITH g AS (SELECT rid, movie, ai_sentiment(body) AS s FROM reviews) SELECT m.id, g.s FROM movies m JOIN g ON g.movie = m.id WHERE m.year > 2000;

-- cte_materialized: materialized
WITH g AS MATERIALIZED (SELECT id, ai_sentiment(title) AS s FROM movies) SELECT s, count(*) FROM g GROUP BY s;

-- cte_unused: never read
WITH g AS (SELECT ai_complete(title) AS t FROM movies) SELECT ai_sentiment(name) FROM people;

-- cte_renamed: columns renamed
WITH g(a, b) AS (SELECT id, ai_sentiment(title) FROM movies WHERE id < 9) SELECT b, a FROM g WHERE a > 3;

-- subquery_from: a call in a subquery
SELECT id, s FROM (SELECT id, year, ai_sentiment(title) AS s FROM movies) WHERE year > 2000;

-- subquery_from_filter: a condition on an answer
SELECT id FROM (SELECT id, year, ai_score(title, 'q') AS s FROM movies) x WHERE s > 0.4 AND year > 1990;

-- subquery_from_limited: LIMIT inside
SELECT id, s FROM (SELECT id, year, ai_sentiment(title) AS s FROM movies ORDER BY rating, id LIMIT 10) WHERE year > 1990;

-- subquery_unused_column: an answer that nobody reads
SELECT id FROM (SELECT id, ai_sentiment(title) AS s FROM movies) WHERE id < 5;

-- exists_call: a filter in EXISTS
SELECT id FROM movies m WHERE EXISTS (FROM reviews r WHERE r.movie = m.id AND ai_filter(r.body, 'p'));

-- not_exists_call: a filter in NOT EXISTS
SELECT id FROM movies m WHERE year > 1990 AND NOT EXISTS (FROM reviews r WHERE r.movie = m.id AND ai_filter(r.body, 'p'));

-- exists_pair: both rows in one question
SELECT id FROM movies m WHERE EXISTS (FROM reviews r WHERE r.movie = m.id AND ai_filter(m.title || r.body, 'p'));

-- in_subquery: a filter in IN
SELECT id FROM movies WHERE id IN (SELECT movie FROM reviews WHERE ai_filter(body, 'p'));

-- not_in_subquery: a filter in NOT IN
SELECT id FROM movies WHERE id NOT IN (SELECT movie FROM reviews WHERE ai_filter(body, 'p'));

-- in_answers: an answer in a list of answers
SELECT id FROM movies WHERE ai_classify(overview, ['a', 'b']) IN (SELECT ai_classify(bio, ['a', 'b']) FROM people WHERE pid < 2);

-- scalar_subquery: a scalar subquery
SELECT id, (SELECT max(ai_score(body, 'q')) FROM reviews r WHERE r.movie = m.id) AS s FROM movies m;

-- scalar_subquery_call_outside: a call of a scalar subquery
SELECT id, ai_complete((SELECT min(body) FROM reviews r WHERE r.movie = m.id)) AS s FROM movies m;

-- scalar_subquery_where: compared with it
SELECT id FROM movies m WHERE rating > (SELECT avg(ai_complete(body, returns := 'INTEGER')) FROM reviews r WHERE r.movie = m.id);

-- scalar_uncorrelated: by itself
SELECT id FROM movies WHERE rating > (SELECT 10 * avg(ai_score(body, 'q')) FROM reviews);

-- subquery_in_case: guarded
SELECT id, CASE WHEN year > 2000 THEN (SELECT max(ai_sentiment(body)) FROM reviews r WHERE r.movie = m.id) END AS s FROM movies m;

-- lateral: a lateral subquery
SELECT m.id, l.s FROM movies m, LATERAL (SELECT ai_sentiment(r.body) AS s FROM reviews r WHERE r.movie = m.id AND r.stars = 1) l WHERE m.year > 1990;

-- lateral_alone: a lateral without rows of its own
SELECT m.id, l.s FROM movies m, LATERAL (SELECT ai_sentiment(m.title) AS s) l WHERE m.year > 1990;

-- lateral_left: kept without a match
SELECT m.id, l.s FROM movies m LEFT JOIN LATERAL (SELECT ai_sentiment(r.body) AS s FROM reviews r WHERE r.movie = m.id AND r.stars = 1) l ON true;

-- unnest_from: labels as rows
SELECT m.id, l FROM movies m, unnest(ai_classify(m.overview, ['a', 'b', 'c'], multi := true)) t(l) WHERE m.id < 20;

-- union_all: both sides
SELECT id, ai_sentiment(title) AS s FROM movies WHERE id < 5 UNION ALL SELECT pid, ai_sentiment(bio) FROM people;

-- union: without doubles
SELECT ai_classify(title, ['a', 'b']) AS c FROM movies UNION SELECT ai_classify(bio, ['b', 'c']) FROM people ORDER BY 1;

-- except: what the other has not
SELECT ai_classify(title, ['a', 'b', 'c']) AS c FROM movies EXCEPT SELECT ai_classify(bio, ['a', 'b']) FROM people;

-- intersect: what both have
SELECT title FROM movies WHERE ai_filter(overview, 'p') INTERSECT SELECT title FROM movies WHERE ai_filter(overview, 'q');

-- union_in_from: grouped outside
SELECT s, count(*) FROM (SELECT ai_sentiment(title) AS s FROM movies UNION ALL SELECT ai_sentiment(body) FROM reviews) GROUP BY s;

-- view: a view as the source
SELECT id, ai_sentiment(title) FROM recent WHERE rating > 3;

-- values: a list of values
SELECT a, ai_sentiment(b) FROM (VALUES (1, 'x'), (2, NULL), (3, 'y')) v(a, b);

-- range: a table function
SELECT i, ai_complete('number ' || i) FROM range(5) t(i);

-- no_from: no rows at all
SELECT ai_complete('hello') AS h, 1 + 1 AS two;

-- constant_input: one request for all rows
SELECT id, ai_complete('hello') AS h FROM movies WHERE id < 3;

-- struct_input: several columns at once
SELECT id, ai_filter({'t': title, 'y': year}, 'p') AS f FROM movies;

-- list_input: a list
SELECT ai_summarize(list(title ORDER BY id)) FROM movies WHERE id < 9;

-- number_input: a number
SELECT id, ai_complete(year) AS y FROM movies;

-- dotted: a method call
SELECT id FROM movies m WHERE overview.ai_filter('p');

-- named_arguments: all by name
SELECT id FROM movies WHERE ai_filter(input := overview, predicate := 'p');

-- arrow_arguments: with an arrow
SELECT id, ai_classify(overview, labels => ['a', 'b']) AS c FROM movies;

-- alias_in_where: an alias of the list in WHERE
SELECT id, upper(overview) AS u, ai_complete(u) AS c FROM movies WHERE u LIKE 'ABOUT 1%';

-- alias_of_call_in_where: the answer's alias in WHERE
SELECT id, ai_classify(overview, ['a', 'b']) AS c FROM movies WHERE year > 1990 AND c = 'a';

-- alias_of_call_again: an alias of an answer in another call
SELECT id, ai_summarize(overview) AS s, ai_sentiment(s) AS t FROM movies;

-- star: a star beside calls
SELECT *, ai_sentiment(title) AS s FROM movies WHERE year > 2000;

-- star_replace: a column replaced by an answer
SELECT * REPLACE (ai_translate(title, 'German') AS title) FROM movies WHERE id < 10;

-- star_exclude: a column left out
SELECT * EXCLUDE (overview), ai_sentiment(overview) AS s FROM movies WHERE id < 10;

-- between: a bounded answer
SELECT id FROM movies WHERE ai_score(overview, 'q') BETWEEN 0.3 AND 0.7;

-- in_list: an answer in a list
SELECT id FROM movies WHERE ai_classify(overview, ['a', 'b', 'c']) IN ('a', 'c') AND year > 1990;

-- like: an answer matched
SELECT id FROM movies WHERE ai_complete(title) LIKE '%1%';

-- cast: an answer cast
SELECT id, ai_score(overview, 'q')::DECIMAL(3, 1) AS d FROM movies;

-- concat_answers: two answers in one text
SELECT id, ai_sentiment(title) || '/' || ai_sentiment(overview) AS t FROM movies;

-- order_by_all: ORDER BY ALL
SELECT ai_classify(overview, ['a', 'b']) AS c, id FROM movies WHERE id < 12 ORDER BY ALL;

-- limit_without_order: any three rows
SELECT id, ai_sentiment(title) AS s FROM movies LIMIT 3;

-- limit_offset_without_order: any three rows further on
SELECT id, ai_sentiment(title) AS s FROM movies WHERE year > 1990 LIMIT 3 OFFSET 2;

-- limit_without_order_join: over a join
SELECT m.id, ai_sentiment(r.body) AS s FROM movies m JOIN reviews r ON r.movie = m.id ORDER BY m.id, r.rid LIMIT 5;

-- filtered_aggregate_having: both in one
SELECT studio, count(*) FILTER (WHERE ai_filter(title, 'p')) AS n FROM movies WHERE ai_filter(overview, 'q') GROUP BY studio HAVING count(*) > 3 ORDER BY studio;

-- agg_of_case: a guard inside an aggregate
SELECT studio, sum(CASE WHEN year > 1995 THEN ai_score(overview, 'q') ELSE 0 END) AS s FROM movies GROUP BY studio;

-- agg_case_outside: a guard around an aggregate
SELECT studio, CASE WHEN count(*) > 13 THEN max(ai_score(overview, 'q')) END AS s FROM movies GROUP BY studio;

-- arg_max: the best of each
SELECT studio, arg_max(title, (ai_score(overview, 'q'), id)) AS best FROM movies GROUP BY studio;

-- list_agg: answers as a list
SELECT studio, list(ai_sentiment(title) ORDER BY id) AS l FROM movies GROUP BY studio;

-- group_then_filter: groups, then a call over each, then a filter
SELECT * FROM (SELECT studio, ai_summarize(string_agg(title, ' ' ORDER BY id)) AS s FROM movies GROUP BY studio) WHERE ai_filter(s, 'p');

-- aggregate_of_answers_of_groups: two levels of groups
SELECT max(s) FROM (SELECT studio, sum(ai_score(overview, 'q')) AS s FROM movies GROUP BY studio);

-- recursive_source: rows of a recursive CTE
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 6) SELECT n, ai_complete('n' || n) FROM r;

-- cte_no_calls: a CTE without calls
WITH old AS (SELECT * FROM movies WHERE year < 1990) SELECT id, ai_sentiment(title) FROM old WHERE rating > 4;

-- cte_no_calls_chain: two of them
WITH a AS (SELECT * FROM movies WHERE year < 1990), b AS (SELECT * FROM a WHERE rating > 4) SELECT id, ai_sentiment(title) FROM b;

-- capture: an error beside the value
SELECT id, ai_sentiment(title, on_error := 'capture') AS s FROM movies;

-- if_function: the function if
SELECT id, if(year > 2000, ai_sentiment(title), 'old') AS s FROM movies;

-- not_distinct: compared with NULL
SELECT id FROM movies WHERE ai_classify(overview, ['a', 'b']) IS DISTINCT FROM 'a';

-- or_of_and: nested guards
SELECT id FROM movies WHERE year > 2005 OR (rating > 5 AND (studio = 'a' OR ai_filter(overview, 'p')));

-- exists_in_list: EXISTS in the list
SELECT id, EXISTS (FROM reviews r WHERE r.movie = m.id AND ai_filter(r.body, 'p')) AS e FROM movies m WHERE id < 20;

-- nested_correlation: two levels down
SELECT id FROM movies m WHERE EXISTS (FROM reviews r WHERE r.movie = m.id AND EXISTS (FROM tags t WHERE t.movie = r.movie AND ai_filter(t.tag || m.title, 'p')));

-- count_subquery: a count of passing rows
SELECT id, (SELECT count(*) FROM reviews r WHERE r.movie = m.id AND ai_filter(r.body, 'p')) AS n FROM movies m WHERE year > 1995 ORDER BY n DESC, id;

-- join_subqueries: two subqueries with calls
SELECT a.id, a.s, b.s FROM (SELECT id, ai_sentiment(title) AS s FROM movies) a JOIN (SELECT movie, ai_sentiment(body) AS s FROM reviews) b ON a.id = b.movie WHERE a.id < 12;

-- complete_built: a built input
SELECT id, ai_filter(format('Is {} of {} about war?', title, year)) AS f FROM movies;

-- filter_expression_input: a computed text
SELECT id FROM movies WHERE ai_filter(upper(title) || ' of ' || year, 'p');

-- filter_in_case_where: CASE in WHERE
SELECT id FROM movies WHERE CASE WHEN year > 2000 THEN ai_filter(overview, 'p') ELSE rating > 8 END;

-- filter_compared: a filter compared with a column
SELECT id FROM movies WHERE ai_filter(overview, 'p') = (rating > 4);

-- filter_xor: two filters that differ
SELECT id FROM movies WHERE ai_filter(overview, 'p') <> ai_filter(title, 'q');

-- three_filters: three in one WHERE
SELECT id FROM movies WHERE ai_filter(overview, 'p') AND ai_filter(title, 'q') AND ai_filter(studio, 'r') AND rating > 2;

-- filter_order_limit: filter, order and limit by a cheap column
SELECT id, title FROM movies WHERE ai_filter(overview, 'p') ORDER BY rating DESC, id LIMIT 5 OFFSET 2;

-- filter_count: a count of what passes
SELECT count(*) FROM movies WHERE ai_filter(overview, 'p');

-- filter_group: grouped after a filter
SELECT studio, count(*), avg(rating) FROM movies WHERE ai_filter(overview, 'p') GROUP BY ALL ORDER BY ALL;

-- filter_distinct: distinct after a filter
SELECT DISTINCT studio FROM movies WHERE ai_filter(overview, 'p');

-- filter_union_filter: filters on both sides
SELECT id FROM movies WHERE ai_filter(overview, 'p') UNION SELECT id FROM movies WHERE ai_filter(title, 'q');

-- classify_in_group_and_list: one call in three places
SELECT ai_classify(title, ['a', 'b']) AS c, count(*) AS n FROM movies GROUP BY ai_classify(title, ['a', 'b']) HAVING ai_classify(title, ['a', 'b']) = 'a';

-- classify_pairs: two classifications as one key
SELECT ai_classify(title, ['a', 'b']) AS c, ai_classify(overview, ['x', 'y']) AS d, count(*) FROM movies GROUP BY c, d;

-- classify_having_count: groups of answers with many rows
SELECT ai_classify(overview, ['a', 'b', 'c']) AS c FROM movies GROUP BY c HAVING count(*) > 9;

-- classify_filter_later: an answer filtered outside
SELECT c, count(*) FROM (SELECT ai_classify(overview, ['a', 'b']) AS c, year FROM movies) WHERE year > 1990 AND c IS NOT NULL GROUP BY c;

-- extract_two_fields: two fields of one call
SELECT id, ai_extract(title, ['a', 'b']).a AS a, ai_extract(title, ['a', 'b']).b AS b FROM movies;

-- extract_grouped: grouped by a field
SELECT ai_extract(title, ['a']).a AS a, count(*) FROM movies GROUP BY 1 ORDER BY 1;

-- extract_date: a date
SELECT id, ai_extract(title, {d: 'DATE'}).d AS d FROM movies WHERE id < 10;

-- extract_then_ask: a field as the next input
SELECT id, ai_sentiment(ai_extract(overview, ['hero']).hero) AS s FROM movies WHERE rating > 3;

-- score_window: the best of each group by a window in a subquery
SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY studio ORDER BY s DESC NULLS LAST, id) AS r FROM (SELECT id, studio, ai_score(overview, 'q') AS s FROM movies)) WHERE r <= 2;

-- score_having_avg: groups by their mean score
SELECT studio, avg(ai_score(overview, 'q')) AS s FROM movies GROUP BY studio HAVING avg(ai_score(overview, 'q')) > 0.3;

-- score_bucket: an answer in a bucket
SELECT floor(ai_score(overview, 'q') * 3) AS bucket, count(*) FROM movies GROUP BY bucket ORDER BY bucket;

-- score_difference: two scores
SELECT id, ai_score(overview, 'q') - ai_score(title, 'q') AS d FROM movies WHERE year > 1990;

-- score_max_by_id: an arg_max with a guard
SELECT studio, arg_max(id, CASE WHEN rating > 3 THEN ai_score(overview, 'q') END) FROM movies GROUP BY studio;

-- score_null_safe: NULL answers coalesced
SELECT id FROM movies WHERE coalesce(ai_score(overview, 'q'), 0) > 0.5;

-- join_filter_each_side: one filter each
SELECT m.id, r.rid FROM movies m JOIN reviews r ON r.movie = m.id WHERE ai_filter(m.overview, 'p') AND ai_filter(r.body, 'q');

-- join_aggregated: reviews of a film as one question
SELECT m.title, ai_summarize(string_agg(r.body, ' ' ORDER BY r.rid)) AS s FROM movies m JOIN reviews r ON r.movie = m.id GROUP BY m.id, m.title HAVING count(*) > 1;

-- join_left_filter_right: a filter on the optional side
SELECT m.id, r.rid FROM movies m LEFT JOIN reviews r ON r.movie = m.id WHERE r.rid IS NULL OR ai_filter(r.body, 'p');

-- join_subquery_filtered: a filtered subquery joined
SELECT m.id, f.rid FROM movies m JOIN (SELECT rid, movie FROM reviews WHERE ai_filter(body, 'p')) f ON f.movie = m.id WHERE m.year > 1990;

-- join_cte_twice_filtered: a filtered CTE, twice
WITH f AS (SELECT rid, movie FROM reviews WHERE ai_filter(body, 'p')) SELECT a.rid, b.rid FROM f a JOIN f b ON a.movie = b.movie AND a.rid < b.rid;

-- join_semi_answers: a semi join by answers
SELECT pid FROM people a SEMI JOIN (SELECT ai_classify(title, ['a', 'b']) AS c FROM movies WHERE id < 3) b ON ai_classify(a.bio, ['a', 'b']) = b.c;

-- join_four: four relations
SELECT m.id, r.rid, t.tid, p.pid FROM movies m JOIN reviews r ON r.movie = m.id JOIN tags t ON t.movie = m.id JOIN people p ON p.pid = m.director WHERE ai_filter(r.body || t.tag || p.name, 'p');

-- subquery_two_levels: two subqueries around
SELECT s FROM (SELECT * FROM (SELECT id, ai_sentiment(title) AS s FROM movies) WHERE id > 4) WHERE id < 9;

-- subquery_aggregate_of_filter: a filter below an aggregate
SELECT studio, n FROM (SELECT studio, count(*) AS n FROM movies WHERE ai_filter(overview, 'p') GROUP BY studio) WHERE n > 2;

-- subquery_scalar_in_input: a scalar subquery in the input
SELECT id, ai_complete(title || (SELECT max(name) FROM people)) AS c FROM movies WHERE id < 6;

-- subquery_any: compared with ANY
SELECT id FROM movies WHERE rating > ANY (SELECT ai_complete(body, returns := 'INTEGER') FROM reviews WHERE stars = 3);

-- exists_of_answer: EXISTS with an answer compared
SELECT id FROM movies m WHERE EXISTS (FROM reviews r WHERE r.movie = m.id AND ai_sentiment(r.body) = 'positive');

-- exists_or_cheap: EXISTS beside a cheap condition
SELECT id FROM movies m WHERE year > 2005 OR EXISTS (FROM reviews r WHERE r.movie = m.id AND ai_filter(r.body, 'p'));

-- lateral_filter: a lateral filtered by a call
SELECT m.id, l.rid FROM movies m, LATERAL (SELECT rid FROM reviews r WHERE r.movie = m.id AND ai_filter(r.body, 'p') ORDER BY rid LIMIT 1) l;

-- lateral_top: the first review, summarized
SELECT m.id, l.s FROM movies m, LATERAL (SELECT ai_summarize(r.body) AS s FROM reviews r WHERE r.movie = m.id ORDER BY rid LIMIT 1) l WHERE m.rating > 5;

-- union_grouped: groups of a union
SELECT kind, count(*) FILTER (WHERE f) FROM (SELECT 'm' AS kind, ai_filter(title, 'p') AS f FROM movies UNION ALL SELECT 'p', ai_filter(bio, 'p') FROM people) GROUP BY kind ORDER BY kind;

-- union_limited: LIMIT in one part
(SELECT id, ai_sentiment(title) AS s FROM movies ORDER BY id LIMIT 3) UNION ALL SELECT pid, ai_sentiment(bio) FROM people ORDER BY 1, 2;

-- window_lag: an answer beside the row before
SELECT id, ai_sentiment(title) AS s, lag(ai_sentiment(title)) OVER (ORDER BY id) AS before FROM movies;

-- window_filter_clause: a window with FILTER
SELECT id, count(*) FILTER (WHERE ai_filter(overview, 'p')) OVER (PARTITION BY studio) AS n FROM movies;

-- window_share: a share of scores
SELECT id, ai_score(overview, 'q') / sum(ai_score(overview, 'q')) OVER (PARTITION BY studio) AS share FROM movies;

-- qualify_filter_and_top: filter, then the first of each
SELECT id, studio FROM movies WHERE ai_filter(overview, 'p') QUALIFY row_number() OVER (PARTITION BY studio ORDER BY rating DESC, id) = 1;

-- top_join: the first rows of a join
SELECT m.id, r.rid, ai_sentiment(r.body) AS s FROM movies m JOIN reviews r ON r.movie = m.id ORDER BY r.stars DESC, r.rid LIMIT 4;

-- top_grouped: the largest groups of an answer
SELECT ai_classify(title, ['a', 'b', 'c']) AS c, count(*) AS n FROM movies GROUP BY c ORDER BY n DESC, c LIMIT 2;

-- case_in_input: a guard inside of the input
SELECT id, ai_complete(CASE WHEN year > 2000 THEN title END) AS c FROM movies;

-- case_around_exists: EXISTS in a guard
SELECT id, CASE WHEN EXISTS (FROM reviews r WHERE r.movie = m.id AND r.stars = 3) THEN ai_complete(title) END AS c FROM movies m;

-- nullif_answer: an answer made NULL
SELECT id, nullif(ai_sentiment(title), 'neutral') AS s FROM movies;

-- list_contains_label: a label in a list
SELECT id FROM movies WHERE list_contains(ai_classify(overview, ['a', 'b', 'c'], multi := true), 'a');

-- list_length: how many labels
SELECT id, len(ai_classify(overview, ['a', 'b', 'c'], multi := true)) AS n FROM movies WHERE year > 1990;

-- unnest_grouped: labels counted
SELECT l, count(*) FROM (SELECT unnest(ai_classify(overview, ['a', 'b', 'c'], multi := true)) AS l FROM movies) GROUP BY l;

-- cross_model: the same call by another model
SELECT id, ai_sentiment(title, model := 'x') AS a FROM movies WHERE id < 8;

-- with_params: parameters of a call
SELECT id, ai_complete(title, params := {temperature: 0}) AS a FROM movies WHERE id < 8;

-- redact_kinds: kinds to redact
SELECT id, ai_redact(overview, kinds := ['name']) AS a, ai_fix_grammar(title) AS b FROM movies WHERE id < 8;

-- translate_from_to: from one language to another
SELECT id, ai_translate(title, 'English', 'German') AS a FROM movies WHERE id < 8;

-- from_first: FROM first
FROM movies SELECT id, ai_sentiment(title) AS s WHERE year > 2000;

-- date_input: a date as the input
SELECT id, ai_complete(make_date(year, 1, 1)) AS d FROM movies WHERE id < 5;

-- bool_and: an aggregate of filters
SELECT studio, bool_and(ai_filter(overview, 'p')) AS every, bool_or(ai_filter(title, 'q')) AS some FROM movies GROUP BY studio;

-- one_value: a condition on an answer where the input has one value only
SELECT id FROM (SELECT id, ai_complete(studio) AS v FROM movies WHERE studio = 'a') WHERE v <> 'said 3' AND id > 4;

-- alias_of_aggregate_in_having: an aggregate of answers by its alias
SELECT studio, max(ai_score(overview, 'q')) AS m FROM movies GROUP BY studio HAVING m > 0.5;

-- key_and_aggregate: one call in a key and in an aggregate
SELECT ai_classify(ai_summarize(title), ['a', 'b', 'c']) AS k, count(*) FILTER (WHERE ai_filter(ai_summarize(title), 'p')) AS n FROM movies GROUP BY k;

-- agg: one answer about all texts of a group
SELECT studio, ai_agg(overview, 'What is common?') AS common, count(*) AS n FROM movies GROUP BY studio

-- agg_whole: no groups, and a cheap condition
SELECT ai_summarize_agg(body) AS short FROM reviews WHERE stars > 1

-- agg_having: a condition on an aggregate of rows that pass a filter
SELECT studio, count(*) AS n FROM movies WHERE ai_filter(title, 'good?') GROUP BY studio HAVING ai_agg(title, 'Which?') > 'said 2'

-- agg_of_answers: answers of rows
SELECT author, ai_agg(ai_complete(body, 'Say it.'), 'Together?') AS said FROM reviews WHERE stars > 2 GROUP BY author

-- image_class: a picture by itself, and a row without one
SELECT id, ai_classify(ai_image(overview), ['a', 'b']) AS c FROM movies WHERE year > 1990;

-- image_filter_then: pictures that pass a filter are described; the name is made of columns of two tables
SELECT rid, ai_complete(ai_image('pictures/' || title || '/' || rid), 'Describe it.') AS d FROM movies JOIN reviews ON movie = id WHERE ai_filter(ai_image(title), 'p') AND stars > 1;

-- image_not: a condition that must not hold, below a subquery
SELECT count(*) AS n FROM (SELECT * FROM movies WHERE NOT ai_filter(ai_image(title), 'p')) m WHERE ai_score(ai_image(studio), 's') > 0.3;

-- image_blob: pictures that rows hold
SELECT id, ai_sentiment(ai_image(encode(title))) AS s FROM movies WHERE CASE WHEN year > 2000 THEN ai_filter(ai_image(encode(title)), 'q') ELSE id < 4 END;

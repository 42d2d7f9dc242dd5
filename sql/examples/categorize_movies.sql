/* sqlbatch
into = "movie_tags"
model = "gpt-6-luna"
input = ["overview"]
returns = "categories VARCHAR[] COMMENT 'two to four genres, lower case', summary VARCHAR COMMENT 'one sentence'"
instructions = """
You are given a film. Name its genres and sum it up in one sentence, without giving the end away.
"""
*/
SELECT title, year, overview
FROM 'data/movies.csv'
ORDER BY title, year

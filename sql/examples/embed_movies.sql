/* sqlbatch
into = "movie_vectors"
endpoint = "embeddings"
model = "text-embedding-3-small"
param = { dimensions = 256 }
input = ["overview"]
*/
SELECT title, year, overview
FROM 'data/movies.csv'
ORDER BY title, year

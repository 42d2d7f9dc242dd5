-- What was spent, where the results themselves are given up.

-- fold: add up what some results cost, before they are deleted: their day, job, model and all that their price depends on
INSERT INTO sqlbatch.spent BY NAME
SELECT day, job_id, batch_id, source, outcome, base_url, model, batch_factor, long, sum(results)::BIGINT AS results,
  sum(tokens_in)::BIGINT AS tokens_in, sum(tokens_cached)::BIGINT AS tokens_cached, sum(tokens_out)::BIGINT AS tokens_out
FROM sqlbatch.billed r
WHERE {which}
GROUP BY ALL;

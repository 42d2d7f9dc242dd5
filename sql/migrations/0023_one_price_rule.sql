-- Which price holds is said once: by the view costs and by what sqlbatch asks before a job alike.

-- Which prices are of a model, in a tier: those without an address hold everywhere, a family's also for its dated models.
CREATE MACRO is_price_of(price_url, price_model, price_tier, url, model, tier) AS
  (price_url IS NULL OR price_url = url) AND price_tier IN (tier, 'default')
  AND lower(price_model) IN (lower(model), regexp_replace(lower(model), '-\d{4}-\d{2}-\d{2}$', ''));

-- Which of them holds on a day, the least one: your own before sqlbatch.toml's before the price library's, a dated model's own
-- before its family's, the tier's own before the default one, the nearest day.
CREATE MACRO price_rank(rate, origin, valid_from, price_model, price_tier, model, tier, day) AS row(
  rate IS NULL AND origin = 'shipped', valid_from > day, lower(price_model) <> lower(model),
  array_position(['own', 'toml', 'shipped'], origin), price_tier <> tier, abs(date_diff('day', valid_from, day)));

-- What was spent, in dollars: a row a result, or a sum of those that are no longer kept (custom_id is NULL then). dollars
-- is NULL where no price is known; a price that becomes known later prices what was spent earlier. The price is that of
-- the day, the tier and the length of the prompt; yours goes before sqlbatch's, a dated model's own before its family's.
CREATE OR REPLACE VIEW costs AS
WITH all_billed AS (
  FROM billed
  UNION ALL BY NAME
  SELECT *, NULL::UUID AS custom_id FROM spent
), priced AS (
  SELECT k.base_url, k.model, k.day, k.tier, k.above, p."input", p.cached, p.cache_write, p."output", p.batch_factor,
    p.tier = k.tier AS same
  FROM (SELECT DISTINCT base_url, model, day, tier, above FROM all_billed) k
  JOIN prices p ON is_price_of(p.base_url, p.model, p.tier, k.base_url, k.model, k.tier) AND p.above <= k.above
  QUALIFY row_number() OVER (PARTITION BY k.base_url, k.model, k.day, k.tier, k.above
    ORDER BY price_rank(p."input", p.origin, p.valid_from, p.model, p.tier, k.model, k.tier, k.day), p.above DESC, p.rowid DESC) = 1
)
SELECT a.day, a.job_id, j.target, a.base_url, a.model, a.source, a.batch_id, a.custom_id, a.outcome, a.results,
  a.tokens_in, a.tokens_cached, a.tokens_cache_write, a.tokens_out,
  CASE WHEN a.base_url = 'local' OR a.batch_factor = 0 THEN 0 ELSE (
      (a.tokens_in - a.tokens_cached - a.tokens_cache_write) * p."input" + a.tokens_cached * coalesce(p.cached, p."input")
      + a.tokens_cache_write * coalesce(p.cache_write, p."input")
      + CASE WHEN a.tokens_out = 0 THEN 0 ELSE a.tokens_out * p."output" END
    ) * CASE WHEN p.same OR a.tier <> 'batch' THEN 1 ELSE coalesce(p.batch_factor, a.batch_factor, 1) END / 1e6 END AS dollars
FROM all_billed a
LEFT JOIN priced p ON p.base_url IS NOT DISTINCT FROM a.base_url AND p.model = a.model AND p.day = a.day AND p.tier = a.tier
  AND p.above = a.above
LEFT JOIN jobs j ON j.job_id = a.job_id;

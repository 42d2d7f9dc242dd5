"""AI functions in the analyst's SQL: find them in the query, plan them in stages, answer them in batches."""

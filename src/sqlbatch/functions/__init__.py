"""AI functions in the analyst's SQL: found in the query, planned in stages, answered as batches."""

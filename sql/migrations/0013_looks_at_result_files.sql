-- How often the result files of a batch were fetched and could not be used.

ALTER TABLE batches ADD COLUMN looks BIGINT;

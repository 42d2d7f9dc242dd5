-- Lines of files that a user hands in are of no batch.

ALTER TABLE quarantine ALTER COLUMN batch_id DROP NOT NULL;

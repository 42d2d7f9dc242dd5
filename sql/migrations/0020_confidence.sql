-- How sure the model was of each returned value, where its answer came with log probabilities (--confidence).
ALTER TABLE results ADD COLUMN confidence MAP(VARCHAR, DOUBLE);
ALTER TABLE sent_calls ADD COLUMN logprobs BOOLEAN;
CREATE OR REPLACE VIEW counted AS
SELECT w.job_id, r.*
FROM wanted w JOIN results r USING (custom_id)
WHERE w.not_before IS NULL OR r.asked_at >= w.not_before;

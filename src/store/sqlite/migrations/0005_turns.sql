-- How many items of a batch, from the first, manual requests ask for.
ALTER TABLE batches ADD COLUMN manual_count INTEGER NOT NULL DEFAULT 0;

-- The UTC day whose limit the items count toward: from the first attempt, until CloudFront has certainly
-- created nothing from the batch.
ALTER TABLE batches ADD COLUMN counted_on TEXT;
UPDATE batches SET counted_on = date(created_at / 1000000, 'unixepoch')
    WHERE status = 'pending' AND EXISTS (SELECT 1 FROM attempts WHERE attempts.batch = batches.seq);

-- Exact paths and wildcards are planned from windows of their own.
DROP INDEX targets_waiting;
CREATE INDEX targets_waiting ON targets (distribution_id, wildcard, manual DESC, accepted_at, seq)
    WHERE batch IS NULL;

-- The items of a batch that was replaced are kept by those that took its place.
DELETE FROM batch_items WHERE batch IN (SELECT seq FROM batches WHERE status = 'replaced');

-- S3's sequencer, for display.
ALTER TABLE changes ADD COLUMN sequencer TEXT;

-- Why mapping failed at a distribution (or at all), once the dead letter that said so was deleted: then
-- the row is no skip, but a failure.
ALTER TABLE skips ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;

-- What the changes of one object are found by: a short hash of its bucket and key. Changes up to this
-- number have none, and are found by reading them one by one until store.keep deletes them.
ALTER TABLE changes ADD COLUMN object_hash INTEGER;
ALTER TABLE journal ADD COLUMN unhashed INTEGER NOT NULL DEFAULT 0;
UPDATE journal SET unhashed = max(last, coalesce((SELECT max(seq) FROM changes), 0));
-- Hashes arrive in random order, but only within a block of 8,192 changes: the part of the index that
-- intake writes to is small, however long the journal is. A search looks into each block.
CREATE INDEX changes_of_object ON changes (seq >> 13, object_hash) WHERE object_hash IS NOT NULL;

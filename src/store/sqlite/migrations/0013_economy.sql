-- What merging did to a batch, as JSON: most batches have no row. The distribution and the time are the batch's, so
-- that the last wildcards of a distribution are found by them.
CREATE TABLE batch_merges (
    batch INTEGER PRIMARY KEY,
    distribution_id TEXT NOT NULL,
    frozen_at INTEGER NOT NULL,
    merges TEXT NOT NULL
);
CREATE INDEX batch_merges_of_distribution ON batch_merges (distribution_id, frozen_at);

-- Invalidations that purgefront did not create, as far as it has read them: each counts once.
CREATE TABLE others_invalidations (
    seq INTEGER PRIMARY KEY,
    distribution_id TEXT NOT NULL,
    cloudfront_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    paths INTEGER NOT NULL
);
CREATE UNIQUE INDEX others_invalidations_once ON others_invalidations (distribution_id, cloudfront_id);

-- The paths of those that were created on that day.
ALTER TABLE day_spending ADD COLUMN others INTEGER NOT NULL DEFAULT 0;

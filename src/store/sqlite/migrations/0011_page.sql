-- What the status page reads: each distribution's completed batches, the newest first, and the dead
-- letters with the same reason.
CREATE INDEX batches_completed ON batches (distribution_id, completed_at) WHERE status = 'completed';
CREATE INDEX dead_letters_by_reason ON dead_letters (why);

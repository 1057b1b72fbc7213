-- AUTOINCREMENT: the number of a dead letter that was dropped is never given to another one.
CREATE TABLE numbered_dead_letters (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('record', 'item')),
    why TEXT NOT NULL,
    content TEXT,
    message INTEGER REFERENCES messages (seq),
    change INTEGER REFERENCES changes (seq),
    distribution_id TEXT,
    batch INTEGER REFERENCES batches (seq),
    created_at INTEGER NOT NULL
);
INSERT INTO numbered_dead_letters
    (seq, kind, why, content, message, change, distribution_id, batch, created_at)
    SELECT seq, kind, why, content, message, change, distribution_id, batch, created_at
    FROM dead_letters;
DROP TABLE dead_letters;
ALTER TABLE numbered_dead_letters RENAME TO dead_letters;
CREATE INDEX dead_letters_of_message ON dead_letters (message) WHERE message IS NOT NULL;
CREATE INDEX dead_letters_of_change ON dead_letters (change) WHERE change IS NOT NULL;
-- A batch can have thousands of dead letters: each is found by its item.
CREATE INDEX dead_letters_of_batch ON dead_letters (batch, content) WHERE batch IS NOT NULL;

-- Invalidations are listed by status, newest first.
CREATE INDEX batches_by_status ON batches (status, seq);

-- Deploy windows. Those that are over stay for a while: batching begins anew at their end.
CREATE TABLE holds (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    distribution_id TEXT,
    bucket TEXT,
    -- A JSON list: the only distributions of a bucket that are held. NULL: all.
    distributions TEXT,
    token TEXT NOT NULL,
    reason TEXT,
    -- What the caller sent to repeat the call safely, and the SHA-256 of the body.
    idempotency_key TEXT,
    body BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    -- Set when it was ended before its time.
    ended_at INTEGER,
    CHECK ((distribution_id IS NULL) <> (bucket IS NULL))
);

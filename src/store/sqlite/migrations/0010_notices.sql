-- Who is told of completed and failed invalidations and of dead letters. Set at each start.
CREATE TABLE notice_targets (
    key TEXT PRIMARY KEY,
    -- JSON lists.
    kinds TEXT NOT NULL,
    -- NULL: all.
    distributions TEXT
);

-- The outbox: what waits for delivery to a target. Written in the transaction that it is about.
CREATE TABLE notices (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    target TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER NOT NULL
);
CREATE INDEX notices_of_target ON notices (target);
CREATE INDEX notices_due ON notices (target, due_at);
CREATE INDEX notices_by_age ON notices (created_at);

-- Times are microseconds since 1970 in UTC. Numbers (seq) grow with time.

-- SNS messages that were believed. The unique index is what makes a repeat harmless; its
-- entries arrive almost in the order of their signed time, which keeps it cheap.
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY,
    signed_at INTEGER NOT NULL,
    message_id BLOB NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('notification', 'subscription_confirmation', 'unsubscribe_confirmation')),
    topic TEXT NOT NULL,
    accepted_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX messages_once ON messages (signed_at, message_id);

-- POST /invalidate.
CREATE TABLE requests (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    token TEXT NOT NULL,
    reason TEXT,
    accepted_at INTEGER NOT NULL
);

-- The journal: an S3 record (message set) or a path of a request (request set).
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY,
    message INTEGER REFERENCES messages (seq),
    request INTEGER REFERENCES requests (seq),
    bucket TEXT,
    object_key TEXT,
    event TEXT,
    event_time INTEGER,
    distribution_id TEXT,
    path TEXT,
    accepted_at INTEGER NOT NULL,
    -- 0: nobody has looked at it; 1: waits for the catalogue; 2: mapped
    state INTEGER NOT NULL DEFAULT 0 CHECK (state IN (0, 1, 2)),
    CHECK ((message IS NULL) <> (request IS NULL))
);
CREATE INDEX changes_unmapped ON changes (state, request IS NULL, seq) WHERE state < 2;
CREATE INDEX changes_of_message ON changes (message) WHERE message IS NOT NULL;
CREATE INDEX changes_of_request ON changes (request) WHERE request IS NOT NULL;

-- What mapped changes need: an item at a distribution. Without a batch it waits; position
-- says which item of its batch covers it.
CREATE TABLE targets (
    seq INTEGER PRIMARY KEY,
    change INTEGER NOT NULL REFERENCES changes (seq),
    distribution_id TEXT NOT NULL,
    item TEXT NOT NULL,
    because TEXT NOT NULL,
    manual INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    batch INTEGER REFERENCES batches (seq),
    position INTEGER,
    CHECK ((batch IS NULL) = (position IS NULL))
);
CREATE INDEX targets_waiting ON targets (distribution_id, manual DESC, seq) WHERE batch IS NULL;
CREATE INDEX targets_of_batch ON targets (batch, position) WHERE batch IS NOT NULL;
CREATE INDEX targets_of_change ON targets (change);

-- Changes, or distributions of them, that need nothing, and why.
CREATE TABLE skips (
    seq INTEGER PRIMARY KEY,
    change INTEGER NOT NULL REFERENCES changes (seq),
    distribution_id TEXT,
    why TEXT NOT NULL
);
CREATE INDEX skips_of_change ON skips (change);

-- Frozen batches, one CreateInvalidation each.
CREATE TABLE batches (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    distribution_id TEXT NOT NULL,
    caller_reference TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL CHECK
        (status IN ('pending', 'in_progress', 'completed', 'failed', 'replaced', 'shadowed')),
    -- the batch that it took the place of, with others
    parent INTEGER REFERENCES batches (seq),
    -- it had its fresh reference, after a conflict
    renamed INTEGER NOT NULL DEFAULT 0,
    cloudfront_id TEXT,
    item_count INTEGER NOT NULL,
    wildcard_count INTEGER NOT NULL,
    change_count INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    submitted_at INTEGER,
    completed_at INTEGER,
    failures INTEGER NOT NULL DEFAULT 0,
    -- pending: not to be sent before; in_progress: when to look
    due_at INTEGER NOT NULL
);
CREATE INDEX batches_open ON batches (status, due_at) WHERE status IN ('pending', 'in_progress');
CREATE INDEX batches_of_parent ON batches (parent) WHERE parent IS NOT NULL;
CREATE INDEX batches_of_distribution ON batches (distribution_id, seq);
CREATE INDEX batches_by_cloudfront_id ON batches (cloudfront_id) WHERE cloudfront_id IS NOT NULL;

CREATE TABLE batch_items (
    batch INTEGER NOT NULL REFERENCES batches (seq),
    position INTEGER NOT NULL,
    item TEXT NOT NULL,
    PRIMARY KEY (batch, position)
) WITHOUT ROWID;

-- CreateInvalidation calls, recorded before they leave. Without an outcome it is unknown.
CREATE TABLE attempts (
    seq INTEGER PRIMARY KEY,
    batch INTEGER NOT NULL REFERENCES batches (seq),
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    outcome TEXT,
    detail TEXT
);
CREATE INDEX attempts_of_batch ON attempts (batch);

-- What was accepted and can never succeed.
CREATE TABLE dead_letters (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('record', 'item')),
    why TEXT NOT NULL,
    content TEXT,
    message INTEGER REFERENCES messages (seq),
    change INTEGER REFERENCES changes (seq),
    distribution_id TEXT,
    batch INTEGER REFERENCES batches (seq),
    created_at INTEGER NOT NULL
);
CREATE INDEX dead_letters_of_batch ON dead_letters (batch) WHERE batch IS NOT NULL;
CREATE INDEX dead_letters_of_message ON dead_letters (message) WHERE message IS NOT NULL;
CREATE INDEX dead_letters_of_change ON dead_letters (change) WHERE change IS NOT NULL;

-- Distributions that are not served for a while: paused, or refused.
CREATE TABLE brakes (
    distribution_id TEXT PRIMARY KEY,
    paused INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- Whether anything is sent at all: one row, once somebody paused.
CREATE TABLE pauses (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    paused INTEGER NOT NULL
);

-- Items sent, by day since 1970 in UTC.
CREATE TABLE days (
    day INTEGER PRIMARY KEY,
    items INTEGER NOT NULL DEFAULT 0,
    lifted INTEGER NOT NULL DEFAULT 0
);

-- Subscriptions to confirm.
CREATE TABLE confirmations (
    topic TEXT NOT NULL,
    token TEXT NOT NULL,
    signed_at INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'confirmed', 'given_up')),
    failures INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER NOT NULL,
    detail TEXT,
    PRIMARY KEY (topic, token)
);

-- Topics whose subscription somebody ended, until something later comes from them.
CREATE TABLE ended_subscriptions (
    topic TEXT PRIMARY KEY,
    signed_at INTEGER NOT NULL
);

-- The catalogue as last read: one row, and a JSON document for each distribution.
CREATE TABLE catalogue (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    read_since INTEGER NOT NULL,
    -- a JSON object: what is known of cache policies, by id
    cache_policies TEXT NOT NULL
);
CREATE TABLE distributions (
    id TEXT PRIMARY KEY,
    document TEXT NOT NULL
) WITHOUT ROWID;

-- Changes that are to be mapped again to a distribution which the catalogue knew wrongly:
-- those accepted since a time, after one, up to another.
CREATE TABLE remaps (
    seq INTEGER PRIMARY KEY,
    distribution_id TEXT NOT NULL,
    since INTEGER NOT NULL,
    after INTEGER NOT NULL,
    through INTEGER NOT NULL
);

-- Signing certificates that messages were verified with.
CREATE TABLE certificates (
    url TEXT PRIMARY KEY,
    pem TEXT NOT NULL,
    kept_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Written over and over while the disk refuses, to learn when it no longer does.
CREATE TABLE probe (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    filler BLOB NOT NULL
);

-- Numbers of changes are taken from here, so that none is given twice when old changes are deleted.
CREATE TABLE journal (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    last INTEGER NOT NULL
);
INSERT INTO journal (only, last) SELECT 1, coalesce(max(seq), 0) FROM changes;

-- State 1 from now on: the change waits for the catalogue, at one distribution or for all. Changes
-- that wait already are looked at again.
UPDATE changes SET state = 0 WHERE state = 1 AND state < 2;
-- The catalogue that a change was mapped to all its distributions with.
ALTER TABLE changes ADD COLUMN mapped_revision INTEGER NOT NULL DEFAULT 0;

-- What changes wait for.
CREATE TABLE waits (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('bucket', 'details', 'policy', 'again')),
    -- empty if the change waits for all
    distribution_id TEXT NOT NULL,
    -- of the bucket or the policy; otherwise empty
    name TEXT NOT NULL,
    UNIQUE (kind, distribution_id, name)
);
CREATE TABLE change_waits (
    wait INTEGER NOT NULL REFERENCES waits (seq),
    change INTEGER NOT NULL REFERENCES changes (seq),
    PRIMARY KEY (wait, change)
) WITHOUT ROWID;
CREATE INDEX change_waits_of_change ON change_waits (change);

-- The number of the journal's last change when the reading of the distributions began. For a reading
-- from before, the last change that is surely older: times may be 10 s out of order.
ALTER TABLE catalogue ADD COLUMN journal_end INTEGER NOT NULL DEFAULT 0;
UPDATE catalogue SET journal_end = coalesce(
    (SELECT seq FROM changes WHERE accepted_at < read_since - 10000000 ORDER BY seq DESC LIMIT 1), 0);

-- Changes after a number that were mapped with a catalogue before this one, which was the first that
-- had the distribution as it is.
CREATE TABLE late_distributions (
    seq INTEGER PRIMARY KEY,
    distribution_id TEXT NOT NULL,
    after INTEGER NOT NULL,
    revision INTEGER NOT NULL
);
INSERT INTO late_distributions (distribution_id, after, revision)
    SELECT distribution_id, max(after, 0), coalesce((SELECT revision FROM catalogue), 1)
    FROM remaps WHERE through = 9223372036854775807 ORDER BY seq;
-- Single changes, from the replay of dead letters.
INSERT INTO waits (kind, distribution_id, name)
    SELECT DISTINCT 'again', remaps.distribution_id, '' FROM remaps, changes
    WHERE through < 9223372036854775807 AND changes.seq > after AND changes.seq <= through
    AND state = 2;
INSERT INTO change_waits (wait, change)
    SELECT DISTINCT waits.seq, changes.seq FROM remaps, changes, waits
    WHERE through < 9223372036854775807 AND changes.seq > after AND changes.seq <= through
    AND state = 2 AND waits.distribution_id = remaps.distribution_id;
UPDATE changes SET state = 1 WHERE seq IN (SELECT change FROM change_waits);
DROP TABLE remaps;

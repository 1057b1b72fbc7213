-- Renamed to usual terms.
ALTER TABLE batches RENAME COLUMN renamed TO has_new_reference;

CREATE TABLE backoffs (
    distribution_id TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    not_before INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO backoffs SELECT distribution_id, failures, not_before FROM brakes;

-- Each row is a pause of one distribution, or of all if the id is empty.
CREATE TABLE paused (distribution_id TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO paused SELECT distribution_id FROM brakes WHERE paused AND distribution_id <> '';
INSERT INTO paused SELECT '' FROM pauses WHERE paused;
DROP TABLE brakes;
DROP TABLE pauses;

-- Items sent for the first time, by UTC day as YYYY-MM-DD.
CREATE TABLE day_spending (
    day TEXT PRIMARY KEY,
    items INTEGER NOT NULL DEFAULT 0,
    lifted INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
INSERT INTO day_spending SELECT date(day * 86400, 'unixepoch'), items, lifted FROM days;
DROP TABLE days;

-- Whether the item is a wildcard, as determined by the code that writes it.
ALTER TABLE targets ADD COLUMN wildcard INTEGER NOT NULL DEFAULT 0;
UPDATE targets SET wildcard = 1 WHERE item LIKE '/%*';
-- Waiting items in planning order: manual ones first, then the oldest.
DROP INDEX targets_waiting;
CREATE INDEX targets_waiting ON targets (distribution_id, manual DESC, accepted_at, seq)
    WHERE batch IS NULL;

-- The number of waiting items at each distribution, updated in the same transaction as the items, so
-- that rows need not be counted.
CREATE TABLE backlogs (
    distribution_id TEXT PRIMARY KEY,
    items INTEGER NOT NULL,
    wildcards INTEGER NOT NULL,
    manual_paths INTEGER NOT NULL,
    manual_wildcards INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO backlogs
    SELECT distribution_id, count(*), sum(wildcard), sum(manual AND NOT wildcard),
        sum(manual AND wildcard)
    FROM targets WHERE batch IS NULL GROUP BY distribution_id;

-- Incremented with each saved catalogue, so that a process can tell whether it has the newest.
ALTER TABLE catalogue ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;

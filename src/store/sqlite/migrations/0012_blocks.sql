-- Blocks of 1,024 changes instead of 8,192: a commit of some dozens of changes writes to about seven pages
-- of this index instead of one for nearly each change, and searching the journal for an object is still a look
-- into each block.
DROP INDEX changes_of_object;
CREATE INDEX changes_of_object ON changes (seq >> 10, object_hash) WHERE object_hash IS NOT NULL;

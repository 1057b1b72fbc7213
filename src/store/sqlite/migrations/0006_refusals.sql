-- Why the last attempt failed: the error's name and what was said. Unknown for what failed before.
ALTER TABLE backoffs ADD COLUMN error TEXT;
ALTER TABLE backoffs ADD COLUMN detail TEXT;
-- Whether an operator has ended the pause.
ALTER TABLE backoffs ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;

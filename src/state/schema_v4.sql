-- Version 4 of the state DB: what happened to each file, and how full the file
-- systems were.

-- One change of one file, in the transaction that made it. root_id is a root (id)
-- and goes with it. actor is the command that did it. path is where the file was,
-- of what left its place. There is no index: who asks for one file reads the
-- table, whose length is bounded, so that those who write never pay for it. Times
-- and numbers as in version 1.
CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    root_id INTEGER NOT NULL,
    ino INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    what TEXT NOT NULL,
    actor TEXT NOT NULL,
    why TEXT,
    path BLOB
) STRICT;

-- Of a run: the root it worked on, and its file system before and after it. Used
-- and usable as df counts them, in bytes.
ALTER TABLE run ADD COLUMN root_id INTEGER;
ALTER TABLE run ADD COLUMN used_before_bytes INTEGER;
ALTER TABLE run ADD COLUMN used_after_bytes INTEGER;
ALTER TABLE run ADD COLUMN usable_bytes INTEGER;

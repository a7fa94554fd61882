-- Version 5 of the state DB: what an archive was asked for.

-- A pack that cannot be read before the store has brought a copy of it. sent: the
-- store took the order; until then it may have or not. ready_ns: since when a copy
-- is known to be there, expires_ns: when it goes, where the store said so. Times
-- and numbers as in version 1.
CREATE TABLE thaw (
    pack_id BLOB PRIMARY KEY,
    class TEXT,
    tier TEXT NOT NULL,
    days INTEGER NOT NULL,
    asked_ns INTEGER NOT NULL,
    asked_by TEXT NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0,
    looked_ns INTEGER,
    ready_ns INTEGER,
    expires_ns INTEGER
) STRICT, WITHOUT ROWID;

-- A file that waits for a pack. path is where it was when it was asked for; a
-- managed file is found by its inode.
CREATE TABLE thaw_wait (
    root_id INTEGER NOT NULL REFERENCES root (id) ON DELETE CASCADE,
    ino INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    pack_id BLOB NOT NULL REFERENCES thaw (pack_id) ON DELETE CASCADE,
    path BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    since_ns INTEGER NOT NULL,
    asked_by TEXT NOT NULL,
    PRIMARY KEY (root_id, ino, generation, pack_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX thaw_wait_of_pack ON thaw_wait (pack_id);

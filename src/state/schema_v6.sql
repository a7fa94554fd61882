-- A second store: what it holds of the first, and which contents it must hold.

-- A pack that the second store has, byte for byte. pack is a pack (id). proof and
-- times as of the first copy. Gone with the pack.
CREATE TABLE second_copy (
    pack INTEGER PRIMARY KEY REFERENCES pack (id) ON DELETE CASCADE,
    proof TEXT NOT NULL,
    proven_ns INTEGER NOT NULL,
    seen_ns INTEGER NOT NULL
) STRICT;

-- A content that a rule wants in both stores. held is 1 once every pack that it
-- relies on was found to have its second copy; only a hint of what to look at
-- next, nothing is freed on its word.
CREATE TABLE wanted_twice (
    content BLOB PRIMARY KEY REFERENCES content (id) ON DELETE CASCADE,
    held INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE INDEX wanted_twice_held ON wanted_twice (held);

-- A second copy that is no more may be any content's.
CREATE TRIGGER second_copy_gone AFTER DELETE ON second_copy BEGIN
    UPDATE wanted_twice SET held = 0 WHERE held = 1;
END;

-- A pack that nobody may rely on any more: its chunks will lie elsewhere, without a
-- second copy.
CREATE TRIGGER pack_distrusted AFTER UPDATE OF status ON pack
WHEN old.status = 'durable' AND new.status <> 'durable' BEGIN
    UPDATE wanted_twice SET held = 0 WHERE held = 1;
END;

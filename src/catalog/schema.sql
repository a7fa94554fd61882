-- The catalog of all nodes of one store, as their logs say. Never migrated: a file
-- of another version is thrown away and filled again from the store.
--
-- Times are nanoseconds since the Unix epoch; sizes, inode numbers and the like are
-- unsigned values kept in SQLite's signed 64 bits; ids and names are raw bytes.

CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    store_id BLOB NOT NULL,
    -- Drawn when the file was made, to tell it from the one before.
    identity INTEGER NOT NULL
) STRICT;

-- One log. open_session is the run that has not closed yet; fenced is set when
-- another node ended the log, forgotten when that also gave up what it refers to.
CREATE TABLE node (
    id INTEGER PRIMARY KEY,
    node_id BLOB NOT NULL UNIQUE,
    host TEXT,
    head_seq INTEGER NOT NULL DEFAULT 0,
    head_hash BLOB,
    ack_gen INTEGER NOT NULL DEFAULT 0,
    open_session TEXT,
    -- The segment in which it began.
    open_seq INTEGER NOT NULL DEFAULT 0,
    written_ns INTEGER NOT NULL DEFAULT 0,
    fenced INTEGER NOT NULL DEFAULT 0,
    forgotten INTEGER NOT NULL DEFAULT 0,
    checkpoint_seq INTEGER NOT NULL DEFAULT 0,
    checkpoint_ns INTEGER NOT NULL DEFAULT 0,
    checkpoint_bytes INTEGER NOT NULL DEFAULT 0,
    tail_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE segment (
    node INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    written_ns INTEGER NOT NULL,
    PRIMARY KEY (node, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE root (
    id INTEGER PRIMARY KEY,
    node INTEGER NOT NULL,
    path BLOB NOT NULL,
    UNIQUE (node, path)
) STRICT;

-- A path that the log has said something about.
CREATE TABLE place (
    id INTEGER PRIMARY KEY,
    root INTEGER NOT NULL,
    path BLOB NOT NULL,
    UNIQUE (root, path)
) STRICT;

CREATE TABLE content (
    id INTEGER PRIMARY KEY,
    content_id BLOB NOT NULL UNIQUE,
    size_bytes INTEGER NOT NULL,
    pieces BLOB NOT NULL
) STRICT;

-- One record about a path: what was there from the segment from_seq on, until
-- before to_seq. gone: it ended by a deletion, not by another record. kind is the
-- letter of the record; mode has the permission bits only.
CREATE TABLE version (
    place INTEGER NOT NULL,
    from_seq INTEGER NOT NULL,
    from_ns INTEGER NOT NULL,
    to_seq INTEGER,
    to_ns INTEGER,
    gone INTEGER NOT NULL DEFAULT 0,
    expired INTEGER NOT NULL DEFAULT 0,
    kind TEXT NOT NULL,
    mode INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    gid INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    ino INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    nlink INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    xattrs BLOB,
    target BLOB,
    link INTEGER,
    rdev INTEGER,
    content INTEGER,
    chunking TEXT,
    PRIMARY KEY (place, from_seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX version_of_content ON version (content) WHERE content IS NOT NULL;
-- For whoever writes a node's records of one segment again.
CREATE INDEX version_begun ON version (from_seq);
CREATE INDEX version_ended ON version (to_seq) WHERE to_seq IS NOT NULL;

-- A pack, by the first log that named it.
CREATE TABLE pack (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pack_id BLOB NOT NULL UNIQUE,
    node INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    class TEXT,
    size_bytes INTEGER NOT NULL,
    proof TEXT,
    proven_ns INTEGER
) STRICT;

CREATE INDEX pack_of_segment ON pack (node, seq);

-- Later logs that name it too: a node that goes on under another id, or one that
-- took over what another had sent.
CREATE TABLE pack_also (
    node INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    pack INTEGER NOT NULL,
    PRIMARY KEY (node, seq, pack)
) STRICT, WITHOUT ROWID;

CREATE INDEX pack_also_pack ON pack_also (pack);

CREATE TABLE chunk (
    id BLOB NOT NULL,
    pack INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    stored_len INTEGER NOT NULL,
    plain_len INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    PRIMARY KEY (id, pack)
) STRICT, WITHOUT ROWID;

CREATE INDEX chunk_of_pack ON chunk (pack);

CREATE TABLE snapshot (
    node INTEGER NOT NULL,
    name TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at_ns INTEGER NOT NULL,
    sealed_until_ns INTEGER,
    PRIMARY KEY (node, name)
) STRICT, WITHOUT ROWID;

-- Collections that have ended, and what they deleted: no log brings that back.
CREATE TABLE collected (
    generation INTEGER PRIMARY KEY,
    written_ns INTEGER NOT NULL
) STRICT;

CREATE TABLE deleted_pack (
    pack_id BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;

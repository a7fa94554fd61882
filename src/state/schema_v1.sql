-- Version 1 of the state DB. Never edited once released: a change of the schema
-- is a new file and a new line in migrations.rs.
--
-- Times are nanoseconds since the Unix epoch; inode numbers and sizes are
-- unsigned values kept in SQLite's signed 64 bits; ids and names are raw bytes.

CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    store_id BLOB NOT NULL,
    node_id BLOB NOT NULL,
    made_ns INTEGER NOT NULL
) STRICT;

CREATE TABLE setting (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A managed tree and the file system it was when it was added.
CREATE TABLE root (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,
    identity TEXT NOT NULL,
    entries INTEGER NOT NULL DEFAULT 0,
    added_ns INTEGER NOT NULL,
    last_complete_scan_ns INTEGER
) STRICT;

CREATE TABLE scan (
    id INTEGER PRIMARY KEY,
    root_id INTEGER NOT NULL REFERENCES root (id) ON DELETE CASCADE,
    under BLOB,
    started_ns INTEGER NOT NULL,
    finished_ns INTEGER,
    complete INTEGER NOT NULL DEFAULT 0,
    added INTEGER NOT NULL DEFAULT 0,
    changed INTEGER NOT NULL DEFAULT 0,
    removed INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A directory; path is relative to the root, empty for the root itself. digest
-- is over its rows in entry as of a scan that found its managed files to be what
-- was recorded; NULL where either is not known to hold.
CREATE TABLE dir (
    id INTEGER PRIMARY KEY,
    root_id INTEGER NOT NULL REFERENCES root (id) ON DELETE CASCADE,
    path BLOB NOT NULL,
    mode INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    gid INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    digest BLOB,
    catalogued_ctime_ns INTEGER,
    UNIQUE (root_id, path)
) STRICT;

-- Every name in a directory with what the last scan saw there. mode is st_mode:
-- the type bits of stat(2) with the permission bits. dir_id is a dir (id); to
-- declare it would look the directory up once more for each of its names.
CREATE TABLE entry (
    dir_id INTEGER NOT NULL,
    name BLOB NOT NULL,
    ino INTEGER NOT NULL,
    mode INTEGER NOT NULL,
    nlink INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    gid INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    allocated_bytes INTEGER NOT NULL,
    atime_ns INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    btime_ns INTEGER NOT NULL,
    first_scan INTEGER NOT NULL,
    PRIMARY KEY (dir_id, name)
) STRICT, WITHOUT ROWID;

-- 61440 is S_IFMT and 32768 S_IFREG: the names of hard-linked regular files.
CREATE INDEX entry_hard_link ON entry (ino) WHERE nlink > 1 AND (mode & 61440) = 32768;

-- Symlinks, FIFOs, sockets and devices that the catalog has, as of that ctime.
CREATE TABLE special (
    dir_id INTEGER NOT NULL REFERENCES dir (id) ON DELETE CASCADE,
    name BLOB NOT NULL,
    ctime_ns INTEGER NOT NULL,
    PRIMARY KEY (dir_id, name)
) STRICT, WITHOUT ROWID;

-- One managed inode: a file of which a copy exists or is being made. dir_id and
-- name are one of its names. size, mtime and ctime are what was uploaded, or
-- what we left behind with our own last write of metadata.
CREATE TABLE file (
    root_id INTEGER NOT NULL REFERENCES root (id) ON DELETE CASCADE,
    ino INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    btime_ns INTEGER NOT NULL,
    dir_id INTEGER NOT NULL REFERENCES dir (id),
    name BLOB NOT NULL,
    state TEXT NOT NULL,
    former_state TEXT,
    reason TEXT,
    content BLOB,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    uploaded_ns INTEGER,
    stubbed_ns INTEGER,
    recalled_ns INTEGER,
    rule TEXT,
    segment_seq INTEGER,
    PRIMARY KEY (root_id, ino)
) STRICT, WITHOUT ROWID;

CREATE INDEX file_place ON file (dir_id, name);
CREATE INDEX file_transient ON file (root_id)
    WHERE state IN ('uploading', 'stubbing', 'recalling');
CREATE INDEX file_uncatalogued ON file (root_id)
    WHERE segment_seq IS NULL AND state IN ('uploaded', 'stub');

-- Whatever is recorded about a managed file, the next scan compares its
-- directory again.
CREATE TRIGGER file_added AFTER INSERT ON file BEGIN
    UPDATE dir SET digest = NULL WHERE id = new.dir_id AND digest IS NOT NULL;
END;
CREATE TRIGGER file_changed
AFTER UPDATE OF dir_id, name, state, size_bytes, mtime_ns, ctime_ns ON file BEGIN
    UPDATE dir SET digest = NULL WHERE id = new.dir_id AND digest IS NOT NULL;
END;

-- What was at a path and is there no more; a complete scan said so.
CREATE TABLE gone (
    id INTEGER PRIMARY KEY,
    root_id INTEGER NOT NULL REFERENCES root (id) ON DELETE CASCADE,
    path BLOB NOT NULL,
    kind TEXT NOT NULL,
    moved INTEGER NOT NULL DEFAULT 0,
    ino INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    btime_ns INTEGER NOT NULL,
    state TEXT NOT NULL,
    content BLOB,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    uploaded_ns INTEGER,
    stubbed_ns INTEGER,
    recalled_ns INTEGER,
    rule TEXT,
    gone_ns INTEGER NOT NULL,
    segment_seq INTEGER
) STRICT;

CREATE INDEX gone_inode ON gone (root_id, ino);
CREATE INDEX gone_uncatalogued ON gone (root_id) WHERE segment_seq IS NULL;

CREATE TABLE content (
    id BLOB PRIMARY KEY,
    size_bytes INTEGER NOT NULL,
    chunking TEXT NOT NULL,
    pieces BLOB NOT NULL,
    damaged INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE pack (
    id INTEGER PRIMARY KEY,
    pack_id BLOB NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    class TEXT,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL,
    proof TEXT,
    proven_ns INTEGER,
    seen_ns INTEGER,
    verified_ns INTEGER,
    segment_seq INTEGER,
    made_ns INTEGER NOT NULL
) STRICT;

CREATE INDEX pack_uncatalogued ON pack (id) WHERE segment_seq IS NULL;

-- A chunk may lie in several packs: one of them may turn out lost.
CREATE TABLE chunk (
    id BLOB NOT NULL,
    pack INTEGER NOT NULL REFERENCES pack (id) ON DELETE CASCADE,
    offset INTEGER NOT NULL,
    stored_len INTEGER NOT NULL,
    plain_len INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    PRIMARY KEY (id, pack)
) STRICT, WITHOUT ROWID;

CREATE INDEX chunk_of_pack ON chunk (pack);

-- The catalog segments this node has written, by their place in its log.
CREATE TABLE segment (
    seq INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    committed_ns INTEGER NOT NULL
) STRICT;

CREATE TABLE pin (
    root_id INTEGER NOT NULL REFERENCES root (id) ON DELETE CASCADE,
    path BLOB NOT NULL,
    pin TEXT NOT NULL,
    set_ns INTEGER NOT NULL,
    PRIMARY KEY (root_id, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    command TEXT NOT NULL,
    started_ns INTEGER NOT NULL,
    finished_ns INTEGER NOT NULL,
    outcome TEXT NOT NULL
) STRICT;

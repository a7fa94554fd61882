-- Version 3 of the state DB: this node among others that share a store.

-- The runs that wrote this node's log. A segment of a run that is not here was
-- written by another host under our name.
CREATE TABLE session (
    name TEXT PRIMARY KEY,
    begun_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Packs that a garbage collection plan condemned and that may go at any time.
CREATE TABLE condemned (
    pack_id BLOB NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (pack_id, generation)
) STRICT, WITHOUT ROWID;

-- The plans this node has seen. acknowledged: this node's log says that it refers
-- to nothing in them; ended: what they deleted has been forgotten here.
CREATE TABLE collection (
    generation INTEGER PRIMARY KEY,
    acknowledged INTEGER NOT NULL DEFAULT 0,
    ended INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Set where another node sent the pack.
ALTER TABLE pack ADD COLUMN node_id BLOB;

-- Those of other nodes are in their writers' logs.
DROP INDEX pack_uncatalogued;
CREATE INDEX pack_uncatalogued ON pack (id) WHERE segment_seq IS NULL AND node_id IS NULL;

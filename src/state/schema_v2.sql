-- Version 2 of the state DB: the log of what programs had recalled.

-- One file that a guard was asked for. root_id and path are NULL where the file
-- was not managed. outcome is 'recalled', or the error that the program saw and
-- a short reason. Times and numbers as in version 1.
CREATE TABLE recall (
    id INTEGER PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    root_id INTEGER REFERENCES root (id) ON DELETE SET NULL,
    path BLOB,
    ino INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    latency_ms INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    exe TEXT NOT NULL,
    cgroup TEXT NOT NULL,
    outcome TEXT NOT NULL
) STRICT;

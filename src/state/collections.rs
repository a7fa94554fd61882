//! What this node knows of garbage collections: which plans it has seen and which
//! packs may go.
//!
//! A condemned pack can still be read, so files in it can be recalled, but nothing
//! new may rely on it. It stays condemned until the end of its collection says
//! whether it was deleted.

use super::error::{During, Result};
use super::open::StateDb;
use crate::ids::PackId;
use rusqlite::{Connection, OptionalExtension};

/// How much this node had heard of collections at some moment. While it stays the
/// same no pack that was found lasting has become anything else by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    plans: i64,
    ends: i64,
}

impl Heard {
    pub(super) fn read(conn: &Connection) -> Result<Self> {
        conn.query_row("SELECT count(*), coalesce(sum(ended), 0) FROM collection", [], |row| {
            Ok(Self { plans: row.get(0)?, ends: row.get(1)? })
        })
        .during("reading collections")
    }
}

/// The setting that names a session which has begun and is not known to have ended.
pub(super) const OPEN_SESSION: &str = "log.open_session";

impl StateDb {
    /// This run is going to write this node's log. Durable on return: a segment of
    /// an unknown session would be taken for another host's.
    pub fn begin_session(&mut self, name: &str, now_ns: i64) -> Result<()> {
        let operation = "recording a session";
        self.write_durably(operation, |tx| {
            tx.execute(
                "INSERT INTO session (name, begun_ns) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                (name, now_ns),
            )
            .during(operation)?;
            tx.execute(
                "INSERT INTO setting (key, value) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (OPEN_SESSION, name),
            )
            .during(operation)?;
            Ok(())
        })
    }

    /// The log says that the session has ended.
    pub fn end_session(&mut self) -> Result<()> {
        let operation = "ending a session";
        self.write(operation, |tx| {
            tx.execute("DELETE FROM setting WHERE key = ?1", [OPEN_SESSION]).during(operation)?;
            Ok(())
        })
    }

    /// A run was killed in its session: until the log says otherwise, collectors
    /// take it to be at work.
    pub fn has_open_session(&self) -> Result<bool> {
        Ok(self.setting(OPEN_SESSION)?.is_some())
    }

    /// Also what another process of this node has heard counts.
    pub fn heard(&self) -> Result<Heard> {
        Heard::read(&self.conn)
    }

    /// Whether this state DB began a session.
    pub fn is_own_session(&self, name: &str) -> Result<bool> {
        self.conn
            .query_row("SELECT EXISTS (SELECT 1 FROM session WHERE name = ?1)", [name], |row| {
                row.get(0)
            })
            .during("looking up a session")
    }

    /// Whether any session is recorded: a DB from before they were has none.
    pub fn has_sessions(&self) -> Result<bool> {
        self.conn
            .query_row("SELECT EXISTS (SELECT 1 FROM session)", [], |row| row.get(0))
            .during("looking for sessions")
    }

    /// The newest plan this node has seen; 0 before the first.
    pub fn last_collection(&self) -> Result<u64> {
        self.newest("SELECT max(generation) FROM collection")
    }

    /// The newest plan that this node's log acknowledges.
    pub fn last_acknowledged(&self) -> Result<u64> {
        self.newest("SELECT max(generation) FROM collection WHERE acknowledged = 1")
    }

    fn newest(&self, sql: &str) -> Result<u64> {
        let last: Option<i64> =
            self.conn.query_row(sql, [], |row| row.get(0)).during("reading collections")?;
        Ok(last.unwrap_or(0) as u64)
    }

    /// From its next segment on this node's log acknowledges all plans up to this.
    pub fn acknowledge(&mut self, generation: u64) -> Result<()> {
        let operation = "acknowledging a collection";
        self.write(operation, |tx| {
            tx.execute(
                "UPDATE collection SET acknowledged = 1 WHERE generation <= ?1",
                [generation as i64],
            )
            .during(operation)?;
            Ok(())
        })
    }

    /// Whether the end of this collection has been taken note of; `None` for a
    /// collection of which nothing has.
    pub fn collection_ended(&self, generation: u64) -> Result<Option<bool>> {
        self.conn
            .query_row(
                "SELECT ended FROM collection WHERE generation = ?1",
                [generation as i64],
                |row| row.get(0),
            )
            .optional()
            .during("reading a collection")
    }

    /// Nothing new may rely on these packs until the collection has ended. One of
    /// which another process has recorded the end condemns nothing any more.
    pub fn condemn(&mut self, generation: u64, packs: &[PackId]) -> Result<()> {
        let operation = "condemning packs";
        self.write(operation, |tx| {
            let ended: bool = tx
                .query_row(
                    "INSERT INTO collection (generation) VALUES (?1)
                     ON CONFLICT (generation) DO UPDATE SET ended = ended RETURNING ended",
                    [generation as i64],
                    |row| row.get(0),
                )
                .during(operation)?;
            if ended {
                return Ok(());
            }
            let mut insert = tx
                .prepare_cached(
                    "INSERT INTO condemned (pack_id, generation) VALUES (?1, ?2)
                     ON CONFLICT DO NOTHING",
                )
                .during(operation)?;
            for pack in packs {
                insert.execute((pack.as_bytes(), generation as i64)).during(operation)?;
            }
            Ok(())
        })
    }

    /// The collection has ended: what it deleted is forgotten, all else in its plan
    /// is as good as before.
    pub fn end_collection(&mut self, generation: u64, deleted: &[PackId]) -> Result<()> {
        let operation = "ending a collection";
        self.write(operation, |tx| {
            tx.execute(
                "INSERT INTO collection (generation, ended) VALUES (?1, 1)
                 ON CONFLICT (generation) DO UPDATE SET ended = 1",
                [generation as i64],
            )
            .during(operation)?;
            tx.execute("DELETE FROM condemned WHERE generation = ?1", [generation as i64])
                .during(operation)?;
            let mut forget =
                tx.prepare_cached("DELETE FROM pack WHERE pack_id = ?1").during(operation)?;
            for pack in deleted {
                forget.execute([pack.as_bytes()]).during(operation)?;
            }
            Ok(())
        })
    }

    pub fn any_condemned(&self) -> Result<bool> {
        self.conn
            .query_row("SELECT EXISTS (SELECT 1 FROM condemned)", [], |row| row.get(0))
            .during("looking for condemned packs")
    }
}

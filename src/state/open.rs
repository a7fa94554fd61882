//! Creating, opening and checking the state DB.
//!
//! `create` never touches a file that exists. `open` refuses what is not ours,
//! is damaged or is newer before it writes anything; `open_read_only` (plans
//! and dry runs) writes nothing at all. Readers and the one writer meet through
//! WAL; a second writer waits up to the busy timeout and then gets
//! [`Error::Busy`].

use super::error::{During, Error, Result};
use super::events::Actor;
use super::migrations;
use crate::fault;
use crate::ids::{NodeId, StoreId};
use crate::os::private;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// How long a writer waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Pages are larger than SQLite's default: rows are small and read in order.
const PAGE_SIZE_BYTES: i64 = 8192;

/// Negative: KiB (sqlite.org/pragma.html#pragma_cache_size).
const CACHE_SIZE: i64 = -32 * 1024;

/// Pages of WAL before a checkpoint copies them home: 64 MiB.
const CHECKPOINT_PAGES: i64 = 8192;

/// No entry of the recall log is younger than this.
const NO_INTENT: i64 = i64::MAX;

/// The state DB of one node. `Send`; one writer at a time.
#[derive(Debug)]
pub struct StateDb {
    pub(super) conn: Connection,
    store: StoreId,
    node: NodeId,
    /// The last entry of the recall log when this process last recorded an
    /// intent: see [`super::transitions`].
    pub(super) recalls_at_intent: i64,
    pub(super) actor: Actor,
}

impl StateDb {
    /// Makes a new DB at `path`, whose directory exists.
    ///
    /// Fails with [`Error::Exists`] where there is a file already. Durable on
    /// return; after a failure half-way the file is no DB of ours and can go.
    pub fn create(path: &Path, store: StoreId, node: NodeId, now_ns: i64) -> Result<Self> {
        if path.try_exists().unwrap_or(true) {
            return Err(Error::Exists { path: path.to_owned() });
        }
        private::create_file(path)
            .map_err(|source| Error::Create { path: path.to_owned(), source })?;
        let mut conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let operation = "creating it";
        conn.pragma_update(None, "page_size", PAGE_SIZE_BYTES).during(operation)?;
        conn.pragma_update(None, "journal_mode", "WAL").during(operation)?;
        migrations::stamp(&conn)?;
        migrations::migrate(&mut conn, 0)?;
        conn.execute(
            "INSERT INTO meta (one, store_id, node_id, made_ns) VALUES (1, ?1, ?2, ?3)",
            (store.as_bytes(), node.as_bytes(), now_ns),
        )
        .during(operation)?;
        conn.pragma_update(None, "wal_checkpoint", "TRUNCATE").during(operation)?;
        Ok(Self::over(conn, store, node))
    }

    /// Opens an existing DB for reading and writing and brings an older schema
    /// up to date.
    pub fn open(path: &Path) -> Result<Self> {
        let opened = || {
            let mut conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            let found = migrations::version(&conn, path)?;
            migrations::migrate(&mut conn, found)?;
            Self::from_connection(conn)
        };
        opened().map_err(|error| error.located(path))
    }

    /// Opens an existing DB without writing to it; only the schema of an older one
    /// is brought up to date first, as everything here reads the newest.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        let opened = || {
            let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            if migrations::version(&conn, path)? < migrations::known() {
                drop(Self::open(path)?);
            }
            Self::from_connection(conn)
        };
        opened().map_err(|error| error.located(path))
    }

    fn over(conn: Connection, store: StoreId, node: NodeId) -> Self {
        Self { conn, store, node, recalls_at_intent: NO_INTENT, actor: Actor::default() }
    }

    fn from_connection(conn: Connection) -> Result<Self> {
        let (store, node): (Vec<u8>, Vec<u8>) = conn
            .query_row("SELECT store_id, node_id FROM meta", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .during("reading whose it is")?;
        let store = StoreId::from_slice(&store).ok_or_else(|| Error::bad_value("store", &store))?;
        let node = NodeId::from_slice(&node).ok_or_else(|| Error::bad_value("node", &node))?;
        Ok(Self::over(conn, store, node))
    }

    /// Reads the whole file and its structure (`PRAGMA quick_check`); minutes
    /// for a DB of many gigabytes.
    pub fn check(&self) -> Result<()> {
        let operation = "checking it";
        let verdict: String =
            self.conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).during(operation)?;
        if verdict != "ok" {
            return Err(Error::Corrupted { detail: verdict });
        }
        Ok(())
    }

    pub fn store_id(&self) -> StoreId {
        self.store
    }

    pub fn node_id(&self) -> NodeId {
        self.node
    }

    pub(super) fn set_node(&mut self, node: NodeId) {
        self.node = node;
    }

    /// As [`StateDb::write`], and durable on return with all that was written
    /// before: for intents whose effects outlive a power failure that the DB's
    /// latest transactions would not.
    pub(super) fn write_durably<T>(
        &mut self,
        operation: &'static str,
        body: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        // In WAL mode FULL syncs the log at each commit, NORMAL only at
        // checkpoints (sqlite.org/pragma.html#pragma_synchronous).
        self.conn.pragma_update(None, "synchronous", "FULL").during(operation)?;
        let written = self.write(operation, body);
        self.conn.pragma_update(None, "synchronous", "NORMAL").during(operation)?;
        written
    }

    /// Runs `body` in one transaction: all of it is in the DB or nothing. A
    /// power failure may take the last of them back.
    pub(super) fn write<T>(
        &mut self,
        operation: &'static str,
        body: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .during(operation)?;
        let value = body(&tx)?;
        fault::effect("state.commit").map_err(|source| Error::Commit { operation, source })?;
        tx.commit().during(operation)?;
        Ok(value)
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let creating = flags.contains(OpenFlags::SQLITE_OPEN_CREATE);
    if !creating && !path.try_exists().unwrap_or(true) {
        return Err(Error::Missing { path: path.to_owned() });
    }
    let opening = |source| Error::Open { path: path.to_owned(), source };
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(opening)?;
    conn.set_prepared_statement_cache_capacity(128);
    conn.busy_timeout(BUSY_TIMEOUT).map_err(opening)?;
    let operation = "opening it";
    // A plan that never depends on the bound values: else every query that
    // could use a partial index is parsed anew each time it is bound.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).during(operation)?;
    conn.pragma_update(None, "synchronous", "NORMAL").during(operation)?;
    conn.pragma_update(None, "foreign_keys", true).during(operation)?;
    conn.pragma_update(None, "mmap_size", 0).during(operation)?;
    conn.pragma_update(None, "cache_size", CACHE_SIZE).during(operation)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).during(operation)?;
    Ok(conn)
}

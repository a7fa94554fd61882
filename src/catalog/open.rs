//! Opening the local copy: one that is missing, damaged, of another version or of
//! another store is made anew, empty.
//!
//! A file beside it is locked while the copy is open, so that nobody replaces it under
//! another process: SQLite finds its journals by name, and they would mix.

use super::error::{During, Error, Result};
use crate::ids::StoreId;
use crate::os::lock::UseLock;
use crate::os::private;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `PRAGMA application_id`: "hsmC".
const APPLICATION_ID: i64 = 0x6873_6d43;
/// `PRAGMA user_version`. Raised with every change of the schema.
const VERSION: i64 = 3;
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// A local copy of the catalogs of one store.
#[derive(Debug)]
pub struct CatalogDb {
    pub(super) conn: Connection,
    /// Holds a temporary one; it goes with this value.
    _dir: Option<tempfile::TempDir>,
    /// Let go when the connection is closed.
    _lock: Option<UseLock>,
}

impl CatalogDb {
    /// Opens the copy at `path`, or makes it anew.
    pub fn open(path: &Path, store: StoreId) -> Result<Self> {
        let replacing = |source| Error::Replace { path: path.to_owned(), source };
        let beside = beside(path, ".lock");
        let lock = UseLock::shared(&beside).map_err(replacing)?;
        if let Some(conn) = usable(path, store)? {
            return Ok(Self { conn, _dir: None, _lock: Some(lock) });
        }
        drop(lock);
        let lock = UseLock::alone(&beside, BUSY_TIMEOUT).map_err(replacing)?;
        let conn = match usable(path, store)? {
            // Another process was quicker.
            Some(conn) => conn,
            None => {
                remove(path)?;
                create(path, store)?
            }
        };
        lock.share().map_err(replacing)?;
        Ok(Self { conn, _dir: None, _lock: Some(lock) })
    }

    /// Throws away a damaged copy that nobody has open.
    pub fn discard(path: &Path) -> Result<()> {
        let replacing = |source| Error::Replace { path: path.to_owned(), source };
        let _alone = UseLock::alone(&beside(path, ".lock"), Duration::ZERO).map_err(replacing)?;
        remove(path)
    }

    /// A copy for this process alone.
    pub fn temporary(store: StoreId) -> Result<Self> {
        let dir = private::temporary_dir("hsm-")
            .map_err(|source| Error::Replace { path: std::env::temp_dir(), source })?;
        let conn = create(&dir.path().join("catalog.db"), store)?;
        Ok(Self { conn, _dir: Some(dir), _lock: None })
    }

    /// Tells this copy from any that was here before it.
    pub fn identity(&self) -> Result<i64> {
        self.conn
            .query_row("SELECT identity FROM meta", [], |row| row.get(0))
            .during("reading whose it is")
    }

    /// Runs `body` in one transaction: all of it is in the DB or nothing.
    pub(super) fn write<T, E: From<Error>>(
        &mut self,
        operation: &'static str,
        body: impl FnOnce(&Transaction<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let behavior = TransactionBehavior::Immediate;
        let tx = self.conn.transaction_with_behavior(behavior).during(operation)?;
        let value = body(&tx)?;
        tx.commit().during(operation)?;
        Ok(value)
    }
}

/// Another process is at work on it: no reason to throw it away.
fn is_passing(error: &Error) -> bool {
    let (Error::Open { source, .. } | Error::Sql { source, .. }) = error else { return false };
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, PermissionDenied, ReadOnly,
    };
    matches!(
        source.sqlite_error_code(),
        Some(DatabaseBusy | DatabaseLocked | CannotOpen | DiskFull | PermissionDenied | ReadOnly)
    )
}

/// `None` for what is to be made anew.
fn usable(path: &Path, store: StoreId) -> Result<Option<Connection>> {
    match existing(path, store) {
        Err(error) if !is_passing(&error) => {
            tracing::debug!("made anew: {error}");
            Ok(None)
        }
        other => other,
    }
}

fn existing(path: &Path, store: StoreId) -> Result<Option<Connection>> {
    if !path.try_exists().unwrap_or(true) {
        return Ok(None);
    }
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let read = |pragma| conn.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let operation = "reading its version";
    let known =
        (read("application_id").during(operation)?, read("user_version").during(operation)?);
    if known != (APPLICATION_ID, VERSION) {
        return Ok(None);
    }
    let of: Vec<u8> = conn
        .query_row("SELECT store_id FROM meta", [], |row| row.get(0))
        .during("reading whose it is")?;
    Ok((of == store.as_bytes()).then_some(conn))
}

fn create(path: &Path, store: StoreId) -> Result<Connection> {
    match private::create_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Error::Replace { path: path.to_owned(), source: error });
        }
        _ => {}
    }
    let mut conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let operation = "creating it";
    conn.pragma_update(None, "page_size", 8192).during(operation)?;
    conn.pragma_update(None, "journal_mode", "WAL").during(operation)?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).during(operation)?;
    let made: i64 =
        tx.pragma_query_value(None, "user_version", |row| row.get(0)).during(operation)?;
    if made != VERSION {
        tx.execute_batch(include_str!("schema.sql")).during(operation)?;
        tx.execute(
            "INSERT INTO meta (one, store_id, identity) VALUES (1, ?1, random())",
            [store.as_bytes()],
        )
        .during(operation)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID).during(operation)?;
        tx.pragma_update(None, "user_version", VERSION).during(operation)?;
    }
    tx.commit().during(operation)?;
    Ok(conn)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let opening = |source| Error::Open { path: path.to_owned(), source };
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(opening)?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.busy_timeout(BUSY_TIMEOUT).map_err(opening)?;
    // It can be filled again: what a power cut takes back is applied once more.
    for (pragma, value) in [("cache_size", -64 * 1024), ("mmap_size", 0)] {
        conn.pragma_update(None, pragma, value).map_err(opening)?;
    }
    conn.pragma_update(None, "synchronous", "NORMAL").map_err(opening)?;
    Ok(conn)
}

/// Its journals first: beside a new file they would be taken for its own.
fn remove(path: &Path) -> Result<()> {
    for suffix in ["-wal", "-shm", ""] {
        let path = beside(path, suffix);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::Replace { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

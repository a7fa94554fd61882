//! The schema's history: version N is reached by running step N-1 of [`STEPS`].
//!
//! Append-only: a released step is never edited, because a DB somewhere has
//! already run it. Each step runs in one transaction together with its
//! `user_version`, so a crash leaves either the old schema or the new one. A DB
//! of a newer version, or one that carries another program's application id, is
//! refused before anything in it is touched.

use super::error::{During, Error, Result};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// `PRAGMA application_id`: "hsmS", so that `file` and a curious admin can tell.
const APPLICATION_ID: i64 = 0x6873_6d53;

/// The SQL that leads from version `index` to `index + 1`.
const STEPS: &[&str] = &[
    include_str!("schema_v1.sql"),
    include_str!("schema_v2.sql"),
    include_str!("schema_v3.sql"),
    include_str!("schema_v4.sql"),
    include_str!("schema_v5.sql"),
    include_str!("schema_v6.sql"),
];

/// The version this program writes.
pub fn known() -> i64 {
    i64::try_from(STEPS.len()).expect("the steps are few")
}

/// The DB's version after checking that it is ours and not newer than us.
pub fn version(conn: &Connection, path: &Path) -> Result<i64> {
    let read = |pragma| conn.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let application = read("application_id").during("reading its application id")?;
    let found = read("user_version").during("reading its version")?;
    if application != APPLICATION_ID {
        let detail = format!("{} is not a state database of hsm", path.display());
        return Err(Error::Corrupted { detail });
    }
    if found > known() {
        return Err(Error::Newer { path: path.to_owned(), found, known: known() });
    }
    if found < 1 {
        return Err(Error::bad_value("schema version", found));
    }
    Ok(found)
}

/// Stamps an empty DB as ours; [`migrate`] gives it its tables.
pub fn stamp(conn: &Connection) -> Result<()> {
    conn.pragma_update(None, "application_id", APPLICATION_ID).during("stamping a new database")
}

/// Runs the steps that are missing, each in a transaction of its own.
pub fn migrate(conn: &mut Connection, from: i64) -> Result<()> {
    let operation = "migrating the schema";
    let first = usize::try_from(from).map_err(|_| Error::bad_value("schema version", from))?;
    for (step, sql) in STEPS.iter().enumerate().skip(first) {
        let tx =
            conn.transaction_with_behavior(TransactionBehavior::Immediate).during(operation)?;
        tx.execute_batch(sql).during(operation)?;
        tx.pragma_update(None, "user_version", step as i64 + 1).during(operation)?;
        tx.commit().during(operation)?;
    }
    Ok(())
}

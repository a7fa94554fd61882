//! Small facts by name, such as what the store was probed to be able to do.
//! The values are the callers' (JSON text by custom); nothing here reads them.

use super::error::{During, Result};
use super::open::StateDb;
use rusqlite::OptionalExtension;

impl StateDb {
    pub fn setting(&self, key: &str) -> Result<Option<String>> {
        self.conn
            .query_row("SELECT value FROM setting WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .during("reading a setting")
    }

    pub fn set_setting(&mut self, key: &str, value: &str) -> Result<()> {
        self.write("writing a setting", |tx| {
            tx.execute(
                "INSERT INTO setting (key, value) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [key, value],
            )
            .during("writing a setting")?;
            Ok(())
        })
    }
}

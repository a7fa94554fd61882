//! Pins: paths that a person set to stay local (`pinned`) or to be left alone
//! altogether (`excluded`). A directory's pin holds for all beneath it; that
//! inheritance is the reader's to apply, here are only the paths that were set.

use super::error::{During, Error, Result};
use super::open::StateDb;
use super::roots::RootId;
use super::rows::rel_path;
use crate::os::RelPath;
use crate::policy::Pin;

impl StateDb {
    /// Every path of the root with a pin of its own, by path.
    pub fn pins(&self, root: RootId) -> Result<Vec<(RelPath, Pin)>> {
        let operation = "reading the pins";
        let mut statement = self
            .conn
            .prepare_cached("SELECT path, pin FROM pin WHERE root_id = ?1 ORDER BY path")
            .during(operation)?;
        let mut rows = statement.query([root.0]).during(operation)?;
        let mut pins = Vec::new();
        while let Some(row) = rows.next().during(operation)? {
            let path = rel_path(row.get(0).during(operation)?)?;
            let text: String = row.get(1).during(operation)?;
            pins.push((path, parse(&text)?));
        }
        Ok(pins)
    }

    /// Sets or, with [`Pin::None`], removes the pin of one path.
    pub fn set_pin(&mut self, root: RootId, path: &RelPath, pin: Pin, now_ns: i64) -> Result<()> {
        let operation = "setting a pin";
        self.write(operation, |tx| {
            let done = match text(pin) {
                Some(text) => tx.execute(
                    "INSERT INTO pin (root_id, path, pin, set_ns) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (root_id, path)
                     DO UPDATE SET pin = excluded.pin, set_ns = excluded.set_ns",
                    (root.0, path.as_bytes(), text, now_ns),
                ),
                None => tx.execute(
                    "DELETE FROM pin WHERE root_id = ?1 AND path = ?2",
                    (root.0, path.as_bytes()),
                ),
            };
            done.during(operation)?;
            Ok(())
        })
    }
}

fn text(pin: Pin) -> Option<&'static str> {
    match pin {
        Pin::None => None,
        Pin::Pinned => Some("pinned"),
        Pin::Excluded => Some("excluded"),
    }
}

fn parse(text: &str) -> Result<Pin> {
    match text {
        "pinned" => Ok(Pin::Pinned),
        "excluded" => Ok(Pin::Excluded),
        other => Err(Error::bad_value("pin", other)),
    }
}

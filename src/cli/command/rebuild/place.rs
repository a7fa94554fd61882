//! The files of the state DB: the one before, the one that is being made, and the
//! moment when the new one takes the place of the old.

use super::warn;
use crate::cli::context::{self, Context};
use crate::cli::error::Error;
use crate::cli::output::escaped_path;
use crate::config::Config;
use crate::fault;
use crate::os::private;
use crate::state::{self, StateDb};
use crate::units::format_time;
use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind::NotFound;
use std::path::{Path, PathBuf};

/// SQLite's files beside a DB, and the DB itself last: a journal beside another DB
/// would be taken for that one's.
const SUFFIXES: [&str; 3] = ["-wal", "-shm", ""];

pub struct Place {
    current: PathBuf,
    new: PathBuf,
    /// Of a dry run; it goes with this value.
    _dir: Option<tempfile::TempDir>,
}

impl Place {
    /// Clears away what a rebuild that died left.
    pub fn new(config: &Config, dry_run: bool) -> Result<Self, Error> {
        let current = context::state_file(&config.state_dir);
        if dry_run {
            let dir =
                private::temporary_dir("hsm-").map_err(Error::io("make", &std::env::temp_dir()))?;
            let new = context::state_file(dir.path());
            return Ok(Self { current, new, _dir: Some(dir) });
        }
        let new = with_suffix(&current, ".rebuilding");
        remove(&new)?;
        Ok(Self { current, new, _dir: None })
    }

    pub fn new_db(&self) -> &Path {
        &self.new
    }

    /// The state DB before, if there is one that can be read. One that can is only
    /// replaced where that is `allowed`.
    pub fn old(&self, context: &Context, allowed: bool) -> Result<Option<StateDb>, Error> {
        let opened = StateDb::open_read_only(&self.current);
        let opened = opened.and_then(|old| old.check().map(|()| old));
        match opened {
            Ok(old) if allowed => Ok(Some(old)),
            Ok(_) => Err(Error::refused(
                format!("the state DB {} can be read", escaped_path(&self.current)),
                "hsm rebuild --force, which uses what is in it and keeps it beside the new one",
            )),
            Err(state::Error::Missing { .. }) => Ok(None),
            Err(error @ state::Error::Corrupted { .. }) => {
                warn(context, "not used:", &self.current, &error.into());
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The new DB is the state DB from now on. Returns where the old one is.
    pub fn replace(self, new: StateDb, now_ns: i64) -> Result<Option<PathBuf>, Error> {
        new.settle_into_one_file()?;
        let kept = self.put_aside(now_ns)?;
        fault::point("rebuild.kept");
        std::fs::rename(&self.new, &self.current)
            .map_err(Error::io("put the new state DB in place of", &self.current))?;
        remove(&self.new)?;
        let dir = self.current.parent().unwrap_or(Path::new("/"));
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(Error::io("flush", dir))?;
        Ok(kept)
    }

    fn put_aside(&self, now_ns: i64) -> Result<Option<PathBuf>, Error> {
        if !self.current.try_exists().unwrap_or(true) {
            // A journal that outlived its DB belongs to nothing.
            remove(&self.current)?;
            return Ok(None);
        }
        // Back into one file; one that is damaged keeps its journal beside it.
        if let Ok(old) = StateDb::open(&self.current) {
            let _ = old.settle_into_one_file();
        }
        let kept = with_suffix(&self.current, &format!(".old-{}", format_time(now_ns)));
        for suffix in SUFFIXES {
            let (from, to) = (with_suffix(&self.current, suffix), with_suffix(&kept, suffix));
            match std::fs::rename(&from, &to) {
                Err(error) if error.kind() != NotFound => {
                    return Err(Error::io("keep", &from)(error));
                }
                _ => {}
            }
        }
        Ok(Some(kept))
    }
}

/// The local copy of the catalog is filled anew: it may know segments that are lost.
pub fn forget_catalog(path: &Path) -> Result<(), Error> {
    remove(path)
}

fn remove(db: &Path) -> Result<(), Error> {
    for suffix in SUFFIXES {
        let path = with_suffix(db, suffix);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != NotFound => {
                return Err(Error::io("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    name.into()
}

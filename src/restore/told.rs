//! What the system refused to set, told once for all files.
//!
//! An ordinary user cannot give files away, and not every file system has every
//! attribute: such a restore is a success that says what is missing.

use crate::monitor::Monitor;
use crate::os::plant::{Attribute, Refusal};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Kinds of refusals that are told by name.
const MOST_KINDS: usize = 50;

#[derive(Debug, Default)]
pub struct Refusals {
    kinds: BTreeMap<String, Kind>,
    pub total: u64,
}

#[derive(Debug)]
struct Kind {
    count: u64,
    first: PathBuf,
    why: String,
}

impl Refusals {
    pub fn add(&mut self, path: &Path, refusals: Vec<Refusal>) {
        for Refusal { what, error } in refusals {
            self.total += 1;
            let name = match &what {
                Attribute::Xattr(_) if self.kinds.len() >= MOST_KINDS => "attribute".to_owned(),
                _ => what.to_string(),
            };
            let first = || Kind { count: 0, first: path.to_owned(), why: error.to_string() };
            self.kinds.entry(name).or_insert_with(first).count += 1;
        }
    }

    pub fn tell(&self, monitor: &dyn Monitor) {
        for (name, Kind { count, first, why }) in &self.kinds {
            let first = first.display();
            monitor
                .notice(&format!("{name} not restored of {count} files, such as {first}: {why}"));
        }
    }
}

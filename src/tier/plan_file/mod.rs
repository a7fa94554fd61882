//! Plans as files: what `hsm plan -o` writes, a person reviews and edits, and
//! `hsm apply` carries out.
//!
//! One JSON object per line: first the [`Header`], then one [`Row`] per file. A
//! person may remove rows and turn `tier` into `upload`, which both mean less;
//! each row's sum tells any other change. It guards against slips, not against
//! malice: whatever a row says, it is done only if pins and policy allow it at
//! that moment, on the very inode that was planned.
//!
//! Numbers that need more than 53 bits (times, inodes) are written as text: `jq`
//! before 1.7 and JavaScript round them. docs/FORMATS.md has an example.

mod reader;
mod reason;
mod row;

pub use reader::{PlanFile, Rows};
pub use reason::reason;
pub use row::{Planned, Row};

use crate::ids::{NodeId, StoreId};
use crate::manifest::Name;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// What the first line says it is.
const KIND: &str = "hsm-plan";
/// The one format that there is.
const VERSION: u32 = 1;
/// Mistakes that are named before they are only counted.
const NAMED: usize = 20;

/// The first line: for whom, and by which policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    format: String,
    version: u32,
    pub store: StoreId,
    pub node: NodeId,
    /// RFC 3339.
    pub made: String,
    /// SHA-256 of the policy's files, to tell that it has changed since.
    pub policy: String,
    pub roots: Vec<PlannedRoot>,
}

/// A root as it was when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedRoot {
    pub path: Name,
    pub identity: String,
}

impl Header {
    pub fn new(
        store: StoreId,
        node: NodeId,
        made: String,
        policy: String,
        roots: Vec<PlannedRoot>,
    ) -> Self {
        Self { format: KIND.to_owned(), version: VERSION, store, node, made, policy, roots }
    }

    /// The line, without its end.
    pub fn line(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a header has text keys")
    }

    /// What rows of this plan are summed with: a row of another plan is none of
    /// this one.
    fn seed(&self) -> u32 {
        crc32fast::hash(&[&self.store.0[..], &self.node.0[..]].concat())
    }

    fn has_root(&self, path: &Name) -> bool {
        self.roots.iter().any(|root| root.path == *path)
    }
}

/// One thing that is wrong with a plan file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub line: u64,
    pub what: String,
    pub mend: &'static str,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}; {}", self.line, self.what, self.mend)
    }
}

/// All that is wrong with a plan file; the first ones are named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mistakes {
    named: Vec<Mistake>,
    count: u64,
}

impl Mistakes {
    fn push(&mut self, mistake: Mistake) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(mistake);
        }
    }

    pub fn named(&self) -> &[Mistake] {
        &self.named
    }

    pub fn count(&self) -> u64 {
        self.count
    }
}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self { named: vec![mistake], count: 1 }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the plan has {} mistake(s)", self.count)?;
        for mistake in &self.named {
            write!(f, "\n  {mistake}")?;
        }
        match self.count.saturating_sub(self.named.len() as u64) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// A root's path as it stands in a plan.
pub fn root_name(path: &Path) -> Name {
    use std::os::unix::ffi::OsStrExt;
    Name::from_bytes(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests;

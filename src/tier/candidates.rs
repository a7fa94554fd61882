//! The files that a run looks at: those that the last scan saw, or others that
//! somebody chose.
//!
//! [`Entries`] walks the scanned tree page by page. The state DB is read through a connection of its own, one page at a time:
//! memory stays bounded whatever the tree, and no long read transaction keeps
//! the write-ahead log from shrinking while an upload commits beside it.

use super::Error;
use super::plan::Planner;
use crate::os::relpath::RelPath;
use crate::os::tree::RootDir;
use crate::state::{EntryRow, RootId, RootRow, StateDb};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// Rows read at once; about 2 MiB.
const PAGE_ENTRIES: usize = 8192;

/// What a run looks at its files for. They are looked at once for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Only to count them.
    Count,
    Upload,
    Stub,
}

/// Where and how a run looks.
pub struct Look<'a> {
    pub state_path: PathBuf,
    pub row: &'a RootRow,
    pub root: &'a RootDir,
    pub planner: Planner<'a>,
    pub for_space: bool,
    pub stage: Stage,
}

pub type Looked<'a> = Box<dyn Iterator<Item = Result<EntryRow, Error>> + Send + 'a>;

/// Whose files a run looks at. What is done with them the policy decides.
pub trait Choice: Sync {
    fn entries<'a>(&'a self, look: Look<'a>) -> Result<Looked<'a>, Error>;
}

/// What the last scan saw, everywhere or below a path.
pub struct Scanned {
    pub under: Option<RelPath>,
}

impl Choice for Scanned {
    fn entries<'a>(&'a self, look: Look<'a>) -> Result<Looked<'a>, Error> {
        let entries = Entries::open(&look.state_path, look.row.id, self.under.clone())?;
        Ok(Box::new(entries))
    }
}

/// Every known name below a path, in directory order.
pub struct Entries {
    state: StateDb,
    root: RootId,
    under: Option<RelPath>,
    page: VecDeque<EntryRow>,
    after: Option<RelPath>,
    ended: bool,
}

impl Entries {
    pub fn open(state: &Path, root: RootId, under: Option<RelPath>) -> Result<Self, Error> {
        Ok(Self {
            state: StateDb::open_read_only(state)?,
            root,
            under,
            page: VecDeque::new(),
            after: None,
            ended: false,
        })
    }

    fn turn(&mut self) -> Result<(), Error> {
        let page = self.state.entries_page(
            self.root,
            self.under.as_ref(),
            self.after.as_ref(),
            PAGE_ENTRIES,
        )?;
        self.ended = page.len() < PAGE_ENTRIES;
        self.after = page.last().map(|row| row.path.clone());
        self.page = page.into();
        Ok(())
    }
}

impl Iterator for Entries {
    type Item = Result<EntryRow, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && !self.ended
            && let Err(error) = self.turn()
        {
            self.ended = true;
            return Some(Err(error));
        }
        self.page.pop_front().map(Ok)
    }
}

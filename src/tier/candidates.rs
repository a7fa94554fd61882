//! Walks the scanned tree page by page.
//!
//! The state DB is read through a connection of its own, one page at a time:
//! memory stays bounded whatever the tree, and no long read transaction keeps
//! the write-ahead log from shrinking while an upload commits beside it.

use super::Error;
use crate::os::relpath::RelPath;
use crate::state::{EntryRow, RootId, StateDb};
use std::collections::VecDeque;
use std::path::Path;

/// Rows read at once; about 2 MiB.
const PAGE_ENTRIES: usize = 8192;

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

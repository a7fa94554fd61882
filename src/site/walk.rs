//! What was picked, page by page: memory stays bounded whatever the tree.

use super::Pick;
use crate::catalog::{CatalogDb, Result, Sight, Version};

/// Versions in one page.
const PAGE: usize = 1024;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Everything, directories before what is in them.
    Forwards,
    /// Directories only, behind what is in them.
    DirectoriesBackwards,
}

/// Where a walk over all picks is.
pub struct Walk<'p> {
    picks: &'p [Pick],
    sight: Sight,
    order: Order,
    pick: usize,
    last: Option<Vec<u8>>,
}

impl<'p> Walk<'p> {
    pub fn new(picks: &'p [Pick], sight: Sight, order: Order) -> Self {
        Self { picks, sight, order, pick: 0, last: None }
    }

    /// The next page, all of one pick, with the pick's number; `None` behind the
    /// last one.
    pub fn next(&mut self, db: &CatalogDb) -> Result<Option<(usize, Vec<Version>)>> {
        while let Some(Pick { root, under }) = self.picks.get(self.pick) {
            let last = self.last.as_deref();
            let page = match self.order {
                Order::Forwards => db.tree_page(root, self.sight, under, last, PAGE)?,
                Order::DirectoriesBackwards => {
                    db.directories_backwards(root, self.sight, under, last, PAGE)?
                }
            };
            let at = self.pick;
            match page.last().filter(|_| page.len() == PAGE) {
                Some(version) => self.last = Some(version.record.path_bytes().to_vec()),
                None => (self.pick, self.last) = (self.pick + 1, None),
            }
            if !page.is_empty() {
                return Ok(Some((at, page)));
            }
        }
        Ok(None)
    }
}

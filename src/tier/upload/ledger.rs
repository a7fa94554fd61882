//! Which files wait for which chunks.
//!
//! A file is ready for the catalog once every chunk it needs is recorded as
//! durable, whichever file or pack carried it. The ledger knows nothing of
//! packs or the store; it counts.

use super::files::{Request, Stamp};
use crate::ids::ChunkId;
use crate::manifest::Content;
use std::collections::{HashMap, HashSet};

/// A file whose bytes have all been read.
#[derive(Debug)]
pub(super) struct ReadFile {
    pub request: Request,
    pub stamp: Stamp,
    pub content: Content,
}

#[derive(Default)]
pub(super) struct Ledger {
    files: HashMap<u64, (ReadFile, usize)>,
    waiting: HashMap<ChunkId, Vec<u64>>,
    next: u64,
}

impl Ledger {
    /// Enters a file that needs `missing`; gives it back at once when it needs
    /// nothing more.
    pub fn enter(&mut self, file: ReadFile, missing: &HashSet<ChunkId>) -> Option<ReadFile> {
        if missing.is_empty() {
            return Some(file);
        }
        self.next += 1;
        for id in missing {
            self.waiting.entry(*id).or_default().push(self.next);
        }
        self.files.insert(self.next, (file, missing.len()));
        None
    }

    /// The chunks are durable: the files that have all they need now.
    pub fn durable<'a>(&mut self, ids: impl IntoIterator<Item = &'a ChunkId>) -> Vec<ReadFile> {
        let mut ready = vec![];
        for id in ids {
            for number in self.waiting.remove(id).unwrap_or_default() {
                let Some((_, missing)) = self.files.get_mut(&number) else { continue };
                *missing -= 1;
                if *missing == 0 {
                    let (file, _) = self.files.remove(&number).expect("it was just looked up");
                    ready.push(file);
                }
            }
        }
        ready
    }

    /// The chunks will never come: the files that needed one of them.
    pub fn lost<'a>(&mut self, ids: impl IntoIterator<Item = &'a ChunkId>) -> Vec<ReadFile> {
        let mut failed = vec![];
        for id in ids {
            for number in self.waiting.remove(id).unwrap_or_default() {
                failed.extend(self.files.remove(&number).map(|(file, _)| file));
            }
        }
        failed
    }

    /// Whatever still waits when the pipeline has ended.
    pub fn drain(&mut self) -> Vec<ReadFile> {
        self.waiting.clear();
        self.files.drain().map(|(_, (file, _))| file).collect()
    }
}

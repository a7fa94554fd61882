//! Chunks that this run has read but that are not yet recorded as durable.
//!
//! Two workers may meet the same new chunk at the same moment; the one that
//! claims it first carries its bytes, the other only refers to it. A claim is
//! dropped after the state DB has the chunk, so "not claimed" always means
//! "ask the DB", and the table stays as small as what is in flight. Being
//! claimed does not mean that a chunk will come: a worker claims first and then
//! looks whether the DB has it.
//!
//! What goes into an archive is claimed by itself: a file that is to be read at
//! once must not rely on a chunk that is on its way there.

use crate::ids::ChunkId;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
pub struct Claims(Mutex<HashSet<(ChunkId, bool)>>);

impl Claims {
    /// True when the caller is the first; then it must carry the chunk or
    /// [`release`](Self::release) it.
    pub fn claim(&self, id: ChunkId, archived: bool) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((id, archived))
    }

    /// The chunks are recorded in the state DB, or will never come. One that is on its
    /// way to the other kind of place as well may be carried twice by that.
    pub fn release<'a>(&self, ids: impl IntoIterator<Item = &'a ChunkId>) {
        let mut claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            claims.remove(&(*id, false));
            claims.remove(&(*id, true));
        }
    }
}

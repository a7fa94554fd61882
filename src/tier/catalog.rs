//! Appends segments to this node's log in the store.
//!
//! A segment is written after its packs are durable and before the state DB
//! says `uploaded`. The log has one writer; each segment carries the hash of
//! the one before, so a missing or foreign segment shows. The segment is read
//! back before it counts: it is the only record that makes packs findable.

use super::Error;
use crate::chunk::Protection;
use crate::fault;
use crate::ids::{NodeId, StoreId};
use crate::manifest::{Record, SegmentHeader, encode_segment, segment_hash};
use crate::site::{Site, segment_key};
use crate::store::{Key, PutOptions, Store};
use bytes::Bytes;

/// This node's log, open for one run.
pub struct CatalogLog {
    store_id: StoreId,
    node_id: NodeId,
    session: String,
    conditional_create: bool,
    next_seq: u64,
    prev: Option<[u8; 32]>,
}

/// A segment that is durable in the store.
#[derive(Debug, Clone, Copy)]
pub struct Appended {
    pub seq: u64,
    pub hash: [u8; 32],
}

impl CatalogLog {
    /// Continues the log where the state DB says it ends.
    pub fn open(site: &Site<'_>) -> Result<Self, Error> {
        let head = site.state.log_head()?;
        Ok(Self {
            store_id: site.store_id,
            node_id: site.node_id,
            session: format!("{}-{}", crate::os::process::boot_id(), crate::os::process::pid()),
            conditional_create: site.capabilities.conditional_create,
            next_seq: head.next_seq,
            prev: head.prev,
        })
    }

    pub fn session(&self) -> &str {
        &self.session
    }

    /// Writes the next segment; durable and read back on return.
    ///
    /// Refuses when a garbage collection plan stands in the store: its protocol
    /// asks writers to acknowledge it, and this version cannot.
    pub fn append(
        &mut self,
        store: &dyn Store,
        protection: &Protection,
        records: &[Record],
        now_ns: i64,
    ) -> Result<Appended, Error> {
        refuse_collection(store)?;
        let header = SegmentHeader {
            store: self.store_id,
            node: self.node_id,
            seq: self.next_seq,
            prev: self.prev,
            ack_gen: 0,
            session: self.session.clone(),
            written_ns: now_ns,
        };
        let bytes = Bytes::from(encode_segment(&header, records, protection)?);
        let key = segment_key(self.node_id, self.next_seq);
        put_segment(store, &key, &bytes, self.conditional_create)?;
        fault::point("upload.segment-put");
        let appended = Appended { seq: self.next_seq, hash: segment_hash(&bytes) };
        self.next_seq += 1;
        self.prev = Some(appended.hash);
        Ok(appended)
    }
}

fn put_segment(store: &dyn Store, key: &Key, bytes: &Bytes, create_new: bool) -> Result<(), Error> {
    let options = PutOptions { create_new, storage_class: None };
    store
        .put(key, bytes.clone(), &options)
        .map_err(|source| Error::fenced_or_store(key, source))?;
    let stored = store.get(key, None)?;
    if stored != *bytes {
        return Err(Error::SegmentDiffers { key: key.to_string() });
    }
    Ok(())
}

fn refuse_collection(store: &dyn Store) -> Result<(), Error> {
    let mut plan = None;
    store.list("gc/", None, &mut |object| plan = Some(object.key.to_string()))?;
    match plan {
        Some(key) => Err(Error::CollectionRunning { key }),
        None => Ok(()),
    }
}

//! Brings the logs, checkpoints and collections of the first store into the second,
//! so that a restore needs nothing else.
//!
//! Only what the first store lists is copied, as it is: its log is the authority, and
//! whatever the second has beyond it is told and left. Segments come before the
//! checkpoints and collections that presuppose them, and of each log never one behind
//! a gap: a reader would refuse it. So a mirror that was cut short is a whole, older
//! state of the logs.

use super::Site;
use crate::fault;
use crate::ids::NodeId;
use crate::manifest::keys;
use crate::monitor::Stop;
use crate::store::{self, ErrorKind, Key, PutOptions, Store};
use std::collections::{BTreeMap, BTreeSet};

/// What a mirroring did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrored {
    pub copied: u64,
    pub removed: u64,
    /// Objects of the second store that contradict the first.
    pub astray: Vec<Key>,
}

type Listing = BTreeMap<Key, u64>;

/// Copies what the second store lacks. Does nothing where there is none, or where it
/// is away.
pub fn mirror(site: &Site<'_>) -> Result<Mirrored, store::Error> {
    let mut done = Mirrored::default();
    let Some(second) = site.second_here() else { return Ok(done) };
    let work = Work { first: site.store, second: second.store, stop: &site.stop };
    let (nodes, there) = work.listings(keys::NODES)?;
    work.segments(&nodes, &there, &mut done)?;
    work.others(&nodes, &there, &mut done)?;
    let (plans, there) = work.listings(keys::COLLECTIONS)?;
    work.others(&plans, &there, &mut done)?;
    work.last_segments(&nodes, &mut done)?;
    Ok(done)
}

struct Work<'a> {
    first: &'a dyn Store,
    second: &'a dyn Store,
    stop: &'a Stop,
}

impl Work<'_> {
    fn listings(&self, prefix: &str) -> Result<(Listing, Listing), store::Error> {
        let list = |store: &dyn Store| {
            let mut found = Listing::new();
            store.list(prefix, None, &mut |object| {
                found.insert(object.key, object.size_bytes);
            })?;
            Ok(found)
        };
        // The second before: what is in it was in the first by then.
        let there = list(self.second)?;
        Ok((list(self.first)?, there))
    }

    /// In order, up to the first gap of each log.
    fn segments(
        &self,
        first: &Listing,
        there: &Listing,
        done: &mut Mirrored,
    ) -> Result<(), store::Error> {
        let mut last: Option<(NodeId, u64)> = None;
        let mut broken = BTreeSet::new();
        for (key, size) in first {
            let Some((node, seq)) = keys::parse_segment_key(key.as_str()) else { continue };
            let before = last.filter(|(of, _)| *of == node).map_or(0, |(_, seq)| seq);
            last = Some((node, seq));
            if seq != before + 1 {
                broken.insert(node);
            }
            if broken.contains(&node) {
                continue;
            }
            // A segment that was damaged has made room for another of its name.
            let replaced = first.contains_key(&damaged(node, seq));
            match there.get(key) {
                Some(found) if found == size => {}
                Some(_) if !replaced => done.astray.push(key.clone()),
                _ => self.copy(key, done)?,
            }
        }
        Ok(())
    }

    /// Everything else, and what the first store has no more of it.
    fn others(
        &self,
        first: &Listing,
        there: &Listing,
        done: &mut Mirrored,
    ) -> Result<(), store::Error> {
        let is_segment = |key: &Key| keys::parse_segment_key(key.as_str()).is_some();
        for (key, size) in first.iter().filter(|(key, _)| !is_segment(key)) {
            match there.get(key) {
                Some(found) if found == size => {}
                // One that a run began and another wrote again.
                Some(_) if is_checkpoint(key) => self.copy(key, done)?,
                Some(_) => done.astray.push(key.clone()),
                None => self.copy(key, done)?,
            }
        }
        for key in there.keys().filter(|key| !first.contains_key(key)) {
            let moved = keys::parse_segment_key(key.as_str())
                .is_some_and(|(node, seq)| first.contains_key(&damaged(node, seq)));
            if moved || is_checkpoint(key) {
                self.second.delete(key)?;
                done.removed += 1;
            } else {
                done.astray.push(key.clone());
            }
        }
        Ok(())
    }

    /// A log that was put back from a backup and went on otherwise has objects of the
    /// same names. Each segment carries the hash of the one before, so the last that
    /// both have tells.
    fn last_segments(&self, first: &Listing, done: &mut Mirrored) -> Result<(), store::Error> {
        let mut last: BTreeMap<NodeId, Key> = BTreeMap::new();
        for key in first.keys() {
            if let Some((node, _)) = keys::parse_segment_key(key.as_str()) {
                last.insert(node, key.clone());
            }
        }
        for key in last.into_values() {
            match self.second.get(&key, None) {
                Ok(bytes) if bytes == self.first.get(&key, None)? => {}
                Ok(_) => done.astray.push(key),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        done.astray.sort();
        done.astray.dedup();
        Ok(())
    }

    /// What vanished from the first store meanwhile (an old checkpoint) is passed over.
    fn copy(&self, key: &Key, done: &mut Mirrored) -> Result<(), store::Error> {
        if self.stop.requested() {
            return Err(store::Error::new(
                ErrorKind::Stopped,
                "copy",
                key.as_str(),
                self.second.location(),
            ));
        }
        let bytes = match self.first.get(key, None) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        self.second.put(key, bytes.clone(), &PutOptions::default())?;
        fault::point("second.mirrored");
        if self.second.get(key, None)? != bytes {
            let error = store::Error::new(
                ErrorKind::Integrity,
                "copy",
                key.as_str(),
                self.second.location(),
            );
            return Err(error.with_detail("it returned other bytes than were put"));
        }
        done.copied += 1;
        Ok(())
    }
}

fn is_checkpoint(key: &Key) -> bool {
    key.as_str().contains("/checkpoint/")
}

fn damaged(node: NodeId, seq: u64) -> Key {
    Key::new(keys::damaged_key(node, seq)).expect("the layout's own keys are valid")
}

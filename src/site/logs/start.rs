//! Where reading a log begins: behind what is known of it, at its newest whole
//! checkpoint, or at its first segment.

use super::{Error, Listed, Reader};
use crate::catalog::CatalogDb;
use crate::ids::NodeId;
use crate::manifest::{self, CheckpointHeader, Record, decode_checkpoint};
use crate::site::checkpoint_key;
use std::collections::BTreeMap;

/// Where reading a log that is not known yet, or not from where it is known, can
/// begin.
pub(super) struct Start<'a> {
    pub reader: &'a Reader<'a>,
    pub node: NodeId,
    pub listed: &'a Listed,
    pub until: Option<u64>,
}

impl Start<'_> {
    /// Last segment and number of parts that are there, the newest first.
    fn checkpoints(&self) -> Vec<(u64, u32)> {
        let mut parts: BTreeMap<u64, u32> = BTreeMap::new();
        for (upto, _) in &self.listed.checkpoints {
            *parts.entry(*upto).or_default() += 1;
        }
        let wanted = |(upto, _): &(u64, u32)| self.until.is_none_or(|until| *upto <= until);
        parts.into_iter().rev().filter(wanted).collect()
    }

    /// The segment after `known`, or that one itself where it was the last, is not
    /// there.
    pub fn is_cut_off(&self, known: u64) -> bool {
        let mut segments = self.listed.segments.iter().map(|(seq, _)| *seq);
        match segments.find(|seq| *seq > known) {
            Some(next) => next != known + 1,
            None => self.listed.segments.last().map_or(0, |(seq, _)| *seq) < known,
        }
    }

    /// Up to where a whole checkpoint stands for the segments; 0 without one.
    pub fn covered(&self) -> Result<u64, Error> {
        for (upto, there) in self.checkpoints() {
            match self.part(upto, 0) {
                Ok((header, _, _)) if header.parts == there => return Ok(upto),
                Ok(_) | Err(Error::Checkpoint { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    }

    /// There is a whole checkpoint from which the log can be read to its end, which
    /// is not before `known`.
    pub fn stands_for_the_rest(&self, known: u64) -> Result<bool, Error> {
        let Some((upto, there)) = self.checkpoints().first().copied() else { return Ok(false) };
        let mut segments = self.listed.segments.iter().map(|(seq, _)| *seq).rev();
        let found = segments.next().unwrap_or(0);
        let first = segments.zip((1..found).rev()).take_while(|(seq, next)| seq == next).last();
        let first = first.map_or(found, |(seq, _)| seq);
        if upto + 1 < first || upto.max(found) < known {
            return Ok(false);
        }
        let (header, _, _) = self.part(upto, 0)?;
        Ok(header.parts == there)
    }

    /// Enters the newest checkpoint of which every part is there. One that cannot be
    /// read is passed over where an older one or the log itself says the same.
    pub fn newest_checkpoint(&self, db: &mut CatalogDb) -> Result<Option<(u64, [u8; 32])>, Error> {
        let mut unreadable = None;
        for (upto, there) in self.checkpoints() {
            match self.checkpoint(db, upto, there) {
                Ok(Some(head)) => return Ok(Some(head)),
                Ok(None) => {}
                // Its writer has made a newer one.
                Err(Error::Store(error)) if error.is_not_found() => {}
                Err(error @ Error::Checkpoint { .. }) => {
                    unreadable.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        let is_whole = self.listed.segments.first().is_some_and(|(seq, _)| *seq == 1);
        match unreadable {
            Some(error) if !is_whole => Err(error),
            Some(error) => {
                tracing::warn!("{error}: the log is read from its beginning");
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// `None` when parts of it are missing: it was never finished.
    fn checkpoint(
        &self,
        db: &mut CatalogDb,
        upto: u64,
        there: u32,
    ) -> Result<Option<(u64, [u8; 32])>, Error> {
        let (first, records, bytes) = self.part(upto, 0)?;
        let Some(hash) = first.upto_hash.filter(|_| first.parts == there) else { return Ok(None) };
        let later = (1..first.parts).map(|part| {
            let (header, records, bytes) = self.part(upto, part)?;
            if (header.parts, header.upto_hash) != (first.parts, first.upto_hash) {
                return Err(self.malformed(upto, part, "it is part of another one"));
            }
            Ok((records, bytes))
        });
        db.apply_checkpoint(&first, std::iter::once(Ok((records, bytes))).chain(later))?;
        Ok(Some((upto, hash)))
    }

    pub fn part(
        &self,
        upto: u64,
        part: u32,
    ) -> Result<(CheckpointHeader, Vec<Record>, u64), Error> {
        if self.reader.stop.requested() {
            return Err(Error::Stopped);
        }
        let key = checkpoint_key(self.node, upto, part);
        let bytes = self.reader.store.get(&key, None)?;
        let (header, records) = decode_checkpoint(&bytes, self.reader.protection)
            .map_err(|source| Error::Checkpoint { key: key.to_string(), source })?;
        let is = (header.store, header.node, header.upto, header.part);
        if is != (self.reader.store_id, self.node, upto, part) {
            return Err(self.malformed(upto, part, "it is not what its name says"));
        }
        Ok((header, records, bytes.len() as u64))
    }

    fn malformed(&self, upto: u64, part: u32, why: &str) -> Error {
        let key = checkpoint_key(self.node, upto, part).to_string();
        let source = manifest::Error::Malformed { what: "catalog checkpoint", why: why.to_owned() };
        Error::Checkpoint { key, source }
    }
}

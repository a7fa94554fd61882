//! The second store of a site: what rules with `copies = 2` want their packs in too.
//!
//! It holds the same packs under the same names. The first store is written first and
//! its log is the authority; a copy here counts only with a proof by this store's own
//! means, in the state DB. Where this store is away everything else goes on, and no
//! file that needs it becomes a stub. Reading takes a pack from here when the first
//! store does not give it, or gives other bytes.

use super::{Site, pack_key};
use crate::chunk::{self, Decoder, check_chunks};
use crate::clock::Clock;
use crate::fault;
use crate::ids::PackId;
use crate::manifest::SecondEvidence;
use crate::state;
use crate::store::{self, Capabilities, ErrorKind, PutOptions, Store};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// The second store, or why there is nothing to be had from it.
#[derive(Clone)]
pub struct Second<'a> {
    pub store: &'a dyn Store,
    pub capabilities: Capabilities,
    /// Why nothing is to be put into it or concluded from it in this run.
    pub away: Option<String>,
    pub memory: Arc<Memory>,
}

/// A second store that a process holds open.
pub struct OpenSecond {
    pub store: Box<dyn Store>,
    pub capabilities: Capabilities,
    pub away: Option<String>,
    pub memory: Arc<Memory>,
}

impl OpenSecond {
    pub fn second(&self) -> Second<'_> {
        Second {
            store: &*self.store,
            capabilities: self.capabilities,
            away: self.away.clone(),
            memory: Arc::clone(&self.memory),
        }
    }
}

/// What readers remember of the first store, so that each of them need not find out
/// anew, with all its retries, that it is down.
#[derive(Debug, Default)]
pub struct Memory {
    told: AtomicBool,
    down_until_ns: AtomicI64,
}

/// How long the first store is asked second after it could not be reached.
const DOWN_NS: i64 = 60 * 1_000_000_000;

impl Memory {
    /// Whether the second store is to be asked first.
    pub fn first_is_down(&self, now_ns: i64) -> bool {
        now_ns < self.down_until_ns.load(Ordering::Relaxed)
    }

    pub fn note_down(&self, now_ns: i64) {
        self.down_until_ns.store(now_ns.saturating_add(DOWN_NS), Ordering::Relaxed);
    }

    /// True the first time.
    pub fn tell(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }
}

/// Why a pack has no second copy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error("the second store is away: {0}")]
    Away(String),
    #[error("read the first copy of pack {pack}")]
    First { pack: PackId, source: store::Error },
    #[error("put the second copy of pack {pack}")]
    Second { pack: PackId, source: store::Error },
}

impl Second<'_> {
    /// Puts a pack and proves that it is there. What was under this name before can
    /// only be an attempt at the same bytes.
    pub fn put(
        &self,
        clock: Clock,
        pack: PackId,
        bytes: &Bytes,
    ) -> Result<SecondEvidence, store::Error> {
        let receipt = self.store.put(&pack_key(pack), bytes.clone(), &PutOptions::default())?;
        fault::point("second.pack-put");
        let proven =
            store::prove(self.store, &self.capabilities, &receipt, bytes, pack, clock.now_ns())?;
        fault::point("second.pack-proven");
        Ok(SecondEvidence::of_second(proven))
    }

    /// Proves what is there already against the bytes it must be; `None` where it is
    /// not there or something else.
    fn prove_there(
        &self,
        clock: Clock,
        pack: PackId,
        bytes: &Bytes,
    ) -> Result<Option<SecondEvidence>, store::Error> {
        let key = pack_key(pack);
        match self.store.head(&key) {
            Ok(object) if object.size_bytes == bytes.len() as u64 => {}
            Ok(_) => return Ok(None),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        }
        let same = &mut |there: &Bytes| match there == bytes {
            true => Ok(()),
            false => Err("it differs from the first copy".to_owned()),
        };
        match store::prove_stored(self.store, &key, pack, clock.now_ns(), same) {
            Ok(proven) => Ok(Some(SecondEvidence::of_second(proven))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Integrity) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether the failure is of the store as a whole, so that the next pack need not be
/// tried.
pub fn is_of_store(error: &store::Error) -> bool {
    !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Integrity | ErrorKind::Archived)
}

impl<'s> Site<'s> {
    /// The second store, where one is configured and answers.
    pub fn second_here(&self) -> Option<&Second<'s>> {
        self.second.as_ref().filter(|second| second.away.is_none())
    }

    /// Does without the second store for the rest of this run, and says so once.
    pub fn second_is_away(&mut self, why: &str) {
        let monitor = self.monitor;
        if let Some(second) = self.second.as_mut().filter(|second| second.away.is_none()) {
            monitor.notice(&format!("the second store is not used in this run: {why}"));
            second.away = Some(why.to_owned());
        }
    }

    /// Makes sure of the second copy of a pack that the first store has: copied from
    /// there, every chunk checked, and proven. On return it is in the state DB.
    pub fn copy_to_second(&mut self, pack: PackId) -> Result<u64, Error> {
        let second = match &self.second {
            Some(Second { away: None, .. }) => self.second.clone().expect("it was just seen"),
            Some(Second { away: Some(why), .. }) => return Err(Error::Away(why.clone())),
            None => return Err(Error::Away("the config has no [second_store]".to_owned())),
        };
        let bytes = self.whole_pack(self.store, pack);
        let bytes = bytes.map_err(|source| Error::First { pack, source })?;
        fault::point("second.pack-read");
        let in_second = |source| Error::Second { pack, source };
        let (evidence, sent) = match second.prove_there(self.clock, pack, &bytes) {
            Ok(Some(evidence)) => (evidence, 0),
            Ok(None) => {
                let put = second.put(self.clock, pack, &bytes).map_err(in_second)?;
                (put, bytes.len() as u64)
            }
            Err(error) => return Err(in_second(error)),
        };
        self.state.record_second(&evidence)?;
        fault::point("second.pack-recorded");
        Ok(sent)
    }

    /// Puts the good second copy of a pack where the first one is lost or damaged;
    /// false where the second is no better. On return the first is proven.
    pub fn mend_from_second(&mut self, pack: PackId) -> Result<bool, Error> {
        let Some(second) = self.second_here().map(|second| second.store) else {
            return Ok(false);
        };
        let bytes = match self.whole_pack(second, pack) {
            Ok(bytes) => bytes,
            Err(error) if !is_of_store(&error) => return Ok(false),
            Err(source) => return Err(Error::Second { pack, source }),
        };
        let class = self.state.pack(pack)?.and_then(|row| row.class);
        let options = PutOptions { create_new: false, storage_class: class };
        let first = |source| Error::First { pack, source };
        self.store.put(&pack_key(pack), bytes, &options).map_err(first)?;
        fault::point("second.pack-mended");
        let proven = self.prove_by_reading(pack).map_err(first)?;
        self.state.record_pack(pack, proven.size_bytes, &proven.slots, &proven.evidence)?;
        Ok(true)
    }

    /// A pack out of one store, every chunk of it good.
    fn whole_pack(&self, from: &dyn Store, pack: PackId) -> Result<Bytes, store::Error> {
        let key = pack_key(pack);
        let bytes = from.get(&key, None)?;
        let check = || {
            let slots = chunk::parse_index(&bytes).map_err(|error| error.to_string())?;
            let decoder = &mut Decoder::new();
            let bad = check_chunks(self.protection, self.store_id, pack, &slots, &bytes, decoder);
            bad.first().map_or(Ok(()), |(_, error)| Err(error.to_string()))
        };
        check().map_err(|why| {
            store::Error::new(ErrorKind::Integrity, "read", key.as_str(), from.location())
                .with_detail(why)
        })?;
        Ok(bytes)
    }

    /// Bytes of a pack, from the second store where the first does not give them. The
    /// first one's error is returned where neither does.
    pub fn read_pack(&self, pack: PackId, range: Range<u64>) -> Result<Bytes, store::Error> {
        let key = pack_key(pack);
        let error = match self.store.get(&key, Some(range.clone())) {
            Err(error) if error.kind() != ErrorKind::Stopped => error,
            answer => return answer,
        };
        let Some(second) = self.second_here() else { return Err(error) };
        second.store.get(&key, Some(range)).map_err(|_| error)
    }
}

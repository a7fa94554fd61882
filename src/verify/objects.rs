//! The store side: packs present, packs whole.

use super::reading::{self, PackCheck};
use super::{Error, Problem, Sample, Verifier};
use crate::chunk::Protection;
use crate::classes;
use crate::ids::{ChunkId, PackId, StoreId};
use crate::manifest::keys;
use crate::monitor::{Phase, Stop};
use crate::site::{Catalog, carry, pack_key};
use crate::state::{PackRow, PackStatus, StateDb};
use crate::store::{ErrorKind, Store};
use crossbeam_channel::Sender;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What reading one pack showed.
struct Checked {
    pack: PackId,
    outcome: Result<PackCheck, Error>,
}

impl Verifier<'_, '_> {
    /// Compares a complete listing with what the state DB expects.
    pub(super) fn list(&mut self, scope: Option<&HashSet<PackId>>) -> Result<(), Error> {
        let mut present: HashMap<PackId, u64> = HashMap::new();
        self.site.store.list("packs/", None, &mut |object| {
            if let Some(pack) = keys::parse_pack_key(object.key.as_str()) {
                present.insert(pack, object.size_bytes);
            }
        })?;
        let mut known = vec![];
        self.site.state.for_each_pack(&mut |row| {
            known.push(row);
            ControlFlow::Continue(())
        })?;
        for row in known {
            let size = present.remove(&row.id);
            let wanted = scope.is_none_or(|scope| scope.contains(&row.id));
            match row.status {
                PackStatus::Durable if wanted => {
                    self.stats.packs += 1;
                    self.compare(&row, size)?;
                }
                PackStatus::Lost | PackStatus::Damaged if wanted && size.is_some() => {
                    self.stats.packs += u64::from(self.reinstate(row.id)?);
                }
                _ => {}
            }
        }
        self.unowned(scope, present)
    }

    fn compare(&mut self, row: &PackRow, listed: Option<u64>) -> Result<(), Error> {
        let size = match listed {
            Some(size) => Some(size),
            None => self.ask_again(row.id)?,
        };
        match size {
            Some(size) if size == row.size_bytes => Ok(()),
            Some(found_bytes) => {
                self.mark(row.id, PackStatus::Damaged)?;
                let expected_bytes = row.size_bytes;
                self.problem(Problem::PackSize { pack: row.id, expected_bytes, found_bytes });
                Ok(())
            }
            None => {
                self.mark(row.id, PackStatus::Lost)?;
                self.problem(Problem::PackMissing { pack: row.id });
                Ok(())
            }
        }
    }

    /// A listing can lag; only a direct "not found" makes a pack missing.
    fn ask_again(&self, pack: PackId) -> Result<Option<u64>, Error> {
        match self.site.store.head(&pack_key(pack)) {
            Ok(object) => Ok(Some(object.size_bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A pack of which nothing, or not all, was relied on any more is there
    /// again: put back from a backup of the store, or the store gave a wrong
    /// answer once. Its chunks count when all of it is read and found good.
    fn reinstate(&mut self, pack: PackId) -> Result<bool, Error> {
        if self.options.dry_run {
            return Ok(false);
        }
        match self.site.prove_by_reading(pack) {
            Ok(proven) => {
                let site = &mut *self.site;
                site.state.record_pack(pack, proven.size_bytes, &proven.slots, &proven.evidence)?;
                Ok(true)
            }
            Err(error) if carry::is_of_source(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn mark(&mut self, pack: PackId, status: PackStatus) -> Result<(), Error> {
        if !self.options.dry_run {
            self.site.state.mark_pack(pack, status, self.site.clock.now_ns())?;
        }
        Ok(())
    }

    /// Objects that this node does not know may be another node's.
    fn unowned(
        &mut self,
        scope: Option<&HashSet<PackId>>,
        unknown: HashMap<PackId, u64>,
    ) -> Result<(), Error> {
        if scope.is_some() || unknown.is_empty() {
            return Ok(());
        }
        let mut catalog = Catalog::default();
        for (pack, size_bytes) in unknown {
            if !catalog.owns(self.site, pack)? {
                self.stats.unowned_objects += 1;
                self.stats.unowned_bytes += size_bytes;
            }
        }
        Ok(())
    }

    /// Reads packs, oldest proof first, and hashes their chunks.
    pub(super) fn read_packs(
        &mut self,
        sample: Sample,
        scope: Option<&HashSet<PackId>>,
    ) -> Result<(), Error> {
        let packs = self.chosen(sample, scope)?;
        let total: u64 = packs.iter().map(|row| row.size_bytes).sum();
        self.site.monitor.begin(Phase::Verifying, packs.len() as u64, total);
        let (checked_in, checked) = crossbeam_channel::bounded(4);
        let next = AtomicUsize::new(0);
        let threads = self.site.workers.max(1);
        let reader = PackReader {
            store: self.site.store,
            protection: self.site.protection,
            store_id: self.site.store_id,
            state_path: self.site.state_path.clone(),
            stop: self.site.stop.clone(),
        };
        let result = thread::scope(|scope| {
            for _ in 0..threads {
                let (checked_in, next, packs, reader) =
                    (checked_in.clone(), &next, &packs, &reader);
                scope.spawn(move || reader.read(packs, next, &checked_in));
            }
            drop(checked_in);
            // Gone when this ends early, which ends the threads.
            let checked = checked;
            checked.iter().try_for_each(|checked| self.take(checked))
        });
        self.site.monitor.end();
        result
    }

    /// What is known to be in an archive takes no part in a sample.
    fn chosen(
        &mut self,
        sample: Sample,
        scope: Option<&HashSet<PackId>>,
    ) -> Result<Vec<PackRow>, Error> {
        let mut rows = self.site.state.packs_by_age(usize::MAX)?;
        rows.retain(|row| {
            row.status == PackStatus::Durable && scope.is_none_or(|scope| scope.contains(&row.id))
        });
        let total: u64 = rows.iter().map(|row| row.size_bytes).sum();
        let mut budget = sample.budget_bytes(total);
        let mut chosen = vec![];
        for row in rows {
            if budget == 0 {
                break;
            }
            if self.is_archived(&row)? {
                self.stats.archived_packs += 1;
                continue;
            }
            budget = budget.saturating_sub(row.size_bytes);
            chosen.push(row);
        }
        Ok(chosen)
    }

    /// By its class, unless a copy was brought that can be read.
    fn is_archived(&self, row: &PackRow) -> Result<bool, Error> {
        if !row.class.as_deref().is_some_and(classes::is_archive) {
            return Ok(false);
        }
        let thaw = self.site.state.thaw(row.id)?;
        let now_ns = self.site.clock.now_ns();
        Ok(!thaw.is_some_and(|thaw| thaw.is_ready(now_ns)))
    }

    fn take(&mut self, checked: Checked) -> Result<(), Error> {
        let Checked { pack, outcome } = checked;
        match outcome {
            Ok(check) => {
                self.stats.packs_read += 1;
                self.stats.bytes_read += check.bytes;
                self.site.monitor.advance(1, check.bytes);
                let row = self.site.state.pack(pack)?;
                let is_proven = row.is_some_and(|row| row.evidence.is_some());
                if check.more_than_known || (!is_proven && check.damaged.is_empty()) {
                    self.reinstate(pack)?;
                }
                let ids: Vec<ChunkId> = check.damaged.iter().map(|(id, _)| *id).collect();
                if !self.options.dry_run {
                    self.site.state.set_pack_verified(pack, self.site.clock.now_ns())?;
                    if !ids.is_empty() && self.site.state.has_second(pack)? {
                        // The places of its chunks are needed for the second copy.
                        self.mark(pack, PackStatus::Damaged)?;
                    } else {
                        self.site.state.forget_chunks(pack, &ids)?;
                    }
                }
                for (chunk, why) in check.damaged {
                    self.problem(Problem::ChunkDamaged { pack, chunk, why });
                }
                Ok(())
            }
            Err(Error::Store(error)) if error.kind() == ErrorKind::NotFound => {
                self.mark(pack, PackStatus::Lost)?;
                self.problem(Problem::PackMissing { pack });
                Ok(())
            }
            Err(Error::Store(error)) if error.kind() == ErrorKind::Integrity => {
                self.mark(pack, PackStatus::Damaged)?;
                let why = error.to_string();
                self.problem(Problem::PackUnreadable { pack, why });
                Ok(())
            }
            // It is there, and not to be read: that says nothing about its bytes.
            Err(Error::Store(error)) if error.kind() == ErrorKind::Archived => {
                self.stats.archived_packs += 1;
                Ok(())
            }
            // Unreachable or denied is unknown, never "gone".
            Err(error) => Err(error),
        }
    }
}

/// What the reading threads have in common.
struct PackReader<'a> {
    store: &'a dyn Store,
    protection: &'a Protection,
    store_id: StoreId,
    state_path: PathBuf,
    stop: Stop,
}

impl PackReader<'_> {
    /// One thread's work: packs until there are none left, a stop, or nobody
    /// who listens. The places of chunks are looked up pack by pack; those of a
    /// whole store would not fit in memory.
    fn read(&self, packs: &[PackRow], next: &AtomicUsize, checked: &Sender<Checked>) {
        let mut state = None;
        while let Some(row) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if self.stop.requested() {
                return;
            }
            let outcome = self.check(&mut state, row.id);
            if checked.send(Checked { pack: row.id, outcome }).is_err() {
                return;
            }
        }
    }

    /// Reads a pack once and checks each chunk where the state DB says it is.
    fn check(&self, state: &mut Option<StateDb>, pack: PackId) -> Result<PackCheck, Error> {
        let state = match state {
            Some(state) => state,
            None => state.insert(StateDb::open_read_only(&self.state_path)?),
        };
        let slots = state.pack_slots(pack)?;
        Ok(reading::check(self.store, self.protection, self.store_id, pack, &slots)?)
    }
}

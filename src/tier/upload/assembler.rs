//! The one thread that orders, packs, records and commits.
//!
//! It owns the state DB's writer, so every transition of a file happens here:
//! intent before the first byte is sent, `uploaded` after pack, proof and
//! catalog segment. Parts are taken strictly in the feeder's order, which keeps
//! a large file's chunks in sequence and small files in directory order.

use super::builders::{Builders, Shelf};
use super::files::{
    ChunkBytes, Done, FileError, FileRead, LargeFile, Part, ReadChunk, Request, Stamp, Ticket,
    check_pieces,
};
use super::ledger::{Ledger, ReadFile};
use super::sender::{SealedPack, Sent};
use super::{PACK_BYTES, Shared, UploadStats};
use crate::fault;
use crate::ids::{ChunkId, FileIdent, PackId};
use crate::manifest::{Content, Piece, SecondEvidence};
use crate::os::relpath::RelPath;
use crate::site::{Site, second};
use crate::state::{RootId, UploadIntent};
use crate::store;
use crate::tier::commit::Committer;
use crate::tier::{Error, sightings::Sightings};
use crate::units::Copies;
use crossbeam_channel::{Receiver, Sender, select};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(super) fn assemble(
    site: &mut Site<'_>,
    root_id: RootId,
    shared: &Shared<'_>,
    done: &Receiver<Done>,
    packs: Sender<SealedPack>,
    sent: &Receiver<Sent>,
    give_up: &dyn Fn(u64, u64) -> bool,
) -> Result<UploadStats, Error> {
    let committer = Committer::open(site, root_id, shared.root, shared.heard)?;
    let builders = Builders::new(shared, site.protection, site.store_id);
    let mut assembler = Assembler {
        site,
        root_id,
        shared,
        packs: Some(packs),
        give_up,
        committer,
        builders,
        ledger: Ledger::default(),
        large: HashMap::new(),
        early: BTreeMap::new(),
        next_seq: 1,
        intents: vec![],
        in_flight: 0,
        in_flight_chunks: HashSet::new(),
        refused: HashSet::new(),
        lost: HashSet::new(),
        sightings: Sightings::default(),
        stats: UploadStats::default(),
        broken: None,
    };
    assembler.drive(done, sent);
    assembler.conclude()
}

/// A large file on its way.
struct Large {
    file: Arc<LargeFile>,
    pieces: Vec<Piece>,
    error: Option<FileError>,
}

struct Assembler<'a, 's> {
    site: &'a mut Site<'s>,
    root_id: RootId,
    shared: &'a Shared<'a>,
    /// Dropped when no pack will come any more, which ends the senders.
    packs: Option<Sender<SealedPack>>,
    give_up: &'a dyn Fn(u64, u64) -> bool,
    committer: Committer<'a>,
    builders: Builders<'a>,
    ledger: Ledger,
    large: HashMap<Ticket, Large>,
    early: BTreeMap<u64, Done>,
    next_seq: u64,
    intents: Vec<UploadIntent>,
    /// Packs being sent.
    in_flight: usize,
    /// Chunks in packs that are being filled or sent.
    in_flight_chunks: HashSet<ChunkId>,
    /// Files that the state DB does not let go: stubs, or in another's hands.
    refused: HashSet<FileIdent>,
    /// Chunks whose pack was refused in this run.
    lost: HashSet<ChunkId>,
    sightings: Sightings,
    stats: UploadStats,
    broken: Option<Error>,
}

impl Assembler<'_, '_> {
    fn drive(&mut self, done: &Receiver<Done>, sent: &Receiver<Sent>) {
        let mut open = true;
        while open {
            select! {
                recv(done) -> message => match message {
                    Ok(message) => self.accept(message),
                    Err(_) => open = false,
                },
                recv(sent) -> message => {
                    if let Ok(message) = message {
                        self.guarded(|this| this.pack_sent(message));
                    }
                }
            }
        }
        let last = self.builders.close(None);
        self.guarded(|this| this.dispatch(last));
        self.packs = None;
        while self.in_flight > 0 {
            let Ok(message) = sent.recv() else { break };
            self.guarded(|this| this.pack_sent(message));
        }
    }

    /// Runs one step; a failure that concerns the whole run is kept, stops the
    /// feeder, and lets everything under way drain.
    fn guarded(&mut self, step: impl FnOnce(&mut Self) -> Result<(), Error>) {
        if let Err(error) = step(self) {
            self.broken.get_or_insert(error);
            self.shared.abandon.store(true, Ordering::Relaxed);
        }
    }

    fn accept(&mut self, message: Done) {
        if message.seq == 0 {
            self.place(message);
            return;
        }
        self.early.insert(message.seq, message);
        while let Some(message) = self.early.remove(&self.next_seq) {
            self.next_seq += 1;
            self.place(message);
        }
    }

    fn place(&mut self, message: Done) {
        for part in message.parts {
            self.guarded(|this| this.part(part));
        }
        self.shared.budget.give_back(message.budget_bytes);
    }

    fn part(&mut self, part: Part) -> Result<(), Error> {
        match part {
            Part::Broken(error) => Err(error),
            Part::Failed(path, error) => {
                self.file_failed(&path, &error);
                Ok(())
            }
            Part::Strays(chunks) => {
                let class = self.class_of(None);
                let shelf = Shelf { class, copies: Copies::One, large: None };
                chunks.into_iter().try_for_each(|chunk| self.chunk(&shelf, chunk).map(|_| ()))
            }
            Part::Whole(read) => self.whole(*read),
            Part::Begin(ticket, file) => {
                self.intend(&file.request, &file.stamp);
                self.large.insert(ticket, Large { file, pieces: vec![], error: None });
                Ok(())
            }
            Part::Hole(ticket, len) => {
                self.large_mut(ticket).pieces.push(Piece { len, chunk: None });
                Ok(())
            }
            Part::ChunkFailed(ticket, error) => {
                self.large_mut(ticket).error.get_or_insert(error);
                Ok(())
            }
            Part::Chunk(ticket, chunk) => self.large_chunk(ticket, chunk),
            Part::End(ticket) => self.large_end(ticket),
        }
    }

    fn large_mut(&mut self, ticket: Ticket) -> &mut Large {
        self.large.get_mut(&ticket).expect("the feeder opens a ticket before it uses it")
    }

    fn whole(&mut self, read: FileRead) -> Result<(), Error> {
        self.intend(&read.request, &read.stamp);
        let how = &read.request.how;
        let class = self.class_of(how.storage_class.as_ref());
        let shelf = Shelf { class, copies: how.copies, large: None };
        let mut proven = true;
        for chunk in read.chunks {
            proven &= self.chunk(&shelf, chunk)?;
        }
        let content = Content { size_bytes: read.stamp.stat.size_bytes, pieces: read.pieces };
        self.file_read(ReadFile { request: read.request, stamp: read.stamp, content }, proven)
    }

    fn large_chunk(&mut self, ticket: Ticket, chunk: ReadChunk) -> Result<(), Error> {
        let piece = Piece { len: u64::from(chunk.plain_len), chunk: Some(chunk.id) };
        let large = self.large_mut(ticket);
        large.pieces.push(piece);
        let own_packs = large.file.stamp.stat.size_bytes >= PACK_BYTES as u64;
        let how = &large.file.request.how;
        let (class, copies) = (how.storage_class.clone(), how.copies);
        let class = self.class_of(class.as_ref());
        let shelf = Shelf { class, copies, large: own_packs.then_some(ticket) };
        if !self.chunk(&shelf, chunk)? {
            self.large_mut(ticket).error.get_or_insert(FileError::SharedCopyLost);
        }
        Ok(())
    }

    fn large_end(&mut self, ticket: Ticket) -> Result<(), Error> {
        let Large { file, pieces, error } = self.large.remove(&ticket).expect("a ticket ends once");
        let finished = self.builders.close(Some(ticket));
        self.dispatch(finished)?;
        let checked = match error {
            Some(error) => Err(error),
            None => file
                .stamp
                .still_holds(&file.file)
                .and_then(|()| check_pieces(pieces.len() as u64, file.stamp.stat.nlink)),
        };
        if let Err(error) = checked {
            self.file_failed(&file.request.path, &error);
            self.committer.abandon(file.stamp.ident);
            return Ok(());
        }
        let content = Content { size_bytes: file.stamp.stat.size_bytes, pieces };
        let read = ReadFile { request: file.request.clone(), stamp: file.stamp.clone(), content };
        self.file_read(read, true)
    }

    /// By name also where it is the store's default: what was put in an archive is
    /// told by the record of its pack.
    fn class_of(&self, of_rule: Option<&String>) -> Option<String> {
        self.shared.store.pack_class(of_rule.map(String::as_str))
    }

    /// Puts a chunk into its pack, or checks the copy that it relies on. False
    /// when that copy turned out to be gone.
    fn chunk(&mut self, shelf: &Shelf, chunk: ReadChunk) -> Result<bool, Error> {
        self.site.monitor.advance(0, u64::from(chunk.plain_len));
        match chunk.bytes {
            ChunkBytes::New { codec, stored } => {
                let now = self.site.clock.now_ns();
                let full =
                    self.builders.push(shelf, now, chunk.id, codec, chunk.plain_len, &stored);
                self.in_flight_chunks.insert(chunk.id);
                self.shared.chunk_buffers.give_back(stored);
                self.dispatch(full)?;
                Ok(true)
            }
            ChunkBytes::Claimed => {
                self.stats.deduplicated_bytes += u64::from(chunk.plain_len);
                Ok(true)
            }
            ChunkBytes::Stored(place) => {
                self.stats.deduplicated_bytes += u64::from(chunk.plain_len);
                self.sightings.still_there(self.site, &place)
            }
        }
    }

    /// All bytes of the file are read: it waits for its chunks, or is ready.
    fn file_read(&mut self, file: ReadFile, proven: bool) -> Result<(), Error> {
        let missing = self.missing(&file.content)?;
        let refused = file.content.chunk_ids().any(|id| self.lost.contains(&id));
        if refused || !proven {
            let why = if refused { FileError::NotSent } else { FileError::SharedCopyLost };
            self.file_failed(&file.request.path, &why);
            self.committer.abandon(file.stamp.ident);
            return Ok(());
        }
        match self.ledger.enter(file, &missing) {
            Some(ready) => self.ready(vec![ready]),
            None => Ok(()),
        }
    }

    /// The chunks that are not recorded as durable: those in packs of this run
    /// that are not yet proven, and those that a later job carries. The claim
    /// table cannot tell: a worker also holds a claim while it only looks
    /// whether the state DB knows the chunk.
    fn missing(&self, content: &Content) -> Result<HashSet<ChunkId>, Error> {
        let (mut missing, mut asked) = (HashSet::new(), vec![]);
        for id in content.chunk_ids() {
            if self.in_flight_chunks.contains(&id) {
                missing.insert(id);
            } else {
                asked.push(id);
            }
        }
        let places = self.site.state.find_lasting_chunks(&asked)?;
        missing.extend(asked.iter().zip(places).filter(|(_, p)| p.is_none()).map(|(id, _)| *id));
        Ok(missing)
    }

    fn dispatch(&mut self, packs: Vec<SealedPack>) -> Result<(), Error> {
        for pack in packs {
            if self.broken.is_some() {
                self.pack_refused(pack.slots.iter().map(|slot| slot.id).collect());
                continue;
            }
            // Intent first: a pack that a kill leaves behind is found by name.
            self.flush_intents()?;
            self.committer.announce(self.site)?;
            self.site.state.intend_pack(
                pack.id,
                "data",
                pack.class.as_deref(),
                self.site.clock.now_ns(),
            )?;
            fault::point("upload.pack-intended");
            self.in_flight += 1;
            let senders = self.packs.as_ref().expect("open until the last pack is dispatched");
            senders.send(pack).expect("the senders run until this end is dropped");
        }
        Ok(())
    }

    fn pack_sent(&mut self, sent: Sent) -> Result<(), Error> {
        self.in_flight -= 1;
        let ids: Vec<ChunkId> = sent.slots.iter().map(|slot| slot.id).collect();
        match sent.result {
            Ok(evidence) => {
                self.record(sent.id, sent.size_bytes, &sent.slots, &evidence)
                    .inspect_err(|_| self.pack_refused(ids.clone()))?;
                self.record_second(sent.second)?;
                self.landed(&ids);
                self.stats.packs += 1;
                self.stats.sent_bytes += sent.size_bytes;
                let ready = self.ledger.durable(&ids);
                self.ready(ready)
            }
            Err(error) => {
                self.pack_refused(ids);
                Err(error.into())
            }
        }
    }

    fn record(
        &mut self,
        id: PackId,
        size_bytes: u64,
        slots: &[crate::chunk::ChunkSlot],
        evidence: &crate::manifest::PackEvidence,
    ) -> Result<(), Error> {
        self.site.state.record_pack(id, size_bytes, slots, evidence)?;
        fault::point("upload.pack-recorded");
        Ok(())
    }

    /// What is wrong with the second copy is no failure of the upload: the pack is
    /// looked at again before anything that needs both is stubbed.
    fn record_second(
        &mut self,
        second: Option<Result<SecondEvidence, store::Error>>,
    ) -> Result<(), Error> {
        match second {
            None => {}
            Some(Ok(evidence)) => {
                self.site.state.record_second(&evidence)?;
                fault::point("second.pack-recorded");
            }
            Some(Err(error)) if second::is_of_store(&error) => {
                self.site.second_is_away(&error.to_string());
            }
            Some(Err(error)) => {
                self.site.monitor.notice(&format!("no second copy yet: {error}"));
            }
        }
        Ok(())
    }

    fn pack_refused(&mut self, ids: Vec<ChunkId>) {
        for file in self.ledger.lost(&ids) {
            self.file_failed(&file.request.path, &FileError::NotSent);
            self.committer.abandon(file.stamp.ident);
        }
        self.landed(&ids);
        self.lost.extend(ids);
    }

    /// The chunks are on their way no longer.
    fn landed(&mut self, ids: &[ChunkId]) {
        self.shared.claims.release(ids);
        for id in ids {
            self.in_flight_chunks.remove(id);
        }
    }

    fn ready(&mut self, files: Vec<ReadFile>) -> Result<(), Error> {
        for file in files {
            self.committer.add_file(file.request, file.stamp, file.content);
            self.commit_if_due()?;
        }
        // Packs alone are a reason too: a large file takes hours.
        self.commit_if_due()
    }

    fn commit_if_due(&mut self) -> Result<(), Error> {
        if self.committer.is_due(self.site.clock.now_ns()) {
            self.settle_intents()?;
            self.committer.commit(self.site)?;
        }
        Ok(())
    }

    fn intend(&mut self, request: &Request, stamp: &Stamp) {
        self.intents.push(UploadIntent {
            ident: stamp.ident,
            btime_ns: stamp.stat.btime_ns,
            path: request.path.clone(),
            size_bytes: stamp.stat.size_bytes,
            mtime_ns: stamp.stat.mtime_ns,
            ctime_ns: stamp.stat.ctime_ns,
            rule: request.how.rule.clone(),
        });
    }

    fn flush_intents(&mut self) -> Result<(), Error> {
        if !self.intents.is_empty() {
            let intents = std::mem::take(&mut self.intents);
            let now_ns = self.site.clock.now_ns();
            let refused = self.site.state.begin_uploads(self.root_id, &intents, now_ns)?;
            self.refused.extend(refused);
        }
        Ok(())
    }

    /// Every file of the next segment is `uploading` in the state DB; one that
    /// the DB does not let go is left out.
    fn settle_intents(&mut self) -> Result<(), Error> {
        self.flush_intents()?;
        let refused = std::mem::take(&mut self.refused);
        for path in self.committer.leave_out(&refused) {
            self.file_failed(&path, &FileError::InUse);
        }
        Ok(())
    }

    fn file_failed(&mut self, path: &RelPath, error: &FileError) {
        let full = path.to_path(self.shared.root.path());
        if error.is_change() {
            self.stats.changed += 1;
            self.site.monitor.file_left(&full, "upload", error);
            self.site.monitor.notice(&format!("not uploaded: {}: {error}", full.display()));
            return;
        }
        self.stats.failed += 1;
        self.site.monitor.file_failed(&full, "upload", error);
        let failures = self.stats.failed;
        if (self.give_up)(failures, self.committer.files_seen()) {
            self.guarded(|_| Err(Error::TooManyFailures { failures }));
        }
    }

    fn conclude(mut self) -> Result<UploadStats, Error> {
        let stranded = self.ledger.drain();
        let collected = self.committer.is_collected_from(self.site).unwrap_or(false);
        for file in stranded {
            // It counts on a chunk that somebody found and that is gone by now.
            let why = if collected { FileError::Collected } else { FileError::NotSent };
            self.file_failed(&file.request.path, &why);
            self.committer.abandon(file.stamp.ident);
        }
        self.guarded(|this| {
            this.settle_intents()?;
            this.committer.finish(this.site)
        });
        self.stats.files = self.committer.files_committed();
        self.stats.bytes = self.committer.bytes_committed();
        self.stats.segments = self.committer.segments();
        match self.broken {
            Some(error) => Err(error),
            None => Ok(self.stats),
        }
    }
}

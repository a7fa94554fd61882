//! Fetches runs, verifies every chunk, writes it to its place.
//!
//! Several threads each take whole runs, so fetching, hashing and writing
//! overlap. The store works for the site's errand: a stop ends it in the middle of
//! a run. A chunk that does not verify is fetched once more (a broken
//! transfer is likelier than a broken copy), then from the second store where there is
//! one, before its file fails.

use super::layout::{Part, Run, runs};
use super::{Catalog, Second, Site, catalog, pack_key};
use crate::chunk::{self, Decoder};
use crate::classes;
use crate::clock::Clock;
use crate::errand::Errand;
use crate::ids::{ChunkId, PackId};
use crate::manifest::{Content, keys};
use crate::state::{self, PackStatus};
use crate::store::{self, ErrorKind, Store};
use crate::stub::Filler;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Where the verified bytes of one file go. Pieces come in no order, from several
/// threads.
pub trait Sink: Sync {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), SinkError>;
}

pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

impl Sink for Filler {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        Ok(Filler::write_at(self, offset, bytes)?)
    }
}

impl Sink for File {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        Ok(self.write_all_at(bytes, offset)?)
    }
}

/// One file being filled.
pub struct Filling<'f> {
    pub content: &'f Content,
    pub sink: &'f dyn Sink,
}

/// Why one file is not whole.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("chunk {0} of its copy is in no pack that is known to be good")]
    ChunkLost(ChunkId),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Chunk(#[from] chunk::Error),
    #[error("the catalog does not say where its copy is")]
    Catalog(#[source] catalog::Error),
    /// Nothing is wrong with it: it can be read when the archive has brought it.
    #[error(
        "pack {0} of its copy is in an archive class of the store: hsm recall --wait asks for it, of \
         what is to be restored after hsm restore --stubs"
    )]
    Archived(PackId),
    /// What became of another file of the batch that the same request was for.
    #[error("{0}")]
    Shared(String),
    #[error(transparent)]
    Sink(SinkError),
    #[error("it was stopped")]
    Stopped,
}

/// Fills every file of the batch; one outcome per file, in order. Where a pack is
/// gone from the store, the catalog is asked once whether its chunks lie elsewhere
/// by now.
pub fn fill_all(
    site: &mut Site<'_>,
    catalog: &mut Catalog,
    fills: &[Filling<'_>],
) -> Result<Vec<Result<(), FileError>>, state::Error> {
    let all: Vec<usize> = (0..fills.len()).collect();
    let mut gone = HashSet::new();
    let mut outcomes = fill(site, catalog, fills, &all, &gone)?;
    let missing: Vec<usize> =
        all.into_iter().filter(|file| is_of_gone_pack(&outcomes[*file], &mut gone)).collect();
    if missing.is_empty() || catalog.refresh(site).is_err() {
        return Ok(outcomes);
    }
    let again = fill(site, catalog, fills, &missing, &gone)?;
    for (file, outcome) in missing.into_iter().zip(again) {
        // The first answer names the object that is missing.
        if !matches!(outcome, Err(FileError::ChunkLost(_))) {
            outcomes[file] = outcome;
        }
    }
    Ok(outcomes)
}

/// The packs that a content's chunks are to be read from, and whether their class is
/// one that must be thawed first.
pub fn packs(
    site: &mut Site<'_>,
    catalog: &mut Catalog,
    content: &Content,
) -> Result<Result<BTreeMap<PackId, bool>, FileError>, state::Error> {
    let ids: Vec<ChunkId> = content.chunk_ids().collect();
    let mut packs = BTreeMap::new();
    for (id, place) in ids.iter().zip(site.state.find_chunks(&ids)?) {
        let (pack, archived) = match place {
            Some(place) => (place.pack, place.is_archived()),
            None => match archived_elsewhere(site, catalog, id) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(Err(FileError::ChunkLost(*id))),
                Err(error) => return Ok(Err(FileError::Catalog(error))),
            },
        };
        packs.insert(pack, archived);
    }
    Ok(Ok(packs))
}

fn archived_elsewhere(
    site: &Site<'_>,
    catalog: &mut Catalog,
    id: &ChunkId,
) -> Result<Option<(PackId, bool)>, catalog::Error> {
    let Some((pack, _)) = catalog.chunk(site, id, &|_| false)? else { return Ok(None) };
    let class = catalog.pack_class(site, pack)?;
    Ok(Some((pack, class.as_deref().is_some_and(classes::is_archive))))
}

/// Notes the packs that a file was not filled for because they are gone.
fn is_of_gone_pack(outcome: &Result<(), FileError>, gone: &mut HashSet<PackId>) -> bool {
    match outcome {
        Err(FileError::Store(error)) if error.is_not_found() => {
            gone.extend(error.key().and_then(|key| keys::parse_pack_key(key.as_str())));
            true
        }
        Err(FileError::Shared(_)) => true,
        _ => false,
    }
}

/// Fills the files with these numbers; one outcome for each of them.
fn fill(
    site: &mut Site<'_>,
    catalog: &mut Catalog,
    fills: &[Filling<'_>],
    files: &[usize],
    gone: &HashSet<PackId>,
) -> Result<Vec<Result<(), FileError>>, state::Error> {
    let mut errors: Vec<Option<FileError>> = Vec::with_capacity(files.len());
    let mut parts = vec![];
    for (index, file) in files.iter().enumerate() {
        errors.push(match places(site, catalog, fills[*file].content, index, gone)? {
            Ok(found) => {
                parts.extend(found);
                None
            }
            Err(error) => Some(error),
        });
    }
    let runs = runs(parts);
    let errors = Mutex::new(errors);
    let next = AtomicUsize::new(0);
    let threads = site.workers.max(site.connections).clamp(1, runs.len().max(1));
    let sinks: Vec<&dyn Sink> = files.iter().map(|file| fills[*file].sink).collect();
    let shared = Shared {
        store: site.store,
        second: site.second_here(),
        clock: site.clock,
        bad: Mutex::default(),
        site_stop: &site.stop,
        errand: &site.errand,
        sinks: &sinks,
        errors: &errors,
    };
    let (protection, store_id, monitor) = (site.protection, site.store_id, site.monitor);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut reader = Reader::new(protection, store_id);
                while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let bytes = shared.run(run, &mut reader);
                    monitor.advance(0, bytes);
                }
            });
        }
    });
    let bad = shared.bad.into_inner().expect("no reader panicked");
    let errors = errors.into_inner().expect("no reader panicked");
    note_bad(site, &bad);
    Ok(errors.into_iter().map(|error| error.map_or(Ok(()), Err)).collect())
}

/// What was read from the second store only: said once, and the first copy that turned
/// out to be gone or damaged is relied on no more.
///
/// A guard reads with a state DB that it may not write here; what it cannot note the
/// next verification finds.
fn note_bad(site: &mut Site<'_>, bad: &BTreeMap<PackId, Bad>) {
    let Some((pack, first)) = bad.iter().next() else { return };
    if site.second.as_ref().is_some_and(|second| second.memory.tell()) {
        let why = &first.why;
        site.monitor.notice(&format!("read from the second store: pack {pack}: {why}"));
    }
    let now_ns = site.clock.now_ns();
    for (pack, Bad { status, why }) in bad {
        tracing::warn!(%pack, why, "read from the second store");
        let Some(status) = status else { continue };
        let noted = site.state.pack(*pack).and_then(|row| match row {
            Some(row) if row.status == PackStatus::Durable => {
                site.state.mark_pack(*pack, *status, now_ns)
            }
            _ => Ok(()),
        });
        if let Err(error) = noted {
            tracing::info!(%pack, %error, "not noted");
        }
    }
}

/// Where the chunks of one file are, by the state DB or else by the catalog.
fn places(
    site: &mut Site<'_>,
    catalog: &mut Catalog,
    content: &Content,
    file: usize,
    gone: &HashSet<PackId>,
) -> Result<Result<Vec<Part>, FileError>, state::Error> {
    let ids: Vec<ChunkId> = content.chunk_ids().collect();
    let known = site.state.find_chunks(&ids)?;
    let mut found: HashMap<ChunkId, (PackId, chunk::ChunkSlot)> = HashMap::new();
    for (id, place) in ids.iter().zip(known) {
        if found.contains_key(id) {
            continue;
        }
        let second = match &place {
            // What the first store has lost the second may have.
            None if site.second_here().is_some() => site.state.find_second_chunk(id)?,
            _ => None,
        };
        let place = place.filter(|place| !gone.contains(&place.pack));
        let place = match place.map(|place| (place.pack, place.slot)).or(second) {
            Some(place) => Some(place),
            None => match catalog.chunk(site, id, &|pack| gone.contains(&pack)) {
                Ok(place) => place,
                Err(error) => return Ok(Err(FileError::Catalog(error))),
            },
        };
        match place {
            Some(place) => found.insert(*id, place),
            None => return Ok(Err(FileError::ChunkLost(*id))),
        };
    }
    let (mut parts, mut file_offset) = (vec![], 0);
    for piece in &content.pieces {
        if let Some(id) = piece.chunk {
            let (pack, slot) = found[&id];
            parts.push(Part { pack, slot, file, file_offset });
        }
        file_offset += piece.len;
    }
    Ok(Ok(parts))
}

/// Why a pack was read from the second store, and what that says of the first copy.
struct Bad {
    status: Option<PackStatus>,
    why: String,
}

struct Shared<'a> {
    store: &'a dyn Store,
    second: Option<&'a Second<'a>>,
    clock: Clock,
    /// Packs that only the second store gave as they must be.
    bad: Mutex<BTreeMap<PackId, Bad>>,
    site_stop: &'a crate::monitor::Stop,
    errand: &'a Errand,
    sinks: &'a [&'a dyn Sink],
    errors: &'a Mutex<Vec<Option<FileError>>>,
}

/// One thread's contexts and buffer.
struct Reader<'a> {
    protection: &'a chunk::Protection,
    store_id: crate::ids::StoreId,
    decoder: Decoder,
    plain: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(protection: &'a chunk::Protection, store_id: crate::ids::StoreId) -> Self {
        Self { protection, store_id, decoder: Decoder::new(), plain: vec![] }
    }

    fn open(&mut self, part: &Part, run: &Run, bytes: &Bytes) -> Result<(), chunk::Error> {
        let range = part.stored_range();
        let start = usize::try_from(range.start - run.range.start).expect("a run fits in memory");
        let end = start + part.slot.stored_len as usize;
        chunk::open_chunk(
            self.protection,
            self.store_id,
            part.pack,
            &part.slot,
            &bytes[start..end],
            &mut self.decoder,
            &mut self.plain,
        )
    }
}

/// The bytes of one run, from each store as they are needed.
struct Fetched {
    first: Option<Bytes>,
    /// A chunk was not as it must be, and was fetched once more.
    again: bool,
    second: Option<Bytes>,
}

impl Fetched {
    /// From the store that is likelier to have them; the first store's error where
    /// none does.
    fn first(shared: &Shared<'_>, run: &Run) -> Result<Self, store::Error> {
        let from_second = |bytes| Self { first: None, again: true, second: Some(bytes) };
        let now_ns = shared.clock.now_ns();
        let down = shared.second.is_some_and(|second| second.memory.first_is_down(now_ns));
        if down && let Some(bytes) = shared.fetch_second(run) {
            shared.is_bad(run.pack, None, "the first store could not be reached".to_owned());
            return Ok(from_second(bytes));
        }
        let error = match shared.fetch(shared.store, run) {
            Ok(bytes) => return Ok(Self { first: Some(bytes), again: false, second: None }),
            Err(error) if error.kind() == ErrorKind::Stopped => return Err(error),
            Err(error) => error,
        };
        let Some(bytes) = shared.fetch_second(run) else { return Err(error) };
        let status = match error.kind() {
            ErrorKind::NotFound => Some(PackStatus::Lost),
            ErrorKind::Integrity => Some(PackStatus::Damaged),
            _ => None,
        };
        if let Some(second) = shared.second.filter(|_| status.is_none()) {
            second.memory.note_down(now_ns);
        }
        shared.is_bad(run.pack, status, error.to_string());
        Ok(from_second(bytes))
    }

    /// Verifies one chunk: as it came, then fetched once more, then from the second
    /// store.
    fn open(
        &mut self,
        shared: &Shared<'_>,
        run: &Run,
        part: &Part,
        reader: &mut Reader<'_>,
    ) -> Result<(), chunk::Error> {
        let mut wrong = None;
        if let Some(bytes) = &self.first {
            match reader.open(part, run, bytes) {
                Ok(()) => return Ok(()),
                Err(error) => wrong = Some(error),
            }
        }
        if wrong.is_some() && !self.again {
            self.again = true;
            if let Ok(again) = shared.fetch(shared.store, run) {
                let opened = reader.open(part, run, &again);
                self.first = Some(again);
                if opened.is_ok() {
                    return Ok(());
                }
            }
        }
        if self.second.is_none() {
            self.second = shared.fetch_second(run);
        }
        let from_second = self.second.as_ref().map(|bytes| reader.open(part, run, bytes));
        if wrong.is_none() && matches!(from_second, Some(Err(_))) {
            // The second store was asked first, and is no better.
            self.first = shared.fetch(shared.store, run).ok();
            if let Some(Ok(())) = self.first.as_ref().map(|bytes| reader.open(part, run, bytes)) {
                return Ok(());
            }
        }
        match (from_second, wrong) {
            (Some(Ok(())), None) => Ok(()),
            (Some(Ok(())), Some(error)) => {
                shared.is_bad(run.pack, Some(PackStatus::Damaged), error.to_string());
                Ok(())
            }
            (_, Some(error)) | (Some(Err(error)), None) => Err(error),
            (None, None) => unreachable!("one of the stores has given something"),
        }
    }
}

impl Shared<'_> {
    /// Fetches and writes one run; returns the bytes written.
    fn run(&self, run: &Run, reader: &mut Reader<'_>) -> u64 {
        if self.site_stop.requested() {
            self.all_stopped(run);
            return 0;
        }
        let mut fetched = match Fetched::first(self, run) {
            Ok(fetched) => fetched,
            Err(error) => {
                self.all_failed(run, error);
                return 0;
            }
        };
        let mut written = 0;
        for part in &run.parts {
            match fetched.open(self, run, part, reader) {
                Ok(()) => written += self.write(part, &reader.plain),
                Err(error) => self.failed(part, error.into()),
            }
        }
        written
    }

    fn fetch(&self, store: &dyn Store, run: &Run) -> Result<Bytes, store::Error> {
        let key = pack_key(run.pack);
        self.errand.run(|| store.get(&key, Some(run.range.clone())))
    }

    fn fetch_second(&self, run: &Run) -> Option<Bytes> {
        self.second.and_then(|second| self.fetch(second.store, run).ok())
    }

    fn is_bad(&self, pack: PackId, status: Option<PackStatus>, why: String) {
        let mut bad = self.bad.lock().expect("no holder panics");
        let bad = bad.entry(pack).or_insert(Bad { status, why });
        bad.status = bad.status.or(status);
    }

    fn write(&self, part: &Part, plain: &[u8]) -> u64 {
        match self.sinks[part.file].write_at(part.file_offset, plain) {
            Ok(()) => plain.len() as u64,
            Err(error) => {
                self.failed(part, FileError::Sink(error));
                0
            }
        }
    }

    fn failed(&self, part: &Part, error: FileError) {
        let mut errors = self.errors.lock().expect("no holder panics");
        errors[part.file].get_or_insert(error);
    }

    fn all_stopped(&self, run: &Run) {
        run.parts.iter().for_each(|part| self.failed(part, FileError::Stopped));
    }

    /// One failed request fails every file that it was for; the error itself
    /// goes to the first, its text to the others.
    fn all_failed(&self, run: &Run, error: store::Error) {
        match error.kind() {
            store::ErrorKind::Stopped => return self.all_stopped(run),
            store::ErrorKind::Archived => {
                tracing::debug!("{error}");
                let each = run.parts.iter();
                return each.for_each(|part| self.failed(part, FileError::Archived(run.pack)));
            }
            _ => {}
        }
        let text = error.to_string();
        let mut error = Some(error);
        for part in &run.parts {
            let why = match error.take() {
                Some(error) => FileError::Store(error),
                None => FileError::Shared(text.clone()),
            };
            self.failed(part, why);
        }
    }
}

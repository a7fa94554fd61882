//! Fetches runs, verifies every chunk, writes it to its place.
//!
//! Several threads each take whole runs, so fetching, hashing and writing
//! overlap. The store works for the site's errand: a stop ends it in the middle of
//! a run. A chunk that does not verify is fetched once more (a broken
//! transfer is likelier than a broken copy) before its file fails.

use super::layout::{Part, Run, runs};
use super::{Catalog, Site, catalog, pack_key};
use crate::chunk::{self, Decoder};
use crate::classes;
use crate::errand::Errand;
use crate::ids::{ChunkId, PackId};
use crate::manifest::{Content, keys};
use crate::state;
use crate::store::{self, Store};
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
    let site = &*site;
    let sinks: Vec<&dyn Sink> = files.iter().map(|file| fills[*file].sink).collect();
    let shared = Shared {
        store: site.store,
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
    let errors = errors.into_inner().expect("no reader panicked");
    Ok(errors.into_iter().map(|error| error.map_or(Ok(()), Err)).collect())
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
        let place = match place.filter(|place| !gone.contains(&place.pack)) {
            Some(place) => Some((place.pack, place.slot)),
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

struct Shared<'a> {
    store: &'a dyn Store,
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

impl Shared<'_> {
    /// Fetches and writes one run; returns the bytes written.
    fn run(&self, run: &Run, reader: &mut Reader<'_>) -> u64 {
        if self.site_stop.requested() {
            self.all_stopped(run);
            return 0;
        }
        let mut bytes = match self.fetch(run) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.all_failed(run, error);
                return 0;
            }
        };
        let mut written = 0;
        let mut fetched_again = false;
        for part in &run.parts {
            let mut opened = reader.open(part, run, &bytes);
            if opened.is_err() && !fetched_again {
                fetched_again = true;
                if let Ok(again) = self.fetch(run) {
                    bytes = again;
                    opened = reader.open(part, run, &bytes);
                }
            }
            match opened {
                Ok(()) => written += self.write(part, &reader.plain),
                Err(error) => self.failed(part, error.into()),
            }
        }
        written
    }

    fn fetch(&self, run: &Run) -> Result<Bytes, store::Error> {
        let key = pack_key(run.pack);
        self.errand.run(|| self.store.get(&key, Some(run.range.clone())))
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

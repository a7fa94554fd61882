//! Reads, hashes, looks for a copy the store already has, compresses.
//!
//! Workers hold nothing in common but the claim table; each has its own
//! compressor and its own read-only connection to the state DB. Content is
//! hashed exactly once.

use super::feeder::extents_of;
use super::files::{
    ChunkBytes, Done, FileError, FileRead, How, LargeFile, Part, ReadChunk, Request, Stamp, Ticket,
};
use super::{EndFeeder, Shared};
use crate::chunk::{Codec, Encoder, Protection, fixed_cuts};
use crate::classes;
use crate::manifest::Piece;
use crate::state::{ChunkPlace, StateDb};
use crossbeam_channel::{Receiver, Sender};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// A small file is one chunk whatever the chunk size of its rule (the feeder
/// calls a file small only below that size); holes alone cut it.
const SMALL_CHUNK_BYTES: u32 = 1 << 20;

/// One unit of work.
pub(super) enum Job {
    Small(Vec<Request>),
    /// Read this range of a large file.
    Read(Ticket, Arc<LargeFile>, Range<u64>),
    /// Already read (and cut by content).
    Encode(Ticket, Arc<LargeFile>, Vec<u8>),
}

pub(super) fn work(
    shared: &Shared<'_>,
    protection: &Protection,
    state_path: &Path,
    jobs: &Receiver<(u64, u64, Job)>,
    done: &Sender<Done>,
) {
    // Ordinarily the feeder has ended before; but a job that is lost to a panic
    // holds up all that come after it.
    let _end = EndFeeder(shared);
    let mut worker = match Worker::new(shared, protection, state_path) {
        Ok(worker) => worker,
        Err(error) => {
            let broken = vec![Part::Broken(error)];
            // Sequence 0 is handed to nobody: the assembler takes it at once.
            let _ = done.send(Done { seq: 0, budget_bytes: 0, parts: broken });
            return;
        }
    };
    for (seq, budget_bytes, job) in jobs {
        let parts = worker.run(job);
        if done.send(Done { seq, budget_bytes, parts }).is_err() {
            return;
        }
    }
}

/// Which copies of its chunks a file may rely on.
#[derive(Clone, Copy)]
struct Seeks {
    dedup: bool,
    /// The file goes into an archive, so its chunks may be in one; those of any other
    /// must be readable at once.
    archived: bool,
}

struct Worker<'a> {
    shared: &'a Shared<'a>,
    protection: &'a Protection,
    state: StateDb,
    encoder: Encoder,
    level: i32,
    plain: Vec<u8>,
}

impl<'a> Worker<'a> {
    fn new(
        shared: &'a Shared<'a>,
        protection: &'a Protection,
        state_path: &Path,
    ) -> Result<Self, crate::tier::Error> {
        let state = StateDb::open_read_only(state_path)?;
        let level = crate::chunk::DEFAULT_LEVEL;
        Ok(Self { shared, protection, state, encoder: Encoder::new(level), level, plain: vec![] })
    }

    fn run(&mut self, job: Job) -> Vec<Part> {
        match job {
            Job::Small(requests) => requests.into_iter().flat_map(|r| self.small(r)).collect(),
            Job::Read(ticket, large, range) => vec![self.read_range(ticket, &large, range)],
            Job::Encode(ticket, large, mut data) => {
                self.use_level(large.request.how.level);
                let seeks = self.seeks(&large.request.how);
                vec![part_of(ticket, &large, self.chunk(&mut data, seeks))]
            }
        }
    }

    /// The file, or its failure together with the chunks that were read before
    /// it: another file may already count on them, so they are stored all the
    /// same.
    fn small(&mut self, request: Request) -> Vec<Part> {
        let path = request.path.clone();
        let mut chunks = vec![];
        match self.read_small(request, &mut chunks) {
            Ok((request, stamp, pieces)) => {
                vec![Part::Whole(Box::new(FileRead { request, stamp, pieces, chunks }))]
            }
            Err(error) => vec![Part::Strays(chunks), Part::Failed(path, error)],
        }
    }

    fn read_small(
        &mut self,
        request: Request,
        chunks: &mut Vec<ReadChunk>,
    ) -> Result<(Request, Stamp, Vec<Piece>), FileError> {
        self.use_level(request.how.level);
        let file = self.shared.root.open_read(&request.path).map_err(FileError::open)?;
        let stamp = Stamp::take(&file, &request)?;
        crate::fault::point("upload.file-stamped");
        let extents = extents_of(&file, &stamp)?;
        let seeks = self.seeks(&request.how);
        let mut pieces = vec![];
        let mut at = 0;
        for range in extents.iter().flat_map(|e| fixed_cuts(e.clone(), SMALL_CHUNK_BYTES)) {
            if range.start > at {
                pieces.push(Piece { len: range.start - at, chunk: None });
            }
            at = range.end;
            let chunk = self.read_chunk(&file, range.clone(), seeks)?;
            pieces.push(Piece { len: range.end - range.start, chunk: Some(chunk.id) });
            chunks.push(chunk);
        }
        if stamp.stat.size_bytes > at {
            pieces.push(Piece { len: stamp.stat.size_bytes - at, chunk: None });
        }
        stamp.still_holds(&file)?;
        Ok((request, stamp, pieces))
    }

    fn read_range(&mut self, ticket: Ticket, large: &LargeFile, range: Range<u64>) -> Part {
        self.use_level(large.request.how.level);
        let seeks = self.seeks(&large.request.how);
        let chunk = self.read_chunk(&large.file, range, seeks);
        crate::fault::point("upload.range-read");
        part_of(ticket, large, chunk)
    }

    fn read_chunk(
        &mut self,
        file: &File,
        range: Range<u64>,
        seeks: Seeks,
    ) -> Result<ReadChunk, FileError> {
        let len = usize::try_from(range.end - range.start).expect("a chunk fits in memory");
        let mut plain = std::mem::take(&mut self.plain);
        plain.resize(len, 0);
        let chunk = match file.read_exact_at(&mut plain, range.start) {
            Ok(()) => self.chunk(&mut plain, seeks),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(FileError::Changed("it became shorter"))
            }
            Err(error) => Err(FileError::Read(error)),
        };
        self.plain = plain;
        chunk
    }

    /// Hash, then ask whether the bytes are known before paying for compression.
    /// What does not shrink travels in `plain`'s own buffer; `plain` is then
    /// another one.
    fn chunk(&mut self, plain: &mut Vec<u8>, seeks: Seeks) -> Result<ReadChunk, FileError> {
        let id = self.protection.chunk_id(plain);
        let plain_len = u32::try_from(plain.len()).expect("a chunk is far below 4 GiB");
        // Claimed in any case: others must know that it is not recorded yet.
        if !self.shared.claims.claim(id, seeks.archived) && seeks.dedup {
            return Ok(ReadChunk { id, plain_len, bytes: ChunkBytes::Claimed });
        }
        // An unreadable index only costs a second copy; the assembler's own
        // connection reports the broken DB.
        let known =
            || self.state.find_lasting_chunks(&[id]).ok().and_then(|mut places| places.pop()?);
        let fits = |place: &ChunkPlace| seeks.archived || !place.is_archived();
        if let Some(place) = seeks.dedup.then(known).flatten().filter(fits) {
            self.shared.claims.release([&id]);
            return Ok(ReadChunk { id, plain_len, bytes: ChunkBytes::Stored(Box::new(place)) });
        }
        let mut stored = self.shared.chunk_buffers.take();
        let codec = match self.level {
            0 => Codec::Raw,
            _ => self.encoder.encode_or_leave(plain, &mut stored),
        };
        if codec == Codec::Raw {
            std::mem::swap(plain, &mut stored);
        }
        Ok(ReadChunk { id, plain_len, bytes: ChunkBytes::New { codec, stored } })
    }

    fn seeks(&self, how: &How) -> Seeks {
        let class = self.shared.store.pack_class(how.storage_class.as_deref());
        Seeks { dedup: how.dedup, archived: class.as_deref().is_some_and(classes::is_archive) }
    }

    fn use_level(&mut self, level: i32) {
        if self.level != level {
            self.level = level;
            self.encoder = Encoder::new(level.max(1));
        }
    }
}

fn part_of(ticket: Ticket, large: &LargeFile, chunk: Result<ReadChunk, FileError>) -> Part {
    match chunk {
        Ok(chunk) => Part::Chunk(ticket, chunk),
        Err(error) => {
            large.fail();
            Part::ChunkFailed(ticket, error)
        }
    }
}

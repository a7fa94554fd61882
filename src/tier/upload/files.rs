//! What travels through the pipeline: a request, the stamp that tells whether a
//! file changed while it was read, and the pieces that were read.

use crate::chunk::{Chunking, Codec};
use crate::ids::{ChunkId, FileIdent};
use crate::manifest::Piece;
use crate::os::RelPath;
use crate::os::file_ident;
use crate::os::stat::{FileKind, Stat, statx_fd};
use crate::os::tree::{is_gone, is_leased};
use crate::os::xattrs;
use crate::state::ChunkPlace;
use crate::stub::{self, MarkerSpace, Placement};
use crate::tier::describe::own_left_out;
use crate::units::Copies;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One file that somebody decided to upload.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: RelPath,
    /// As the last scan saw it; the file is skipped if it has changed since.
    pub ino: u64,
    pub size_bytes: u64,
    pub mtime_ns: i64,
    pub how: Arc<How>,
}

/// How a rule wants its files stored; shared by all of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct How {
    pub rule: Option<String>,
    pub storage_class: Option<String>,
    pub chunking: Chunking,
    /// zstd level; 0 stores the bytes as they are.
    pub level: i32,
    /// Look for chunks that the store already has.
    pub dedup: bool,
    /// In how many stores it is to be.
    pub copies: Copies,
}

/// Why one file is not uploaded.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("read the file")]
    Read(#[source] io::Error),
    #[error("it changed while it was read ({0}); it is tried again next time")]
    Changed(&'static str),
    #[error("it is no longer the file that was scanned; run hsm scan")]
    Replaced,
    #[error("it was deleted or renamed; the next scan tells")]
    Vanished,
    #[error("a program has a lease on it, as smbd for a client; it is tried again next time")]
    Leased,
    #[error("it is {0}, not a regular file")]
    NotRegular(&'static str),
    #[error(
        "it carries a stub's marker ({0}): its local bytes are not its content; run hsm recall"
    )]
    IsStub(&'static str),
    #[error("the state DB has it as a stub or in another operation; run hsm scan")]
    InUse,
    #[error("cannot tell whether it is a stub")]
    Marker(#[source] stub::Error),
    #[error("the store did not take the pack that holds it")]
    NotSent,
    #[error(
        "the copy that it shares with another file is gone from the store; the next run sends it again"
    )]
    SharedCopyLost,
    #[error("its copy was being collected as garbage; the next run sends it again")]
    Collected,
    #[error(
        "it has {found} pieces (chunks and holes), a catalog record holds {most}; larger chunks make fewer"
    )]
    TooManyPieces { found: u64, most: u64 },
    #[error("its contents cannot be identified on this file system")]
    NoIdentity(#[source] io::Error),
}

/// A file's identity and metadata, taken before its first byte was read.
#[derive(Debug, Clone)]
pub struct Stamp {
    pub ident: FileIdent,
    pub stat: Stat,
    /// Every extended attribute but our own marker: ACLs and capabilities too.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Stamp {
    /// Stamps an opened file; refuses one that is not what `request` names.
    pub fn take(file: &File, request: &Request) -> Result<Self, FileError> {
        let mut stat = statx_fd(file).map_err(FileError::Read)?;
        if stat.kind != FileKind::File {
            return Err(FileError::NotRegular(stat.kind.as_str()));
        }
        let same = stat.ino == request.ino
            && stat.size_bytes == request.size_bytes
            && stat.mtime_ns == request.mtime_ns;
        if !same {
            return Err(FileError::Replaced);
        }
        let ident = file_ident(file).map_err(FileError::NoIdentity)?;
        if refuse_placeholder(file)? {
            stat = statx_fd(file).map_err(FileError::Read)?;
        }
        let attributes = xattrs::list(file).map_err(FileError::Read)?;
        let mut xattrs = own_left_out(attributes).map_err(FileError::Read)?;
        stub::leave_out(file, MarkerSpace::for_this_process(), &mut xattrs);
        Ok(Self { ident, stat, xattrs })
    }

    /// The file is still what it was when it was stamped.
    pub fn still_holds(&self, file: &File) -> Result<(), FileError> {
        let now = statx_fd(file).map_err(FileError::Read)?;
        if now.size_bytes != self.stat.size_bytes {
            return Err(FileError::Changed("its size differs"));
        }
        if now.mtime_ns != self.stat.mtime_ns {
            return Err(FileError::Changed("it was written to"));
        }
        if now.ctime_ns != self.stat.ctime_ns {
            return Err(FileError::Changed("its metadata changed"));
        }
        Ok(())
    }
}

impl FileError {
    /// Why a file could not be opened.
    pub(super) fn open(source: io::Error) -> Self {
        match source {
            source if is_gone(&source) => Self::Vanished,
            source if is_leased(&source) => Self::Leased,
            source => Self::Read(source),
        }
    }

    /// That is how files in use are: told and counted, no failure.
    pub(super) fn is_change(&self) -> bool {
        use FileError::{Changed, Collected, Leased, Replaced, Vanished};
        matches!(self, Changed(_) | Replaced | Vanished | Leased | Collected)
    }
}

/// Pieces of a file that fit into a catalog segment, with one record for each
/// of its names: at 80 bytes each, well below `manifest::MAX_PLAIN_LEN`.
const MOST_PIECES: u64 = 2_000_000;

/// A file in more pieces than a segment can name must not be sent: its record
/// would fail the commit of all files beside it, in every run.
pub(super) fn check_pieces(found: u64, nlink: u32) -> Result<(), FileError> {
    let most = MOST_PIECES / u64::from(nlink.max(1));
    if found <= most { Ok(()) } else { Err(FileError::TooManyPieces { found, most }) }
}

/// The zeros of a stub are never content, whatever the state DB believes: not
/// of one of ours, not of a copy of one, not of an ordinary user's. A marker over
/// bytes that are all here is left from a run that could not undo it and means
/// nothing; it is dropped, and true returned.
fn refuse_placeholder(file: &File) -> Result<bool, FileError> {
    let own = MarkerSpace::for_this_process();
    if stub::is_marked_elsewhere(file, own).map_err(FileError::Marker)? {
        return Err(FileError::IsStub("an ordinary user's hsm made it"));
    }
    match stub::inspect(file, own).map_err(FileError::Marker)? {
        Placement::Resident => Ok(false),
        Placement::Marked(_) => {
            stub::drop_marker(file, own).map_err(FileError::Marker)?;
            Ok(true)
        }
        other => Err(FileError::IsStub(other.describe())),
    }
}

/// A chunk that was read from a file.
#[derive(Debug)]
pub struct ReadChunk {
    pub id: ChunkId,
    pub plain_len: u32,
    pub bytes: ChunkBytes,
}

/// Where a chunk's bytes are.
#[derive(Debug)]
pub enum ChunkBytes {
    /// New: here they are, compressed where that helps.
    New { codec: Codec, stored: Vec<u8> },
    /// Another job of this run carries them.
    Claimed,
    /// The store has them already.
    Stored(Box<ChunkPlace>),
}

/// A whole file that was read in one go.
#[derive(Debug)]
pub struct FileRead {
    pub request: Request,
    pub stamp: Stamp,
    pub pieces: Vec<Piece>,
    pub chunks: Vec<ReadChunk>,
}

/// A file too large for one job: opened once, read in pieces.
#[derive(Debug)]
pub struct LargeFile {
    pub request: Request,
    pub stamp: Stamp,
    pub file: File,
    failed: AtomicBool,
}

impl LargeFile {
    pub fn new(request: Request, stamp: Stamp, file: File) -> Self {
        Self { request, stamp, file, failed: AtomicBool::new(false) }
    }

    pub fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Names a large file among the messages.
pub type Ticket = u64;

/// One message to the assembler; `Done::seq` puts them in order.
#[derive(Debug)]
pub enum Part {
    Whole(Box<FileRead>),
    /// Chunks of a file that failed; others may count on them.
    Strays(Vec<ReadChunk>),
    Begin(Ticket, Arc<LargeFile>),
    Hole(Ticket, u64),
    Chunk(Ticket, ReadChunk),
    ChunkFailed(Ticket, FileError),
    End(Ticket),
    Failed(RelPath, FileError),
    /// The requests themselves ended in an error: the run cannot go on.
    Broken(crate::tier::Error),
}

/// The outcome of one job.
#[derive(Debug)]
pub struct Done {
    pub seq: u64,
    /// To give back to the budget once the parts are placed.
    pub budget_bytes: u64,
    pub parts: Vec<Part>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::MAX_PLAIN_LEN;

    #[test]
    fn the_record_of_the_most_pieces_fits_into_a_segment() {
        let longest =
            r#"["0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",12345678],"#;
        assert!(MOST_PIECES * (longest.len() as u64) < MAX_PLAIN_LEN as u64 - (64 << 20));
        assert!(check_pieces(MOST_PIECES, 1).is_ok());
        assert!(check_pieces(MOST_PIECES + 1, 1).is_err());
        assert!(check_pieces(MOST_PIECES / 2 + 1, 2).is_err());
    }
}

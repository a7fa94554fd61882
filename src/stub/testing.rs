//! A file to stub, its proof of a copy, and what must hold for it at any time:
//! its bytes are whole in the file, or the marker names the copy of them.

use super::dos_attributes::DOS_ATTRIBUTES;
use super::*;
use crate::config::OfflineBit;
use crate::ids::ContentId;
use crate::manifest::{Content, Piece, VerifiedCopy};
use crate::os::blocks;
use crate::os::loopfs::{FsKind, LoopFs};
use crate::os::stat::statx_fd;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub(super) const STORE_TAG: [u8; 4] = *b"test";
pub(super) const MTIME_NS: i64 = 1_234_567_890_123_456_789;
const ATIME_NS: i64 = 1_111_111_111_111_111_111;

/// A file whose bytes follow from their offsets.
pub(super) struct Sample {
    pub path: PathBuf,
    pub size_bytes: u64,
    pub data: Vec<Range<u64>>,
}

impl Sample {
    /// 1 MiB and some bytes, no hole.
    pub fn whole(dir: &Path) -> Self {
        Self::new(dir, 1_048_577, std::iter::once(0..1_048_577).collect())
    }

    /// The same size with a hole at the start and one in the middle.
    pub fn sparse(dir: &Path) -> Self {
        Self::new(dir, 1_048_577, vec![65_536..131_072, 917_504..1_048_577])
    }

    /// The file that [`Sample::whole`] or [`Sample::sparse`] made here before.
    pub fn existing(dir: &Path, sparse: bool) -> Self {
        let path = dir.join("sample");
        let size_bytes = std::fs::metadata(&path).expect("it exists").len();
        let holes = vec![65_536..131_072, 917_504..1_048_577];
        let data = if sparse { holes } else { std::iter::once(0..size_bytes).collect() };
        Self { path, size_bytes, data }
    }

    fn new(dir: &Path, size_bytes: u64, data: Vec<Range<u64>>) -> Self {
        let path = dir.join("sample");
        let sample = Self { path, size_bytes, data };
        let file = File::create_new(&sample.path).expect("create");
        file.set_len(size_bytes).expect("size");
        for range in &sample.data {
            file.write_all_at(&pattern(range), range.start).expect("write");
        }
        blocks::set_times(&file, Some(ATIME_NS), Some(MTIME_NS)).expect("times");
        sample
    }

    /// As Samba would have written it: hidden and to be archived.
    pub fn with_dos_attributes(self) -> Self {
        let value = hex::decode("0000050005000000110000002200000054ddc3badc79dd01").expect("hex");
        crate::os::xattrs::set(&self.open(), DOS_ATTRIBUTES, &value).expect("set");
        self
    }

    /// `None` where there are no DOS attributes.
    pub fn is_offline(&self) -> Option<bool> {
        let found = crate::os::xattrs::get(&self.open(), DOS_ATTRIBUTES).expect("get")?;
        Some(dos_attributes::parse(&found).expect("as it was written").is_offline())
    }

    pub fn open(&self) -> File {
        File::options().read(true).write(true).open(&self.path).expect("open")
    }

    /// A copy of zeros of the same size stands for the copy: the proof needs no
    /// pack, and this room never looks at the content.
    pub fn copy(&self) -> VerifiedCopy {
        copy_of(self.size_bytes)
    }

    pub fn content(&self) -> ContentId {
        self.copy().content()
    }

    pub fn arm(&self) -> Result<Armed, Error> {
        let file = self.open();
        let expected = Expected::of(&file).expect("stat");
        arm(
            file,
            MarkerSpace::for_this_process(),
            &expected,
            self.copy(),
            STORE_TAG,
            OfflineBit::Auto,
        )
    }

    /// Without the sync between the two: only a power failure could tell.
    pub fn free(&self) -> Result<Punched, Error> {
        self.arm()?.punch()
    }

    pub fn begin_fill(&self) -> Result<Filler, Error> {
        let file = self.open();
        let space = MarkerSpace::for_this_process();
        match inspect(&file, space)? {
            Placement::Stub(marker) | Placement::Filling(marker) => {
                begin_fill(file, space, &marker, &self.data)
            }
            other => Err(Error::NotAStub { found: other.describe() }),
        }
    }

    pub fn write_into(&self, filler: &Filler) -> Result<(), Error> {
        for range in &self.data {
            for at in range.clone().step_by(100_000) {
                let part = at..(at + 100_000).min(range.end);
                filler.write_at(at, &pattern(&part))?;
            }
        }
        Ok(())
    }

    pub fn fill(&self) -> Result<Stat, Error> {
        let filler = self.begin_fill()?;
        self.write_into(&filler)?;
        filler.finish(self.content())
    }

    /// Reads all of it.
    pub fn assert_whole(&self, context: &str) {
        let bytes = std::fs::read(&self.path).expect("read");
        assert_eq!(bytes.len() as u64, self.size_bytes, "{context}");
        let mut expected = vec![0; bytes.len()];
        for range in &self.data {
            expected[range.start as usize..range.end as usize].copy_from_slice(&pattern(range));
        }
        assert!(bytes == expected, "{context}: the bytes are not those of the file");
    }

    /// The promise of the whole project, for one file: recovers it, and finds
    /// its bytes either here or named by the marker.
    pub fn recover_and_assert_nothing_lost(&self, context: &str) -> Placement {
        let file = self.open();
        let space = MarkerSpace::for_this_process();
        let placement = recover(&file, space).expect(context);
        match &placement {
            Placement::Stub(marker) => {
                assert_eq!(marker.content, self.content(), "{context}");
                assert_eq!(marker.store_tag, STORE_TAG, "{context}");
                let size = statx_fd(&file).expect("stat").size_bytes;
                assert_eq!(size, self.size_bytes, "{context}");
                assert!(blocks::is_all_hole(&file, size).expect("seek"), "{context}");
            }
            Placement::Resident | Placement::Marked(_) => self.assert_whole(context),
            other => panic!("{context}: {other:?}"),
        }
        let is_stub = matches!(placement, Placement::Stub(_));
        assert_eq!(self.is_offline().unwrap_or(is_stub), is_stub, "{context}");
        let names = crate::os::xattrs::get(&file, space.undo_attribute()).expect("get");
        assert!(names.is_none() || matches!(placement, Placement::Marked(_)), "{context}");
        placement
    }

    pub fn mtime_ns(&self) -> i64 {
        statx_fd(self.open()).expect("stat").mtime_ns
    }
}

pub(super) fn copy_of(size_bytes: u64) -> VerifiedCopy {
    let content = Content { size_bytes, pieces: vec![Piece { len: size_bytes, chunk: None }] };
    VerifiedCopy::assemble(&content, crate::units::Copies::One, &|_| None)
        .expect("a hole needs no proof")
}

fn pattern(range: &Range<u64>) -> Vec<u8> {
    range.clone().map(|at| (at % 251) as u8 + 1).collect()
}

/// Runs `check` where the temporary directory is, and as root on each of the
/// file systems that are promised.
pub(super) fn on_each(test: &str, check: impl Fn(&Path, Option<FsKind>)) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    check(dir.path(), None);
    for kind in FsKind::ALL {
        if let Some(fs) = LoopFs::new(test, kind) {
            check(fs.path(), Some(kind));
        }
    }
}

//! Between SQLite's values and ours: unsigned numbers in signed columns, states
//! as words, ids as blobs, a directory and a name as one path.
//!
//! A value that `hsm` never writes is [`Error::Corrupted`], not a guess.

use super::error::{During, Error, Result};
use crate::ids::{ContentId, FileIdent};
use crate::os::{FileKind, RelPath};
use crate::policy::FileState;
use rusqlite::Row;
use rusqlite::types::{FromSql, ValueRef};

/// `S_IFMT` of inode(7): the bits of `st_mode` that tell the kind.
pub const KIND_MASK: u32 = 0o170_000;

/// Reads a row's columns one after the other.
pub struct Columns<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
    operation: &'static str,
}

impl<'r, 's> Columns<'r, 's> {
    pub fn new(row: &'r Row<'s>, first: usize, operation: &'static str) -> Self {
        Self { row, next: first, operation }
    }

    pub fn get<T: FromSql>(&mut self) -> Result<T> {
        self.next += 1;
        self.row.get(self.next - 1).during(self.operation)
    }

    /// An unsigned number that was stored with [`signed`].
    pub fn unsigned(&mut self) -> Result<u64> {
        Ok(self.get::<i64>()? as u64)
    }

    pub fn u32(&mut self) -> Result<u32> {
        self.get()
    }

    pub fn bytes(&mut self) -> Result<&'r [u8]> {
        self.next += 1;
        let value = self.row.get_ref(self.next - 1).during(self.operation)?;
        match value {
            ValueRef::Blob(bytes) => Ok(bytes),
            other => Err(Error::bad_value("a blob of type", other.data_type())),
        }
    }

    pub fn state(&mut self) -> Result<FileState> {
        self.next += 1;
        let value = self.row.get_ref(self.next - 1).during(self.operation)?;
        let text = value.as_str().map_err(|_| Error::bad_value("state", value))?;
        state_from(text)
    }

    /// Whether the column to be read next is NULL, such as in an outer join.
    pub fn next_is_null(&self) -> Result<bool> {
        let value = self.row.get_ref(self.next).during(self.operation)?;
        Ok(value.data_type() == rusqlite::types::Type::Null)
    }

    pub fn ident(&mut self) -> Result<FileIdent> {
        Ok(FileIdent { ino: self.unsigned()?, generation: self.u32()? })
    }

    pub fn content(&mut self) -> Result<Option<ContentId>> {
        let bytes: Option<Vec<u8>> = self.get()?;
        bytes
            .map(|bytes| {
                ContentId::from_slice(&bytes).ok_or_else(|| Error::bad_value("content id", &bytes))
            })
            .transpose()
    }
}

/// Two's complement: every `u64` has one place in SQLite's 64 bits.
pub fn signed(value: u64) -> i64 {
    value as i64
}

const STATES: [FileState; 8] = [
    FileState::Resident,
    FileState::Uploaded,
    FileState::Stub,
    FileState::Dirty,
    FileState::Damaged,
    FileState::Uploading,
    FileState::Stubbing,
    FileState::Recalling,
];

pub fn state_from(text: &str) -> Result<FileState> {
    STATES
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| Error::bad_value("state", text))
}

/// Where each kind has its bits in `st_mode` (inode(7)).
const KINDS: [(FileKind, u32); 7] = [
    (FileKind::File, 0o100_000),
    (FileKind::Dir, 0o040_000),
    (FileKind::Symlink, 0o120_000),
    (FileKind::Fifo, 0o010_000),
    (FileKind::Socket, 0o140_000),
    (FileKind::CharDevice, 0o020_000),
    (FileKind::BlockDevice, 0o060_000),
];

/// `st_mode` of a kind and its permission bits.
pub fn full_mode(kind: FileKind, mode: u32) -> u32 {
    let (_, bits) = KINDS.iter().find(|(of, _)| *of == kind).expect("every kind has bits");
    bits | mode
}

pub fn kind_of(full_mode: u32) -> Result<FileKind> {
    KINDS
        .iter()
        .find(|(_, bits)| *bits == full_mode & KIND_MASK)
        .map(|(kind, _)| *kind)
        .ok_or_else(|| Error::bad_value("file mode", full_mode))
}

pub fn rel_path(bytes: Vec<u8>) -> Result<RelPath> {
    RelPath::new(bytes).map_err(|bad| Error::Corrupted { detail: bad.to_string() })
}

/// `PATH_MAX` of limits.h: no path that a system call takes is longer.
const PATH_MAX_BYTES: usize = 4096;

/// The directories at and beneath `under` as two ranges `[from, to)` of paths,
/// in path order: '0' is the byte after '/', and no path holds a NUL. One range
/// from `a` to `a0` would also take in `a-b`.
pub fn subtree(under: &RelPath) -> [(Vec<u8>, Vec<u8>); 2] {
    let edge = |byte| [under.as_bytes(), &[byte]].concat();
    let beneath = if under.as_bytes().is_empty() {
        (vec![1], vec![0xff; PATH_MAX_BYTES + 1])
    } else {
        (edge(b'/'), edge(b'0'))
    };
    [(under.as_bytes().to_vec(), edge(0)), beneath]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_is_the_directory_and_what_is_beneath_it() {
        let inside = |under: &str, path: &[u8]| {
            let ranges = subtree(&RelPath::new(under).expect("a path"));
            ranges.iter().filter(|(from, to)| path >= &from[..] && path < &to[..]).count()
        };
        for within in ["a/b", "a/b/c", "a/b/\u{10ffff}/d"] {
            assert_eq!(inside("a/b", within.as_bytes()), 1, "{within}");
        }
        for without in ["", "a", "a/b-c/d", "a/b0", "a/c"] {
            assert_eq!(inside("a/b", without.as_bytes()), 0, "{without}");
        }
        assert_eq!(inside("", b""), 1);
        assert_eq!(inside("", &[0xff; 255]), 1);
    }

    #[test]
    fn every_state_and_kind_survives_its_column() {
        for state in STATES {
            assert_eq!(state_from(state.as_str()).expect("known"), state);
        }
        for (kind, _) in KINDS {
            assert_eq!(kind_of(full_mode(kind, 0o7777)).expect("known"), kind);
        }
        assert!(state_from("resting").is_err());
        assert!(kind_of(0o777).is_err());
    }
}

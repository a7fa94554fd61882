//! One worker's view: paths, the shared table, a thread's dice and the things
//! that it holds.

use super::pattern::check;
use super::shared::{FILES, OneFile, SLOTS, Shared};
use crate::support::dice::Dice;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// What became of one operation.
pub enum Did {
    Verified,
    /// The moment was not right: nothing could be told.
    Nothing,
}

pub enum Trouble {
    /// A refusal, which a death of the guard may excuse.
    Io(io::Error),
    /// Never excused.
    Wrong(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for Trouble {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

pub type Outcome = Result<Did, Trouble>;

/// A mapping that counts itself in the shared table.
pub struct Mapped {
    pub at: *mut libc::c_void,
    pub len: usize,
    pub of: &'static OneFile,
    pub file: usize,
}

impl Mapped {
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for `len` bytes until dropped, and nobody cuts the file
        // while it is counted.
        unsafe { std::slice::from_raw_parts(self.at.cast(), self.len) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nobody borrows any more.
        unsafe { libc::munmap(self.at, self.len) };
        self.of.unmap();
    }
}

pub struct World {
    pub shared: &'static Shared,
    pub root: PathBuf,
    /// For copies: on the same file system, and on another.
    pub beside: PathBuf,
    pub away: PathBuf,
    pub slot: usize,
    pub dice: Dice,
    pub held_file: Option<(File, usize)>,
    pub held_map: Option<Mapped>,
}

impl World {
    pub fn file(&self, file: usize) -> &'static OneFile {
        &self.shared.files[file]
    }

    pub fn any_file(&mut self) -> usize {
        self.dice.below(FILES as u64) as usize
    }

    /// One of the files that only this thread writes to.
    pub fn own_file(&mut self) -> usize {
        self.slot + SLOTS * self.dice.below((FILES / SLOTS) as u64) as usize
    }

    /// Its name, which its owner changes now and then.
    pub fn names(&self, file: usize) -> [PathBuf; 2] {
        [file_path(&self.root, file), self.root.join(format!("{file}.moved"))]
    }

    /// Opens it under whichever name it has.
    pub fn open(&self, file: usize, options: &OpenOptions) -> Result<File, Trouble> {
        let names = self.names(file);
        // The name may move between two looks, but not every time.
        for name in names.iter().cycle().take(200) {
            match options.open(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => return Ok(result?),
            }
        }
        Err(Trouble::Wrong(format!("file {file} is gone")))
    }

    pub fn open_to_read(&self, file: usize) -> Result<File, Trouble> {
        self.open(file, OpenOptions::new().read(true))
    }

    /// Reads up to `len` bytes from `at` on through `read`, and checks them
    /// against the versions that may have been there meanwhile.
    pub fn verify(
        &self,
        file: usize,
        at: usize,
        len: usize,
        read: impl FnOnce() -> Result<Vec<u8>, Trouble>,
    ) -> Outcome {
        let before = self.file(file).current();
        let bytes = read()?;
        let after = self.file(file).writing();
        let wanted = before.len().saturating_sub(at).min(len);
        if before == after && bytes.len() != wanted {
            let len = bytes.len();
            return Err(Trouble::Wrong(format!("file {file}: {len} bytes at {at} of {before:?}")));
        }
        check(file, &(before.number..=after.number), at, &bytes).map_err(Trouble::Wrong)?;
        Ok(Did::Verified)
    }

    /// The same for all bytes of the file, of which none may be missing.
    pub fn verify_whole(
        &self,
        file: usize,
        read: impl FnOnce() -> Result<Vec<u8>, Trouble>,
    ) -> Outcome {
        self.verify(file, 0, usize::MAX, read)
    }
}

pub fn file_path(root: &Path, file: usize) -> PathBuf {
    root.join(file.to_string())
}

//! What is in a directory already, and what a killed restore left there.
//!
//! One listing saves a look at each name: into a new directory everything can be
//! made at once. A temporary name that is older than this restore belongs to one
//! that died; it is removed, whatever it holds: a directory or link that was not
//! described yet, or the file that was just replaced.

use super::Plantation;
use super::place::LITTER;
use crate::os::relpath::RelPath;
use crate::os::stat::{FileKind, Stat, statx_at, statx_fd};
use rustix::fs::{AtFlags, OFlags};
use std::collections::HashSet;
use std::io;

/// A directory as it is found.
#[derive(Debug)]
pub struct Listing {
    pub stat: Stat,
    /// `None` for more names than were asked for.
    pub names: Option<HashSet<Vec<u8>>>,
}

impl Plantation {
    /// The names in a directory, at most `most`, without temporary ones;
    /// those that were changed last before `litter_before_ns` are removed. `None`
    /// if there is no such directory.
    pub fn list(
        &mut self,
        path: &RelPath,
        most: usize,
        litter_before_ns: i64,
    ) -> io::Result<Option<Listing>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let dir = match self.resolve(path, flags) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let stat = statx_fd(&dir)?;
        let (mut names, mut litter) = (HashSet::new(), vec![]);
        for entry in rustix::fs::Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if is_litter(name) {
                litter.push(name.to_vec());
            } else if names.len() <= most {
                names.insert(name.to_vec());
            }
        }
        for name in litter {
            let Ok(stat) = statx_at(&dir, &name) else { continue };
            if stat.ctime_ns < litter_before_ns {
                let is_dir = stat.kind == FileKind::Dir;
                let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
                // A directory with something in it is somebody's.
                let _ = rustix::fs::unlinkat(&dir, name.as_slice(), flags);
            }
        }
        let names = (names.len() <= most).then_some(names);
        Ok(Some(Listing { stat, names }))
    }
}

/// The temporary names of `place`.
fn is_litter(name: &[u8]) -> bool {
    let digits = name.strip_prefix(LITTER.as_bytes());
    digits.is_some_and(|digits| {
        digits.len() == 16 && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

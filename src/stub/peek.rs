//! What a file's marker says, asked without opening the file.
//!
//! For looking at many stubs while a guard is at work: an `O_PATH` descriptor
//! raises no event, so nothing is recalled. Less is learnt than by
//! [`super::inspect`]: extents need an open file.

use super::error::Error;
use super::marker::Marker;
use super::space::MarkerSpace;
use crate::os::handle::file_ident;
use crate::os::xattrs;
use std::os::fd::AsFd;

/// What [`peek`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peeked {
    Unmarked,
    /// The marker is this inode's own.
    Marked(Marker),
    /// The marker was copied here from another file.
    Foreign(Marker),
    Corrupt(String),
}

/// Of any descriptor, also one that was opened with `O_PATH`.
pub fn peek(fd: impl AsFd, space: MarkerSpace) -> Result<Peeked, Error> {
    let bytes = xattrs::get_path_fd(&fd, space.attribute()).map_err(Error::ReadMarker)?;
    let Some(bytes) = bytes else { return Ok(Peeked::Unmarked) };
    let marker = match Marker::decode(&bytes) {
        Ok(marker) => marker,
        Err(error) => return Ok(Peeked::Corrupt(error.to_string())),
    };
    let ident = file_ident(fd).map_err(Error::Inspect)?;
    Ok(if ident == marker.ident { Peeked::Marked(marker) } else { Peeked::Foreign(marker) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ContentId, FileIdent};
    use rustix::fs::{Mode, OFlags};
    use std::fs::File;

    #[test]
    fn a_marker_is_told_from_none_a_copied_one_and_a_broken_one() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("f");
        let file = File::create(&path).expect("create");
        let named = rustix::fs::open(&path, OFlags::PATH, Mode::empty()).expect("open");
        let space = MarkerSpace::for_this_process();
        let peeked = || peek(&named, space).expect("peek");
        assert_eq!(peeked(), Peeked::Unmarked);
        let own = Marker {
            content: ContentId([7; 32]),
            size_bytes: 1,
            ident: file_ident(&file).expect("an identity"),
            store_tag: *b"tag!",
            filling: true,
        };
        space.store(&file, &own, false).expect("mark");
        assert_eq!(peeked(), Peeked::Marked(own.clone()));
        let other = Marker { ident: FileIdent { ino: 1, generation: 1 }, ..own };
        space.store(&file, &other, false).expect("mark");
        assert_eq!(peeked(), Peeked::Foreign(other));
        space.set(&file, space.attribute(), b"hS\x01").expect("mark");
        assert!(matches!(peeked(), Peeked::Corrupt(_)));
    }
}

//! Files of a store as a stream of another form: a tar archive.
//!
//! `hsm export` reads chunks from the store and writes an archive; nothing of
//! it touches the local disk, and memory is bounded by one chunk and one file's
//! record. Here is the half that needs no store: what the bytes of the archive
//! are (`tar`, with `header`, `pax`, `sparse` and `acl`).
//!
//! The archive is what GNU tar would have made of the files, so that `tar -x`
//! gives back what a restore does: names of any bytes, owners and times of any
//! size, holes, hard links, extended attributes and ACLs.

mod acl;
mod header;
mod pax;
mod sparse;
mod tar;
#[cfg(test)]
mod tests;

pub use tar::{Member, TarWriter};

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("write the archive")]
    Write {
        #[source]
        source: std::io::Error,
    },
    #[error("archive {name}: its record cannot be used: {why}")]
    Record { name: String, why: String },
    /// Of a member's data; the archive is of no use any more.
    #[error("archive {name}: its data is not of {wanted_bytes} bytes")]
    Length { name: String, wanted_bytes: u64 },
    /// A member before was not finished.
    #[error("the archive ends in the middle of a file")]
    Broken,
}

//! Stores that only a build with the feature `more-stores` knows: Azure Blob and
//! Google Cloud Storage, which are flat spaces of objects (`flat`), and WebDAV and
//! SFTP servers, which are trees of files (`tree`).
//!
//! `opendal` speaks to the first three. Its SFTP never syncs a file and cannot
//! create one only if it is new, so `sftp` speaks that by the two crates beneath
//! it. docs/STORES.md says what each can be relied on for. Async code stays in
//! this room, as in the other remote ones.

mod connect;
mod dav;
mod flat;
mod sftp;
#[cfg(test)]
mod tests;
mod tree;
mod trouble;

pub(super) use connect::connect;

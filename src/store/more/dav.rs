//! A tree of files on a WebDAV server, through `opendal`.
//!
//! WebDAV promises neither that a file is seen whole while it is sent nor that it
//! is on the server's disk afterwards (RFC 4918). The first is mended by a
//! temporary name and MOVE; the second is the server's affair, as it is for every
//! client. `opendal` moves with `Overwrite: T`, so a name is looked at beforehand
//! and a racing writer is not noticed.

use super::tree::{Answer, Node, Tree};
use super::trouble::Trouble;
use crate::store::ErrorKind;
use bytes::Bytes;
use futures_util::StreamExt as _;
use opendal::options::{ListOptions, ReadOptions};
use opendal::{Metadata, Operator};
use std::ops::Range;

#[derive(Debug)]
pub(super) struct Dav {
    pub operator: Operator,
}

fn node_of(name: &str, found: &Metadata) -> Node {
    let modified = found.last_modified().map(|time| time.into_inner().as_nanosecond());
    Node {
        name: name.to_owned(),
        is_dir: found.is_dir(),
        size_bytes: if found.is_file() { found.content_length() } else { 0 },
        modified_ns: modified.and_then(|ns| i64::try_from(ns).ok()).unwrap_or(0),
    }
}

fn dir_path(dir: &str) -> String {
    if dir.is_empty() { "/".to_owned() } else { format!("{dir}/") }
}

impl Tree for Dav {
    const CREATES_ATOMICALLY: bool = false;

    async fn stat(&self, path: &str) -> Answer<Node> {
        if path.is_empty() {
            // `opendal` says of every root that it is there, unasked.
            self.list("").await?;
            return Ok(Node { name: String::new(), is_dir: true, size_bytes: 0, modified_ns: 0 });
        }
        Ok(node_of(path, &self.operator.stat(path).await?))
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Answer<Bytes> {
        let options = ReadOptions { range: range.into(), ..ReadOptions::default() };
        Ok(self.operator.read_options(path, options).await?.to_bytes())
    }

    async fn list(&self, dir: &str) -> Answer<Vec<Node>> {
        let own = dir_path(dir);
        let mut entries = self.operator.lister_options(&own, ListOptions::default()).await?;
        let mut nodes = Vec::new();
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            if entry.path() == own || entry.path() == "/" {
                continue;
            }
            nodes.push(node_of(entry.name().trim_end_matches('/'), entry.metadata()));
        }
        Ok(nodes)
    }

    async fn write(&self, path: &str, body: Bytes) -> Answer<()> {
        Ok(self.operator.write(path, body).await.map(drop)?)
    }

    async fn publish(&self, from: &str, to: &str, _create_new: bool) -> Answer<()> {
        Ok(self.operator.rename(from, to).await?)
    }

    async fn remove(&self, path: &str) -> Answer<()> {
        Ok(self.operator.delete(path).await?)
    }

    /// DELETE of a collection is recursive, so it is looked at first; what is in
    /// the directory of a probe belongs to that probe alone.
    async fn remove_dir(&self, path: &str) -> Answer<()> {
        if !self.list(path).await?.is_empty() {
            return Err(Trouble::new(ErrorKind::Other, "the directory is not empty"));
        }
        Ok(self.operator.delete(&dir_path(path)).await?)
    }
}

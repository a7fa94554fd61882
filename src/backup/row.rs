//! The lines of a manifest: a header, a row for each name of a stub, an end that
//! counts them. docs/FORMATS.md describes the file.
//!
//! The end is there so that a manifest that was cut off is told from a short one: what
//! it no longer names would be missed only when it is needed.

use crate::ids::{ContentId, NodeId, StoreId};
use crate::manifest::Name;
use serde::{Deserialize, Serialize};

/// What the first line says it is.
pub(super) const KIND: &str = "hsm-manifest";
/// The one format that there is.
pub(super) const VERSION: u32 = 1;

/// The first line: of whom, when, and where the bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    pub(super) format: String,
    pub(super) version: u32,
    pub store: StoreId,
    /// As the configuration names it.
    pub url: String,
    /// Whether the store's key is needed too.
    pub encrypted: bool,
    pub node: NodeId,
    /// RFC 3339.
    pub made: String,
    /// The last segment of the node's log that the rows rely on.
    pub seq: u64,
    /// The name of that point, which keeps what the rows need.
    pub snapshot: Option<String>,
    /// Absolute: the roots, or the parts of roots, that were looked at.
    pub roots: Vec<Name>,
}

impl Header {
    /// With the format's own two fields.
    pub fn of(rest: HeaderRest) -> Self {
        let HeaderRest { store, url, encrypted, node, made, seq, snapshot, roots } = rest;
        let (format, version) = (KIND.to_owned(), VERSION);
        Self { format, version, store, url, encrypted, node, made, seq, snapshot, roots }
    }
}

/// [`Header`] without what the format says of itself.
#[derive(Debug, Clone)]
pub struct HeaderRest {
    pub store: StoreId,
    pub url: String,
    pub encrypted: bool,
    pub node: NodeId,
    pub made: String,
    pub seq: u64,
    pub snapshot: Option<String>,
    pub roots: Vec<Name>,
}

/// What is known of a stub's copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowState {
    Stub,
    /// `hsm verify` found its copy to be bad.
    Damaged,
}

/// One name of a stub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Absolute.
    pub path: Name,
    pub content: ContentId,
    pub size_bytes: u64,
    /// As text, since many tools round numbers of this size.
    #[serde(with = "digits")]
    pub mtime_ns: i64,
    pub state: RowState,
    /// The node's log has the file by its present name and content.
    pub logged: bool,
}

/// The last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Rows before it.
    pub rows: u64,
    /// The sum of their sizes.
    pub size_bytes: u64,
}

/// A line without its end.
pub fn line(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("lines of a manifest have text keys")
}

mod digits {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(number: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|_| D::Error::custom(format!("{text:?} is no time")))
    }
}

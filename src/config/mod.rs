//! The config of one server: which trees, which store, where the state lives.
//!
//! Pure, like the policy: text in, [`Config`] out, with every mistake named by
//! line and column. Nothing is opened here, and no secret is ever read from the
//! config: access keys come from the environment or the AWS credential chain,
//! the encryption key from a file of its own that the config only names.
//!
//! What can be seen to go wrong from the paths alone is refused: roots inside
//! one another, and a state directory, a run directory, a key file or a
//! directory store inside a root, where `hsm` would tier its own memory away.

mod cold;
mod gc;
mod guard;
mod locate;
mod parse;
mod presets;
mod roots;
mod samba;
mod template;

pub use crate::document::Problem as ConfigError;
pub use cold::{ColdSection, PriceList};
pub use gc::GcSection;
pub use guard::{
    BudgetPer, DenyErrno, GuardAction, GuardBudget, GuardRule, GuardSection, GuardUser, MetricsAt,
    cgroup_globs, exe_globs,
};
pub use locate::{ConfigPaths, locate};
pub use presets::{GuardPreset, PRESETS};
pub use roots::add_root;
pub use samba::{OfflineBit, SambaSection};
pub use template::TemplateValues;

use std::path::PathBuf;

/// A config that has no mistakes. All paths are absolute.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub store: StoreSection,
    /// Where the second copies go that rules ask for.
    pub second_store: Option<StoreSection>,
    /// The state DB, locks and caches of this server.
    pub state_dir: PathBuf,
    /// Managed trees; none lies inside another. Empty only before `hsm init`.
    pub roots: Vec<PathBuf>,
    pub encryption: Option<EncryptionSection>,
    pub chunking: ChunkingSection,
    pub upload: UploadSection,
    pub guard: GuardSection,
    pub gc: GcSection,
    pub samba: SambaSection,
    pub cold: ColdSection,
    pub prices: PriceList,
    /// Where the policies are; `policies.d` beside the config if not said.
    pub policy_dir: PathBuf,
}

/// How to reach the store. Names and defaults are those of `store`'s options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSection {
    /// `file:///dir`, `s3://bucket[/prefix]`, `swift://container[/prefix]`, or one of
    /// docs/STORES.md.
    pub url: String,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub path_style: bool,
    pub storage_class: Option<String>,
    /// `AES256`, `aws:kms` or `aws:kms:<key id>`.
    pub sse: Option<String>,
    pub checksums: Checksums,
    /// Bytes per second for uploads and downloads together; `None` is no limit.
    pub bandwidth: Option<u64>,
    /// Requests in flight; `None` lets the store choose.
    pub concurrency: Option<usize>,
    /// Whether a chunk that another node has put is used instead of a new one; of
    /// the first store only.
    pub dedup_across_nodes: bool,
    /// A profile of ~/.aws in place of the AWS chain's own choice.
    pub profile: Option<String>,
}

/// Whether a checksum goes with every request. Some stores other than AWS
/// refuse requests that carry one without need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksums {
    #[default]
    Always,
    WhenRequired,
}

impl Checksums {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::WhenRequired => "when-required",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionSection {
    /// Readable by its owner only; whoever loses it has lost the store.
    pub key_file: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkingSection {
    /// Of fixed chunks, where a rule says nothing else.
    pub size_bytes: u32,
}

impl Default for ChunkingSection {
    fn default() -> Self {
        Self { size_bytes: 4 << 20 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadSection {
    /// Reading, hashing and compressing threads; `None` is one for each core.
    pub threads: Option<usize>,
    /// Upper bound of the pipeline's buffers.
    pub memory_bytes: u64,
}

impl Default for UploadSection {
    fn default() -> Self {
        Self { threads: None, memory_bytes: 256 << 20 }
    }
}

impl Config {
    /// Reads a config; `name` is the file's path, used in errors and to find
    /// `policies.d` beside it.
    ///
    /// # Errors
    /// Every mistake, in the order of the lines.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<ConfigError>> {
        parse::parse(name, text)
    }

    /// The commented file that `hsm init` writes; [`Config::parse`] reads it.
    pub fn template(values: &TemplateValues<'_>) -> String {
        template::template(values)
    }
}

#[cfg(test)]
mod tests;

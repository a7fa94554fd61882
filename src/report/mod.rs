//! The policy workbench: sums of what the state DB knows, and a page that lets a
//! person move a policy over them.
//!
//! [`Report::take`] makes the sums (`census` in one pass over the files, the rest
//! by `state`), [`Report::data`] gives them as JSON, and `page` puts that beside
//! its own text, style and script into one document that needs nothing else. All
//! reckoning in sliders is the page's; all deciding about files is the policy's,
//! asked here.

mod buckets;
mod census;
mod data;
mod page;
mod prices;
mod tally;
mod template;

pub use page::page;

use crate::chunk::Chunking;
use crate::config::PriceList;
use crate::monitor::Stop;
use crate::policy::{Names, PolicyError, PolicySet};
use crate::state::{self, RecallDay, Recaller, RootRow, StateDb, StoredSum};
use crate::tier;
use census::Census;
use std::path::Path;
use template::Template;

/// Days of recalls that are shown.
const RECALL_DAYS: i64 = 90;
const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;
/// Programs that are shown.
const RECALLERS: usize = 12;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Tier(#[from] tier::Error),
    #[error(transparent)]
    State(#[from] state::Error),
    #[error("the present policy cannot be made one text")]
    Policy(Vec<PolicyError>),
    #[error("read {file} as TOML")]
    Template { file: String, source: Box<toml::de::Error> },
    #[error("stopped")]
    Stopped,
}

/// What a report is made from.
pub struct Sources<'a> {
    pub state: &'a StateDb,
    /// Its file, which the pass reads page by page.
    pub state_path: &'a Path,
    pub roots: &'a [RootRow],
    pub policy: &'a PolicySet,
    /// The files of `policy`, with their names.
    pub policy_texts: &'a [(String, String)],
    pub names: &'a Names<'a>,
    pub chunking: Chunking,
    /// The store's, where the policy says none.
    pub storage_class: Option<&'a str>,
    pub prices: &'a PriceList,
    pub now_ns: i64,
    pub stop: &'a Stop,
    /// Hears of roots that are not there, while others are.
    pub tell: &'a dyn Fn(&str),
}

/// How names are written for people.
pub struct Spelling<'a> {
    /// Any bytes as text that hides nothing.
    pub shown: &'a dyn Fn(&[u8]) -> String,
    pub user: &'a dyn Fn(u32) -> Option<String>,
}

pub struct Report<'a> {
    sources: Sources<'a>,
    census: Census,
    class_names: Vec<String>,
    template: Template,
    days: Vec<RecallDay>,
    oldest_recall_ns: Option<i64>,
    recallers: Vec<Recaller>,
    stored: Vec<StoredSum>,
}

impl<'a> Report<'a> {
    /// Reads every row of the roots once; writes nothing.
    pub fn take(sources: Sources<'a>) -> Result<Self, Error> {
        let template = Template::of(sources.policy_texts)?;
        let probe = template.probe(sources.names)?;
        let census = Census::take(&sources, &probe)?;
        let state = sources.state;
        let since_ns = sources.now_ns.saturating_sub(RECALL_DAYS * DAY_NS);
        Ok(Self {
            days: state.recall_days(since_ns)?,
            oldest_recall_ns: state.oldest_recall_ns()?,
            recallers: state.top_recallers(since_ns, RECALLERS)?,
            stored: state.stored()?,
            class_names: probe.class_names().to_vec(),
            census,
            template,
            sources,
        })
    }

    /// Whether a root is missing of which nothing could be counted.
    pub fn lacks_a_root(&self) -> bool {
        self.census.roots.iter().any(|root| !root.is_there)
    }

    pub fn files(&self) -> u64 {
        self.census.all.total().files
    }
}

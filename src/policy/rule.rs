//! A rule: what it does, and how the files it matches are stored.

use super::condition::{Condition, Test};
use super::facts::Action;
use crate::document::{Item, Place, Section};
use crate::units::{self, Copies};
use std::fmt;

/// One rule of a set. What is `None` is left to the config.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: String,
    /// Where it is written.
    pub place: Place,
    pub action: Action,
    pub storage_class: Option<String>,
    pub chunking: Option<Chunking>,
    /// zstd's level 1 to 19; 0 stores the bytes as they are.
    pub compression_level: Option<i32>,
    /// Whether chunks that the store has already are looked for.
    pub dedup: Option<bool>,
    /// How many stores a file must be proven in before it may become a stub.
    pub copies: Copies,
    /// Where that is written.
    pub(super) copies_place: Option<Place>,
    pub(super) condition: Condition,
    /// Tests that come with the action and the defaults, not from the rule's
    /// own text. They bind even where ages are waived.
    pub(super) implied: Vec<Implied>,
}

/// A test that nobody wrote, and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Implied {
    pub test: Test,
    pub source: &'static str,
}

/// How a file is cut into chunks. Its text is the one `chunk::Chunking` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunking {
    /// `None` is the config's size.
    Fixed {
        size_bytes: Option<u32>,
    },
    FastCdc {
        min_bytes: u32,
        avg_bytes: u32,
        max_bytes: u32,
    },
}

impl fmt::Display for Chunking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed { size_bytes: None } => f.write_str("fixed"),
            Self::Fixed { size_bytes: Some(size) } => write!(f, "fixed:{size}"),
            Self::FastCdc { min_bytes, avg_bytes, max_bytes } => {
                write!(f, "fastcdc:{min_bytes}:{avg_bytes}:{max_bytes}")
            }
        }
    }
}

impl Chunking {
    const MEND: &'static str =
        "write fixed, fixed:8MiB, fastcdc or fastcdc:256KiB:1MiB:4MiB (least:average:greatest)";

    /// Reads a chunking; the error says why not.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let method = parts.next().unwrap_or("");
        let sizes: Vec<u64> = parts
            .map(|size| units::parse_size(size).map_err(|error| error.to_string()))
            .collect::<Result<_, _>>()?;
        match (method, sizes.as_slice()) {
            ("fixed", []) => Ok(Self::Fixed { size_bytes: None }),
            ("fixed", [size]) => {
                let size_bytes = bounded(*size, "chunk size", 64 << 10, 64 << 20)?;
                Ok(Self::Fixed { size_bytes: Some(size_bytes) })
            }
            ("fastcdc", []) => {
                Ok(Self::FastCdc { min_bytes: 256 << 10, avg_bytes: 1 << 20, max_bytes: 4 << 20 })
            }
            ("fastcdc", [min, avg, max]) => Self::fast_cdc(*min, *avg, *max),
            ("fixed" | "fastcdc", _) => Err("wrong number of sizes".to_owned()),
            _ => Err(format!("unknown method {method:?}")),
        }
    }

    /// The bounds of the `fastcdc` crate (v2020: MINIMUM_MAX, AVERAGE_MAX,
    /// MAXIMUM_MAX), and a least size that keeps the catalog small.
    fn fast_cdc(min: u64, avg: u64, max: u64) -> Result<Self, String> {
        let min_bytes = bounded(min, "least size", 4 << 10, 1 << 20)?;
        let avg_bytes = bounded(avg, "average size", 16 << 10, 4 << 20)?;
        let max_bytes = bounded(max, "greatest size", 64 << 10, 16 << 20)?;
        if min_bytes < avg_bytes && avg_bytes < max_bytes {
            Ok(Self::FastCdc { min_bytes, avg_bytes, max_bytes })
        } else {
            Err("the sizes do not rise".to_owned())
        }
    }
}

fn bounded(bytes: u64, what: &str, least: u32, greatest: u32) -> Result<u32, String> {
    let size = u32::try_from(bytes).ok().filter(|size| (least..=greatest).contains(size));
    let size = size.filter(|size| size.is_multiple_of(2));
    size.ok_or_else(|| {
        let (least, greatest) = (u64::from(least), u64::from(greatest));
        let (least, greatest) = (units::format_size(least), units::format_size(greatest));
        format!("the {what} must be an even number from {least} to {greatest}")
    })
}

/// Keys of a rule that are no predicates.
pub(super) const RULE_KEYS: [&str; 7] =
    ["name", "action", "storage_class", "chunking", "compression", "dedup", "copies"];

const ACTIONS: [(&str, Action); 3] =
    [("ignore", Action::Ignore), ("upload", Action::Upload), ("tier", Action::Tier)];

/// The action; a rule without one is a problem.
pub(super) fn read_action(rule: &Section<'_, '_>) -> Option<Action> {
    let Some(item) = rule.item("action") else {
        let what = format!("{} has no action", rule.title());
        rule.problem(what, "add action = \"ignore\", \"upload\" or \"tier\"");
        return None;
    };
    item.word("action", &ACTIONS)
}

pub(super) fn read_storage_class(rule: &Section<'_, '_>) -> Option<String> {
    let item = rule.item("storage_class")?;
    item.quantity(units::parse_storage_class(item.text()?))
}

/// In how many stores.
pub(super) fn read_copies(rule: &Section<'_, '_>) -> Copies {
    match rule.integer("copies", 1..=2) {
        Some(2) => Copies::Two,
        _ => Copies::One,
    }
}

pub(super) fn read_chunking(rule: &Section<'_, '_>) -> Option<Chunking> {
    let item = rule.item("chunking")?;
    let text = item.text()?;
    let read = Chunking::parse(text);
    read.map_err(|why| item.problem(format!("bad chunking {text:?}: {why}"), Chunking::MEND)).ok()
}

pub(super) fn read_compression(rule: &Section<'_, '_>) -> Option<i32> {
    const MEND: &str = "write \"none\" or a zstd level from 1 to 19";
    let item: Item<'_, '_> = rule.item("compression")?;
    if let toml::de::DeValue::String(text) = item.value() {
        if text == "none" {
            return Some(0);
        }
        item.problem(format!("bad compression {text:?}"), MEND);
        return None;
    }
    item.integer(1..=19).and_then(|level| i32::try_from(level).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunkings_are_read_and_written() {
        let table = [
            ("fixed", Ok("fixed")),
            ("fixed:8MiB", Ok("fixed:8388608")),
            ("fastcdc", Ok("fastcdc:262144:1048576:4194304")),
            ("fastcdc:16KiB:64KiB:256KiB", Ok("fastcdc:16384:65536:262144")),
            ("fixed:1KiB", Err("the chunk size must be an even number from 64 KiB to 64 MiB")),
            ("fixed:65537", Err("the chunk size must be an even number from 64 KiB to 64 MiB")),
            ("fixed:1:2", Err("wrong number of sizes")),
            ("fastcdc:1MiB:512KiB:4MiB", Err("the sizes do not rise")),
            (
                "fastcdc:2MiB:3MiB:4MiB",
                Err("the least size must be an even number from 4 KiB to 1 MiB"),
            ),
            ("rabin", Err("unknown method \"rabin\"")),
            ("fixed:x", Err("bad size \"x\": does not begin with a number")),
        ];
        for (text, want) in table {
            let read = Chunking::parse(text);
            let shown = read.as_ref().map(ToString::to_string).map_err(String::as_str);
            assert_eq!(shown.as_deref(), want.as_deref(), "{text}");
            if let Ok(chunking) = read {
                assert_eq!(Chunking::parse(&chunking.to_string()), Ok(chunking), "{text}");
            }
        }
    }
}

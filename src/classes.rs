//! What is known of storage classes: which cannot be read at once, how long an
//! object is paid for at least, what it costs, and how soon an archive brings
//! one back.
//!
//! The names are Amazon's, and servers that have classes of these names mean much
//! the same by them. Stores have names of their own beside them; such a class is
//! taken for one that can be read at once until the store says otherwise, and
//! nothing is said about its price.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The class of an object that names none.
pub const STANDARD: &str = "STANDARD";

/// One class. Prices are list prices in US dollars (Amazon S3, us-east-1, 2026),
/// meant for an estimate; `[prices]` in the configuration replaces them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Class {
    pub name: &'static str,
    /// Its objects must be thawed before they can be read.
    pub is_archive: bool,
    /// An object that goes sooner is paid for until then; 0 where there is none.
    pub minimum_days: u32,
    /// A smaller object is paid for as one of this size.
    pub minimum_bytes: u64,
    /// Paid for with each object beside its own bytes.
    pub overhead_bytes: u64,
    pub prices: Prices,
}

/// What a class costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// A thousand requests that write.
    pub put_per_1000: f64,
    /// A GiB kept for a month.
    pub gib_month: f64,
    /// A GiB read; of an archive, thawed at the standard tier.
    pub retrieval_gib: f64,
}

const fn prices(put_per_1000: f64, gib_month: f64, retrieval_gib: f64) -> Prices {
    Prices { put_per_1000, gib_month, retrieval_gib }
}

const fn class(name: &'static str, minimum_days: u32, minimum_kib: u64, prices: Prices) -> Class {
    let minimum_bytes = minimum_kib << 10;
    Class { name, is_archive: false, minimum_days, minimum_bytes, overhead_bytes: 0, prices }
}

const fn archive(name: &'static str, minimum_days: u32, prices: Prices) -> Class {
    let base = class(name, minimum_days, 0, prices);
    Class { is_archive: true, overhead_bytes: 40 << 10, ..base }
}

/// The classes with known terms, dearest storage first.
pub const CLASSES: [Class; 7] = [
    class(STANDARD, 0, 0, prices(0.005, 0.023, 0.0)),
    class("INTELLIGENT_TIERING", 0, 0, prices(0.005, 0.023, 0.0)),
    class("STANDARD_IA", 30, 128, prices(0.01, 0.0125, 0.01)),
    class("ONEZONE_IA", 30, 128, prices(0.01, 0.01, 0.01)),
    class("GLACIER_IR", 90, 128, prices(0.02, 0.004, 0.03)),
    archive("GLACIER", 90, prices(0.03, 0.0036, 0.01)),
    archive("DEEP_ARCHIVE", 180, prices(0.05, 0.00099, 0.02)),
];

/// The terms of a class, if it is a known one.
pub fn of(name: &str) -> Option<&'static Class> {
    CLASSES.iter().find(|class| class.name == name)
}

/// Whether objects of this class must be thawed before they can be read.
pub fn is_archive(name: &str) -> bool {
    of(name).is_some_and(|class| class.is_archive)
}

/// Whether an object of this class is paid for longer than it may be kept.
pub fn has_minimum(name: &str) -> bool {
    of(name).is_some_and(|class| class.minimum_days > 0)
}

/// How soon an archive is to bring an object back: sooner costs more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Tier {
    /// Minutes; not of a deep archive.
    Expedited,
    #[default]
    Standard,
    /// The cheapest.
    Bulk,
}

impl Tier {
    pub const ALL: [Self; 3] = [Self::Expedited, Self::Standard, Self::Bulk];

    /// The word of stores and of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expedited => "Expedited",
            Self::Standard => "Standard",
            Self::Bulk => "Bulk",
        }
    }

    /// How long it typically takes with this class (S3 User Guide, "Archive
    /// retrieval options").
    pub fn typical(self, class: Option<&str>) -> &'static str {
        match (self, class) {
            (Self::Expedited, _) => "1 to 5 minutes",
            (Self::Standard, Some("DEEP_ARCHIVE")) => "about 12 hours",
            (Self::Bulk, Some("DEEP_ARCHIVE")) => "about 48 hours",
            (Self::Standard, _) => "3 to 5 hours",
            (Self::Bulk, _) => "5 to 12 hours",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Tier {
    type Err = String;

    /// Whatever the case of its letters.
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|tier| tier.as_str().eq_ignore_ascii_case(text));
        known.ok_or_else(|| "write Expedited, Standard or Bulk".to_owned())
    }
}

/// What is asked of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thaw {
    pub tier: Tier,
    /// How long the copy that can be read is kept.
    pub days: u32,
}

impl Default for Thaw {
    fn default() -> Self {
        Self { tier: Tier::default(), days: 3 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_archives_keep_one_waiting() {
        let archives: Vec<_> =
            CLASSES.iter().filter(|class| class.is_archive).map(|class| class.name).collect();
        assert_eq!(archives, ["GLACIER", "DEEP_ARCHIVE"]);
        assert!(is_archive("GLACIER") && !is_archive("GLACIER_IR") && !is_archive("COLDLINE"));
    }

    #[test]
    fn what_a_minimum_binds_is_said_by_the_table() {
        let days = |name| of(name).map(|class| class.minimum_days);
        assert_eq!(days("STANDARD"), Some(0));
        assert_eq!(days("STANDARD_IA"), Some(30));
        assert_eq!(days("GLACIER_IR"), Some(90));
        assert_eq!(days("GLACIER"), Some(90));
        assert_eq!(days("DEEP_ARCHIVE"), Some(180));
        assert_eq!(days("COLDLINE"), None);
        assert!(has_minimum("ONEZONE_IA") && !has_minimum("INTELLIGENT_TIERING"));
    }

    #[test]
    fn a_tier_is_read_in_any_case_and_written_as_stores_do() {
        assert_eq!("bulk".parse(), Ok(Tier::Bulk));
        assert_eq!("Expedited".parse::<Tier>().map(Tier::as_str), Ok("Expedited"));
        assert!("fast".parse::<Tier>().is_err());
    }
}

//! The sections `[cold]` and `[prices]`: what an archive is asked for when a file
//! in it is wanted, and what storage costs here.

use super::guard::DenyErrno;
use crate::classes::{self, Prices, Thaw, Tier};
use crate::document::{Item, Section};
use std::collections::BTreeMap;
use toml::de::DeValue;

const COLD_KEYS: [&str; 3] = ["tier", "days", "errno"];
const PRICE_KEYS: [&str; 3] = ["put_per_1000", "gib_month", "retrieval_gib"];

/// How files in an archive class come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColdSection {
    pub thaw: Thaw,
    /// What a program is told that opens such a file under a guard.
    pub errno: DenyErrno,
}

impl Default for ColdSection {
    fn default() -> Self {
        Self { thaw: Thaw::default(), errno: DenyErrno::Eagain }
    }
}

/// `[cold]`, with the defaults for all that it does not say.
pub(super) fn read(top: &Section<'_, '_>) -> ColdSection {
    let default = ColdSection::default();
    let Some(section) = top.item("cold").and_then(|item| item.section("[cold]", &COLD_KEYS)) else {
        return default;
    };
    let tiers = Tier::ALL.map(|tier| (tier.as_str(), tier));
    let tier = section.item("tier").and_then(|item| item.word("tier", &tiers));
    let days = section.integer("days", 1..=365).and_then(|days| u32::try_from(days).ok());
    let errno = section.item("errno").and_then(|item| item.word("errno", &DenyErrno::ALL));
    ColdSection {
        thaw: Thaw {
            tier: tier.unwrap_or(default.thaw.tier),
            days: days.unwrap_or(default.thaw.days),
        },
        errno: errno.unwrap_or(default.errno),
    }
}

/// What each class costs: the list prices, and what `[prices]` says instead, also of
/// classes that are not listed.
#[derive(Debug, Clone, PartialEq)]
pub struct PriceList(pub BTreeMap<String, Prices>);

impl Default for PriceList {
    fn default() -> Self {
        let listed = classes::CLASSES.iter();
        Self(listed.map(|class| (class.name.to_owned(), class.prices)).collect())
    }
}

pub(super) fn read_prices(top: &Section<'_, '_>) -> PriceList {
    let mut list = PriceList::default();
    let section = top.item("prices").and_then(|item| item.open_section("[prices]"));
    for (name, _, item) in section.iter().flat_map(Section::entries) {
        let Some(section) = item.section(format!("[prices.{name}]"), &PRICE_KEYS) else { continue };
        let nothing = Prices { put_per_1000: 0.0, gib_month: 0.0, retrieval_gib: 0.0 };
        let prices = list.0.entry(name.to_owned()).or_insert(nothing);
        let values = [&mut prices.put_per_1000, &mut prices.gib_month, &mut prices.retrieval_gib];
        for (key, value) in PRICE_KEYS.into_iter().zip(values) {
            *value = section.item(key).and_then(|item| price(&item)).unwrap_or(*value);
        }
    }
    list
}

fn price(item: &Item<'_, '_>) -> Option<f64> {
    let number = match item.value() {
        DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
        DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
        _ => None,
    };
    let good = number.filter(|number| (0.0..1e6).contains(number));
    if good.is_none() {
        item.problem("this is no price", "write a number of dollars, such as 0.0036");
    }
    good
}

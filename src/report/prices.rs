//! What stores ask, to begin with: a person corrects it in the page.

use crate::classes;
use crate::config::PriceList;
use crate::units::parse_storage_class;
use serde::Serialize;

/// Where the prices are from. Whoever quotes them looks them up first.
pub const SOURCE: &str = "Amazon S3 list prices, us-east-1, as noted in 2026, and what the \
    configuration says instead; check before quoting";

/// Of one storage class, in US dollars.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Price<'a> {
    pub class: &'a str,
    /// A GB (2^30 bytes) for a month.
    pub storage: f64,
    /// 1000 PUTs.
    pub put: f64,
    /// 1000 GETs; where a restore has to be asked for, with that request.
    pub get: f64,
    /// A GB that is read.
    pub retrieval: f64,
    /// Days that an object is paid for at least.
    pub least_days: u32,
}

/// Of the classes that a policy may name, the standard one first, then the dearest storage.
pub fn prices(list: &PriceList) -> Vec<Price<'_>> {
    let known = list.0.iter().filter(|(class, _)| parse_storage_class(class).is_ok());
    let mut prices: Vec<Price<'_>> = known
        .map(|(class, prices)| Price {
            class,
            storage: prices.gib_month,
            put: prices.put_per_1000,
            get: prices.get_per_1000,
            retrieval: prices.retrieval_gib,
            least_days: classes::of(class).map_or(0, |class| class.minimum_days),
        })
        .collect();
    // What is meant where no class is named comes first.
    prices.sort_by(|one, other| {
        (one.class != classes::STANDARD)
            .cmp(&(other.class != classes::STANDARD))
            .then(other.storage.total_cmp(&one.storage))
    });
    prices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_configuration_says_stands_in_the_page() {
        let mut list = PriceList::default();
        let own = classes::Prices { gib_month: 0.5, ..classes::Prices::default() };
        list.0.insert("STANDARD_IA".into(), own);
        let prices = prices(&list);
        assert_eq!((prices[0].class, prices[1].class), ("STANDARD", "STANDARD_IA"));
        assert_eq!((prices[1].storage, prices[1].least_days), (0.5, 30));
        let deep = prices.iter().find(|price| price.class == "DEEP_ARCHIVE").expect("a class");
        assert_eq!((deep.put, deep.least_days), (0.05, 180));
        assert!(prices[1..].is_sorted_by(|one, other| one.storage >= other.storage));
    }
}

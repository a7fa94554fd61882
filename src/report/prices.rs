//! What stores ask, to begin with: a person corrects it in the page.

use crate::units::parse_storage_class;
use serde::Serialize;

/// Where the prices are from. Whoever quotes them looks them up first.
pub const SOURCE: &str = "Amazon S3 list prices, us-east-1, as noted in 2026; check before quoting";

/// Of one storage class, in US dollars.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Price {
    pub class: &'static str,
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

const PRICES: [Price; 5] = [
    Price {
        class: "STANDARD",
        storage: 0.023,
        put: 0.005,
        get: 0.0004,
        retrieval: 0.0,
        least_days: 0,
    },
    Price {
        class: "STANDARD_IA",
        storage: 0.0125,
        put: 0.01,
        get: 0.001,
        retrieval: 0.01,
        least_days: 30,
    },
    Price {
        class: "GLACIER_IR",
        storage: 0.004,
        put: 0.02,
        get: 0.01,
        retrieval: 0.03,
        least_days: 90,
    },
    Price {
        class: "GLACIER",
        storage: 0.0036,
        put: 0.03,
        get: 0.0504,
        retrieval: 0.01,
        least_days: 90,
    },
    Price {
        class: "DEEP_ARCHIVE",
        storage: 0.00099,
        put: 0.05,
        get: 0.1004,
        retrieval: 0.02,
        least_days: 180,
    },
];

/// Of the classes that a policy may name.
pub fn prices() -> Vec<Price> {
    PRICES.into_iter().filter(|price| parse_storage_class(price.class).is_ok()).collect()
}

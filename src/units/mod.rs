//! How quantities are written and read by people: sizes, durations, shares,
//! rates, points in time, and the few names that a store gives.
//!
//! Every text that a person types, in a policy, in the config or on the command
//! line, passes through here, so that `64KiB` means one thing everywhere. A
//! text that could mean two things is refused, never guessed: an error carries
//! what is wrong and, in [`Error::mend`], the forms that are accepted.
//!
//! Bytes are `u64`, points in time are nanoseconds since the Unix epoch in
//! `i64` (see `clock`), all calendar dates are UTC.

mod copies;
mod duration;
mod size;
mod storage_class;
mod time;

pub use copies::Copies;
pub use duration::{format_duration, format_duration_exact, parse_duration};
pub use size::{format_size, parse_rate, parse_size};
pub use storage_class::parse_storage_class;
pub use time::{format_time, parse_time};

/// A text that is not the quantity it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("bad size {text:?}: {why}")]
    Size { text: String, why: &'static str },
    #[error("bad rate {text:?}: {why}")]
    Rate { text: String, why: &'static str },
    #[error("bad duration {text:?}: {why}")]
    Duration { text: String, why: String },
    #[error("bad percentage {text:?}: {why}")]
    Percent { text: String, why: &'static str },
    #[error("bad time {text:?}: {why}")]
    Time { text: String, why: String },
    #[error("bad storage class {text:?}: {why}")]
    StorageClass { text: String, why: &'static str },
}

impl Error {
    /// The accepted forms, as an advice.
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Size { .. } => {
                "write a number of bytes or a number with a unit: 123, 64KiB, 1.5GiB (1024), 10MB (1000)"
            }
            Self::Rate { .. } => "write bytes per second: 500KiB, 10MiB/s, 12.5MB/s",
            Self::Duration { .. } => {
                "write a number with a unit: 90d, 2m, 1h30m, 2weeks, 3months, 1y"
            }
            Self::Percent { .. } => "write a number from 0 to 100 with a percent sign: 85%",
            Self::StorageClass { .. } => {
                "write STANDARD, STANDARD_IA, GLACIER_IR or the store's own"
            }
            Self::Time { .. } => {
                "write 2026-01-31, 2026-01-31T14:00:00Z, @1769868000 (Unix seconds), now or now-90d"
            }
        }
    }
}

/// A share of a whole in percent, 0 to 100; the percent sign is required.
pub fn parse_percent(text: &str) -> Result<f64, Error> {
    let bad = |why| Error::Percent { text: text.to_owned(), why };
    let number = text.trim().strip_suffix('%').ok_or_else(|| bad("no percent sign"))?.trim_end();
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let value = if plain { number.parse::<f64>().ok() } else { None };
    match value {
        Some(value) if value <= 100.0 => Ok(value),
        Some(_) => Err(bad("more than 100 %")),
        None => Err(bad("not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_needs_its_sign_and_its_bounds() {
        for (text, want) in [("85%", 85.0), ("0%", 0.0), (" 99.5 % ", 99.5), ("100%", 100.0)] {
            assert_eq!(parse_percent(text), Ok(want), "{text}");
        }
        for text in ["85", "101%", "-1%", "%", "1e1%", "nan%", "inf%", "1.2.3%", ""] {
            assert!(parse_percent(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_percent("85").expect_err("no sign").to_string(),
            "bad percentage \"85\": no percent sign"
        );
    }
}

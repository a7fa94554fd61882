//! Sizes in bytes and rates in bytes per second.
//!
//! `KB MB GB TB PB` are powers of 1000, `KiB MiB GiB TiB PiB` powers of 1024,
//! and a bare `K M G T P` is a power of 1024 as in du(1) and dd(1). Case is not
//! looked at. Numbers are decimal and computed in integers, so that no size is
//! a byte off; a fraction of a byte is cut off.

use super::Error;

/// Bytes that `text` names.
pub fn parse_size(text: &str) -> Result<u64, Error> {
    bytes_of(text).map_err(|why| Error::Size { text: text.to_owned(), why })
}

/// Bytes per second: a size, with or without `/s`. Zero is refused, it would
/// stop all traffic.
pub fn parse_rate(text: &str) -> Result<u64, Error> {
    let bad = |why| Error::Rate { text: text.to_owned(), why };
    let trimmed = text.trim();
    let size = trimmed.strip_suffix("/s").unwrap_or(trimmed);
    match bytes_of(size).map_err(bad)? {
        0 => Err(bad("zero would stop all traffic")),
        rate => Ok(rate),
    }
}

fn bytes_of(text: &str) -> Result<u64, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Err("empty");
    }
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    if number.is_empty() {
        return Err("does not begin with a number");
    }
    let unit_bytes = unit_bytes(unit.trim_start()).ok_or("unknown unit")?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let not_a_number = whole.is_empty() || fraction.is_empty() || fraction.contains('.');
    if not_a_number {
        return Err("not a decimal number");
    }
    let too_big = "larger than 16 EiB";
    let whole: u64 = whole.parse().map_err(|_| too_big)?;
    let whole_bytes = whole.checked_mul(unit_bytes).ok_or(too_big)?;
    whole_bytes.checked_add(fraction_bytes(fraction, unit_bytes)).ok_or(too_big)
}

/// The part behind the point; digits beyond the eighteenth change no byte.
fn fraction_bytes(digits: &str, unit_bytes: u64) -> u64 {
    let digits = &digits[..digits.len().min(18)];
    let value: u128 = digits.parse().expect("at most eighteen decimal digits");
    let scale = 10_u128.pow(u32::try_from(digits.len()).expect("at most eighteen"));
    u64::try_from(value * u128::from(unit_bytes) / scale).expect("less than one unit")
}

fn unit_bytes(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let (letter, base) = match unit.as_bytes() {
        [] | [b'b'] => return Some(1),
        [letter] | [letter, b'i', b'b'] => (*letter, 1024_u64),
        [letter, b'b'] => (*letter, 1000),
        _ => return None,
    };
    let power = b"kmgtpe".iter().position(|known| *known == letter)?;
    base.checked_pow(u32::try_from(power).expect("six letters") + 1)
}

/// A size for people, rounded to one decimal: `0 B`, `1023 B`, `64 KiB`,
/// `1.5 GiB`. [`parse_size`] reads it back, rounded.
pub fn format_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    // One decimal is shown, so 1023.95 already reads 1024.0.
    let mut scaled = bytes as f64 / 1024.0;
    while scaled >= 1023.95 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    let text = format!("{scaled:.1}");
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_to_the_byte() {
        let table = [
            ("0", 0),
            ("123", 123),
            ("123B", 123),
            ("64KiB", 65_536),
            ("64 KiB", 65_536),
            ("64k", 65_536),
            ("10MB", 10_000_000),
            ("10mib", 10_485_760),
            ("1.5GiB", 1_610_612_736),
            ("0.1KiB", 102),
            ("2TiB", 2_199_023_255_552),
            ("1P", 1 << 50),
            ("15EiB", 15 << 60),
            ("18446744073709551615", u64::MAX),
            ("1.0000000000000000000000001KB", 1000),
        ];
        for (text, want) in table {
            assert_eq!(parse_size(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_the_accepted_forms() {
        for text in ["", "KiB", "-1", "1.KiB", ".5GiB", "1.2.3", "1e3", "64Kb/s", "16EiB", "64 XB"]
        {
            assert!(parse_size(text).is_err(), "{text}");
        }
        let error = parse_size("64KiBs").expect_err("bad unit");
        assert_eq!(error.to_string(), "bad size \"64KiBs\": unknown unit");
        assert!(error.mend().contains("64KiB"));
    }

    #[test]
    fn a_rate_may_say_per_second_and_is_never_zero() {
        assert_eq!(parse_rate("10MiB/s"), Ok(10 << 20));
        assert_eq!(parse_rate("500k"), Ok(500 << 10));
        assert!(parse_rate("0").is_err());
        assert!(parse_rate("10MiB/h").is_err());
    }

    #[test]
    fn sizes_are_shown_short() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (65_536, "64 KiB"),
            (1_610_612_736, "1.5 GiB"),
            ((1 << 20) - 1, "1 MiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (bytes, want) in table {
            assert_eq!(format_size(bytes), want, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,24}") {
            let _ = parse_size(&text);
            let _ = parse_rate(&text);
        }

        #[test]
        fn a_shown_size_reads_back_within_its_rounding(bytes in 0_u64..(1 << 60)) {
            let back = parse_size(&format_size(bytes)).expect("our own form");
            prop_assert!(back.abs_diff(bytes) as f64 <= bytes as f64 * 0.051 + 1.0);
        }
    }
}

//! Durations, read by the `humantime` crate: `90d`, `1h30m`, `2weeks`.
//!
//! A year is 365.25 days and a month 30.44 days, as humantime has it. One trap
//! of that crate is closed here: it reads `2M` as two months where a person who
//! typed a size a line above may mean minutes, so the bare `M` is refused.

use super::Error;
use std::time::Duration;

/// Durations are compared with file times, which end in the year 2262; nothing
/// older than this can be asked for.
const LONGEST: Duration = Duration::from_secs(200 * 31_557_600);

/// The duration that `text` names, at most 200 years.
pub fn parse_duration(text: &str) -> Result<Duration, Error> {
    let bad = |why: &str| Error::Duration { text: text.to_owned(), why: why.to_owned() };
    if has_bare_capital_m(text) {
        return Err(bad("M could be minutes or months; write m or months"));
    }
    let duration = humantime::parse_duration(text).map_err(|error| match error {
        humantime::DurationError::Empty => bad("empty"),
        humantime::DurationError::UnknownUnit { unit, .. } if unit.is_empty() => bad("no unit"),
        humantime::DurationError::UnknownUnit { unit, .. } => {
            bad(&format!("unknown unit {unit:?}"))
        }
        humantime::DurationError::NumberOverflow => bad("too large or too fine"),
        humantime::DurationError::InvalidCharacter(_)
        | humantime::DurationError::NumberExpected(_) => bad("not a number with a unit"),
    })?;
    if duration > LONGEST { Err(bad("longer than 200 years")) } else { Ok(duration) }
}

fn has_bare_capital_m(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphabetic()).any(|unit| unit == "M")
}

/// A duration for people, cut down to what the eye needs: `90 days`,
/// `1 day 12 hours`, `1 hour 30 minutes`, `45 seconds`. From ten days on only
/// whole days are told.
pub fn format_duration(duration: Duration) -> String {
    let parts = parts_of(duration);
    let days = duration.as_secs() / 86_400;
    let shown = if days >= 10 { 1 } else { 2 };
    if parts.is_empty() { "0 seconds".to_owned() } else { join(&parts[..parts.len().min(shown)]) }
}

/// Every unit down to the nanosecond, for when the short form would show two
/// different durations alike.
pub fn format_duration_exact(duration: Duration) -> String {
    let mut parts = parts_of(duration);
    match duration.subsec_nanos() {
        0 => {}
        nanos => parts.push((u64::from(nanos), "nanosecond")),
    }
    if parts.is_empty() { "0 seconds".to_owned() } else { join(&parts) }
}

/// Whole units from days to seconds, without those that are zero.
fn parts_of(duration: Duration) -> Vec<(u64, &'static str)> {
    let mut rest = duration.as_secs();
    let mut parts = Vec::with_capacity(4);
    for (unit_secs, name) in [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")] {
        let count = rest / unit_secs;
        rest %= unit_secs;
        if count > 0 {
            parts.push((count, name));
        }
    }
    parts
}

fn join(parts: &[(u64, &str)]) -> String {
    let texts: Vec<String> = parts
        .iter()
        .map(|(count, name)| format!("{count} {name}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    texts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let table = [
            ("0s", 0),
            ("2m", 120),
            ("1h30m", 5_400),
            ("90d", 90 * 86_400),
            ("2weeks", 14 * 86_400),
            ("1y", 31_557_600),
            ("3 months", 3 * 2_630_016),
        ];
        for (text, want) in table {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(want)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        let table = [
            ("90", "bad duration \"90\": no unit"),
            ("", "bad duration \"\": empty"),
            ("2M", "bad duration \"2M\": M could be minutes or months; write m or months"),
            ("1d 2 M", "bad duration \"1d 2 M\": M could be minutes or months; write m or months"),
            ("3 fortnights", "bad duration \"3 fortnights\": unknown unit \"fortnights\""),
            ("-3d", "bad duration \"-3d\": not a number with a unit"),
            ("900y", "bad duration \"900y\": longer than 200 years"),
        ];
        for (text, want) in table {
            assert_eq!(parse_duration(text).expect_err(text).to_string(), want);
        }
    }

    #[test]
    fn durations_are_shown_short_or_exactly() {
        let table = [
            (Duration::ZERO, "0 seconds", "0 seconds"),
            (Duration::from_secs(45), "45 seconds", "45 seconds"),
            (Duration::from_secs(5_400), "1 hour 30 minutes", "1 hour 30 minutes"),
            (Duration::from_secs(129_601), "1 day 12 hours", "1 day 12 hours 1 second"),
            (Duration::from_secs(90 * 86_400), "90 days", "90 days"),
            (Duration::from_secs(12 * 86_400 + 60), "12 days", "12 days 1 minute"),
            (Duration::from_nanos(7), "0 seconds", "7 nanoseconds"),
        ];
        for (duration, short, exact) in table {
            assert_eq!(format_duration(duration), short);
            assert_eq!(format_duration_exact(duration), exact);
        }
    }
}

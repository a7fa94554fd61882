//! Points in time: RFC 3339, a plain date, Unix seconds, or relative to now.
//!
//! A text without an offset is UTC: reading the server's zone would make one
//! policy or one `--as-of` mean two things on two servers.

use super::{Error, parse_duration};
use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};

/// Nanoseconds since the Unix epoch that `text` names; `now_ns` is what `now`
/// stands for. Years outside 1677 to 2262 do not fit and are refused.
pub fn parse_time(text: &str, now_ns: i64) -> Result<i64, Error> {
    let bad = |why: &str| Error::Time { text: text.to_owned(), why: why.to_owned() };
    let out_of_range = || bad("outside the years 1677 to 2262");
    let trimmed = text.trim();
    if let Some(rest) = trimmed.strip_prefix("now") {
        return relative(rest.trim(), now_ns).map_err(|why| bad(&why));
    }
    if let Some(seconds) = trimmed.strip_prefix('@') {
        let seconds: i64 = seconds.parse().map_err(|_| bad("not a number of seconds"))?;
        return seconds.checked_mul(1_000_000_000).ok_or_else(out_of_range);
    }
    let time = calendar(trimmed).ok_or_else(|| bad("not a date or time"))?;
    time.timestamp_nanos_opt().ok_or_else(out_of_range)
}

/// What follows `now`: nothing, or a sign and a duration.
fn relative(rest: &str, now_ns: i64) -> Result<i64, String> {
    let Some(sign) = rest.chars().next() else { return Ok(now_ns) };
    let (Some(span), '-' | '+') = (rest.get(1..), sign) else {
        return Err("after now comes - or + and a duration".to_owned());
    };
    let span = parse_duration(span.trim()).map_err(|error| error.to_string())?;
    let span_ns = i64::try_from(span.as_nanos()).expect("durations are at most 200 years");
    let moved = if sign == '-' { now_ns.checked_sub(span_ns) } else { now_ns.checked_add(span_ns) };
    moved.ok_or_else(|| "outside the years 1677 to 2262".to_owned())
}

fn calendar(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return date.and_hms_opt(0, 0, 0).map(|time| time.and_utc());
    }
    ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|time| time.and_utc())
}

/// RFC 3339 in UTC to the second, `2026-01-31T14:00:00Z`; [`parse_time`] reads
/// it back.
pub fn format_time(time_ns: i64) -> String {
    DateTime::from_timestamp_nanos(time_ns).to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_769_868_000_000_000_000; // 2026-01-31T14:00:00Z

    #[test]
    fn times_are_read() {
        let table = [
            ("2026-01-31T14:00:00Z", NOW),
            ("2026-01-31T15:00:00+01:00", NOW),
            ("2026-01-31 14:00", NOW),
            ("2026-01-31 14:00:00", NOW),
            ("2026-01-31T14:00", NOW),
            ("@1769868000", NOW),
            ("2026-01-31", NOW - 14 * 3_600_000_000_000),
            ("now", NOW),
            (" now - 90d ", NOW - 90 * 86_400_000_000_000),
            ("now+1h", NOW + 3_600_000_000_000),
            ("1960-01-01", -315_619_200_000_000_000),
        ];
        for (text, want) in table {
            assert_eq!(parse_time(text, NOW), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "yesterday", "2026-02-30", "now90d", "now-90", "nowé", "@x", "2300-01-01"]
        {
            assert!(parse_time(text, NOW).is_err(), "{text}");
        }
        assert!(parse_time("now-1y", i64::MIN).is_err(), "before the first nanosecond");
    }

    #[test]
    fn a_shown_time_reads_back() {
        assert_eq!(format_time(NOW), "2026-01-31T14:00:00Z");
        for time_ns in [0, NOW, -1_000_000_000] {
            assert_eq!(parse_time(&format_time(time_ns), 0), Ok(time_ns));
        }
    }
}

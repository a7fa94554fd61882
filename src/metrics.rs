//! Prometheus' text exposition format 0.0.4: what a scraper reads, from the
//! textfile collector's directory or from the guard.
//!
//! Pure: names and numbers in, text out. A family is written once, whole, and
//! only if it has samples. Units are base units (bytes, seconds, ratios) and are
//! part of the name; points in time are Unix seconds.
//! (prometheus.io/docs/instrumenting/exposition_formats)

use std::fmt::Write;

/// The `Content-Type` of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the numbers of a family may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Up and down.
    Gauge,
    /// Only up, until the process begins anew.
    Counter,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

/// Families of samples on their way to a scraper.
#[derive(Debug, Clone, Default)]
pub struct Exposition {
    text: String,
}

/// One family, written when it has its first sample.
#[derive(Debug)]
pub struct Family<'e> {
    text: &'e mut String,
    name: &'static str,
    help: &'static str,
    kind: Kind,
    begun: bool,
}

impl Exposition {
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a family. `name` is of letters, digits and underscores; of a counter
    /// it ends in `_total`.
    pub fn family(&mut self, name: &'static str, help: &'static str, kind: Kind) -> Family<'_> {
        debug_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        debug_assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
        Family { text: &mut self.text, name, help, kind, begun: false }
    }

    /// A family of one sample without labels.
    pub fn one(&mut self, name: &'static str, help: &'static str, kind: Kind, value: f64) {
        self.family(name, help, kind).sample(&[], value);
    }

    pub fn into_text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        if !self.begun {
            self.begun = true;
            let (name, kind) = (self.name, self.kind.as_str());
            let help = escaped(self.help, false);
            let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        }
        self.text.push_str(self.name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{label}=\"{}\"", escaped(value, true));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {}", number(value));
    }

    /// The same where there is a value.
    pub fn maybe(&mut self, labels: &[(&str, &str)], value: Option<f64>) {
        if let Some(value) = value {
            self.sample(labels, value);
        }
    }
}

/// Unix seconds of a time.
pub fn seconds(time_ns: i64) -> f64 {
    time_ns as f64 / 1e9
}

fn escaped(text: &str, is_label: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if is_label => escaped.push_str("\\\""),
            letter => escaped.push(letter),
        }
    }
    escaped
}

fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_help_and_type_once_and_only_with_samples() {
        let mut metrics = Exposition::new();
        metrics.family("hsm_nothing", "Nobody.", Kind::Gauge).maybe(&[], None);
        let mut files = metrics.family("hsm_files", "Files by \"state\".\nAll.", Kind::Gauge);
        files.sample(&[("root", "/a\\b\"c\nd"), ("state", "stub")], 3.0);
        files.sample(&[("root", "/x"), ("state", "stub")], 0.5);
        metrics.one("hsm_recalls_total", "Recalls.", Kind::Counter, 18_446_744_073_709_551_615.0);
        assert_eq!(
            metrics.into_text(),
            "# HELP hsm_files Files by \"state\".\\nAll.\n# TYPE hsm_files gauge\n\
             hsm_files{root=\"/a\\\\b\\\"c\\nd\",state=\"stub\"} 3\n\
             hsm_files{root=\"/x\",state=\"stub\"} 0.5\n\
             # HELP hsm_recalls_total Recalls.\n# TYPE hsm_recalls_total counter\n\
             hsm_recalls_total 18446744073709552000\n"
        );
    }

    #[test]
    fn numbers_are_what_a_scraper_reads() {
        assert_eq!(number(f64::NAN), "NaN");
        assert_eq!(number(f64::INFINITY), "+Inf");
        assert_eq!(number(f64::NEG_INFINITY), "-Inf");
        assert_eq!(number(1e21), "1000000000000000000000");
        assert_eq!(number(seconds(1_500_000_000)), "1.5");
    }
}

//! The [`Monitor`] that a person sees: a bar with rate and time left on a
//! terminal, one line per phase in a log, nothing but failures with `--quiet`.
//!
//! Every failure is counted, because the count decides the exit code. The first
//! [`SHOWN`] are named on stderr (all of them with `-v`), and `--json` writes
//! each as a `failure` record. Workers on any thread may call it; the library
//! below never prints.

use super::output::{Name, Output, escaped, escaped_path};
use super::report;
use crate::clock::Stopwatch;
use crate::monitor::{Monitor, Phase};
use crate::units;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde_json::json;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Failures named on stderr before only their number is told.
pub const SHOWN: u64 = 20;

/// How much the person wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    Quiet,
    Normal,
    Verbose,
}

/// Progress and failures of one run.
pub struct Progress {
    out: Output,
    detail: Detail,
    terminal: bool,
    failed: AtomicU64,
    phase: Mutex<Option<Running>>,
    /// Why files were not done, where somebody wants to know afterwards.
    reasons: Mutex<Option<HashMap<PathBuf, Reason>>>,
}

/// Why a file was not done.
#[derive(Debug, Clone)]
pub struct Reason {
    pub why: String,
    /// It was told already, and counted.
    pub failed: bool,
}

struct Running {
    phase: Phase,
    started: Stopwatch,
    files: Arc<AtomicU64>,
    bytes: u64,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub fn new(out: Output, detail: Detail) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let (phase, reasons) = (Mutex::new(None), Mutex::new(None));
        Self { out, detail, terminal, failed: AtomicU64::new(0), phase, reasons }
    }

    /// Keeps from now on why single files are not done.
    pub fn remember_reasons(&self) {
        *self.reasons.lock().unwrap_or_else(PoisonError::into_inner) = Some(HashMap::new());
    }

    /// Why this file was not done, if that was told since.
    pub fn reason(&self, path: &Path) -> Option<Reason> {
        let reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.as_ref()?.get(path).cloned()
    }

    fn remember(&self, path: &Path, failed: bool, why: impl FnOnce() -> String) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reasons) = reasons.as_mut() {
            reasons.insert(path.to_owned(), Reason { why: why(), failed });
        }
    }

    /// Failures so far, in every phase.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::SeqCst)
    }

    /// Tells how many failures were not named; call once at the end.
    pub fn finish(&self) {
        self.end();
        let hidden = self.failed().saturating_sub(SHOWN);
        if hidden > 0 && self.detail != Detail::Verbose {
            self.say(&format!("and {hidden} more failures; -v names every one"));
        }
    }

    /// What a person must read, also with `--quiet`.
    pub fn warn(&self, text: &str) {
        self.say(text);
    }

    /// One line on stderr, above the bar if there is one. A stderr that went
    /// away must not end the run.
    fn say(&self, line: &str) {
        let print = || drop(writeln!(std::io::stderr(), "{line}"));
        match self.phase.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(Running { bar: Some(bar), .. }) => bar.suspend(print),
            _ => print(),
        }
    }

    fn bar(
        &self,
        phase: Phase,
        total_files: u64,
        total_bytes: u64,
        files: &Arc<AtomicU64>,
    ) -> Option<ProgressBar> {
        if !self.terminal || self.detail == Detail::Quiet {
            return None;
        }
        let bar = ProgressBar::with_draw_target(
            (total_bytes > 0).then_some(total_bytes),
            ProgressDrawTarget::stderr_with_hz(8),
        );
        bar.set_style(style(phase, total_files, total_bytes, Arc::clone(files)));
        Some(bar)
    }
}

impl Monitor for Progress {
    fn wants_totals(&self) -> bool {
        self.terminal && self.detail != Detail::Quiet
    }

    fn begin(&self, phase: Phase, total_files: u64, total_bytes: u64) {
        let files = Arc::new(AtomicU64::new(0));
        let bar = self.bar(phase, total_files, total_bytes, &files);
        if let Some(bar) = &bar {
            bar.set_message(phase.as_str());
        }
        let running = Running { phase, started: Stopwatch::start(), files, bytes: 0, bar };
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    fn advance(&self, files: u64, bytes: u64) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = phase.as_mut() else { return };
        running.files.fetch_add(files, Ordering::Relaxed);
        running.bytes += bytes;
        if let Some(bar) = &running.bar {
            bar.inc(bytes);
        }
    }

    fn end(&self) {
        let ended = self.phase.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = ended else { return };
        if let Some(bar) = &running.bar {
            bar.finish_and_clear();
        }
        if self.detail != Detail::Quiet {
            self.say(&summary(&running));
        }
    }

    fn file_left(&self, path: &Path, doing: &str, why: &dyn std::fmt::Display) {
        self.remember(path, false, || format!("not {doing}: {why}"));
    }

    fn file_failed(&self, path: &Path, doing: &str, error: &dyn std::error::Error) {
        self.remember(path, true, || format!("cannot {doing}: {error}"));
        let nth = self.failed.fetch_add(1, Ordering::SeqCst) + 1;
        let mut text = format!("cannot {doing} {}: {}", escaped_path(path), printable(error));
        for cause in report::causes(error) {
            let _ = write!(text, ": {}", escaped(cause.as_bytes()));
        }
        // A reader of stdout that went away must not end the run.
        let _ = self.out.record(&json!({
            "type": "failure", "path": Name::of(path), "doing": doing,
            "error": error.to_string(), "causes": report::causes(error),
        }));
        if nth <= SHOWN || self.detail == Detail::Verbose {
            self.say(&text);
        }
    }

    fn notice(&self, text: &str) {
        if self.detail != Detail::Quiet {
            self.say(&escaped(text.as_bytes()));
        }
    }
}

fn printable(error: &dyn std::error::Error) -> String {
    escaped(error.to_string().as_bytes())
}

fn summary(running: &Running) -> String {
    let seconds = running.started.elapsed().as_secs_f64();
    let files = running.files.load(Ordering::Relaxed);
    let mut text = format!("{}: {files} {}", running.phase.as_str(), running.phase.unit());
    if running.bytes > 0 {
        let _ = write!(text, ", {}", units::format_size(running.bytes));
    }
    let _ = write!(text, " in {seconds:.1} s");
    if running.bytes > 0 && seconds >= 0.1 {
        let rate = (running.bytes as f64 / seconds) as u64;
        let _ = write!(text, " ({}/s)", units::format_size(rate));
    }
    text
}

/// With a byte total: a bar, rate and time left. Without: counts and rate.
fn style(phase: Phase, total_files: u64, total_bytes: u64, files: Arc<AtomicU64>) -> ProgressStyle {
    let template = if total_bytes > 0 {
        "{msg} [{bar:30}] {files}, {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}, {eta} left"
    } else if phase == Phase::Thawing {
        "{spinner} {msg} {files}, {elapsed}"
    } else {
        "{spinner} {msg} {files}, {binary_bytes}, {elapsed}"
    };
    ProgressStyle::with_template(template)
        .expect("the template is a constant")
        .progress_chars("=> ")
        .with_key("files", move |_: &ProgressState, to: &mut dyn std::fmt::Write| {
            let done = files.load(Ordering::Relaxed);
            let _ = match total_files {
                0 => write!(to, "{done} {}", phase.unit()),
                _ => write!(to, "{done}/{total_files} {}", phase.unit()),
            };
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_beyond_those_shown() {
        let out = Output::new(Box::new(std::io::sink()), false, true, false);
        let progress = Progress::new(out, Detail::Quiet);
        for n in 0..SHOWN + 5 {
            let error = std::io::Error::other(format!("made up {n}"));
            progress.file_failed(Path::new("/nowhere"), "test", &error);
        }
        progress.finish();
        assert_eq!(progress.failed(), SHOWN + 5);
    }

    #[test]
    fn a_phase_is_told_in_one_line() {
        let running = Running {
            phase: Phase::Uploading,
            started: Stopwatch::start(),
            files: Arc::new(AtomicU64::new(3)),
            bytes: 0,
            bar: None,
        };
        assert_eq!(summary(&running), "uploading: 3 files in 0.0 s");
    }

    #[test]
    fn all_bar_templates_are_valid() {
        let files = Arc::new(AtomicU64::new(0));
        let _ = style(Phase::Thawing, 0, 0, Arc::clone(&files));
        let _ = style(Phase::Scanning, 0, 0, Arc::clone(&files));
        let _ = style(Phase::Recalling, 5, 10, files);
    }
}

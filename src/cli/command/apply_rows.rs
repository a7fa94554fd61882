//! The part of `hsm apply` that tells what became of each row, and counts.
//!
//! A row that is not done is named once, with the reason that was given on the
//! way where there was one. Where a guard did the work only the numbers of what
//! it refused are known here, and `hsm explain` says more.

use super::Outcome;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::output::{Name, Output};
use crate::cli::progress::Progress;
use crate::os::relpath::RelPath;
use crate::tier::apply::{Applied, Fate};
use crate::tier::plan_file::Row;
use crate::tier::run::RunStats;
use serde_json::json;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;

/// Says what became of single rows of one root, and counts those that are not
/// done by what kept them.
pub struct Ends<'a> {
    pub out: &'a Output,
    pub progress: &'a Progress,
    pub root: &'a Path,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    failed: u64,
    refused: u64,
    left: u64,
    /// The first line that could not be written.
    unwritten: Option<Error>,
}

impl<'a> Ends<'a> {
    pub fn new(out: &'a Output, progress: &'a Progress, root: &'a Path) -> Self {
        Self { out, progress, root, counts: Mutex::default() }
    }

    pub fn tell(&self, line: u64, row: &Row, fate: &Fate<'_>) {
        let path = row.path.to_path(self.root);
        let reason = self.progress.reason(&path);
        let mut counts = self.counts.lock().expect("no holder panics");
        let told = match (fate, reason) {
            (Fate::Passed, _) => {
                self.say(row.action.as_str(), None, line, &row.path, row.reason.clone())
            }
            (Fate::Skipped(refusal), _) => self.say(
                "skipped",
                Some(refusal.condition),
                line,
                &row.path,
                refusal.detail.clone(),
            ),
            // It was named when it failed.
            (Fate::NotDone { .. }, Some(reason)) if reason.failed => {
                counts.failed += 1;
                Ok(())
            }
            (Fate::NotDone { .. }, Some(reason)) => {
                counts.refused += 1;
                self.say("left", None, line, &row.path, reason.why)
            }
            (Fate::NotDone { limited: true, .. }, None) => {
                counts.left += 1;
                Ok(())
            }
            (Fate::NotDone { state, .. }, None) => {
                counts.refused += 1;
                let why = format!("it is {state}; hsm explain says why");
                self.say("left", None, line, &row.path, why)
            }
        };
        if let Err(error) = told {
            counts.unwritten.get_or_insert(error);
        }
    }

    fn say(
        &self,
        end: &str,
        condition: Option<&str>,
        line: u64,
        path: &RelPath,
        why: String,
    ) -> Result<(), Error> {
        let out = self.out;
        let full = path.to_path(self.root);
        let mut text = format!("{end:<8} line {line}: ").into_bytes();
        text.extend_from_slice(&out.shown(full.as_os_str().as_bytes()));
        text.extend_from_slice(format!(": {why}").as_bytes());
        out.line(text)?;
        out.record(&json!({
            "type": "row", "end": end, "condition": condition, "line": line,
            "path": Name::of(&full), "why": why,
        }))
    }

    /// An error where a line could not be written.
    pub fn shown(&self) -> Result<(), Error> {
        let unwritten = self.counts.lock().expect("no holder panics").unwritten.take();
        unwritten.map_or(Ok(()), Err)
    }
}

/// Of all roots.
#[derive(Default)]
pub struct Totals {
    rows: u64,
    pub done: u64,
    pub settled: u64,
    skipped: BTreeMap<&'static str, u64>,
    refused: u64,
    failed: u64,
    left: u64,
    uploaded_files: u64,
    sent_bytes: u64,
    stubbed_files: u64,
    freed_bytes: u64,
}

impl Totals {
    pub fn add(&mut self, stats: &RunStats, applied: &Applied, ends: &Ends<'_>) {
        let counts = ends.counts.lock().expect("no holder panics");
        self.rows += applied.rows;
        self.done += applied.done;
        self.settled += applied.settled;
        for (why, rows) in &applied.skipped {
            *self.skipped.entry(why).or_default() += rows;
        }
        self.refused += counts.refused;
        self.failed += counts.failed;
        self.left += counts.left;
        self.uploaded_files += stats.uploaded.files;
        self.sent_bytes += stats.uploaded.sent_bytes;
        self.stubbed_files += stats.stubbed.files;
        self.freed_bytes += stats.stubbed.freed_bytes;
    }

    pub fn skipped(&self) -> u64 {
        self.skipped.values().sum()
    }

    pub fn outcome(&self, out: &Output) -> Result<Outcome, Error> {
        if self.left > 0 {
            let left = self.left;
            out.remark(format!("{left} rows are left for another hsm apply of this plan"))?;
        }
        let not_done = self.skipped() + self.refused + self.failed;
        let exit = if not_done > 0 { Exit::SomeFailed } else { Exit::Done };
        Ok(Outcome::new(exit)
            .with("rows", self.rows)
            .with("done_rows", self.done)
            .with("settled_rows", self.settled)
            .with("skipped_rows", self.skipped())
            .with("skipped", &self.skipped)
            .with("refused_rows", self.refused)
            .with("failed_rows", self.failed)
            .with("left_rows", self.left)
            .with("uploaded_files", self.uploaded_files)
            .with("sent_bytes", self.sent_bytes)
            .with("stubbed_files", self.stubbed_files)
            .with("freed_bytes", self.freed_bytes))
    }
}

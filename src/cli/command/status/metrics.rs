//! A survey for a scraper: the file of `hsm status --metrics`.
//!
//! Everything is a gauge: the file says how things stand when it was written, and
//! `hsm_status_timestamp_seconds` when that was. A root has its path as a label.

use super::forecast::Reach;
use super::survey::{RootSurvey, Survey};
use super::thaws::Thaws;
use crate::cli::error::Error;
use crate::cli::output::escaped_path;
use crate::cli::whole_file::beside;
use crate::metrics::{Exposition, Kind, seconds};
use crate::policy::FileState;
use crate::tier::standing::{Amount, Standing};
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// What takes the name of the file at once: a scraper never reads half of it.
/// Everybody may read it, as the scraper is another user.
pub struct Target {
    file: NamedTempFile,
    path: PathBuf,
}

impl Target {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = std::path::absolute(path).map_err(Error::io("make absolute", path))?;
        // A name that no textfile collector takes for its own (*.prom).
        let file = beside(&path, ".hsm-metrics-", 0o644)?;
        Ok(Self { file, path })
    }
}

pub fn write(survey: &Survey, target: Target) -> Result<(), Error> {
    let Target { mut file, path } = target;
    let write = || {
        file.write_all(text(survey).as_bytes())?;
        // What the umask took away.
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(Error::io("write", &path))
}

/// The exposition.
pub fn text(survey: &Survey) -> String {
    let mut to = Exposition::new();
    let (name, help) = ("hsm_build_info", "The version of hsm that wrote this.");
    to.family(name, help, Kind::Gauge).sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let (name, help) = ("hsm_status_timestamp_seconds", "When this was written.");
    to.one(name, help, Kind::Gauge, seconds(survey.at_ns));
    if let Some((_, waiting)) = &survey.second {
        let (name, help) =
            ("hsm_second_copy_waiting_files", "Files that wait for their second copy.");
        to.one(name, help, Kind::Gauge, waiting.files as f64);
        let help = "Bytes of the files that wait for their second copy.";
        to.one("hsm_second_copy_waiting_bytes", help, Kind::Gauge, waiting.bytes as f64);
    }
    let labelled: Vec<(String, &RootSurvey)> =
        survey.roots.iter().map(|root| (escaped_path(&root.row.path), root)).collect();
    let roots = Roots(&labelled);
    states(&mut to, roots);
    space(&mut to, roots);
    wanted(&mut to, roots);
    forecasts(&mut to, roots);
    last_runs(&mut to, roots);
    weeks(&mut to, roots);
    thawed(&mut to, survey);
    recalls(&mut to, survey);
    to.into_text()
}

fn thawed(to: &mut Exposition, survey: &Survey) {
    let Thaws { pending, ready } = Thaws::of(survey);
    let mut one = |name, help, value| to.one(name, help, Kind::Gauge, value);
    let help = "Packs that an archive was asked for and has not brought.";
    one("hsm_thaws_pending", help, pending.len() as f64);
    let help = "Packs of which an archive has brought a copy.";
    one("hsm_thaws_ready", help, ready.len() as f64);
    one("hsm_thaws_waiting_files", "Stubs that wait for an archive.", survey.awaited_files as f64);
    let help = "Bytes of the stubs that wait for an archive.";
    one("hsm_thaws_waiting_bytes", help, survey.awaited_bytes as f64);
    let name = "hsm_thaws_oldest_pending_timestamp_seconds";
    let help = "Since when the pack is asked for that is on its way for the longest.";
    let oldest = pending.first().map(|thaw| seconds(thaw.asked_ns));
    to.family(name, help, Kind::Gauge).maybe(&[], oldest);
}

/// The roots, each with the text of its label.
#[derive(Clone, Copy)]
struct Roots<'a>(&'a [(String, &'a RootSurvey)]);

impl Roots<'_> {
    /// A family of one sample per root, where it has one.
    fn each(
        self,
        to: &mut Exposition,
        name: &'static str,
        help: &'static str,
        value: impl Fn(&RootSurvey) -> Option<f64>,
    ) {
        let mut family = to.family(name, help, Kind::Gauge);
        for (label, root) in self.0 {
            family.maybe(&[("root", label)], value(root));
        }
    }

    /// A family of several samples per root, told apart by `by`.
    fn many<'r>(
        &'r self,
        to: &mut Exposition,
        name: &'static str,
        help: &'static str,
        by: &str,
        values: impl Fn(&'r RootSurvey) -> Vec<(&'r str, f64)>,
    ) {
        let mut family = to.family(name, help, Kind::Gauge);
        for (label, root) in self.0 {
            for (word, value) in values(root) {
                family.sample(&[("root", label), (by, word)], value);
            }
        }
    }
}

fn states(to: &mut Exposition, roots: Roots<'_>) {
    let help = "Files by state; resident ones have no copy.";
    roots.many(to, "hsm_root_files", help, "state", |root| {
        every_state(root).map(|(state, files, _)| (state, files as f64)).collect()
    });
    let help = "Bytes of the files by state, of stubs what a recall brings back.";
    roots.many(to, "hsm_root_size_bytes", help, "state", |root| {
        every_state(root).map(|(state, _, bytes)| (state, bytes as f64)).collect()
    });
    let help = "When the last complete scan of the root began.";
    roots.each(to, "hsm_root_last_complete_scan_timestamp_seconds", help, |root| {
        root.row.last_complete_scan_ns.map(seconds)
    });
    let help = "Paths with a pin of their own.";
    roots.each(to, "hsm_root_pins", help, |root| Some(root.pins as f64));
    let help = "Files that a run left half-way; the next one recovers them.";
    roots.each(to, "hsm_root_unfinished_files", help, |root| Some(root.unfinished as f64));
    let help = "1 where the root is the file system that it was at hsm init.";
    roots.each(to, "hsm_root_present", help, |root| Some(f64::from(u8::from(root.is_same))));
}

/// A state that no file is in has its series, too: a rule that asks for it sees 0.
fn every_state(root: &RootSurvey) -> impl Iterator<Item = (&'static str, u64, u64)> {
    FileState::ALL.into_iter().map(|state| {
        let found = root.states.iter().find(|(known, ..)| *known == state.as_str());
        found.copied().unwrap_or((state.as_str(), 0, 0))
    })
}

fn space(to: &mut Exposition, roots: Roots<'_>) {
    let help = "What an ordinary user may still write on the root's file system.";
    roots.each(to, "hsm_root_available_bytes", help, |root| {
        root.space.map(|space| space.available_bytes as f64)
    });
    let help = "Used plus available bytes of the root's file system, as df counts.";
    roots.each(to, "hsm_root_usable_bytes", help, |root| {
        root.space.map(|space| space.usable_bytes as f64)
    });
    let help = "Used of usable, from 0 to 1.";
    roots.each(to, "hsm_root_used_ratio", help, |root| {
        root.space.map(|space| space.used_pct / 100.0)
    });
    let help = "The policy's watermarks, from 0 to 1.";
    roots.many(to, "hsm_root_watermark_ratio", help, "level", |root| {
        let marks = root.watermark.iter();
        marks
            .flat_map(|mark| [("low", mark.low_pct / 100.0), ("high", mark.high_pct / 100.0)])
            .collect()
    });
}

fn wanted(to: &mut Exposition, roots: Roots<'_>) {
    let of = |value: fn(&Standing) -> f64| move |root: &RootSurvey| root.wanted.as_ref().map(value);
    let help = "Files that a rule wants uploaded and that have no current copy.";
    let files = of(|wanted| wanted.unprotected.files as f64);
    roots.each(to, "hsm_root_unprotected_files", help, files);
    let help = "Bytes of the files that a rule wants uploaded and that have no current copy.";
    let bytes = of(|wanted| wanted.unprotected.bytes as f64);
    roots.each(to, "hsm_root_unprotected_bytes", help, bytes);
    let help = "The oldest mtime among the unprotected files.";
    roots.each(to, "hsm_root_oldest_unprotected_timestamp_seconds", help, |root| {
        root.wanted.as_ref()?.oldest_unprotected_ns.map(seconds)
    });
    let help = "Since when the longest waiting unprotected file is here in its present form.";
    roots.each(to, "hsm_root_unprotected_since_timestamp_seconds", help, |root| {
        root.wanted.as_ref()?.unprotected_since_ns.map(seconds)
    });
    let help = "Uploaded files with local data by what keeps them from being stubs.";
    roots.many(to, "hsm_root_kept_files", help, "reason", |root| {
        amounts(root, |wanted| &wanted.kept, |amount| amount.files)
    });
    let help = "Local bytes of uploaded files by what keeps them from being stubs.";
    roots.many(to, "hsm_root_kept_bytes", help, "reason", |root| {
        amounts(root, |wanted| &wanted.kept, |amount| amount.bytes)
    });
    let help = "Files that no rule wants uploaded by the reason.";
    roots.many(to, "hsm_root_left_files", help, "reason", |root| {
        amounts(root, |wanted| &wanted.left, |amount| amount.files)
    });
    let help = "Bytes of files that no rule wants uploaded by the reason.";
    roots.many(to, "hsm_root_left_bytes", help, "reason", |root| {
        amounts(root, |wanted| &wanted.left, |amount| amount.bytes)
    });
}

fn amounts(
    root: &RootSurvey,
    which: fn(&Standing) -> &BTreeMap<&'static str, Amount>,
    value: fn(&Amount) -> u64,
) -> Vec<(&'static str, f64)> {
    let counted = root.wanted.as_ref().map(which).into_iter().flatten();
    counted.map(|(why, amount)| (*why, value(amount) as f64)).collect()
}

fn forecasts(to: &mut Exposition, roots: Roots<'_>) {
    let help = "Growth of the root's file system between runs, over the last month.";
    roots.each(to, "hsm_root_growth_bytes_per_second", help, |root| {
        root.forecast.as_ref().map(|forecast| forecast.growth_bytes_per_day / 86_400.0)
    });
    let help =
        "In how long the root's file system reaches a level at this growth; 0 if it is there.";
    roots.many(to, "hsm_root_level_reached_in_seconds", help, "level", |root| {
        let levels = root.forecast.iter().flat_map(|forecast| &forecast.levels);
        levels
            .filter_map(|level| match level.reach {
                Reach::Passed => Some((level.name, 0.0)),
                Reach::Never => None,
                Reach::In(wait_ns) => Some((level.name, seconds(wait_ns))),
            })
            .collect()
    });
}

fn last_runs(to: &mut Exposition, roots: Roots<'_>) {
    let run = |value: fn(&super::runs::Run) -> Option<f64>| {
        move |root: &RootSurvey| root.last_run.as_ref().and_then(value)
    };
    let help = "When the last run on the root began.";
    let began = run(|run| Some(seconds(run.row.started_ns)));
    roots.each(to, "hsm_root_last_run_timestamp_seconds", help, began);
    let help = "How long the last run on the root took.";
    let took = run(|run| Some(run.took_ns() as f64 / 1e9));
    roots.each(to, "hsm_root_last_run_duration_seconds", help, took);
    let help = "The exit code of the last run on the root.";
    let exit = run(|run| run.exit().map(|exit| exit as f64));
    roots.each(to, "hsm_root_last_run_exit_code", help, exit);
    let help = "Files that failed in the last run on the root.";
    let failed = run(|run| Some(run.figure("failed_files") as f64));
    roots.each(to, "hsm_root_last_run_failed_files", help, failed);
    let help = "Files that the last run on the root uploaded.";
    let uploaded = run(|run| Some(run.figure("uploaded_files") as f64));
    roots.each(to, "hsm_root_last_run_uploaded_files", help, uploaded);
    let help = "Bytes that the last run on the root sent to the store.";
    let sent = run(|run| Some(run.figure("sent_bytes") as f64));
    roots.each(to, "hsm_root_last_run_sent_bytes", help, sent);
    let help = "Files that the last run on the root stubbed.";
    let stubbed = run(|run| Some(run.figure("stubbed_files") as f64));
    roots.each(to, "hsm_root_last_run_stubbed_files", help, stubbed);
    let help = "Bytes that the last run on the root freed.";
    let freed = run(|run| Some(run.figure("freed_bytes") as f64));
    roots.each(to, "hsm_root_last_run_freed_bytes", help, freed);
}

fn weeks(to: &mut Exposition, roots: Roots<'_>) {
    let help = "Runs on the root in the last 7 days.";
    roots.each(to, "hsm_root_week_runs", help, |root| Some(root.week.runs as f64));
    let help = "Runs on the root in the last 7 days that ended in an error.";
    roots.each(to, "hsm_root_week_failed_runs", help, |root| Some(root.week.failed_runs as f64));
    let help = "Bytes freed on the root in the last 7 days.";
    roots.each(to, "hsm_root_week_freed_bytes", help, |root| Some(root.week.freed_bytes as f64));
    let help = "Bytes sent from the root in the last 7 days.";
    roots.each(to, "hsm_root_week_sent_bytes", help, |root| Some(root.week.sent_bytes as f64));
}

fn recalls(to: &mut Exposition, survey: &Survey) {
    let sum = |of: fn(&crate::state::Recaller) -> u64| {
        survey.recallers.iter().map(of).sum::<u64>() as f64
    };
    let help = "Files recalled for programs in the last 7 days, as the guard has logged them.";
    to.one("hsm_week_recalled_files", help, Kind::Gauge, sum(|one| one.files));
    let help = "Bytes recalled for programs in the last 7 days, as the guard has logged them.";
    to.one("hsm_week_recalled_bytes", help, Kind::Gauge, sum(|one| one.bytes));
    let help = "Opens of stubs that were refused in the last 7 days.";
    to.one("hsm_week_refused_recalls", help, Kind::Gauge, sum(|one| one.denied));
}

//! The part of `hsm status` that says what an archive was asked for, since when, and
//! who waits for it.

use super::lines::{Line, Tone, since};
use super::survey::Survey;
use crate::cli::output::escaped;
use crate::site::archive;
use crate::state::ThawRow;
use crate::units::{format_size, format_time};
use serde_json::{Value, json};

/// What is on its way, and what has come.
pub struct Thaws {
    pub pending: Vec<ThawRow>,
    pub ready: Vec<ThawRow>,
}

impl Thaws {
    pub fn of(survey: &Survey) -> Self {
        let is_ready = |thaw: &ThawRow| thaw.is_ready(survey.at_ns);
        let (ready, pending) = survey.thaws.iter().cloned().partition(is_ready);
        Self { pending, ready }
    }
}

/// For people; nothing where nobody has asked.
pub fn lines(survey: &Survey) -> Vec<Line> {
    let Thaws { pending, ready } = Thaws::of(survey);
    if pending.is_empty() && survey.awaited_files == 0 {
        return vec![];
    }
    let mut lines = vec![Line::plain(""), Line::new("asked of the archive", Tone::Title)];
    if let Some(first) = pending.first() {
        let typical = archive::typical(&pending).unwrap_or("a while");
        lines.push(Line::plain(format!(
            "  {} packs on their way, the longest for {} ({}, {}; typically {typical}), asked by {}",
            pending.len(),
            since(first.asked_ns, survey.at_ns),
            first.class.as_deref().unwrap_or("archived"),
            first.order.tier,
            escaped(first.asked_by.as_bytes())
        )));
    }
    let unsent = pending.iter().filter(|thaw| !thaw.sent).count();
    if unsent > 0 {
        lines.push(Line::plain(format!(
            "  {unsent} of them are not known to have been taken by the store: hsm recall --pending \
             asks again"
        )));
    }
    if !ready.is_empty() {
        let expires = ready.iter().filter_map(|thaw| thaw.expires_ns).min();
        let until = expires.map(|at_ns| format!(", the first until {}", format_time(at_ns)));
        lines.push(Line::plain(format!(
            "  {} packs are ready{}",
            ready.len(),
            until.unwrap_or_default()
        )));
    }
    let (files, bytes) = (survey.awaited_files, format_size(survey.awaited_bytes));
    if files > 0 {
        lines.push(Line::plain(format!(
            "  {files} files wait ({bytes}): hsm recall --pending, or --wait"
        )));
    }
    lines
}

/// For programs.
pub fn records(survey: &Survey) -> impl Iterator<Item = Value> {
    survey.thaws.iter().map(|thaw| {
        json!({
            "type": "thaw", "pack": thaw.pack, "class": thaw.class, "tier": thaw.order.tier,
            "days": thaw.order.days, "asked_ns": thaw.asked_ns, "asked_by": thaw.asked_by,
            "taken_by_store": thaw.sent, "looked_ns": thaw.looked_ns,
            "ready": thaw.is_ready(survey.at_ns), "ready_ns": thaw.ready_ns,
            "expires_ns": thaw.expires_ns,
            "age_s": survey.at_ns.saturating_sub(thaw.asked_ns) / 1_000_000_000,
            "waiting_files": thaw.waiting_files, "waiting_bytes": thaw.waiting_bytes,
        })
    })
}

//! A survey for people, line by line: what `hsm status` prints, and what its live
//! view draws.

use super::forecast::{Forecast, Level, Reach};
use super::recallers;
use super::runs::{Run, Week};
use super::survey::{RootSurvey, Survey};
use super::thaws;
use crate::cli::output::{escaped, escaped_path};
use crate::os::space::FreeSpace;
use crate::tier::standing::{self, Amount};
use crate::units::{format_duration, format_size, format_time};
use std::time::Duration;

/// How a line wants to be seen, where there is a way to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    /// Begins a part.
    Title,
    /// Somebody should look at it.
    Warning,
    /// Something is wrong.
    Trouble,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    pub tone: Tone,
    /// Where it goes on, should it be broken.
    pub indent: usize,
}

impl Line {
    pub fn new(text: impl Into<String>, tone: Tone) -> Self {
        let text = text.into();
        let indent = text.chars().take_while(|letter| *letter == ' ').count() + 2;
        Self { text, tone, indent }
    }

    pub fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// Width of the words that say what a line is about.
const LABEL: usize = 11;

/// Everything. `bar` is the width of a drawing of each root's space, 0 for none.
pub fn lines(survey: &Survey, bar: usize) -> Vec<Line> {
    let mut lines = vec![Line::plain(format!("store  {}", survey.store))];
    if let Some((url, waiting)) = &survey.second {
        lines.push(Line::plain(format!("second {url}")));
        if waiting.files > 0 {
            let (files, bytes) = (waiting.files, format_size(waiting.bytes));
            let text = format!("  waiting     {files} files, {bytes}, for their second copy");
            lines.push(Line::new(text, Tone::Warning));
        }
    }
    for root in &survey.roots {
        lines.push(Line::plain(""));
        lines.push(Line::new(escaped_path(&root.row.path), Tone::Title));
        Lines { to: &mut lines, at_ns: survey.at_ns }.root(root, bar);
    }
    lines.extend(thaws::lines(survey));
    lines.extend(recallers::lines(survey));
    if !survey.runs.is_empty() {
        lines.extend([Line::plain(""), Line::new("latest runs", Tone::Title)]);
    }
    survey.runs.iter().for_each(|run| lines.extend(of_run(run)));
    lines
}

struct Lines<'a> {
    to: &'a mut Vec<Line>,
    at_ns: i64,
}

impl Lines<'_> {
    fn say(&mut self, what: &str, text: &str) {
        self.say_in(Tone::Plain, what, text);
    }

    fn say_in(&mut self, tone: Tone, what: &str, text: &str) {
        let text = format!("  {what:<LABEL$} {text}");
        self.to.push(Line { text, tone, indent: LABEL + 3 });
    }

    fn root(&mut self, root: &RootSurvey, bar: usize) {
        if !root.is_same {
            let text = "  is missing or another file system now: nothing is done there";
            self.to.push(Line::new(text, Tone::Trouble));
        }
        if let Some(space) = &root.space {
            self.space(root, space, bar);
        }
        let scanned = root.row.last_complete_scan_ns.map_or("never".to_owned(), |then_ns| {
            format!("{} ({} ago)", format_time(then_ns), since(then_ns, self.at_ns))
        });
        self.say("scanned", &format!("{scanned}, {} names", root.row.entries));
        for (state, files, bytes) in &root.states {
            self.say(state, &format!("{files} files, {}", format_size(*bytes)));
        }
        self.wanted(root);
        if root.pins > 0 {
            self.say("pins", &format!("{} (hsm pin --list)", root.pins));
        }
        if root.unfinished > 0 {
            let files = root.unfinished;
            let what = "files of a run that ended early; the next one recovers them";
            self.say_in(Tone::Warning, "unfinished", &format!("{files} {what}"));
        }
        self.week(&root.week);
    }

    fn space(&mut self, root: &RootSurvey, space: &FreeSpace, bar: usize) {
        let free = format_size(space.available_bytes);
        let mut text = format!("{:.1}% used, {free} free", space.used_pct);
        if let Some(mark) = &root.watermark {
            text.push_str(&format!(" (watermark {}% to {}%)", mark.high_pct, mark.low_pct));
        }
        // Between the two is where a file system is meant to be.
        let is_above = root.watermark.as_ref().is_some_and(|mark| space.used_pct >= mark.high_pct);
        let tone = if is_above { Tone::Warning } else { Tone::Plain };
        self.say_in(tone, "space", &text);
        if bar > 0 {
            let marks = root.watermark.as_ref().map(|mark| [mark.low_pct, mark.high_pct]);
            self.say_in(tone, "", &drawn(space.used_pct, marks.as_ref(), bar));
        }
        if root.is_same {
            let text = root.forecast.as_ref().map_or("not yet known".to_owned(), ahead);
            self.say("forecast", &text);
        }
    }

    fn wanted(&mut self, root: &RootSurvey) {
        let Some(wanted) = &root.wanted else { return };
        let oldest = wanted.oldest_unprotected_ns.zip(wanted.unprotected_since_ns);
        if let Some((oldest_ns, since_ns)) = oldest {
            self.say(
                "unprotected",
                &format!(
                    "{} have no copy yet, the oldest changed {} ago; one has waited {}",
                    amount(&wanted.unprotected),
                    since(oldest_ns, self.at_ns),
                    since(since_ns, self.at_ns)
                ),
            );
        }
        for (why, kept) in &wanted.kept {
            let text = match *why {
                standing::READY => "the next run stubs them".to_owned(),
                why => format!("kept local: {why}"),
            };
            self.say("uploaded", &format!("{}, {text}", amount(kept)));
        }
        for (why, left) in &wanted.left {
            self.say("left", &format!("{}, not uploaded: {why}", amount(left)));
        }
    }

    fn week(&mut self, week: &Week) {
        if week.runs == 0 {
            return;
        }
        let mut text = format!(
            "{} runs in 7 days: {} files uploaded ({} sent), {} stubbed ({} freed)",
            week.runs,
            week.uploaded_files,
            format_size(week.sent_bytes),
            week.stubbed_files,
            format_size(week.freed_bytes)
        );
        if week.failed_files > 0 {
            text.push_str(&format!(", {} files failed", week.failed_files));
        }
        if week.failed_runs > 0 {
            text.push_str(&format!(", {} runs ended in an error", week.failed_runs));
        }
        let is_bad = week.failed_files + week.failed_runs > 0;
        self.say_in(if is_bad { Tone::Warning } else { Tone::Plain }, "week", &text);
    }
}

fn amount(amount: &Amount) -> String {
    format!("{} files ({})", amount.files, format_size(amount.bytes))
}

fn ahead(forecast: &Forecast) -> String {
    let per_day = forecast.growth_bytes_per_day;
    let rate = format_size(per_day.abs() as u64);
    let grows = if per_day >= 0.0 { "grows" } else { "shrinks" };
    let levels = forecast.levels.iter().filter_map(reached).collect::<Vec<_>>();
    let levels = if levels.is_empty() { String::new() } else { format!(": {}", levels.join(", ")) };
    format!("{grows} {rate} a day{levels}")
}

fn reached(level: &Level) -> Option<String> {
    let what = match level.name {
        "full" => "full".to_owned(),
        name => format!("{}% ({name} watermark)", level.pct),
    };
    match level.reach {
        Reach::Passed if level.name == "low" => None,
        Reach::Passed => Some(format!("{what} now")),
        Reach::Never => None,
        Reach::In(wait_ns) => {
            Some(format!("{what} in {}", format_duration(Duration::from_nanos(wait_ns as u64))))
        }
    }
}

/// `[####|---|--]`: what is used, and where the watermark is.
fn drawn(used_pct: f64, marks: Option<&[f64; 2]>, width: usize) -> String {
    let at = |pct: f64| ((pct / 100.0 * width as f64) as usize).min(width.saturating_sub(1));
    let mut cells: Vec<char> =
        (0..width).map(|cell| if cell < at(used_pct) { '#' } else { '-' }).collect();
    for mark in marks.into_iter().flatten() {
        cells[at(*mark)] = '|';
    }
    format!("[{}]", cells.into_iter().collect::<String>())
}

fn of_run(run: &Run) -> Vec<Line> {
    let shown = run.exit().map_or("-".to_owned(), |code| format!("exit {code}"));
    let took = format_duration(Duration::from_nanos(run.took_ns()));
    let tone = match run.exit() {
        Some(0) => Tone::Plain,
        _ if run.error().is_some() => Tone::Trouble,
        _ => Tone::Warning,
    };
    let started = format_time(run.row.started_ns);
    let mut lines =
        vec![Line::new(format!("  {started}  {shown:<8} {took:>8}  {}", run.row.command), tone)];
    let (uploaded, stubbed) = (run.figure("uploaded_files"), run.figure("stubbed_files"));
    if uploaded + stubbed > 0 {
        let (sent, freed) = (run.figure("sent_bytes"), run.figure("freed_bytes"));
        lines.push(Line::plain(format!(
            "    {uploaded} files uploaded ({} sent), {stubbed} stubbed ({} freed)",
            format_size(sent),
            format_size(freed)
        )));
    }
    if run.figure("failed_files") > 0 {
        let failed = format!("    {} files failed", run.figure("failed_files"));
        lines.push(Line::new(failed, Tone::Warning));
    }
    let error = run.error().map(|error| format!("    {}", escaped(error.as_bytes())));
    lines.extend(error.map(|error| Line::new(error, Tone::Trouble)));
    let refused = run.refused();
    let left = refused.iter().map(|(why, files)| format!("    {files} files left alone: {why}"));
    lines.extend(left.map(Line::plain));
    lines
}

/// The time since, at least zero: a clock that was set back is not an age.
pub fn since(then_ns: i64, now_ns: i64) -> String {
    let elapsed_ns = u64::try_from(now_ns.saturating_sub(then_ns)).unwrap_or(0);
    format_duration(Duration::from_nanos(elapsed_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_in_the_future_is_no_time_ago() {
        assert_eq!(since(2_000_000_000, 1_000_000_000), since(5, 5));
    }

    #[test]
    fn the_space_is_drawn_with_its_marks() {
        assert_eq!(drawn(50.0, None, 10), "[#####-----]");
        assert_eq!(drawn(0.0, Some(&[75.0, 85.0]), 10), "[-------||-]");
        assert_eq!(drawn(100.0, Some(&[0.0, 100.0]), 10), "[|########|]");
    }

    #[test]
    fn a_forecast_is_told_in_one_line() {
        let day_ns = 24 * 3600 * 1_000_000_000;
        let level = |name, pct, reach| Level { name, pct, reach };
        let forecast = Forecast {
            growth_bytes_per_day: 12.0 * 1024.0 * 1024.0,
            levels: vec![
                level("low", 75.0, Reach::Passed),
                level("high", 85.0, Reach::In(9 * day_ns)),
                level("full", 100.0, Reach::In(40 * day_ns)),
            ],
        };
        assert_eq!(
            ahead(&forecast),
            "grows 12 MiB a day: 85% (high watermark) in 9 days, full in 40 days"
        );
        let shrinks = Forecast {
            growth_bytes_per_day: -2048.0,
            levels: vec![level("high", 85.0, Reach::Passed), level("full", 100.0, Reach::Never)],
        };
        assert_eq!(ahead(&shrinks), "shrinks 2 KiB a day: 85% (high watermark) now");
    }
}

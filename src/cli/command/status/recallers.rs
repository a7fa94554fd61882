//! The part of `hsm status` that says for whom stubs were recalled: a program
//! that reads everything (an indexer, a backup) undoes the tiering, and an
//! administrator should see its name. `hsm recalls` tells more.

use super::lines::{Line, Tone};
use super::survey::Survey;
use crate::cli::programs;
use crate::cli::table::{Align, Table};
use crate::state::Recaller;
use crate::units::format_size;

/// Programs that are named.
const SHOWN: usize = 5;

/// Those who had most recalled in the last week.
pub fn top(survey: &Survey) -> &[Recaller] {
    &survey.recallers[..survey.recallers.len().min(SHOWN)]
}

/// The same for people; nothing where nobody had.
pub fn lines(survey: &Survey) -> Vec<Line> {
    let top = top(survey);
    if top.is_empty() {
        return vec![];
    }
    let title = Line::new("recalled for programs in the last 7 days", Tone::Title);
    let mut lines = vec![Line::plain(""), title];
    let mut table = Table::new(&[Align::Right, Align::Right, Align::Left, Align::Left]);
    for recaller in top {
        table.row([
            format_size(recaller.bytes),
            format!("{} files", recaller.files),
            format!("uid {}", recaller.uid),
            programs::program(&recaller.who),
        ]);
    }
    lines.extend(table.lines("  ").into_iter().map(Line::plain));
    let refused = survey.refused_recalls();
    if refused > 0 {
        let text = format!("  {refused} opens were refused because a recall failed");
        lines.push(Line::new(text, Tone::Warning));
    }
    lines
}

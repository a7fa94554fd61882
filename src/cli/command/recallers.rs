//! The part of `hsm status` that says for whom stubs were recalled: a program
//! that reads everything (an indexer, a backup) undoes the tiering, and an
//! administrator should see its name. `hsm recalls` tells more.

use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::programs;
use crate::cli::table::{Align, Table};
use crate::state::{Recaller, StateDb};
use crate::units::format_size;
use serde_json::json;

const WEEK_NS: i64 = 7 * 24 * 3600 * 1_000_000_000;
/// Programs that are named.
const SHOWN: usize = 5;
/// Programs that are counted; a log of 100 000 recalls rarely has more.
const COUNTED: usize = 10_000;

/// Shows who had most recalled in the last week; nothing where nobody had.
/// Returns how many opens were refused then.
pub fn show(context: &Context, state: &StateDb) -> Result<u64, Error> {
    let since_ns = context.now_ns().saturating_sub(WEEK_NS);
    let recallers = state.top_recallers(since_ns, COUNTED)?;
    let refused = recallers.iter().map(|recaller| recaller.denied).sum();
    let top = &recallers[..recallers.len().min(SHOWN)];
    if !top.is_empty() {
        context.out.line("\nrecalled for programs in the last 7 days")?;
        table(top).print(&context.out, "  ")?;
    }
    if refused > 0 {
        context.out.line(format!("  {refused} opens were refused because a recall failed"))?;
    }
    for recaller in top {
        context.out.record(&json!({
            "type": "recaller", "program": recaller.who, "uid": recaller.uid,
            "files": recaller.files, "bytes": recaller.bytes, "refused": recaller.denied,
        }))?;
    }
    Ok(refused)
}

fn table(recallers: &[Recaller]) -> Table {
    let mut table = Table::new(&[Align::Right, Align::Right, Align::Left, Align::Left]);
    for recaller in recallers {
        table.row([
            format_size(recaller.bytes),
            format!("{} files", recaller.files),
            format!("uid {}", recaller.uid),
            programs::program(&recaller.who),
        ]);
    }
    table
}

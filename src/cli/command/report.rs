//! `hsm report`: the policy workbench, written as one page.

use super::Outcome;
use crate::cli::accounts::Accounts;
use crate::cli::args::PolicyFiles;
use crate::cli::context::{self, Context};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::locate;
use crate::cli::opened::chunking;
use crate::cli::output::{escaped, escaped_path};
use crate::cli::whole_file::WholeFile;
use crate::report::{Report, Sources, Spelling, page};
use crate::state::RootRow;
use clap::Args;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  hsm report --html report.html
  hsm report --html media.html --policy media.toml /srv/media
  hsm report --json | jq '.by.class'";

/// Write the policy workbench, a page to try policies out
///
/// One HTML file that needs no network and no server: sizes and idle ages of the
/// files, bytes by class, owner, extension and state, what programs recalled, and
/// sliders for idle age, least size and watermark that tell at once how many files
/// would go, what that frees and what it costs in a month; beside it the policy
/// that does it, to copy. What it counts is what `hsm plan` counts with that policy.
///
/// It is made of the state DB and the policy alone: run `hsm scan` first. It names
/// roots, classes, owners, extensions and programs, and no files; it is written
/// whole, to be read by you alone (mode 0600), and into no root.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ReportArgs {
    /// Only these roots [default: all roots]
    #[arg(value_name = "ROOT")]
    pub roots: Vec<PathBuf>,

    /// Write the page to FILE; - is standard output
    #[arg(long, value_name = "FILE", required_unless_present = "json")]
    pub html: Option<PathBuf>,

    #[command(flatten)]
    pub policy: PolicyFiles,
}

pub fn run(context: &Context, args: &ReportArgs) -> Result<Outcome, Error> {
    let to_stdout = args.html.as_ref().is_some_and(|file| file.as_os_str() == "-");
    if to_stdout && context.global.json {
        let what = "--html - and --json both want standard output";
        return Err(Error::Usage(what.to_owned()));
    }
    let config = context.config()?;
    let state = context.state_read_only(&config)?;
    let all = state.roots()?;
    let roots = chosen(&all, &args.roots)?;
    let target = match &args.html {
        Some(file) if !to_stdout => {
            let full = outside(&all, file)?;
            Some((WholeFile::open(context, &full)?, full))
        }
        _ => None,
    };
    let texts = context.policy_texts(&config, &args.policy)?;
    let policy = context::parse_policy(&texts)?;
    for root in roots.iter().filter(|root| root.last_complete_scan_ns.is_none()) {
        let path = escaped_path(&root.path);
        context.progress.warn(&format!("{path} was never scanned to the end; try: hsm scan"));
    }
    let state_path = context::state_file(&config.state_dir);
    let accounts = Accounts::read();
    let spelling = Spelling {
        shown: &|name| escaped(name),
        user: &|uid| accounts.user(uid).map(str::to_owned),
    };
    let tell = |what: &str| context.progress.warn(&format!("left out of the report: {what}"));
    let (exit, files, data) = accounts.with_names(|names| -> Result<_, Error> {
        let report = Report::take(Sources {
            state: &state,
            state_path: &state_path,
            roots: &roots,
            policy: &policy,
            policy_texts: &texts,
            names,
            chunking: chunking(&config),
            storage_class: config.store.storage_class.as_deref(),
            prices: &config.prices,
            now_ns: context.now_ns(),
            stop: &context.stop,
            tell: &tell,
        })?;
        let exit = if report.lacks_a_root() { Exit::SomeFailed } else { Exit::Done };
        Ok((exit, report.files(), report.data(&spelling)))
    })?;
    match target {
        Some((mut file, target)) => {
            file.write(page(&data).as_bytes())?;
            file.close()?;
            context.out.remark(format!("{files} files, {}", escaped_path(&target)))?;
        }
        None if to_stdout => context.out.raw(page(&data).as_bytes())?,
        None => {}
    }
    context.out.record(&record(data))?;
    Ok(Outcome::new(exit).with("roots", roots.len()).with("files", files))
}

/// Whole roots only: the sums of a part would be taken for a policy's.
fn chosen(all: &[RootRow], named: &[PathBuf]) -> Result<Vec<RootRow>, Error> {
    if all.is_empty() {
        return Err(Error::NotInitialised("no root is registered".into()));
    }
    let mut roots: Vec<RootRow> = vec![];
    for place in locate::places(all, named)? {
        if !place.path.is_root() {
            let path = escaped_path(&place.path.to_path(&place.root.path));
            let what = format!("{path} is no root but inside one");
            let hint = format!("hsm report of {}", escaped_path(&place.root.path));
            return Err(Error::refused(what, hint));
        }
        if roots.iter().all(|root| root.id != place.root.id) {
            roots.push(place.root);
        }
    }
    Ok(roots)
}

/// The file, resolved; refused inside a root, where it would be tiered itself and
/// be read by whoever reads there.
fn outside(roots: &[RootRow], file: &Path) -> Result<PathBuf, Error> {
    let full = locate::resolve(file)?;
    match roots.iter().find(|root| full.starts_with(&root.path)) {
        None => Ok(full),
        Some(root) => {
            let (file, root) = (escaped_path(&full), escaped_path(&root.path));
            let what = format!("{file} is inside the root {root}");
            Err(Error::refused(what, "a file outside every root"))
        }
    }
}

/// The data with its type first, as every record has it.
fn record(data: Value) -> Value {
    let mut record = Map::from_iter([("type".to_owned(), json!("report"))]);
    if let Value::Object(fields) = data {
        record.extend(fields);
    }
    Value::Object(record)
}

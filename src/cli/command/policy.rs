//! `hsm policy`: check and show the rules.

use super::Outcome;
use super::policy_fields::FIELDS;
use crate::cli::args::PolicyFiles;
use crate::cli::context::{self, Context};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::output::{Name, escaped, escaped_path};
use crate::cli::table::{Align, Table};
use crate::policy::PolicySet;
use crate::units::format_duration_exact;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm policy check policies/*.toml
  hsm policy show
  hsm policy fields";

/// Check and show policies
///
/// A policy is TOML: classes, rules of which the first that matches wins, how
/// many versions the store keeps, a watermark, limits. What no rule matches is
/// left alone.
///
/// These commands read policy files and nothing else.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub struct PolicyArgs {
    #[command(subcommand)]
    pub command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check policy files: every mistake with file, line and column
    ///
    /// Files named together are read as one policy, in order of their names.
    /// Without FILE it checks policies.d.
    Check {
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Show the rules in force, in the order they are tried
    Show {
        #[command(flatten)]
        policy: PolicyFiles,
    },
    /// List what a rule can ask and set
    Fields,
}

pub fn run(context: &Context, args: &PolicyArgs) -> Result<Outcome, Error> {
    match &args.command {
        PolicyCommand::Check { files } => check(context, files),
        PolicyCommand::Show { policy } => show(context, policy),
        PolicyCommand::Fields => fields(context),
    }
}

/// Every mistake is one line of the output asked for, and the exit code is 1.
fn check(context: &Context, files: &[PathBuf]) -> Result<Outcome, Error> {
    let files = match files {
        [] => context::policy_files(&context.policy_dir()?)?,
        named => named.to_vec(),
    };
    let errors = match context::load_policy(&files) {
        Ok(_) => Vec::new(),
        Err(Error::Policy(errors)) => errors,
        Err(other) => return Err(other),
    };
    for error in &errors {
        context.out.line(error.to_string())?;
        context.out.record(&json!({
            "type": "mistake", "file": &*error.file, "line": error.line, "column": error.column,
            "what": error.what, "mend": error.mend,
        }))?;
    }
    if errors.is_empty() {
        let names: Vec<String> = files.iter().map(|file| escaped_path(file)).collect();
        match names.as_slice() {
            [] => context.out.remark("no policy files: nothing is ever tiered")?,
            names => context.out.remark(format!("good: {}", names.join(", ")))?,
        }
    }
    let exit = if errors.is_empty() { Exit::Done } else { Exit::Failed };
    Ok(Outcome::new(exit).with("files", files.len()).with("mistakes", errors.len()))
}

fn show(context: &Context, named: &PolicyFiles) -> Result<Outcome, Error> {
    let files = match named.files.as_slice() {
        [] => context::policy_files(&context.policy_dir()?)?,
        named => named.to_vec(),
    };
    let set = context::load_policy(&files)?;
    for file in &files {
        context.out.line(format!("# {}", escaped_path(file)))?;
        context.out.record(&json!({ "type": "file", "path": Name::of(file) }))?;
    }
    let mut table = Table::new(&[Align::Right, Align::Left, Align::Left, Align::Left]);
    for (nth, rule) in set.rules().iter().enumerate() {
        let (order, action) = (format!("{}.", nth + 1), rule.action.as_str());
        let class = rule.storage_class.clone().unwrap_or_default();
        table.row([order, action.to_owned(), rule.name.clone(), class]);
        context.out.record(&json!({
            "type": "rule", "order": nth + 1, "name": rule.name, "action": action,
            "storage_class": rule.storage_class, "copies": rule.copies.count(),
        }))?;
    }
    table.print(&context.out, "")?;
    if set.rules().is_empty() {
        context.out.line("no rules: nothing is ever tiered")?;
    }
    show_retentions(context, &set)?;
    if let Some(mark) = set.watermark() {
        let (high, low) = (mark.high_pct, mark.low_pct);
        context.out.line(format!("above {high}% full, age limits are waived until {low}%"))?;
    }
    context.out.line(match set.unguarded() {
        true => "stubs may exist without a guard (unguarded = true): then they read as zeros",
        false => "stubs need a guard (unguarded = false)",
    })?;
    Ok(Outcome::done()
        .with("files", files.len())
        .with("rules", set.rules().len())
        .with("retentions", set.retentions().len())
        .with("unguarded", set.unguarded()))
}

fn show_retentions(context: &Context, set: &PolicySet) -> Result<(), Error> {
    for (nth, retention) in set.retentions().iter().enumerate() {
        let name = escaped(retention.name.as_bytes());
        let kept_for = format_duration_exact(retention.keep_for);
        let versions = retention.keep_versions;
        context.out.line(format!("keep {versions} versions, and all for {kept_for}: {name}"))?;
        context.out.record(&json!({
            "type": "retention", "order": nth + 1, "name": retention.name,
            "keep_versions": versions, "keep_for_seconds": retention.keep_for.as_secs(),
        }))?;
    }
    Ok(())
}

fn fields(context: &Context) -> Result<Outcome, Error> {
    let width = FIELDS.iter().map(|field| field.example.len()).max().unwrap_or(0);
    let mut place = "";
    for field in FIELDS {
        if field.place != place {
            place = field.place;
            context.out.line(format!("{place}:"))?;
        }
        context.out.line(format!("  {:<width$}  {}", field.example, field.about))?;
        context.out.record(&json!({
            "type": "field", "place": field.place, "example": field.example,
            "about": field.about,
        }))?;
    }
    Ok(Outcome::done().with("fields", FIELDS.len()))
}

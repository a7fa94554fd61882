//! `hsm init`: config, state DB, store descriptor, roots.
//!
//! [`checks`] looks and decides, [`execute`] writes. Every step of the writing
//! is made so that a run that dies half-way is finished by the same command
//! again: the key is durable before the descriptor that needs it, the
//! descriptor before the state DB that names its id, and the config comes last,
//! because it is what the other commands look for.

mod checks;
mod config_file;
mod execute;
mod paths;
mod second;

use super::Outcome;
use crate::cli::args::DryRun;
use crate::cli::context::{self, Context};
use crate::cli::error::Error;
use crate::cli::output::{Name, escaped_path};
use checks::Plan;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm init --store s3://bucket/server1 /srv/media /srv/projects
  hsm init --store file:///mnt/nas/hsm --encrypt /srv/media
  hsm init --store swift://cold/server1 --endpoint https://keystone:5000/v3 /srv/media
  hsm init /srv/another    # one more root for the same store
  hsm init --second-store file:///mnt/other/hsm    # for rules with copies = 2";

/// Set up a store and the trees to manage
///
/// Writes a commented configuration, creates the state DB, makes the store or
/// joins one that is there, tries out what the store can be trusted to do, and
/// records each root with the file system it is on. Run it again to add roots.
///
/// It changes nothing inside a root and moves no data. It refuses a root that
/// is missing, is /, or overlaps another root, the state directory or the store.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct InitArgs {
    /// Directories to manage
    #[arg(value_name = "ROOT", required_unless_present = "second_store")]
    pub roots: Vec<PathBuf>,

    /// Where copies go: file:///DIR, s3://BUCKET/PREFIX or swift://CONTAINER/PREFIX
    ///
    /// docs/STORES.md has the others, and where each one's credentials come from:
    /// the environment or files, never this command line.
    ///
    /// Without it: a directory in the state directory, good for a first try
    /// only, because it frees no space on this server.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,

    /// Where the second copies go that rules with copies = 2 ask for
    ///
    /// Makes it, or goes on with the one that is there, and writes it into the
    /// configuration. What else there is to say of an S3 store stands there: put
    /// [second_store] into it first. docs/SECOND-STORE.md has the rest.
    #[arg(long, value_name = "URL")]
    pub second_store: Option<String>,

    /// The second store is empty because it was lost: begin it anew
    #[arg(long, requires = "second_store")]
    pub anew: bool,

    /// Encrypt everything in the store with a key file
    ///
    /// The key file is made unless it exists, readable by its owner only.
    /// Without it nobody can ever read the store again.
    #[arg(long)]
    pub encrypt: bool,

    /// The key file to make or, for a store that is there, its key
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,

    /// Another S3 server than AWS; for Swift, where to log in
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,

    /// The region of an S3 or Swift store
    #[arg(long)]
    pub region: Option<String>,

    /// Put the bucket in the path, not in the host name
    #[arg(long)]
    pub path_style: bool,

    /// Keep the state DB here [default: /var/lib/hsm, or the XDG state directory]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    #[command(flatten)]
    pub dry_run: DryRun,
}

pub fn run(context: &Context, args: &InitArgs) -> Result<Outcome, Error> {
    let plan = checks::plan(context, args)?;
    if args.dry_run.dry_run {
        show_plan(context, &plan)?;
        return Ok(summary(&plan).with("dry_run", true));
    }
    let _lock = execute::lock(&plan)?;
    // Looked at again: another run may have added roots before the lock.
    let plan = checks::plan(context, args)?;
    let done = execute::execute(context, &plan)?;
    let out = &context.out;
    let joined = if done.made_store { "made" } else { "joined" };
    out.remark(format!("store   {} ({joined}, {})", plan.store.url, done.store_id))?;
    if let (Some(second), Some(made)) = (&plan.second, done.made_second) {
        let joined = if made { "made" } else { "joined" };
        out.remark(format!("second  {} ({joined})", second.section.url))?;
    }
    for root in &plan.new_roots {
        out.remark(format!("root    {}", escaped_path(&root.path)))?;
        out.record(&json!({
            "type": "root", "path": Name::of(&root.path), "identity": root.identity,
        }))?;
    }
    for root in &plan.known_roots {
        out.remark(format!("root    {} (was one already)", escaped_path(root)))?;
    }
    out.remark(format!("config  {}", escaped_path(&plan.config_file)))?;
    if let (true, Some(key)) = (done.made_key, &plan.key_file) {
        context.progress.warn(&key_warning(&escaped_path(key)));
    }
    out.remark(next_step(&plan)?)?;
    Ok(summary(&plan)
        .with("store_id", done.store_id)
        .with("node_id", done.node_id)
        .with("made_store", done.made_store))
}

fn summary(plan: &Plan) -> Outcome {
    Outcome::done()
        .with("store", &plan.store.url)
        .with("config", Name::of(&plan.config_file))
        .with("new_roots", plan.new_roots.len())
        .with("known_roots", plan.known_roots.len())
}

fn show_plan(context: &Context, plan: &Plan) -> Result<(), Error> {
    let out = &context.out;
    let verb = if plan.written.is_some() { "keep" } else { "write" };
    out.line(format!("would {verb} the configuration {}", escaped_path(&plan.config_file)))?;
    out.line(format!("would use the store {}", plan.store.url))?;
    if let Some(second) = &plan.second {
        out.line(format!("would use the second store {}", second.section.url))?;
    }
    if let Some(key) = plan.key_file.as_ref().filter(|_| plan.make_key) {
        out.line(format!("would make the key file {}", escaped_path(key)))?;
    }
    out.line(format!("would keep the state in {}", escaped_path(&plan.state_dir)))?;
    for root in &plan.new_roots {
        out.line(format!("would add the root {}", escaped_path(&root.path)))?;
        out.record(&json!({ "type": "root", "path": Name::of(&root.path) }))?;
    }
    Ok(())
}

fn key_warning(key: &str) -> String {
    format!(
        "THE KEY IS {key}\n\
         Everything in the store is encrypted with it. Whoever loses it loses every file\n\
         that is only in the store, for ever; no one can help. Copy it to a safe place\n\
         away from this server and from the store, now."
    )
}

fn next_step(plan: &Plan) -> Result<String, Error> {
    let policies = context::policy_files(&plan.policy_dir)?;
    Ok(match policies.as_slice() {
        [] => {
            let dir = escaped_path(&plan.policy_dir);
            format!(
                "next: put rules into {dir} (see hsm policy fields), then: hsm scan && hsm plan"
            )
        }
        _ => "next: hsm scan && hsm plan".to_owned(),
    })
}

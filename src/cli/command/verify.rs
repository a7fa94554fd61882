//! `hsm verify`: is every copy that the state DB names really there?

use super::Outcome;
use crate::cli::args::DryRun;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::locate;
use crate::cli::opened::{Catalog, StorePlace, chunking, with_site, with_store};
use crate::cli::output::{Name, escaped_path};
use crate::state::RootRow;
use crate::tier::repair;
use crate::tier::rescan::open_root;
use crate::units::{self, format_size};
use crate::verify::{self, Options, Problem, Sample, VerifyStats};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm verify
  hsm verify --data --sample 5%
  hsm verify --data --repair /srv/media
Exit code 4 means that problems were found; each is named.";

/// Check the store against the files
///
/// Lists the store and compares it with what should be there, in both
/// directions: stubs without their objects, objects without an owner; and it lists
/// stubs that nobody manages, such as those of a backup (hsm adopt). With --data it
/// reads and re-hashes the objects, those checked longest ago first.
///
/// It never touches a file or an object. A bad copy is recorded as damaged, so
/// that nothing relies on it again (not with --dry-run), and what is lost is
/// said bluntly; --repair uploads again where the local bytes are still there, and
/// mends what the second store has.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct VerifyArgs {
    /// Roots, directories or files [default: everything]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Read the objects and re-hash them
    #[arg(long)]
    pub data: bool,

    /// Read only this share (5%) or this much (100GiB), oldest check first
    #[arg(long, value_name = "PCT|SIZE", requires = "data")]
    pub sample: Option<String>,

    /// Upload again where the copy is bad and the local bytes are good, and put the
    /// second copy where the first is bad
    #[arg(long)]
    pub repair: bool,

    /// Check this store without a configuration
    #[arg(long, value_name = "URL", conflicts_with_all = ["repair", "paths"])]
    pub store: Option<String>,

    /// The key file of an encrypted --store
    #[arg(long, value_name = "FILE", requires = "store")]
    pub key_file: Option<PathBuf>,

    #[command(flatten)]
    pub dry_run: DryRun,
}

pub fn run(context: &Context, args: &VerifyArgs) -> Result<Outcome, Error> {
    let data = sample(args)?;
    if let Some(url) = &args.store {
        return store_alone(context, url, args.key_file.as_deref(), data);
    }
    let config = context.config()?;
    let roots = context.state_read_only(&config)?.roots()?;
    let places = locate::existing_places(&roots, &args.paths)?;
    let locked: Vec<RootRow> = places.iter().map(|place| place.root.clone()).collect();
    let mut totals = VerifyStats::default();
    let mut broken = None;
    let catalog = if args.repair { Catalog::Written } else { Catalog::Untouched };
    with_site(context, &config, &locked, catalog, |site| {
        let mut found = |problem: &Problem| {
            if broken.is_none() {
                broken = tell(context, problem).err();
            }
        };
        let mut repairs = vec![];
        let scopes = match args.paths.is_empty() {
            true => vec![None],
            false => places.iter().map(|p| Some((p.root.id, p.path.clone()))).collect(),
        };
        for under in scopes {
            let mut opened = vec![];
            for row in &locked {
                if under.as_ref().is_none_or(|(id, _)| *id == row.id) {
                    opened.push((row.clone(), open_root(row)?));
                }
            }
            let options =
                Options { data, under, dry_run: args.dry_run.dry_run, repair: args.repair };
            let stats = verify::run(site, &opened, &options, &mut |problem| {
                if let Problem::Repairable { root, inside, .. } = problem {
                    repairs.push((*root, inside.clone()));
                }
                found(problem);
            })?;
            totals.add(&stats);
        }
        if args.repair && !args.dry_run.dry_run {
            totals.repaired_files = repair::run(site, &locked, &repairs, chunking(&config))?;
        }
        Ok(())
    })?;
    if let Some(error) = broken {
        return Err(error);
    }
    conclude(context, &totals)
}

fn sample(args: &VerifyArgs) -> Result<Option<Sample>, Error> {
    let Some(text) = &args.sample else { return Ok(args.data.then_some(Sample::All)) };
    let parsed = match text.ends_with('%') {
        true => units::parse_percent(text).map(Sample::Pct),
        false => units::parse_size(text).map(Sample::Bytes),
    };
    parsed.map(Some).map_err(|error| Error::Usage(format!("--sample: {error}")))
}

fn tell(context: &Context, problem: &Problem) -> Result<(), Error> {
    let text = match problem {
        Problem::PackMissing { pack } => format!("missing   pack {pack} is not in the store"),
        Problem::PackSize { pack, expected_bytes, found_bytes } => {
            format!("damaged   pack {pack} has {found_bytes} bytes, not {expected_bytes}")
        }
        Problem::PackUnreadable { pack, why } => format!("damaged   pack {pack}: {why}"),
        Problem::ChunkDamaged { pack, chunk, why } => {
            format!("damaged   chunk {chunk} of pack {pack}: {why}")
        }
        Problem::SecondCopy { pack, why } => {
            format!(
                "second    the second copy of pack {pack} is bad: {why}; hsm upload makes it anew"
            )
        }
        Problem::SecondAway { why } => format!("second    the second store is away: {why}"),
        Problem::Lost { path, size_bytes, why, .. } => format!(
            "LOST      {} ({}): its bytes are not local and its copy is bad: {why}",
            escaped_path(path),
            format_size(*size_bytes)
        ),
        Problem::Repairable { path, why, .. } => {
            format!("bad copy  {} (its bytes are local): {why}", escaped_path(path))
        }
        Problem::Log { key, why: None } => {
            format!("log       {key} is missing; try: hsm rebuild --force")
        }
        Problem::Log { key, why: Some(why) } => {
            format!("log       {key} is damaged: {why}; try: hsm rebuild --dry-run --force")
        }
        Problem::NotTheStub { path, why } => format!("stub      {}: {why}", escaped_path(path)),
        Problem::Stray { path, why } => {
            format!("stray     {}: {why}; hsm adopt is for it", escaped_path(path))
        }
    };
    context.out.line(text)?;
    context.out.record(&record(problem))
}

fn record(problem: &Problem) -> serde_json::Value {
    match problem {
        Problem::PackMissing { pack } => {
            json!({ "type": "problem", "kind": "pack-missing", "pack": pack })
        }
        Problem::PackSize { pack, expected_bytes, found_bytes } => json!({
            "type": "problem", "kind": "pack-size", "pack": pack,
            "expected_bytes": expected_bytes, "found_bytes": found_bytes,
        }),
        Problem::PackUnreadable { pack, why } => {
            json!({ "type": "problem", "kind": "pack-unreadable", "pack": pack, "why": why })
        }
        Problem::ChunkDamaged { pack, chunk, why } => json!({
            "type": "problem", "kind": "chunk-damaged", "pack": pack, "chunk": chunk, "why": why,
        }),
        Problem::SecondCopy { pack, why } => json!({
            "type": "problem", "kind": "second-copy", "pack": pack, "why": why,
        }),
        Problem::SecondAway { why } => {
            json!({ "type": "problem", "kind": "second-store-away", "why": why })
        }
        Problem::Lost { path, size_bytes, content, why } => json!({
            "type": "problem", "kind": "lost", "path": Name::of(path),
            "size_bytes": size_bytes, "content": content, "why": why,
        }),
        Problem::Repairable { path, size_bytes, why, .. } => json!({
            "type": "problem", "kind": "bad-copy", "path": Name::of(path),
            "size_bytes": size_bytes, "why": why,
        }),
        Problem::Log { key, why } => json!({
            "type": "problem", "kind": if why.is_some() { "log-damaged" } else { "log-missing" },
            "object": key.as_str(), "why": why,
        }),
        Problem::Stray { path, why } => json!({
            "type": "problem", "kind": "stray-stub", "path": Name::of(path), "why": why,
        }),
        Problem::NotTheStub { path, why } => json!({
            "type": "problem", "kind": "not-the-stub", "path": Name::of(path), "why": why,
        }),
    }
}

fn conclude(context: &Context, totals: &VerifyStats) -> Result<Outcome, Error> {
    context.out.remark(format!(
        "{} packs, {} read ({}), {} files checked: {} problems",
        totals.packs,
        totals.packs_read,
        format_size(totals.bytes_read),
        totals.files,
        totals.problems
    ))?;
    if totals.archived_packs > 0 {
        context.out.remark(format!(
            "{} packs are in an archive class and were not read; they are there, with the size \
             that they should have",
            totals.archived_packs
        ))?;
    }
    if totals.unowned_objects > 0 {
        context.out.remark(format!(
            "{} packs ({}) are named by no catalog: left by runs that ended early",
            totals.unowned_objects,
            format_size(totals.unowned_bytes)
        ))?;
    }
    if totals.lost_files > 0 {
        let size = format_size(totals.lost_bytes);
        context.out.remark(format!("{} files ({size}) are lost", totals.lost_files))?;
    }
    if totals.mended_packs > 0 {
        let packs = totals.mended_packs;
        context.out.remark(format!("{packs} packs were put again from the second store"))?;
    }
    let repairable = totals.repairable_files - totals.repaired_files.min(totals.repairable_files);
    if totals.repaired_files > 0 {
        context.out.remark(format!("{} files were uploaded again", totals.repaired_files))?;
    } else if repairable > 0 {
        context.out.remark(format!("{repairable} files can be repaired: hsm verify --repair"))?;
    }
    let exit = if totals.problems > 0 { Exit::Problems } else { Exit::Done };
    Ok(Outcome::new(exit)
        .with("packs", totals.packs)
        .with("packs_read", totals.packs_read)
        .with("bytes_read", totals.bytes_read)
        .with("archived_packs", totals.archived_packs)
        .with("files", totals.files)
        .with("stubs", totals.stubs)
        .with("problems", totals.problems)
        .with("lost_files", totals.lost_files)
        .with("lost_bytes", totals.lost_bytes)
        .with("repairable_files", totals.repairable_files)
        .with("repaired_files", totals.repaired_files)
        .with("mended_packs", totals.mended_packs)
        .with("unowned_objects", totals.unowned_objects)
        .with("unchecked_files", totals.unchecked)
        .with("stray_stubs", totals.stray_stubs))
}

/// A store without the server it came from: every catalog against every pack.
fn store_alone(
    context: &Context,
    url: &str,
    key_file: Option<&std::path::Path>,
    data: Option<Sample>,
) -> Result<Outcome, Error> {
    let mut broken = None;
    let place = StorePlace { url, key: key_file, ..StorePlace::default() };
    let totals = with_store(context, place, |store, protection, store_id| {
        Ok(verify::store_alone(store, protection, store_id, data, &context.stop, &mut |problem| {
            if broken.is_none() {
                broken = tell(context, problem).err();
            }
        })?)
    })?;
    broken.map_or(Ok(()), Err)?;
    conclude(context, &totals)
}

//! `hsm gc`: delete from the store what nobody needs any more.

use super::Outcome;
use crate::catalog::NodeRow;
use crate::cli::args::{DryRun, PolicyFiles};
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::opened::{Catalog, StorePlace, with_reading_site, with_site};
use crate::cli::output::escaped;
use crate::config::GcSection;
use crate::gc::{self, Collected, Options, PendingPlan, Preview, Round, Swept, Waiting};
use crate::policy::PolicySet;
use crate::state::RunRow;
use crate::tier::recover;
use crate::units::{self, format_size, format_time};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm gc --dry-run
  hsm gc
  hsm gc --confirm 73%";

/// Delete from the store what nobody needs any more
///
/// A version that was replaced or deleted is needed until the grace and the
/// retention of the policy are over. What no version, no snapshot and no other
/// server needs is condemned, and packs that are mostly dead are written anew. A
/// later run, a day after by default, looks again and deletes what is still not
/// needed: never the same run. Run it daily on every server of the store; it is safe
/// beside uploads and other collections, here and elsewhere.
///
/// It deletes nothing while anything is in doubt: a root that is missing, empty or
/// not scanned to the end lately, a log that cannot be read, a server that was at
/// work and has not been heard of since. A run that would take an unusual share of
/// the store stops and tells the share; --confirm with that share lets it go on.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct GcArgs {
    /// Go on although so much of the store would be deleted
    #[arg(long, value_name = "SHARE%")]
    pub confirm: Option<String>,

    /// Look at this store without a configuration
    #[arg(long, value_name = "URL", requires = "dry_run")]
    pub store: Option<String>,

    /// The key file of an encrypted --store
    #[arg(long, value_name = "FILE", requires = "store")]
    pub key_file: Option<PathBuf>,

    #[command(flatten)]
    pub policy: PolicyFiles,

    #[command(flatten)]
    pub dry_run: DryRun,
}

pub fn run(context: &Context, args: &GcArgs) -> Result<Outcome, Error> {
    let confirmed_pct = args
        .confirm
        .as_deref()
        .map(units::parse_percent)
        .transpose()
        .map_err(|error| Error::Usage(format!("--confirm: {error}")))?;
    if let Some(url) = &args.store {
        let place = StorePlace { url, key: args.key_file.as_deref(), ..StorePlace::default() };
        let (section, policy) = (GcSection::default(), PolicySet::default());
        let options = Options { section: &section, policy: &policy, confirmed_pct };
        let found =
            with_reading_site(context, Some(place), |site| Ok(gc::preview(site, &options)?))?;
        return foretell(context, &found, &options);
    }
    let config = context.config()?;
    let policy = context.policy(&config, &args.policy)?;
    let options = Options { section: &config.gc, policy: &policy, confirmed_pct };
    if args.dry_run.dry_run {
        let found = with_reading_site(context, None, |site| Ok(gc::preview(site, &options)?))?;
        return foretell(context, &found, &options);
    }
    let collected = with_site(context, &config, &[], Catalog::Written, |site| {
        recover::recover_store(site)?;
        let started_ns = site.clock.now_ns();
        let ended = gc::run(site, &options);
        let outcome = match &ended {
            Ok(collected) => figures(Outcome::done(), collected).summary.into(),
            Err(error) => json!({ "exit": 1, "error": error.to_string() }),
        };
        site.state.record_run(&RunRow {
            command: "gc".to_owned(),
            root: None,
            started_ns,
            finished_ns: site.clock.now_ns(),
            outcome: outcome.to_string(),
            usage: None,
        })?;
        Ok(ended?)
    })?;
    tell(context, &collected, &options)?;
    Ok(figures(Outcome::done(), &collected))
}

fn tell(context: &Context, collected: &Collected, options: &Options<'_>) -> Result<(), Error> {
    if let Some(swept) = &collected.swept {
        tell_swept(context, swept)?;
    }
    if let Some(waiting) = &collected.waiting {
        tell_waiting(context, waiting)?;
    }
    if collected.left_over_bytes > 0 {
        let size = format_size(collected.left_over_bytes);
        context.out.remark(format!("{size} that a run before had given up are deleted"))?;
    }
    if collected.second_bytes > 0 {
        let size = format_size(collected.second_bytes);
        context.out.remark(format!("{size} are deleted from the second store"))?;
    }
    match &collected.round {
        Some(round) => tell_round(context, round, options),
        None => Ok(()),
    }
}

fn tell_swept(context: &Context, swept: &Swept) -> Result<(), Error> {
    let Swept { generation, deleted_packs, spared_packs, .. } = swept;
    let size = format_size(swept.deleted_bytes);
    context.out.remark(format!(
        "plan {generation} ended: {deleted_packs} packs deleted ({size}), {spared_packs} needed \
         after all"
    ))?;
    warn_of_lost(context, swept.lost_chunks);
    context.out.record(&json!({
        "type": "swept", "generation": generation, "deleted_packs": deleted_packs,
        "deleted_bytes": swept.deleted_bytes, "spared_packs": spared_packs,
        "lost_chunks": swept.lost_chunks,
    }))
}

fn tell_waiting(context: &Context, waiting: &Waiting) -> Result<(), Error> {
    match waiting {
        Waiting::Settling { generation, until_ns } => {
            let until = format_time(*until_ns);
            context.out.remark(format!("plan {generation} is deleted by a run after {until}"))?;
            context.out.record(&json!({
                "type": "waiting", "generation": generation, "until": until,
            }))
        }
        Waiting::Nodes { generation, nodes } => {
            for row in nodes {
                let host = row.host.as_deref().map_or("of unknown host".to_owned(), |host| {
                    format!("on {}", escaped(host.as_bytes()))
                });
                let (node, last) = (row.node, format_time(row.written_ns));
                context.progress.warn(&format!(
                    "plan {generation} waits for node {node} {host}, which last wrote at {last} \
                     and has not ended its run; try: hsm upload there; if that server is lost for \
                     good: hsm nodes retire {node}"
                ));
                context.out.record(&waits_for(*generation, row))?;
            }
            Ok(())
        }
    }
}

fn waits_for(generation: u64, row: &NodeRow) -> serde_json::Value {
    json!({
        "type": "waiting", "generation": generation, "node": row.node, "host": row.host,
        "last_written": format_time(row.written_ns),
    })
}

fn tell_round(context: &Context, round: &Round, options: &Options<'_>) -> Result<(), Error> {
    warn_of_lost(context, round.lost_chunks);
    let mut said = vec![format!("{} versions expired", round.expired_versions)];
    if round.repacked_packs > 0 {
        let size = format_size(round.carried_bytes);
        said.push(format!("{} packs written anew ({size})", round.repacked_packs));
    }
    said.push(match round.generation {
        Some(generation) => format!(
            "{} packs condemned ({}, {:.1}% of the store) as plan {generation}, which a run in {} \
             ends",
            round.condemned_packs,
            format_size(round.condemned_bytes),
            round.share_pct,
            units::format_duration(options.section.settle)
        ),
        None if round.outrun => "another server was faster with a plan".to_owned(),
        None => "nothing to delete".to_owned(),
    });
    context.out.remark(said.join(", "))?;
    context.out.record(&json!({
        "type": "round", "expired_versions": round.expired_versions,
        "repacked_packs": round.repacked_packs, "carried_bytes": round.carried_bytes,
        "generation": round.generation, "condemned_packs": round.condemned_packs,
        "condemned_bytes": round.condemned_bytes, "share_pct": round.share_pct,
        "outrun": round.outrun, "lost_chunks": round.lost_chunks,
    }))
}

fn warn_of_lost(context: &Context, lost_chunks: u64) {
    if lost_chunks > 0 {
        context.progress.warn(&format!(
            "{lost_chunks} chunks that are needed are in no pack of the store; try: hsm verify"
        ));
    }
}

fn figures(outcome: Outcome, collected: &Collected) -> Outcome {
    let swept = collected.swept.as_ref();
    let round = collected.round.clone().unwrap_or_default();
    outcome
        .with("deleted_packs", swept.map_or(0, |swept| swept.deleted_packs))
        .with("deleted_bytes", swept.map_or(0, |swept| swept.deleted_bytes))
        .with("spared_packs", swept.map_or(0, |swept| swept.spared_packs))
        .with("waiting", collected.waiting.is_some())
        .with("expired_versions", round.expired_versions)
        .with("repacked_packs", round.repacked_packs)
        .with("condemned_packs", round.condemned_packs)
        .with("condemned_bytes", round.condemned_bytes)
        .with("share_pct", round.share_pct)
        .with("outrun", round.outrun)
        .with("left_over_bytes", collected.left_over_bytes)
        .with("second_bytes", collected.second_bytes)
        .with("temporaries", collected.temporaries)
}

/// What `--dry-run` prints.
fn foretell(context: &Context, found: &Preview, options: &Options<'_>) -> Result<Outcome, Error> {
    let survey = &found.survey;
    if let Some(PendingPlan { generation, packs, waiting }) = &found.pending {
        context.out.remark(format!("plan {generation} ({packs} packs) has not ended yet"))?;
        match waiting {
            Some(waiting) => tell_waiting(context, waiting)?,
            None => context.out.remark("a run would look again and end it")?,
        }
    }
    let (condemned, condemned_bytes) = survey.condemned();
    for pack in &survey.doomed {
        context.out.line(format!("delete   {:>10}  {}", format_size(pack.bytes), pack.id))?;
        context.out.record(&json!({
            "type": "pack", "action": "delete", "pack": pack.id, "bytes": pack.bytes,
        }))?;
    }
    for loose in &survey.unnamed {
        let size = format_size(loose.size_bytes);
        context.out.line(format!("delete   {size:>10}  {} (in no log)", loose.id))?;
        context.out.record(&json!({
            "type": "pack", "action": "delete-unnamed", "pack": loose.id,
            "bytes": loose.size_bytes,
        }))?;
    }
    for pack in &survey.sparse {
        let (size, used) = (format_size(pack.bytes), pack.share_pct);
        context.out.line(format!("rewrite  {size:>10}  {} ({used:.0}% in use)", pack.id))?;
        context.out.record(&json!({
            "type": "pack", "action": "rewrite", "pack": pack.id, "bytes": pack.bytes,
            "held_bytes": pack.held_bytes, "share_pct": pack.share_pct,
        }))?;
    }
    let share = survey.share();
    let (size, total) = (format_size(condemned_bytes), format_size(survey.total_bytes));
    context.out.remark(format!(
        "{} versions would expire, {} packs ({size}) would be condemned and {} written anew: {:.1}% \
         of {total} in {} packs",
        found.ending_versions,
        condemned.len(),
        survey.sparse.len(),
        share.pct(),
        survey.total_packs
    ))?;
    if !share.is_admitted(options.section.max_share_pct, options.confirmed_pct) {
        let pct = share.pct().ceil();
        context.progress.warn(&format!(
            "that is more than max_share ({}%); a run needs: hsm gc --confirm {pct}%",
            options.section.max_share_pct
        ));
    }
    warn_of_lost(context, survey.lost_chunks);
    Ok(Outcome::done()
        .with("dry_run", true)
        .with("pending", found.pending.is_some())
        .with("expired_versions", found.ending_versions)
        .with("condemned_packs", condemned.len())
        .with("condemned_bytes", condemned_bytes)
        .with("repacked_packs", survey.sparse.len())
        .with("share_pct", share.pct())
        .with("total_packs", survey.total_packs)
        .with("total_bytes", survey.total_bytes)
        .with("lost_chunks", survey.lost_chunks))
}

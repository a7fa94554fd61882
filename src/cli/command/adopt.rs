//! `hsm adopt`: make copies of stubs stubs of their own.

use super::Outcome;
use crate::adopt::{Adopted, Options, Record, adopt, copies};
use crate::cli::args::{DryRun, FilesFrom};
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::locate::{self, Place};
use crate::cli::opened::{Catalog, with_site};
use crate::cli::output::{Name, escaped_path};
use crate::monitor::{Monitor, Phase};
use crate::os::tree::RootDir;
use crate::site::{self, Site};
use crate::state::{RootId, RootRow};
use crate::tier::rescan::open_root;
use crate::units::format_size;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  cp -a /srv/media/film.mkv /srv/media/copy.mkv    # of a stub, no guard at work
  hsm adopt /srv/media/copy.mkv
  hsm adopt --data --dry-run restored/*.mkv
  hsm scan && hsm adopt -r /srv/media              # after a backup was restored";

/// Make a copy of a stub a stub of its own
///
/// A stub that was copied with its attributes but without its data belongs to
/// no file: it reads as zeros, or as an error where a guard watches. Adopting
/// binds it to the copy in the store, so that it can be recalled like any other.
///
/// That is done only for a file that is nothing but a hole of the right size,
/// and only if the store has every pack of its content; --data reads and
/// verifies them all. A file that holds all its data is an ordinary file: only
/// the attribute is removed. One that holds a part of it is refused.
///
/// So is a file that somebody can read, by its owner and its mode, who cannot read any
/// file that the store has with this content: an attribute can come from anywhere, such
/// as an archive that root unpacked, and names a content whoever it belongs to. Give the
/// copy the owner and the mode of its original, or say --any-reader.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct AdoptArgs {
    /// Copies of stubs; with --recursive also directories
    #[arg(value_name = "PATH", required_unless_present_any = ["files_from", "null"])]
    pub paths: Vec<PathBuf>,

    #[command(flatten)]
    pub files_from: FilesFrom,

    /// Every copy of a stub that the last scan saw beneath the directories named
    #[arg(short, long)]
    pub recursive: bool,

    /// Read the copy and verify it
    #[arg(long)]
    pub data: bool,

    /// Adopt a file also if users can read it who cannot read any file that its content
    /// is known of
    #[arg(long)]
    pub any_reader: bool,

    #[command(flatten)]
    pub dry_run: DryRun,
}

pub fn run(context: &Context, args: &AdoptArgs) -> Result<Outcome, Error> {
    let config = context.config()?;
    let roots = context.state_read_only(&config)?.roots()?;
    let paths = args.files_from.gather(&args.paths)?;
    let places = paths.iter().map(|p| locate::place(&roots, p)).collect::<Result<Vec<_>, _>>()?;
    let mut locked: Vec<RootRow> = vec![];
    for place in &places {
        if locked.iter().all(|row| row.id != place.root.id) {
            locked.push(place.root.clone());
        }
    }
    let options =
        Options { data: args.data, dry_run: args.dry_run.dry_run, any_reader: args.any_reader };
    let totals = with_site(context, &config, &locked, Catalog::Untouched, |site| {
        let mut totals = Totals::default();
        let opened = locked.iter().map(|row| Ok((row.id, open_root(row)?)));
        let opened = opened.collect::<Result<Vec<_>, Error>>()?;
        let places = match args.recursive {
            true => beneath(site, &opened, &places)?,
            false => places,
        };
        adopt_all(context, site, &opened, &places, options, &mut totals)?;
        Ok(totals)
    })?;
    Ok(Outcome::done()
        .with("adopted_files", totals.adopted)
        .with("resident_files", totals.resident)
        .with("unmanaged_files", totals.unmanaged)
        .with("dry_run", options.dry_run))
}

/// The copies of stubs at and beneath these places.
fn beneath(
    site: &Site<'_>,
    roots: &[(RootId, RootDir)],
    places: &[Place],
) -> Result<Vec<Place>, Error> {
    let mut found = vec![];
    for place in places {
        let root = roots.iter().find(|(id, _)| *id == place.root.id);
        let (id, root) = root.expect("every place's root was opened");
        let paths = copies(&site.state, *id, root, &place.path)?;
        found.extend(paths.into_iter().map(|path| Place { root: place.root.clone(), path }));
    }
    Ok(found)
}

#[derive(Default)]
struct Totals {
    adopted: u64,
    resident: u64,
    unmanaged: u64,
}

fn adopt_all(
    context: &Context,
    site: &mut Site<'_>,
    roots: &[(RootId, RootDir)],
    places: &[Place],
    options: Options,
    totals: &mut Totals,
) -> Result<(), Error> {
    let mut catalog = site::Catalog::default();
    context.progress.begin(Phase::Verifying, places.len() as u64, 0);
    for place in places.iter().take_while(|_| !context.stop.requested()) {
        let root = roots.iter().find(|(id, _)| *id == place.root.id);
        let (id, root) = root.expect("every place's root was opened");
        match adopt(site, &mut catalog, *id, root, &place.path, options)? {
            Ok(adopted) => tell(context, place, &adopted, totals)?,
            Err(error) => {
                let path = place.path.to_path(&place.root.path);
                context.progress.file_failed(&path, "adopt", &error);
            }
        }
        context.progress.advance(1, 0);
    }
    context.progress.end();
    Ok(())
}

fn tell(
    context: &Context,
    place: &Place,
    adopted: &Adopted,
    totals: &mut Totals,
) -> Result<(), Error> {
    let path = place.path.to_path(&place.root.path);
    let (word, size_bytes, record) = match adopted {
        Adopted::Stub { size_bytes, record, .. } => {
            totals.adopted += 1;
            totals.unmanaged += u64::from(*record != Record::Managed);
            ("stub", Some(*size_bytes), Some(*record))
        }
        Adopted::Resident => {
            totals.resident += 1;
            ("resident", None, None)
        }
    };
    let size = size_bytes.map(format_size).unwrap_or_default();
    let note = match record {
        Some(Record::NotScanned) => "  (no scan has seen it: hsm scan, then adopt it again)",
        Some(Record::CatalogOnly) => "  (its copy is in the catalog only; hsm recall finds it)",
        _ => "",
    };
    context.out.line(format!("{word:<9} {size:>10}  {}{note}", escaped_path(&path)))?;
    context.out.record(&json!({
        "type": "adopted", "path": Name::of(&path), "state": word, "size_bytes": size_bytes,
        "managed": record.map(|record| record == Record::Managed),
    }))
}

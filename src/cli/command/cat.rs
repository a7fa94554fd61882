//! `hsm cat`: the bytes of one file, from the store.

use super::Outcome;
use crate::catalog::Sight;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::output::{Output, escaped_path};
use crate::cli::selection::{AsOf, Source, resolve};
use crate::manifest::Piece;
use crate::site::fetch::FileError;
use crate::site::stream::{self, Fetched, flow};
use crate::site::{Catalog, Site};
use clap::Args;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  hsm cat /srv/projects/plan.odt > plan.odt
  hsm cat --version 41 /srv/projects/plan.odt | less
  hsm cat --store s3://bucket/server1 /srv/media/list.txt";

/// Write one file's bytes to standard output, from the store
///
/// Nothing is written to the local disk, and a stub stays a stub. Every byte is
/// verified before it is written; memory is bounded whatever the file's size. When
/// the copy is not whole, what comes before the damage has been written by then, and
/// the command fails.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct CatArgs {
    /// A file, by its absolute path on its server
    #[arg(id = "paths", value_name = "PATH")]
    pub path: PathBuf,

    #[command(flatten)]
    pub source: Source,

    #[command(flatten)]
    pub as_of: AsOf,
}

pub fn run(context: &Context, args: &CatArgs) -> Result<Outcome, Error> {
    if context.out.is_json() {
        return Err(Error::Usage("hsm cat writes bytes, not records".to_owned()));
    }
    args.source.with_site(context, |site| {
        let paths = std::slice::from_ref(&args.path);
        let (selection, mut catalog) = resolve(context, site, &args.source, &args.as_of, paths)?;
        let pick = selection.picks.first().ok_or_else(|| not_a_file(&args.path))?;
        let db = catalog.db(site).map_err(Error::Logs)?;
        let version = db.version_at(&pick.root, Sight::At(selection.point), &pick.under)?;
        let content = version.and_then(|version| version.record.content_list());
        let content = content.ok_or_else(|| not_a_file(&args.path))?;
        let mut windows = stream::parts(&content).into_iter();
        let next =
            &mut |_: &mut Site<'_>, _: &mut Catalog| Ok(windows.next().map(|part| vec![part]));
        let out = context.out.clone();
        flow(site, &mut catalog, next, move |parts| write(&out, &args.path, parts))
    })?;
    if context.stop.requested() { Err(Error::Interrupted) } else { Ok(Outcome::done()) }
}

fn not_a_file(path: &Path) -> Error {
    let what = format!("{} is not a regular file", escaped_path(path));
    Error::refused(what, "hsm restore, for directories and links")
}

type Pieces = Vec<Piece>;

fn write(
    out: &Output,
    path: &Path,
    parts: &mut dyn Iterator<Item = Fetched<Pieces>>,
) -> Result<(), Error> {
    for (pieces, data) in parts {
        let not_whole =
            |source: FileError| Error::NotWhole { path: path.to_owned(), source: source.into() };
        let data = data.map_err(not_whole)?;
        let mut rest = data.as_slice();
        for Piece { len, chunk } in pieces {
            if chunk.is_none() {
                out.zeros(len)?;
                continue;
            }
            let len = usize::try_from(len).expect("a chunk fits in memory");
            let (now, later) = rest.split_at(len.min(rest.len()));
            out.raw(now)?;
            rest = later;
        }
    }
    Ok(())
}

//! `hsm export`: a tar archive, from the store.

use super::Outcome;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::output::Output;
use crate::cli::selection::{AsOf, Source, resolve};
use crate::export::{self, ExportStats};
use crate::monitor::{Monitor, Phase};
use clap::Args;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm export /srv/projects/2024 > 2024.tar
  hsm export --as-of now-90d /srv/projects | ssh other tar -xp --xattrs -C /tmp
  hsm export --store s3://bucket/server1 | zstd > everything.tar.zst
Exit code 3 means that some files are not in the archive; each is named.";

/// Write files from the store to standard output, as a tar archive
///
/// Nothing is written to the local disk, no stub is recalled, and memory is bounded.
/// The archive is in the format of POSIX (pax) as GNU tar writes it: names of any
/// bytes, owners, times to the nanosecond, links, holes, extended attributes and ACLs.
/// Unpack it with tar -xp --xattrs --acls. Sockets are left out.
///
/// A small file whose copy is not whole is left out and named. In the middle of a large
/// one that cannot be: the archive ends there, and the command fails.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ExportArgs {
    /// Files or directories, by their absolute paths on their server [default:
    /// everything that it had in the store]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    #[command(flatten)]
    pub source: Source,

    #[command(flatten)]
    pub as_of: AsOf,
}

pub fn run(context: &Context, args: &ExportArgs) -> Result<Outcome, Error> {
    if context.out.is_json() {
        return Err(Error::Usage("hsm export writes an archive, not records".to_owned()));
    }
    if io::stdout().is_terminal() {
        let text = "an archive is not for a terminal: hsm export ... > FILE.tar";
        return Err(Error::Usage(text.to_owned()));
    }
    let stats: ExportStats = args.source.with_site(context, |site| {
        let (selection, mut catalog) =
            resolve(context, site, &args.source, &args.as_of, &args.paths)?;
        context.progress.begin(Phase::Exporting, 0, 0);
        let to = Archive(context.out.clone());
        let stats = export::run(site, &mut catalog, &selection, to);
        context.progress.end();
        Ok(stats?)
    })?;
    if context.stop.requested() {
        return Err(Error::Interrupted);
    }
    if stats.sockets > 0 {
        context.progress.notice(&format!("{} sockets left out", stats.sockets));
    }
    Ok(Outcome::done())
}

/// Standard output as the archive is written to it.
struct Archive(Output);

impl Write for Archive {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.raw(bytes).map(|()| bytes.len()).map_err(kernel_error)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(kernel_error)
    }
}

fn kernel_error(error: Error) -> io::Error {
    match error {
        Error::Output(source) => source,
        other => io::Error::other(other.to_string()),
    }
}

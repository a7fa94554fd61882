//! `hsm history`: what was at a path, and when.

use super::Outcome;
use crate::catalog::{CatalogDb, RootRef, Version};
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::locate;
use crate::cli::output::{Name, escaped_path};
use crate::cli::selection::{self, Source};
use crate::cli::table::{Align, Table};
use crate::site::Site;
use crate::site::selection::{Pick, absolute, picks_of};
use crate::units;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  hsm history /srv/projects/plan.xlsx
  hsm history --json --newest-first /srv/projects/plan.xlsx
  hsm history --store s3://bucket/hsm --node files1 /srv/projects/plan.xlsx";

/// Show the versions of a file
///
/// Lists what the store has, or had, at a path: the number of each version, from
/// when until when it was the newest copy, its size, what changed, and the content
/// id. A version follows the path: a program that saves to a temporary file and
/// renames that over the old one makes a new version of the same path.
///
/// The number is what `hsm restore --version` takes. A version that is expired is
/// named as such: no rule keeps it any more, and its data may be deleted already.
/// Reads the catalog in the store; works without a configuration, too.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct HistoryArgs {
    /// A path as it was on its server; it need not exist any more
    #[arg(value_name = "PATH")]
    pub path: PathBuf,

    /// Begin with the newest version
    #[arg(long)]
    pub newest_first: bool,

    #[command(flatten)]
    pub source: Source,
}

pub fn run(context: &Context, args: &HistoryArgs) -> Result<Outcome, Error> {
    args.source.with_site(context, |site| show(context, site, args))
}

fn show(context: &Context, site: &Site<'_>, args: &HistoryArgs) -> Result<Outcome, Error> {
    let (node, db, damaged) = selection::read(context, site, &args.source)?;
    let roots = db.roots(Some(node.node))?;
    let pick = pick(&roots, &args.path)?.ok_or_else(|| unknown(&args.path))?;
    let versions = db.history(&pick.root, &pick.under)?;
    if versions.is_empty() && damaged.is_none() {
        return Err(unknown(&args.path));
    }
    let mut told = vec![];
    for (nth, version) in versions.iter().enumerate() {
        let before = nth.checked_sub(1).map(|nth| &versions[nth]);
        told.push(Told::of(&db, &pick.root, version, before)?);
    }
    if args.newest_first {
        told.reverse();
    }
    print(context, &told)?;
    for told in &told {
        told.record(context, &pick.path())?;
    }
    match damaged {
        Some(error) => Err(error.into()),
        None => Ok(Outcome::done().with("versions", told.len()).with("node", node.node)),
    }
}

/// The part of a root that a path names, also by a symbolic link above it.
fn pick(roots: &[RootRef], path: &Path) -> Result<Option<Pick>, Error> {
    let typed = std::path::absolute(path).map_err(Error::io("make absolute", path))?;
    let exact = |path: &Path| {
        let picks = picks_of(roots, path);
        picks.into_iter().find(|pick| pick.path() == path)
    };
    match exact(&typed) {
        Some(pick) => Ok(Some(pick)),
        None => Ok(exact(&locate::resolve(path)?)),
    }
}

fn unknown(path: &Path) -> Error {
    Error::refused(
        format!("the catalog has never had anything at {}", escaped_path(path)),
        "a path as it was on its server; --node for another server's",
    )
}

/// A version with what can be said of it beside the others.
struct Told<'v> {
    version: &'v Version,
    changed: Vec<&'static str>,
    moved_from: Option<Vec<u8>>,
    moved_to: Option<Vec<u8>>,
    root: &'v RootRef,
}

impl<'v> Told<'v> {
    fn of(
        db: &CatalogDb,
        root: &'v RootRef,
        version: &'v Version,
        before: Option<&Version>,
    ) -> Result<Self, Error> {
        let before = before.filter(|before| !before.gone);
        Ok(Self {
            version,
            changed: before.map_or(vec![], |before| changed(before, version)),
            moved_from: if before.is_none() { db.moved_from(root, version)? } else { None },
            moved_to: if version.gone { db.moved_to(root, version)? } else { None },
            root,
        })
    }

    fn what(&self) -> String {
        let path = |path: &[u8]| escaped_path(&absolute(self.root, path));
        let mut said = vec![match (&self.moved_from, self.changed.as_slice()) {
            (Some(from), _) => format!("moved from {}", path(from)),
            (None, []) => "new".to_owned(),
            (None, changed) => changed.join(", "),
        }];
        match &self.moved_to {
            Some(to) => said.push(format!("then moved to {}", path(to))),
            None if self.version.gone => said.push("then deleted".to_owned()),
            None => {}
        }
        if self.version.expired {
            said.push("expired".to_owned());
        }
        said.join("; ")
    }

    /// How it ended, if it did.
    fn end(&self) -> &'static str {
        match (self.version.to_seq, self.version.gone, &self.moved_to) {
            (None, ..) => "current",
            (_, false, _) => "replaced",
            (_, true, None) => "deleted",
            (_, true, Some(_)) => "moved",
        }
    }

    fn record(&self, context: &Context, path: &Path) -> Result<(), Error> {
        let (version, record) = (self.version, &self.version.record);
        let name = |moved: &Option<Vec<u8>>| moved.as_ref().map(|path| absolute(self.root, path));
        let (from, to) = (name(&self.moved_from), name(&self.moved_to));
        context.out.record(&json!({
            "type": "version", "path": Name::of(path), "version": version.from_seq,
            "from_ns": version.from_ns, "to_ns": version.to_ns, "end": self.end(),
            "expired": version.expired, "changed": self.changed,
            "moved_from": from.as_deref().map(Name::of), "moved_to": to.as_deref().map(Name::of),
            "kind": record.kind, "size_bytes": record.size_bytes, "content": record.content,
            "mode": record.mode, "uid": record.uid, "gid": record.gid,
            "mtime_ns": record.mtime_ns, "ino": record.ino,
        }))
    }
}

/// What a person would call different, in the words of `stat`.
fn changed(before: &Version, after: &Version) -> Vec<&'static str> {
    let (a, b) = (&before.record, &after.record);
    let mut changed = vec![];
    let mut note = |differs: bool, what| {
        if differs {
            changed.push(what);
        }
    };
    note(a.kind != b.kind, "type");
    note(a.content != b.content, "content");
    note(a.target != b.target, "target");
    note(a.mode != b.mode, "mode");
    note((a.uid, a.gid) != (b.uid, b.gid), "owner");
    note(a.xattrs != b.xattrs, "attributes");
    note(a.mtime_ns != b.mtime_ns && a.content == b.content, "time");
    note(a.nlink != b.nlink, "links");
    if changed.is_empty() {
        let is_same = (a.ino, a.generation) == (b.ino, b.generation);
        changed.push(if is_same { "nothing" } else { "replaced by an equal file" });
    }
    changed
}

fn print(context: &Context, told: &[Told<'_>]) -> Result<(), Error> {
    use Align::{Left, Right};
    let mut table = Table::new(&[Right, Left, Left, Right, Left, Left]);
    table.row(["VERSION", "FROM", "UNTIL", "SIZE", "CONTENT", "WHAT"]);
    for told in told {
        let (version, record) = (told.version, &told.version.record);
        let content = record.content.map(|content| content.to_string()[..12].to_owned());
        let size = record.content.map(|_| units::format_size(record.size_bytes));
        table.row([
            version.from_seq.to_string(),
            units::format_time(version.from_ns),
            version.to_ns.map_or("now".to_owned(), units::format_time),
            size.unwrap_or_else(|| "-".to_owned()),
            content.unwrap_or_else(|| kind(record.kind).to_owned()),
            told.what(),
        ]);
    }
    table.print(&context.out, "")
}

fn kind(kind: char) -> &'static str {
    match kind {
        'd' => "directory",
        'l' => "symlink",
        'p' => "fifo",
        's' => "socket",
        'c' | 'b' => "device",
        _ => "file",
    }
}

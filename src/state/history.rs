//! All that is known to have happened to what is, or was, at a path.
//!
//! Of the inode that is there now and of every inode that is known to have left
//! that path: its events, its recalls by programs, its departures as the table of
//! gone files has them from before there were events, and what its own row says
//! in short where the events have been forgotten.

use super::error::Result;
use super::events::{EventRow, what};
use super::files::ManagedRow;
use super::open::StateDb;
use super::recalls::RecallLogRow;
use super::roots::RootId;
use super::rows::{Columns, rel_path};
use crate::ids::FileIdent;
use crate::os::RelPath;
use std::collections::HashSet;

/// One thing that happened to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    pub at_ns: i64,
    pub ident: FileIdent,
    /// One of `state::what`, or `denied`: a program was not recalled for.
    pub what: String,
    /// The command that did it, where that is known.
    pub actor: Option<String>,
    pub why: Option<String>,
    /// The place that it left.
    pub path: Option<RelPath>,
    /// For whom it was recalled, or denied.
    pub program: Option<RecallLogRow>,
}

/// A recall that failed or was not allowed.
pub const DENIED: &str = "denied";

const READING: &str = "reading what happened to a file";

impl StateDb {
    /// What happened to the files of this path, oldest first.
    pub fn happenings(&self, root: RootId, path: &RelPath) -> Result<Vec<Happening>> {
        let now = self.managed_at(root, path)?;
        let mut idents: HashSet<FileIdent> = self.leavers(root, path)?.into_iter().collect();
        idents.extend(now.as_ref().map(|row| row.ident));
        if idents.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = |ident| idents.contains(&ident);
        let mut found: Vec<Happening> =
            self.events_of(root, &wanted)?.into_iter().map(of_event).collect();
        for gone in self.departures(root, &wanted)? {
            let is_same = |known: &Happening| {
                (known.ident, known.at_ns, &known.path) == (gone.ident, gone.at_ns, &gone.path)
            };
            if !found.iter().any(is_same) {
                found.push(gone);
            }
        }
        found.extend(self.recalls_of(root, &wanted)?.into_iter().map(of_recall));
        if let Some(row) = now {
            add_what_its_row_says(&row, &mut found);
        }
        // Stable: of one instant in the order in which they were written.
        found.sort_by_key(|happening| happening.at_ns);
        Ok(found)
    }

    fn departures(
        &self,
        root: RootId,
        wanted: &dyn Fn(FileIdent) -> bool,
    ) -> Result<Vec<Happening>> {
        use super::error::During;
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT ino, generation, gone_ns, moved, path FROM gone
                 WHERE root_id = ?1 AND kind = 'f' ORDER BY id",
            )
            .during(READING)?;
        let mut rows = select.query([root.0]).during(READING)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().during(READING)? {
            let mut columns = Columns::new(row, 0, READING);
            let ident = columns.ident()?;
            if wanted(ident) {
                let at_ns = columns.get()?;
                let what = if columns.get()? { what::MOVED } else { what::GONE };
                let path = Some(rel_path(columns.get()?)?);
                found.push(Happening { path, ..happening(at_ns, ident, what) });
            }
        }
        Ok(found)
    }
}

fn happening(at_ns: i64, ident: FileIdent, what: &str) -> Happening {
    let what = what.to_owned();
    Happening { at_ns, ident, what, actor: None, why: None, path: None, program: None }
}

fn of_event(event: EventRow) -> Happening {
    let EventRow { at_ns, ident, what, actor, why, path } = event;
    Happening { at_ns, ident, what, actor: Some(actor), why, path, program: None }
}

fn of_recall(recall: RecallLogRow) -> Happening {
    let (what, why) = match recall.is_recalled() {
        true => (what::RECALLED, None),
        false => (DENIED, Some(recall.outcome.clone())),
    };
    Happening { why, program: Some(recall.clone()), ..happening(recall.at_ns, recall.ident, what) }
}

fn add_what_its_row_says(row: &ManagedRow, found: &mut Vec<Happening>) {
    let said = [
        (what::UPLOADED, row.uploaded_ns, row.rule.clone()),
        (what::STUBBED, row.stubbed_ns, row.rule.clone()),
        (what::RECALLED, row.recalled_ns, None),
    ];
    for (what, at_ns, why) in said {
        let Some(at_ns) = at_ns else { continue };
        let is_known = |known: &Happening| {
            // An adopted stub became one by that.
            let same = known.what == what || known.what == what::ADOPTED && what == what::STUBBED;
            known.ident == row.ident && known.at_ns == at_ns && same
        };
        if !found.iter().any(is_known) {
            found.push(Happening { why, ..happening(at_ns, row.ident, what) });
        }
    }
}

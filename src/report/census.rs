//! One pass over what the scans saw: every file counted by size, idle age, state,
//! class, owner and extension, and once more if the workbench could move it.
//!
//! A row is looked at and forgotten; what stays is sums, whose number does not
//! grow with the tree. Whether a file could go is asked of the policy itself, with
//! the workbench's rule in it, so that pins, links, the rules that come first and
//! the defaults count as in `hsm plan`. Only size, idle age and classes are left
//! to the page, which adds up cells.

use super::buckets::{Bucket, Grid, Sum};
use super::tally::Tally;
use super::{Error, Sources};
use crate::os::FileKind;
use crate::os::space::FreeSpace;
use crate::policy::{FileState, PolicySet};
use crate::state::{EntryRow, RootRow};
use crate::tier::candidates::Entries;
use crate::tier::plan::{Planner, Wish, pressure, state_of};
use crate::tier::rescan::open_root;
use std::collections::{BTreeMap, HashSet};

/// Combinations of classes that are told apart.
const SETS: usize = 512;
/// Bytes of an extension; what is longer is hardly one.
const LONGEST_EXTENSION: usize = 16;

/// A root as it was counted.
#[derive(Debug, Clone)]
pub struct RootCount {
    pub row: RootRow,
    /// It is there, and the one that it was; else nothing of it is counted.
    pub is_there: bool,
    pub space: Option<FreeSpace>,
}

/// Files that would go, with the same root, classes, size and idle age.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Candidates {
    pub files: u64,
    pub size_bytes: u64,
    /// What their stubs free.
    pub local_bytes: u64,
    /// Of them, those without a copy.
    pub upload_files: u64,
    pub upload_bytes: u64,
}

/// What a plan by the present policy would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Present {
    pub stub_files: u64,
    pub stub_bytes: u64,
    pub upload_files: u64,
    pub upload_bytes: u64,
}

/// Places in the list of the policy's classes, in rising order.
pub type ClassSet = Vec<usize>;

pub struct Census {
    pub roots: Vec<RootCount>,
    pub all: Grid,
    pub by_state: BTreeMap<&'static str, Grid>,
    /// One for each class; a file may be in several, or in none.
    pub by_class: Vec<Grid>,
    pub by_owner: Tally<u32>,
    pub by_extension: Tally<String>,
    /// By place in `roots`, place in `sets`, and bucket.
    pub candidates: BTreeMap<(usize, usize, Bucket), Candidates>,
    pub sets: Vec<ClassSet>,
    /// Candidates in combinations of classes beyond those that are told apart:
    /// the page counts none of them.
    pub unsorted: Candidates,
    pub present: Present,
    pub stubs: Sum,
}

impl Census {
    /// `probe` is the policy with the workbench's rule.
    pub fn take(sources: &Sources<'_>, probe: &PolicySet) -> Result<Self, Error> {
        let mut census = Self {
            roots: vec![],
            all: Grid::default(),
            by_state: BTreeMap::new(),
            by_class: vec![Grid::default(); probe.class_names().len()],
            by_owner: Tally::new(),
            by_extension: Tally::new(),
            candidates: BTreeMap::new(),
            sets: vec![],
            unsorted: Candidates::default(),
            present: Present::default(),
            stubs: Sum::default(),
        };
        for row in sources.roots {
            census.root(sources, probe, row)?;
        }
        Ok(census)
    }

    fn root(
        &mut self,
        sources: &Sources<'_>,
        probe: &PolicySet,
        row: &RootRow,
    ) -> Result<(), Error> {
        let root = match open_root(row) {
            Ok(root) => root,
            Err(error) if sources.roots.len() == 1 => return Err(error.into()),
            Err(error) => {
                (sources.tell)(&error.to_string());
                let (row, is_there, space) = (row.clone(), false, None);
                self.roots.push(RootCount { row, is_there, space });
                return Ok(());
            }
        };
        let space = FreeSpace::of(&root).ok();
        self.roots.push(RootCount { row: row.clone(), is_there: true, space });
        let planner = |policy| {
            let wish = Wish::default();
            Planner::new(sources.state, policy, row, &root, wish, sources.chunking, sources.now_ns)
        };
        let for_space =
            pressure(sources.policy, &root)?.is_some_and(|pressure| pressure.to_free_bytes > 0);
        let mut pass = Pass {
            census: self,
            present: planner(sources.policy)?,
            probe: planner(probe)?,
            for_space,
            linked: HashSet::new(),
        };
        for entry in Entries::open(sources.state_path, row.id, None)? {
            if sources.stop.requested() {
                return Err(Error::Stopped);
            }
            pass.file(&entry?);
        }
        Ok(())
    }
}

/// The way through one root, the last of `census.roots`.
struct Pass<'c, 'p> {
    census: &'c mut Census,
    present: Planner<'p>,
    probe: Planner<'p>,
    for_space: bool,
    /// Inodes of several names that were seen: each counts once, as in a plan.
    linked: HashSet<u64>,
}

impl Pass<'_, '_> {
    fn file(&mut self, row: &EntryRow) {
        if row.kind != FileKind::File || (row.nlink > 1 && !self.linked.insert(row.ino)) {
            return;
        }
        let bucket = Bucket::of(row.size_bytes, self.probe.idle_ns(row));
        let sum = Sum { files: 1, size_bytes: row.size_bytes, local_bytes: row.allocated_bytes };
        let (census, state) = (&mut *self.census, state_of(row));
        census.all.add(bucket, sum);
        census.by_state.entry(state.as_str()).or_default().add(bucket, sum);
        if state == FileState::Stub {
            census.stubs.add(sum);
        }
        let classes = self.probe.classes(row);
        classes.iter().for_each(|class| census.by_class[*class].add(bucket, sum));
        census.by_owner.add(row.uid, bucket, sum);
        census.by_extension.add(extension(row.path.file_name()), bucket, sum);
        self.present(row);
        self.candidate(row, classes, bucket);
    }

    fn present(&mut self, row: &EntryRow) {
        let Some(step) = self.present.step(row, self.for_space) else { return };
        let present = &mut self.census.present;
        present.stub_files += u64::from(step.stub);
        present.stub_bytes += if step.stub { step.allocated_bytes } else { 0 };
        present.upload_files += u64::from(step.upload);
        present.upload_bytes += if step.upload { step.size_bytes } else { 0 };
    }

    fn candidate(&mut self, row: &EntryRow, classes: ClassSet, bucket: Bucket) {
        let Some(step) = self.probe.step(row, false).filter(|step| step.stub) else { return };
        let census = &mut *self.census;
        let root = census.roots.len() - 1;
        let cell = match census.sets.iter().position(|set| *set == classes) {
            Some(set) => census.candidates.entry((root, set, bucket)).or_default(),
            None if census.sets.len() < SETS => {
                census.sets.push(classes);
                census.candidates.entry((root, census.sets.len() - 1, bucket)).or_default()
            }
            None => &mut census.unsorted,
        };
        cell.files += 1;
        cell.size_bytes += step.size_bytes;
        cell.local_bytes += step.allocated_bytes;
        cell.upload_files += u64::from(step.upload);
        cell.upload_bytes += if step.upload { step.size_bytes } else { 0 };
    }
}

/// In small letters; `(none)`, or `(other)` where it is long or no text.
fn extension(name: &[u8]) -> String {
    let at = name.iter().rposition(|byte| *byte == b'.');
    let Some(found) = at.filter(|at| *at > 0).map(|at| &name[at + 1..]) else {
        return "(none)".to_owned();
    };
    match std::str::from_utf8(found) {
        Ok("") => "(none)".to_owned(),
        Ok(text) if text.len() <= LONGEST_EXTENSION && !text.contains(char::is_control) => {
            text.to_lowercase()
        }
        _ => "(other)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_short_text_behind_the_last_point() {
        let table: [(&[u8], &str); 9] = [
            (b"film.MKV", "mkv"),
            (b"backup.tar.gz", "gz"),
            (b"README", "(none)"),
            (b".bashrc", "(none)"),
            (b".profile.old", "old"),
            (b"ends.", "(none)"),
            (b"x.\xff", "(other)"),
            (b"x.a\nb", "(other)"),
            (b"minutes.of the board meeting", "(other)"),
        ];
        for (name, want) in table {
            assert_eq!(extension(name), want, "{name:?}");
        }
    }
}

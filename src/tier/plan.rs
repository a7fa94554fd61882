//! What the policy wants to happen, without doing any of it.
//!
//! `hsm plan` and every `--dry-run` print this; `upload` and `stub` execute it.
//! A decision here is only a candidate: what is true at the moment of action is
//! checked again there.

use super::Error;
use super::conditions;
use super::stubbing::Refusal;
use super::upload::{How, Request};
use crate::chunk::{self, Chunking};
use crate::os::relpath::RelPath;
use crate::os::space::FreeSpace;
use crate::os::stat::{FileKind, Stat};
use crate::os::tree::RootDir;
use crate::os::xattrs;
use crate::policy::{self, Action, Facts, FileState, Pin, PolicySet, Rank, Verdict};
use crate::state::{EntryRow, ManagedRow, RootRow, StateDb};
use crate::units::Copies;
use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// What a person asked for, beside the policy.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Only files below this.
    pub under: Option<RelPath>,
    /// The files were named: rules and ages are waived, pins and every
    /// condition of safety are not.
    pub named: bool,
}

/// Decides for the files of one root.
pub struct Planner<'p> {
    policy: &'p PolicySet,
    root: &'p RootDir,
    root_bytes: Vec<u8>,
    pins: HashMap<RelPath, Pin>,
    now_ns: i64,
    wish: Wish,
    defaults: How,
    hows: HashMap<usize, Arc<How>>,
    named_how: Arc<How>,
}

/// What is to happen to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub path: RelPath,
    pub upload: bool,
    pub stub: bool,
    pub size_bytes: u64,
    pub allocated_bytes: u64,
    pub rule: Option<String>,
}

/// Totals of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanStats {
    pub upload_files: u64,
    pub upload_bytes: u64,
    pub stub_files: u64,
    pub stub_bytes: u64,
    pub unmatched_files: u64,
    /// Files that are where the policy wants them.
    pub settled_files: u64,
}

impl<'p> Planner<'p> {
    pub fn new(
        state: &StateDb,
        policy: &'p PolicySet,
        row: &RootRow,
        root: &'p RootDir,
        wish: Wish,
        chunking: Chunking,
        now_ns: i64,
    ) -> Result<Self, Error> {
        let defaults = How {
            rule: None,
            storage_class: None,
            chunking,
            level: chunk::DEFAULT_LEVEL,
            dedup: true,
            copies: Copies::One,
        };
        Ok(Self {
            policy,
            root,
            root_bytes: row.path.as_os_str().as_bytes().to_vec(),
            pins: state.pins(row.id)?.into_iter().collect(),
            now_ns,
            wish,
            named_how: Arc::new(defaults.clone()),
            defaults,
            hows: HashMap::new(),
        })
    }

    /// The pin of a file: its own or the nearest directory's.
    pub fn pin(&self, path: &RelPath) -> Pin {
        let mut at = Some(path.clone());
        while let Some(path) = at {
            if let Some(pin) = self.pins.get(&path) {
                return *pin;
            }
            at = path.parent();
        }
        Pin::None
    }

    fn with_facts<T>(&self, row: &EntryRow, use_them: impl FnOnce(&Facts<'_>) -> T) -> T {
        let xattr = |name: &str| {
            // Not opened: a guard would recall it if it is a stub.
            let fd = self.root.open_path(&row.path).ok()?;
            xattrs::get_path_fd(&fd, name).ok()?
        };
        use_them(&Facts {
            root: &self.root_bytes,
            path: row.path.as_bytes(),
            name: row.path.file_name(),
            kind: row.kind.code(),
            size_bytes: row.size_bytes,
            allocated_bytes: row.allocated_bytes,
            uid: row.uid,
            gid: row.gid,
            mode: row.mode,
            nlink: row.nlink,
            atime_ns: row.atime_ns,
            mtime_ns: row.mtime_ns,
            ctime_ns: row.ctime_ns,
            first_seen_ns: row.first_seen_ns,
            last_recall_ns: row.file.as_ref().and_then(|file| file.recalled_ns),
            state: state_of(row),
            xattr: &xattr,
        })
    }

    fn verdict(&self, row: &EntryRow, for_space: bool) -> Verdict<'p> {
        self.with_facts(row, |facts| match for_space {
            true => self.policy.decide_for_space(facts, self.now_ns),
            false => self.policy.decide(facts, self.now_ns),
        })
    }

    /// What the policy says about every rule, for `explain`.
    pub fn explain(&self, row: &EntryRow) -> Vec<policy::RuleOutcome<'p>> {
        self.with_facts(row, |facts| self.policy.explain(facts, self.now_ns))
    }

    /// What keeps a file from `wanted`, as the policy sees it.
    pub fn hindrance(&self, row: &EntryRow, wanted: Action) -> Option<policy::Hindrance> {
        self.with_facts(row, |facts| self.policy.hindrance(facts, self.now_ns, wanted))
    }

    /// The policy's own pin of a file.
    pub fn policy_pin(&self, row: &EntryRow) -> Pin {
        self.with_facts(row, |facts| self.policy.pin_of(facts))
    }

    /// The rule that tiers the file; else the rule that decided otherwise.
    pub fn tiering_rule(&self, row: &EntryRow) -> Result<String, Option<String>> {
        let verdict = self.verdict(row, false);
        let name = verdict.rule.map(|rule| rule.name.clone());
        match verdict.rule {
            Some(rule) if rule.action == Action::Tier => Ok(rule.name.clone()),
            _ => Err(name),
        }
    }

    /// In how many stores the policy wants a file, at rest or for space.
    pub fn copies(&self, row: &EntryRow) -> Copies {
        if row.kind != FileKind::File || !self.policy.wants_two_copies() {
            return Copies::One;
        }
        let wants =
            |for_space| self.verdict(row, for_space).rule.map_or(Copies::One, |rule| rule.copies);
        wants(false).max(wants(true))
    }

    /// The action for a file, with the pins of policy and state DB applied.
    fn action(&self, row: &EntryRow, for_space: bool) -> (Action, Option<&'p policy::Rule>) {
        let verdict = self.verdict(row, for_space);
        let pin = self.pin(&row.path);
        if self.wish.named && row.kind == FileKind::File {
            return (pin.limit(verdict.pin.limit(Action::Tier)), verdict.rule);
        }
        let action = pin.limit(verdict.action);
        (action, verdict.rule)
    }

    /// What is to happen to one entry, or `None` for nothing.
    pub fn step(&self, row: &EntryRow, for_space: bool) -> Option<Step> {
        if row.kind != FileKind::File {
            return None;
        }
        let (action, rule) = self.action(row, for_space);
        let state = state_of(row);
        let whole = row.allocated_bytes > 0 || row.size_bytes == 0 || row.file.is_none();
        let upload = action >= Action::Upload
            && match state {
                FileState::Resident | FileState::Dirty => true,
                FileState::Damaged => whole,
                _ => false,
            };
        // A recall since the last scan brought blocks that it did not see.
        let recalled = row.file.as_ref().is_some_and(|file| file.recalled_ns.is_some());
        let stub = action == Action::Tier
            && (row.allocated_bytes > 0 || (recalled && row.size_bytes > 0))
            && (upload || state == FileState::Uploaded);
        (upload || stub).then(|| Step {
            path: row.path.clone(),
            upload,
            stub,
            size_bytes: row.size_bytes,
            allocated_bytes: row.allocated_bytes,
            rule: rule.map(|rule| rule.name.clone()),
        })
    }

    /// The whole plan, file by file in directory order, as far as uploads and
    /// stubs are asked for.
    pub fn plan(
        &self,
        entries: impl Iterator<Item = Result<EntryRow, Error>>,
        for_space: bool,
        uploads: bool,
        stubs: bool,
        tell: &mut dyn FnMut(&Step, &EntryRow),
    ) -> Result<PlanStats, Error> {
        let mut stats = PlanStats::default();
        let mut linked = HashSet::new();
        crate::fault::point("plan.begun");
        for row in entries {
            let row = row?;
            if row.kind != FileKind::File || (row.nlink > 1 && !linked.insert(row.ino)) {
                continue;
            }
            let step = self.step(&row, for_space).map(|step| Step {
                stub: step.stub && stubs && (uploads || !step.upload),
                upload: step.upload && uploads,
                ..step
            });
            match step.filter(|step| step.upload || step.stub) {
                Some(step) => {
                    stats.upload_files += u64::from(step.upload);
                    stats.upload_bytes += if step.upload { step.size_bytes } else { 0 };
                    stats.stub_files += u64::from(step.stub);
                    stats.stub_bytes += if step.stub { step.allocated_bytes } else { 0 };
                    tell(&step, &row);
                }
                None if row.file.is_some() => stats.settled_files += 1,
                None => stats.unmatched_files += 1,
            }
        }
        Ok(stats)
    }

    /// A request if the entry is to be uploaded.
    pub fn request(&mut self, row: &EntryRow, for_space: bool) -> Option<Request> {
        let step = self.step(row, for_space)?;
        if !step.upload {
            return None;
        }
        let (_, rule) = self.action(row, for_space);
        let how = match rule {
            Some(rule) => self.how(rule),
            None => Arc::clone(&self.named_how),
        };
        Some(Request {
            path: row.path.clone(),
            ino: row.ino,
            size_bytes: row.size_bytes,
            mtime_ns: row.mtime_ns,
            how,
        })
    }

    fn how(&mut self, rule: &policy::Rule) -> Arc<How> {
        let key = std::ptr::from_ref(rule).addr();
        let defaults = &self.defaults;
        let how = self.hows.entry(key).or_insert_with(|| {
            Arc::new(How {
                rule: Some(rule.name.clone()),
                storage_class: rule.storage_class.clone(),
                chunking: chunking_of(rule.chunking, defaults.chunking),
                level: rule.compression_level.unwrap_or(defaults.level),
                dedup: rule.dedup.unwrap_or(true),
                copies: rule.copies,
            })
        });
        Arc::clone(how)
    }

    /// Checks a file again at the moment of action, with the times it has now; in how
    /// many stores it must be.
    pub fn judge(
        &self,
        path: &RelPath,
        stat: &Stat,
        row: &ManagedRow,
        for_space: bool,
    ) -> Result<Copies, Refusal> {
        let entry = entry_now(path, stat, row);
        self.allows(&entry, Action::Tier, for_space)?;
        Ok(self.copies(&entry))
    }

    /// Whether pins and policy let `wanted` be done to a file, or more than that.
    pub fn allows(&self, row: &EntryRow, wanted: Action, for_space: bool) -> Result<(), Refusal> {
        for (pin, by) in [(self.pin(&row.path), ""), (self.policy_pin(row), " by the policy")] {
            match pin {
                Pin::Pinned if wanted == Action::Tier => {
                    return Err(Refusal::new(conditions::NOT_PINNED, format!("it is pinned{by}")));
                }
                Pin::Excluded => {
                    let why = format!("it is excluded{by}");
                    return Err(Refusal::new(conditions::NOT_EXCLUDED, why));
                }
                Pin::Pinned | Pin::None => {}
            }
        }
        let (action, rule) = self.action(row, for_space);
        if action >= wanted {
            return Ok(());
        }
        let why = match rule {
            Some(rule) => format!("rule {:?} does not {wanted} it", rule.name),
            None => "no rule matches it as it is now".to_owned(),
        };
        Err(Refusal::new(conditions::RULE_MATCHES, why))
    }

    /// The classes the file is in: places in the policy's list of their names.
    pub fn classes(&self, row: &EntryRow) -> Vec<usize> {
        self.with_facts(row, |facts| self.policy.class_numbers(facts, self.now_ns))
    }

    /// How long the file was idle, as the policy counts it.
    pub fn idle_ns(&self, row: &EntryRow) -> i64 {
        self.with_facts(row, |facts| policy::idle_ns(facts, self.now_ns))
    }

    /// Where the entry stands in the watermark's order.
    pub fn rank(&self, order: &policy::Order, row: &EntryRow) -> Rank {
        self.with_facts(row, |facts| policy::rank(order, facts, self.now_ns))
    }
}

/// The state of a name; a file that nobody manages is resident.
pub fn state_of(row: &EntryRow) -> FileState {
    row.file.as_ref().map_or(FileState::Resident, |file| file.state)
}

fn chunking_of(rule: Option<policy::Chunking>, default: Chunking) -> Chunking {
    match rule {
        None | Some(policy::Chunking::Fixed { size_bytes: None }) => default,
        Some(policy::Chunking::Fixed { size_bytes: Some(size_bytes) }) => {
            Chunking::Fixed { size_bytes }
        }
        Some(policy::Chunking::FastCdc { min_bytes, avg_bytes, max_bytes }) => {
            Chunking::FastCdc { min_bytes, avg_bytes, max_bytes }
        }
    }
}

fn entry_now(path: &RelPath, stat: &Stat, row: &ManagedRow) -> EntryRow {
    EntryRow {
        root: row.root,
        path: path.clone(),
        kind: stat.kind,
        ino: stat.ino,
        size_bytes: stat.size_bytes,
        allocated_bytes: stat.allocated_bytes,
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        nlink: stat.nlink,
        atime_ns: stat.atime_ns,
        mtime_ns: stat.mtime_ns,
        ctime_ns: stat.ctime_ns,
        btime_ns: stat.btime_ns,
        first_seen_ns: row.uploaded_ns.unwrap_or(stat.ctime_ns),
        file: Some(ManagedRow { state: FileState::Uploaded, ..row.clone() }),
    }
}

/// How full the file system is, and how many bytes must go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pressure {
    pub used_pct: f64,
    /// Bytes to free to reach the low watermark; 0 below the high one.
    pub to_free_bytes: u64,
}

/// Compares the file system with the policy's watermarks.
pub fn pressure(policy: &PolicySet, root: &RootDir) -> Result<Option<Pressure>, Error> {
    let Some(watermark) = policy.watermark() else { return Ok(None) };
    let space = FreeSpace::of(root)
        .map_err(|source| Error::ReadTree { path: root.path().to_owned(), source })?;
    let over = space.used_pct >= watermark.high_pct;
    let share = (space.used_pct - watermark.low_pct).max(0.0) / 100.0;
    let to_free_bytes = if over { (space.usable_bytes as f64 * share) as u64 } else { 0 };
    Ok(Some(Pressure { used_pct: space.used_pct, to_free_bytes }))
}

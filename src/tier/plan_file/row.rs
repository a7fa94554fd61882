//! One file of a plan.

use super::Header;
use crate::manifest::Name;
use crate::os::relpath::RelPath;
use crate::policy::Action;
use crate::state::EntryRow;
use crate::tier::plan::Step;
use serde::{Deserialize, Serialize};

/// What is planned for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Planned {
    /// Make a copy, keep the bytes here.
    Upload,
    /// Make a copy unless there is one, then free the blocks.
    Tier,
}

impl Planned {
    pub fn of(step: &Step) -> Self {
        if step.stub { Self::Tier } else { Self::Upload }
    }

    pub fn as_str(self) -> &'static str {
        self.action().as_str()
    }

    /// The least that a rule must want for this.
    pub fn action(self) -> Action {
        match self {
            Self::Upload => Action::Upload,
            Self::Tier => Action::Tier,
        }
    }
}

/// A row: a name, what is to be done, and the inode that it was decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub root: Name,
    pub path: RelPath,
    pub action: Planned,
    pub size_bytes: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub ino: u64,
    /// Known of files that were managed when the plan was made.
    pub generation: Option<u32>,
    pub rule: Option<String>,
    pub reason: String,
}

/// A row as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    root: Name,
    path: Name,
    action: Planned,
    size_bytes: u64,
    #[serde(with = "digits")]
    mtime_ns: i64,
    #[serde(with = "digits")]
    ctime_ns: i64,
    #[serde(with = "digits")]
    ino: u64,
    generation: Option<u32>,
    rule: Option<String>,
    reason: String,
    sum: String,
}

impl Row {
    /// What the planner decided on a scanned file.
    pub fn of(root: Name, step: &Step, entry: &EntryRow, reason: String) -> Self {
        Self {
            root,
            path: entry.path.clone(),
            action: Planned::of(step),
            size_bytes: entry.size_bytes,
            mtime_ns: entry.mtime_ns,
            ctime_ns: entry.ctime_ns,
            ino: entry.ino,
            generation: entry.file.as_ref().map(|file| file.ident.generation),
            rule: step.rule.clone(),
            reason,
        }
    }

    /// The line, without its end.
    pub fn line(&self, header: &Header) -> Vec<u8> {
        let line = Line {
            root: self.root.clone(),
            path: Name::from_bytes(self.path.as_bytes()),
            action: self.action,
            size_bytes: self.size_bytes,
            mtime_ns: self.mtime_ns,
            ctime_ns: self.ctime_ns,
            ino: self.ino,
            generation: self.generation,
            rule: self.rule.clone(),
            reason: self.reason.clone(),
            sum: self.sum(header.seed(), self.action),
        };
        serde_json::to_vec(&line).expect("a row has text keys")
    }

    /// Reads a line; the error says what is wrong and what mends it.
    pub(super) fn read(line: &[u8], header: &Header) -> Result<Self, (String, &'static str)> {
        const PUT_BACK: &str = "put back what hsm plan wrote, or remove the line";
        let line: Line = serde_json::from_slice(line).map_err(|error| match error.is_eof() {
            true => (
                "it is cut off".to_owned(),
                "remove the line, or write the plan again: hsm plan -o",
            ),
            false => (super::reader::plainly(&error), PUT_BACK),
        })?;
        let path = RelPath::new(line.path.as_bytes())
            .map_err(|error| (error.to_string(), PUT_BACK))
            .and_then(|path| match path.is_root() {
                true => Err(("a root itself is no file".to_owned(), PUT_BACK)),
                false => Ok(path),
            })?;
        if !header.has_root(&line.root) {
            let root = line.root.as_bytes().escape_ascii().to_string();
            return Err((format!("the plan is not for the root {root}"), "remove the line"));
        }
        let row = Self {
            root: line.root,
            path,
            action: line.action,
            size_bytes: line.size_bytes,
            mtime_ns: line.mtime_ns,
            ctime_ns: line.ctime_ns,
            ino: line.ino,
            generation: line.generation,
            rule: line.rule,
            reason: line.reason,
        };
        // `upload` may stand where `tier` stood.
        let was = |action| row.sum(header.seed(), action) == line.sum;
        let is_less = row.action == Planned::Upload && was(Planned::Tier);
        if !was(row.action) && !is_less {
            return Err((
                "it is not what hsm plan wrote".to_owned(),
                "only \"tier\" may become \"upload\", and lines may be removed: put back the rest",
            ));
        }
        Ok(row)
    }

    fn sum(&self, seed: u32, action: Planned) -> String {
        let mut sum = crc32fast::Hasher::new_with_initial(seed);
        let mut add = |bytes: &[u8]| {
            sum.update(&(bytes.len() as u64).to_le_bytes());
            sum.update(bytes);
        };
        add(self.root.as_bytes());
        add(self.path.as_bytes());
        add(action.as_str().as_bytes());
        for number in [self.size_bytes, self.ino] {
            add(&number.to_le_bytes());
        }
        for time_ns in [self.mtime_ns, self.ctime_ns] {
            add(&time_ns.to_le_bytes());
        }
        add(&self.generation.map_or(Vec::new(), |generation| generation.to_le_bytes().to_vec()));
        add(self.rule.as_deref().unwrap_or("").as_bytes());
        add(self.reason.as_bytes());
        format!("{:08x}", sum.finalize())
    }
}

/// A number as text; read also where a tool made a number of it.
mod digits {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::fmt::Display;
    use std::str::FromStr;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Number(serde_json::Number),
    }

    pub fn serialize<T: Display, S: Serializer>(number: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        let text = match Form::deserialize(from) {
            Ok(Form::Text(text)) => text,
            Ok(Form::Number(number)) => number.to_string(),
            Err(_) => return Err(D::Error::custom("a time or inode is a number in quotes")),
        };
        text.parse().map_err(|_| D::Error::custom(format!("{text:?} is not a number in range")))
    }
}

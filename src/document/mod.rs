//! A TOML document whose every value knows its line and column.
//!
//! Policies and the config are written by people, so a mistake in them must be
//! found by eye: a [`Problem`] says file, line, column, what is wrong and how
//! to mend it, and a document collects all of its problems instead of stopping
//! at the first. Rooms walk a document by hand through [`Section`], which knows
//! its keys, so that a typing error is named with the key that was meant.
//!
//! This room knows TOML and nothing of what the keys mean.

mod section;
mod suggest;

pub use section::{Item, Section};
pub use suggest::closest;

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::sync::Arc;
use toml::de::DeTable;

/// A place in a file; line and column count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub file: Arc<str>,
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One mistake in a document: `file:line:column: what; mend`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{file}:{line}:{column}: {what}{}{mend}", if .mend.is_empty() { "" } else { "; " })]
pub struct Problem {
    pub file: Arc<str>,
    /// Counts from 1.
    pub line: usize,
    /// Counts from 1, in characters.
    pub column: usize,
    pub what: String,
    /// What to do about it; empty where the `what` says it all.
    pub mend: String,
}

impl Problem {
    pub fn at(place: Place, what: impl Into<String>, mend: impl Into<String>) -> Self {
        let Place { file, line, column } = place;
        Self { file, line, column, what: what.into(), mend: mend.into() }
    }
}

/// The text of one file and the problems found in it so far.
#[derive(Debug)]
pub struct Document<'t> {
    file: Arc<str>,
    text: &'t str,
    /// Byte offset of each line's first character.
    line_starts: Vec<usize>,
    problems: RefCell<Vec<Problem>>,
    /// Keys of the document itself, known once it is walked: TOML makes such a
    /// key part of the table above it when it stands too low.
    top_keys: OnceCell<Vec<String>>,
}

impl<'t> Document<'t> {
    /// `file` is the name that problems carry; nothing is opened.
    pub fn new(file: &str, text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        let (problems, top_keys) = (RefCell::default(), OnceCell::new());
        Self { file: file.into(), text, line_starts, problems, top_keys }
    }

    /// The document's table, or `None` if it is not TOML: then the problems say
    /// where, one for each line, and nothing should be concluded from the rest.
    pub fn parse(&self) -> Option<DeTable<'t>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        let mut last_line = 0;
        for error in &errors {
            let place = self.place(error.span().map_or(0, |span| span.start));
            if place.line != last_line {
                last_line = place.line;
                self.problem_at(place, format!("not valid TOML: {}", error.message()), "");
            }
        }
        errors.is_empty().then(|| table.into_inner())
    }

    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// Where the byte `offset` of the text stands.
    pub fn place(&self, offset: usize) -> Place {
        let line = self.line_starts.partition_point(|start| *start <= offset).max(1);
        let before = self.text.get(self.line_starts[line - 1]..offset).unwrap_or("");
        Place { file: Arc::clone(&self.file), line, column: before.chars().count() + 1 }
    }

    /// The piece of text a value was written with.
    pub(crate) fn source(&self, span: std::ops::Range<usize>) -> &'t str {
        self.text.get(span).unwrap_or("")
    }

    /// Notes a problem at the byte `offset`.
    pub fn problem(&self, offset: usize, what: impl Into<String>, mend: impl Into<String>) {
        self.problem_at(self.place(offset), what, mend);
    }

    /// Notes a problem at a place.
    pub fn problem_at(&self, place: Place, what: impl Into<String>, mend: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::at(place, what, mend));
    }

    /// All problems, in the order of the text.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort();
        problems
    }
}

#[cfg(test)]
mod tests;

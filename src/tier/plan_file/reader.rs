//! Reads a plan file: first all of it, so that a mistake at its end stops the
//! run before its beginning is done, then root by root.
//!
//! Memory does not grow with the plan. The file is read at offsets of the
//! reader's own, so that two passes over it do not meet.

use super::{Header, KIND, Mistake, Mistakes, Row, VERSION};
use crate::tier::Error;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// No line that `hsm plan` writes is longer.
const LINE_BYTES: u64 = 1 << 20;

/// A plan without a mistake.
#[derive(Debug)]
pub struct PlanFile {
    file: File,
    header: Header,
    rows: u64,
}

impl PlanFile {
    /// Reads all of it. [`Error::PlanMistakes`] names what is wrong.
    pub fn open(file: File) -> Result<Self, Error> {
        let mut lines = Lines::new(&file);
        let mut mistakes = Mistakes::default();
        let header = match lines.next() {
            Some(line) => header(&line?)?,
            None => {
                let mend = "write the plan again: hsm plan -o";
                return Err(mistake(1, "the file is empty", mend));
            }
        };
        let mut rows = 0;
        for line in lines {
            let Line { number, bytes } = line?;
            match Row::read(&bytes, &header) {
                Ok(_) => rows += 1,
                Err((what, mend)) => mistakes.push(Mistake { line: number, what, mend }),
            }
        }
        if mistakes.count() > 0 {
            return Err(Error::PlanMistakes(mistakes));
        }
        Ok(Self { file, header, rows })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How many rows it has, of all roots.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The rows of one root with the numbers of their lines.
    pub fn rows_of(&self, root: &Path) -> Rows<'_> {
        let mut lines = Lines::new(&self.file);
        lines.next();
        Rows { lines, header: &self.header, root: super::root_name(root) }
    }
}

fn mistake(line: u64, what: &str, mend: &'static str) -> Error {
    Error::PlanMistakes(Mistake { line, what: what.to_owned(), mend }.into())
}

fn header(line: &Line) -> Result<Header, Error> {
    const MEND: &str = "the first line of a plan must stay as hsm plan wrote it";
    #[derive(Deserialize)]
    struct Kind {
        format: String,
        version: u32,
    }
    let wrong = |what: String| mistake(line.number, &what, MEND);
    let kind: Kind = serde_json::from_slice(&line.bytes)
        .map_err(|error| wrong(format!("this is no plan of hsm: {}", plainly(&error))))?;
    if kind.format != KIND {
        return Err(wrong(format!("this is no plan of hsm but {:?}", kind.format)));
    }
    if kind.version != VERSION {
        let what = format!("the plan has format {}, this hsm reads {VERSION}", kind.version);
        return Err(mistake(line.number, &what, "write the plan again: hsm plan -o"));
    }
    serde_json::from_slice(&line.bytes).map_err(|error| wrong(plainly(&error)))
}

/// What the parser says, with the column; the line is the plan's, not its.
pub(super) fn plainly(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => format!("{} (column {})", &text[..at], error.column()),
        None => text,
    }
}

/// The rows of one root.
#[derive(Debug)]
pub struct Rows<'p> {
    lines: Lines<'p>,
    header: &'p Header,
    root: crate::manifest::Name,
}

impl Iterator for Rows<'_> {
    type Item = Result<(u64, Row), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Line { number, bytes } = match self.lines.next()? {
                Ok(line) => line,
                Err(error) => return Some(Err(error)),
            };
            match Row::read(&bytes, self.header) {
                Ok(row) if row.root == self.root => return Some(Ok((number, row))),
                Ok(_) => {}
                // Somebody edits it while it is applied.
                Err((what, mend)) => return Some(Err(mistake(number, &what, mend))),
            }
        }
    }
}

#[derive(Debug)]
struct Line {
    number: u64,
    bytes: Vec<u8>,
}

/// The lines that hold anything.
#[derive(Debug)]
struct Lines<'f> {
    reader: BufReader<Offset<'f>>,
    number: u64,
}

impl<'f> Lines<'f> {
    fn new(file: &'f File) -> Self {
        Self { reader: BufReader::with_capacity(256 << 10, Offset { file, at: 0 }), number: 0 }
    }

    fn read(&mut self) -> Result<Option<Line>, Error> {
        let mut bytes = Vec::new();
        loop {
            self.number += 1;
            bytes.clear();
            let mut limited = self.reader.by_ref().take(LINE_BYTES);
            limited.read_until(b'\n', &mut bytes).map_err(Error::ReadPlan)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if !bytes.ends_with(b"\n") && bytes.len() as u64 == LINE_BYTES {
                return Err(mistake(self.number, "the line is too long", "remove the line"));
            }
            bytes.truncate(bytes.trim_ascii_end().len());
            if !bytes.trim_ascii().is_empty() {
                return Ok(Some(Line { number: self.number, bytes }));
            }
        }
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<Line, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// A file from a place of its own.
#[derive(Debug)]
struct Offset<'f> {
    file: &'f File,
    at: u64,
}

impl Read for Offset<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

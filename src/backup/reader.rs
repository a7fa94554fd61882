//! Reads a manifest line by line; memory does not grow with it.
//!
//! Strict: a line that is not what `hsm manifest` writes, a blank one, one more behind
//! the end or a missing end is an error with the line's number. A manifest that cannot
//! be read to its end proves nothing.

use super::Error;
use super::row::{End, Header, KIND, Row, VERSION};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead, Read};

/// No line that `hsm manifest` writes is longer: roots are few, and a path has at most
/// 4096 bytes.
const LINE_BYTES: u64 = 1 << 20;

/// A manifest whose header has been read.
#[derive(Debug)]
pub struct Manifest<R> {
    header: Header,
    lines: Lines<R>,
}

impl<R: BufRead> Manifest<R> {
    pub fn open(file: R) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Kind {
            format: String,
            version: u32,
        }
        let mut lines = Lines { file, number: 0 };
        let Some(first) = lines.next()? else {
            return Err(lines.mistake("the file is empty"));
        };
        let kind: Kind = serde_json::from_slice(&first)
            .map_err(|error| lines.mistake(format!("no manifest of hsm: {}", plainly(&error))))?;
        if kind.format != KIND {
            return Err(lines.mistake(format!("no manifest of hsm but {:?}", kind.format)));
        }
        if kind.version != VERSION {
            let what = format!("it has format {}, this hsm reads {VERSION}", kind.version);
            return Err(lines.mistake(what));
        }
        let header = lines.parse(&first)?;
        Ok(Self { header, lines })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The rows, which end with an error where the manifest is not whole.
    pub fn rows(self) -> Rows<R> {
        Rows { lines: self.lines, seen: End { rows: 0, size_bytes: 0 }, ended: false }
    }
}

/// The rows of a manifest.
#[derive(Debug)]
pub struct Rows<R> {
    lines: Lines<R>,
    seen: End,
    ended: bool,
}

impl<R: BufRead> Rows<R> {
    fn read(&mut self) -> Result<Option<Row>, Error> {
        let lines = &mut self.lines;
        let Some(bytes) = lines.next()? else {
            return Err(lines.mistake("the end is missing: the file was cut off"));
        };
        if bytes.starts_with(b"{\"rows\":") {
            let end: End = lines.parse(&bytes)?;
            if end != self.seen {
                let (said, seen) = (end.rows, self.seen.rows);
                let what =
                    format!("it ends after {seen} rows and should have {said}, or other ones");
                return Err(lines.mistake(what));
            }
            return match lines.next()? {
                None => Ok(None),
                Some(_) => Err(lines.mistake("something comes after the end")),
            };
        }
        let row: Row = lines.parse(&bytes)?;
        if !row.path.as_bytes().starts_with(b"/") || row.path.as_bytes().contains(&0) {
            return Err(lines.mistake("its path is not absolute"));
        }
        self.seen.rows += 1;
        self.seen.size_bytes = self.seen.size_bytes.saturating_add(row.size_bytes);
        Ok(Some(row))
    }
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = self.read();
        self.ended = !matches!(row, Ok(Some(_)));
        row.transpose()
    }
}

#[derive(Debug)]
struct Lines<R> {
    file: R,
    /// Of the line that was read last.
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Without its end; `None` behind the last one.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut bytes = Vec::new();
        let mut limited = self.file.by_ref().take(LINE_BYTES);
        limited.read_until(b'\n', &mut bytes).map_err(Error::Read)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        match bytes.pop() {
            Some(b'\n') => Ok(Some(bytes)),
            _ if bytes.len() as u64 + 1 == LINE_BYTES => Err(self.mistake("it is too long")),
            _ => Err(self.mistake("it is cut off")),
        }
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(bytes).map_err(|error| self.mistake(plainly(&error)))
    }

    fn mistake(&self, what: impl Into<String>) -> Error {
        Error::Mistake { line: self.number.max(1), what: what.into() }
    }
}

/// What the parser says, with the column; the line is the manifest's, not its.
fn plainly(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => format!("{} (column {})", &text[..at], error.column()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::{HeaderRest, RowState, line};
    use super::*;
    use crate::ids::{ContentId, NodeId, StoreId};
    use crate::manifest::Name;

    fn header() -> Header {
        Header::of(HeaderRest {
            store: StoreId([1; 16]),
            url: "s3://b/p".into(),
            encrypted: true,
            node: NodeId([2; 16]),
            made: "2026-01-31T14:00:00Z".into(),
            seq: 7,
            snapshot: Some("daily".into()),
            roots: vec![Name::from_bytes(b"/srv")],
        })
    }

    fn row(path: &[u8]) -> Row {
        Row {
            path: Name::from_bytes(path),
            content: ContentId([3; 32]),
            size_bytes: 5,
            mtime_ns: 1_546_300_800_123_456_789,
            state: RowState::Stub,
            logged: true,
        }
    }

    fn file(lines: &[Vec<u8>]) -> Vec<u8> {
        lines.iter().flat_map(|line| [&line[..], b"\n"].concat()).collect()
    }

    fn read(bytes: &[u8]) -> Result<Vec<Row>, String> {
        let manifest = Manifest::open(bytes).map_err(|error| error.to_string())?;
        assert_eq!(*manifest.header(), header());
        manifest.rows().collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let rows = [row(b"/srv/a"), row(b"/srv/\xff\nb")];
        let end = End { rows: 2, size_bytes: 10 };
        let lines = [line(&header()), line(&rows[0]), line(&rows[1]), line(&end)];
        assert_eq!(read(&file(&lines)).expect("good"), rows);
        let text = String::from_utf8(lines[1].clone()).expect("UTF-8");
        assert!(text.contains(r#""mtime_ns":"1546300800123456789""#), "{text}");
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let (head, good) = (line(&header()), line(&row(b"/srv/a")));
        let end = line(&End { rows: 1, size_bytes: 5 });
        let changed = |from: &str, to: &str| {
            let text = String::from_utf8(good.clone()).expect("UTF-8");
            assert!(text.contains(from), "{text}");
            text.replace(from, to).into_bytes()
        };
        let whole = file(&[head.clone(), good.clone(), end.clone()]);
        assert!(read(&whole).is_ok());
        // Wherever it is cut off, that is seen.
        for at in 0..whole.len() {
            assert!(
                Manifest::open(&whole[..at])
                    .and_then(|m| m.rows().collect::<Result<Vec<_>, _>>())
                    .is_err(),
                "{at}"
            );
        }
        let table: Vec<(Vec<u8>, &str)> = vec![
            (vec![], "line 1 of the manifest: the file is empty"),
            (
                file(std::slice::from_ref(&good)),
                "line 1 of the manifest: no manifest of hsm: missing field",
            ),
            (file(&[br#"{"format":"hsm-plan","version":1}"#.to_vec()]), "but \"hsm-plan\""),
            (file(&[br#"{"format":"hsm-manifest","version":2}"#.to_vec()]), "format 2, this hsm"),
            (file(&[head.clone(), good.clone()]), "line 2 of the manifest: the end is missing"),
            (file(&[head.clone(), end.clone()]), "line 2 of the manifest: it ends after 0 rows"),
            (
                file(&[head.clone(), good.clone(), end.clone(), good.clone()]),
                "line 4 of the manifest: something",
            ),
            (
                file(&[head.clone(), vec![], good.clone(), end.clone()]),
                "line 2 of the manifest: EOF",
            ),
            (
                file(&[head.clone(), changed("/srv", "srv"), end.clone()]),
                "line 2 of the manifest: its path is not",
            ),
            (file(&[head.clone(), changed("}", r#","x":1}"#), end.clone()]), "line 2"),
            (
                file(&[head.clone(), changed("\"stub\"", "\"gone\""), end.clone()]),
                "unknown variant `gone`",
            ),
            (
                file(&[head.clone(), changed("\"1546300800123456789\"", "15e9"), end.clone()]),
                "line 2",
            ),
            (file(&[head.clone(), vec![b'x'; 2 << 20]]), "line 2 of the manifest: it is too long"),
        ];
        for (bytes, want) in table {
            let error = read(&bytes).expect_err(want);
            assert!(error.contains(want), "{want}: {error}");
        }
    }
}

//! The one way to standard output, and the escaping of names everywhere.
//!
//! Stdout carries only the data asked for. For people that is text, with file
//! names escaped when stdout is a terminal (a name may hold control sequences)
//! and raw in a pipe. For programs (`--json`) it is one object per line, and
//! the last one is always the `summary`, also when the run failed. Messages on
//! stderr are always escaped: a newline in a name must not forge a log line.
//!
//! Lines are written whole under one lock, so that worker threads may report.
//! A reader that went away (`hsm find | head`) is [`Error::Output`] with
//! `BrokenPipe`, which ends the run quietly.

use super::error::Error;
use base64::Engine as _;
use serde::{Serialize, Serializer, ser::SerializeMap};
use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Standard output, or a buffer in a test. Clones share it.
#[derive(Clone)]
pub struct Output {
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    json: bool,
    quiet: bool,
    escape: bool,
}

impl Output {
    pub fn stdout(json: bool, quiet: bool) -> Self {
        let stdout = io::stdout();
        let escape = stdout.is_terminal();
        Self::new(Box::new(BufWriter::with_capacity(64 << 10, stdout)), json, quiet, escape)
    }

    pub fn new(writer: Box<dyn Write + Send>, json: bool, quiet: bool, escape: bool) -> Self {
        Self { writer: Arc::new(Mutex::new(writer)), json, quiet, escape }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// One line of the data asked for, unless the output is JSON.
    pub fn line(&self, text: impl AsRef<[u8]>) -> Result<(), Error> {
        if self.json { Ok(()) } else { self.terminated(text.as_ref(), b'\n') }
    }

    /// A line that tells a person what was done; `--quiet` leaves it out.
    pub fn remark(&self, text: impl AsRef<[u8]>) -> Result<(), Error> {
        if self.quiet { Ok(()) } else { self.line(text) }
    }

    /// One file name, ended by NUL for `-0` and by a newline otherwise.
    pub fn name(&self, name: &[u8], null: bool) -> Result<(), Error> {
        if self.json {
            return Ok(());
        }
        if null { self.terminated(name, 0) } else { self.terminated(&self.shown(name), b'\n') }
    }

    /// Bytes as they are, for a command whose output is a file.
    pub fn raw(&self, bytes: &[u8]) -> Result<(), Error> {
        self.locked().write_all(bytes).map_err(Error::Output)
    }

    /// So many zeros.
    pub fn zeros(&self, mut count: u64) -> Result<(), Error> {
        let some = [0; 64 << 10];
        while count > 0 {
            let now = count.min(some.len() as u64);
            self.raw(&some[..now as usize])?;
            count -= now;
        }
        Ok(())
    }

    /// One JSON object on a line of its own, unless the output is text.
    pub fn record(&self, value: &impl Serialize) -> Result<(), Error> {
        if !self.json {
            return Ok(());
        }
        let text = serde_json::to_vec(value).expect("records have text keys and finite numbers");
        self.terminated(&text, b'\n')
    }

    /// The name as this output shows it inside a line.
    pub fn shown<'n>(&self, name: &'n [u8]) -> Cow<'n, [u8]> {
        if self.escape { Cow::Owned(escaped(name).into_bytes()) } else { Cow::Borrowed(name) }
    }

    /// Hands everything to the kernel; call once at the end of a run.
    pub fn flush(&self) -> Result<(), Error> {
        self.locked().flush().map_err(Error::Output)
    }

    fn terminated(&self, text: &[u8], end: u8) -> Result<(), Error> {
        let mut writer = self.locked();
        writer.write_all(text).and_then(|()| writer.write_all(&[end])).map_err(Error::Output)
    }

    fn locked(&self) -> MutexGuard<'_, Box<dyn Write + Send>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file name or path in JSON: `{"text":..}` where it is UTF-8, else
/// `{"bytes":<base64>}`, so that any name survives.
#[derive(Debug, Clone, Copy)]
pub struct Name<'a>(pub &'a [u8]);

impl<'a> Name<'a> {
    pub fn of(path: &'a Path) -> Self {
        Self(path.as_os_str().as_bytes())
    }
}

impl Serialize for Name<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(1))?;
        match std::str::from_utf8(self.0) {
            Ok(text) => map.serialize_entry("text", text)?,
            Err(_) => {
                let base64 = base64::engine::general_purpose::STANDARD.encode(self.0);
                map.serialize_entry("bytes", &base64)?;
            }
        }
        map.end()
    }
}

/// A name made safe for a terminal and a log: control characters, bytes that
/// are not UTF-8, characters that reorder or hide text, and the backslash are
/// written as `\n`, `\x1b` or `\u{202e}`.
pub fn escaped(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for part in name.utf8_chunks() {
        for letter in part.valid().chars() {
            if letter == '\\' || letter.is_control() || hides_text(letter) {
                push_escape(&mut text, letter);
            } else {
                text.push(letter);
            }
        }
        for byte in part.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// [`escaped`] for a path.
pub fn escaped_path(path: &Path) -> String {
    escaped(path.as_os_str().as_bytes())
}

fn push_escape(text: &mut String, letter: char) {
    match letter {
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\t' => text.push_str("\\t"),
        '\r' => text.push_str("\\r"),
        _ if letter.is_ascii() => text.push_str(&format!("\\x{:02x}", letter as u32)),
        _ => text.push_str(&format!("\\u{{{:x}}}", letter as u32)),
    }
}

/// Zero-width characters, line separators and the bidirectional controls of
/// Unicode TR 36 section 2.
fn hides_text(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer whose bytes the test can read afterwards.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(json: bool, escape: bool, use_it: impl FnOnce(&Output)) -> Vec<u8> {
        let kept = Kept::default();
        use_it(&Output::new(Box::new(kept.clone()), json, false, escape));
        kept.0.lock().unwrap().clone()
    }

    #[test]
    fn names_are_escaped_on_a_terminal_and_raw_in_a_pipe() {
        let name = b"a\x1b[31m\n\xff";
        assert_eq!(
            written(false, true, |out| out.name(name, false).unwrap()),
            b"a\\x1b[31m\\n\\xff\n"
        );
        assert_eq!(
            written(false, false, |out| out.name(name, false).unwrap()),
            b"a\x1b[31m\n\xff\n"
        );
        assert_eq!(written(false, true, |out| out.name(name, true).unwrap()), b"a\x1b[31m\n\xff\0");
    }

    #[test]
    fn hidden_and_reordering_characters_are_shown() {
        assert_eq!(escaped("x\u{202e}fdp.exe".as_bytes()), "x\\u{202e}fdp.exe");
        assert_eq!(escaped("Straße \\ é".as_bytes()), "Straße \\\\ é");
        assert_eq!(escaped(b"\xc3"), "\\xc3");
    }

    #[test]
    fn any_name_survives_json() {
        assert_eq!(serde_json::to_string(&Name(b"a\nb")).unwrap(), r#"{"text":"a\nb"}"#);
        assert_eq!(serde_json::to_string(&Name(b"\xff")).unwrap(), r#"{"bytes":"/w=="}"#);
    }

    #[test]
    fn text_and_json_exclude_each_other() {
        let both = |out: &Output| {
            out.line("for people").unwrap();
            out.record(&serde_json::json!({"type": "file"})).unwrap();
        };
        assert_eq!(written(false, false, both), b"for people\n");
        assert_eq!(written(true, false, both), b"{\"type\":\"file\"}\n");
    }

    #[test]
    fn a_reader_that_went_away_is_an_output_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = Output::new(Box::new(Gone), false, false, false).line("x").unwrap_err();
        assert!(matches!(error, Error::Output(io) if io.kind() == io::ErrorKind::BrokenPipe));
    }
}

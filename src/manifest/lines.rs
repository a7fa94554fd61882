//! The frame that segments and checkpoints share.
//!
//! ```text
//! 8 bytes magic "HSMSEG1\n" or "HSMCKP1\n" | 1 byte flags | body
//! body = one zstd frame of JSON lines, sealed when flags has bit 0
//! ```
//!
//! Damage shows through the zstd content checksum (or the GCM tag), a missing
//! object through the hash chain. An encrypted store refuses a plain object:
//! otherwise whoever can write to the bucket could add to the catalog.

use super::Error;
use super::record::{self, BadLine, Record};
use crate::chunk::Protection;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read};
use zstd::bulk::Compressor;

/// The most bytes of JSON in one object. Bounds what a hostile object can make
/// a reader allocate, and with it the largest single file: about 13 TiB in
/// chunks of 4 MiB, 200 TiB in chunks of 64 MiB.
pub const MAX_PLAIN_LEN: usize = 256 << 20;

/// The most memory that the records of one object may take. What hsm writes takes
/// about twice its JSON; a list of nothing but empty strings takes twelve times. (A
/// test is not to wait for so much of it.)
const MAX_RECORD_BYTES: usize = if cfg!(test) { 16 << 20 } else { 768 << 20 };
/// Of a header, and of a record that is neither a file nor a pack: these are read by way
/// of a form that takes sixteen times a list of numbers.
const MAX_SHORT_LINE: usize = 1 << 20;

const FLAG_SEALED: u8 = 1;
const PREAMBLE_LEN: usize = 9;
const VERSION: u32 = 1;
const LEVEL: i32 = 3;
/// A reader refuses frames that want a larger window (16 MiB).
const WINDOW_LOG_MAX: u32 = 24;

/// One kind of catalog object.
pub(super) struct Kind {
    pub what: &'static str,
    pub magic: &'static [u8; 8],
    /// The header's `"t"`.
    pub tag: &'static str,
}

#[derive(Serialize)]
struct HeadLine<'a, H> {
    t: &'a str,
    v: u32,
    #[serde(flatten)]
    header: &'a H,
}

#[derive(Deserialize)]
struct HeadProbe {
    t: String,
    v: serde_json::Value,
}

impl Kind {
    pub fn encode<H: Serialize>(
        &self,
        header: &H,
        records: &[Record],
        protection: &Protection,
    ) -> Result<Vec<u8>, Error> {
        let text = self.text(header, records)?;
        let flags = if protection.is_encrypted() { FLAG_SEALED } else { 0 };
        let mut object = Vec::with_capacity(PREAMBLE_LEN + text.len() / 4);
        object.extend_from_slice(self.magic);
        object.push(flags);
        let body =
            compress(&text).map_err(|source| Error::Decompress { what: self.what, source })?;
        let sealed = protection.seal(&object, body);
        object.extend_from_slice(&sealed);
        Ok(object)
    }

    fn text<H: Serialize>(&self, header: &H, records: &[Record]) -> Result<Vec<u8>, Error> {
        let unwritable =
            |record: usize, why: String| Error::Unwritable { what: self.what, record, why };
        let mut text = vec![];
        let head = HeadLine { t: self.tag, v: VERSION, header };
        serde_json::to_writer(&mut text, &head).map_err(|e| unwritable(0, e.to_string()))?;
        text.push(b'\n');
        for (at, record) in records.iter().enumerate() {
            if let Some(why) = record.fault() {
                return Err(unwritable(at + 1, why));
            }
            serde_json::to_writer(&mut text, record)
                .map_err(|e| unwritable(at + 1, e.to_string()))?;
            text.push(b'\n');
            if text.len() > MAX_PLAIN_LEN {
                return Err(Error::TooLarge { what: self.what, max: MAX_PLAIN_LEN });
            }
        }
        Ok(text)
    }

    pub fn decode<H: for<'de> Deserialize<'de>>(
        &self,
        object: &[u8],
        protection: &Protection,
    ) -> Result<(H, Vec<Record>), Error> {
        let body = self.open(object, protection)?;
        let mut header = None;
        let mut records: Vec<Record> = vec![];
        let mut held_bytes = 0_usize;
        self.each_line(&body, |nth, line| {
            if nth == 1 {
                header = Some(self.header(line)?);
                return Ok(());
            }
            let record = record::parse(line, MAX_SHORT_LINE);
            let record = record.map_err(|bad| self.bad_line(nth, bad))?;
            held_bytes = held_bytes.saturating_add(record.held_bytes());
            if held_bytes > MAX_RECORD_BYTES {
                return Err(Error::TooLarge { what: self.what, max: MAX_RECORD_BYTES });
            }
            records.push(record);
            Ok(())
        })?;
        match header {
            Some(header) => Ok((header, records)),
            None => Err(Error::Malformed { what: self.what, why: "it has no header".to_owned() }),
        }
    }

    /// Checks the preamble and takes the seal off.
    fn open<'a>(
        &self,
        object: &'a [u8],
        protection: &Protection,
    ) -> Result<std::borrow::Cow<'a, [u8]>, Error> {
        let what = self.what;
        let preamble = object.get(..PREAMBLE_LEN).ok_or(Error::Foreign { what })?;
        if preamble[..8] != *self.magic {
            // HSMSEG<version>\n: the same kind in a version to come?
            if preamble[..6] == self.magic[..6] && preamble[7] == b'\n' {
                let found = preamble[6..7].escape_ascii().to_string();
                return Err(Error::Newer { what, found, known: VERSION });
            }
            return Err(Error::Foreign { what });
        }
        match (preamble[8], protection.is_encrypted()) {
            (0, false) | (FLAG_SEALED, true) => {}
            (0, true) => return Err(Error::NotEncrypted { what }),
            (FLAG_SEALED, false) => return Err(Error::KeyMissing { what }),
            (flags, _) => {
                let found = format!("{VERSION} with flags {flags:#04x}");
                return Err(Error::Newer { what, found, known: VERSION });
            }
        }
        let (preamble, body) = object.split_at(PREAMBLE_LEN);
        protection.open(preamble, body).map_err(|source| Error::Sealed { what, source })
    }

    fn header<H: for<'de> Deserialize<'de>>(&self, line: &[u8]) -> Result<H, Error> {
        let no_json = |source| Error::Json { what: self.what, line: 1, source };
        if line.len() > MAX_SHORT_LINE {
            return Err(Error::TooLarge { what: self.what, max: MAX_SHORT_LINE });
        }
        let probe: HeadProbe = serde_json::from_slice(line).map_err(no_json)?;
        if probe.t != self.tag {
            return Err(Error::Foreign { what: self.what });
        }
        if probe.v != VERSION {
            let found = probe.v.to_string();
            return Err(Error::Newer { what: self.what, found, known: VERSION });
        }
        serde_json::from_slice(line).map_err(no_json)
    }

    /// Decompresses as it goes: memory is bounded by the longest line, and that
    /// by [`MAX_PLAIN_LEN`].
    fn each_line(
        &self,
        body: &[u8],
        mut visit: impl FnMut(usize, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let what = self.what;
        let broken = |source| Error::Decompress { what, source };
        let mut frame = zstd::stream::read::Decoder::with_buffer(body).map_err(broken)?;
        frame.window_log_max(WINDOW_LOG_MAX).map_err(broken)?;
        let mut text = BufReader::with_capacity(64 << 10, frame.take(MAX_PLAIN_LEN as u64 + 1));
        let (mut line, mut nth, mut total) = (vec![], 0, 0);
        loop {
            line.clear();
            let len = text.read_until(b'\n', &mut line).map_err(broken)?;
            if len == 0 {
                return Ok(());
            }
            total += len;
            nth += 1;
            if total > MAX_PLAIN_LEN {
                return Err(Error::TooLarge { what, max: MAX_PLAIN_LEN });
            }
            if line.pop() != Some(b'\n') {
                let why = "the line has no end".to_owned();
                return Err(Error::BadRecord { what, line: nth, why });
            }
            visit(nth, &line)?;
        }
    }

    fn bad_line(&self, line: usize, bad: BadLine) -> Error {
        match bad {
            BadLine::Json(source) => Error::Json { what: self.what, line, source },
            BadLine::Record(why) => Error::BadRecord { what: self.what, line, why },
        }
    }
}

fn compress(text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut zstd = Compressor::new(LEVEL)?;
    zstd.include_checksum(true)?;
    zstd.compress(text)
}

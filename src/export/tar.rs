//! A tar archive written as a stream.
//!
//! A member is begun with its record, given its data and ended; until it is
//! ended no other can be begun, and a member that was dropped half-way leaves
//! an archive that refuses to go on. How many bytes a member takes is known
//! when it begins, so nothing is held back: memory is one record's.
//!
//! A file with holes is a sparse member (`sparse`). The second name of a file
//! with several is a hard link to the first; the writer remembers a first name
//! until all names of the file have come.

use super::Error;
use super::header::{BLOCK, Header, fits_name};
use super::pax::Records;
use super::sparse::Layout;
use crate::ids::ContentId;
use crate::manifest::{FileRecord, Name};
use std::collections::HashMap;
use std::io::Write;

/// What tar programs read and write at once (`tar -b 20`); an archive ends at
/// a multiple of it.
const RECORD_BYTES: usize = 20 * BLOCK;

/// Writes members one after the other to `W`.
#[derive(Debug)]
pub struct TarWriter<W> {
    to: W,
    written_bytes: u64,
    links: HashMap<LinkGroup, FirstName>,
    /// A member was begun and not ended.
    open: bool,
}

/// Names with the same one are names of one file.
#[derive(Debug, PartialEq, Eq, Hash)]
struct LinkGroup {
    root: Name,
    group: u64,
    content: Option<ContentId>,
}

#[derive(Debug)]
struct FirstName {
    name: Vec<u8>,
    /// Names of the file that have not come yet.
    left: u32,
}

/// A member that has been begun.
#[must_use = "a member must be ended"]
#[derive(Debug)]
pub struct Member<'w, W> {
    writer: &'w mut TarWriter<W>,
    name: Vec<u8>,
    layout: Layout,
    /// Of the data, so far.
    taken_bytes: u64,
}

impl<W: Write> TarWriter<W> {
    pub fn new(to: W) -> Self {
        Self { to, written_bytes: 0, links: HashMap::new(), open: false }
    }

    /// Begins a member called `name`, which loses its slashes at the start.
    /// `None` if an archive cannot hold such a file: a socket.
    ///
    /// # Errors
    /// After an error of writing the archive is of no use; after
    /// [`Error::Record`] nothing was written and others can follow.
    pub fn begin(
        &mut self,
        name: &[u8],
        record: &FileRecord,
    ) -> Result<Option<Member<'_, W>>, Error> {
        if self.open {
            return Err(Error::Broken);
        }
        let Some(kind) = kind_of(record) else { return Ok(None) };
        check(name, record)?;
        let name = member_name(name, record);
        let (head, layout) = match self.first_name(record, &name) {
            Some(first) => (hard_link(&name, record, &first), Layout::default()),
            None => member(&name, kind, record),
        };
        self.open = true;
        self.write_all(&head)?;
        Ok(Some(Member { writer: self, name, layout, taken_bytes: 0 }))
    }

    /// Ends the archive and gives back what it was written to.
    pub fn finish(mut self) -> Result<W, Error> {
        if self.open {
            return Err(Error::Broken);
        }
        // Two blocks of zeros end it, more fill the last record.
        self.write_all(&[0; 2 * BLOCK])?;
        self.fill_up(RECORD_BYTES)?;
        self.to.flush().map_err(|source| Error::Write { source })?;
        Ok(self.to)
    }

    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// The name under which the file was written already; remembers `name`
    /// otherwise.
    fn first_name(&mut self, record: &FileRecord, name: &[u8]) -> Option<Vec<u8>> {
        let (root, content) = (record.root.clone(), record.content);
        let group = LinkGroup { root, group: record.link?, content };
        let Some(first) = self.links.get_mut(&group) else {
            let left = record.nlink.saturating_sub(1);
            if left > 0 {
                self.links.insert(group, FirstName { name: name.to_vec(), left });
            }
            return None;
        };
        if first.name == name {
            // The same name once more is no other name.
            return None;
        }
        first.left -= 1;
        if first.left == 0 {
            return self.links.remove(&group).map(|first| first.name);
        }
        Some(first.name.clone())
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.to.write_all(bytes).map_err(|source| Error::Write { source })?;
        self.written_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Zeros up to a multiple of `unit`.
    fn fill_up(&mut self, unit: usize) -> Result<(), Error> {
        let over = self.written_bytes.next_multiple_of(unit as u64) - self.written_bytes;
        self.write_zeros(usize::try_from(over).expect("less than a unit"))
    }

    /// Less than a record of them.
    fn write_zeros(&mut self, len: usize) -> Result<(), Error> {
        self.write_all(&[0; RECORD_BYTES][..len])
    }
}

impl<W: Write> Member<'_, W> {
    /// Bytes of data that the member takes: the file's chunks in their order,
    /// without its holes. Nothing for a second name of a file.
    pub fn wants_bytes(&self) -> u64 {
        self.layout.data_bytes
    }

    /// The next bytes of data, any number at a time.
    pub fn write(&mut self, mut data: &[u8]) -> Result<(), Error> {
        if data.len() as u64 > self.layout.data_bytes - self.taken_bytes {
            return Err(self.wrong_length());
        }
        while !data.is_empty() {
            let until = self.layout.fills.front().map_or(u64::MAX, |(at, _)| at - self.taken_bytes);
            let now = usize::try_from(until).map_or(data.len(), |until| until.min(data.len()));
            self.writer.write_all(&data[..now])?;
            self.taken_bytes += now as u64;
            data = &data[now..];
            while let Some((at, zeros)) = self.layout.fills.front()
                && *at == self.taken_bytes
            {
                self.writer.write_zeros(*zeros)?;
                self.layout.fills.pop_front();
            }
        }
        Ok(())
    }

    /// Ends the member.
    pub fn end(self) -> Result<(), Error> {
        if self.taken_bytes < self.layout.data_bytes {
            return Err(self.wrong_length());
        }
        self.writer.fill_up(BLOCK)?;
        self.writer.open = false;
        Ok(())
    }

    fn wrong_length(&self) -> Error {
        Error::Length { name: shown(&self.name), wanted_bytes: self.layout.data_bytes }
    }
}

fn shown(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}

/// The type in the block; `None` for a socket.
fn kind_of(record: &FileRecord) -> Option<u8> {
    Some(match record.kind {
        'd' => b'5',
        'l' => b'2',
        'p' => b'6',
        'c' => b'3',
        'b' => b'4',
        's' => return None,
        _ => b'0',
    })
}

fn check(name: &[u8], record: &FileRecord) -> Result<(), Error> {
    let content = record.content_list();
    let why = if name.contains(&0) {
        Some("its name has a NUL byte")
    } else if record.kind == 'f' && content.is_none() {
        Some("it has no content")
    } else {
        content.and_then(|content| content.fault())
    };
    match why {
        None => Ok(()),
        Some(why) => Err(Error::Record { name: shown(name), why: why.to_owned() }),
    }
}

/// Relative, and of a directory with a slash at its end.
fn member_name(name: &[u8], record: &FileRecord) -> Vec<u8> {
    let start = name.iter().position(|byte| *byte != b'/').unwrap_or(name.len());
    let mut name = name[start..].to_vec();
    if name.is_empty() {
        name.push(b'.');
    }
    if record.kind == 'd' && !name.ends_with(b"/") {
        name.push(b'/');
    }
    name
}

fn header_of<'h>(name: &'h [u8], kind: u8, record: &FileRecord, size_bytes: u64) -> Header<'h> {
    Header {
        name,
        kind,
        mode: record.mode,
        uid: record.uid,
        gid: record.gid,
        size_bytes,
        mtime_s: record.mtime_ns.div_euclid(1_000_000_000),
        ..Header::default()
    }
}

fn hard_link(name: &[u8], record: &FileRecord, first: &[u8]) -> Vec<u8> {
    let mut records = Records::default();
    add_charset(&mut records, &[name, first]);
    records.add_name("path", name);
    records.add_name("linkpath", first);
    records.add_stat(record, (0, 0));
    let header = Header { link: first, ..header_of(name, b'1', record, 0) };
    head(&records, &header)
}

/// Everything before the member's data, and where the data goes.
fn member(name: &[u8], kind: u8, record: &FileRecord) -> (Vec<u8>, Layout) {
    let layout = Layout::of(&record.pieces);
    let target = record.target.as_ref().map_or(&b""[..], Name::as_bytes);
    let rdev = record.rdev.filter(|_| matches!(kind, b'3' | b'4')).unwrap_or(0);
    let device = (rustix::fs::major(rdev), rustix::fs::minor(rdev));
    let (sparse, map) = (layout.is_sparse(), layout.map());
    let size_bytes = map.len() as u64 + layout.stored_bytes();

    let mut records = Records::default();
    add_charset(&mut records, &[name, target]);
    // What a reader finds that knows no sparse members: a map and data, under a
    // name that says so.
    let outer = if sparse { sparse_name(name) } else { name.to_vec() };
    records.add_name("path", &outer);
    if sparse {
        records.add(b"GNU.sparse.major", b"1");
        records.add(b"GNU.sparse.minor", b"0");
        records.add(b"GNU.sparse.name", name);
        records.add(b"GNU.sparse.realsize", record.size_bytes.to_string().as_bytes());
    }
    records.add_name("linkpath", target);
    records.add_size(size_bytes);
    records.add_stat(record, device);
    records.add_xattrs(&record.xattrs);
    let header = Header { link: target, device, ..header_of(&outer, kind, record, size_bytes) };
    let mut head = head(&records, &header);
    head.extend_from_slice(&map);
    (head, layout)
}

/// POSIX has names in UTF-8 unless this is said; it comes before them.
fn add_charset(records: &mut Records, names: &[&[u8]]) {
    if names.iter().any(|name| std::str::from_utf8(name).is_err()) {
        records.add(b"hdrcharset", b"BINARY");
    }
}

/// The records as a member of their own, and the block of the member.
fn head(records: &Records, header: &Header<'_>) -> Vec<u8> {
    let mut head = Vec::new();
    let bytes = records.bytes();
    if !bytes.is_empty() {
        let name = b"./PaxHeaders/".iter().chain(base_name(header.name)).copied();
        let name: Vec<u8> = name.take(100).collect();
        let about = Header {
            name: &name,
            kind: b'x',
            mode: 0o644,
            size_bytes: bytes.len() as u64,
            mtime_s: header.mtime_s,
            ..Header::default()
        };
        head.extend_from_slice(&about.block());
        head.extend_from_slice(bytes);
        head.resize(head.len().next_multiple_of(BLOCK), 0);
    }
    head.extend_from_slice(&header.block());
    head
}

fn base_name(name: &[u8]) -> &[u8] {
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let start = name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    &name[start..]
}

/// As GNU tar names it, but for its process id.
fn sparse_name(name: &[u8]) -> Vec<u8> {
    let base = base_name(name);
    let dir = &name[..name.len() - base.len()];
    let base = if fits_name(base) { base } else { b"file" };
    [dir, b"GNUSparseFile.0/", base].concat()
}

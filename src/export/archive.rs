//! From the catalog and the store to the archive.
//!
//! Records come page by page in path order, data window by window, and one is written
//! while the next is fetched (`site::stream`). What can be left out without harm is: a
//! file that fits into a window is begun only when all of it is there.

use super::tar::{Member, TarWriter};
use super::{Error, FileError};
use crate::catalog::{Sight, Version};
use crate::ids::ContentId;
use crate::manifest::{Content, FileRecord};
use crate::monitor::Monitor;
use crate::os::stat::FileKind;
use crate::site::selection::absolute;
use crate::site::stream::{self, Fetched, WINDOW_BYTES, Window, flow};
use crate::site::{Catalog, Order, Pick, Selection, Site, Walk};
use std::collections::{HashMap, HashSet, VecDeque};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Members in one window.
const WINDOW_MEMBERS: usize = 512;

/// What an export wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportStats {
    pub members: u64,
    /// Of data, holes not counted.
    pub bytes: u64,
    pub failed: u64,
    pub sockets: u64,
}

/// Names with the same one are names of one file, as the writer has it.
type Group = (usize, u64, Option<ContentId>);

/// What the writer is handed.
enum Piece {
    /// A member with all its data.
    Whole(Head),
    /// A member with the first part of its data; more come.
    First(Head),
    More,
    Last,
    /// Nothing comes any more: only then is the archive ended, so that one which a
    /// failure or a stop cut off is seen to be.
    End,
}

struct Head {
    path: PathBuf,
    record: Box<FileRecord>,
    group: Option<Group>,
}

/// Writes an archive of what is selected to `to`, and flushes it.
pub fn run<W: Write + Send>(
    site: &mut Site<'_>,
    catalog: &mut Catalog,
    selection: &Selection,
    to: W,
) -> Result<ExportStats, Error> {
    let mut source = Members {
        walk: Walk::new(&selection.picks, Sight::At(selection.point), Order::Forwards),
        picks: &selection.picks,
        waiting: VecDeque::new(),
        ended: false,
        links: HashMap::new(),
    };
    let monitor = site.monitor;
    let next = &mut |site: &mut Site<'_>, catalog: &mut Catalog| source.window(site, catalog);
    flow(site, catalog, next, |pieces| {
        let mut archive = Archive {
            writer: TarWriter::new(to),
            monitor,
            stats: ExportStats::default(),
            lost: HashSet::new(),
        };
        if archive.write(pieces)? {
            archive.writer.finish()?;
        }
        Ok(archive.stats)
    })
}

/// Puts windows together.
struct Members<'p> {
    walk: Walk<'p>,
    picks: &'p [Pick],
    waiting: VecDeque<(Piece, Content)>,
    ended: bool,
    /// Names to come of files with several.
    links: HashMap<Group, u32>,
}

impl Members<'_> {
    fn window(
        &mut self,
        site: &mut Site<'_>,
        catalog: &mut Catalog,
    ) -> Result<Option<Window<Piece>>, Error> {
        let (mut window, mut bytes) = (vec![], 0);
        loop {
            while let Some((_, content)) = self.waiting.front() {
                let data = content.size_bytes;
                if bytes > 0 && bytes + data > WINDOW_BYTES || window.len() >= WINDOW_MEMBERS {
                    return Ok(Some(window));
                }
                bytes += data;
                window.extend(self.waiting.pop_front());
            }
            if self.ended {
                return Ok((!window.is_empty()).then_some(window));
            }
            match self.walk.next(catalog.db(site)?)? {
                Some((pick, page)) => page.into_iter().for_each(|version| self.add(pick, version)),
                None => {
                    self.waiting.push_back((Piece::End, NOTHING));
                    self.ended = true;
                }
            }
        }
    }

    fn add(&mut self, pick: usize, version: Version) {
        let root = &self.picks[pick].root;
        let of_root = self.picks.iter().position(|other| other.root == *root).unwrap_or(pick);
        let record = Box::new(version.record);
        let group = record.link.map(|link| (of_root, link, record.content));
        let path = absolute(root, record.path_bytes());
        let second = group.is_some_and(|group| self.is_second_name(group, record.nlink));
        let content = record.content_list().filter(|_| !second);
        let parts = content.map_or_else(|| stream::parts(&NOTHING), |list| stream::parts(&list));
        let head = Head { path, record, group };
        let last = parts.len() - 1;
        let mut head = Some(head);
        for (at, (_, data)) in parts.into_iter().enumerate() {
            let piece = match head.take() {
                Some(head) if last == 0 => Piece::Whole(head),
                Some(head) => Piece::First(head),
                None if at == last => Piece::Last,
                None => Piece::More,
            };
            self.waiting.push_back((piece, data));
        }
    }

    /// As the writer counts them.
    fn is_second_name(&mut self, group: Group, nlink: u32) -> bool {
        match self.links.get_mut(&group) {
            None => {
                if nlink > 1 {
                    self.links.insert(group, nlink - 1);
                }
                false
            }
            Some(left) => {
                *left -= 1;
                if *left == 0 {
                    self.links.remove(&group);
                }
                true
            }
        }
    }
}

const NOTHING: Content = Content { size_bytes: 0, pieces: vec![] };

struct Archive<'m, W> {
    writer: TarWriter<W>,
    monitor: &'m dyn Monitor,
    stats: ExportStats,
    /// Files of which no name is in the archive.
    lost: HashSet<Group>,
}

impl<W: Write> Archive<'_, W> {
    /// Whether all pieces came.
    fn write(&mut self, pieces: &mut dyn Iterator<Item = Fetched<Piece>>) -> Result<bool, Error> {
        while let Some((piece, data)) = pieces.next() {
            let (head, whole) = match &piece {
                Piece::Whole(head) => (head, true),
                Piece::First(head) => (head, false),
                Piece::More | Piece::Last => continue,
                Piece::End => return Ok(true),
            };
            if head.group.is_some_and(|group| self.lost.contains(&group)) {
                self.fail(head, &FileError::OtherName);
                continue;
            }
            let data = match data {
                Ok(data) => data,
                Err(error) => {
                    self.lost.extend(head.group);
                    self.fail(head, &FileError::Fetch(error));
                    // The rest of it is passed over.
                    continue;
                }
            };
            let name = head.path.as_os_str().as_bytes();
            let member = match self.writer.begin(name, &head.record) {
                Ok(Some(member)) => member,
                Ok(None) => {
                    self.stats.sockets += 1;
                    continue;
                }
                Err(error @ Error::Record { .. }) => {
                    self.lost.extend(head.group);
                    self.fail(head, &FileError::Record(error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let bytes = fill(member, head, &data, whole, pieces)?;
            self.stats.members += 1;
            self.stats.bytes += bytes;
            let is_file = head.record.kind == FileKind::File.code();
            self.monitor.advance(u64::from(is_file), 0);
        }
        Ok(false)
    }

    fn fail(&mut self, head: &Head, error: &FileError) {
        self.stats.failed += 1;
        self.monitor.file_failed(&head.path, "export", error);
    }
}

/// Writes a member that has been begun. What is missing from its middle ends the
/// archive.
fn fill<W: Write>(
    mut member: Member<'_, W>,
    head: &Head,
    first: &[u8],
    whole: bool,
    pieces: &mut dyn Iterator<Item = Fetched<Piece>>,
) -> Result<u64, Error> {
    let wanted = member.wants_bytes();
    member.write(first)?;
    let mut last = whole;
    while !last {
        let Some((piece, data)) = pieces.next() else {
            // Cut off: the archive is not ended either.
            return Ok(0);
        };
        let path = || head.path.clone();
        let cut = |source| Error::Cut { path: path(), source: Box::new(source) };
        member.write(&data.map_err(cut)?)?;
        last = matches!(piece, Piece::Last);
    }
    member.end()?;
    Ok(wanted)
}

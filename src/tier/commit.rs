//! From "all chunks durable" to `uploaded`: one catalog segment, then one
//! transaction.
//!
//! The segment is the commit point. A kill between the two is repaired at the
//! next start (`recover`): the segment is found under its expected name and
//! applied to the state DB.

use super::Error;
use super::describe::{Described, collect_parents, name_of};
use super::upload::{Request, Stamp};
use crate::fault;
use crate::ids::{ChunkId, FileIdent, PackId};
use crate::manifest::{Content, FileRecord, Name, Record};
use crate::os::relpath::RelPath;
use crate::os::tree::RootDir;
use crate::site::log::{Appended, CatalogLog};
use crate::site::plans::may_refer;
use crate::site::weight::{file_weight, overflow};
use crate::site::{Site, carry};
use crate::state::{GoneRow, Heard, ManagedRow, RootId, SegmentCommit, Uploaded};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// A segment is cut at this many files...
const SEGMENT_FILES: usize = 20_000;
/// ...or about this many bytes of records...
const SEGMENT_BYTES: usize = 8 << 20;
/// ...or after this long, so that a kill costs little.
const SEGMENT_NS: i64 = 10 * 1_000_000_000;

pub(super) struct Committer<'a> {
    root_id: RootId,
    root: &'a RootDir,
    log: CatalogLog,
    files: Vec<(FileRecord, Uploaded)>,
    file_bytes: u64,
    record_bytes: usize,
    /// Of collections, before the first chunk of this run was looked up.
    heard: Heard,
    abandoned: Vec<FileIdent>,
    last_cut_ns: i64,
    files_seen: u64,
    files_committed: u64,
    bytes_committed: u64,
    segments: u64,
}

impl<'a> Committer<'a> {
    /// `heard` is from before the first chunk of this run was looked up.
    pub fn open(
        site: &Site<'_>,
        root_id: RootId,
        root: &'a RootDir,
        heard: Heard,
    ) -> Result<Self, Error> {
        Ok(Self {
            root_id,
            root,
            log: CatalogLog::open(site)?,
            files: vec![],
            file_bytes: 0,
            record_bytes: 0,
            heard,
            abandoned: vec![],
            last_cut_ns: site.clock.now_ns(),
            files_seen: 0,
            files_committed: 0,
            bytes_committed: 0,
            segments: 0,
        })
    }

    pub fn files_seen(&self) -> u64 {
        self.files_seen
    }

    pub fn files_committed(&self) -> u64 {
        self.files_committed
    }

    pub fn bytes_committed(&self) -> u64 {
        self.bytes_committed
    }

    pub fn segments(&self) -> u64 {
        self.segments
    }

    /// The file's row goes back to what it was before this run.
    pub fn abandon(&mut self, ident: FileIdent) {
        self.abandoned.push(ident);
    }

    pub fn add_file(&mut self, request: Request, stamp: Stamp, content: Content) {
        let described = Described {
            path: request.path,
            stat: stamp.stat,
            generation: stamp.ident.generation,
            xattrs: stamp.xattrs,
            target: None,
        };
        let chunking = request.how.chunking.to_string();
        let record = described.record(self.root, Some((&content, &chunking)));
        self.record_bytes += file_weight(&record) * described.stat.nlink.max(1) as usize;
        self.file_bytes += content.data_bytes();
        self.files_seen += 1;
        let uploaded = Uploaded {
            ident: stamp.ident,
            content: Arc::new(content),
            chunking,
            rule: request.how.rule.clone(),
            ctime_ns: described.stat.ctime_ns,
            mtime_ns: described.stat.mtime_ns,
            size_bytes: described.stat.size_bytes,
        };
        self.files.push((record, uploaded));
    }

    /// Takes these files out of the next segment; returns their paths.
    pub fn leave_out(&mut self, idents: &HashSet<FileIdent>) -> Vec<RelPath> {
        if idents.is_empty() {
            return vec![];
        }
        let out = self.files.extract_if(.., |(_, done)| idents.contains(&done.ident));
        out.filter_map(|(record, _)| RelPath::new(record.path_bytes()).ok()).collect()
    }

    pub fn is_due(&self, now_ns: i64) -> bool {
        self.files.len() >= SEGMENT_FILES
            || self.record_bytes >= SEGMENT_BYTES
            || now_ns.saturating_sub(self.last_cut_ns) >= SEGMENT_NS
    }

    /// Tells other users of the store, before the first pack of a run, that
    /// this node is about to write, and learns what they are about to delete.
    pub fn announce(&mut self, site: &mut Site<'_>) -> Result<(), Error> {
        if self.log.has_begun() {
            return Ok(());
        }
        let begun = self.log.begin(site)?;
        self.record(site, begun, &Batch::default())?;
        self.look(site)
    }

    /// Before references to chunks are put together. What the log does not have yet
    /// is written down before the plan is acknowledged: the collector waits for that,
    /// and spares what it finds.
    fn look(&mut self, site: &mut Site<'_>) -> Result<(), Error> {
        if self.log.look(site)? {
            self.recatalogue(site)?;
            self.log.acknowledge(site)?;
        }
        Ok(())
    }

    /// Takes out what relies on chunks that may go any moment, or are no more: the
    /// next run finds them nowhere and sends them again. The chunks were looked up
    /// long before the look at the plans.
    fn leave_out_condemned(&mut self, site: &mut Site<'_>) -> Result<(), Error> {
        if !self.is_collected_from(site)? {
            return Ok(());
        }
        let mut condemned = HashSet::new();
        for (_, done) in &self.files {
            let ids: Vec<ChunkId> = done.content.chunk_ids().collect();
            if !may_refer(&site.state.find_lasting_chunks(&ids)?) {
                condemned.insert(done.ident);
            }
        }
        for path in self.leave_out(&condemned) {
            let full = path.to_path(self.root.path());
            let why = "its copy was being collected as garbage; the next run sends it again";
            site.monitor.notice(&format!("not uploaded: {}: {why}", full.display()));
        }
        self.abandoned.extend(condemned);
        Ok(())
    }

    /// Whether a chunk that was found in the store may have become unfit to rely on.
    pub fn is_collected_from(&self, site: &Site<'_>) -> Result<bool, Error> {
        Ok(site.state.any_condemned()? || site.state.heard()? != self.heard)
    }

    /// What this run, or one that was killed, has made durable and no segment names.
    fn ready_packs(site: &Site<'_>) -> Result<Vec<PackId>, Error> {
        Ok(site.state.uncatalogued_packs()?.into_iter().map(|pack| pack.id).collect())
    }

    /// Writes what is ready: segment first, state second.
    pub fn commit(&mut self, site: &mut Site<'_>) -> Result<(), Error> {
        self.last_cut_ns = site.clock.now_ns();
        if self.files.is_empty() && Self::ready_packs(site)?.is_empty() {
            return Ok(());
        }
        self.announce(site)?;
        self.look(site)?;
        self.leave_out_condemned(site)?;
        self.gone(site)?;
        let (mut records, mut uploaded) = (Vec::with_capacity(self.files.len()), vec![]);
        let mut parents = BTreeSet::new();
        for (record, done) in std::mem::take(&mut self.files) {
            self.enter_names(site, record, &mut records, &mut parents)?;
            uploaded.push(done);
        }
        let packs = Self::ready_packs(site)?;
        let dirs = self.directories(site, parents, &mut records)?;
        let mut all = site.pack_records(&packs)?;
        all.append(&mut records);
        let batch = Batch { packs, files: uploaded, dirs, ..Batch::default() };
        if !all.is_empty() {
            self.append(site, &all, &batch)?;
        }
        fault::point("upload.committed");
        self.files_committed += batch.files.len() as u64;
        self.bytes_committed += std::mem::take(&mut self.file_bytes);
        self.record_bytes = 0;
        site.monitor.advance(batch.files.len() as u64, 0);
        Ok(())
    }

    /// One record for each name of the file.
    fn enter_names(
        &self,
        site: &Site<'_>,
        record: FileRecord,
        records: &mut Vec<Record>,
        parents: &mut BTreeSet<Vec<u8>>,
    ) -> Result<(), Error> {
        for name in self.other_names(site, &record)? {
            collect_parents(name.as_bytes(), parents);
            let path = Name::from_bytes(name.as_bytes());
            records.push(Record::File(Box::new(FileRecord { path, ..record.clone() })));
        }
        collect_parents(record.path_bytes(), parents);
        records.push(Record::File(Box::new(record)));
        Ok(())
    }

    /// The names that a hard-linked file has beside the one it was read by.
    fn other_names(&self, site: &Site<'_>, record: &FileRecord) -> Result<Vec<RelPath>, Error> {
        if record.link.is_none() {
            return Ok(vec![]);
        }
        let mut names = site.state.names_of(self.root_id, record.ino)?;
        names.retain(|name| name.as_bytes() != record.path_bytes());
        Ok(names)
    }

    /// The last segments of a run: what is ready, deletions, what was renamed,
    /// symlinks and the like; then `close`. A run that did nothing writes
    /// nothing.
    pub fn finish(&mut self, site: &mut Site<'_>) -> Result<(), Error> {
        self.commit(site)?;
        if !self.abandoned.is_empty() {
            let idents = std::mem::take(&mut self.abandoned);
            site.state.abandon_uploads(self.root_id, &idents)?;
        }
        self.gone(site)?;
        self.recatalogue(site)?;
        self.specials(site)?;
        self.lone_dirs(site)?;
        // What has a record by now needs no word of what was there before.
        self.gone(site)?;
        if self.log.has_begun() {
            // Packs into which something was carried meanwhile.
            self.commit(site)?;
            let closed = self.log.close(site)?;
            self.record(site, closed, &Batch::default())?;
        }
        Ok(())
    }

    /// Files that were renamed, or whose attributes changed while their content
    /// did not: a new record, no data.
    fn recatalogue(&mut self, site: &mut Site<'_>) -> Result<(), Error> {
        loop {
            let rows = site.state.uncatalogued_files(self.root_id, SEGMENT_FILES)?;
            let packs = Self::carry(site, &rows)?;
            let (mut records, mut done, mut parents) = (vec![], vec![], BTreeSet::new());
            let (mut bytes, mut last) = (0, rows.len() < SEGMENT_FILES);
            for row in &rows {
                // Gone or replaced since the scan: the next scan tells.
                let Some(record) = self.record_again(site, row)? else { continue };
                bytes += file_weight(&record);
                self.enter_names(site, record, &mut records, &mut parents)?;
                done.push(row.ident);
                if bytes >= SEGMENT_BYTES {
                    last = false;
                    break;
                }
            }
            if records.is_empty() {
                return Ok(());
            }
            self.announce(site)?;
            let dirs = self.directories(site, parents, &mut records)?;
            let mut all = site.pack_records(&packs)?;
            all.append(&mut records);
            let batch = Batch { packs, recatalogued: done, dirs, ..Batch::default() };
            self.append(site, &all, &batch)?;
            if last {
                return Ok(());
            }
        }
    }

    /// What only condemned packs have of these files goes into packs that last, and
    /// those into the segment with the files.
    fn carry(site: &mut Site<'_>, rows: &[ManagedRow]) -> Result<Vec<PackId>, Error> {
        if rows.is_empty() || !site.state.any_condemned()? {
            return Ok(vec![]);
        }
        let contents: Vec<_> = rows.iter().filter_map(|row| row.content).collect();
        carry::rescue(site, &contents)?;
        Self::ready_packs(site)
    }

    fn record_again(&self, site: &Site<'_>, row: &ManagedRow) -> Result<Option<FileRecord>, Error> {
        let Some(id) = row.content else { return Ok(None) };
        let Some((content, chunking)) = site.state.content(id)? else { return Ok(None) };
        let Some(described) = Described::file(self.root, row) else { return Ok(None) };
        Ok(Some(described.record(self.root, Some((&content, &chunking)))))
    }

    /// Symlinks, FIFOs and devices carry no data; a restore needs them all the
    /// same. Recorded once the root has uploaded files at all.
    fn specials(&mut self, site: &mut Site<'_>) -> Result<(), Error> {
        if self.files_committed == 0 && !site.state.has_catalogued_files(self.root_id)? {
            return Ok(());
        }
        loop {
            let rows = site.state.uncatalogued_specials(self.root_id, SEGMENT_FILES)?;
            if rows.is_empty() {
                return Ok(());
            }
            let mut parents = BTreeSet::new();
            let mut records = vec![];
            for row in &rows {
                // Gone since the scan: the next scan tells.
                let Ok(described) = Described::special(self.root, &row.path) else { continue };
                collect_parents(row.path.as_bytes(), &mut parents);
                records.push(Record::File(Box::new(described.record(self.root, None))));
            }
            self.announce(site)?;
            let dirs = self.directories(site, parents, &mut records)?;
            let specials = rows.into_iter().map(|row| row.path).collect();
            self.append(site, &records, &Batch { dirs, specials, ..Batch::default() })?;
        }
    }

    /// A restore needs the directories that hold nothing, too, and a new mode or
    /// owner of one whose files have not changed.
    fn lone_dirs(&mut self, site: &mut Site<'_>) -> Result<(), Error> {
        if self.files_committed == 0 && !site.state.has_catalogued_files(self.root_id)? {
            return Ok(());
        }
        loop {
            let dirs = site.state.uncatalogued_lone_dirs(self.root_id, SEGMENT_FILES)?;
            if dirs.is_empty() {
                return Ok(());
            }
            let mut parents = BTreeSet::new();
            let mut records = vec![];
            for path in &dirs {
                // Gone since the scan: the next scan tells.
                let Ok(described) = Described::directory(self.root, path) else { continue };
                collect_parents(path.as_bytes(), &mut parents);
                records.push(Record::File(Box::new(described.record(self.root, None))));
            }
            for path in &dirs {
                parents.remove(path.as_bytes());
            }
            self.announce(site)?;
            let mut done = self.directories(site, parents, &mut records)?;
            done.extend(dirs);
            self.append(site, &records, &Batch { dirs: done, ..Batch::default() })?;
        }
    }

    /// Deletions, before any record of what is at those paths now: a later
    /// record about a path replaces an earlier one. A path at which another file is
    /// now is not gone, also if that has no copy yet: what was there last stays the
    /// newest version of it.
    fn gone(&mut self, site: &mut Site<'_>) -> Result<(), Error> {
        let root = name_of(self.root);
        let record = |row: &GoneRow| Record::Gone {
            root: root.clone(),
            path: Name::from_bytes(row.path.as_bytes()),
            content: row.content,
            when_ns: row.gone_ns,
        };
        let mut last = 0;
        loop {
            let rows = site.state.pending_gone_after(self.root_id, last, SEGMENT_FILES)?;
            let Some(end) = rows.last() else { return Ok(()) };
            last = end.id;
            let (mut gone, mut replaced, mut records) = (vec![], vec![], vec![]);
            for row in &rows {
                match site.state.successor_is_catalogued(self.root_id, &row.path)? {
                    None => {
                        records.push(record(row));
                        gone.push(row.id);
                    }
                    Some(true) => replaced.push(row.id),
                    Some(false) => {}
                }
            }
            site.state.forget_gone(&replaced)?;
            if !records.is_empty() {
                self.announce(site)?;
                self.append(site, &records, &Batch { gone, ..Batch::default() })?;
            }
        }
    }

    /// Adds records for the directories above the files whose metadata the
    /// catalog does not have yet; returns those that were added.
    fn directories(
        &self,
        site: &Site<'_>,
        parents: BTreeSet<Vec<u8>>,
        records: &mut Vec<Record>,
    ) -> Result<Vec<RelPath>, Error> {
        let parents: Vec<RelPath> =
            parents.into_iter().filter_map(|path| RelPath::new(path).ok()).collect();
        let mut added = vec![];
        for path in site.state.uncatalogued_dirs(self.root_id, &parents)? {
            let Ok(described) = Described::directory(self.root, &path) else { continue };
            records.push(Record::File(Box::new(described.record(self.root, None))));
            added.push(path);
        }
        Ok(added)
    }

    /// Writes the records, and `batch` once all of them are durable. Too much
    /// for one segment goes into several: whatever attributes and chunk lists
    /// users heap up, no segment outgrows what a reader accepts.
    fn append(
        &mut self,
        site: &mut Site<'_>,
        records: &[Record],
        batch: &Batch,
    ) -> Result<(), Error> {
        let mut rest = records;
        while let Some(cut) = overflow(rest) {
            let (first, later) = rest.split_at(cut);
            self.append_one(site, first, &Batch::default())?;
            rest = later;
        }
        self.append_one(site, rest, batch)
    }

    fn append_one(
        &mut self,
        site: &mut Site<'_>,
        records: &[Record],
        batch: &Batch,
    ) -> Result<(), Error> {
        let appended = self.log.append(site, records)?;
        self.record(site, appended, batch)
    }

    fn record(
        &mut self,
        site: &mut Site<'_>,
        appended: Appended,
        batch: &Batch,
    ) -> Result<(), Error> {
        self.segments += 1;
        let segment = batch.in_segment(appended.seq, appended.hash);
        site.state.commit_segment(self.root_id, &segment, site.clock.now_ns())?;
        Ok(())
    }
}

/// What one segment makes true in the state DB; filled by the run that writes it,
/// or by the recovery that finds it.
#[derive(Default)]
pub(super) struct Batch {
    pub packs: Vec<PackId>,
    pub files: Vec<Uploaded>,
    pub recatalogued: Vec<FileIdent>,
    pub dirs: Vec<RelPath>,
    pub specials: Vec<RelPath>,
    pub gone: Vec<i64>,
}

impl Batch {
    /// The same under the number and hash of its segment.
    pub fn in_segment(&self, seq: u64, hash: [u8; 32]) -> SegmentCommit<'_> {
        SegmentCommit {
            seq,
            hash,
            packs: &self.packs,
            files: &self.files,
            recatalogued: &self.recatalogued,
            dirs: &self.dirs,
            specials: &self.specials,
            gone: &self.gone,
        }
    }
}

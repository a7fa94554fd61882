//! Finishes or undoes what a killed run left behind, by looking at the store,
//! the markers and the blocks, never by trusting the state DB alone.
//!
//! Order matters: segments first (they say what is committed), then packs
//! (they hold bytes that need not be sent again), then files.

use super::Error;
use super::commit::Batch;
use super::rescan::open_managed;
use crate::ids::{FileIdent, PackId};
use crate::manifest::{
    FileRecord, Name, PackRecord, Record, SegmentHeader, decode_segment, segment_hash,
};
use crate::os::blocks;
use crate::os::relpath::RelPath;
use crate::os::stat::statx_fd;
use crate::os::tree::RootDir;
use crate::policy::FileState;
use crate::site::{Ground, ProvenPack, Site, catalog, log, logs, pack_key, segment_key};
use crate::state::{ManagedRow, PackStatus, RebuiltPack, RootId, RootRow, UploadIntent, Uploaded};
use crate::store::{self, ErrorKind, Key};
use crate::stub::{self, MarkerSpace, Placement};
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// What had to be put right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Catalog segments that were durable but not in the state DB.
    pub segments: u64,
    /// Packs that were durable but not recorded.
    pub packs: u64,
    /// Files found in the middle of an upload, a stub or a recall.
    pub files: u64,
}

/// Recovers the store side: this node's log and the packs it was sending.
/// Needs the store to answer; run it before an upload.
pub fn recover_store(site: &mut Site<'_>) -> Result<Recovered, Error> {
    require_end(site)?;
    let mut recovered = Recovered::default();
    while adopt_next_segment(site)? {
        recovered.segments += 1;
    }
    for pack in site.state.intended_packs()? {
        recovered.packs += u64::from(adopt_pack(site, pack)?);
    }
    if site.state.has_open_session()? {
        // Collectors wait for a run that is not known to have ended.
        log::write_records(site, &[])?;
    }
    Ok(recovered)
}

/// The store still has what this server last told it. One that was put back from a
/// backup has neither that nor the packs of that time: a file that relies on them must
/// keep its blocks, and whoever read a segment behind the gap would find the gap.
pub fn require_end(site: &Site<'_>) -> Result<(), Error> {
    let written = site.state.log_head()?.next_seq - 1;
    if written == 0 {
        return Ok(());
    }
    match site.store.head(&segment_key(site.node_id, written)) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let (node, missing) = (site.node_id, logs::missing(&site.log_reader(), site.node_id, written)?);
    match missing.first() {
        Some(first) => {
            let found = first - 1;
            Err(catalog::Error::Shrunk { node, known: written, found }.into())
        }
        None => Ok(()),
    }
}

/// The segment after the last one that the state DB knows, if the store has it.
fn adopt_next_segment(site: &mut Site<'_>) -> Result<bool, Error> {
    let head = site.state.log_head()?;
    let key = segment_key(site.node_id, head.next_seq);
    let bytes = match site.store.get(&key, None) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let damaged = |source| catalog::Error::Segment { key: key.to_string(), source };
    let (header, records) = decode_segment(&bytes, site.protection).map_err(damaged)?;
    check_is_ours(site, &key, &header, &records)?;
    let SegmentHeader { node, seq, prev, .. } = header;
    if node != site.node_id || seq != head.next_seq || prev != head.prev {
        return Err(log::Error::Fenced { key: key.to_string() }.into());
    }
    apply_segment(site, seq, segment_hash(&bytes), records)?;
    Ok(true)
}

/// A segment under our name that no run of this state DB wrote must not be taken
/// for a commit that a kill cut short: its files are another host's.
fn check_is_ours(
    site: &Site<'_>,
    key: &Key,
    header: &SegmentHeader,
    records: &[Record],
) -> Result<(), Error> {
    let key = || key.to_string();
    for record in records {
        if let Record::Fence { by, .. } = record {
            return Err(Error::Retired { key: key(), by: *by });
        }
    }
    // A DB that is older than its list of sessions cannot tell.
    if site.state.has_sessions()? && !site.state.is_own_session(&header.session)? {
        return Err(Error::OtherHost { key: key() });
    }
    Ok(())
}

/// What a segment says, sorted by what the state DB must learn from it.
#[derive(Default)]
struct Told {
    root: Option<RootId>,
    batch: Batch,
}

fn apply_segment(
    site: &mut Site<'_>,
    seq: u64,
    hash: [u8; 32],
    records: Vec<Record>,
) -> Result<(), Error> {
    let roots = site.state.roots()?;
    let mut told = Told { root: roots.first().map(|row| row.id), ..Told::default() };
    let mut gone = HashSet::new();
    for record in records {
        match record {
            Record::Pack(pack) => {
                adopt_catalogued(site, &pack)?;
                told.batch.packs.push(pack.id);
            }
            Record::File(file) => {
                if let Some(root) = owner(&roots, &file.root) {
                    told.root = Some(root);
                    tell_file(site, root, *file, &mut told)?;
                }
            }
            Record::Gone { root, path, .. } => {
                if let Some(root) = owner(&roots, &root) {
                    told.root = Some(root);
                    gone.insert(path.as_bytes().to_vec());
                }
            }
            _ => {}
        }
    }
    let Some(root) = told.root else {
        site.state.note_segment(seq, hash, site.clock.now_ns())?;
        return Ok(());
    };
    if !gone.is_empty() {
        let pending = site.state.pending_gone(root, usize::MAX)?;
        let same = pending.iter().filter(|row| gone.contains(row.path.as_bytes()));
        told.batch.gone.extend(same.map(|row| row.id));
    }
    let commit = told.batch.in_segment(seq, hash);
    site.state.commit_segment(root, &commit, site.clock.now_ns())?;
    Ok(())
}

fn owner(roots: &[RootRow], name: &Name) -> Option<RootId> {
    let same = |row: &&RootRow| row.path.as_os_str().as_bytes() == name.as_bytes();
    roots.iter().find(same).map(|row| row.id)
}

/// One inode is committed once, whatever the number of its names.
fn tell_file(
    site: &mut Site<'_>,
    root: RootId,
    file: FileRecord,
    told: &mut Told,
) -> Result<(), Error> {
    let Ok(path) = RelPath::new(file.path_bytes()) else { return Ok(()) };
    let Some(content) = file.content_list() else {
        let list = if file.kind == 'd' { &mut told.batch.dirs } else { &mut told.batch.specials };
        list.push(path);
        return Ok(());
    };
    let ident = FileIdent { ino: file.ino, generation: file.generation };
    let state = site.state.managed_by_ident(root, ident)?.map(|row| row.state);
    if state.is_none() {
        // The state DB lost even the intent (a power cut): made again.
        let intent = UploadIntent {
            ident,
            btime_ns: 0,
            path,
            size_bytes: file.size_bytes,
            mtime_ns: file.mtime_ns,
            ctime_ns: file.ctime_ns,
            rule: None,
        };
        site.state.begin_uploads(root, &[intent], site.clock.now_ns())?;
    }
    if !matches!(state, None | Some(FileState::Uploading)) {
        told.batch.recatalogued.push(ident);
    } else if !told.batch.files.iter().any(|known| known.ident == ident) {
        told.batch.files.push(Uploaded {
            ident,
            content: Arc::new(content),
            chunking: file.chunking.unwrap_or_default(),
            rule: None,
            ctime_ns: file.ctime_ns,
            mtime_ns: file.mtime_ns,
            size_bytes: file.size_bytes,
        });
    }
    Ok(())
}

/// A pack that a durable segment names. The state DB has it, unless a power cut
/// took the record that was written before the segment.
fn adopt_catalogued(site: &mut Site<'_>, pack: &PackRecord) -> Result<(), Error> {
    let status = site.state.pack(pack.id)?.map(|row| row.status);
    if status.is_none() {
        let now_ns = site.clock.now_ns();
        site.state.intend_pack(pack.id, &pack.kind, pack.class.as_deref(), now_ns)?;
    }
    if matches!(status, None | Some(PackStatus::Sending)) {
        match site.prove_by_reading(pack.id) {
            Err(error) if error.kind() == ErrorKind::Archived => by_its_record(site, pack)?,
            read => drop(settle_pack(site, pack.id, read)?),
        }
    }
    Ok(())
}

/// A pack whose intent was recorded: if it reached the store whole, its chunks
/// count; if not, its name is forgotten and never used again.
///
/// One in an archive cannot be read, and no log vouches for it: it is forgotten, too,
/// and sent again under another name. The object is left to the garbage collection.
fn adopt_pack(site: &mut Site<'_>, pack: PackId) -> Result<bool, Error> {
    let read = site.prove_by_reading(pack);
    settle_pack(site, pack, read)
}

fn settle_pack(
    site: &mut Site<'_>,
    pack: PackId,
    read: Result<ProvenPack, store::Error>,
) -> Result<bool, Error> {
    match read {
        Ok(proven) => {
            site.state.record_pack(pack, proven.size_bytes, &proven.slots, &proven.evidence)?;
            Ok(true)
        }
        Err(error) if is_no_copy(error.kind()) => {
            site.state.forget_pack(pack)?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

fn is_no_copy(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::Integrity | ErrorKind::Archived)
}

/// A pack in an archive that a segment names was proven before the segment was
/// written: its record counts if the object has the size that it says.
fn by_its_record(site: &mut Site<'_>, pack: &PackRecord) -> Result<(), Error> {
    let now_ns = site.clock.now_ns();
    let stored = site.store.head(&pack_key(pack.id))?;
    let is_whole = stored.size_bytes == pack.bytes;
    site.state.forget_pack(pack.id)?;
    let found = RebuiltPack {
        id: pack.id,
        node: None,
        kind: pack.kind.clone(),
        class: pack.class.clone().or(stored.storage_class),
        size_bytes: pack.bytes,
        proof: pack.proof,
        status: if is_whole { PackStatus::Durable } else { PackStatus::Damaged },
        seen_ns: is_whole.then_some(now_ns),
        segment_seq: None,
        slots: pack.chunks.clone(),
    };
    Ok(site.state.enter_packs(&[found], now_ns)?)
}

/// Recovers the files of one root that were in the middle of something. Needs
/// no store. Run it again after a scan: that finds those that were renamed.
///
/// No run of this root may be at work meanwhile: its files would be taken for
/// left behind. A guard therefore does it when a run asks, which holds the lock
/// of the root, and not at a time of its own.
pub fn recover_files(
    ground: &mut Ground<'_>,
    root_id: RootId,
    root: &RootDir,
) -> Result<Recovered, Error> {
    let mut recovered = Recovered::default();
    let left_behind = ground.state.transient(root_id)?;
    if let Some(guard) = ground.guard.as_deref_mut().filter(|_| !left_behind.is_empty()) {
        recovered.files = guard.recover(root_id)?;
        return Ok(recovered);
    }
    for row in left_behind {
        recovered.files += 1;
        if let Err(error) = recover_file(ground, root_id, root, &row) {
            let path = row.path.to_path(root.path());
            ground.monitor.file_failed(&path, "recover", &error);
        }
    }
    Ok(recovered)
}

fn recover_file(
    ground: &mut Ground<'_>,
    root_id: RootId,
    root: &RootDir,
    row: &ManagedRow,
) -> Result<(), Error> {
    if row.state == FileState::Uploading {
        ground.state.abandon_uploads(root_id, &[row.ident])?;
        return Ok(());
    }
    let file = match open_managed(root, row) {
        Ok(Some(file)) => file,
        // Renamed, deleted or replaced meanwhile. Only a scan tells which, and
        // what it is can only be seen where it is: the row stays as it is.
        Ok(None) => return Ok(()),
        Err(source) => {
            return Err(Error::ReadTree { path: row.path.to_path(root.path()), source });
        }
    };
    let custody = ground.custody;
    let _held = custody
        .hold(&file)
        .map_err(|source| Error::ReadTree { path: row.path.to_path(root.path()), source })?;
    // Somebody may have ended it while we waited.
    match ground.state.managed_by_ident(root_id, row.ident)? {
        Some(row) if is_transient(row.state) => end_half_way(ground, root_id, root, &row, file),
        _ => Ok(()),
    }
}

fn is_transient(state: FileState) -> bool {
    matches!(state, FileState::Stubbing | FileState::Recalling)
}

/// Nobody else works on the file.
fn end_half_way(
    ground: &mut Ground<'_>,
    root_id: RootId,
    root: &RootDir,
    row: &ManagedRow,
    file: File,
) -> Result<(), Error> {
    let space = MarkerSpace::for_this_process();
    let mut placement = stub::recover(&file, space)?;
    if let Placement::Marked(_) | Placement::Rewritten(_) = placement {
        stub::drop_marker(&file, space)?;
        placement = Placement::Resident;
    }
    let read = |source| Error::ReadTree { path: row.path.to_path(root.path()), source };
    let state = match &placement {
        Placement::Stub(_) => FileState::Stub,
        Placement::Resident => FileState::Uploaded,
        other => {
            let why = format!("an interrupted run left it {}; run hsm recall", other.describe());
            ground.state.set_state(root_id, row.ident, FileState::Stub, Some(&why))?;
            return Ok(());
        }
    };
    if state == FileState::Stub {
        // A punch or a fill that died half-way moved it.
        blocks::set_times(&file, None, Some(row.mtime_ns)).map_err(read)?;
    }
    let stat = statx_fd(&file).map_err(read)?;
    ground.state.set_state(root_id, row.ident, state, None)?;
    // Same size and mtime as its copy: only our own writes of metadata moved
    // the ctime. Anything else is found dirty by the next scan.
    if stat.size_bytes == row.size_bytes && stat.mtime_ns == row.mtime_ns {
        ground.state.settle(root_id, &[(row.ident, stat.mtime_ns, stat.ctime_ns)])?;
    }
    Ok(())
}

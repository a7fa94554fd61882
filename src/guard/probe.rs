//! The guard proves itself: a stub of its own, opened by another process.
//!
//! Whether events come, and which, is found out by trying, on each watched file
//! system, before anybody is told that stubs are safe there:
//!
//! * a file that becomes a stub and is then opened must read as its old bytes;
//!   otherwise the guard refuses to work;
//! * a file that was open when it became a stub must, too; otherwise the kernel
//!   shows opens only, and what that weakens is told.
//!
//! The content of these stubs is in memory, not in the store: a store that is
//! down keeps no guard from starting. The other process is a child that does
//! nothing but open and read; it goes the way of every program, by the visible
//! path. The probe's files are removed on every way out.

use super::inodes::Inode;
use super::watched::Root;
use super::worker::Outcome;
use crate::ids::ContentId;
use crate::os::child::{self, ChildProcess, Fork};
use crate::os::fanotify::Group;
use crate::os::{blocks, file_ident};
use crate::recall::Filled;
use crate::stub::{self, Marker, MarkerSpace};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

const PROBE_BYTES: usize = 4096;
/// No reader waits longer for a probe.
const PATIENCE: Duration = Duration::from_secs(20);

/// Contents of probe stubs, by inode.
#[derive(Default)]
pub struct Probes(Mutex<HashMap<Inode, Vec<u8>>>);

impl Probes {
    /// Fills the file if it is a probe's stub.
    pub fn fill(&self, inode: Inode, file: &File) -> Option<Outcome> {
        let bytes = self.0.lock().expect("no holder panics").get(&inode)?.clone();
        let filled = file
            .write_all_at(&bytes, 0)
            .and_then(|()| file.sync_data())
            .map_err(|error| Box::new(error).into())
            .and_then(|()| Ok(stub::drop_marker(file, MarkerSpace::Trusted)?));
        Some(match filled {
            Ok(()) => Outcome::Whole(Filled::Whole),
            Err(trouble) => Outcome::Unavailable(trouble),
        })
    }

    fn add(&self, inode: Inode, bytes: &[u8]) {
        self.0.lock().expect("no holder panics").insert(inode, bytes.to_vec());
    }

    fn remove(&self, inode: Inode) {
        self.0.lock().expect("no holder panics").remove(&inode);
    }
}

/// The process that opens the probes.
pub struct Stranger {
    talk: UnixStream,
    process: ChildProcess,
}

impl Stranger {
    /// Forks; only while this process has one thread.
    pub fn fork() -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        match child::fork()? {
            Fork::Parent(process) => {
                ours.set_read_timeout(Some(PATIENCE))?;
                Ok(Self { talk: ours, process })
            }
            Fork::Child => {
                drop(ours);
                serve_as_stranger(theirs);
                child::exit_now(0)
            }
        }
    }

    fn open(&mut self, path: &Path) -> io::Result<()> {
        let name = path.as_os_str().as_bytes();
        let length = u32::try_from(name.len()).expect("a path is short");
        self.talk.write_all(&length.to_le_bytes())?;
        self.talk.write_all(name)?;
        self.answer().map(|_| ())
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        self.talk.write_all(&0u32.to_le_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<Vec<u8>> {
        let mut head = [0; 4];
        self.talk.read_exact(&mut head)?;
        match i32::from_le_bytes(head) {
            0 => {
                let mut bytes = vec![0; PROBE_BYTES];
                self.talk.read_exact(&mut bytes)?;
                Ok(bytes)
            }
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.process.kill(rustix::process::Signal::KILL);
        let _ = self.process.wait();
    }
}

/// Opens what it is told to, and reads it when asked. Ends with its parent.
fn serve_as_stranger(mut talk: UnixStream) {
    let mut file = None;
    let mut length = [0; 4];
    while talk.read_exact(&mut length).is_ok() {
        let length = u32::from_le_bytes(length) as usize;
        let done = if length > 0 {
            let mut name = vec![0; length];
            talk.read_exact(&mut name).and_then(|()| {
                file = Some(File::open(PathBuf::from(std::ffi::OsString::from_vec(name)))?);
                Ok(vec![0; PROBE_BYTES])
            })
        } else {
            let mut bytes = vec![0; PROBE_BYTES];
            match &file {
                Some(file) => file.read_exact_at(&mut bytes, 0).map(|()| bytes),
                None => Err(io::Error::from_raw_os_error(libc::EBADF)),
            }
        };
        let answered = match done {
            Ok(bytes) => talk.write_all(&[0; 4]).and_then(|()| talk.write_all(&bytes)),
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                talk.write_all(&errno.to_le_bytes())
            }
        };
        if answered.is_err() {
            return;
        }
    }
}

/// Why a guard does not work on a root.
#[derive(Debug, thiserror::Error)]
pub enum Unproven {
    #[error("make a probe file in {}", path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("make a stub of the probe in {}", path.display())]
    Stub { path: PathBuf, source: stub::Error },
    #[error("open the probe in {} as a program would", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("a stub in {} read as zeros: no event came for its opening", path.display())]
    Zeros { path: PathBuf },
}

/// What the probes of a root have shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven {
    /// A file that was open when it became a stub is whole for its reader.
    pub reads_seen: bool,
}

/// Tries both on one root.
pub fn prove(
    group: &Group,
    probes: &Probes,
    root: &Root,
    stranger: &mut Stranger,
) -> Result<Proven, Unproven> {
    let opened_after = Probe::make(root, 1)?;
    opened_after.become_stub(group, probes)?;
    let open = |source| Unproven::Open { path: root.row.path.clone(), source };
    stranger.open(&opened_after.path()).map_err(open)?;
    if stranger.read().map_err(open)? != opened_after.bytes {
        return Err(Unproven::Zeros { path: root.row.path.clone() });
    }
    let opened_before = Probe::make(root, 2)?;
    stranger.open(&opened_before.path()).map_err(open)?;
    opened_before.become_stub(group, probes)?;
    let reads_seen = stranger.read().is_ok_and(|bytes| bytes == opened_before.bytes);
    opened_after.forget(probes);
    opened_before.forget(probes);
    Ok(Proven { reads_seen: reads_seen && root.watches_reads() })
}

struct Probe<'r> {
    root: &'r Root,
    name: String,
    file: File,
    inode: Inode,
    bytes: Vec<u8>,
}

impl<'r> Probe<'r> {
    fn make(root: &'r Root, number: u8) -> Result<Self, Unproven> {
        let failed = |source| Unproven::Make { path: root.row.path.clone(), source };
        let name = format!(".hsm-guard-probe-{number}");
        // A guard that was killed over its proof has left one.
        let _ = rustix::fs::unlinkat(root.dir(), name.as_str(), AtFlags::empty());
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(root.dir(), name.as_str(), flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| failed(errno.into()))?;
        let file = File::from(file);
        let bytes: Vec<u8> = (0..PROBE_BYTES).map(|at| (at as u8) ^ number | 1).collect();
        file.write_all_at(&bytes, 0).and_then(|()| file.sync_data()).map_err(failed)?;
        let inode = Inode::of(&file).map_err(failed)?;
        Ok(Self { root, name, file, inode, bytes })
    }

    fn path(&self) -> PathBuf {
        self.root.row.path.join(&self.name)
    }

    /// Without a check whether it is open: the second probe is, on purpose.
    fn become_stub(&self, group: &Group, probes: &Probes) -> Result<(), Unproven> {
        let failed = |source| Unproven::Make { path: self.root.row.path.clone(), source };
        let ident = file_ident(&self.file).map_err(failed)?;
        probes.add(self.inode, &self.bytes);
        let marker = Marker {
            content: ContentId([0xff; 32]),
            size_bytes: PROBE_BYTES as u64,
            ident,
            store_tag: *b"prob",
            filling: false,
            offline: false,
        };
        group.heed_file(&self.file).map_err(failed)?;
        stub::set_marker(&self.file, MarkerSpace::Trusted, &marker)
            .map_err(|source| Unproven::Stub { path: self.root.row.path.clone(), source })?;
        blocks::punch_all(&self.file, PROBE_BYTES as u64).map_err(failed)
    }

    fn forget(self, probes: &Probes) {
        probes.remove(self.inode);
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        let dir = self.root.dir();
        if let Err(error) = rustix::fs::unlinkat(dir.as_fd(), self.name.as_str(), AtFlags::empty())
        {
            tracing::warn!(%error, name = %self.name, "a probe file stays");
        }
    }
}

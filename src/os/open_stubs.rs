//! Which stubs are open somewhere?
//!
//! A descriptor that was opened while no guard was there raises no events for
//! as long as it lives, and neither does a mapping: whoever holds one on a stub
//! reads zeros. A guard that starts looks for them, to recall those files or to
//! name the processes.
//!
//! Nothing is opened here, for an open would raise an event (and wait for the
//! guard that is just starting): `stat` and `getxattr` go through the links in
//! `/proc/<pid>/fd` and `map_files` to the inode itself and raise none.
//!
//! Not seen: descriptors on their way through a socket, files registered with
//! io_uring and closed, loop devices, what the kernel itself holds, processes in
//! a process namespace that is not below ours. A process that opens a file
//! behind the scan is not seen either; by then the guard's mark has to be set.

use super::processes::executable;
use rustix::fs::{AtFlags, CWD, FileType, OFlags, StatxFlags};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

/// How often a process is looked at until its threads stay as they are.
const ATTEMPTS: usize = 20;

/// How a stub is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// By this descriptor.
    Descriptor(i32),
    Mapping,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenStub {
    pub pid: i32,
    pub exe: Option<PathBuf>,
    /// As the process sees it; ends in ` (deleted)` if it has no name any more.
    pub path: PathBuf,
    pub how: Held,
}

/// What a scan of all processes found.
#[derive(Debug, Default)]
pub struct OpenStubs {
    pub found: Vec<OpenStub>,
    /// Processes that could not be looked into. With `CAP_SYS_ADMIN` and
    /// `CAP_SYS_PTRACE` there are none, unless a security module says so or
    /// their threads come and go too fast.
    pub hidden: Vec<i32>,
}

/// Every regular file that another process has open (for reading or writing)
/// or mapped, that is on a device for which `is_ours`, and that has the extended
/// attribute `attribute`. The device number is that of `stat`. Our own process
/// is left out; one that ends meanwhile is no error.
pub fn open_stubs(is_ours: &dyn Fn(u64) -> bool, attribute: &str) -> io::Result<OpenStubs> {
    let mut stubs = OpenStubs::default();
    for pid in numbers(Path::new("/proc"))? {
        if pid.cast_unsigned() == std::process::id() {
            continue;
        }
        match of_process(pid, &|link| inode_of_stub(link, is_ours, attribute)) {
            Ok(Some(some)) => stubs.found.extend(some),
            Ok(None) => stubs.hidden.push(pid),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => stubs.hidden.push(pid),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(stubs)
}

/// The inode a link in `/proc` leads to, if it is what is looked for.
type StubTest<'a> = &'a dyn Fn(&Path) -> io::Result<Option<u64>>;

type HeldFile = (PathBuf, Held);

/// `None` if its threads come and go too fast to be seen all at once.
fn of_process(pid: i32, stub: StubTest<'_>) -> io::Result<Option<Vec<OpenStub>>> {
    let Some(held) = (0..ATTEMPTS).find_map(|_| held_by(pid, stub).transpose()) else {
        return Ok(None);
    };
    let held = held?;
    if held.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let exe = executable(pid)?;
    let named = held.into_iter().map(|(path, how)| OpenStub { pid, exe: exe.clone(), path, how });
    Ok(Some(named.collect()))
}

/// `None` if a thread ended meanwhile: it may have stood for others.
fn held_by(pid: i32, stub: StubTest<'_>) -> io::Result<Option<Vec<HeldFile>>> {
    let mut held = Vec::new();
    let threads = numbers(&PathBuf::from(format!("/proc/{pid}/task")))?;
    for thread in with_own_descriptors(&threads) {
        let Some(open) = descriptors(thread, stub)? else { return Ok(None) };
        held.extend(open);
    }
    // One memory for all threads, seen through any that has not ended.
    for thread in threads {
        if let Some(mapped) = mappings(thread, stub)? {
            held.extend(mapped);
            break;
        }
    }
    Ok(Some(held))
}

/// `None` if the thread is no more.
fn descriptors(thread: i32, stub: StubTest<'_>) -> io::Result<Option<Vec<HeldFile>>> {
    let dir = PathBuf::from(format!("/proc/{thread}/fd"));
    let Some(fds) = unless_gone(numbers(&dir))? else { return Ok(None) };
    let mut held = Vec::new();
    for fd in fds {
        let link = dir.join(fd.to_string());
        if unless_gone(stub(&link))?.flatten().is_none() || is_path_only(thread, fd)? {
            continue;
        }
        if let Some(path) = unless_gone(std::fs::read_link(&link))? {
            held.push((path, Held::Descriptor(fd)));
        }
    }
    Ok(Some(held))
}

/// Each file once. `None` if the thread has no memory (any more).
fn mappings(thread: i32, stub: StubTest<'_>) -> io::Result<Option<Vec<HeldFile>>> {
    let Some(links) = unless_gone(std::fs::read_dir(format!("/proc/{thread}/map_files")))? else {
        return Ok(None);
    };
    let mut held = Vec::new();
    let mut seen = HashSet::new();
    let mut any = false;
    for link in links {
        let Some(link) = unless_gone(link)? else { break };
        any = true;
        let inode = unless_gone(stub(&link.path()))?.flatten();
        if !inode.is_some_and(|inode| seen.insert(inode)) {
            continue;
        }
        if let Some(path) = unless_gone(std::fs::read_link(link.path()))? {
            held.push((path, Held::Mapping));
        }
    }
    Ok(any.then_some(held))
}

/// `O_PATH` descriptors cannot read; they are opened again, with an event.
fn is_path_only(thread: i32, fd: i32) -> io::Result<bool> {
    let info = std::fs::read_to_string(format!("/proc/{thread}/fdinfo/{fd}"));
    let Some(info) = unless_gone(info)? else { return Ok(true) };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok());
    Ok(flags.is_some_and(|flags| OFlags::from_bits_retain(flags).contains(OFlags::PATH)))
}

/// Does not wait for a network file system that is out of reach.
fn inode_of_stub(
    link: &Path,
    is_ours: &dyn Fn(u64) -> bool,
    attribute: &str,
) -> io::Result<Option<u64>> {
    let wanted = StatxFlags::TYPE | StatxFlags::INO;
    let stat = rustix::fs::statx(CWD, link, AtFlags::STATX_DONT_SYNC, wanted)?;
    let regular = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile;
    let device = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
    if !regular || !is_ours(device) {
        return Ok(None);
    }
    match xattr::get_deref(link, attribute) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
        value => Ok(value?.map(|_| stat.stx_ino)),
    }
}

/// Threads usually share their descriptors; those that do not are seen one by
/// one. That of a main thread that has ended is empty.
fn with_own_descriptors(threads: &[i32]) -> Vec<i32> {
    let mut own: Vec<i32> = Vec::new();
    for thread in threads {
        if !own.iter().any(|seen| share_descriptors(*seen, *thread)) {
            own.push(*thread);
        }
    }
    own
}

/// `kcmp(2)` with `KCMP_FILES`; "no" if the kernel does not say.
fn share_descriptors(one: i32, other: i32) -> bool {
    const KCMP_FILES: libc::c_int = 2;
    // SAFETY: the call takes numbers only.
    unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_FILES, 0, 0) == 0 }
}

/// The entries of a directory of `/proc` that are numbers, in order.
fn numbers(dir: &Path) -> io::Result<Vec<i32>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A process, thread, descriptor or mapping that is no more.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if is_gone(&error) => Ok(None),
        result => result.map(Some),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

#[cfg(test)]
#[path = "open_stubs_tests.rs"]
mod tests;

//! Checks of one root: the mount it is on, and everything a stub needs, tried
//! on a probe file that is removed on every way out.

use super::{Finding, bad, good, note, warning};
use crate::os::fanotify::{self, PreContent};
use crate::os::lease::{self, WriteLease};
use crate::os::mounts::{self, AtimeMode, MountFacts};
use crate::os::stat::statx_fd;
use crate::os::{RootDir, blocks, generation, process, xattrs};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// A probe of a few blocks on every file system.
const PROBE_BYTES: u64 = 256 << 10;
/// As long as a marker, under names as long as its own: whether it fits inside
/// an inode is a matter of bytes.
const MARKER_BYTES: usize = 64;
const TRUSTED_PROBE: &str = "trusted.hdr";
const USER_PROBE: &str = "user.hdr";
/// A time with all nine digits: 2001-09-09T01:46:40.123456789Z.
const FINE_TIME_NS: i64 = 1_000_000_000_123_456_789;
const LEASE_TRIES: u32 = 10;
const LEASE_PAUSE: Duration = Duration::from_millis(5);
/// File systems that the stub suites run on.
const KNOWN: [&str; 4] = ["ext4", "xfs", "btrfs", "tmpfs"];

/// What was found out about one directory.
pub struct Checked {
    pub findings: Vec<Finding>,
    /// `None` if it cannot be opened, and then nothing else is known.
    pub root: Option<RootDir>,
    pub mount: Option<MountFacts>,
    pub pre_content: Option<PreContent>,
}

/// Everything about one directory; `recorded` is the identity from `init`.
pub fn check(path: &Path, recorded: Option<&str>) -> Checked {
    let root = match RootDir::open(path) {
        Ok(root) => root,
        Err(error) => {
            let findings = vec![bad("root", format!("cannot be opened: {error}"))];
            return Checked { findings, root: None, mount: None, pre_content: None };
        }
    };
    let mut findings = vec![identity(&root, recorded)];
    let facts = mounts::facts(path);
    match &facts {
        Ok(facts) => findings.extend(mount(facts)),
        Err(error) => findings.push(warning("mount", format!("cannot be read: {error}"))),
    }
    match Probe::new(path) {
        Ok(probe) => findings.extend(probe.all()),
        Err(error) => findings.push(bad("probe", format!("cannot write a probe file: {error}"))),
    }
    let pre_content = fanotify::pre_content_supported(path);
    findings.push(holding(&pre_content));
    Checked { findings, root: Some(root), mount: facts.ok(), pre_content: pre_content.ok() }
}

fn identity(root: &RootDir, recorded: Option<&str>) -> Finding {
    let now = root.identity().to_string();
    match recorded {
        Some(before) if before != now => bad(
            "identity",
            format!("another file system or directory than at hsm init: {now}, was {before}"),
        ),
        _ => good("identity", now),
    }
}

fn mount(facts: &MountFacts) -> Vec<Finding> {
    let kind = facts.mount.fs_type.as_str();
    let mut findings = vec![if KNOWN.contains(&kind) {
        good("file-system", format!("{kind}, one that hsm is tested on"))
    } else {
        warning("file-system", format!("{kind}, on which hsm is not tested"))
    }];
    if facts.mount.read_only() {
        findings
            .push(bad("read-only", "the mount is read-only: nothing can be stubbed or recalled"));
    }
    findings.push(match facts.mount.atime() {
        AtimeMode::Never => warning("atime", "noatime: rules see changes and recalls, not reads"),
        AtimeMode::Relative => good("atime", "relatime: a read is seen within a day"),
        AtimeMode::Always => good("atime", "every read is seen"),
    });
    findings.push(match facts.has_journal {
        Some(true) => good("journal", "a power cut keeps marker and blocks in order"),
        Some(false) => warning(
            "journal",
            "no journal: order after a power cut rests on hsm syncing each marker first",
        ),
        None => note("journal", "cannot be told; hsm syncs each marker before it frees blocks"),
    });
    for other in &facts.also_at {
        let shown = other.display();
        findings.push(note(
            "exposure",
            format!("the same files can be reached at {shown}; a guard watches them there too"),
        ));
    }
    findings
}

/// An unlinked-on-drop file in the root, with data in it.
struct Probe(tempfile::NamedTempFile);

impl Probe {
    fn new(root: &Path) -> io::Result<Self> {
        let mut file = tempfile::Builder::new().prefix(".hsm-doctor-").tempfile_in(root)?;
        file.write_all(&vec![0xa5; PROBE_BYTES as usize])?;
        file.as_file().sync_all()?;
        Ok(Self(file))
    }

    fn file(&self) -> &File {
        self.0.as_file()
    }

    fn all(&self) -> Vec<Finding> {
        vec![self.times(), self.generation(), self.lease(), self.punch(), self.marker()]
    }

    fn times(&self) -> Finding {
        let read_back = blocks::set_times(self.file(), None, Some(FINE_TIME_NS))
            .and_then(|()| statx_fd(self.file()));
        match read_back {
            Ok(stat) if stat.mtime_ns == FINE_TIME_NS => {
                good("times", "modification times keep their nanoseconds")
            }
            Ok(_) => warning(
                "times",
                "modification times are rounded: a change within the same tick is seen by ctime only",
            ),
            Err(error) => bad("times", format!("a file's times cannot be set: {error}")),
        }
    }

    fn generation(&self) -> Finding {
        match generation(self.file()) {
            Ok(_) => good("generation", "a reused inode number can be told from the old file"),
            Err(error) => bad("generation", format!("file generations cannot be read: {error}")),
        }
    }

    /// A guard at work has the file open for an instant after each event.
    fn lease(&self) -> Finding {
        lease::ignore_break_signal();
        let mut taken = WriteLease::acquire(self.file());
        for _ in 0..LEASE_TRIES {
            if !matches!(taken, Ok(None)) {
                break;
            }
            std::thread::sleep(LEASE_PAUSE);
            taken = WriteLease::acquire(self.file());
        }
        match taken {
            Ok(Some(_)) => good("lease", "a file that somebody has open can be told"),
            Ok(None) => bad("lease", "a lease is refused on a file that nobody else has open"),
            Err(error) => bad("lease", format!("leases do not work: {error}")),
        }
    }

    fn punch(&self) -> Finding {
        let punched =
            blocks::punch_all(self.file(), PROBE_BYTES).and_then(|()| statx_fd(self.file()));
        match punched {
            Ok(stat) if stat.size_bytes != PROBE_BYTES => {
                bad("punch", "punching a hole changes the size")
            }
            Ok(stat) if stat.allocated_bytes >= PROBE_BYTES => {
                bad("punch", "punching a hole frees no blocks")
            }
            Ok(_) => good("punch", "blocks can be freed under an unchanged size"),
            Err(error) => bad("punch", format!("holes cannot be punched: {error}")),
        }
    }

    /// After `punch`, so that blocks that appear are the attribute's.
    fn marker(&self) -> Finding {
        let trusted = process::can_use_trusted_xattrs();
        let name = if trusted { TRUSTED_PROBE } else { USER_PROBE };
        let value = [0x5a; MARKER_BYTES];
        let tried = xattrs::set(self.file(), name, &value)
            .and_then(|()| self.file().sync_all())
            .and_then(|()| xattrs::get(self.file(), name));
        match tried {
            Ok(Some(found)) if found == value => self.marker_place(trusted),
            Ok(_) => bad("marker", format!("{name} does not come back as it was set")),
            Err(error) => bad("marker", format!("{name} cannot be set: {error}")),
        }
    }

    fn marker_place(&self, trusted: bool) -> Finding {
        let space = match trusted {
            true => "trusted.hsm, which no user can forge",
            false => "user.hsm: not root, for your own trees only and without a guard",
        };
        match statx_fd(self.file()) {
            Ok(stat) if stat.allocated_bytes > 0 => {
                let bytes = stat.allocated_bytes;
                note("marker", format!("{space}; it takes {bytes} bytes outside the inode"))
            }
            _ => good("marker", format!("{space}; it fits inside the inode")),
        }
    }
}

fn holding(found: &io::Result<PreContent>) -> Finding {
    match found {
        Ok(PreContent::Supported) => {
            good("guard", "the kernel can hold a reader of a stub until the data is here")
        }
        Ok(PreContent::NotPermitted) => {
            note("guard", "needs root; without a guard stubs read as zeros")
        }
        Ok(PreContent::NotInKernel) => note(
            "guard",
            "this kernel has no pre-content events (Linux 6.14): opens can be held at best, and a file cut short by its path is not seen",
        ),
        Ok(PreContent::NotOnThisFileSystem) => {
            note("guard", "no pre-content events on this file system: stubs would read as zeros")
        }
        Err(error) => note("guard", format!("cannot be tried: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_attribute_takes_the_room_of_the_marker() {
        assert_eq!(TRUSTED_PROBE.len(), "trusted.hsm".len());
        assert_eq!(USER_PROBE.len(), "user.hsm".len());
    }
}

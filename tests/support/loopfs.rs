//! Real file systems for tests: an image in a temporary directory, formatted
//! and mounted over a loop device, unmounted in `Drop` however the test ends.
//!
//! Used by the library's own tests and by the integration suites, both through
//! `#[path]`. Needs root and the mkfs programs (e2fsprogs, xfsprogs,
//! btrfs-progs); without them [`LoopFs::new`] says `SKIPPED` on stderr and gives
//! `None`, or panics if `HSM_TEST_NO_SKIP=1`, so that a CI cannot pass by
//! skipping.

#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsKind {
    /// 256-byte inodes and a journal: what most servers have.
    Ext4,
    Ext4NoJournal,
    Xfs,
    Btrfs,
}

impl FsKind {
    pub const ALL: [Self; 4] = [Self::Ext4, Self::Ext4NoJournal, Self::Xfs, Self::Btrfs];

    pub fn fs_type(self) -> &'static str {
        match self {
            Self::Ext4 | Self::Ext4NoJournal => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    fn mkfs(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &["mkfs.ext4", "-q", "-F", "-I", "256"],
            Self::Ext4NoJournal => &["mkfs.ext4", "-q", "-F", "-I", "256", "-O", "^has_journal"],
            Self::Xfs => &["mkfs.xfs", "-q", "-f"],
            Self::Btrfs => &["mkfs.btrfs", "-q", "-f"],
        }
    }
}

/// A mounted image.
#[derive(Debug)]
pub struct LoopFs {
    pub kind: FsKind,
    dir: tempfile::TempDir,
    mount_point: PathBuf,
    mounted: bool,
}

impl LoopFs {
    /// 512 MiB, sparse. `test` is the name to skip by.
    pub fn new(test: &str, kind: FsKind) -> Option<Self> {
        Self::with_size(test, kind, 512 << 20)
    }

    pub fn with_size(test: &str, kind: FsKind, size_bytes: u64) -> Option<Self> {
        let mut fs = Self::unmounted(test, kind, size_bytes)?;
        fs.mount();
        Some(fs)
    }

    /// Made, but not mounted yet.
    pub fn unmounted(test: &str, kind: FsKind, size_bytes: u64) -> Option<Self> {
        let program = kind.mkfs()[0];
        if !root_or_skip(test) || !program_or_skip(test, program) {
            return None;
        }
        let dir = tempfile::tempdir_in(home()).expect("a temporary directory");
        let image = dir.path().join("image");
        let file = std::fs::File::create(&image).expect("create the image");
        file.set_len(size_bytes).expect("size the image");
        run(Command::new(program).args(&kind.mkfs()[1..]).arg(&image));
        let mount_point = dir.path().join("mnt");
        std::fs::create_dir(&mount_point).expect("make the mount point");
        Some(Self { kind, dir, mount_point, mounted: false })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    pub fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    pub fn mount(&mut self) {
        let image = self.image();
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&self.mount_point));
        self.mounted = true;
    }

    /// Another program has mounted it here or unmounted it.
    pub fn is_mounted_now(&mut self, mounted: bool) {
        self.mounted = mounted;
    }

    /// Fails while a descriptor on it is open. A process that another test is
    /// just starting holds copies of all descriptors until it has executed its
    /// program, hence the attempts.
    pub fn unmount(&mut self) {
        let freed = (0..100).any(|_| self.try_unmount(&[]));
        assert!(freed, "{} stays busy", self.mount_point.display());
        self.mounted = false;
    }

    fn try_unmount(&self, lazy: &[&str]) -> bool {
        let mut umount = Command::new("umount");
        umount.args(lazy).arg(&self.mount_point).stderr(Stdio::null());
        umount.status().is_ok_and(|status| status.success())
    }

    pub fn remount(&mut self) {
        self.unmount();
        self.mount();
    }

    /// The file system stops as if the power had failed (ext4 and xfs): with
    /// `log_flushed` what the journal holds is on the disk, without it is not.
    /// Then unmounts and mounts again, which replays the journal. Close every
    /// descriptor first.
    pub fn crash(&mut self, log_flushed: bool) {
        self.shutdown(log_flushed);
        self.remount();
    }

    /// The first half of [`LoopFs::crash`], for when others still use it: from
    /// here they get `EIO`.
    pub fn shutdown(&mut self, log_flushed: bool) {
        let shutdown = if log_flushed { "shutdown -f" } else { "shutdown" };
        run(Command::new("xfs_io").args(["-x", "-c", shutdown]).arg(&self.mount_point));
    }
}

impl Drop for LoopFs {
    fn drop(&mut self) {
        if !self.mounted {
            return;
        }
        let freed = (0..20).any(|_| self.try_unmount(&[])) || self.try_unmount(&["-l"]);
        if !freed {
            eprintln!("cannot unmount {}", self.mount_point.display());
        }
    }
}

/// `false`, loudly, for a test that needs root where there is none.
pub fn root_or_skip(test: &str) -> bool {
    rustix::process::geteuid().is_root() || skip(test, "needs root")
}

/// In memory where there is room, so that a sync in a test waits for no disk.
fn home() -> PathBuf {
    let shm = PathBuf::from("/dev/shm");
    let roomy = rustix::fs::statvfs(&shm).is_ok_and(|fs| fs.f_bavail * fs.f_frsize >= 4 << 30);
    if roomy { shm } else { std::env::temp_dir() }
}

fn program_or_skip(test: &str, program: &str) -> bool {
    let found = |dir: PathBuf| dir.join(program).exists();
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(found)
        || skip(test, &format!("needs {program}"))
}

fn skip(test: &str, why: &str) -> bool {
    assert!(
        std::env::var_os("HSM_TEST_NO_SKIP").is_none_or(|value| value != "1"),
        "{test} {why}, and HSM_TEST_NO_SKIP=1 forbids skipping"
    );
    eprintln!("SKIPPED {test}: {why}");
    false
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {error}");
}

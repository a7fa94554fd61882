//! Images on loop devices, mounted step by step.

use super::*;
use crate::os::loopfs::{FsKind, LoopFs};
use crate::os::mount_options::parse;
use crate::os::mounts;
use std::process::Command;

/// A loop device over the image of a [`LoopFs`]; detached however the test ends.
struct LoopDevice(PathBuf);

impl LoopDevice {
    /// `fs` is unmounted and stays it. Written out before: a mount namespace
    /// that somebody copied meanwhile keeps the file system in memory.
    fn over(fs: &mut LoopFs) -> Self {
        rustix::fs::syncfs(File::open(fs.path()).expect("open")).expect("sync");
        fs.unmount();
        let image = fs.path().with_file_name("image");
        let output = Command::new("losetup").args(["-f", "--show"]).arg(image).output();
        let output = output.expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let name = String::from_utf8(output.stdout).expect("a path");
        Self(PathBuf::from(name.trim_end()))
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let detached = Command::new("losetup").arg("-d").arg(&self.0).status();
        assert!(detached.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// Shown at a path, and unmounted however the test ends.
struct Attached<'a>(&'a Path);

impl<'a> Attached<'a> {
    fn new(made: DetachedMount, target: &'a Path) -> Self {
        made.attach(target).expect("attach");
        let attached = Self(target);
        assert!(made.attach(target).is_err(), "attached before");
        attached
    }
}

impl Drop for Attached<'_> {
    /// A process that another test is just starting holds copies of all
    /// descriptors until it has executed its program.
    fn drop(&mut self) {
        let unmount = || Command::new("umount").arg(self.0).status().expect("it starts").success();
        assert!((0..100).any(|_| unmount()) || std::thread::panicking(), "it stays busy");
    }
}

fn mounted_at(target: &Path) -> Option<mounts::Mount> {
    mounts::all().expect("mountinfo").into_iter().find(|mount| mount.mount_point == target)
}

#[test]
fn a_mount_is_seen_when_it_is_attached_and_not_before() {
    for kind in FsKind::ALL {
        let test = "a_mount_is_seen_when_it_is_attached_and_not_before";
        let Some(mut fs) = LoopFs::new(test, kind) else { continue };
        std::fs::write(fs.path().join("f"), b"there").expect("write");
        let device = LoopDevice::over(&mut fs);
        let fs_type = fs_type_of_device(&device.0).expect("readable").expect("known");
        assert_eq!(fs_type, kind.fs_type());

        let options = parse("defaults,rw,nodev,nosuid,strictatime,noatime,noauto,x-a=b");
        let made = DetachedMount::create(&device.0, fs_type, &options).expect("mount");
        assert_eq!(mounted_at(fs.path()), None);
        assert!(!fs.path().join("f").exists());
        let entries = rustix::fs::Dir::read_from(made.dir()).expect("list");
        let name = |entry: rustix::fs::DirEntry| entry.file_name().to_owned();
        let names: Vec<_> = entries.map(|entry| entry.map(name)).collect();
        assert!(names.contains(&Ok(c"f".to_owned())), "{kind:?}: {names:?}");

        let _attached = Attached::new(made, fs.path());
        let mount = mounted_at(fs.path()).expect("it is there");
        for word in ["rw", "nodev", "nosuid", "noatime"] {
            assert!(mount.options.iter().any(|option| option == word), "{:?}", mount.options);
        }
        assert_eq!(std::fs::read(fs.path().join("f")).expect("read"), b"there");
        std::fs::write(fs.path().join("g"), b"new").expect("write");
    }
}

#[test]
fn a_mount_can_be_marked_before_it_is_seen() {
    let test = "a_mount_can_be_marked_before_it_is_seen";
    let Some(mut fs) = LoopFs::new(test, FsKind::Ext4) else { return };
    let device = LoopDevice::over(&mut fs);
    let made = DetachedMount::create(&device.0, "ext4", &[]).expect("mount");
    let flags = libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC;
    // SAFETY: takes two numbers.
    let group = unsafe { libc::fanotify_init(flags, 0) };
    assert!(group >= 0);
    // SAFETY: the path is a literal; the descriptors live until below.
    let marked = unsafe {
        libc::fanotify_mark(
            group,
            libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM,
            libc::FAN_OPEN_PERM,
            std::os::fd::AsRawFd::as_raw_fd(&made.dir()),
            c".".as_ptr(),
        )
    };
    // SAFETY: ours, and used by nobody else.
    unsafe { libc::close(group) };
    assert_eq!(marked, 0);
}

#[test]
fn read_only_means_it_everywhere() {
    let Some(mut fs) = LoopFs::new("read_only_means_it_everywhere", FsKind::Xfs) else { return };
    let device = LoopDevice::over(&mut fs);
    let made = DetachedMount::create(&device.0, "xfs", &parse("rw,ro")).expect("mount");
    let _attached = Attached::new(made, fs.path());
    let mount = mounted_at(fs.path()).expect("it is there");
    assert!(mount.read_only());
    assert!(mount.super_options.iter().any(|option| option == "ro"), "{:?}", mount.super_options);
}

#[test]
fn an_option_with_a_value_reaches_the_file_system() {
    let test = "an_option_with_a_value_reaches_the_file_system";
    let Some(mut fs) = LoopFs::new(test, FsKind::Btrfs) else { return };
    let mut create = Command::new("btrfs");
    create.args(["-q", "subvolume", "create"]).arg(fs.path().join("sub"));
    assert!(create.output().expect("it starts").status.success());
    std::fs::write(fs.path().join("sub/inside"), b"x").expect("write");
    let device = LoopDevice::over(&mut fs);
    let made = DetachedMount::create(&device.0, "btrfs", &parse("subvol=sub")).expect("mount");
    let inside = rustix::fs::statat(made.dir(), "inside", rustix::fs::AtFlags::empty());
    inside.expect("the subvolume is the root");
}

#[test]
fn a_refusal_says_what_the_kernel_says() {
    let test = "a_refusal_says_what_the_kernel_says";
    let Some(mut fs) = LoopFs::new(test, FsKind::Xfs) else { return };
    let device = LoopDevice::over(&mut fs);
    let refusal = |fs_type, options| {
        DetachedMount::create(&device.0, fs_type, &parse(options)).expect_err("refused").to_string()
    };
    let unknown = refusal("xfs", "nonsense=1");
    assert!(unknown.ends_with("with the option nonsense (xfs: Unknown parameter 'nonsense')"));
    let other = refusal("btrfs", "");
    assert!(other.starts_with(&format!("mount {}", device.0.display())), "{other}");
    let none = refusal("no-such-type", "");
    assert!(none.contains("no-such-type"), "{none}");
    let absent = DetachedMount::create(Path::new("UUID=no-such"), "ext4", &[]);
    assert_eq!(absent.expect_err("absent").kind(), io::ErrorKind::NotFound);
}

#[test]
fn what_is_no_file_system_has_no_type() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("image");
    let type_of = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("write");
        fs_type_of_device(&path).expect("readable")
    };
    assert_eq!(type_of(b""), None);
    let mut image = vec![0; 70_000];
    assert_eq!(type_of(&image), None);
    image[..4].copy_from_slice(b"XFSB");
    assert_eq!(type_of(&image), Some("xfs"));
    image[65_600..65_608].copy_from_slice(b"_BHRfS_M");
    assert_eq!(type_of(&image), None, "two at once");
    assert!(fs_type_of_device(&dir.path().join("absent")).is_err());
}

#[test]
fn a_tag_names_a_link_of_udev() {
    let resolved = |source: &str| resolve(Path::new(source)).to_string_lossy().into_owned();
    assert_eq!(resolved("/dev/sdb1"), "/dev/sdb1");
    assert_eq!(resolved("UUID=1234-ab"), "/dev/disk/by-uuid/1234-ab");
    assert_eq!(resolved("LABEL=\"my data/ä\""), "/dev/disk/by-label/my\\x20data\\x2fä");
    assert_eq!(resolved("PARTLABEL=a"), "/dev/disk/by-partlabel/a");
}

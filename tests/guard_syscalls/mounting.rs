//! The same file through other mounts. All mounts are made in a mount namespace
//! of the actor's own and go away with it, a loop device with its last close.

use super::mapping::Map;
use super::scene::{Block, Done, Played, Scene, aligned, checked, fill, rest, same};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Leaves the mount namespace of the test; only this thread and its children.
pub fn own_namespace() -> io::Result<()> {
    // SAFETY: no memory is involved.
    checked(unsafe { libc::unshare(libc::CLONE_NEWNS) }.into())?;
    mount(None, Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE, None)
}

fn mount(
    source: Option<&Path>,
    target: &Path,
    kind: Option<&str>,
    flags: libc::c_ulong,
    data: Option<&str>,
) -> io::Result<()> {
    let text = |bytes: &[u8]| CString::new(bytes).expect("no NUL in it");
    let source = source.map(|path| text(path.as_os_str().as_bytes()));
    let target = text(target.as_os_str().as_bytes());
    let (kind, data) = (kind.map(|k| text(k.as_bytes())), data.map(|d| text(d.as_bytes())));
    let at = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    // SAFETY: C strings that live as long as the call, or null where it may be.
    let result =
        unsafe { libc::mount(at(&source), target.as_ptr(), at(&kind), flags, at(&data).cast()) };
    checked(result.into()).map(drop)
}

/// The file's directory once more, below the scene's.
pub fn bind(scene: &Scene, flags: libc::c_ulong) -> io::Result<PathBuf> {
    own_namespace()?;
    let target = scene.dir.join("bound");
    std::fs::create_dir(&target)?;
    let source = scene.path.parent().expect("a directory");
    mount(Some(source), &target, None, libc::MS_BIND, None)?;
    if flags != 0 {
        mount(None, &target, None, libc::MS_BIND | libc::MS_REMOUNT | flags, None)?;
    }
    Ok(target.join(scene.path.file_name().expect("a name")))
}

pub fn other_namespace(scene: &Scene) -> Played {
    own_namespace()?;
    scene.expect_at_path(&scene.path)?;
    scene.unchanged()
}

pub fn bind_mount(scene: &Scene) -> Played {
    scene.expect_at_path(&bind(scene, 0)?)?;
    scene.unchanged()
}

pub fn read_only_bind_mount(scene: &Scene) -> Played {
    scene.expect_at_path(&bind(scene, libc::MS_RDONLY)?)?;
    scene.unchanged()
}

pub fn read_only_bind_mount_mapped(scene: &Scene) -> Played {
    let path = bind(scene, libc::MS_RDONLY)?;
    let map = Map::shared(&File::open(path)?, scene.len())?;
    scene.expect(map.bytes())?;
    scene.unchanged()
}

/// The file as the lower of an overlay.
pub fn overlay(scene: &Scene) -> io::Result<PathBuf> {
    own_namespace()?;
    let [upper, work, merged] = ["upper", "work", "merged"].map(|name| scene.dir.join(name));
    for dir in [&upper, &work, &merged] {
        std::fs::create_dir(dir)?;
    }
    let lower = scene.path.parent().expect("a directory");
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    mount(Some(Path::new("overlay")), &merged, Some("overlay"), 0, Some(&options))?;
    Ok(merged.join(scene.path.file_name().expect("a name")))
}

pub fn overlay_read(scene: &Scene) -> Played {
    scene.expect_at_path(&overlay(scene)?)?;
    scene.unchanged()
}

pub fn overlay_mapped(scene: &Scene) -> Played {
    let map = Map::shared(&File::open(overlay(scene)?)?, scene.len())?;
    scene.expect(map.bytes())?;
    scene.unchanged()
}

pub fn overlay_copied_up(scene: &Scene) -> Played {
    let path = overlay(scene)?;
    File::options().append(true).open(&path)?.write_all(b"more")?;
    same(&std::fs::read(&path)?, &scene.patched(scene.len(), b"more"))?;
    scene.unchanged()
}

/// A loop device over the file, gone with the descriptor.
pub struct LoopDevice {
    pub path: PathBuf,
    pub device: File,
}

/// `struct loop_config` of `linux/loop.h`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    before_flags: [u8; 52],
    flags: u32,
    after_flags: [u8; 176],
    reserved: [u64; 8],
}

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

impl LoopDevice {
    pub fn over(file: &File) -> io::Result<Self> {
        let control = File::options().read(true).write(true).open("/dev/loop-control")?;
        loop {
            // SAFETY: no memory is involved.
            let free = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
            let path = PathBuf::from(format!("/dev/loop{}", checked(free.into())?));
            let device = File::options().read(true).write(true).open(&path)?;
            let config = LoopConfig {
                fd: file.as_raw_fd().cast_unsigned(),
                block_size: 0,
                before_flags: [0; 52],
                flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
                after_flags: [0; 176],
                reserved: [0; 8],
            };
            // SAFETY: the structure that this request takes.
            let set = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &config) };
            match checked(set.into()) {
                Ok(_) => return Ok(Self { path, device }),
                // Another test took it meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whole sectors of the file, through the page cache of the device.
    pub fn expect(&self, scene: &Scene) -> Done {
        let mut found = vec![0; scene.len() / 512 * 512];
        fill(&mut found, |part, done| self.device.read_at(part, done as u64))?;
        scene.expect_at(0, &found)
    }
}

pub fn loop_device(scene: &Scene) -> Played {
    let device = LoopDevice::over(&scene.open()?)?;
    device.expect(scene)?;
    let direct = File::options().read(true).custom_flags(libc::O_DIRECT).open(&device.path)?;
    let mut blocks = vec![Block([0; 4096]); 16];
    direct.read_exact_at(aligned(&mut blocks), 614_400)?;
    scene.expect_at(614_400, aligned(&mut blocks))?;
    scene.unchanged()
}

/// What a copy in a snapshot gives: the right bytes, or `EIO`; never zeros.
fn in_snapshot(scene: &Scene, options: &[&str]) -> Played {
    let target = scene.dir.join("snapshot");
    let mut command = Command::new("btrfs");
    command.args(["-q", "subvolume", "snapshot"]).args(options);
    let made = command.arg(&scene.mount).arg(&target).output()?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into_owned().into());
    }
    let path = target.join(scene.path.strip_prefix(&scene.mount)?);
    match File::open(&path).and_then(rest) {
        Ok(found) => scene.expect(&found)?,
        Err(error) if error.raw_os_error() == Some(libc::EIO) => {}
        Err(error) => return Err(error.into()),
    }
    scene.unchanged()
}

pub fn read_only_snapshot(scene: &Scene) -> Played {
    in_snapshot(scene, &["-r"])
}

pub fn snapshot(scene: &Scene) -> Played {
    in_snapshot(scene, &[])
}

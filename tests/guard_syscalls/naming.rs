//! Other ways to the same file: names, handles, execution.

use super::scene::{Content, Played, Scene, checked, rest, same};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

pub fn hard_link_then_read(scene: &Scene) -> Played {
    let link = scene.dir.join("link");
    std::fs::hard_link(&scene.path, &link)?;
    scene.expect_still_a_stub(&link)?;
    scene.expect_at_path(&link)?;
    scene.unchanged()
}

pub fn rename_then_read(scene: &Scene) -> Played {
    let moved = scene.dir.join("moved");
    std::fs::rename(&scene.path, &moved)?;
    scene.expect_still_a_stub(&moved)?;
    scene.expect_at_path(&moved)?;
    std::fs::rename(&moved, &scene.path)?;
    scene.unchanged()
}

pub fn rename_while_open(scene: &Scene) -> Played {
    let file = scene.open()?;
    let moved = scene.dir.join("moved");
    std::fs::rename(&scene.path, &moved)?;
    scene.expect(&rest(file)?)?;
    scene.expect_at_path(&moved)?;
    std::fs::rename(&moved, &scene.path)?;
    scene.unchanged()
}

/// The name now means another file, and its own bytes are elsewhere.
pub fn rename_exchange(scene: &Scene) -> Played {
    let (other, _) = scene.beside("other", b"another file")?;
    renameat_with(CWD, &scene.path, CWD, &other, RenameFlags::EXCHANGE)?;
    scene.expect_at_path(&other)?;
    same(&std::fs::read(&scene.path)?, b"another file")?;
    renameat_with(CWD, &scene.path, CWD, &other, RenameFlags::EXCHANGE)?;
    scene.unchanged()
}

pub fn rename_over(scene: &Scene) -> Played {
    let (other, _) = scene.beside("other", b"another file")?;
    std::fs::rename(&other, &scene.path)?;
    Ok(Some(b"another file".to_vec()))
}

pub fn unlink(scene: &Scene) -> Played {
    std::fs::remove_file(&scene.path)?;
    Ok(None)
}

pub fn open_unlink_read(scene: &Scene) -> Played {
    let file = scene.open()?;
    std::fs::remove_file(&scene.path)?;
    scene.expect(&rest(file)?)?;
    Ok(None)
}

/// `struct file_handle` with room for the largest handle.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    data: [u8; 128],
}

fn handle_of(path: &Path) -> io::Result<Handle> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut handle = Handle { bytes: 128, kind: 0, data: [0; 128] };
    let mut mount = 0i32;
    // SAFETY: a C string, and a handle with the room that it names.
    checked(unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            name.as_ptr(),
            &mut handle,
            &mut mount,
            0,
        )
    })?;
    Ok(handle)
}

fn open_handle(mount: &File, handle: &Handle) -> io::Result<File> {
    // SAFETY: a handle that the kernel has filled; the descriptor is new.
    unsafe {
        let fd = libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            handle,
            libc::O_RDONLY | libc::O_CLOEXEC,
        );
        Ok(File::from_raw_fd(checked(fd)? as i32))
    }
}

pub fn by_handle(scene: &Scene) -> Played {
    let handle = handle_of(&scene.path)?;
    scene.expect_still_a_stub(&scene.path)?;
    let file = open_handle(&File::open(&scene.mount)?, &handle)?;
    scene.expect(&rest(file)?)?;
    scene.unchanged()
}

fn said_by(command: &mut Command) -> Result<String, Box<dyn std::error::Error>> {
    let output = command.stdin(Stdio::null()).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !error.is_empty() {
        return Err(format!("{command:?}: {}: {error}", output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub fn execute(scene: &Scene) -> Played {
    let (text, _) = scene.beside("text", b"played\n")?;
    match said_by(Command::new(&scene.path).arg(text))?.as_str() {
        "played\n" => scene.unchanged(),
        other => Err(format!("it said {other:?}").into()),
    }
}

pub fn preload(scene: &Scene) -> Played {
    assert_eq!(scene.content, Content::Library);
    let mut command = Command::new("/bin/cat");
    let maps = said_by(command.arg("/proc/self/maps").env("LD_PRELOAD", &scene.path))?;
    match maps.contains(scene.path.to_str().expect("a plain path")) {
        true => scene.unchanged(),
        false => Err("it is not loaded".into()),
    }
}

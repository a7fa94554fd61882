//! Files and directories that nobody else may read: what `hsm` keeps of a tree says
//! the names in directories that others cannot enter.
//!
//! The mode is there from the first moment, whatever the umask. What exists already is
//! left as its administrator has it.

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::Path;

/// A new file, 0600. `AlreadyExists` for anything that has the name, a link too.
pub fn create_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(CWD, path, flags, Mode::RUSR | Mode::WUSR)?))
}

/// A directory, 0700, and those above it where they are missing, which are as usual.
pub fn make_dir(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        std::fs::create_dir_all(above)?;
    }
    match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
        Err(Errno::EXIST) if path.is_dir() => Ok(()),
        made => Ok(made?),
    }
}

/// A temporary directory, 0700: it goes with the value. `TMPDIR` says where.
pub fn temporary_dir(prefix: &str) -> io::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let private = PermissionsExt::from_mode(0o700);
    tempfile::Builder::new().prefix(prefix).permissions(private).tempdir()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("there").permissions().mode() & 0o7777
    }

    /// The umask of a shell, 022, would let everybody read it.
    #[test]
    fn a_temporary_directory_is_nobody_elses() {
        assert_eq!(mode(temporary_dir("hsm-").expect("made").path()), 0o700);
    }

    #[test]
    fn what_is_made_is_nobody_elses_and_what_is_there_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let own = dir.path().join("above/own");
        make_dir(&own).expect("made");
        assert_eq!(mode(&own), 0o700);
        std::fs::set_permissions(&own, PermissionsExt::from_mode(0o750)).expect("chmod");
        make_dir(&own).expect("there");
        assert_eq!(mode(&own), 0o750);
        let file = own.join("file");
        create_file(&file).expect("made");
        assert_eq!(mode(&file), 0o600);
        let link = own.join("link");
        symlink(dir.path().join("elsewhere"), &link).expect("symlink");
        for taken in [&file, &link] {
            let error = create_file(taken).expect_err("taken");
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        }
        assert!(make_dir(&file).is_err(), "a file is no directory");
    }
}

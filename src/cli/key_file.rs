//! The key file of an encrypted store: made once, never replaced, refused when
//! anyone but us and root can read it.
//!
//! Losing this file loses every file that is only in the store, so it is
//! durable before the store descriptor that needs it is written, and no command
//! ever writes over one.

use super::error::Error;
use super::output::escaped_path;
use crate::chunk::MasterKey;
use crate::os::process;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Far above any key file; what is larger is another file.
const MAX_BYTES: u64 = 4096;

/// Reads a key file after looking at who can read it.
pub fn read(path: &Path) -> Result<MasterKey, Error> {
    // What is no file must not keep us waiting; the check below is of what is open.
    let mut options = OpenOptions::new();
    let opened = options.read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::refused(
            format!("there is no key file {}", escaped_path(path)),
            "put back the key file that was made with this store",
        ),
        _ => Error::io("open the key file", path)(error),
    })?;
    let metadata = file.metadata().map_err(Error::io("look at the key file", path))?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        let what = format!("{} is no key file", escaped_path(path));
        return Err(Error::refused(what, "name the file that hsm init --encrypt wrote"));
    }
    if metadata.mode() & 0o077 != 0 {
        let shown = escaped_path(path);
        let what = format!("the key file {shown} can be read by others than its owner");
        return Err(Error::refused(what, format!("chmod 600 {shown}")));
    }
    let (owner, own) = (metadata.uid(), process::uid());
    if owner != own && owner != 0 {
        let shown = escaped_path(path);
        let what = format!("the key file {shown} belongs to user {owner}, who can read it");
        return Err(Error::refused(what, format!("chown {own} {shown}")));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(Error::io("read the key file", path))?;
    Ok(MasterKey::parse(&text)?)
}

/// Makes a new key and its file, which must not exist; durable on return.
pub fn create(path: &Path) -> Result<MasterKey, Error> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).expect("the kernel's random source answers once booted");
    let key = MasterKey::generate(random);
    let doing = "write the key file";
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::io(doing, path))?;
    file.write_all(key.encode().as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all())
        .map_err(Error::io(doing, path))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_survives_its_file_and_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.key");
        let key = create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(read(&path).unwrap().fingerprint(), key.fingerprint());
        assert!(create(&path).is_err());
        assert_eq!(read(&path).unwrap().fingerprint(), key.fingerprint());
    }

    #[test]
    fn a_key_that_is_no_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.key");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        let error = read(&path).expect_err("refused").to_string();
        assert!(error.contains("is no key file"), "{error}");
    }

    #[test]
    fn a_key_of_another_user_is_refused() {
        if !process::is_root() {
            return; // Nobody else can give a file away; tests/security does it as root.
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.key");
        create(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        let error = read(&path).expect_err("refused").to_string();
        assert!(error.contains("belongs to user 65534"), "{error}");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.key");
        create(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let error = read(&path).expect_err("refused").to_string();
        assert!(error.contains("can be read by others"), "{error}");
    }
}

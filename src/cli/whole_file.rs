//! A file that has its name only when all of it is written and on the disk; or standard
//! output, where a reader sees what there is.
//!
//! Only its owner may read it: it holds file names.
//!
//! Taking a name by a rename replaces whatever has it. For root that may be `/dev/null`,
//! which then is an ordinary file for the whole machine: so anything that is no file, and a
//! link to such a thing, is refused before there is anything to write.

use super::context::Context;
use super::error::Error;
use super::output::escaped_path;
use std::fs::Permissions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// On its way; given up when it is dropped before [`WholeFile::close`].
pub struct WholeFile<'c> {
    context: &'c Context,
    /// `None` is standard output.
    file: Option<(BufWriter<NamedTempFile>, PathBuf)>,
}

impl<'c> WholeFile<'c> {
    /// At this path; `-` is standard output, which `--json` wants for itself.
    pub fn open(context: &'c Context, path: &Path) -> Result<Self, Error> {
        if path.as_os_str() == "-" {
            if context.global.json {
                let what = "--output - and --json both want standard output";
                return Err(Error::Usage(what.to_owned()));
            }
            return Ok(Self { context, file: None });
        }
        let full = std::path::absolute(path).map_err(Error::io("make absolute", path))?;
        let file = beside(&full, ".hsm-", 0o600)?;
        Ok(Self { context, file: Some((BufWriter::new(file), full)) })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.file {
            None => self.context.out.raw(bytes),
            Some((file, path)) => file.write_all(bytes).map_err(Error::io("write", path)),
        }
    }

    /// Gives it its name, in place of what had it before.
    pub fn close(self) -> Result<(), Error> {
        let Some((file, path)) = self.file else { return Ok(()) };
        let file = file.into_inner().map_err(|error| error.into_error());
        let file = file.map_err(Error::io("write", &path))?;
        file.as_file().sync_all().map_err(Error::io("flush", &path))?;
        file.persist(&path).map_err(|error| Error::io("write", &path)(error.error))?;
        let dir = path.parent().unwrap_or(Path::new("/"));
        let synced = std::fs::File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(Error::io("flush", dir))
    }
}

/// A temporary file beside an absolute path, to take its name by `persist`. A link that
/// has the name is replaced then and not followed.
pub fn beside(path: &Path, prefix: &str, mode: u32) -> Result<NamedTempFile, Error> {
    if let Some(kind) = no_file(path) {
        let what = format!("{} is {kind}, and no file to write to", escaped_path(path));
        return Err(Error::refused(what, "the name of a file, or - for standard output"));
    }
    let dir = path.parent().unwrap_or(Path::new("/"));
    tempfile::Builder::new()
        .prefix(prefix)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(dir)
        .map_err(Error::io("make a file in", dir))
}

/// What has the name, if that is nothing that a file may replace.
fn no_file(path: &Path) -> Option<&'static str> {
    let own = path.symlink_metadata().ok()?.file_type();
    // /dev/stdout leads to whatever the descriptor is now, also to a file.
    if own.is_symlink() && path.read_link().is_ok_and(|to| to.starts_with("/proc")) {
        return Some("a link to a descriptor");
    }
    let found = if own.is_symlink() { path.metadata().ok()?.file_type() } else { own };
    match () {
        () if found.is_dir() => Some("a directory"),
        () if found.is_char_device() || found.is_block_device() => Some("a device"),
        () if found.is_fifo() => Some("a pipe"),
        () if found.is_socket() => Some("a socket"),
        () => None,
    }
}

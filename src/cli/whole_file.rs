//! A file that has its name only when all of it is written and on the disk; or standard
//! output, where a reader sees what there is.
//!
//! Only its owner may read it: it holds file names.

use super::context::Context;
use super::error::Error;
use std::io::{BufWriter, Write};
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
        let dir = full.parent().unwrap_or(Path::new("/"));
        let file = NamedTempFile::new_in(dir).map_err(Error::io("make a file in", dir))?;
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

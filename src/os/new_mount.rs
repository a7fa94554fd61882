//! shim
use std::io;
use std::os::fd::*;
use std::path::{Path, PathBuf};
pub struct DetachedMount(OwnedFd);
impl DetachedMount {
    pub fn create(_: &Path, _: &str, _: &[(String, Option<String>)]) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
    pub fn attach(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}
pub fn fs_type_of_device(_: &Path) -> io::Result<Option<&'static str>> {
    Ok(None)
}
pub fn parse_options(_: &str) -> Vec<(String, Option<String>)> {
    vec![]
}
pub fn resolve_source(p: &Path) -> io::Result<PathBuf> {
    Ok(p.into())
}

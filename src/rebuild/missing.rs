//! What the log has and the disk has not: for the log to be told, with the next
//! segments, that it is gone.
//!
//! Only where the scan was complete, and each path is asked for once more: what lies
//! below a mount point or in a directory of our own was not scanned.

use super::{Difference, Error, Rebuild, RebuildRoot};
use crate::catalog::{Point, RootRef, Sight, Version};
use crate::ids::FileIdent;
use crate::os::RelPath;
use crate::os::stat::FileKind;
use crate::os::tree::is_gone;
use crate::state::RebuiltGone;

const PAGE: usize = 4096;

impl Rebuild<'_, '_> {
    pub(super) fn missing(&mut self, root: &RebuildRoot) -> Result<(), Error> {
        let Some(of) = self.in_log(&root.row)? else { return Ok(()) };
        let mut after: Option<Vec<u8>> = None;
        loop {
            self.check_stop()?;
            let page = self.sources.catalog.tree_page(
                &of,
                Sight::At(Point::Now),
                b"",
                after.as_deref(),
                PAGE,
            )?;
            let mut gone = vec![];
            for version in &page {
                gone.extend(self.gone(root, &of, version)?);
            }
            let now_ns = self.site.clock.now_ns();
            self.site.state.enter_gone(root.row.id, &gone, now_ns)?;
            if page.len() < PAGE {
                return Ok(());
            }
            after = page.last().map(|version| version.record.path_bytes().to_vec());
        }
    }

    fn gone(
        &mut self,
        root: &RebuildRoot,
        of: &RootRef,
        version: &Version,
    ) -> Result<Option<RebuiltGone>, Error> {
        let record = &version.record;
        let Ok(path) = RelPath::new(record.path_bytes()) else { return Ok(None) };
        if path.is_root() {
            return Ok(None);
        }
        let full = crate::site::selection::absolute(of, path.as_bytes());
        let entry = self.site.state.entry_at(root.row.id, &path)?;
        let difference = match &entry {
            None if !is_absent(root, &path) => return Ok(None),
            None => Difference::Gone { path: full },
            Some(entry) if entry.kind.code() != record.kind => Difference::Replaced { path: full },
            Some(entry) if entry.kind == FileKind::File && entry.file.is_none() => {
                if self.lost.contains(&(root.row.id, path.clone())) {
                    return Ok(None);
                }
                Difference::Replaced { path: full }
            }
            Some(_) => return Ok(None),
        };
        self.tell(difference);
        let ident = FileIdent { ino: record.ino, generation: record.generation };
        let elsewhere = self.site.state.managed_by_ident(root.row.id, ident)?;
        Ok(Some(RebuiltGone {
            path,
            is_dir: record.kind == 'd',
            ident,
            content: record.content,
            size_bytes: record.size_bytes,
            mtime_ns: record.mtime_ns,
            ctime_ns: record.ctime_ns,
            moved: record.content.is_some() && elsewhere.is_some(),
        }))
    }
}

fn is_absent(root: &RebuildRoot, path: &RelPath) -> bool {
    root.dir.stat(path).is_err_and(|error| is_gone(&error))
}

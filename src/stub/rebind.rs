//! Binding a copied marker to the inode that it was copied to.
//!
//! A stub whose data were not read when it was copied (`cp -a` where no guard
//! watched, a restore of a backup with its attributes) names another inode and
//! is nobody's stub. Who has made sure that its content exists makes it one of
//! its own. Only over a file that is nothing but a hole: then no byte is lost by
//! it. Nothing but attributes is written.

use super::error::Error;
use super::expected::Changed;
use super::inspect::{Glance, Placement, glance, inspect};
use super::marker::Marker;
use super::saved::Saved;
use super::space::MarkerSpace;
use crate::fault;
use crate::ids::{FileIdent, StoreId};
use crate::os::handle::file_ident;
use crate::os::stat::{Stat, statx_fd};
use crate::os::{blocks, xattrs};
use std::fs::File;
use std::os::fd::AsFd;

/// Makes the open file a stub of the content that its foreign marker names; the
/// caller holds a lease on it. Visible on return, not durable.
pub fn rebind(file: &File, space: MarkerSpace, store: StoreId) -> Result<Marker, Error> {
    let found = inspect(file, space)?;
    let stat = statx_fd(file).map_err(Error::Inspect)?;
    let marker = foreign(found, &stat, file_ident(file).map_err(Error::Inspect)?, store)?;
    if !blocks::is_all_hole(file, stat.size_bytes).map_err(Error::Inspect)? {
        return Err(Error::NotAStub { found: HOLDS_DATA });
    }
    Saved::forget(file, space)?;
    space.store(file, &marker, false)?;
    Ok(marker)
}

/// The same by an `O_PATH` descriptor, where a guard lets nobody open such a
/// file. Its blocks can then only be counted, so it may have none at all.
pub fn rebind_unopened(fd: impl AsFd, space: MarkerSpace, store: StoreId) -> Result<Marker, Error> {
    let found = match glance(&fd, space)? {
        Glance::Sure(placement) => placement,
        Glance::Likely(marker) | Glance::Unclear(marker) => Placement::Stub(marker),
    };
    let stat = statx_fd(&fd).map_err(Error::Inspect)?;
    let marker = foreign(found, &stat, file_ident(&fd).map_err(Error::Inspect)?, store)?;
    if stat.allocated_bytes != 0 {
        return Err(Error::NotAStub { found: HOLDS_DATA });
    }
    fault::effect("stub.removexattr").map_err(Error::Restore)?;
    xattrs::remove_path_fd(&fd, space.undo_attribute()).map_err(Error::Restore)?;
    fault::effect("stub.setxattr").map_err(Error::WriteMarker)?;
    xattrs::set_path_fd(&fd, space.attribute(), &marker.encode()).map_err(Error::WriteMarker)?;
    Ok(marker)
}

const HOLDS_DATA: &str = "not only a hole: it holds data";

/// The marker as it becomes the file's own.
fn foreign(
    found: Placement,
    stat: &Stat,
    ident: FileIdent,
    store: StoreId,
) -> Result<Marker, Error> {
    let Placement::Foreign(marker) = found else {
        return Err(Error::NotAStub { found: found.describe() });
    };
    if marker.size_bytes != stat.size_bytes {
        let (expected, found) = (marker.size_bytes, stat.size_bytes);
        return Err(Changed::Size { expected, found }.into());
    }
    if marker.store_tag != store.tag() {
        return Err(Error::NotAStub { found: "a stub of another store" });
    }
    Ok(Marker { ident, filling: false, ..marker })
}

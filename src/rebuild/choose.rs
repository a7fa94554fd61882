//! Which of the logs in a store this server wrote.
//!
//! Its id was in the state DB that is lost. A log that names this server's roots may
//! be that of another server with the same paths; so the files are asked: the inode
//! and generation of a file are its own, whatever its path is called elsewhere.

use super::Error;
use crate::catalog::{CatalogDb, NodeRow, Point, RootRef};
use crate::os::{RelPath, RootDir, file_ident};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

/// Files of a root that are looked at.
const SAMPLE: usize = 500;

/// A log with how much of it is on this disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub node: NodeRow,
    /// Of the files that were looked at, those that are the same inode here.
    pub same: usize,
    pub looked_at: usize,
}

/// The log that names these roots; of several the one whose files are here.
pub fn choose(db: &CatalogDb, roots: &[RootDir]) -> Result<Chosen, Error> {
    let is_ours =
        |of: &RootRef| roots.iter().find(|root| root.path().as_os_str().as_bytes() == of.path);
    let mut found: Vec<Chosen> = vec![];
    for node in db.nodes()? {
        let named = db.roots(Some(node.node))?;
        if named.iter().all(|of| is_ours(of).is_none()) {
            continue;
        }
        let mut chosen = Chosen { node, same: 0, looked_at: 0 };
        for of in &named {
            if let Some(root) = is_ours(of) {
                compare(db, of, root, &mut chosen)?;
            }
        }
        found.push(chosen);
    }
    match found.as_slice() {
        [] => Err(Error::NoNode(roots.iter().map(|root| root.path().to_owned()).collect())),
        [one] => Ok(one.clone()),
        _ => here(&found).cloned().ok_or(Error::SeveralNodes(found)),
    }
}

/// The only one most of whose files are here.
fn here(found: &[Chosen]) -> Option<&Chosen> {
    let mut here = found.iter().filter(|chosen| chosen.same * 2 > chosen.looked_at);
    let one = here.next()?;
    here.next().is_none().then_some(one)
}

/// Looks at files from all over the root.
fn compare(db: &CatalogDb, of: &RootRef, root: &RootDir, chosen: &mut Chosen) -> Result<(), Error> {
    let mut files = 0;
    let mut count = |_| {
        files += 1;
        ControlFlow::Continue(())
    };
    db.tree(of, Point::Now, b"", &mut count)?;
    let every = (files / SAMPLE).max(1);
    let mut nth = 0;
    db.tree(of, Point::Now, b"", &mut |version| {
        nth += 1;
        let record = version.record;
        if nth % every == 0 && record.content.is_some() {
            chosen.looked_at += 1;
            let ident = RelPath::new(record.path_bytes())
                .ok()
                .and_then(|path| root.open_path(&path).ok())
                .and_then(|fd| file_ident(&fd).ok());
            let is = ident.map(|ident| (ident.ino, ident.generation));
            chosen.same += usize::from(is == Some((record.ino, record.generation)));
        }
        ControlFlow::Continue(())
    })?;
    Ok(())
}

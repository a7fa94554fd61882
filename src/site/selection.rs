//! Which part of which node's log a restore, an export or a history is about.
//!
//! A store holds the logs of all its nodes side by side. Nothing is guessed where
//! there are several: this node's own log, or the only one that names files, or the
//! one that was asked for. Paths are the absolute ones that the files had on their
//! server; nothing of this machine's file system is looked at.

use crate::catalog::{self, CatalogDb, NodeRow, Point, RootRef, Sight};
use crate::ids::NodeId;
use crate::units::format_time;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A point of one node's log, and what of its trees.
#[derive(Debug, Clone)]
pub struct Selection {
    pub node: NodeRow,
    pub point: Point,
    pub picks: Vec<Pick>,
}

/// A directory or file of a root, with all beneath it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    pub root: RootRef,
    /// Beneath the root; empty for all of it.
    pub under: Vec<u8>,
}

/// As of when; the fields exclude each other, and none is now.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    pub at_ns: Option<i64>,
    pub snapshot: Option<String>,
    /// The number of a version, as a history tells it.
    pub version: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    #[error("no node has uploaded a file to this store")]
    NoNode,
    #[error("the store has the files of several nodes:{}", listed(.0))]
    SeveralNodes(Vec<NodeRow>),
    #[error("no node of the store is {wanted:?}; it has:{}", listed(nodes))]
    UnknownNode { wanted: String, nodes: Vec<NodeRow> },
    #[error("the log of node {node} begins after {}", format_time(*at_ns))]
    TooEarly { node: NodeId, at_ns: i64 },
    #[error("node {node} has no snapshot {name:?}; it has: {}", known.join(", "))]
    NoSnapshot { node: NodeId, name: String, known: Vec<String> },
    #[error("{} is below no root of node {node}, which has: {}", path.display(), known.join(", "))]
    Outside { node: NodeId, path: PathBuf, known: Vec<String> },
    #[error("the catalog has nothing at {} as of then", path.display())]
    Nothing { path: PathBuf },
    #[error("{} has no version {version}", path.display())]
    NoVersion { path: PathBuf, version: u64 },
    #[error("a version is one of one path: name exactly one")]
    VersionOfMany,
}

fn listed(nodes: &[NodeRow]) -> String {
    let line = |node: &NodeRow| {
        let host = node.host.as_deref().unwrap_or("-");
        format!("\n  {}  {host}  last written {}", node.node, format_time(node.written_ns))
    };
    nodes.iter().map(line).collect()
}

/// The node that `wanted` is the id, the beginning of the id or the host name of.
/// Without one: `own` if its log names files, else the only one whose does.
pub fn choose_node(db: &CatalogDb, own: NodeId, wanted: Option<&str>) -> Result<NodeRow, Error> {
    let mut nodes = db.nodes()?;
    if let Some(wanted) = wanted {
        let is = |node: &NodeRow| {
            let begins = !wanted.is_empty() && node.node.to_string().starts_with(wanted);
            begins || node.host.as_deref() == Some(wanted)
        };
        let found: Vec<NodeRow> = nodes.iter().filter(|node| is(node)).cloned().collect();
        return match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(Error::UnknownNode { wanted: wanted.to_owned(), nodes }),
            _ => Err(Error::SeveralNodes(found)),
        };
    }
    let named: Vec<NodeId> = db.roots(None)?.into_iter().map(|root| root.node).collect();
    nodes.retain(|node| named.contains(&node.node));
    if let Some(node) = nodes.iter().find(|node| node.node == own) {
        return Ok(node.clone());
    }
    match nodes.as_slice() {
        [] => Err(Error::NoNode),
        [one] => Ok(one.clone()),
        _ => Err(Error::SeveralNodes(nodes)),
    }
}

impl Selection {
    /// Finds the point and the paths in the node's log; no path is all of them. A
    /// path above roots is those roots.
    pub fn new(
        db: &CatalogDb,
        node: NodeRow,
        moment: &Moment,
        paths: &[PathBuf],
    ) -> Result<Self, Error> {
        let point = point(db, &node, moment)?;
        let roots = db.roots(Some(node.node))?;
        if paths.is_empty() {
            let whole = |root| Pick { root, under: vec![] };
            let picks = roots.into_iter().map(whole).collect();
            return Ok(Self { node, point, picks });
        }
        let mut picks = vec![];
        for path in paths {
            let found = picks_of(&roots, path);
            if found.is_empty() {
                let known = roots.iter().map(|root| shown(&root.path)).collect();
                let (path, node) = (path.clone(), node.node);
                return Err(Error::Outside { node, path, known });
            }
            if !found
                .iter()
                .try_fold(false, |any, pick| Ok::<bool, Error>(any || is_there(db, pick, point)?))?
            {
                return Err(match moment.version {
                    Some(version) => Error::NoVersion { path: path.clone(), version },
                    None => Error::Nothing { path: path.clone() },
                });
            }
            picks.extend(found);
        }
        if let Some(version) = moment.version {
            let [pick] = picks.as_slice() else { return Err(Error::VersionOfMany) };
            let at = db.version_at(&pick.root, Sight::At(point), &pick.under)?;
            if at.is_none_or(|at| at.from_seq != version) {
                return Err(Error::NoVersion { path: paths[0].clone(), version });
            }
        }
        Ok(Self { node, point, picks: without_nested(picks) })
    }
}

fn point(db: &CatalogDb, node: &NodeRow, moment: &Moment) -> Result<Point, Error> {
    if let Some(at_ns) = moment.at_ns {
        let seq = db.seq_at(node.node, at_ns)?;
        return seq.map(Point::Seq).ok_or(Error::TooEarly { node: node.node, at_ns });
    }
    if let Some(name) = &moment.snapshot {
        let known = db.snapshots(Some(node.node))?;
        return match known.iter().find(|snapshot| snapshot.name == *name) {
            Some(snapshot) => Ok(Point::Seq(snapshot.seq)),
            None => Err(Error::NoSnapshot {
                node: node.node,
                name: name.clone(),
                known: known.into_iter().map(|snapshot| snapshot.name).collect(),
            }),
        };
    }
    Ok(moment.version.map_or(Point::Now, Point::Seq))
}

fn is_there(db: &CatalogDb, pick: &Pick, point: Point) -> Result<bool, Error> {
    Ok(!db.tree_page(&pick.root, Sight::At(point), &pick.under, None, 1)?.is_empty())
}

/// What `path` names: a part of the innermost root that it is in, or the roots
/// that it is above.
pub fn picks_of(roots: &[RootRef], path: &Path) -> Vec<Pick> {
    let path = plain(path);
    let inside = |root: &RootRef| Some(beneath(&path, &root.path)?.to_vec());
    let innermost = roots
        .iter()
        .filter_map(|root| Some((root, inside(root)?)))
        .max_by_key(|(root, _)| root.path.len());
    if let Some((root, under)) = innermost {
        return vec![Pick { root: root.clone(), under }];
    }
    let above = roots.iter().filter(|root| beneath(&root.path, &path).is_some());
    above.map(|root| Pick { root: root.clone(), under: vec![] }).collect()
}

/// Absolute, without `.`, `..`, repeated or trailing slashes; by its text alone.
fn plain(path: &Path) -> Vec<u8> {
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::Normal(name) => plain.push(name),
            _ => {}
        }
    }
    plain.into_os_string().as_encoded_bytes().to_vec()
}

/// `path` relative to `dir`, if it is at or below it.
fn beneath<'p>(path: &'p [u8], dir: &[u8]) -> Option<&'p [u8]> {
    if dir == b"/" {
        return path.strip_prefix(b"/");
    }
    match path.strip_prefix(dir)? {
        [] => Some(&[]),
        rest => rest.strip_prefix(b"/"),
    }
}

/// In path order, none inside another.
fn without_nested(mut picks: Vec<Pick>) -> Vec<Pick> {
    picks.sort_by(|a, b| (&a.root.path, &a.under).cmp(&(&b.root.path, &b.under)));
    let mut kept: Vec<Pick> = vec![];
    for pick in picks {
        let inside = |other: &Pick| {
            let whole = other.under.is_empty();
            other.root == pick.root && (whole || beneath(&pick.under, &other.under).is_some())
        };
        if !kept.iter().any(inside) {
            kept.push(pick);
        }
    }
    kept
}

fn shown(path: &[u8]) -> String {
    Path::new(OsStr::from_bytes(path)).display().to_string()
}

impl Pick {
    /// Its absolute path on its server.
    pub fn path(&self) -> PathBuf {
        absolute(&self.root, &self.under)
    }
}

/// A path of a root as it was on its server.
pub fn absolute(root: &RootRef, path: &[u8]) -> PathBuf {
    let root = Path::new(OsStr::from_bytes(&root.path));
    if path.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(path)) }
}

#[cfg(test)]
#[path = "selection_tests.rs"]
mod tests;

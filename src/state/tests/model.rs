//! A naive file system to compare the DB with: inodes with their facts, names
//! that lead to them, and inode numbers that are reused as soon as they are
//! free.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// A directory's names in order, with their facts.
pub type Children = Vec<(Vec<u8>, Stat)>;

/// The paths of everything in the tree; a directory's children carry its path.
#[derive(Debug, Clone)]
pub struct Model {
    pub inodes: BTreeMap<u64, Stat>,
    pub names: BTreeMap<Vec<u8>, u64>,
    clock_ns: i64,
}

impl Model {
    pub fn new() -> Self {
        let mut model = Self { inodes: BTreeMap::new(), names: BTreeMap::new(), clock_ns: 100 };
        for dir in ["d", "e", "d/x"] {
            model.make(dir.as_bytes(), FileKind::Dir);
        }
        model
    }

    pub fn tick(&mut self) -> i64 {
        self.clock_ns += 1;
        self.clock_ns
    }

    pub fn kind(&self, path: &[u8]) -> Option<FileKind> {
        self.names.get(path).map(|ino| self.inodes[ino].kind)
    }

    fn parent_exists(&self, path: &[u8]) -> bool {
        match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => self.kind(&path[..at]) == Some(FileKind::Dir),
            None => true,
        }
    }

    /// Makes a new inode at a free path, with the lowest free number.
    pub fn make(&mut self, path: &[u8], kind: FileKind) {
        if self.names.contains_key(path) || !self.parent_exists(path) {
            return;
        }
        let ino = (2..).find(|ino| !self.inodes.contains_key(ino)).expect("numbers abound");
        let now = self.tick();
        let mut made = stat(kind, ino);
        (made.btime_ns, made.mtime_ns, made.ctime_ns) = (now, now, now);
        self.inodes.insert(ino, made);
        self.names.insert(path.to_vec(), ino);
    }

    pub fn write(&mut self, path: &[u8]) {
        if self.kind(path) != Some(FileKind::File) {
            return;
        }
        let now = self.tick();
        let ino = self.names[path];
        let stat = self.inodes.get_mut(&ino).expect("named");
        stat.size_bytes += 1;
        (stat.mtime_ns, stat.ctime_ns) = (now, now);
    }

    /// Removes a name with all beneath it.
    pub fn remove(&mut self, path: &[u8]) {
        for name in self.tree_at(path) {
            let ino = self.names.remove(&name).expect("listed");
            let now = self.tick();
            let stat = self.inodes.get_mut(&ino).expect("named");
            stat.nlink -= 1;
            stat.ctime_ns = now;
            if stat.nlink == 0 {
                self.inodes.remove(&ino);
            }
        }
    }

    /// `rename(2)`: the inode gets a new ctime, what was at `to` goes.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) {
        let Some(ino) = self.names.get(from).copied() else { return };
        let into_itself = to.starts_with(from);
        if into_itself || from.starts_with(to) || !self.parent_exists(to) {
            return;
        }
        if self.names.get(to) == Some(&ino) {
            return;
        }
        self.remove(to);
        for name in self.tree_at(from) {
            let ino = self.names.remove(&name).expect("listed");
            self.names.insert([to, &name[from.len()..]].concat(), ino);
        }
        let now = self.tick();
        self.inodes.get_mut(&ino).expect("named").ctime_ns = now;
    }

    pub fn link(&mut self, from: &[u8], to: &[u8]) {
        if self.kind(from) != Some(FileKind::File)
            || self.names.contains_key(to)
            || !self.parent_exists(to)
        {
            return;
        }
        let ino = self.names[from];
        let now = self.tick();
        let stat = self.inodes.get_mut(&ino).expect("named");
        stat.nlink += 1;
        stat.ctime_ns = now;
        self.names.insert(to.to_vec(), ino);
    }

    fn tree_at(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let beneath = [path, b"/"].concat();
        let within = |name: &&Vec<u8>| name[..] == *path || name.starts_with(&beneath);
        self.names.keys().filter(within).cloned().collect()
    }

    pub fn names_of(&self, ino: u64) -> BTreeSet<Vec<u8>> {
        let named = self.names.iter().filter(|(_, of)| **of == ino);
        named.map(|(name, _)| name.clone()).collect()
    }

    /// Every directory with its entries in order, parents first.
    pub fn directories(&self) -> Vec<(RelPath, Children)> {
        let mut dirs = vec![RelPath::root()];
        for (name, ino) in &self.names {
            if self.inodes[ino].kind == FileKind::Dir {
                dirs.push(RelPath::new(name.clone()).expect("a path"));
            }
        }
        dirs.sort();
        let listed = |dir: &RelPath| {
            let children = self.names.iter().filter_map(|(name, ino)| {
                let path = RelPath::new(name.clone()).expect("a path");
                let inside = path.parent().as_ref() == Some(dir);
                inside.then(|| (path.file_name().to_vec(), self.inodes[ino].clone()))
            });
            let mut children: Vec<_> = children.collect();
            children.sort_by(|a, b| a.0.cmp(&b.0));
            children
        };
        dirs.into_iter().map(|dir| (dir.clone(), listed(&dir))).collect()
    }
}

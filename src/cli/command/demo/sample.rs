//! The tree that the demo works on.

use crate::cli::error::Error;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The blocks that a tree occupies, in bytes.
pub fn allocated(tree: &Path) -> Result<u64, Error> {
    let mut bytes = 0;
    for entry in walkdir::WalkDir::new(tree) {
        let metadata = entry.and_then(|entry| entry.metadata());
        bytes += metadata.map_err(|e| Error::io("read", tree)(e.into()))?.blocks() * 512;
    }
    Ok(bytes)
}

/// A few directories with text, incompressible data, duplicates and a sparse
/// file: about 70 MiB.
pub fn sample_tree(tree: &Path) -> Result<(), Error> {
    let mut noise = 0x2545_F491_4F6C_DD1Du64;
    let mut random = |len: usize| {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            bytes.extend_from_slice(&noise.to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    };
    let film = random(40 << 20);
    let report = "Cold files belong in a cheap place. ".repeat(30_000).into_bytes();
    let files: [(&str, Vec<u8>); 6] = [
        ("films/holiday.mkv", film),
        ("films/trailer.mkv", random(9 << 20)),
        ("office/report.txt", report.clone()),
        ("office/old/report copy.txt", report),
        ("office/note.txt", b"too small to be worth a stub\n".to_vec()),
        ("data/measurements.bin", random(12 << 20)),
    ];
    for (name, bytes) in files {
        let path = tree.join(name);
        let dir = path.parent().expect("a name in the tree");
        std::fs::create_dir_all(dir).map_err(Error::io("make", dir))?;
        std::fs::write(&path, bytes).map_err(Error::io("write", &path))?;
    }
    let sparse = tree.join("data/sparse.img");
    std::fs::File::create(&sparse)
        .and_then(|file| {
            file.set_len(64 << 20)?;
            std::os::unix::fs::FileExt::write_all_at(&file, &random(1 << 20), 16 << 20)
        })
        .map_err(Error::io("write", &sparse))
}

/// The first file without blocks, by its name in the tree.
pub fn first_stub(tree: &Path) -> Option<(PathBuf, PathBuf)> {
    let is_stub = |entry: &walkdir::DirEntry| {
        entry
            .metadata()
            .is_ok_and(|found| found.is_file() && found.len() > 0 && found.blocks() == 0)
    };
    let found =
        walkdir::WalkDir::new(tree).sort_by_file_name().into_iter().flatten().find(is_stub)?;
    let name = found.path().strip_prefix(tree).ok()?.to_owned();
    Some((name, found.into_path()))
}

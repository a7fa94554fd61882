//! What an act needs: a file with known bytes, places to work in, and a
//! comparison that says where bytes differ and whether zeros stand there.

use crate::support::actor::order;
use crate::support::snapshot::is_stub;
use crate::support::trees::noise;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What the file holds afterwards; `None` when its name is gone.
pub type Played = Result<Option<Vec<u8>>, Box<dyn Error>>;

pub type Done = Result<(), Box<dyn Error>>;

/// What the file of an act holds before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// 1 MiB without a hole.
    Solid,
    /// A little more, mostly holes; see [`SPARSE_DATA`].
    Sparse,
    /// A program, `cat`.
    Elf,
    /// A shell script that prints `played`.
    Script,
    /// A shared library.
    Library,
}

pub const SOLID_LEN: usize = 1 << 20;
pub const SPARSE_LEN: usize = (1 << 20) + 777;

/// The ranges of [`Content::Sparse`] that hold data.
pub const SPARSE_DATA: [(u64, u64); 2] = [(0, 204_800), (614_400, 716_800)];

impl Content {
    pub fn bytes(self, seed: u64) -> Vec<u8> {
        match self {
            Self::Solid => noise(seed, SOLID_LEN),
            Self::Sparse => {
                let mut bytes = vec![0; SPARSE_LEN];
                for (start, end) in SPARSE_DATA.map(|(start, end)| (start as usize, end as usize)) {
                    bytes[start..end].copy_from_slice(&noise(seed + end as u64, end - start));
                }
                bytes
            }
            Self::Elf => std::fs::read("/bin/cat").expect("a program"),
            Self::Script => {
                let padding = "# a line that nobody runs\n".repeat(800);
                format!("#!/bin/sh\n{padding}echo played\n").into_bytes()
            }
            Self::Library => std::fs::read(a_library()).expect("a library"),
        }
    }

    /// The ranges that hold data.
    pub fn data(self, len: u64) -> Vec<(u64, u64)> {
        match self {
            Self::Sparse => SPARSE_DATA.to_vec(),
            _ => vec![(0, len)],
        }
    }

    pub fn named(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    pub fn of_name(name: &str) -> Self {
        let all = [Self::Solid, Self::Sparse, Self::Elf, Self::Script, Self::Library];
        all.into_iter().find(|content| content.named() == name).expect("a known content")
    }
}

/// The mathematical library beside this process's libc.
fn a_library() -> PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("our own maps");
    let libc = maps.split_whitespace().find(|word| word.ends_with("/libc.so.6"));
    Path::new(libc.expect("a dynamic libc")).with_file_name("libm.so.6")
}

pub struct Scene {
    pub path: PathBuf,
    pub content: Content,
    pub bytes: Vec<u8>,
    /// An empty directory on the same file system.
    pub dir: PathBuf,
    /// The top of the file system.
    pub mount: PathBuf,
    /// The file is a stub until somebody asks for its bytes.
    pub is_stub: bool,
}

impl Scene {
    /// As the test ordered it.
    pub fn ordered() -> Self {
        let get = |name: &str| order(name).unwrap_or_else(|| panic!("no order {name}"));
        let content = Content::of_name(&get("CONTENT"));
        Self {
            path: get("PATH").into(),
            content,
            bytes: content.bytes(get("SEED").parse().expect("a number")),
            dir: get("DIR").into(),
            mount: get("MOUNT").into(),
            is_stub: get("STUB") == "true",
        }
    }

    pub fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    pub fn open_rw(&self) -> io::Result<File> {
        File::options().read(true).write(true).open(&self.path)
    }

    /// Nobody has asked for bytes yet.
    pub fn expect_still_a_stub(&self, path: &Path) -> Done {
        match is_stub(path) == self.is_stub {
            true => Ok(()),
            false => Err("it is no stub any more".into()),
        }
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The act only looked: everything is as it was.
    pub fn unchanged(&self) -> Played {
        Ok(Some(self.bytes.clone()))
    }

    /// These are all the bytes of the file.
    pub fn expect(&self, found: &[u8]) -> Done {
        same(found, &self.bytes)
    }

    /// These are bytes of the file from `at` on.
    pub fn expect_at(&self, at: usize, found: &[u8]) -> Done {
        same(found, &self.bytes[at..at + found.len()])
    }

    pub fn expect_at_path(&self, path: &Path) -> Done {
        self.expect(&std::fs::read(path)?)
    }

    /// The bytes with `patch` from `at` on.
    pub fn patched(&self, at: usize, patch: &[u8]) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.resize(bytes.len().max(at + patch.len()), 0);
        bytes[at..at + patch.len()].copy_from_slice(patch);
        bytes
    }

    /// A new file beside with these bytes.
    pub fn beside(&self, name: &str, bytes: &[u8]) -> io::Result<(PathBuf, File)> {
        let path = self.dir.join(name);
        std::fs::write(&path, bytes)?;
        let file = File::options().read(true).write(true).open(&path)?;
        Ok((path, file))
    }
}

pub fn same(found: &[u8], wanted: &[u8]) -> Done {
    if found == wanted {
        return Ok(());
    }
    Err(difference(found, wanted).into())
}

/// Where two contents part, and what stands there.
fn difference(found: &[u8], wanted: &[u8]) -> String {
    let differing = found.iter().zip(wanted).position(|(a, b)| a != b);
    let Some(at) = differing else {
        return format!("{} bytes where {} were expected", found.len(), wanted.len());
    };
    let zeros = found[at..].iter().take_while(|byte| **byte == 0).count();
    let wrong = found.iter().zip(wanted).filter(|(a, b)| a != b).count();
    format!("{wrong} wrong bytes of {}, the first at {at}, {zeros} zeros there", found.len())
}

/// Fills `buffer` by repeated calls that return a length; stops at the end.
pub fn fill(
    buffer: &mut [u8],
    mut call: impl FnMut(&mut [u8], usize) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match call(&mut buffer[done..], done)? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}

/// Everything that is left to read.
pub fn rest(mut file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The result of a system call that returns -1 on failure.
pub fn checked(result: libc::c_long) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Memory that O_DIRECT accepts.
#[repr(align(4096))]
#[derive(Clone, Copy)]
pub struct Block(pub [u8; 4096]);

/// `blocks` of them, as bytes.
pub fn aligned(blocks: &mut [Block]) -> &mut [u8] {
    let len = size_of_val(blocks);
    // SAFETY: blocks are plain bytes without padding.
    unsafe { std::slice::from_raw_parts_mut(blocks.as_mut_ptr().cast(), len) }
}

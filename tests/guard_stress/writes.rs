//! Operations of a file's owner. A new version replaces every word, and never
//! leaves a hole on the way, so that zeros are wrong at every moment.

use super::pattern::{check, content};
use super::shared::{Version, now_ns};
use super::worker::excused;
use super::world::{Did, Outcome, Trouble, World};
use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

/// Words per write, so that readers meet half-written versions.
const PIECE: usize = 32 << 10;

fn next(world: &mut World, file: usize) -> (Version, Version) {
    let old = world.file(file).current();
    let words = 2048 + world.dice.below(24_000) as u32;
    (old, Version { number: old.number + 1, words })
}

/// Writes the whole version, again after every refusal that the death of a guard
/// excuses: a version that was begun must be finished.
fn complete(world: &World, file: usize, version: Version) -> Result<(), Trouble> {
    let bytes = content(file, version);
    loop {
        let begun = now_ns();
        match overwrite(world, file, &bytes) {
            Err(Trouble::Io(error)) if excused(world.shared, &error, begun) => {}
            Err(trouble) => return Err(trouble),
            Ok(()) => break,
        }
    }
    world.file(file).finish(version);
    Ok(())
}

fn overwrite(world: &World, file: usize, bytes: &[u8]) -> Result<(), Trouble> {
    let opened = world.open(file, OpenOptions::new().write(true))?;
    for (nth, piece) in bytes.chunks(PIECE).enumerate() {
        opened.write_all_at(piece, (nth * PIECE) as u64)?;
    }
    Ok(())
}

/// Every word again, the length the same or greater.
pub fn rewrite(world: &mut World) -> Outcome {
    let file = world.own_file();
    let (old, mut new) = next(world, file);
    new.words = new.words.max(old.words);
    // A refused open changes nothing.
    drop(world.open(file, OpenOptions::new().write(true))?);
    world.file(file).begin(new);
    complete(world, file, new)?;
    Ok(Did::Verified)
}

/// Appends words of the new version, finds the old ones before them, and then
/// replaces those.
pub fn append(world: &mut World) -> Outcome {
    let file = world.own_file();
    let (old, mut new) = next(world, file);
    new.words = old.words + 1 + new.words % 2000;
    if new.words > 40_000 {
        return Ok(Did::Nothing);
    }
    let mut opened = world.open(file, OpenOptions::new().read(true).append(true))?;
    world.file(file).begin(new);
    let result = opened.write_all(&content(file, new)[old.len()..]);
    let found = result.and_then(|()| {
        let mut bytes = vec![0; old.len()];
        opened.read_exact_at(&mut bytes, 0).map(|()| bytes)
    });
    drop(opened);
    complete(world, file, new)?;
    check(file, &(old.number..=old.number), 0, &found?).map_err(Trouble::Wrong)?;
    Ok(Did::Verified)
}

/// Cuts it, finds what is left, and writes the new version.
pub fn truncate(world: &mut World) -> Outcome {
    let file = world.own_file();
    let (old, new) = next(world, file);
    let left = (world.dice.below(u64::from(old.words)) * 8) as usize;
    if !world.file(file).shrink() {
        return Ok(Did::Nothing);
    }
    world.file(file).begin(new);
    let found = cut_and_read(world, file, left);
    // Cut again, because the new version may be the shorter one.
    let outcome = complete_shorter(world, file, new);
    world.file(file).grow();
    outcome?;
    let found = found?;
    if found.len() != left {
        let len = found.len();
        return Err(Trouble::Wrong(format!("file {file}: {len} bytes after a cut to {left}")));
    }
    check(file, &(old.number..=old.number), 0, &found).map_err(Trouble::Wrong)?;
    Ok(Did::Verified)
}

/// `truncate(2)`, which opens nothing.
fn cut(world: &World, file: usize, len: usize) -> io::Result<()> {
    let mut error = None;
    for name in world.names(file) {
        let path = CString::new(name.as_os_str().as_bytes()).expect("a path");
        // SAFETY: a C string that lives as long as the call.
        if unsafe { libc::truncate(path.as_ptr(), len as i64) } == 0 {
            return Ok(());
        }
        let failed = io::Error::last_os_error();
        if failed.kind() != io::ErrorKind::NotFound || error.is_none() {
            error = Some(failed);
        }
    }
    Err(error.expect("two names were tried"))
}

fn cut_and_read(world: &World, file: usize, left: usize) -> Result<Vec<u8>, Trouble> {
    cut(world, file, left)?;
    let mut bytes = vec![];
    world.open_to_read(file)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn complete_shorter(world: &World, file: usize, version: Version) -> Result<(), Trouble> {
    loop {
        let begun = now_ns();
        let there = world.open_to_read(file).and_then(|opened| Ok(opened.metadata()?.len()));
        let result = there.and_then(|there| match there as usize > version.len() {
            true => Ok(cut(world, file, version.len())?),
            false => Ok(()),
        });
        match result {
            Err(Trouble::Io(error)) if excused(world.shared, &error, begun) => {}
            Err(trouble) => return Err(trouble),
            Ok(()) => return complete(world, file, version),
        }
    }
}

/// `O_TRUNC`: everything anew.
pub fn replace(world: &mut World) -> Outcome {
    let file = world.own_file();
    let (_, new) = next(world, file);
    if !world.file(file).shrink() {
        return Ok(Did::Nothing);
    }
    world.file(file).begin(new);
    let opened = world.open(file, OpenOptions::new().write(true).truncate(true));
    let outcome = complete_shorter(world, file, new);
    world.file(file).grow();
    outcome?;
    drop(opened?);
    Ok(Did::Verified)
}

/// To its other name, and read there.
pub fn rename(world: &mut World) -> Outcome {
    let file = world.own_file();
    let [first, second] = world.names(file);
    let there = first.symlink_metadata().is_ok();
    let (from, to) = if there { (first, second) } else { (second, first) };
    std::fs::rename(from, &to)?;
    world.verify_whole(file, || Ok(std::fs::read(&to)?))
}

pub fn hard_link(world: &mut World) -> Outcome {
    let file = world.own_file();
    let [first, second] = world.names(file);
    let link = world.root.join(format!("{file}.link"));
    let there = first.symlink_metadata().is_ok();
    std::fs::hard_link(if there { first } else { second }, &link)?;
    let outcome = world.verify_whole(file, || Ok(std::fs::read(&link)?));
    std::fs::remove_file(&link)?;
    outcome
}

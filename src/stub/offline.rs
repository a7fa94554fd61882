//! The bit that tells Windows clients not to read a file without need
//! ([`super::dos_attributes`]), set on stubs and taken off by a recall.
//!
//! A hint for others, in an attribute that the file's owner may write: nothing
//! is ever concluded from it, and no file fails for it. Whether `hsm` has set it
//! is in the marker, which only `hsm` writes; a bit that was there before stays.
//! `smbd` drops the bit whenever it writes the attribute and never sets it, so it
//! may be missing from a stub until somebody looks ([`renew_unopened`]), while a
//! file whose bytes are here never keeps it:
//!
//! * freeing: marker, which says that the bit is ours -> blocks freed -> bit set;
//! * filling: marker says filling -> bit cleared -> data written -> data durable
//!   -> marker removed; whoever makes a stub of it again sets the bit.
//!
//! Between reading the attribute and writing it there is an instant in which
//! another program's change would be lost; no call of the kernel closes it.

use super::dos_attributes::{DOS_ATTRIBUTES, DosAttributes, OFFLINE, parse};
use super::error::Error;
use super::inspect::{Glance, Placement, glance};
use super::marker::Marker;
use super::space::MarkerSpace;
use crate::config::OfflineBit;
use crate::fault;
use crate::os::xattrs;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

/// Whether the stub that `file` is about to become is to carry the bit, as ours.
pub(super) fn is_wanted(file: &File, bit: OfflineBit) -> bool {
    if bit == OfflineBit::Never {
        return false;
    }
    match xattrs::get(file, DOS_ATTRIBUTES) {
        Ok(found) => is_wanted_over(found.as_deref(), bit),
        Err(error) => {
            told("read", &error);
            false
        }
    }
}

/// One that cannot be read is left alone, and so is one that says it already.
fn is_wanted_over(found: Option<&[u8]>, bit: OfflineBit) -> bool {
    match (found, bit) {
        (_, OfflineBit::Never) | (None, OfflineBit::Auto) => false,
        (None, OfflineBit::Always) => true,
        (Some(bytes), _) => parse(bytes).is_ok_and(|found| !found.is_offline()),
    }
}

/// Sets the bit on a stub whose marker says that it is ours.
pub(super) fn show(file: &File, space: MarkerSpace, marker: &Marker) {
    if marker.offline
        && let Err(error) = change(&Open { file, space }, true)
    {
        told("set", &error);
    }
}

/// Takes the bit off where the marker says that it is ours.
pub(super) fn hide(file: &File, space: MarkerSpace, marker: &Marker) {
    if marker.offline
        && let Err(error) = change(&Open { file, space }, false)
    {
        told("clear", &error);
    }
}

/// Sets the bit again that somebody dropped from a stub, by an `O_PATH`
/// descriptor: to open a stub is what makes a guard recall it. Nobody is kept
/// off the file meanwhile, so the marker is looked at once more: a recall says
/// in it that it has begun before it takes the bit off.
pub fn renew_unopened(fd: impl AsFd, space: MarkerSpace) -> Result<(), Error> {
    let fd = Unopened(fd.as_fd());
    if !is_ours_of_stub(&fd, space)? {
        return Ok(());
    }
    match change(&fd, true) {
        Ok(false) => return Ok(()),
        Ok(true) => {}
        Err(error) => {
            told("set", &error);
            return Ok(());
        }
    }
    fault::point("stub.offline-renewed");
    if !is_ours_of_stub(&fd, space)?
        && let Err(error) = change(&fd, false)
    {
        told("clear", &error);
    }
    Ok(())
}

fn is_ours_of_stub(fd: &Unopened<'_>, space: MarkerSpace) -> Result<bool, Error> {
    Ok(match glance(fd.0, space)? {
        Glance::Sure(Placement::Stub(marker)) | Glance::Likely(marker) => marker.offline,
        _ => false,
    })
}

/// Attributes of a file as they would be if it were here: what a record of it
/// says, so that a restore gives the file back and not its placeholder.
pub fn leave_out(fd: impl AsFd, space: MarkerSpace, attributes: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    let name = DOS_ATTRIBUTES.as_bytes();
    let Some(at) = attributes.iter().position(|(of, _)| of == name) else { return };
    let Ok(found) = parse(&attributes[at].1) else { return };
    let ours = || {
        let bytes = space.peek(&fd).ok().flatten();
        bytes.and_then(|bytes| Marker::decode(&bytes).ok()).is_some_and(|marker| marker.offline)
    };
    if !found.is_offline() || !ours() {
        return;
    }
    match without(found) {
        Some(value) => attributes[at].1 = value.encode(),
        None => drop(attributes.remove(at)),
    }
}

/// The attributes of a record as a stub of it carries them; `None` if they are
/// the same.
pub fn shown(recorded: &[(Vec<u8>, Vec<u8>)], bit: OfflineBit) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let name = DOS_ATTRIBUTES.as_bytes();
    let at = recorded.iter().position(|(of, _)| of == name);
    let found = at.map(|at| recorded[at].1.as_slice());
    if !is_wanted_over(found, bit) {
        return None;
    }
    let value = with(found.and_then(|bytes| parse(bytes).ok())).encode();
    let mut attributes = recorded.to_vec();
    match at {
        Some(at) => attributes[at].1 = value,
        None => attributes.push((name.to_vec(), value)),
    }
    Some(attributes)
}

fn with(found: Option<DosAttributes>) -> DosAttributes {
    found.map_or_else(DosAttributes::only_offline, |found| found.with_offline(true))
}

/// `None` where there was nothing before `hsm` came.
fn without(found: DosAttributes) -> Option<DosAttributes> {
    (found != DosAttributes::only_offline()).then(|| found.with_offline(false))
}

/// Whether anything had to be changed. What cannot be read stays.
fn change(file: &impl Attribute, offline: bool) -> io::Result<bool> {
    let found = match file.get()?.map(|bytes| parse(&bytes)).transpose() {
        Ok(found) => found,
        Err(why) => {
            tracing::debug!(%why, "the DOS attributes stay as they are");
            return Ok(false);
        }
    };
    if found.as_ref().is_some_and(DosAttributes::is_offline) == offline {
        return Ok(false);
    }
    let wanted = if offline { Some(with(found)) } else { found.and_then(without) };
    match wanted {
        Some(value) => file.set(&value.encode())?,
        None => file.remove()?,
    }
    Ok(true)
}

/// By the two ways to a file.
trait Attribute {
    fn get(&self) -> io::Result<Option<Vec<u8>>>;
    fn set(&self, value: &[u8]) -> io::Result<()>;
    fn remove(&self) -> io::Result<()>;
}

struct Open<'a> {
    file: &'a File,
    space: MarkerSpace,
}

impl Attribute for Open<'_> {
    fn get(&self) -> io::Result<Option<Vec<u8>>> {
        xattrs::get(self.file, DOS_ATTRIBUTES)
    }

    fn set(&self, value: &[u8]) -> io::Result<()> {
        self.space.set(self.file, DOS_ATTRIBUTES, value)
    }

    fn remove(&self) -> io::Result<()> {
        self.space.unset(self.file, DOS_ATTRIBUTES).map(|_| ())
    }
}

struct Unopened<'a>(std::os::fd::BorrowedFd<'a>);

impl Attribute for Unopened<'_> {
    fn get(&self) -> io::Result<Option<Vec<u8>>> {
        xattrs::get_path_fd(self.0, DOS_ATTRIBUTES)
    }

    fn set(&self, value: &[u8]) -> io::Result<()> {
        fault::effect("stub.setxattr")?;
        xattrs::set_path_fd(self.0, DOS_ATTRIBUTES, value)
    }

    fn remove(&self) -> io::Result<()> {
        fault::effect("stub.removexattr")?;
        xattrs::remove_path_fd(self.0, DOS_ATTRIBUTES).map(|_| ())
    }
}

fn told(what: &str, error: &io::Error) {
    tracing::warn!(%error, bit = OFFLINE, "cannot {what} the offline bit for Windows clients");
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MTIME_NS, Sample, on_each};
    use super::super::{Armed, arm, drop_marker, inspect, recover};
    use super::*;
    use crate::os::stat::statx_fd;
    use crate::stub::Expected;
    use crate::stub::testing::STORE_TAG;
    use std::path::Path;

    const PLAIN: &str = "0000050005000000110000002200000054ddc3badc79dd01";
    const SHOWN: &str = "0000050005000000110000002210000054ddc3badc79dd01";

    fn space() -> MarkerSpace {
        MarkerSpace::for_this_process()
    }

    fn put(sample: &Sample, text: &str) {
        let value = hex::decode(text).expect("hex");
        xattrs::set(&sample.open(), DOS_ATTRIBUTES, &value).expect("set");
    }

    fn found(sample: &Sample) -> Option<String> {
        xattrs::get(&sample.open(), DOS_ATTRIBUTES).expect("get").map(hex::encode)
    }

    fn arm_with(sample: &Sample, bit: OfflineBit) -> Armed {
        let file = sample.open();
        let expected = Expected::of(&file).expect("stat");
        arm(file, space(), &expected, sample.copy(), STORE_TAG, bit).expect("arm")
    }

    fn unopened(path: &Path) -> std::os::fd::OwnedFd {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::open(path, flags, rustix::fs::Mode::empty()).expect("open")
    }

    fn marker(sample: &Sample) -> Marker {
        match inspect(&sample.open(), space()).expect("inspect") {
            Placement::Stub(marker) => marker,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_stub_is_shown_as_offline_and_a_recalled_file_is_as_it_was() {
        on_each("a_stub_is_shown_as_offline", |dir, kind| {
            let sample = Sample::whole(dir);
            for (bit, before, during) in [
                (OfflineBit::Auto, Some(PLAIN), Some(SHOWN)),
                (OfflineBit::Always, Some(PLAIN), Some(SHOWN)),
                (OfflineBit::Never, Some(PLAIN), Some(PLAIN)),
                (OfflineBit::Auto, Some(SHOWN), Some(SHOWN)), // not ours
                (OfflineBit::Always, Some("ffff"), Some("ffff")),
                (OfflineBit::Auto, None, None),
                (
                    OfflineBit::Always,
                    None,
                    Some("000005000500000001000000001000000000000000000000"),
                ),
            ] {
                let context = format!("{kind:?} {bit:?} {before:?}");
                xattrs::remove(&sample.open(), DOS_ATTRIBUTES).expect("remove");
                before.into_iter().for_each(|text| put(&sample, text));
                let armed = arm_with(&sample, bit);
                assert_eq!(found(&sample).as_deref(), before, "{context}: whole, not offline");
                let punched = armed.punch().expect("punch");
                assert_eq!(found(&sample).as_deref(), during, "{context}");
                let stat = statx_fd(sample.open()).expect("stat");
                assert_eq!(stat.ctime_ns, punched.stat.ctime_ns, "{context}: the one to expect");
                assert_eq!(sample.mtime_ns(), MTIME_NS, "{context}");
                sample.fill().expect("fill");
                assert_eq!(found(&sample).as_deref(), before, "{context}: recalled");
                assert_eq!(sample.mtime_ns(), MTIME_NS, "{context}");
                sample.assert_whole(&context);
            }
        });
    }

    #[test]
    fn a_recall_that_gives_up_leaves_it_offline_and_others_changes_stay() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let sample = Sample::whole(dir.path());
        put(&sample, PLAIN);
        drop(sample.free().expect("free"));
        let filler = sample.begin_fill().expect("begin");
        assert_eq!(found(&sample).as_deref(), Some(PLAIN), "it is on its way");
        drop(filler);
        assert_eq!(found(&sample).as_deref(), Some(SHOWN));
        // A client hides the file: `smbd` writes the attribute without the bit.
        put(&sample, "0000050005000000110000002600000054ddc3badc79dd01");
        sample.fill().expect("fill");
        let hidden = "0000050005000000110000002600000054ddc3badc79dd01";
        assert_eq!(found(&sample).as_deref(), Some(hidden));
    }

    #[test]
    fn a_bit_that_somebody_dropped_is_set_again_without_opening_the_stub() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let sample = Sample::whole(dir.path());
        put(&sample, PLAIN);
        drop(sample.free().expect("free"));
        put(&sample, PLAIN);
        let fd = unopened(&sample.path);
        renew_unopened(&fd, space()).expect("renew");
        assert_eq!(found(&sample).as_deref(), Some(SHOWN));
        let ctime_ns = statx_fd(&fd).expect("stat").ctime_ns;
        renew_unopened(&fd, space()).expect("renew");
        assert_eq!(statx_fd(&fd).expect("stat").ctime_ns, ctime_ns, "nothing to do");
        // In the middle of a recall it is left off.
        let filler = sample.begin_fill().expect("begin");
        renew_unopened(&fd, space()).expect("renew");
        assert_eq!(found(&sample).as_deref(), Some(PLAIN));
        drop(filler);
        // What a killed run left between the punch and the bit.
        put(&sample, PLAIN);
        recover(&sample.open(), space()).expect("recover");
        assert_eq!(found(&sample).as_deref(), Some(SHOWN));
        drop_marker(&sample.open(), space()).expect("drop the marker");
        assert_eq!(found(&sample).as_deref(), Some(PLAIN));
        renew_unopened(&fd, space()).expect("renew");
        assert_eq!(found(&sample).as_deref(), Some(PLAIN), "nobody's stub");
    }

    #[test]
    fn a_record_says_what_the_file_was_and_a_stub_of_it_what_it_is() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let sample = Sample::whole(dir.path());
        let pair =
            |text: &str| (DOS_ATTRIBUTES.as_bytes().to_vec(), hex::decode(text).expect("hex"));
        let other = (b"user.colour".to_vec(), b"blue".to_vec());
        for (bit, recorded) in [
            (OfflineBit::Auto, vec![other.clone(), pair(PLAIN)]),
            (OfflineBit::Always, vec![other.clone()]),
        ] {
            xattrs::remove(&sample.open(), DOS_ATTRIBUTES).expect("remove");
            for (name, value) in recorded.iter().filter(|(name, _)| name != &other.0) {
                let name = String::from_utf8(name.clone()).expect("a name");
                xattrs::set(&sample.open(), name, value).expect("set");
            }
            arm_with(&sample, bit).punch().expect("punch");
            let stub = shown(&recorded, bit).expect("it is shown");
            let (name, value) = (DOS_ATTRIBUTES.as_bytes(), found(&sample).expect("it is there"));
            assert!(stub.iter().any(|(of, is)| of == name && hex::encode(is) == value));
            let mut found = stub.clone();
            leave_out(unopened(&sample.path), space(), &mut found);
            assert_eq!(found, recorded, "{bit:?}");
            assert_eq!(shown(&recorded, OfflineBit::Never), None);
            sample.fill().expect("fill");
            let mut forged = stub.clone();
            leave_out(unopened(&sample.path), space(), &mut forged);
            assert_eq!(forged, stub, "of a file that is here a bit is the owner's own");
        }
        assert_eq!(shown(&[other], OfflineBit::Auto), None);
        assert!(!marker_of_unmarked_is_offline(&sample));
    }

    fn marker_of_unmarked_is_offline(sample: &Sample) -> bool {
        sample.free().expect("free");
        marker(sample).offline
    }
}

//! Where a guard may work, how it begins, and when it may end.

use super::PATIENT;
use super::reader::{Got, Reader, content, right};
use crate::guard::{GUARDED_KINDS, Guarded, signal};
use crate::loopfs::{FsKind, LoopFs};
use crate::support::actor::blocked;
use crate::support::running::PATIENCE;
use crate::support::{Ran, Sandbox};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A guard with stubs of known content, named by their seeds.
pub fn with_stubs(test: &str, kind: FsKind, stubs: u64) -> Option<Guarded> {
    let guarded = Guarded::new(test, kind)?;
    let names: Vec<String> = (0..stubs).map(|seed| seed.to_string()).collect();
    for (seed, name) in names.iter().enumerate() {
        guarded.write(name, &content(seed as u64));
    }
    guarded.stub(&names.iter().map(String::as_str).collect::<Vec<_>>());
    Some(guarded)
}

/// A tmpfs of the test's own.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64m", "none"]).arg(dir.path());
        Ran::within(PATIENCE, &mut mount).succeeds();
        Self(dir)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").args(["-l"]).arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the tmpfs stays mounted");
    }
}

#[test]
fn a_root_on_tmpfs_is_refused() {
    if !crate::support::needs_root("a_root_on_tmpfs_is_refused") {
        return;
    }
    let tmpfs = Tmpfs::new();
    let sandbox = Sandbox::empty();
    let (state, store, root) =
        (sandbox.state_dir(), sandbox.store_url(), tmpfs.0.path().join("data"));
    std::fs::create_dir(&root).expect("a directory");
    let mut init = sandbox.command(["init", "--store", &store, "--state-dir"]);
    Ran::within(PATIENCE, init.arg(state).arg(&root)).succeeds();
    for options in [&[][..], &["--allow-system-fs"]] {
        let mut guard = sandbox.command(["recall-guard"]);
        let ran = Ran::within(PATIENCE, guard.args(options)).exits(1);
        ran.complains(&["tmpfs", root.to_str().expect("a plain path")]);
    }
}

/// Root, state and store on one image: a guard there could wait for itself.
#[test]
fn the_file_system_of_state_and_store_is_refused_unless_allowed() {
    let test = "the_file_system_of_state_and_store_is_refused_unless_allowed";
    let Some(fs) = LoopFs::new(test, FsKind::Ext4) else { return };
    let sandbox = Sandbox::below(fs.path());
    let url = sandbox.store_url();
    let mut guarded = Guarded::on(fs, sandbox, &["--store", &url]);
    let mut guard = guarded.sandbox.command(["recall-guard"]);
    let ran = Ran::within(PATIENCE, &mut guard).exits(1);
    ran.complains(&["--allow-system-fs"]);
    guarded.try_start(&["--allow-system-fs"]).unwrap_or_else(|said| panic!("{said}"));
    guarded.write("file", &content(1));
    guarded.stub(&["file"]);
    assert_eq!(Reader::of(&guarded.path("file")).got(PATIENT), right(1), "{}", guarded.said());
    guarded.stop_by_force();
}

#[test]
fn a_second_guard_is_turned_away() {
    let Some(guarded) = with_stubs("a_second_guard_is_turned_away", FsKind::Ext4, 1) else {
        return;
    };
    let pid = guarded.guard_pid();
    Ran::within(PATIENCE, &mut guarded.sandbox.command(["recall-guard"])).exits(11);
    assert_eq!(guarded.guard_pid(), pid);
    assert_eq!(Reader::of(&guarded.path("0")).got(PATIENT), right(0), "{}", guarded.said());
}

#[test]
fn it_stays_while_stubs_would_read_as_zeros() {
    let test = "it_stays_while_stubs_would_read_as_zeros";
    let Some(mut guarded) = with_stubs(test, FsKind::Xfs, 3) else { return };
    let ran = guarded.stop(&[]).exits(1);
    ran.complains(&["3", "zeros", "--force"]);
    signal(guarded.keeper_pid(), Signal::TERM);
    // Not a synchronisation: it is given the time to do what it must not.
    assert!(!guarded.ends_within(Duration::from_secs(2)), "SIGTERM ended it");
    for seed in 0..3 {
        let got = Reader::of(&guarded.path(&seed.to_string())).got(PATIENT);
        assert_eq!(got, right(seed), "{}", guarded.said());
    }
    guarded.stop(&[]).succeeds();
    assert!(guarded.ends_within(PATIENCE), "it does not end without stubs");
}

#[test]
fn sigterm_ends_it_where_no_stub_is_left() {
    let test = "sigterm_ends_it_where_no_stub_is_left";
    let Some(mut guarded) = with_stubs(test, FsKind::Btrfs, 1) else { return };
    guarded.on_names("recall", &[], &["0"]).succeeds();
    signal(guarded.keeper_pid(), Signal::TERM);
    assert!(guarded.ends_within(PATIENCE), "{}", guarded.said());
}

#[test]
fn its_file_system_can_be_unmounted_and_it_can_then_stop() {
    for kind in GUARDED_KINDS {
        let test = "its_file_system_can_be_unmounted_and_it_can_then_stop";
        let Some(mut guarded) = with_stubs(test, kind, 1) else { return };
        guarded.fs.unmount();
        guarded.stop(&[]).succeeds();
        assert!(guarded.ends_within(PATIENCE), "{kind:?}: {}", guarded.said());
        guarded.fs.mount();
        guarded.start();
        let got = Reader::of(&guarded.path("0")).got(PATIENT);
        assert_eq!(got, right(0), "{kind:?}: {}", guarded.said());
    }
}

/// Nothing may be stubbed where nobody watches: after a mount that the guard has
/// not seen, either it is guarded again or no stub is made.
#[test]
fn no_stub_is_made_on_a_mount_that_the_guard_does_not_know() {
    let test = "no_stub_is_made_on_a_mount_that_the_guard_does_not_know";
    let Some(mut guarded) = Guarded::new(test, FsKind::Ext4) else { return };
    guarded.fs.remount();
    guarded.write("new", &content(7));
    let ran = guarded.on_names("tier", &[], &[""]);
    let was_stubbed = guarded.is_stub("new");
    assert!(was_stubbed || ran.code() != 0, "neither stubbed nor refused: {}", ran.stdout());
    let got = Reader::of(&guarded.path("new")).got(PATIENT);
    assert_eq!(got, right(7), "stubbed: {was_stubbed}\n{}\n{}", ran.stderr(), guarded.said());
}

/// What hsm itself does with stubs recalls none.
#[test]
fn its_own_commands_leave_stubs_alone() {
    let test = "its_own_commands_leave_stubs_alone";
    let Some(guarded) = with_stubs(test, FsKind::Ext4, 3) else { return };
    for args in [
        &["scan"][..],
        &["tier"],
        &["plan"],
        &["status"],
        &["ls"],
        &["find"],
        &["du"],
        &["verify"],
        &["verify", "--data"],
        &["doctor"],
    ] {
        let mut command = guarded.sandbox.command(args);
        let ran = Ran::within(PATIENCE, command.current_dir(guarded.root()));
        assert!(ran.code() != 2, "{args:?}: {}", ran.stderr());
        for seed in 0..3 {
            assert!(guarded.is_stub(&seed.to_string()), "{args:?} recalled {seed}");
        }
    }
    guarded.on_names("recall", &[], &["0"]).succeeds();
    assert!(!guarded.is_stub("0") && guarded.is_stub("1"));
    assert_eq!(Reader::of(&guarded.path("0")).got(PATIENT), right(0));
}

/// A loop device over an image, to be mounted by somebody else.
struct Attached {
    device: PathBuf,
}

impl Attached {
    fn over(image: &Path) -> Self {
        let mut losetup = Command::new("losetup");
        let ran = Ran::within(PATIENCE, losetup.args(["--find", "--show"]).arg(image)).succeeds();
        Self { device: ran.stdout().trim().into() }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status();
    }
}

/// A program that tries to open a stub from before there is a mount never sees
/// its hole; with an ordinary mount it does.
#[test]
fn a_mount_by_the_guard_has_no_unguarded_moment() {
    for kind in GUARDED_KINDS {
        let test = "a_mount_by_the_guard_has_no_unguarded_moment";
        let Some(mut guarded) = with_stubs(test, kind, 6) else { return };
        guarded.stop_by_force();
        guarded.fs.unmount();
        let path = |seed: u64| guarded.path(&seed.to_string());
        let early = Reader::polling(&path(0));
        guarded.fs.mount();
        assert_eq!(early.got(PATIENT), Got::Hole, "{kind:?}: the poller sees no window");
        guarded.fs.unmount();
        for seed in 1..6 {
            let pollers = [
                Reader::polling(&guarded.path(&seed.to_string())),
                Reader::polling(&guarded.path("0")),
            ];
            let attached = Attached::over(&guarded.fs.image());
            mount_guarded(&mut guarded, &attached);
            let wanted = [right(seed), right(0)];
            for (poller, wanted) in pollers.into_iter().zip(wanted) {
                assert_eq!(poller.got(PATIENT), wanted, "{kind:?}: {}", guarded.said());
            }
            guarded.stop_by_force();
            guarded.fs.unmount();
        }
    }
}

fn mount_guarded(guarded: &mut Guarded, attached: &Attached) {
    let device = attached.device.to_str().expect("a plain path").to_owned();
    let target = guarded.fs.path().to_str().expect("a plain path").to_owned();
    // Whether or not it succeeds, it may have mounted.
    guarded.fs.is_mounted_now(true);
    let started = guarded.try_start(&["--mount", &device, &target]);
    started.unwrap_or_else(|said| panic!("it does not mount: {said}"));
}

/// A descriptor from before the guard raises no event: no guard can help its
/// holder, but it is told who that is.
#[test]
fn who_opened_a_stub_before_the_guard_came_is_named() {
    for kind in GUARDED_KINDS {
        let test = "who_opened_a_stub_before_the_guard_came_is_named";
        let Some(mut guarded) = with_stubs(test, kind, 1) else { return };
        guarded.stop_by_force();
        let holder = Reader::holding(&guarded.path("0"));
        let told = guarded.said().len();
        let _ = guarded.try_start(&[]);
        let said = guarded.said().split_off(told);
        let pid = holder.actor.pid().to_string();
        assert!(said.contains(&pid), "{kind:?}: {pid} is not named in: {said}");
    }
}

/// Whoever waits can be killed, and the late answer harms nobody.
#[test]
fn a_waiting_reader_can_be_killed() {
    let Some(guarded) = with_stubs("a_waiting_reader_can_be_killed", FsKind::Ext4, 2) else {
        return;
    };
    let guard = guarded.guard_pid();
    signal(guard, Signal::STOP);
    let mut reader = Reader::of(&guarded.path("0"));
    blocked(reader.actor.pid(), PATIENT);
    reader.actor.last_words();
    assert!(!reader.actor.is_alive());
    signal(guard, Signal::CONT);
    for seed in 0..2 {
        let got = Reader::of(&guarded.path(&seed.to_string())).got(PATIENT);
        assert_eq!(got, right(seed), "{}", guarded.said());
    }
}

#[test]
fn a_configuration_with_a_mistake_in_its_section_is_named() {
    let test = "a_configuration_with_a_mistake_in_its_section_is_named";
    let Some(guarded) = Guarded::idle(test, FsKind::Ext4) else { return };
    guarded.configure("[guard]\nfirst_bite = \"2s\"");
    let ran = Ran::within(PATIENCE, &mut guarded.sandbox.command(["recall-guard"])).exits(1);
    ran.complains(&["config.toml", "first_bite", "did you mean \"first_byte\"?"]);
}

#[test]
fn stubs_need_the_guard_that_watches_their_root() {
    let test = "stubs_need_the_guard_that_watches_their_root";
    let Some(mut guarded) = Guarded::new(test, FsKind::Ext4) else { return };
    guarded.write("file", &content(3));
    guarded.stop(&[]).succeeds();
    assert!(guarded.ends_within(PATIENCE));
    let ran = guarded.on_names("tier", &[], &[""]).exits(1);
    ran.complains(&["guard"]);
    assert!(!guarded.is_stub("file"));
    guarded.start();
    guarded.on_names("tier", &[], &[""]).succeeds();
    guarded.stub(&["file"]);
    assert_eq!(Reader::of(&guarded.path("file")).got(PATIENT), right(3), "{}", guarded.said());
}

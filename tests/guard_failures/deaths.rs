//! Death of the guard, of its keeper, and of both: whoever waits gets the bytes.

use super::PATIENT;
use super::lifecycle::with_stubs;
use super::reader::{Got, LEN, Reader, content, right};
use crate::guard::{GUARDED_KINDS, Guarded, kill, signal};
use crate::loopfs::{FsKind, LoopFs};
use crate::s3_place::Place;
use crate::s3_server::Misdeed;
use crate::support::actor::{blocked, waits_for_the_guard};
use crate::support::running::until;
use rustix::process::Signal;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// All threads of the process; also one that has ended.
fn is_stopped(pid: &str) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    tasks.flatten().all(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']))
    })
}

/// Its event is still in the queue when the guard dies: nothing is lost.
#[test]
fn a_reader_that_waits_when_the_guard_dies_gets_its_bytes() {
    for kind in GUARDED_KINDS {
        let test = "a_reader_that_waits_when_the_guard_dies_gets_its_bytes";
        let Some(guarded) = with_stubs(test, kind, 20) else { return };
        for seed in 0..20 {
            let guard = guarded.guard_pid();
            signal(guard, Signal::STOP);
            // On a busy machine a thread of it reads on for a while.
            while !is_stopped(guard.to_string().as_str()) {
                std::thread::yield_now();
            }
            let reader = Reader::of(&guarded.path(&seed.to_string()));
            blocked(reader.actor.pid(), PATIENT);
            assert_ne!(guarded.kill_guard(), guard);
            assert_eq!(reader.got(PATIENT), right(seed), "{kind:?}: {}", guarded.said());
        }
    }
}

/// A guard whose store is a bucket in this process, and which waits long for it.
fn on_a_bucket(test: &str) -> Option<(Place, Guarded)> {
    let place = Place::in_process();
    let fs = LoopFs::new(test, FsKind::Ext4)?;
    let options = ["--store", &place.url, "--endpoint", &place.endpoint, "--path-style"];
    let mut guarded = Guarded::on(fs, place.sandbox(), &options);
    guarded.configure("[guard]\nfirst_byte = \"30s\"\nidle = \"30s\"\n");
    guarded.start();
    Some((place, guarded))
}

/// Its recall is under way when the guard dies: the bytes, or `EIO`.
#[test]
fn a_reader_whose_recall_dies_with_the_guard_gets_its_bytes_or_eio() {
    let test = "a_reader_whose_recall_dies_with_the_guard_gets_its_bytes_or_eio";
    let Some((place, guarded)) = on_a_bucket(test) else { return };
    let mut right_answers = 0;
    for seed in 0..10 {
        let name = seed.to_string();
        guarded.write(&name, &content(seed));
        guarded.stub(&[&name]);
        place.server().take_seen();
        place.server().misbehave(Some("GET"), u32::MAX, Misdeed::Stall);
        let reader = Reader::of(&guarded.path(&name));
        let asked = || (!place.server().take_seen().is_empty()).then_some(());
        until(PATIENT, asked).expect("the guard asks the store");
        guarded.kill_guard();
        place.server().revive();
        match reader.got(PATIENT) {
            Got::Errno(libc::EIO) => {}
            got => {
                assert_eq!(got, right(seed), "{}", guarded.said());
                right_answers += 1;
            }
        }
        assert_eq!(Reader::of(&guarded.path(&name)).got(PATIENT), right(seed));
    }
    assert!(right_answers > 0, "an event that was in the table is never answered well");
}

/// What another guard completes is known afterwards like any other recall: who reads the
/// log sees it, and nobody takes the file for one that was changed.
#[test]
fn a_recall_that_another_guard_completes_is_recorded() {
    let test = "a_recall_that_another_guard_completes_is_recorded";
    let Some((place, guarded)) = on_a_bucket(test) else { return };
    guarded.write("film", &content(1));
    guarded.stub(&["film"]);
    place.server().take_seen();
    place.server().misbehave(Some("GET"), u32::MAX, Misdeed::Stall);
    let reader = Reader::of(&guarded.path("film"));
    let pid = reader.actor.pid();
    let asked = || (!place.server().take_seen().is_empty()).then_some(());
    until(PATIENT, asked).expect("the guard asks the store");
    // So that the recall ends with this guard, and the next finds a store that works.
    let guard = guarded.guard_pid();
    signal(guard, Signal::STOP);
    until(PATIENT, || is_stopped(&guard.to_string()).then_some(())).expect("it stops");
    place.server().revive();
    guarded.kill_guard();
    assert_eq!(reader.got(PATIENT), right(1), "{}", guarded.said());

    let recorded = || recalls(&guarded).into_iter().next();
    let recall = until(PATIENT, recorded).expect("the recall is in the log");
    assert_eq!(recall["path"]["text"].as_str(), guarded.path("film").to_str());
    assert_eq!((&recall["recalled"], &recall["pid"]), (&true.into(), &pid.into()), "{recall}");
    assert!(recall["bytes"].as_u64() >= Some(LEN as u64), "{recall}");
    guarded.sandbox.hsm(["scan"]).succeeds();
    for (state, files) in [("uploaded", 1), ("stub", 0), ("dirty", 0)] {
        let found = guarded.sandbox.hsm(["find", "--state", state]).succeeds().stdout();
        assert_eq!(found.lines().count(), files, "{state}: {found}");
    }
}

/// What `hsm recalls` tells of each.
fn recalls(guarded: &Guarded) -> Vec<serde_json::Value> {
    let text = guarded.sandbox.hsm(["recalls", "--json"]).succeeds().stdout();
    let records = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    records.filter(|record: &serde_json::Value| record["type"] == "recall").collect()
}

/// Readers of many stubs while the guard dies again and again.
#[test]
fn a_guard_that_keeps_dying_still_serves() {
    let test = "a_guard_that_keeps_dying_still_serves";
    let Some(guarded) = with_stubs(test, FsKind::Xfs, 12) else { return };
    let mut readers: Vec<Reader> =
        (0..12).map(|seed: u64| Reader::of(&guarded.path(&seed.to_string()))).collect();
    for _ in 0..6 {
        guarded.kill_guard();
    }
    for (seed, reader) in readers.iter_mut().enumerate() {
        match reader.next(PATIENT) {
            Got::Errno(libc::EIO | libc::EAGAIN) => {}
            got => assert_eq!(got, right(seed as u64), "{}", guarded.said()),
        }
    }
    for seed in 0..12 {
        let got = Reader::of(&guarded.path(&seed.to_string())).got(PATIENT);
        assert_eq!(got, right(seed), "{}", guarded.said());
    }
}

/// One reader waits when the keeper dies, others come later.
#[test]
fn without_its_keeper_the_guard_goes_on() {
    let test = "without_its_keeper_the_guard_goes_on";
    let Some((place, mut guarded)) = on_a_bucket(test) else { return };
    for seed in 0..2 {
        guarded.write(&seed.to_string(), &content(seed));
        guarded.stub(&[&seed.to_string()]);
    }
    place.server().misbehave(Some("GET"), u32::MAX, Misdeed::Drip);
    let waiting = Reader::of(&guarded.path("0"));
    blocked(waiting.actor.pid(), PATIENT);
    guarded.kill_keeper();
    assert!(waits_for_the_guard(waiting.actor.pid()), "it was let go");
    assert_eq!(waiting.got(PATIENT), right(0), "{}", guarded.said());
    place.server().behave();
    assert_eq!(Reader::of(&guarded.path("1")).got(PATIENT), right(1), "{}", guarded.said());
    guarded.stop(&["--force"]).succeeds();
}

/// A terminal that is closed, and Ctrl-C in it, reach both processes.
#[test]
fn signals_of_a_terminal_end_nothing_while_there_are_stubs() {
    for asked in [Signal::HUP, Signal::INT, Signal::TERM] {
        let test = "signals_of_a_terminal_end_nothing_while_there_are_stubs";
        let Some(mut guarded) = with_stubs(test, FsKind::Ext4, 1) else { return };
        for pid in [guarded.guard_pid(), guarded.keeper_pid()] {
            signal(pid, asked);
        }
        // Not a synchronisation: they are given the time to do what they must not.
        assert!(!guarded.ends_within(Duration::from_secs(2)), "{asked:?}: {}", guarded.said());
        let got = Reader::of(&guarded.path("0")).got(PATIENT);
        assert_eq!(got, right(0), "{asked:?}: {}", guarded.said());
    }
}

/// Where the service manager keeps the group, a restart of the service needs no
/// force: whoever comes in between waits.
#[test]
fn a_restart_under_a_service_manager_loses_nobody() {
    for kind in GUARDED_KINDS {
        let test = "a_restart_under_a_service_manager_loses_nobody";
        let Some(mut guarded) = with_stubs(test, kind, 3) else { return };
        guarded.stop_by_force();
        let mut first = guarded.sandbox.command(["recall-guard"]);
        let first = first.env("FDSTORE", "8");
        guarded.launch(first).unwrap_or_else(|said| panic!("{kind:?}: {said}"));
        for seed in 0..3 {
            signal(guarded.keeper_pid(), Signal::TERM);
            assert!(guarded.ends_within(PATIENT), "{kind:?}: {}", guarded.said());
            let reader = Reader::of(&guarded.path(&seed.to_string()));
            blocked(reader.actor.pid(), PATIENT);
            let mut next = with_descriptors(&guarded, &guarded.notify.kept());
            let next = next.env("FDSTORE", "8");
            guarded.launch(next).unwrap_or_else(|said| panic!("{kind:?}: {said}"));
            assert_eq!(reader.got(PATIENT), right(seed), "{kind:?}: {}", guarded.said());
        }
    }
}

/// The service manager keeps the group: when both are dead, a reader waits until
/// they are back.
#[test]
fn when_both_die_the_service_manager_keeps_what_readers_wait_for() {
    for kind in GUARDED_KINDS {
        let test = "when_both_die_the_service_manager_keeps_what_readers_wait_for";
        let Some(mut guarded) = with_stubs(test, kind, 4) else { return };
        // Also one that does not say that it keeps anything, as before systemd 254.
        let given = guarded.notify.kept();
        let given: Vec<&str> = given.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(given, ["hsm-group", "hsm-slots"], "{kind:?}");
        for seed in 0..4 {
            let guard = guarded.guard_pid();
            signal(guard, Signal::STOP);
            let reader = Reader::of(&guarded.path(&seed.to_string()));
            blocked(reader.actor.pid(), PATIENT);
            // Stopped, so that it starts no other in between.
            signal(guarded.keeper_pid(), Signal::STOP);
            kill(guard);
            guarded.kill_keeper();
            assert!(waits_for_the_guard(reader.actor.pid()), "{kind:?}: it was let go");
            let kept = guarded.notify.kept();
            let mut command = with_descriptors(&guarded, &kept);
            guarded.launch(&mut command).unwrap_or_else(|said| panic!("{kind:?}: {said}"));
            assert_eq!(reader.got(PATIENT), right(seed), "{kind:?}: {}", guarded.said());
        }
    }
}

/// `hsm recall-guard` with descriptors passed as the service manager passes them.
fn with_descriptors(guarded: &Guarded, kept: &[(String, RawFd)]) -> Command {
    let plain = guarded.sandbox.command(["recall-guard"]);
    // LISTEN_PID is the pid of the program, which only the child knows.
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh"]);
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    for (name, value) in plain.get_envs() {
        command.env(name, value.expect("only set variables"));
    }
    let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
    command.env("LISTEN_FDS", kept.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    let fds: Vec<RawFd> = kept.iter().map(|(_, fd)| *fd).collect();
    // SAFETY: only system calls that may be made between fork and exec.
    unsafe { command.pre_exec(move || place_from_three(&fds)) };
    command
}

/// Copies of these descriptors at 3, 4, ... that survive `exec`.
fn place_from_three(fds: &[RawFd]) -> std::io::Result<()> {
    let checked = |fd: RawFd| match fd {
        -1 => Err(std::io::Error::last_os_error()),
        fd => Ok(fd),
    };
    // First out of the way of the places they go to.
    for (nth, fd) in fds.iter().enumerate() {
        // SAFETY: numbers only.
        checked(unsafe { libc::dup3(*fd, 200 + nth as RawFd, libc::O_CLOEXEC) })?;
    }
    for nth in 0..fds.len() as RawFd {
        // SAFETY: numbers only.
        checked(unsafe { libc::dup2(200 + nth, 3 + nth) })?;
    }
    Ok(())
}

//! A made-up manager: it starts this test program once more, for one test that
//! speaks as a service, with the variables that systemd sets.

use super::*;
use crate::os::local_socket::recv_with_fds;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

const ROLE: &str = "HSM_TEST_SERVICE_MANAGER_ROLE";

/// Runs the test `name` with `ROLE` set. The shell makes `$$` the process that
/// the test runs in, and the files `first` and `second` its numbers 3 and 4.
fn service(name: &str, dir: &Path) -> Command {
    let script = r#"export LISTEN_PID=$$; exec 3<"$1" 4<"$2"; shift 2; exec "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(dir.join("first")).arg(dir.join("second"));
    command.arg(std::env::current_exe().expect("we run"));
    command.args(["--exact", &format!("os::service_manager::tests::{name}"), "--nocapture"]);
    command.env(ROLE, "1").env_remove("NOTIFY_SOCKET").env_remove("FDSTORE");
    command
}

fn place() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for name in ["first", "second"] {
        std::fs::write(dir.path().join(name), name).expect("write");
    }
    dir
}

fn is_service() -> bool {
    std::env::var_os(ROLE).is_some()
}

fn succeeds(command: &mut Command) {
    let output = command.output().expect("run the test program");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn messages_and_descriptors_reach_the_manager() {
    if is_service() {
        notify_ready("up\nSTOPPING=1").expect("notify");
        notify_watchdog().expect("notify");
        notify_status("busy").expect("notify");
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(b"kept").expect("write");
        store("group", &[file.as_fd(), file.as_fd()]).expect("notify");
        forget("group").expect("notify");
        notify_stopping().expect("notify");
        assert!(keeps_descriptors());
        assert_eq!(watchdog_interval(), Some(Duration::from_millis(1500)));
        return;
    }
    let dir = place();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("bind");
    let mut run = service("messages_and_descriptors_reach_the_manager", dir.path());
    run.env("NOTIFY_SOCKET", &path).env("FDSTORE", "16").env("WATCHDOG_USEC", "1500000");
    succeeds(run.env_remove("WATCHDOG_PID"));
    let next = || {
        let mut buffer = [0; 512];
        let (count, fds) = recv_with_fds(&manager, &mut buffer).expect("receive");
        (String::from_utf8(buffer[..count].to_vec()).expect("text"), fds)
    };
    assert_eq!(next().0, "READY=1\nSTATUS=up STOPPING=1\n");
    assert_eq!(next().0, "WATCHDOG=1\n");
    assert_eq!(next().0, "STATUS=busy\n");
    let (text, fds) = next();
    assert_eq!(text, "FDSTORE=1\nFDNAME=group\nFDPOLL=0\n");
    assert_eq!(fds.len(), 2);
    for fd in fds {
        let mut bytes = [0; 8];
        let count = std::os::unix::fs::FileExt::read_at(&File::from(fd), &mut bytes, 0);
        assert_eq!(&bytes[..count.expect("read")], b"kept");
    }
    assert_eq!(next().0, "FDSTOREREMOVE=1\nFDNAME=group\n");
    assert_eq!(next().0, "STOPPING=1\n");
}

#[test]
fn stored_descriptors_come_back_once() {
    if is_service() {
        let found = stored().expect("the variables agree");
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["group", "slots"]);
        assert!(stored().expect("no error").is_empty());
        for ((_, fd), text) in found.into_iter().zip(["first", "second"]) {
            let flags = rustix::io::fcntl_getfd(&fd).expect("flags");
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
            assert_eq!(std::io::read_to_string(File::from(fd)).expect("read"), text);
        }
        return;
    }
    let dir = place();
    let mut run = service("stored_descriptors_come_back_once", dir.path());
    succeeds(run.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "group:slots"));
}

#[test]
fn without_a_manager_nothing_is_said_and_nothing_kept() {
    if is_service() {
        notify_ready("up").expect("no error");
        notify_stopping().expect("no error");
        store("group", &[File::open("/dev/null").expect("open").as_fd()]).expect("no error");
        assert!(!keeps_descriptors());
        assert_eq!(watchdog_interval(), None);
        assert!(stored().expect("no error").is_empty());
        return;
    }
    let dir = place();
    let mut run = service("without_a_manager_nothing_is_said_and_nothing_kept", dir.path());
    run.env_remove("LISTEN_FDS").env("FDSTORE", "0");
    // Another process is watched, not this one.
    succeeds(run.env("WATCHDOG_USEC", "1000000").env("WATCHDOG_PID", "1"));
}

#[test]
fn a_name_that_the_manager_would_not_take_is_refused() {
    for name in ["", "a:b", "a\nFDSTOREREMOVE=1", "ä", &"x".repeat(256)] {
        let error = forget(name).expect_err("no name");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
    }
}

//! Who is not root gets nothing out of the guard's socket, however they come to it.

use super::ordinary::as_user;
use crate::guard::Guarded;
use crate::loopfs::FsKind;
use crate::support::trees::noise;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

fn open_to_all(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod");
}

#[test]
fn an_ordinary_user_gets_nothing_from_the_guards_socket() {
    let test = "an_ordinary_user_gets_nothing_from_the_guards_socket";
    let Some(guarded) = Guarded::new(test, FsKind::Ext4) else { return };
    guarded.write("f", &noise(1, 100_000));
    guarded.stub(&["f"]);
    let config = fs::read_to_string(guarded.sandbox.config()).expect("the configuration");
    let run_dir = match config.lines().find_map(|line| line.strip_prefix("run_dir = ")) {
        Some(quoted) => Path::new(quoted.trim_matches('"')).to_owned(),
        None if Path::new("/run/hsm/guard.sock").exists() => "/run/hsm".into(),
        None => guarded.sandbox.state_dir().join("run"),
    };
    let socket = run_dir.join("guard.sock");
    assert!(socket.exists(), "{}", socket.display());
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(&run_dir) & 0o022, 0, "others could put a socket in its place");
    for way in run_dir.ancestors().take_while(|way| way.starts_with(guarded.sandbox.path(""))) {
        open_to_all(way, 0o755);
    }
    as_user(|| {
        let refused = UnixStream::connect(&socket).expect_err("its mode");
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    });
    // Were its mode a mistake, the kernel's word would still count.
    open_to_all(&socket, 0o666);
    let asked = [
        r#"{"Hello":{"version":1}}"#,
        r#""Passages""#,
        r#""Status""#,
        r#"{"Stop":{"force":true}}"#,
        "no message at all",
    ];
    for asked in asked {
        let answer = as_user(|| {
            let mut stream = UnixStream::connect(&socket).expect("anybody may");
            stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
            // It may have hung up before.
            let _ = stream.write_all(format!("{asked}\n").as_bytes());
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        });
        let nothing = answer.is_empty() || answer.contains("only root may ask the guard");
        assert!(nothing && !answer.contains("Hello"), "{asked}: {answer}");
    }
    assert!(guarded.is_stub("f"));
    guarded.on_names("recall", &[], &["f"]).succeeds();
}

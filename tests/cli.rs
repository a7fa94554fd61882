//! The command line as a black box: codes, streams, refusals, JSON.

#[path = "support/cli.rs"]
mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use support::Server;

#[test]
fn init_sets_everything_up_and_says_what_comes_next() {
    let server = Server::new();
    let ran = server.run(["init", &server.text("tree")]).ok();
    assert!(ran.text().contains("next: put rules into"), "{}", ran.text());
    for made in ["etc/config.toml", "state/state.db", "state/store/hsm-store.json"] {
        assert!(server.path(made).is_file(), "{made}");
    }
    assert!(server.path("etc/policies.d").is_dir());
    let status = server.run(["status", "--json"]).ok().records();
    assert_eq!(status[0]["path"]["text"], server.text("tree").as_str());
    assert_eq!(status[0]["same_file_system"], true);
}

#[test]
fn init_again_changes_nothing_and_adds_roots() {
    let server = Server::initialised();
    let before = std::fs::read(server.path("etc/config.toml")).unwrap();
    let again = server.run(["init", &server.text("tree"), "--json"]).ok().records();
    assert_eq!(again.last().unwrap()["known_roots"], 1);
    assert_eq!(again.last().unwrap()["made_store"], false);
    assert_eq!(std::fs::read(server.path("etc/config.toml")).unwrap(), before);
    std::fs::create_dir(server.path("more")).unwrap();
    server.run(["init", &server.text("more")]).ok();
    let status = server.run(["status", "--json"]).ok().records();
    assert_eq!(status.last().unwrap()["roots"], 2);
    let config = std::fs::read_to_string(server.path("etc/config.toml")).unwrap();
    assert!(config.contains(&server.text("more")));
    assert!(config.starts_with("# "), "the comments stay");
}

#[test]
fn init_refuses_roots_that_would_tier_hsm_itself_away() {
    let server = Server::new();
    for dir in ["tree/inner", "tree/store", "outer"] {
        std::fs::create_dir(server.path(dir)).unwrap();
    }
    std::fs::write(server.path("file"), "").unwrap();
    let tree = server.text("tree");
    let store_inside = format!("file://{}", server.text("tree/store"));
    let refusals: [(&[&str], &str); 7] = [
        (&["init", "/"], "/ cannot be a root"),
        (&["init", &server.text("missing")], "there is no directory"),
        (&["init", &server.text("file")], "cannot open the root"),
        (&["init", &server.text("")], "overlap"),
        (&["init", &tree, &server.text("tree/inner")], "overlap"),
        (&["init", &tree, "--store", &store_inside], "the store"),
        (&["init", &tree, "--store", "ftp://x"], "file:///path, s3://"),
    ];
    for (args, message) in refusals {
        let ran = server.run(args).code(1);
        assert!(ran.stderr.contains(message), "{args:?}\n{}", ran.stderr);
        assert!(!server.path("etc/config.toml").exists(), "{args:?}");
    }
}

#[test]
fn a_dry_run_of_init_writes_nothing() {
    let server = Server::new();
    let ran = server.run(["init", "-n", &server.text("tree"), "--encrypt"]).ok();
    assert!(ran.text().contains("would add the root"));
    assert!(ran.text().contains("would make the key file"));
    let left: Vec<_> = std::fs::read_dir(server.path("")).unwrap().collect();
    assert_eq!(left.len(), 1, "only the tree: {left:?}");
}

#[test]
fn a_store_is_joined_by_those_who_have_its_key() {
    let one = Server::new();
    let store = format!("file://{}", one.text("bucket"));
    let made = one.run(["init", "--store", &store, "--encrypt", &one.text("tree")]).ok();
    assert!(made.stderr.contains("THE KEY IS"), "{}", made.stderr);
    let key = one.path("etc/store.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o600);
    let bytes = std::fs::read(&key).unwrap();

    let other = Server::new();
    let join = ["init", "--store", &store, &other.text("tree")];
    let ran = other.run(join).code(1);
    assert!(ran.stderr.contains("--key-file"), "{}", ran.stderr);
    let ran = other.run(join.iter().copied().chain(["--encrypt"])).code(1);
    assert!(!other.path("etc/store.key").exists(), "no key for a store of others: {}", ran.stderr);
    let with_key = join.iter().copied().chain(["--key-file", key.to_str().unwrap()]);
    let ran = other.run(with_key.chain(["--json"])).ok();
    assert_eq!(ran.records().last().unwrap()["made_store"], false);

    one.run(["init", &one.text("tree"), "--encrypt"]).ok();
    assert_eq!(std::fs::read(&key).unwrap(), bytes, "a key is never replaced");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let ran = one.run(["init", &one.text("tree")]).code(1);
    assert!(ran.stderr.contains("chmod 600"), "{}", ran.stderr);
}

#[test]
fn a_store_that_is_not_mounted_is_not_made_again() {
    let server = Server::new();
    let store = format!("file://{}", server.text("mnt"));
    server.run(["init", "--store", &store, &server.text("tree")]).ok();
    std::fs::remove_dir_all(server.path("mnt")).unwrap();
    server.run(["init", &server.text("tree")]).code(1);
    assert!(!server.path("mnt").exists());
    std::fs::create_dir(server.path("mnt")).unwrap();
    let ran = server.run(["init", &server.text("tree")]).code(1);
    assert!(!ran.stderr.is_empty());
    assert_eq!(std::fs::read_dir(server.path("mnt")).unwrap().count(), 0);
}

#[test]
fn a_key_does_not_encrypt_a_plain_store() {
    let server = Server::initialised();
    let ran = server.run(["init", &server.text("tree"), "--encrypt"]).code(1);
    assert!(ran.stderr.contains("its encryption is none"), "{}", ran.stderr);
    let other = Server::new();
    let store = format!("file://{}", server.text("state/store"));
    let ran = other.run(["init", "--store", &store, "--encrypt", &other.text("tree")]).code(1);
    assert!(ran.stderr.contains("is not encrypted"), "{}", ran.stderr);
    assert!(!other.path("etc/store.key").exists());
}

#[test]
fn without_init_every_command_says_so() {
    let server = Server::new();
    for args in [&["status"][..], &["ls"], &["find"], &["du"], &["pin", "x"], &["doctor"]] {
        let ran = server.run(args).code(10);
        assert!(ran.stderr.contains("error: not initialised"), "{args:?}\n{}", ran.stderr);
        assert!(ran.stderr.contains("try: hsm init"), "{args:?}\n{}", ran.stderr);
        assert!(ran.stdout.is_empty());
    }
    let records = server.run(["status", "--json"]).code(10).records();
    assert!(records[0]["error"]["message"].as_str().unwrap().starts_with("not initialised"));
}

#[test]
fn mistakes_on_the_command_line_are_usage_errors() {
    let server = Server::initialised();
    for args in [
        &["no-such-command"][..],
        &["recall"],
        &["find", "--larger", "much"],
        &["find", "--older", "soon"],
        &["find", "--name", "a{"],
        &["pin", "--list", "x"],
    ] {
        let ran = server.run(args).code(2);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{args:?}");
    }
    let help = server.run(["recall", "--help"]).ok();
    assert!(help.text().contains("Exit codes") || help.text().contains("Examples"));
    assert!(help.stderr.is_empty());
}

#[test]
fn a_second_init_at_once_is_locked_out() {
    let server = Server::initialised();
    let lock = server.path("state/locks/init.lock");
    let held = hsm::os::lock::RunLock::acquire(&lock, "a test").unwrap();
    let ran = server.run(["init", &server.text("tree")]).code(11);
    assert!(ran.stderr.contains("a test"), "{}", ran.stderr);
    drop(held);
    server.run(["init", &server.text("tree")]).ok();
}

#[test]
fn pins_are_set_listed_and_removed_whatever_the_name() {
    let server = Server::initialised();
    let odd = server.path(OsStr::from_bytes(b"tree/\xff\n"));
    std::fs::write(&odd, "").unwrap();
    std::fs::create_dir_all(server.path("tree/scratch")).unwrap();
    server.run([OsStr::new("pin"), odd.as_os_str()]).ok();
    server.run(["pin", "--exclude", &server.text("tree/scratch")]).ok();
    let records = server.run(["pin", "--list", "--json"]).ok().records();
    assert_eq!(records.len(), 3);
    let listed = server.run(["pin", "--list"]).ok();
    let raw = odd.as_os_str().as_bytes();
    assert!(listed.stdout.windows(raw.len()).any(|part| part == raw), "raw in a pipe");
    assert!(records.iter().any(|record| record["path"]["bytes"].is_string()));
    assert!(records.iter().any(|record| record["pin"] == "excluded"));
    server.run(["unpin", "-n", &server.text("tree/scratch")]).ok();
    assert_eq!(server.run(["pin", "--list", "--json"]).ok().records().len(), 3);
    server.run(["unpin", &server.text("tree/scratch")]).ok();
    assert_eq!(server.run(["pin", "--list", "--json"]).ok().records().len(), 2);
    let ran = server.run(["pin", &server.text("elsewhere")]).code(1);
    assert!(ran.stderr.contains("is below no root"), "{}", ran.stderr);
}

#[test]
fn policy_check_names_every_mistake() {
    let server = Server::new();
    let good = server.path("good.toml");
    std::fs::write(&good, "[[rule]]\nname = \"old\"\nidle = \"90d\"\naction = \"tier\"\n").unwrap();
    let ran = server.run(["policy", "check", good.to_str().unwrap()]).ok();
    assert!(ran.text().starts_with("good: "));
    let bad = server.path("bad.toml");
    std::fs::write(&bad, "[[rule]]\nname = \"old\"\nidel = \"90d\"\naction = \"teir\"\n").unwrap();
    let ran = server.run(["policy", "check", bad.to_str().unwrap()]).code(1);
    assert!(ran.text().contains("bad.toml:3:1: "), "{}", ran.text());
    assert!(ran.text().contains("bad.toml:4:"), "{}", ran.text());
    let records = server.run(["policy", "check", "--json", bad.to_str().unwrap()]).records();
    assert_eq!(records[0]["line"], 3);
    let shown = server.run(["policy", "show", "--policy", good.to_str().unwrap()]).ok();
    assert!(shown.text().contains("1.  tier  old"), "{}", shown.text());
}

#[test]
fn a_reader_that_went_away_ends_the_run_quietly() {
    let server = Server::new();
    let mut command = server.command(["policy", "fields"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_full_disk_behind_stdout_is_a_failure() {
    let server = Server::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = server.command(["policy", "fields"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("cannot write to standard output"), "{stderr}");
}

#[test]
fn doctor_tries_a_directory_and_leaves_nothing_behind() {
    let server = Server::new();
    let ran = server.run(["doctor", "--json", &server.text("tree")]);
    let records = ran.records();
    for check in [
        "identity",
        "times",
        "generation",
        "lease",
        "punch",
        "marker",
        "guard",
        "place",
        "at-work",
        "promise",
    ] {
        let found = records.iter().find(|record| record["check"] == check);
        assert!(found.is_some(), "no finding {check}: {}", ran.text());
    }
    let wrong = records.iter().filter(|record| record["level"] == "bad").count();
    assert_eq!(records.last().unwrap()["bad"], wrong);
    assert_eq!(ran.code, i32::from(wrong > 0));
    assert_eq!(std::fs::read_dir(server.path("tree")).unwrap().count(), 0);
}

#[test]
fn doctor_names_a_user_that_the_guard_would_not_find() {
    let server = Server::initialised();
    let config = server.path("etc/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let rule = "[[guard.rule]]\nname = \"x\"\nuser = \"nobody of this name\"\naction = \"deny\"\n";
    std::fs::write(&config, format!("{text}{rule}")).unwrap();
    let ran = server.run(["doctor"]).code(1);
    assert!(ran.text().contains("bad      guard-rules"), "{}", ran.text());
    assert!(ran.text().contains("the user \"nobody of this name\""), "{}", ran.text());
}

#[test]
fn doctor_sees_another_store_and_an_exposed_key() {
    let server = Server::new();
    server.run(["init", "--encrypt", &server.text("tree")]).ok();
    let before = server.run(["doctor", "--json"]).records();
    let level = |records: &[serde_json::Value], check: &str| {
        let found = records.iter().find(|record| record["check"] == check);
        found.unwrap_or_else(|| panic!("no finding {check}"))["level"].as_str().unwrap().to_owned()
    };
    for check in ["key", "state-db", "unfinished", "store-id", "cipher", "proof"] {
        assert_eq!(level(&before, check), "good", "{check}");
    }
    std::fs::set_permissions(server.path("etc/store.key"), PermissionsExt::from_mode(0o644))
        .unwrap();
    let exposed = server.run(["doctor", "--json"]).code(1).records();
    assert_eq!(level(&exposed, "key"), "bad");
    std::fs::remove_dir_all(server.path("state/store")).unwrap();
    let gone = server.run(["doctor", "--json"]).code(1).records();
    assert_eq!(level(&gone, "reachable"), "bad");
}

#[test]
fn a_damaged_state_db_is_named_with_the_way_out() {
    let server = Server::initialised();
    std::fs::write(server.path("state/state.db"), [0x5a; 100_000]).unwrap();
    for stale in ["state/state.db-wal", "state/state.db-shm"] {
        let _ = std::fs::remove_file(server.path(stale));
    }
    let ran = server.run(["status"]).code(1);
    assert!(ran.stderr.contains("damaged"), "{}", ran.stderr);
    assert!(ran.stderr.contains("try: hsm rebuild"), "{}", ran.stderr);
}

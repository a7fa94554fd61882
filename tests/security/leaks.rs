//! Secrets that can be recognised go in; nothing that comes out, and nothing that is
//! kept, has one of them.

use super::races::nowhere;
use crate::s3_place::Place;
use crate::s3_server::SECRET_ACCESS_KEY;
use crate::support::trees::noise;
use crate::support::{EAGER_POLICY, Ran, Sandbox};
use std::fs;
use std::path::Path;

const SESSION_TOKEN: &str = "recognisable-session-token";
const BAD_SECRET: &str = "recognisable-wrong-secret";

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Everything that a run said.
struct Heard(Vec<u8>);

impl Heard {
    fn hear(&mut self, ran: &Ran) {
        self.0.extend_from_slice(&ran.output.stdout);
        self.0.extend_from_slice(&ran.output.stderr);
    }

    #[track_caller]
    fn has_none_of(&self, needles: &[Vec<u8>]) {
        for needle in needles {
            let found = self.0.windows(needle.len()).position(|some| some == needle);
            let around = found.map(|at| {
                let context = &self.0[at.saturating_sub(300)..(at + 100).min(self.0.len())];
                String::from_utf8_lossy(context).into_owned()
            });
            assert!(around.is_none(), "a secret was told: {}", around.unwrap_or_default());
        }
    }
}

#[test]
fn no_secret_is_told_logged_or_kept_whatever_is_run() {
    let place = Place::in_process();
    let mut sandbox = place.sandbox();
    sandbox.set_env("AWS_SESSION_TOKEN", SESSION_TOKEN);
    let sentence = b"a sentence of somebody's file, and nobody else's. ".repeat(2000);
    sandbox.write("dir/file", &sentence);
    sandbox.write("dir/other", &noise(1, 60_000));
    let key = sandbox.path("home/keys/store.key");
    place.init(&sandbox, &["--encrypt", "--key-file", text(&key)]);
    sandbox.policy(EAGER_POLICY);
    let key_text = fs::read_to_string(&key).expect("the key");
    let digits = key_text.trim().rsplit(' ').next().expect("digits").to_owned();
    let mut heard = Heard(vec![]);
    run_everything(&sandbox, &place, &mut heard);
    // Requests that fail tell more than those that do not.
    sandbox.set_env("AWS_SECRET_ACCESS_KEY", BAD_SECRET);
    for command in [&["verify"][..], &["doctor"], &["tier"], &["history"]] {
        heard.hear(&sandbox.hsm([&["-vvvv"], command].concat()));
    }
    fs::write(&key, key_text.replace("hsm-key-v1", "hsm-key-v9")).expect("written");
    heard.hear(&sandbox.hsm(["-vvvv", "verify"]).exits(1));
    fs::write(&key, &key_text.trim()[..40]).expect("written");
    heard.hear(&sandbox.hsm(["-vvvv", "verify"]).exits(1));
    fs::write(&key, &key_text).expect("written");
    assert!(heard.0.len() > 100_000, "-vvvv says more than {} bytes", heard.0.len());
    let raw: Vec<u8> = (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("digits"))
        .collect();
    let secrets = [SECRET_ACCESS_KEY, SESSION_TOKEN, BAD_SECRET, &digits, &digits[..32]];
    let mut secrets: Vec<Vec<u8>> =
        secrets.iter().map(|secret| secret.as_bytes().to_vec()).collect();
    secrets.push(raw);
    secrets.push(b"somebody's file".to_vec());
    heard.has_none_of(&secrets);
    for secret in &secrets {
        nowhere(&sandbox.state_dir(), secret);
        nowhere(&sandbox.path("home/config"), secret);
        for object in place.objects("") {
            let bytes = hsm::store::Store::get(&*place.store(), &object.key, None).expect("read");
            let there = bytes.windows(secret.len()).any(|some| some == secret);
            assert!(!there, "{} has a secret", object.key);
        }
    }
}

fn run_everything(sandbox: &Sandbox, place: &Place, heard: &mut Heard) {
    let (tree, file) = (sandbox.tree(), sandbox.tree().join("dir/file"));
    let (tree, file) = (text(&tree), text(&file));
    let (out, key) = (sandbox.path("out"), sandbox.path("home/keys/store.key"));
    let restore = ["restore", "--store", &place.url, "--endpoint", &place.endpoint];
    let restore = [&restore[..], &["--path-style", "--key-file", text(&key)]].concat();
    let commands = [
        &["scan"][..],
        &["plan"],
        &["tier", "--dry-run"],
        &["tier"],
        &["status"],
        &["ls", "-r", tree],
        &["du", tree],
        &["find"],
        &["explain", file],
        &["recall", "-r", tree],
        &["upload"],
        &["stub"],
        &["verify", "--data"],
        &["history", file],
        &["nodes"],
        &["snapshot", "list"],
        &["gc", "--dry-run"],
        &["doctor"],
        &["policy", "show"],
        &[&restore[..], &["--to", text(&out)]].concat(),
        &["rebuild", "--force"],
        &["recall", "-r", tree],
    ];
    for command in commands {
        for options in [&["-vvvv"][..], &["-vvvv", "--json"]] {
            let ran = sandbox.hsm([options, command].concat());
            assert_ne!(ran.code(), 2, "{command:?} is no command any more: {}", ran.stderr());
            assert!([0, 3, 4].contains(&ran.code()), "{command:?}: {}", ran.stderr());
            heard.hear(&ran);
        }
    }
    heard.hear(&sandbox.hsm(["-vvvv", "snapshot", "create", "one"]).succeeds());
}

/// What is started gets nothing of the environment that it has no use for; and only the
/// demonstration starts anything.
#[test]
fn only_the_demonstration_starts_programs_and_gives_them_no_secrets() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in walkdir::WalkDir::new(&src) {
        let entry = entry.expect("readable");
        let path = entry.path().strip_prefix(&src).expect("inside").to_owned();
        let is_code = path.extension().is_some_and(|extension| extension == "rs");
        let is_test = path.to_string_lossy().contains("tests");
        if !is_code || is_test || path.starts_with("cli/command/demo") {
            continue;
        }
        let code = fs::read_to_string(entry.path()).expect("text");
        let code = code.split("#[cfg(test)]").next().expect("a first part");
        let starts = code.contains("process::Command") && !path.ends_with("loopfs.rs");
        assert!(!starts, "{} starts a program: say here what it is given", path.display());
    }
    let mut sandbox = Sandbox::empty();
    let bin = sandbox.path("bin");
    fs::create_dir(&bin).expect("mkdir");
    // Stands before the real one, and writes down what it was given.
    let spy =
        format!("#!/bin/sh\nenv >>'{}'\nexec /bin/cp \"$@\"\n", sandbox.path("seen").display());
    fs::write(bin.join("cp"), spy).expect("written");
    fs::set_permissions(bin.join("cp"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("chmod");
    let path = std::env::var("PATH").expect("a path");
    sandbox.set_env("PATH", &format!("{}:{path}", bin.display()));
    sandbox.set_env("AWS_SECRET_ACCESS_KEY", BAD_SECRET);
    sandbox.hsm(["demo"]).succeeds();
    let seen = fs::read_to_string(sandbox.path("seen")).expect("it was started");
    assert!(seen.contains("PATH=") && !seen.contains(BAD_SECRET), "{seen}");
}

//! Who may recall, and how much.

use super::reader::{content, right};
use super::{Intact, PATIENT, intact};
use crate::guard::Guarded;
use crate::guard_failures::reader::Reader;
use crate::loopfs::FsKind;
use crate::support::Ran;
use crate::support::running::PATIENCE;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// With these files as stubs, which everybody may read.
fn with_rules(test: &str, rules: &str, files: u64) -> Option<Guarded> {
    let mut guarded = Guarded::idle(test, FsKind::Ext4)?;
    guarded.configure(rules);
    let image = guarded.fs.path().parent().expect("the image's directory");
    std::fs::set_permissions(image, Permissions::from_mode(0o755)).expect("its mode");
    guarded.start();
    for seed in 0..files {
        guarded.write(&seed.to_string(), &content(seed));
        guarded.stub(&[&seed.to_string()]);
    }
    Some(guarded)
}

/// `cat FILE` by this program and user.
fn cat(program: &str, user: u32, path: &Path) -> Ran {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), "--clear-groups".to_owned()]);
    Ran::within(PATIENCE, command.arg(program).arg(path).env("LC_ALL", "C"))
}

#[track_caller]
fn gets_all(ran: Ran, seed: u64) {
    assert!(ran.succeeds().output.stdout == content(seed), "other bytes");
}

const NOBODY: u32 = 65_534;

#[test]
fn a_denied_program_gets_the_errno_of_its_rule_and_the_stub_stays() {
    // Copied where the rule can name it; `cat` itself stays allowed.
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("scanner");
    let made = Command::new("cp").arg("/bin/cat").arg(&program).status().expect("cp");
    assert!(made.success());
    let program = program.to_str().expect("a plain path");
    let rule = format!(
        "[[guard.rule]]\nname = \"no scanners\"\nexe = [\"{program}\"]\naction = \"deny\"\nerrno = \"EPERM\""
    );
    let test = "a_denied_program_gets_the_errno_of_its_rule_and_the_stub_stays";
    let Some(guarded) = with_rules(test, &rule, 1) else { return };
    let before = Intact::of(&guarded, "0");
    let ran = cat(program, 0, &guarded.path("0")).exits(1);
    assert!(ran.stdout().is_empty());
    ran.complains(&["Operation not permitted"]);
    intact(&guarded, "0", &before);
    guarded.write("resident", &content(5));
    gets_all(cat(program, 0, &guarded.path("resident")), 5);
    gets_all(cat("/bin/cat", 0, &guarded.path("0")), 0);
    gets_all(cat(program, 0, &guarded.path("0")), 0);
}

#[test]
fn a_denied_user_gets_the_errno_of_the_rule_and_the_stub_stays() {
    let rule = "[[guard.rule]]\nname = \"not nobody\"\nuser = [\"nobody\"]\naction = \"deny\"\nerrno = \"EPERM\"";
    let test = "a_denied_user_gets_the_errno_of_the_rule_and_the_stub_stays";
    let Some(guarded) = with_rules(test, rule, 1) else { return };
    let before = Intact::of(&guarded, "0");
    let ran = cat("/bin/cat", NOBODY, &guarded.path("0")).exits(1);
    ran.complains(&["Operation not permitted"]);
    intact(&guarded, "0", &before);
    gets_all(cat("/bin/cat", 1234, &guarded.path("0")), 0);
    gets_all(cat("/bin/cat", NOBODY, &guarded.path("0")), 0);
}

#[test]
fn a_spent_budget_is_eagain_for_its_user_alone() {
    let budget = "[guard.budget]\nper = \"user\"\nfiles_per_hour = 2\nerrno = \"EAGAIN\"";
    let test = "a_spent_budget_is_eagain_for_its_user_alone";
    let Some(guarded) = with_rules(test, budget, 5) else { return };
    for seed in 0..2 {
        gets_all(cat("/bin/cat", NOBODY, &guarded.path(&seed.to_string())), seed);
    }
    let before = Intact::of(&guarded, "2");
    let ran = cat("/bin/cat", NOBODY, &guarded.path("2")).exits(1);
    ran.complains(&["Resource temporarily unavailable"]);
    intact(&guarded, "2", &before);
    // What is resident costs nothing; others have budgets of their own.
    gets_all(cat("/bin/cat", NOBODY, &guarded.path("0")), 0);
    gets_all(cat("/bin/cat", 1234, &guarded.path("2")), 2);
    cat("/bin/cat", NOBODY, &guarded.path("3")).exits(1);
    // A person who asks by name is not counted.
    guarded.on_names("recall", &[], &["3"]).succeeds();
    gets_all(cat("/bin/cat", NOBODY, &guarded.path("3")), 3);
    assert_eq!(Reader::of(&guarded.path("3")).got(PATIENT), right(3));
}

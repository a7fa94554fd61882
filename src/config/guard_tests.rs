//! The `[guard]` section: what its keys mean, and what is wrong with them.

use super::tests::{SMALL, problems};
use super::*;
use std::time::Duration;

#[test]
fn every_key_of_the_guard_is_read() {
    let text = SMALL.to_owned()
        + r#"
[guard]
run_dir = "/srv/run/"
first_byte = "5s"
idle = "2m"
workers = 64
metrics = "[::1]:9123"
[[guard.rule]]
name = "by program"
exe = ["/usr/bin/*", "restic"]
cgroup = "/system.slice/backup-*.service"
user = ["backup", 1000, "1001"]
action = "deny"
errno = "EBUSY"
[[guard.rule]]
name = "the rest"
user = "*"
action = "recall"
[guard.budget]
per = "program"
bytes_per_hour = "10GiB"
files_per_hour = 500
errno = "EBUSY"
except_users = "root"
except_programs = ["/usr/bin/rsync"]
"#;
    let guard = Config::parse("c.toml", &text).expect("a good config").guard;
    let want = GuardSection {
        run_dir: "/srv/run".into(),
        first_byte: Duration::from_secs(5),
        idle: Duration::from_secs(120),
        workers: 64,
        metrics: Some(MetricsAt::Tcp("[::1]:9123".parse().expect("an address"))),
        rules: vec![
            GuardRule {
                name: "by program".into(),
                preset: None,
                exe: vec!["/usr/bin/*".into(), "restic".into()],
                cgroup: vec!["/system.slice/backup-*.service".into()],
                user: vec![
                    GuardUser::Name("backup".into()),
                    GuardUser::Uid(1000),
                    GuardUser::Uid(1001),
                ],
                action: GuardAction::Deny(DenyErrno::Ebusy),
            },
            GuardRule {
                name: "the rest".into(),
                preset: None,
                exe: Vec::new(),
                cgroup: Vec::new(),
                user: vec![GuardUser::Anyone],
                action: GuardAction::Recall,
            },
        ],
        budget: Some(GuardBudget {
            per: BudgetPer::Program,
            bytes_per_hour: Some(10 << 30),
            files_per_hour: Some(500),
            errno: DenyErrno::Ebusy,
            except_users: vec![GuardUser::Name("root".into())],
            except_programs: vec!["/usr/bin/rsync".into()],
        }),
    };
    assert_eq!(guard, want);
    let plain = "[[guard.rule]]\nexe = \"y\"\naction = \"deny\"\n\
                 [guard.budget]\nper = \"user\"\nfiles_per_hour = 1\n";
    let guard = Config::parse("c.toml", &(SMALL.to_owned() + plain)).expect("good").guard;
    assert_eq!(guard.rules[0].name, "1");
    assert_eq!(guard.rules[0].action, GuardAction::Deny(DenyErrno::Eperm));
    assert_eq!(guard.budget.expect("a budget").errno, DenyErrno::Eagain);
}

#[test]
fn every_mistake_about_the_guard_is_named_with_its_mend() {
    let text = SMALL.to_owned()
        + r#"[guard]
run_dir = "/srv/a/run"
first_byte = "500ms"
idle = "2h"
workers = 0
socket = "/x"
[[guard.rule]]
name = "a"
exe = ["usr/bin/x", "[a", ""]
user = ["", "a*", -1, 3.5]
cgroup = "system.slice/x"
action = "recall"
errno = "EIO"
[[guard.rule]]
name = "a"
exe = "x"
action = "forbid"
errno = "ENOSPC"
[[guard.rule]]
user = "*"
program = "x"
[[guard.rule]]
name = "nobody"
action = "deny"
[guard.budget]
per = "group"
bytes_per_hour = 0
files_per_hour = 0
errno = "EPERM"
"#;
    insta::assert_snapshot!(problems(&text), @r#"
/etc/hsm/config.toml:6:11: the run directory /srv/a/run lies inside the root /srv/a; put it elsewhere: what is inside a root may become a stub
/etc/hsm/config.toml:7:14: first_byte is out of range; write a duration from 1s to 1h
/etc/hsm/config.toml:8:8: idle is out of range; write a duration from 1s to 1h
/etc/hsm/config.toml:9:11: 0 is out of range; write a number from 1 to 64
/etc/hsm/config.toml:10:1: unknown key "socket" in [guard]; known keys: run_dir, first_byte, idle, workers, metrics, rule, budget
/etc/hsm/config.toml:13:8: bad glob "usr/bin/x": neither a path nor a name; a program's path is absolute: begin it with a slash
/etc/hsm/config.toml:13:21: bad glob "[a": unclosed character class; missing ']'; correct the glob
/etc/hsm/config.toml:13:27: bad glob "": empty; correct the glob
/etc/hsm/config.toml:14:9: bad user ""; write a name of /etc/passwd, a number, or "*" for everybody
/etc/hsm/config.toml:14:13: bad user "a*"; write a name of /etc/passwd, a number, or "*" for everybody
/etc/hsm/config.toml:14:19: -1 is out of range; write a number from 0 to 4294967295
/etc/hsm/config.toml:14:23: expected a text in quotes, found a decimal number
/etc/hsm/config.toml:15:10: bad glob "system.slice/x": neither a path nor a name; begin it with a slash, as in /system.slice/*.service, or write a unit's name alone
/etc/hsm/config.toml:17:9: guard rule "a" recalls, so nobody sees its errno; remove errno, or write action = "deny"
/etc/hsm/config.toml:19:8: guard rule "a" is already defined at /etc/hsm/config.toml:12:8; rename or remove one of the two
/etc/hsm/config.toml:21:10: unknown action "forbid"; write one of recall, deny
/etc/hsm/config.toml:22:9: unknown errno "ENOSPC"; write one of EPERM, EIO, EAGAIN, EBUSY
/etc/hsm/config.toml:23:1: guard rule 3 has no "action"; add action = "deny"
/etc/hsm/config.toml:25:1: unknown key "program" in guard rule 3; known keys: name, preset, exe, cgroup, user, action, errno
/etc/hsm/config.toml:26:1: guard rule "nobody" does not say whom it is for; add preset, exe, cgroup or user; user = "*" is everybody
/etc/hsm/config.toml:30:7: unknown per "group"; write one of user, program, process
/etc/hsm/config.toml:31:18: a budget of nothing; write a size, or a rule with action = "deny"
/etc/hsm/config.toml:32:18: 0 is out of range; write a number from 1 on
/etc/hsm/config.toml:33:9: unknown errno "EPERM"; write one of EAGAIN, EBUSY
"#);
    let long = format!("[guard]\nrun_dir = \"/{}\"\nrule = 3\nbudget = {{}}\n", "x".repeat(97));
    insta::assert_snapshot!(problems(&(SMALL.to_owned() + &long)), @r#"
/etc/hsm/config.toml:6:11: the path of a socket in /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx is too long; a socket's path has at most 107 bytes; write a shorter one, such as /run/hsm
/etc/hsm/config.toml:7:8: rule must be a list of tables, found a whole number; write [[guard.rule]]
/etc/hsm/config.toml:8:10: [guard.budget] has no "per"; add per = "user"
/etc/hsm/config.toml:8:10: [guard.budget] has no amount; add bytes_per_hour = "100GiB" or files_per_hour = 1000
"#);
}

#[test]
fn metrics_are_told_on_this_machine_only() {
    let read = |at: &str| {
        let text = format!("{SMALL}[guard]\nmetrics = {at:?}\n");
        match Config::parse("c.toml", &text) {
            Ok(config) => Ok(config.guard.metrics.expect("a place").to_string()),
            Err(problems) => Err(problems[0].to_string()),
        }
    };
    for good in ["127.0.0.1:9123", "127.8.8.8:1", "[::1]:65535", "unix:/run/hsm/metrics.sock"] {
        assert_eq!(read(good).as_deref(), Ok(good));
    }
    for (bad, why) in [
        ("0.0.0.0:9123", "only the loopback"),
        ("192.168.1.1:9123", "only the loopback"),
        ("127.0.0.1:0", "a port from 1"),
        ("127.0.0.1", "neither a Unix socket"),
        ("localhost:9123", "neither a Unix socket"),
        ("unix:metrics.sock", "absolute"),
        ("unix:/run/hsm/", "names no socket"),
        ("unix:/run/hsm/guard.sock", "the guard's own"),
        ("unix:/srv/a/metrics.sock", "lies inside the root"),
    ] {
        let error = read(bad).expect_err(bad);
        assert!(error.contains(why), "{bad}: {error}");
    }
    let long = format!("unix:/{}", "x".repeat(90));
    assert!(read(&long).expect_err("too long").contains("at most 107 bytes"));
}

#[test]
fn a_preset_is_the_rules_that_it_stands_for() {
    let read = |text: &str| Config::parse("c.toml", &(SMALL.to_owned() + text));
    let text = "[[guard.rule]]\npreset = [\"restic\", \"borg\"]\nuser = \"root\"\naction = \"deny\"\n\
                [[guard.rule]]\nname = \"copies\"\npreset = \"rsync\"\naction = \"deny\"\nerrno = \"EIO\"\n\
                [[guard.rule]]\npreset = \"clamd\"\naction = \"recall\"\n";
    let rules = read(text).expect("good").guard.rules;
    let told: Vec<_> = rules
        .iter()
        .map(|rule| (rule.name.as_str(), rule.preset, rule.exe.first().map(String::as_str)))
        .collect();
    assert_eq!(
        told,
        [
            ("restic, borg", Some("restic"), Some("restic")),
            ("restic, borg", Some("borg"), Some("borg")),
            ("restic, borg", Some("borg"), None),
            ("copies", Some("rsync"), Some("rsync")),
            ("clamd", Some("clamd"), Some("clamd")),
            ("clamd", Some("clamd"), None),
        ]
    );
    assert!(rules[..3].iter().all(|rule| rule.user == [GuardUser::Name("root".into())]));
    assert_eq!(rules[0].action, GuardAction::Deny(DenyErrno::Ebusy), "that of the preset");
    assert_eq!(rules[3].action, GuardAction::Deny(DenyErrno::Eio), "that of the rule");
    assert_eq!(rules[3].cgroup, ["/system.slice/**"]);
    assert_eq!(rules[4].action, GuardAction::Recall);
    let bad = SMALL.to_owned()
        + "[[guard.rule]]\npreset = \"restik\"\nexe = \"x\"\ncgroup = \"y\"\naction = \"deny\"\n\
           [[guard.rule]]\npreset = []\naction = \"deny\"\n";
    insta::assert_snapshot!(problems(&bad), @r#"
/etc/hsm/config.toml:6:10: unknown preset "restik"; did you mean "restic"?
/etc/hsm/config.toml:7:7: exe beside a preset: it would say twice which program is meant; remove one of the two, or write a rule of its own with exe
/etc/hsm/config.toml:8:10: cgroup beside a preset: it would say twice which program is meant; remove one of the two, or write a rule of its own with cgroup
/etc/hsm/config.toml:11:10: an empty list; write at least one value or remove the key
"#);
}

//! Who is denied, by which rule; and the budget against a naive model.

use super::*;
use crate::config::Config;
use proptest::prelude::*;

const MINUTE: i64 = MINUTE_NS;

fn admission(guard: &str) -> Admission {
    let config = format!(
        "roots = \"/srv\"\nstate_dir = \"/var/lib/hsm\"\n[store]\nurl = \"s3://b\"\n{guard}"
    );
    let config = Config::parse("c.toml", &config).unwrap_or_else(|why| panic!("{why:#?}"));
    let uid_of = |name: &str| match name {
        "root" => Some(0),
        "backup" => Some(34),
        _ => None,
    };
    Admission::new(&config.guard, &uid_of).expect("a good section")
}

fn who<'a>(uid: u32, exe: &'a str, cgroup: &'a str) -> Who<'a> {
    let known = |text: &'a str| (!text.is_empty()).then_some(text);
    Who { pid: 4711, uid, exe: known(exe).map(Path::new), cgroup: known(cgroup) }
}

fn user(uid: u32) -> Who<'static> {
    Who { pid: 1, uid, exe: None, cgroup: None }
}

fn denied(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Deny { .. })
}

#[test]
fn the_first_rule_that_matches_decides() {
    let mut admission = admission(
        r#"
[[guard.rule]]
name = "root's rsync"
exe = "/usr/bin/rsync"
user = 0
action = "recall"
[[guard.rule]]
name = "programs"
exe = ["/usr/bin/rsync", "tracker-*", "/opt/**/bin/*"]
action = "deny"
errno = "EBUSY"
[[guard.rule]]
name = "services"
cgroup = ["clamav-daemon.service", "/system.slice/docker-*.scope"]
action = "deny"
errno = "EIO"
[[guard.rule]]
name = "backup's shells"
exe = "/bin/*sh"
user = "backup"
action = "deny"
"#,
    );
    let table = [
        (who(0, "/usr/bin/rsync", ""), None),
        (who(1, "/usr/bin/rsync", ""), Some((libc::EBUSY, "programs"))),
        (who(1, "/usr/bin/rsync (deleted)", ""), Some((libc::EBUSY, "programs"))),
        (who(1, "/usr/local/bin/rsync", ""), None),
        (who(1, "/usr/libexec/tracker-miner-fs-3", ""), Some((libc::EBUSY, "programs"))),
        (who(1, "/opt/a/b/bin/x", ""), Some((libc::EBUSY, "programs"))),
        (who(1, "/opt/a/b/lib/x", ""), None),
        (who(1, "", "/system.slice/clamav-daemon.service"), Some((libc::EIO, "services"))),
        (who(1, "", "/system.slice/clamav-daemon.service/sub/a"), Some((libc::EIO, "services"))),
        (who(1, "", "/system.slice/my-clamav-daemon.service"), None),
        (who(1, "", "/system.slice/docker-12ab.scope"), Some((libc::EIO, "services"))),
        (who(1, "", "/system.slice/docker-12ab.scope/init"), Some((libc::EIO, "services"))),
        (who(1, "", "/user.slice/system.slice/docker-1.scope"), None),
        (who(34, "/bin/bash", ""), Some((libc::EPERM, "backup's shells"))),
        (who(35, "/bin/bash", ""), None),
        (who(34, "", ""), None),
    ];
    for (who, want) in table {
        let want = match want {
            None => Verdict::Recall,
            Some((errno, rule)) => Verdict::Deny { errno, why: format!("guard rule {rule:?}") },
        };
        assert_eq!(admission.decide(&who, 1, 0), want, "{who:?}");
    }
}

#[test]
fn a_last_rule_for_everybody_turns_the_list_around() {
    let mut admission = admission(
        r#"
[[guard.rule]]
name = "smbd"
exe = "/usr/sbin/smbd"
action = "recall"
[[guard.rule]]
name = "nobody else"
user = "*"
action = "deny"
"#,
    );
    assert_eq!(admission.decide(&who(1000, "/usr/sbin/smbd", ""), 1, 0), Verdict::Recall);
    assert!(denied(&admission.decide(&who(1000, "/usr/bin/cat", ""), 1, 0)));
    assert!(denied(&admission.decide(&user(0), 1, 0)), "also who cannot be told");
}

#[test]
fn a_name_that_is_no_user_is_refused() {
    let text = "roots = []\nstate_dir = \"/s\"\n[store]\nurl = \"s3://b\"\n\
                [[guard.rule]]\nname = \"x\"\nuser = \"ann\"\naction = \"deny\"\n";
    let config = Config::parse("c.toml", text).expect("a good config");
    let error = Admission::new(&config.guard, &|_| None).expect_err("ann is unknown");
    let want = "guard rule \"x\" names the user \"ann\", whom this machine does not have";
    assert_eq!(error.to_string(), want);
}

/// Each block of the document that configures a guard, as it stands there.
fn documented() -> Vec<Admission> {
    let text = include_str!("../../../docs/GUARD.md");
    let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(admission).collect()
}

#[test]
fn the_presets_of_the_document_keep_out_whom_they_name() {
    let mut presets = documented();
    assert!(presets.len() >= 7, "{}", presets.len());
    let mut some_only = presets.remove(1);
    let mut keep_out =
        |who: &Who<'_>| presets.iter_mut().any(|rules| denied(&rules.decide(who, 1, 0)));
    for exe in [
        "/usr/bin/restic",
        "/usr/bin/updatedb.plocate",
        "/usr/libexec/tracker-miner-fs-3",
        "/usr/libexec/localsearch-3",
        "/usr/bin/baloo_file_extractor",
        "/usr/lib/x86_64-linux-gnu/tumbler-1/tumblerd",
        "/usr/bin/evince-thumbnailer",
        "/usr/bin/clamdscan",
    ] {
        assert!(keep_out(&who(1000, exe, "/user.slice/a")), "{exe}");
    }
    for unit in
        ["clamav-daemon.service", "system-clamd.slice/clamd@scan.service", "borgmatic.service"]
    {
        let group = format!("/system.slice/{unit}");
        assert!(keep_out(&who(0, "/usr/bin/python3.11", &group)), "{unit}");
    }
    assert!(keep_out(&who(0, "/usr/bin/rsync", "/system.slice/nightly.service")));
    for exe in ["/usr/bin/rsync", "/usr/sbin/smbd", "/usr/bin/cat"] {
        assert!(!keep_out(&who(1000, exe, "/user.slice/user-1000.slice/session-1.scope")), "{exe}");
    }
    assert_eq!(some_only.decide(&who(1000, "/usr/sbin/smbd", ""), 1, 0), Verdict::Recall);
    assert_eq!(some_only.decide(&who(0, "/usr/bin/tar", ""), 1, 0), Verdict::Recall);
    assert!(denied(&some_only.decide(&who(1000, "/usr/bin/tar", ""), 1, 0)));
}

const BY_USER: &str = "[guard.budget]\nper = \"user\"\nbytes_per_hour = 100\nfiles_per_hour = 3\n\
                       except_users = [0]\nexcept_programs = \"/usr/bin/rsync\"\n";

#[test]
fn a_budget_is_spent_by_its_owner_and_comes_back_after_an_hour() {
    let mut admission = admission(BY_USER);
    assert_eq!(admission.decide(&user(1), 60, 0), Verdict::Recall);
    let why = "the hourly budget of user 1 is spent: 1 files of 60 B; 50 B fit again in 61 min";
    let want = Verdict::Deny { errno: libc::EAGAIN, why: why.to_owned() };
    assert_eq!(admission.decide(&user(1), 50, MINUTE / 2), want);
    assert_eq!(admission.decide(&user(1), 40, MINUTE), Verdict::Recall, "what still fits");
    assert_eq!(admission.decide(&user(2), 50, MINUTE), Verdict::Recall, "another's is untouched");
    assert_eq!(admission.decide(&user(0), 5000, MINUTE), Verdict::Recall, "excepted");
    let rsync = who(1, "/usr/bin/rsync", "");
    assert_eq!(admission.decide(&rsync, 5000, MINUTE), Verdict::Recall, "excepted");
    assert!(denied(&admission.decide(&user(1), 60, 61 * MINUTE - 1)));
    assert_eq!(admission.decide(&user(1), 60, 61 * MINUTE), Verdict::Recall);
}

#[test]
fn files_are_counted_and_a_failed_recall_is_given_back() {
    let mut admission = admission(BY_USER);
    for _ in 0..3 {
        assert_eq!(admission.decide(&user(1), 1, 0), Verdict::Recall);
    }
    assert!(denied(&admission.decide(&user(1), 1, 0)));
    admission.refund(&user(1), 1);
    assert_eq!(admission.decide(&user(1), 98, 0), Verdict::Recall);
    assert!(denied(&admission.decide(&user(1), 0, 0)));
    admission.refund(&user(7), 1);
}

#[test]
fn a_file_larger_than_the_budget_takes_all_of_an_untouched_one() {
    let mut admission = admission(BY_USER);
    assert_eq!(admission.decide(&user(1), 5000, 0), Verdict::Recall);
    assert!(denied(&admission.decide(&user(1), 1, MINUTE)));
    assert_eq!(admission.decide(&user(2), 1, 0), Verdict::Recall);
    assert!(denied(&admission.decide(&user(2), 5000, MINUTE)));
    assert_eq!(admission.decide(&user(2), u64::MAX, 62 * MINUTE), Verdict::Recall);
    assert!(denied(&admission.decide(&user(2), u64::MAX, 62 * MINUTE)));
}

#[test]
fn processes_and_programs_have_budgets_of_their_own() {
    let each = |per: &str| {
        admission(&format!(
            "[guard.budget]\nper = \"{per}\"\nfiles_per_hour = 1\nerrno = \"EBUSY\""
        ))
    };
    let mut by_process = each("process");
    let process = |pid| Who { pid, uid: 5, exe: Some(Path::new("/bin/cat")), cgroup: None };
    assert_eq!(by_process.decide(&process(1), 1, 0), Verdict::Recall);
    assert_eq!(by_process.decide(&process(2), 1, 0), Verdict::Recall);
    assert!(denied(&by_process.decide(&process(1), 1, 0)));
    let mut by_program = each("program");
    assert_eq!(by_program.decide(&who(1, "/bin/cat", ""), 1, 0), Verdict::Recall);
    assert_eq!(by_program.decide(&who(1, "/bin/tac", ""), 1, 0), Verdict::Recall);
    match by_program.decide(&who(2, "/bin/cat (deleted)", ""), 1, 0) {
        Verdict::Deny { errno, why } => {
            assert_eq!(errno, libc::EBUSY);
            assert!(why.starts_with("the hourly budget of program /bin/cat is spent"), "{why}");
        }
        Verdict::Recall => panic!("the same program"),
    }
    assert_eq!(by_program.decide(&user(1), 1, 0), Verdict::Recall);
    assert!(denied(&by_program.decide(&user(2), 1, 0)), "all that cannot be told are one");
}

#[test]
fn of_too_many_the_one_that_spent_least_is_forgotten() {
    let mut admission = admission("[guard.budget]\nper = \"process\"\nfiles_per_hour = 2\n");
    let process = |pid| Who { pid, ..user(1) };
    for pid in [0].into_iter().chain(0..=10_500) {
        assert_eq!(admission.decide(&process(pid), 1, 0), Verdict::Recall, "{pid}");
    }
    let spent = |admission: &Admission| admission.budget.as_ref().expect("set").spent.len();
    assert_eq!(spent(&admission), MOST_KEYS);
    assert!(denied(&admission.decide(&process(0), 1, 0)), "it has spent most");
    assert_eq!(admission.decide(&process(30_000), 1, 61 * MINUTE), Verdict::Recall);
    assert_eq!(spent(&admission), 1, "the expired are forgotten first");
}

#[test]
fn a_clock_that_is_set_back_neither_refills_nor_freezes_the_budget() {
    let mut admission = admission(BY_USER);
    let noon = 1000 * MINUTE;
    assert_eq!(admission.decide(&user(1), 100, noon), Verdict::Recall);
    assert!(denied(&admission.decide(&user(1), 1, noon - 30 * MINUTE)));
    assert_eq!(admission.decide(&user(1), 1, noon - 100 * MINUTE), Verdict::Recall);
    for extreme in [i64::MIN, i64::MAX, 0] {
        admission.decide(&user(1), 1, extreme);
    }
}

/// What the budget should do, without buckets: every recall as it was.
#[derive(Default)]
struct Naive {
    recalls: Vec<(u32, i64, u64)>,
    minute: i64,
}

impl Naive {
    fn decide(&mut self, uid: u32, bytes: u64, now_ns: i64, most: (u64, u64)) -> bool {
        self.minute = self.minute.max(now_ns.div_euclid(MINUTE_NS));
        let counts = |recall: &&(u32, i64, u64)| recall.0 == uid && recall.1 >= self.minute - 60;
        let spent: Vec<_> = self.recalls.iter().filter(counts).collect();
        let sum: u64 = spent.iter().map(|recall| recall.2).sum();
        let fits = sum + bytes <= most.0 && (spent.len() as u64) < most.1;
        let admitted = spent.is_empty() || fits;
        if admitted {
            self.recalls.push((uid, self.minute, bytes));
        }
        admitted
    }

    /// The user's latest recall, as if it had failed.
    fn refund(&mut self, uid: u32) -> Option<u64> {
        let at = self.recalls.iter().rposition(|recall| recall.0 == uid)?;
        Some(self.recalls.remove(at).2)
    }
}

proptest! {
    #[test]
    fn the_budget_does_what_the_naive_one_does(
        most in (1u64..300, 1u64..12),
        steps in prop::collection::vec((0u32..3, 0u64..150, -90i64..900, 0u8..8), 1..200),
    ) {
        let (bytes_per_hour, files_per_hour) = most;
        let mut admission = admission(&format!(
            "[guard.budget]\nper = \"user\"\nbytes_per_hour = {bytes_per_hour}\nfiles_per_hour = {files_per_hour}\n"
        ));
        let (mut naive, mut now_ns) = (Naive::default(), 1_000_000 * MINUTE);
        for (uid, bytes, seconds, what) in steps {
            now_ns += seconds * 1_000_000_000;
            if what == 0 {
                if let Some(bytes) = naive.refund(uid) {
                    admission.refund(&user(uid), bytes);
                }
            } else {
                let admitted = !denied(&admission.decide(&user(uid), bytes, now_ns));
                prop_assert_eq!(admitted, naive.decide(uid, bytes, now_ns, most));
            }
        }
    }

    /// The promise itself, in nanoseconds: no hour holds more than the budget,
    /// unless it is one file that began on an untouched budget.
    #[test]
    fn no_hour_holds_more_than_the_budget(
        steps in prop::collection::vec((0u64..150, 0i64..900_000_000_000), 1..150),
    ) {
        let mut admission = admission("[guard.budget]\nper = \"user\"\nbytes_per_hour = 100\n");
        let (mut admitted, mut now_ns): (Vec<(i64, u64)>, i64) = (Vec::new(), 12_345);
        for (bytes, wait_ns) in steps {
            now_ns += wait_ns;
            if !denied(&admission.decide(&user(1), bytes, now_ns)) {
                admitted.push((now_ns, bytes));
                let hour = admitted.iter().filter(|(at, _)| *at >= now_ns - 60 * MINUTE);
                let hour: Vec<u64> = hour.map(|(_, bytes)| *bytes).collect();
                prop_assert!(hour.iter().sum::<u64>() <= 100 || hour.len() == 1, "{:?}", hour);
            }
        }
    }
}

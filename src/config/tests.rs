//! Configurations, good and bad, and the messages about the bad ones.

use super::*;
use crate::classes::{Prices, Thaw, Tier};
use std::path::Path;
use std::time::Duration;

fn problems(text: &str) -> String {
    match Config::parse("/etc/hsm/config.toml", text) {
        Ok(_) => "no problem".to_owned(),
        Err(problems) => problems.iter().map(|problem| format!("{problem}\n")).collect(),
    }
}

const SMALL: &str =
    "roots = [\"/srv/a/\"]\nstate_dir = \"/var/lib/hsm\"\n[store]\nurl = \"s3://b/p\"\n";

#[test]
fn a_small_config_has_sensible_defaults() {
    let config = Config::parse("/etc/hsm/config.toml", SMALL).expect("a good config");
    assert_eq!(config.roots, [Path::new("/srv/a")]);
    assert_eq!(config.policy_dir, Path::new("/etc/hsm/policies.d"));
    assert_eq!(config.store.checksums, Checksums::Always);
    assert_eq!((config.store.bandwidth, config.store.path_style), (None, false));
    assert_eq!(config.chunking.size_bytes, 4 << 20);
    assert_eq!((config.upload.threads, config.upload.memory_bytes), (None, 256 << 20));
    assert_eq!(config.encryption, None);
    assert!(config.store.dedup_across_nodes);
    assert_eq!(config.gc, GcSection::default());
    assert_eq!(config.samba.offline, OfflineBit::Auto);
    let guard = GuardSection {
        run_dir: "/run/hsm".into(),
        first_byte: Duration::from_secs(30),
        idle: Duration::from_secs(60),
        workers: 4,
        metrics: None,
        rules: Vec::new(),
        budget: None,
    };
    assert_eq!(config.guard, guard);
    assert_eq!(config.guard.socket(), Path::new("/run/hsm/guard.sock"));
    let elsewhere = SMALL.replace("/var/lib/hsm", "/state");
    let config = Config::parse("c.toml", &elsewhere).expect("a good config");
    assert_eq!(config.guard.run_dir, Path::new("/state/run"));
}

#[test]
fn every_key_is_read() {
    let text = r#"
roots = ["/srv/a", "/srv/ab"]
state_dir = "/state"
policy_dir = "/pol"
[store]
url = "file:///backup/store"
endpoint = "http://localhost:9000"
region = "garage"
path_style = true
storage_class = "GLACIER_IR"
sse = "aws:kms:alias/x"
checksums = "when-required"
bandwidth = "10MiB/s"
concurrency = 8
dedup_across_nodes = false
profile = "cold"
[second_store]
url = "s3://other/hsm"
region = "elsewhere"
profile = "other"
[encryption]
key_file = "/etc/hsm/key"
[chunking]
size = "1MiB"
[upload]
threads = 3
memory = "128MiB"
[gc]
grace = "2weeks"
backup_retention = "1y"
settle = "0s"
min_age = "1h"
max_share = "12.5%"
repack_below = "0%"
repack_cold = true
only_here = true
[samba]
offline = "always"
[cold]
tier = "Bulk"
days = 7
errno = "EBUSY"
[prices.GLACIER]
gib_month = 0.004
[prices.COLDLINE]
put_per_1000 = 1
gib_month = 0.002
"#;
    let config = Config::parse("c.toml", text).expect("a good config");
    let want = Config {
        store: StoreSection {
            url: "file:///backup/store".into(),
            endpoint: Some("http://localhost:9000".into()),
            region: Some("garage".into()),
            path_style: true,
            storage_class: Some("GLACIER_IR".into()),
            sse: Some("aws:kms:alias/x".into()),
            checksums: Checksums::WhenRequired,
            bandwidth: Some(10 << 20),
            concurrency: Some(8),
            dedup_across_nodes: false,
            profile: Some("cold".into()),
        },
        second_store: Some(StoreSection {
            url: "s3://other/hsm".into(),
            endpoint: None,
            region: Some("elsewhere".into()),
            path_style: false,
            storage_class: None,
            sse: None,
            checksums: Checksums::Always,
            bandwidth: None,
            concurrency: None,
            dedup_across_nodes: true,
            profile: Some("other".into()),
        }),
        state_dir: "/state".into(),
        roots: vec!["/srv/a".into(), "/srv/ab".into()],
        encryption: Some(EncryptionSection { key_file: "/etc/hsm/key".into() }),
        chunking: ChunkingSection { size_bytes: 1 << 20 },
        upload: UploadSection { threads: Some(3), memory_bytes: 128 << 20 },
        guard: GuardSection::of_state_dir(Path::new("/state")),
        samba: SambaSection { offline: OfflineBit::Always },
        gc: GcSection {
            grace: Duration::from_secs(14 * 86_400),
            backup_retention: Duration::from_secs(31_557_600),
            settle: Duration::ZERO,
            min_age: Duration::from_secs(3600),
            max_share_pct: 12.5,
            repack_below_pct: 0.0,
            repack_cold: true,
            only_here: true,
        },
        cold: ColdSection { thaw: Thaw { tier: Tier::Bulk, days: 7 }, errno: DenyErrno::Ebusy },
        prices: {
            let mut list = PriceList::default();
            let glacier = list.0.get_mut("GLACIER").expect("a listed class");
            glacier.gib_month = 0.004;
            let own = Prices { put_per_1000: 1.0, gib_month: 0.002, retrieval_gib: 0.0 };
            list.0.insert("COLDLINE".into(), own);
            list
        },
        policy_dir: "/pol".into(),
    };
    assert_eq!(config, want);
}

#[test]
fn the_grace_is_never_shorter_than_a_backup_is_kept() {
    let grace = |gc: &str| {
        let text = format!("{SMALL}[gc]\n{gc}\n");
        Config::parse("c.toml", &text).expect("a good config").gc.grace_in_force()
    };
    let days = |days: u64| Duration::from_secs(days * 86_400);
    assert_eq!(grace(""), days(30));
    assert_eq!(grace("grace = \"1d\""), days(1));
    assert_eq!(grace("grace = \"1d\"\nbackup_retention = \"20d\""), days(20));
    assert_eq!(grace("backup_retention = \"20d\""), days(30));
}

#[test]
fn every_mistake_about_gc_is_named_with_its_mend() {
    let text = SMALL.to_owned()
        + r#"dedup_across_nodes = "yes"
[gc]
grace = 30
backup_retention = "1M"
settle = true
min_age = "59m"
max_share = "130%"
repack_below = 40
repack_cold = "never"
max_shares = "1%"
"#;
    insta::assert_snapshot!(problems(&text), @r#"
/etc/hsm/config.toml:5:22: expected true or false, found a text; write true or false without quotes
/etc/hsm/config.toml:7:9: bad duration "30": no unit; write a number with a unit: 90d, 2m, 1h30m, 2weeks, 3months, 1y
/etc/hsm/config.toml:8:20: bad duration "1M": M could be minutes or months; write m or months; write a number with a unit: 90d, 2m, 1h30m, 2weeks, 3months, 1y
/etc/hsm/config.toml:9:10: expected a text in quotes, found true or false
/etc/hsm/config.toml:10:11: a min_age of 59 minutes is too short; write 1h or more: a running upload has objects that no log names yet
/etc/hsm/config.toml:11:13: bad percentage "130%": more than 100 %; write a number from 0 to 100 with a percent sign: 85%
/etc/hsm/config.toml:12:16: expected a text in quotes, found a whole number
/etc/hsm/config.toml:13:15: expected true or false, found a text; write true or false without quotes
/etc/hsm/config.toml:14:1: unknown key "max_shares" in [gc]; did you mean "max_share"?
"#);
    insta::assert_snapshot!(problems(&(SMALL.to_owned() + "[[gc]]\n")), @r#"
/etc/hsm/config.toml:5:1: [gc] must be a table, found a list
"#);
}

#[test]
fn a_second_store_is_another_place_outside_the_roots() {
    let on = |second: &str, what: &str| {
        let text = SMALL.replace("s3://b/p", "file:///stores/one") + "[second_store]\n" + second;
        let told = problems(&text);
        assert!(told.contains(what), "{second}: {told}");
    };
    on("url = \"file:///stores/one/\"\n", ":6:7: the second store is the first one");
    on("url = \"file:///stores/one/packs\"\n", "lies inside the other");
    on("url = \"file:///stores\"\n", "lies inside the other");
    on("url = \"file:///srv/a/two\"\n", "the second store /srv/a/two lies inside the root /srv/a");
    on("url = \"file:///srv\"\n", "the second store /srv contains the root /srv/a");
    on("url = \"file:///two\"\ndedup_across_nodes = true\n", "unknown key \"dedup_across_nodes\"");
    on("url = \"file:///two\"\nsecret_key = \"x\"\n", "in [second_store]: the config holds no");
    on("region = \"x\"\n", "[second_store] has no \"url\"");
    // One bucket's name at two servers is two places.
    let text = SMALL.to_owned() + "[second_store]\nurl = \"s3://b/p\"\nendpoint = \"http://x\"\n";
    assert!(Config::parse("c.toml", &text).is_ok());
}

#[test]
fn all_problems_come_at_once() {
    let text = r#"
roots = ["/srv/a", "/srv/a/b", "srv", "~/x", "/srv", "/", "/x/../y", "/srv/a"]
statedir = "/var/lib/hsm"
policy_dir = 3
[store]
url = "s4://b"
endpoint = "https://me:secret@host"
secret_key = "abc"
aws_access_key_id = "abc"
storage_clas = "STANDARD"
sse = "AES"
checksums = "when_required"
bandwidth = "0"
concurrency = 1000
[encryption]
keyfile = "/k"
[chunking]
size = "1KiB"
[upload]
memory = "1MiB"
threads = 0
"#;
    insta::assert_snapshot!(problems(text), @r#"
/etc/hsm/config.toml:1:1: the file has no "state_dir"; add state_dir = "/var/lib/hsm"
/etc/hsm/config.toml:2:20: root /srv/a/b lies inside another root; remove one of the two
/etc/hsm/config.toml:2:32: bad path "srv": not absolute; begin it with a slash
/etc/hsm/config.toml:2:39: bad path "~/x": "~" is not expanded here; write the whole path, such as /home/ann/data
/etc/hsm/config.toml:2:46: root /srv contains the root /srv/a; remove one of the two
/etc/hsm/config.toml:2:54: "/" cannot be a root; name the directories that hold data
/etc/hsm/config.toml:2:59: bad path "/x/../y": it contains ".."; write the path that it leads to
/etc/hsm/config.toml:2:70: root /srv/a is listed twice; remove one of the two
/etc/hsm/config.toml:3:1: unknown key "statedir" in the file; did you mean "state_dir"?
/etc/hsm/config.toml:4:14: expected a text in quotes, found a whole number
/etc/hsm/config.toml:6:7: bad store url "s4://b": unknown scheme; write file:///absolute/directory, s3://bucket/prefix or swift://container/prefix
/etc/hsm/config.toml:7:12: the endpoint holds credentials, the config holds no secrets; write https://host[:port]
/etc/hsm/config.toml:8:1: "secret_key" in [store]: the config holds no secrets; use the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ST_KEY, OS_PASSWORD) or ~/.aws/credentials, and change the key that stood here
/etc/hsm/config.toml:9:1: "aws_access_key_id" in [store]: the config holds no secrets; use the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ST_KEY, OS_PASSWORD) or ~/.aws/credentials, and change the key that stood here
/etc/hsm/config.toml:10:1: unknown key "storage_clas" in [store]; did you mean "storage_class"?
/etc/hsm/config.toml:11:7: unknown server-side encryption "AES"; write "AES256", "aws:kms" or "aws:kms:<key id>"
/etc/hsm/config.toml:12:13: unknown checksums "when_required"; did you mean "when-required"?
/etc/hsm/config.toml:13:13: bad rate "0": zero would stop all traffic; write bytes per second: 500KiB, 10MiB/s, 12.5MB/s
/etc/hsm/config.toml:14:15: 1000 is out of range; write a number from 1 to 256
/etc/hsm/config.toml:15:1: [encryption] has no "key_file"; add key_file = "/etc/hsm/store.key"
/etc/hsm/config.toml:16:1: unknown key "keyfile" in [encryption]; did you mean "key_file"?
/etc/hsm/config.toml:18:8: a chunk of 1024 bytes is not possible; write an even number from 64KiB to 64MiB; 4MiB is the default
/etc/hsm/config.toml:20:10: 1048576 bytes of memory are too few; write 64MiB or more
/etc/hsm/config.toml:21:11: 0 is out of range; write a number from 1 to 1024
"#);
    insta::assert_snapshot!(problems(""), @r#"
/etc/hsm/config.toml:1:1: the file has no "roots"; add roots = "/srv/data"
/etc/hsm/config.toml:1:1: the file has no "state_dir"; add state_dir = "/var/lib/hsm"
/etc/hsm/config.toml:1:1: there is no [store]; add [store] with url = "s3://bucket/prefix"
"#);
    for (url, why) in [
        ("s3://", "no bucket"),
        ("swift:///prefix", "no bucket"),
        ("sftp://ann@files", "no directory"),
        ("webdav+https:///cold", "no host"),
        ("file://dir", "the directory is not absolute, it needs three slashes"),
        ("file:///", "\"/\" cannot be a store"),
        ("file:///a/../b", "it contains \"..\""),
    ] {
        let found = problems(&SMALL.replace("s3://b/p", url));
        assert!(found.contains(&format!("bad store url {url:?}: {why};")), "{found}");
    }
}

#[test]
fn nothing_that_hsm_needs_lies_inside_a_root() {
    let text = r#"
roots = ["/srv", "/media/a"]
state_dir = "/srv/hsm"
policy_dir = "/srvs/policies.d"
[store]
url = "file:///srv/store"
[encryption]
key_file = "/media/a/key"
"#;
    insta::assert_snapshot!(problems(text), @r#"
/etc/hsm/config.toml:3:13: the state directory /srv/hsm lies inside the root /srv; put it elsewhere: what is inside a root may become a stub
/etc/hsm/config.toml:6:7: the store /srv/store lies inside the root /srv; put it elsewhere: what is inside a root may become a stub
/etc/hsm/config.toml:8:12: the key file /media/a/key lies inside the root /media/a; put it elsewhere: what is inside a root may become a stub
"#);
    let around =
        text.replace("/srv/store", "/media").replace("/srv/hsm", "/h").replace("/a/key", "/k");
    insta::assert_snapshot!(problems(&around), @r#"
/etc/hsm/config.toml:6:7: the store /media contains the root /media/a; put the store elsewhere
"#);
}

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
fn a_secret_is_refused_and_never_repeated() {
    let text = SMALL.replace("s3://b/p", "s3://me:hush@b/p")
        + "endpoint = \"http://me:hush@host\"\npassword = \"hush\"\n";
    let found = problems(&text);
    assert_eq!(found.lines().count(), 3, "{found}");
    assert!(!found.contains("hush"), "{found}");
    assert_eq!(problems(&SMALL.replace("s3://b/p", "file:///b/a@b")), "no problem");
}

#[test]
fn the_template_reads_back_as_what_it_was_made_of() {
    let roots = ["/srv/a \"b\"".to_owned(), "/srv/ü\\x".to_owned()];
    let least = TemplateValues {
        roots: &roots[..1],
        state_dir: "/var/lib/hsm",
        policy_dir: "/etc/hsm/policies.d",
        store_url: "file:///backup/store",
        ..TemplateValues::default()
    };
    let config = Config::parse("c.toml", &Config::template(&least)).expect("it reads back");
    assert_eq!(config.roots, [Path::new(&roots[0])]);
    assert_eq!(config.store.url, "file:///backup/store");
    assert_eq!((config.encryption, config.store.endpoint), (None, None));

    let most = TemplateValues {
        roots: &roots,
        endpoint: Some("https://minio:9000"),
        region: Some("eu"),
        path_style: true,
        storage_class: Some("STANDARD_IA"),
        key_file: Some("/etc/hsm/key"),
        ..least.clone()
    };
    let text = Config::template(&most);
    let config = Config::parse("c.toml", &text).expect("it reads back");
    assert_eq!(config.roots.len(), 2);
    assert_eq!(config.store.endpoint.as_deref(), Some("https://minio:9000"));
    assert_eq!(config.store.region.as_deref(), Some("eu"));
    assert_eq!(config.store.storage_class.as_deref(), Some("STANDARD_IA"));
    assert!(config.store.path_style);
    assert_eq!(config.encryption, Some(EncryptionSection { key_file: "/etc/hsm/key".into() }));
    let empty = TemplateValues { roots: &[], ..least };
    let text = Config::template(&empty);
    let grown = add_root("c.toml", &text, "/srv/n").expect("a root is added");
    assert_eq!(Config::parse("c.toml", &grown).expect("it parses").roots, [Path::new("/srv/n")]);
    assert_eq!(grown.lines().count(), text.lines().count() + 1, "one line more, none lost");
}

#[test]
fn every_line_of_the_template_that_shows_a_value_is_a_value() {
    let values = TemplateValues {
        roots: &[],
        state_dir: "/s",
        policy_dir: "/p",
        store_url: "s3://b",
        ..TemplateValues::default()
    };
    let text = Config::template(&values);
    let shown = |line: &str| line.starts_with("# [") || line.contains(" = ") && !line.contains("`");
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(value) if shown(line) => format!("{value}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let config = Config::parse("c.toml", &uncommented).expect("every shown value is good");
    assert_eq!(config.store.concurrency, Some(8));
    assert_eq!(config.upload.threads, Some(4));
    assert!(config.store.dedup_across_nodes);
    assert_eq!(config.gc, GcSection::default(), "what is shown is what holds");
    assert_eq!(config.samba, SambaSection::default());
    assert!(uncommented.contains("\n[gc]\n") && uncommented.contains("\n[samba]\n"));
    assert!(config.encryption.is_some());
    let mut rules: Vec<&str> = config.guard.rules.iter().map(|rule| rule.name.as_str()).collect();
    rules.dedup();
    assert_eq!(rules, ["moves by hand", "indexers and scanners", "backups", "thumbnails"]);
    assert_eq!(config.guard.budget.expect("a budget").files_per_hour, Some(20_000));
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

//! `hsm status`: what it counts, what it expects, what it tells a scraper.

use super::exposition;
use crate::support::{EAGER_POLICY, Sandbox};
use hsm::os::RootDir;
use hsm::os::space::FreeSpace;
use hsm::state::{RunRow, StateDb, Usage};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, UNIX_EPOCH};

const MIB: usize = 1 << 20;
const SECOND_NS: i64 = 1_000_000_000;
const DAY_NS: i64 = 24 * 3600 * SECOND_NS;
/// 2026-01-31T14:00:00Z.
const NOW_NS: i64 = 1_769_868_000 * SECOND_NS;

fn records(sandbox: &Sandbox) -> Vec<Value> {
    let text = sandbox.hsm(["status", "--json"]).succeeds().stdout();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn root(sandbox: &Sandbox) -> Value {
    records(sandbox).swap_remove(0)
}

fn age(sandbox: &Sandbox, name: &str, days: u64) {
    let file = fs::File::options().write(true).open(sandbox.tree().join(name)).expect("a file");
    let now = UNIX_EPOCH + Duration::from_nanos(NOW_NS as u64);
    file.set_modified(now - Duration::from_secs(days * 86_400)).expect("a time");
}

#[test]
fn what_is_unprotected_kept_and_left_is_counted_by_reason() {
    let mut sandbox = Sandbox::new();
    sandbox.set_env("HSM_TEST_NOW", &NOW_NS.to_string());
    sandbox.policy(
        r#"
        unguarded = true
        [defaults]
        quiet = "0s"
        [[rule]]
        name = "scratch"
        include = "*.tmp"
        action = "ignore"
        [[rule]]
        name = "cold"
        include = "media/**"
        mtime_older = "90d"
        action = "tier"
        [[rule]]
        name = "copies"
        include = ["media/**", "papers/**"]
        action = "upload"
        "#,
    );
    let files = [
        ("media/cold", 100),
        ("media/pinned", 100),
        ("media/young", 10),
        ("papers/one", 200),
        ("x.tmp", 1),
        ("other", 1),
    ];
    for (name, days) in files {
        sandbox.write(name, &vec![1; MIB]);
        age(&sandbox, name, days);
    }
    sandbox.write("media/tiny", b"1");
    age(&sandbox, "media/tiny", 100);
    sandbox.on("pin", &[], &["media/pinned"]).succeeds();
    sandbox.hsm(["scan"]).succeeds();

    let before = root(&sandbox);
    assert_eq!(before["unprotected_files"], 5);
    assert_eq!(before["unprotected_bytes"], 4 * MIB + 1);
    assert_eq!(before["oldest_unprotected_ns"], NOW_NS - 200 * DAY_NS);
    // First seen now, and no earlier in danger here.
    assert_eq!(before["unprotected_since_ns"], NOW_NS);
    assert_eq!(before["left"], json!({ "rule-matches": { "files": 2, "size_bytes": 2 * MIB } }));

    sandbox.hsm(["upload"]).succeeds();
    let after = root(&sandbox);
    assert_eq!(after["unprotected_files"], 0);
    assert_eq!(after["oldest_unprotected_ns"], Value::Null);
    let kept: Vec<(&str, u64)> = after["kept"]
        .as_object()
        .expect("reasons")
        .iter()
        .map(|(why, amount)| (why.as_str(), amount["files"].as_u64().expect("a number")))
        .collect();
    assert_eq!(
        kept,
        [
            ("large-enough", 1),
            ("not-pinned", 1),
            ("old-enough", 1),
            ("ready", 1),
            ("rule-matches", 1)
        ]
    );
    let text = sandbox.hsm(["status"]).succeeds().stdout();
    assert!(text.contains("  uploaded    1 files (1 MiB), kept local: old-enough\n"), "{text}");
    assert!(text.contains("  left        2 files (2 MiB), not uploaded: rule-matches\n"), "{text}");

    sandbox.hsm(["stub"]).succeeds();
    let text = sandbox.hsm(["status"]).succeeds().stdout();
    assert!(text.contains("  week        2 runs in 7 days: 5 files uploaded ("), "{text}");
    assert!(text.contains("sent), 1 stubbed (1 MiB freed)\n"), "{text}");
    let week = &root(&sandbox)["last_7_days"];
    assert_eq!((&week["runs"], &week["freed_bytes"]), (&json!(2), &json!(MIB)));
    // What was changed is in danger since then, whatever it was before.
    sandbox.write("papers/one", b"changed");
    age(&sandbox, "papers/one", 3);
    sandbox.hsm(["scan"]).succeeds();
    assert_eq!(root(&sandbox)["oldest_unprotected_ns"], NOW_NS - 3 * DAY_NS);
}

#[test]
fn errors_of_the_last_runs_are_shown() {
    let sandbox = Sandbox::new();
    sandbox.write("a", &vec![1; MIB]);
    fs::rename(sandbox.store(), sandbox.path("away")).expect("renamed");
    sandbox.hsm(["tier"]).exits(1);
    fs::rename(sandbox.path("away"), sandbox.store()).expect("renamed");
    // The store answers until it is written to.
    let packs = sandbox.store().join("packs");
    fs::write(&packs, "no directory").expect("written");
    sandbox.hsm(["tier"]).exits(1);
    let text = sandbox.hsm(["status"]).succeeds().stdout();
    assert!(text.contains("1 runs ended in an error"), "{text}");
    let after = text.split("latest runs").nth(1).expect("runs");
    assert!(after.contains("exit 1") && after.contains("    put "), "{text}");
}

/// Enters runs with what was used before and after each, in MiB above what is
/// used now, at so many days before now.
fn remember(sandbox: &Sandbox, runs: &[(i64, i64, i64)]) -> FreeSpace {
    let mut state = StateDb::open(&sandbox.state_db()).expect("the state DB");
    let row = state.roots().expect("roots").remove(0);
    let space = FreeSpace::of(RootDir::open(&row.path).expect("the root")).expect("its space");
    let bytes = |mib: i64| space.used_bytes().saturating_add_signed(mib << 20);
    for (days, before, after) in runs {
        let at_ns = NOW_NS - days * DAY_NS;
        let usage = Usage {
            used_before_bytes: bytes(*before),
            used_after_bytes: bytes(*after),
            usable_bytes: space.usable_bytes,
        };
        let run = RunRow {
            command: "tier /a".to_owned(),
            root: Some(row.id),
            started_ns: at_ns,
            finished_ns: at_ns,
            outcome: "{}".to_owned(),
            usage: Some(usage),
        };
        state.record_run(&run).expect("recorded");
    }
    space
}

fn fixed() -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.set_env("HSM_TEST_NOW", &NOW_NS.to_string());
    sandbox
}

#[test]
fn a_forecast_needs_two_runs_and_a_day() {
    let sandbox = fixed();
    sandbox.hsm(["scan"]).succeeds();
    assert_eq!(root(&sandbox)["forecast"], Value::Null);
    remember(&sandbox, &[(2, 0, 0)]);
    let text = sandbox.hsm(["status"]).succeeds().stdout();
    assert!(text.contains("  forecast    not yet known\n"), "{text}");
    // Runs record what they see by themselves, too.
    sandbox.hsm(["tier"]).succeeds();
    let runs = records(&sandbox);
    let run = runs.iter().find(|record| record["type"] == "run").expect("a run");
    assert!(run["used_before_bytes"].as_u64().expect("a number") > 0, "{run}");
    assert!(root(&sandbox)["forecast"].is_object());
}

/// An alert on a timer that died must not fall silent after a month.
#[test]
fn a_run_of_long_ago_is_still_the_last_one() {
    let sandbox = fixed();
    sandbox.hsm(["scan"]).succeeds();
    remember(&sandbox, &[(300, 0, 0), (200, 0, 0)]);
    let text = sandbox.hsm(["status", "--metrics", "-"]).succeeds().stdout();
    let line = text.lines().find(|line| line.starts_with("hsm_root_last_run_timestamp_seconds{"));
    let seconds = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    let want = (NOW_NS - 200 * DAY_NS) as f64 / 1e9;
    assert!(seconds.is_some_and(|seconds| (seconds - want).abs() < 1.0), "{want}\n{text}");
}

#[test]
fn what_runs_freed_is_no_growth() {
    let sandbox = fixed();
    sandbox.policy(&format!("{EAGER_POLICY}\n[watermark]\nhigh = \"99.8%\"\nlow = \"99.7%\"\n"));
    // A thousand MiB a day, half of which each run frees. What is used now moves
    // while other tests run, by some MiB.
    let space = remember(&sandbox, &[(30, -9000, -9000), (4, -2000, -2500), (2, -500, -2000)]);
    let found = root(&sandbox);
    let forecast = &found["forecast"];
    let per_day = forecast["growth_bytes_per_day"].as_f64().expect("a number");
    let grown_mib = (-2000 + 9000) + (-500 + 2500) + 2000;
    let want = f64::from(grown_mib) / 30.0 * MIB as f64;
    assert!((per_day / want - 1.0).abs() < 0.2, "{per_day} {want}");
    let levels = forecast["levels"].as_array().expect("levels");
    let names: Vec<_> = levels.iter().map(|level| level["level"].as_str().expect("text")).collect();
    assert_eq!(names, ["low", "high", "full"]);
    let full_ns = levels[2]["at_ns"].as_i64().expect("a time");
    let days = (full_ns - NOW_NS) as f64 / DAY_NS as f64;
    let want_days = space.available_bytes as f64 / want;
    assert!((days / want_days - 1.0).abs() < 0.3, "{days} {want_days}");
    assert!(levels[0]["at_ns"].as_i64().expect("a time") < full_ns);
    let text = sandbox.hsm(["status"]).succeeds().stdout();
    assert!(text.contains("  forecast    grows ") && text.contains("full in "), "{text}");
    assert!(text.contains("(watermark 99.8% to 99.7%)"), "{text}");
}

#[test]
fn a_scraper_reads_what_people_see() {
    let sandbox = Sandbox::empty();
    let odd = sandbox.path("odd \"root\"\\ü");
    fs::create_dir(&odd).expect("a directory");
    let url = sandbox.store_url();
    sandbox.init_with(&["--store", &url, odd.to_str().expect("UTF-8")]);
    for name in ["a", "b"] {
        sandbox.write(name, &vec![1; MIB]);
    }
    sandbox.hsm(["tier"]).succeeds();
    sandbox.write("c", b"new");
    sandbox.policy(&EAGER_POLICY.replace(r#"quiet = "0s""#, ""));
    sandbox.hsm(["scan"]).succeeds();
    let file = sandbox.path("hsm.prom");
    fs::write(&file, "what was there before\n").expect("written");
    let file_text = file.to_str().expect("UTF-8");
    let ran = sandbox.hsm(["status", "--metrics", file_text]).succeeds();
    assert_eq!(ran.stdout(), "");
    let text = fs::read_to_string(&file).expect("the metrics");
    let samples = exposition::read(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    exposition::are_in_the_manual(&samples);
    let tree = sandbox.tree().canonicalize().expect("it exists");
    let at = |name: &str, more: &str| {
        let key = format!("{name}{{{more}root={:?}}}", tree.to_str().expect("UTF-8"));
        // Labels in the order of their names: only `state` comes behind.
        let behind = format!("{name}{{root={:?},{more}", tree.to_str().expect("UTF-8"));
        let behind = behind.trim_end_matches(',').to_owned() + "}";
        *samples.get(&key).or(samples.get(&behind)).unwrap_or_else(|| panic!("{key}\n{text}"))
    };
    assert_eq!(at("hsm_root_files", "state=\"stub\","), 2.0);
    assert_eq!(at("hsm_root_size_bytes", "state=\"stub\","), 2.0 * MIB as f64);
    assert_eq!(at("hsm_root_files", "state=\"resident\","), 1.0);
    assert_eq!(at("hsm_root_files", "state=\"damaged\","), 0.0);
    assert_eq!(at("hsm_root_unprotected_files", ""), 0.0);
    assert_eq!(at("hsm_root_left_files", "reason=\"quiet\","), 1.0);
    assert_eq!(at("hsm_root_present", ""), 1.0);
    assert_eq!(at("hsm_root_last_run_stubbed_files", ""), 2.0);
    assert_eq!(at("hsm_root_last_run_exit_code", ""), 0.0);
    assert!((0.0..=1.0).contains(&at("hsm_root_used_ratio", "")));
    assert!(at("hsm_root_last_complete_scan_timestamp_seconds", "") > 1.7e9);
    assert!(text.contains("odd \\\"root\\\"\\\\\\\\ü"), "{text}");
    let mode = fs::metadata(&file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let beside: Vec<_> = fs::read_dir(sandbox.path("")).expect("read").collect();
    let left =
        beside.iter().flatten().filter(|e| e.file_name().to_string_lossy().contains("metrics"));
    assert_eq!(left.count(), 0, "no temporary file stays");
    // The same on standard output; where there is no directory there is no file.
    let shown = sandbox.hsm(["status", "--metrics", "-"]).succeeds().stdout();
    exposition::read(&shown).expect("an exposition");
    sandbox
        .hsm(["status", "--metrics", "/nowhere/x.prom"])
        .exits(1)
        .complains(&["cannot make a file in /nowhere"]);
}

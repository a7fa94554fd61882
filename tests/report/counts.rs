//! What the page adds up is what a plan with its policy counts.

use crate::browser::{self, Browser};
use crate::support::{Sandbox, skip};
use serde_json::{Value, json};
use std::fs::{self, FileTimes};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

/// 2026-01-31T14:00:00Z.
pub const NOW_S: u64 = 1_769_868_000;
const DAY: Duration = Duration::from_secs(86_400);
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const POLICY: &str = r#"
unguarded = true
exclude = ["hidden/"]
pin = "kept/*"

[defaults]
min_stub_size = "0"
quiet = "0s"
min_age_after_recall = "0s"

[class.film]
include = "*.mkv"

[class."small \"things\""]
max_size = "64KiB"

[class.linked]
class = "film"
nlink_max = 5

[[rule]]
name = "programs"
mode_any = "executable"
action = "ignore"

[[rule]]
name = "old"
idle = "1y"
action = "tier"

[[rule]]
name = "asked for"
file_name = "keep*"
action = "upload"

[[rule]]
name = "workbench"
class = "film"
action = "tier"

[[rule]]
name = "the rest"
action = "upload"

[[retention]]
name = "all"
keep_versions = 3
"#;

/// So long before now neither read nor written; to the nanosecond.
pub fn idle(sandbox: &Sandbox, name: &str, age: Duration) {
    let then = UNIX_EPOCH + Duration::from_secs(NOW_S) - age;
    let file = fs::File::options().write(true).open(sandbox.tree().join(name)).expect("a file");
    file.set_times(FileTimes::new().set_accessed(then).set_modified(then)).expect("times");
}

/// A tree with files at borders, one byte and one nanosecond beside them, and of every
/// kind that a plan leaves alone.
fn planted() -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.set_env("HSM_TEST_NOW", &format!("{NOW_S}000000000"));
    sandbox.policy(POLICY);
    let sizes = [1, 4 * KIB, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB - 1, MIB, 4 * MIB];
    for (number, size) in sizes.iter().enumerate() {
        for (at, days) in [0_u32, 1, 7, 30, 90, 365].iter().enumerate() {
            if *size >= MIB && at % 2 == 1 {
                continue;
            }
            let end = ["mkv", "txt", "tar.gz"][(number + at) % 3];
            for (beside, off) in [Duration::ZERO, Duration::from_nanos(1)].iter().enumerate() {
                let name = format!("dir{at}/s{number} b{beside}.{end}");
                sandbox.write(&name, &vec![7; *size]);
                idle(&sandbox, &name, (DAY * *days).saturating_sub(*off));
            }
        }
    }
    for name in ["hidden/a.mkv", "kept/b.mkv", "keep c.mkv", "tool.mkv", "two.mkv", "by hand.mkv"] {
        sandbox.write(name, &vec![1; MIB]);
        idle(&sandbox, name, DAY * 400);
    }
    let tree = sandbox.tree();
    fs::set_permissions(tree.join("tool.mkv"), fs::Permissions::from_mode(0o755)).expect("mode");
    fs::hard_link(tree.join("two.mkv"), tree.join("other name.mkv")).expect("a link");
    sandbox.write("empty", b"");
    sandbox.on("pin", &[], &["by hand.mkv"]).succeeds();
    sandbox.hsm(["scan"]).succeeds();
    sandbox.on("upload", &[], &["dir2"]).succeeds();
    sandbox.on("tier", &[], &["dir4"]).succeeds();
    // What hsm itself did to them leaves their own ages.
    sandbox.hsm(["scan"]).succeeds();
    sandbox
}

fn page(sandbox: &Sandbox) -> PathBuf {
    let page = sandbox.path("home/report.html");
    sandbox.hsm(["report".as_ref(), "--html".as_ref(), page.as_os_str()]).succeeds();
    page
}

fn set(browser: &mut Browser, id: &str, value: &Value) {
    let event = "new Event('input', { bubbles: true })";
    browser.value(&format!(
        "{{ const control = document.getElementById({id:?}); \
         if (control.type === 'checkbox') control.checked = {value}; else control.value = {value}; \
         control.dispatchEvent({event}); }}"
    ));
}

fn choose_classes(browser: &mut Browser, chosen: &[usize]) {
    browser.value(&format!(
        "document.querySelectorAll('[data-class]').forEach((box) => {{ \
         if (box.checked !== {chosen:?}.includes(Number(box.dataset.class))) box.click(); }})"
    ));
}

fn policy_file(browser: &mut Browser, sandbox: &Sandbox) -> String {
    let file = sandbox.path("home/made.toml");
    fs::write(&file, browser.text("toml")).expect("written");
    file.to_str().expect("UTF-8").to_owned()
}

/// Files and bytes to stub, by the page and by a plan with its policy.
fn told_and_planned(browser: &mut Browser, sandbox: &Sandbox) -> [(u64, u64); 2] {
    let bytes = browser.value("document.getElementById('go-bytes').title");
    let bytes = bytes.as_str().expect("text").replace(',', "");
    let bytes = bytes.strip_suffix(" bytes").expect("bytes").parse().expect("a number");
    let told = (browser.number("go-files"), bytes);
    let file = policy_file(browser, sandbox);
    let plan = sandbox.hsm(["plan", "--json", "--policy", &file]).succeeds().summary();
    let planned = |key: &str| plan[key].as_u64().expect("a number");
    [told, (planned("stub_files"), planned("stub_bytes"))]
}

#[test]
fn the_page_counts_to_the_file_what_a_plan_with_its_policy_does() {
    let test = "the_page_counts_to_the_file_what_a_plan_with_its_policy_does";
    let Some(program) = browser::program() else { return skip(test, "needs chromium") };
    let sandbox = planted();
    let page = page(&sandbox);
    let mut browser = Browser::start(&program);
    browser.open(&page);
    set(&mut browser, "mark", &json!(false));
    let mut seen = std::collections::BTreeSet::new();
    for classes in [&[][..], &[0], &[1, 0], &[2]] {
        choose_classes(&mut browser, classes);
        let file = policy_file(&mut browser, &sandbox);
        sandbox.hsm(["policy", "check", &file]).succeeds();
        for size in [0, 1, 2, 4, 5] {
            set(&mut browser, "size", &json!(size));
            for idle in [0, 1, 3, 5, 7, 9, 11] {
                set(&mut browser, "idle", &json!(idle));
                let [told, planned] = told_and_planned(&mut browser, &sandbox);
                assert_eq!(told, planned, "classes {classes:?}, size {size}, idle {idle}");
                seen.insert(told);
            }
        }
    }
    assert!(seen.len() > 30, "the sliders move hardly anything: {seen:?}");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn every_border_is_a_stop_that_a_keyboard_reaches() {
    let test = "every_border_is_a_stop_that_a_keyboard_reaches";
    let Some(program) = browser::program() else { return skip(test, "needs chromium") };
    let sandbox = planted();
    let page = page(&sandbox);
    let mut browser = Browser::start(&program);
    browser.open(&page);
    browser.value("document.getElementById('idle').focus()");
    browser.key("Home", 36);
    assert_eq!(browser.text("idle-value"), "any age");
    assert!(!browser.text("toml").contains("idle = \"90d\""));
    let mut stops = vec![];
    for _ in 0..11 {
        browser.key("ArrowRight", 39);
        let said = browser.value("document.getElementById('idle').getAttribute('aria-valuetext')");
        stops.push(said.as_str().expect("text").to_owned());
    }
    assert_eq!(stops[..2], ["1 day", "3 days"]);
    assert_eq!(stops[10], "1,825 days");
    assert!(browser.text("toml").contains("idle = \"1825d\""));
    // The next stop of the Tab key is the other slider.
    browser.key("Tab", 9);
    browser.key("End", 35);
    assert!(browser.text("toml").contains("min_size = \"64GiB\""), "{}", browser.text("toml"));
    assert_eq!(browser.number("go-files"), 0);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_watermark_and_a_storage_class_are_in_the_policy_and_counted() {
    let test = "a_watermark_and_a_storage_class_are_in_the_policy_and_counted";
    let Some(program) = browser::program() else { return skip(test, "needs chromium") };
    let sandbox = planted();
    let page = page(&sandbox);
    let mut browser = Browser::start(&program);
    browser.open(&page);
    assert!(!browser.text("toml").contains("[watermark]"), "the policy has none");
    assert_eq!(browser.text("mark-result"), "");
    set(&mut browser, "mark", &json!(true));
    set(&mut browser, "low", &json!(1));
    set(&mut browser, "high", &json!(2));
    set(&mut browser, "size", &json!(2));
    set(&mut browser, "class", &json!("GLACIER_IR"));
    let toml = browser.text("toml");
    assert!(toml.contains("[watermark]\nhigh = \"2%\"\nlow = \"1%\"\n"), "{toml}");
    assert!(toml.contains("storage_class = \"GLACIER_IR\"\n"), "{toml}");
    // Everything of the policy but its rules that tier is still there.
    let kept = ["[[retention]]", "\"programs\"", "\"asked for\"", "\"the rest\"", "hidden/"];
    assert!(kept.iter().all(|part| toml.contains(part)), "{toml}");
    assert!(!toml.contains("\"old\"") && toml.matches("\"workbench\"").count() == 1, "{toml}");
    // So full a file system is never empty enough: every file that may go is wanted.
    let [_, planned] = told_and_planned(&mut browser, &sandbox);
    let told = browser.text("mark-result");
    assert!(told.contains(&format!("in {} files could go", planned.0)), "{told} {planned:?}");
    assert!(browser.text("cost-hint").contains("90 days"), "{}", browser.text("cost-hint"));
    // Its prices are a person's to change.
    browser.value(
        "{ const price = document.querySelector('[data-price=\"GLACIER_IR storage\"]'); \
         price.value = 1000000; price.dispatchEvent(new Event('input', { bubbles: true })); }",
    );
    let cost = browser.text("cost");
    assert!(cost.contains("+$"), "{cost}");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_present_policy_is_counted_as_a_plan_does_and_every_file_once() {
    let sandbox = planted();
    let report = sandbox.hsm(["report", "--json"]).succeeds().stdout();
    let report: Value =
        serde_json::from_str(report.lines().next().expect("a record")).expect("JSON");
    let plan = sandbox.hsm(["plan", "--json"]).succeeds().summary();
    for key in ["stub_files", "stub_bytes", "upload_files", "upload_bytes"] {
        assert_eq!(report["present"][key], plan[key], "{key}");
    }
    let du = sandbox.hsm(["du", "--json"]).succeeds().summary();
    assert_eq!(report["all"]["sum"]["files"], du["files"]);
    assert_eq!(report["all"]["sum"]["size_bytes"], du["size_bytes"]);
    for kind in ["state", "owner", "extension"] {
        let grids = report["by"][kind].as_array().expect("a list");
        let files: u64 = grids.iter().map(|grid| grid["sum"]["files"].as_u64().expect("n")).sum();
        assert_eq!(du["files"], files, "{kind}");
        let cells = grids.iter().flat_map(|grid| grid["cells"].as_array().expect("cells"));
        assert_eq!(du["files"], cells.map(|cell| cell[2].as_u64().expect("n")).sum::<u64>());
    }
    let stubs = report["by"]["state"].as_array().expect("a list");
    let stubs = stubs.iter().find(|grid| grid["name"] == "stub").expect("there are stubs");
    assert_eq!(stubs["sum"]["files"], report["stubs"]["files"]);
    let stored = report["store"]["stored"].as_array().expect("a list");
    assert!(stored[0]["bytes"].as_u64().expect("n") > 0, "{stored:?}");
}

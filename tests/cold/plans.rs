//! What `hsm plan` says of classes.

use super::scene::{Scene, content};
use crate::support::Sandbox;
use serde_json::Value;
use std::fs::File;
use std::time::{Duration, SystemTime};

const RULES: &str = r#"
    unguarded = true
    [defaults]
    quiet = "0s"
    min_stub_size = "0"
    [[rule]]
    name = "films"
    include = "*.mkv"
    action = "tier"
    storage_class = "GLACIER"
    [[rule]]
    name = "own"
    include = "*.own"
    action = "upload"
    storage_class = "COLDLINE"
    [[rule]]
    name = "rest"
    action = "upload"
"#;

fn aged(sandbox: &Sandbox, name: &str, days: u64) {
    sandbox.write(name, &content(days));
    let file = File::options().write(true).open(sandbox.tree().join(name)).expect("a file");
    file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400)).expect("a time");
}

fn classes(sandbox: &Sandbox) -> Vec<Value> {
    let text = sandbox.hsm(["plan", "--json"]).succeeds().stdout();
    let records = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    records.filter(|record: &Value| record["type"] == "class").collect()
}

#[test]
fn a_plan_says_what_each_class_costs_and_where_its_terms_bite() {
    let scene = Scene::of_class("STANDARD");
    let sandbox = &scene.sandbox;
    sandbox.policy(RULES);
    for (name, days) in [("old.mkv", 400), ("new.mkv", 10), ("x.own", 5), ("notes", 1)] {
        aged(sandbox, name, days);
    }
    sandbox.hsm(["scan"]).succeeds();
    let found = classes(sandbox);
    let named: Vec<&str> =
        found.iter().map(|class| class["class"].as_str().expect("text")).collect();
    assert_eq!(named, ["COLDLINE", "GLACIER", "STANDARD"]);
    let glacier = &found[1];
    assert_eq!((&glacier["files"], &glacier["packs"]), (&2.into(), &1.into()));
    assert_eq!((&glacier["minimum_days"], &glacier["young_files"]), (&90.into(), &1.into()));
    let put = glacier["put_usd"].as_f64().expect("a price");
    assert!((put - 0.00003).abs() < 1e-9, "{put}");
    assert_eq!((&found[0]["put_usd"], &found[0]["minimum_days"]), (&Value::Null, &Value::Null));
    assert_eq!(found[2]["young_files"], 0);
    sandbox.hsm(["plan"]).succeeds().complains(&[
        "GLACIER is paid for 90 days at least: 1 files",
        "mtime_older = \"90d\"",
        "hsm gc deletes what is 30 days out of use",
        "a recall takes 3 to 5 hours (tier Standard)",
    ]);

    let config = std::fs::read_to_string(sandbox.config()).expect("the configuration");
    let own = "[gc]\ngrace = \"90d\"\n[prices.COLDLINE]\nput_per_1000 = 10\ngib_month = 0.002\n";
    std::fs::write(sandbox.config(), format!("{config}\n{own}")).expect("written");
    let put = classes(sandbox)[0]["put_usd"].as_f64().expect("a price");
    assert!((put - 0.01).abs() < 1e-9, "{put}");
    assert!(!sandbox.hsm(["plan"]).succeeds().stderr().contains("hsm gc deletes"));
}

#[test]
fn a_directory_has_no_classes_to_pay_for() {
    let sandbox = Sandbox::new();
    sandbox.policy(RULES);
    aged(&sandbox, "new.mkv", 1);
    sandbox.hsm(["scan"]).succeeds();
    assert_eq!(classes(&sandbox), [] as [Value; 0]);
}

//! The file that is written: whole, private, outside the roots, and complete in itself.

use crate::support::Sandbox;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

fn small() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a.txt", b"some text");
    sandbox.hsm(["scan"]).succeeds();
    sandbox
}

#[test]
fn the_page_needs_nothing_but_itself_and_says_so_to_the_browser() {
    let sandbox = small();
    let page = sandbox.hsm(["report", "--html", "-"]).succeeds().stdout();
    let policy = page.split_once("Content-Security-Policy\" content=\"").expect("a policy").1;
    let policy = policy.split_once('"').expect("its end").0;
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    let lower = page.to_lowercase();
    for word in ["http:", "https:", "src=", "href=", "url(", "@import", "<link", "<iframe", "<img"]
    {
        assert!(!lower.contains(word), "{word}");
    }
}

#[test]
fn the_file_is_replaced_whole_and_read_by_its_owner_alone() {
    let sandbox = small();
    let (dir, secret) = (sandbox.path("home/pages"), sandbox.path("home/secret"));
    fs::create_dir(&dir).expect("a directory");
    fs::write(&secret, "untouched").expect("a file");
    let page = dir.join("report.html");
    symlink(&secret, &page).expect("a link");
    let ran = sandbox.hsm(["report".as_ref(), "--html".as_ref(), page.as_os_str()]).succeeds();
    assert!(ran.stdout().starts_with("1 files, "), "{}", ran.stdout());
    let meta = page.symlink_metadata().expect("it is there");
    assert!(meta.is_file() && meta.permissions().mode() & 0o777 == 0o600, "{meta:?}");
    assert_eq!(fs::read(&secret).expect("readable"), b"untouched");
    assert_eq!(fs::read_dir(&dir).expect("readable").count(), 1, "nothing is left beside it");
    let text = fs::read_to_string(&page).expect("readable");
    assert!(text.ends_with("</html>\n") && text.contains("<!doctype html>"));
    let missing = dir.join("nowhere/report.html");
    sandbox
        .hsm(["report".as_ref(), "--html".as_ref(), missing.as_os_str()])
        .exits(1)
        .complains(&["cannot make a file in", "nowhere"]);
}

#[test]
fn no_root_gets_the_page_and_only_roots_are_reported() {
    let sandbox = small();
    let inside = sandbox.tree().join("report.html");
    let way = sandbox.path("home/way");
    symlink(sandbox.tree(), &way).expect("a link");
    for file in [inside.clone(), way.join("report.html")] {
        sandbox
            .hsm(["report".as_ref(), "--html".as_ref(), file.as_os_str()])
            .exits(1)
            .complains(&["is inside the root", "outside every root"]);
    }
    assert!(!inside.exists());
    sandbox.on("report", &["--json"], &["a.txt"]).exits(1).complains(&["is no root"]);
    sandbox.hsm(["report"]).exits(2).complains(&["--html"]);
    sandbox.hsm(["report", "--json", "--html", "-"]).exits(2).complains(&["standard output"]);
}

#[test]
fn a_root_that_is_missing_is_named_and_the_others_are_counted() {
    let sandbox = small();
    let second = sandbox.path("second");
    fs::create_dir(&second).expect("a directory");
    fs::write(second.join("b.txt"), "more").expect("a file");
    sandbox.hsm(["init".as_ref(), second.as_os_str()]).succeeds();
    sandbox.hsm(["scan"]).succeeds();
    let both = sandbox.hsm(["report", "--json"]).succeeds();
    assert_eq!(both.summary()["files"], 2);
    fs::rename(&second, sandbox.path("elsewhere")).expect("moved");
    let ran = sandbox.hsm(["report", "--json"]).exits(3).complains(&["left out", "second"]);
    let record: Value =
        serde_json::from_str(ran.stdout().lines().next().expect("a record")).expect("JSON");
    assert_eq!((&record["type"], &record["all"]["sum"]["files"]), (&"report".into(), &1.into()));
    let roots = record["roots"].as_array().expect("a list");
    let there: Vec<_> = roots.iter().map(|root| (&root["name"], &root["is_there"])).collect();
    let (gone, left) = (second.to_str().expect("UTF-8"), sandbox.tree());
    assert!(there.contains(&(&gone.into(), &false.into())), "{there:?}");
    assert!(there.contains(&(&left.to_str().expect("UTF-8").into(), &true.into())), "{there:?}");
    let alone = sandbox.hsm(["report".as_ref(), "--json".as_ref(), second.as_os_str()]);
    assert_ne!(alone.code(), 0, "what was asked for by name is not there");
}

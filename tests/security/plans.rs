//! A plan is only a wish: with right sums, too, a row does what pins and policy allow at
//! that moment, on the very file that was planned.

use crate::support::snapshot::is_stub;
use crate::support::trees::noise;
use crate::support::{EAGER_POLICY, Sandbox, needs_root};
use hsm::os::RelPath;
use hsm::tier::plan_file::{PlanFile, Planned, Row};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

const LEN: usize = 50_000;

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A row about whatever is at `found`, said to be at `path`.
fn row(sandbox: &Sandbox, path: &str, found: &Path) -> Row {
    let meta = fs::metadata(found).expect("there");
    let ns = |seconds: i64, rest: i64| seconds * 1_000_000_000 + rest;
    Row {
        root: hsm::tier::plan_file::root_name(&sandbox.tree()),
        path: RelPath::new(path).expect("a path"),
        action: Planned::Tier,
        size_bytes: meta.size(),
        mtime_ns: ns(meta.mtime(), meta.mtime_nsec()),
        ctime_ns: ns(meta.ctime(), meta.ctime_nsec()),
        ino: meta.ino(),
        generation: None,
        rule: Some("everything".to_owned()),
        reason: "forged".to_owned(),
    }
}

#[test]
fn a_forged_row_gets_nothing_that_the_policy_does_not_give() {
    if !needs_root("a_forged_row_gets_nothing_that_the_policy_does_not_give") {
        return;
    }
    let sandbox = Sandbox::new();
    for (seed, name) in [(1, "kept"), (2, "pinned"), (3, "planned"), (4, "another")] {
        sandbox.write(name, &noise(seed, LEN));
    }
    let outside = sandbox.path("outside");
    fs::create_dir(&outside).expect("mkdir");
    fs::write(outside.join("secret"), noise(5, LEN)).expect("write");
    symlink(&outside, sandbox.tree().join("door")).expect("symlink");
    symlink(outside.join("secret"), sandbox.tree().join("leaf")).expect("symlink");
    sandbox.policy(&EAGER_POLICY.replace(
        "[[rule]]\n",
        "[[rule]]\nname = \"stay\"\ninclude = [\"kept\"]\naction = \"ignore\"\n\n[[rule]]\n",
    ));
    sandbox.hsm(["scan"]).succeeds();
    sandbox.on("pin", &[], &["pinned"]).succeeds();
    let file = sandbox.path("plan.jsonl");
    sandbox.hsm(["plan", "-o", text(&file)]).succeeds();
    let mode = fs::metadata(&file).expect("the plan").permissions().mode();
    assert_eq!(mode & 0o077, 0, "it has names that not everybody may see");
    let header = PlanFile::open(File::open(&file).expect("open")).expect("a plan").header().clone();
    let tree = sandbox.tree();
    let forged = [
        row(&sandbox, "kept", &tree.join("kept")),
        row(&sandbox, "pinned", &tree.join("pinned")),
        row(&sandbox, "leaf", &tree.join("leaf")),
        row(&sandbox, "door/secret", &outside.join("secret")),
        // The file of one row, the name of another.
        row(&sandbox, "another", &tree.join("planned")),
        row(&sandbox, "planned", &tree.join("planned")),
    ];
    let lines = std::iter::once(header.line()).chain(forged.iter().map(|row| row.line(&header)));
    let plan: Vec<u8> = lines.flat_map(|line| [line, b"\n".to_vec()].concat()).collect();
    fs::write(&file, plan).expect("written");
    sandbox.hsm(["apply", text(&file)]).exits(3);
    for (name, stub) in [("kept", false), ("pinned", false), ("another", false), ("planned", true)]
    {
        assert_eq!(is_stub(&tree.join(name)), stub, "{name}");
    }
    assert_eq!(fs::read(outside.join("secret")).expect("read"), noise(5, LEN));
    super::races::nowhere(&sandbox.store(), &noise(5, LEN)[100..132]);
    super::races::nowhere(&sandbox.store(), &noise(1, LEN)[100..132]);
}

/// A row that leads out of the root is not even a row.
#[test]
fn a_row_with_a_path_that_leads_elsewhere_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("planned", &noise(1, LEN));
    sandbox.hsm(["scan"]).succeeds();
    let file = sandbox.path("plan.jsonl");
    sandbox.hsm(["plan", "-o", text(&file)]).succeeds();
    let plan = fs::read_to_string(&file).expect("the plan");
    for path in ["../outside", "/etc/passwd", "a/../../b", "planned\\u0000", "./planned", ""] {
        let forged =
            plan.replace(r#""path":{"text":"planned"}"#, &format!(r#""path":{{"text":"{path}"}}"#));
        assert_ne!(forged, plan);
        fs::write(&file, forged).expect("written");
        sandbox.hsm(["apply", text(&file)]).exits(1).complains(&["line 2"]);
        assert!(!is_stub(&sandbox.tree().join("planned")));
    }
}

//! Holds the rooms of the house apart.
//!
//! The table below says which floor a room is on; a room imports only lower
//! floors and the exceptions listed. The other rules are of the kind that a
//! reviewer would have to see every time: printing, `unsafe`, SQL, SDK types,
//! the clock, the proof of a copy, file size, the charter. Change the table
//! when the design changes; never route around it.
//!
//! Each rule is a pure function over one file's text, tried on made-up text at
//! the end of this file, so that a rule that stopped biting is seen.

mod architecture {
    pub mod rules;
    pub mod source;
}

use architecture::rules::{self, Finding};
use architecture::source::Source;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Room and floor. `main` and `lib` hold no logic and are not rooms.
const FLOORS: &[(&str, u8)] = &[
    ("cli", 6),
    ("guard", 5),
    ("report", 5),
    ("tier", 4),
    ("recall", 4),
    ("adopt", 4),
    ("verify", 4),
    ("restore", 4),
    ("rebuild", 4),
    ("export", 4),
    ("gc", 4),
    ("backup", 4),
    ("demo", 4),
    ("site", 3),
    ("state", 2),
    ("catalog", 2),
    ("store", 2),
    ("stub", 2),
    ("scan", 2),
    ("policy", 1),
    ("chunk", 1),
    ("manifest", 1),
    ("config", 1),
    ("os", 0),
    ("document", 0),
    ("ids", 0),
    ("monitor", 0),
    ("metrics", 0),
    ("errand", 0),
    ("units", 0),
    ("classes", 0),
    ("clock", 0),
    ("fault", 0),
];

/// Imports on one floor that the design names.
const SAME_FLOOR: &[(&str, &str)] = &[
    ("manifest", "chunk"), // a manifest is a list of chunks
    ("config", "policy"),  // its globs are read as a policy's
    ("document", "units"), // quantities in a document have their place
    ("os", "monitor"),     // a signal sets the stop flag
    ("errand", "monitor"), // it ends by a stop flag
    ("os", "ids"),         // a file's identity
    ("os", "fault"),       // each effect is a fault point
];

/// Read once for all rules.
fn sources() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(every_source)
}

fn every_source() -> Vec<Source> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut dirs = vec![top.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).expect("the sources are readable") {
            let path: PathBuf = entry.expect("the sources are readable").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("sources are UTF-8");
                let name = path.strip_prefix(&top).expect("it is below src");
                found.push(Source::new(&name.to_string_lossy(), &text));
            }
        }
    }
    assert!(found.len() > 20, "the walk found only {} files", found.len());
    found
}

fn check(rule: impl Fn(&Source) -> Vec<Finding>) {
    let findings: Vec<String> = sources().iter().flat_map(&rule).map(|f| f.to_string()).collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn a_room_imports_only_lower_floors() {
    check(|source| rules::imports(source, FLOORS, SAME_FLOOR));
}

#[test]
fn only_cli_prints() {
    check(rules::printing);
}

#[test]
fn unsafe_code_lives_in_os() {
    check(rules::unsafe_code);
}

#[test]
fn sql_lives_in_state_and_catalog() {
    check(rules::sql);
}

#[test]
fn sdk_types_live_in_store_s3() {
    check(rules::sdk);
}

#[test]
fn only_clock_reads_the_time() {
    check(rules::clock);
}

#[test]
fn a_proof_of_a_copy_is_made_only_where_it_is_seen() {
    check(rules::proofs);
}

#[test]
fn async_lives_in_store_s3() {
    check(rules::asynchronous);
}

#[test]
fn only_cli_reads_the_environment() {
    check(rules::environment);
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    check(rules::unwraps);
}

#[test]
fn files_are_small_and_open_with_their_charter() {
    check(rules::size_and_charter);
}

#[test]
fn no_room_is_a_drawer_for_everything() {
    check(rules::drawers);
}

/// Every rule must be able to fail.
mod the_rules_bite {
    use super::*;

    fn found(rule: impl Fn(&Source) -> Vec<Finding>, file: &str, text: &str) -> usize {
        rule(&Source::new(file, text)).len()
    }

    fn imports(source: &Source) -> Vec<Finding> {
        rules::imports(source, FLOORS, SAME_FLOOR)
    }

    #[test]
    fn on_imports_from_above_or_beside() {
        assert_eq!(found(imports, "chunk/cut.rs", "use crate::state::StateDb;"), 1);
        assert_eq!(found(imports, "state/mod.rs", "fn f(s: &crate::store::Key) {}"), 1);
        assert_eq!(found(imports, "store/mod.rs", "use crate::{os, stub};"), 1);
        assert_eq!(
            found(imports, "store/mod.rs", "use crate::{\n  os::{A, B},\n  scan::X,\n};"),
            1
        );
        assert_eq!(found(imports, "units.rs", "use crate::nowhere::X;"), 1);
        assert_eq!(found(imports, "new_room.rs", "//! x"), 1);
        assert_eq!(
            found(imports, "store/mod.rs", "use crate::os::RelPath; use crate::store::Key;"),
            0
        );
        assert_eq!(found(imports, "manifest/mod.rs", "use crate::chunk::ChunkSlot;"), 0);
        assert_eq!(found(imports, "chunk/mod.rs", "// use crate::state::StateDb;"), 0);
    }

    #[test]
    fn on_printing() {
        assert_eq!(
            found(rules::printing, "tier/mod.rs", "fn f() { println!(\"x\"); dbg!(1); }"),
            2
        );
        assert_eq!(found(rules::printing, "os/mod.rs", "let e = std::io::stderr();"), 1);
        assert_eq!(found(rules::printing, "cli/mod.rs", "eprintln!(\"x\");"), 0);
        assert_eq!(found(rules::printing, "tier/mod.rs", "let s = \"println!(\";"), 0);
        assert_eq!(
            found(
                rules::printing,
                "tier/mod.rs",
                "#[cfg(test)]\nmod tests { fn f() { println!() } }"
            ),
            0
        );
    }

    #[test]
    fn on_unsafe_and_sql() {
        assert_eq!(found(rules::unsafe_code, "stub/mod.rs", "let x = unsafe { f() };"), 1);
        assert_eq!(found(rules::unsafe_code, "os/tree.rs", "let x = unsafe { f() };"), 0);
        assert_eq!(found(rules::unsafe_code, "stub/mod.rs", "// unsafe { f() }"), 0);
        assert_eq!(found(rules::sql, "tier/mod.rs", "use rusqlite::Connection;"), 1);
        assert_eq!(found(rules::sql, "tier/mod.rs", "let q = \"SELECT a FROM b\";"), 1);
        assert_eq!(
            found(rules::sql, "tier/mod.rs", "let q = \"please select a file from the list\";"),
            0
        );
        assert_eq!(found(rules::sql, "state/mod.rs", "let q = \"SELECT a FROM b\";"), 0);
    }

    #[test]
    fn on_the_sdk_async_the_clock_and_the_environment() {
        assert_eq!(found(rules::sdk, "store/dir.rs", "use aws_sdk_s3::Client;"), 1);
        assert_eq!(found(rules::sdk, "store/s3/client.rs", "use aws_sdk_s3::Client;"), 0);
        assert_eq!(found(rules::sdk, "chunk/keys.rs", "use aws_lc_rs::aead;"), 0);
        assert_eq!(found(rules::asynchronous, "tier/mod.rs", "async fn f() {}"), 1);
        assert_eq!(found(rules::asynchronous, "store/s3.rs", "async fn f() { g().await }"), 0);
        assert_eq!(found(rules::clock, "tier/mod.rs", "let t = SystemTime::now();"), 1);
        assert_eq!(found(rules::clock, "cli/mod.rs", "let t = chrono::Utc::now();"), 1);
        assert_eq!(found(rules::clock, "clock.rs", "let t = Instant::now();"), 0);
        assert_eq!(found(rules::environment, "os/mod.rs", "std::env::var(\"X\")"), 1);
        assert_eq!(found(rules::environment, "cli/context.rs", "std::env::var(\"X\")"), 0);
        assert_eq!(found(rules::environment, "guard/mod.rs", "sd_notify::notify(&[])"), 1);
        assert_eq!(found(rules::environment, "os/service_manager.rs", "env::var_os(\"X\")"), 0);
    }

    #[test]
    fn on_proofs_made_in_the_wrong_room() {
        assert_eq!(found(rules::proofs, "tier/mod.rs", "PackEvidence::attest(pack)"), 1);
        assert_eq!(found(rules::proofs, "store/prove.rs", "PackEvidence::attest(pack)"), 0);
        assert_eq!(found(rules::proofs, "store/prove.rs", "PackEvidence::recorded(pack)"), 1);
        assert_eq!(found(rules::proofs, "state/packs.rs", "PackEvidence::recorded(pack)"), 0);
        let second = "SecondEvidence::of_second(first)";
        assert_eq!(found(rules::proofs, "site/packs.rs", second), 1);
        assert_eq!(found(rules::proofs, "site/second.rs", second), 0);
    }

    #[test]
    fn on_unwraps_long_files_and_missing_charters() {
        assert_eq!(found(rules::unwraps, "tier/mod.rs", "let x = y.unwrap();"), 1);
        assert_eq!(found(rules::unwraps, "tier/mod.rs", "let x = y.unwrap_or(1);"), 0);
        assert_eq!(found(rules::unwraps, "tier/tests.rs", "let x = y.unwrap();"), 0);
        let long = format!("//! charter\n{}", "fn f() {}\n".repeat(601));
        assert_eq!(found(rules::size_and_charter, "tier/mod.rs", &long), 1);
        let tested =
            format!("//! charter\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(601));
        assert_eq!(found(rules::size_and_charter, "tier/mod.rs", &tested), 0);
        assert_eq!(found(rules::size_and_charter, "tier/mod.rs", "fn f() {}"), 1);
    }

    #[test]
    fn on_drawers() {
        assert_eq!(found(rules::drawers, "tier/util.rs", "//! x"), 1);
        assert_eq!(found(rules::drawers, "helpers/mod.rs", "//! x"), 1);
        assert_eq!(found(rules::drawers, "tier/plan.rs", "//! x"), 0);
    }
}

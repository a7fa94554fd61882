//! The files under `man/` and `completions/` are what the definition of the
//! command line yields today, byte for byte, and nothing else is there.

use hsm::cli::manual::{self, Page};
use std::collections::BTreeSet;
use std::path::Path;

fn assert_fresh(dir: &str, pages: &[Page], mend: &str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let wanted: BTreeSet<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    let entries = std::fs::read_dir(&dir).expect("the directory is checked in");
    let names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().into_string().expect("ASCII names")).collect();
    let there: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(there, wanted, "files of {}; try: {mend}", dir.display());
    for (name, text) in pages {
        let checked_in = std::fs::read(dir.join(name)).unwrap();
        assert!(checked_in == *text, "{name} is stale; try: {mend}");
    }
}

#[test]
fn man_pages_are_fresh() {
    assert_fresh("man", &manual::man_pages(), "cargo run -- generate man man");
}

#[test]
fn completions_are_fresh() {
    assert_fresh(
        "completions",
        &manual::completions(),
        "cargo run -- generate completions completions",
    );
}

//! The files under `man/` and `completions/` are what the definition of the
//! command line yields today, byte for byte, and nothing else is there. The
//! programs that they are for find nothing wrong with them.

mod support;

use hsm::cli::manual::{self, Page};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use support::{Ran, skip};

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

/// All that the program says, on both streams; `None`, loudly, without it.
fn told(test: &str, program: &str, args: &[&str]) -> Option<Ran> {
    if Command::new(program).arg("--version").output().is_err() {
        skip(test, &format!("needs {program}"));
        return None;
    }
    let mut command = Command::new(program);
    let home = env!("CARGO_MANIFEST_DIR");
    Some(Ran::of(command.args(args).current_dir(home).env("MANWIDTH", "100").env("TERM", "dumb")))
}

#[test]
fn no_formatter_complains_of_a_man_page() {
    let test = "no_formatter_complains_of_a_man_page";
    for (name, _) in manual::man_pages() {
        let page = format!("man/{name}");
        let Some(linted) = told(test, "mandoc", &["-T", "lint", "-W", "warning", &page]) else {
            return;
        };
        assert_eq!((linted.stdout().as_str(), linted.code()), ("", 0), "{page}");
        let Some(shown) = told(test, "man", &["--warnings", "-l", &page]) else { return };
        assert_eq!(shown.stderr(), "", "{page}");
        assert!(shown.succeeds().stdout().contains("SYNOPSIS"), "{page}");
    }
}

/// What is offered after `hsm reca`.
const OFFERED: [&str; 3] = ["recall", "recall-guard", "recalls"];

#[test]
fn bash_completes_the_commands() {
    let script = "source completions/hsm.bash; complete -p hsm >/dev/null || exit 1
        COMP_WORDS=(hsm reca); COMP_CWORD=1; _hsm hsm reca hsm; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let Some(ran) = told("bash_completes_the_commands", "bash", &["--norc", "-c", script]) else {
        return;
    };
    assert_eq!(ran.succeeds().stdout().lines().collect::<Vec<_>>(), OFFERED);
}

#[test]
fn fish_completes_the_commands() {
    let script = "source completions/hsm.fish; complete -C 'hsm reca'";
    let Some(ran) = told("fish_completes_the_commands", "fish", &["--no-config", "-c", script])
    else {
        return;
    };
    let text = ran.succeeds().stdout();
    let mut found: Vec<_> = text.lines().filter_map(|line| line.split('\t').next()).collect();
    found.sort_unstable();
    assert_eq!(found, OFFERED);
}

/// In a terminal of its own, since zsh completes nothing elsewhere. What it does
/// not show in time it never shows: it then waits, and is ended.
#[test]
fn zsh_completes_the_commands() {
    let script = r#"
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell "fpath=($PWD/completions \$fpath); autoload -Uz compinit"
        zpty -w shell "compinit -u -D; print is \$_comps[hsm]"
        zpty -r shell said '*is _hsm*' || exit 1
        zpty -w -n shell $'hsm reca\t\t'
        zpty -r shell said '*recall-guard*recalls*' || exit 1
    "#;
    let args = ["60", "zsh", "-f", "-c", script];
    if Command::new("zsh").arg("--version").output().is_err() {
        return skip("zsh_completes_the_commands", "needs zsh");
    }
    let Some(ran) = told("zsh_completes_the_commands", "timeout", &args) else { return };
    ran.succeeds();
}

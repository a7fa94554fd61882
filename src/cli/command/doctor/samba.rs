//! What Samba's configuration means for the shares of a root (docs/SAMBA.md).
//!
//! As `testparm` says it, which knows includes, synonyms and defaults. Where that
//! is not installed or has nothing to say, nothing is found.

use super::{Finding, good, note, warning};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// About the shares that lie in `root` or contain it.
pub fn check(root: &Path) -> Vec<Finding> {
    let mut testparm = Command::new("testparm");
    testparm.args(["-s", "--suppress-prompt"]).env("LC_ALL", "C");
    match testparm.stdin(Stdio::null()).stderr(Stdio::null()).output() {
        Ok(said) if said.status.success() => findings(&String::from_utf8_lossy(&said.stdout), root),
        _ => vec![],
    }
}

/// Keys with their values; of a share also what `[global]` says for all.
type Share<'t> = BTreeMap<&'t str, &'t str>;

fn findings(text: &str, root: &Path) -> Vec<Finding> {
    let shares = shares(text);
    let global = shares.iter().find(|(name, _)| *name == "global").map(|(_, global)| global);
    let mut findings = vec![];
    for (name, own) in &shares {
        let of = |key: &str| own.get(key).or_else(|| global.and_then(|global| global.get(key)));
        let Some(path) = own.get("path").map(Path::new) else { continue };
        if *name == "global" || !(path.starts_with(root) || root.starts_with(path)) {
            continue;
        }
        let is =
            |key: &str, value: &str| of(key).is_some_and(|said| said.eq_ignore_ascii_case(value));
        let before = findings.len();
        if is("kernel oplocks", "yes") {
            findings.push(warning(
                "samba",
                format!(
                    "share {name} has kernel oplocks: under a guard its clients are denied files \
                     that they have open; set kernel oplocks = no"
                ),
            ));
        }
        if is("posix locking", "no") && !is("durable handles", "no") {
            findings.push(warning(
                "samba",
                format!(
                    "share {name} may grant durable handles, which hold nothing open while their \
                     client is away; set durable handles = no"
                ),
            ));
        }
        if is("store dos attributes", "no") {
            findings.push(note(
                "samba",
                format!(
                    "share {name} stores no DOS attributes: Windows does not see stubs as offline"
                ),
            ));
        }
        if findings.len() == before {
            findings.push(good("samba", format!("share {name} is set up for stubs")));
        }
    }
    findings
}

fn shares(text: &str) -> Vec<(&str, Share<'_>)> {
    let mut shares: Vec<(&str, Share<'_>)> = vec![];
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            shares.push((name, Share::new()));
        } else if let (Some((key, value)), Some((_, share))) =
            (line.split_once(" = "), shares.last_mut())
        {
            share.insert(key, value);
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn levels(text: &str) -> Vec<Level> {
        let found = findings(text, Path::new("/srv/data"));
        found.into_iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn shares_of_the_root_are_judged_with_what_holds_for_all() {
        let share = "[a]\n\tpath = /srv/data/a\n";
        assert_eq!(levels(share), [Level::Good]);
        assert_eq!(levels("[b]\n\tpath = /srv\n"), [Level::Good]);
        assert_eq!(levels("[c]\n\tpath = /srv/database\n\tkernel oplocks = Yes\n"), []);
        assert_eq!(levels("[global]\n\tpath = /srv/data\n[homes]\n\tbrowseable = No\n"), []);
        let global = "[global]\n\tkernel oplocks = Yes\n\tposix locking = No\n";
        assert_eq!(levels(&format!("{global}{share}")), [Level::Warning, Level::Warning]);
        let own = "\tkernel oplocks = No\n\tdurable handles = No\n\tstore dos attributes = No\n";
        assert_eq!(levels(&format!("{global}{share}{own}")), [Level::Note]);
        assert_eq!(levels("no configuration at all"), []);
    }
}

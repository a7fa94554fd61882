//! What follows from the checks: what is guaranteed for a root, and what is not.
//!
//! Each line names what a person may rely on, or the reason why not and the way
//! out. The claims are those of docs/GUARD.md and docs/SEMANTICS.md.

use super::watched::{Boot, Watched};
use super::{Finding, Level, good, note, warning};
use crate::os::fanotify::PreContent;

const CHECK: &str = "promise";
const READERS: &str = "that a program that opens a stub gets its data";

/// What the lines are made of.
pub struct Known<'k> {
    pub findings: &'k [Finding],
    pub watched: &'k Watched,
    /// `None` if it could not be tried.
    pub pre_content: Option<PreContent>,
    /// Whether markers are root's, which a guard honours.
    pub trusted: bool,
    /// The policy accepts stubs without a guard.
    pub unguarded: bool,
    pub has_stubs: bool,
    pub fs_type: &'k str,
}

fn guaranteed(what: &str) -> Finding {
    good(CHECK, format!("guaranteed: {what}"))
}

pub fn lines(known: &Known<'_>) -> Vec<Finding> {
    let mut lines = vec![known.outward()];
    match known.why_readers_are_alone() {
        Some(why) => lines.push(known.not(READERS, &why)),
        None => lines.extend(known.inward()),
    }
    lines.extend(known.at_boot());
    lines.push(known.past_the_guard());
    lines
}

impl Known<'_> {
    /// A broken promise weighs more where stubs are, or are to be, without it.
    fn not(&self, what: &str, why: &str) -> Finding {
        let what = format!("not guaranteed: {what}, because {why}");
        if self.has_stubs || self.unguarded { warning(CHECK, what) } else { note(CHECK, what) }
    }

    fn outward(&self) -> Finding {
        let broken: Vec<&str> = self
            .findings
            .iter()
            .filter(|finding| finding.level == Level::Bad)
            .map(|finding| finding.check)
            .collect();
        if broken.is_empty() {
            return guaranteed(
                "no block is freed before the file's copy is proven, nor while anybody has the file open",
            );
        }
        let what = format!(
            "not guaranteed: that files become stubs and come back, because these checks are bad: {}",
            broken.join(", ")
        );
        warning(CHECK, what)
    }

    /// The first reason is the one to mend first.
    fn why_readers_are_alone(&self) -> Option<String> {
        if !self.trusted {
            return Some("without root there is no guard: hsm recall before use".to_owned());
        }
        if let Some(refusal) = &self.watched.refusal {
            return Some(format!("there are {}: {}", refusal.reason, refusal.instead));
        }
        match self.pre_content {
            Some(PreContent::Supported) => {}
            Some(PreContent::NotPermitted) => {
                return Some("without root there is no guard: hsm recall before use".to_owned());
            }
            Some(PreContent::NotInKernel | PreContent::NotOnThisFileSystem) => {
                return Some(
                    "the kernel has no pre-content events here (Linux 6.14, ext4, xfs, btrfs): hsm recall before use"
                        .to_owned(),
                );
            }
            None => return Some("the kernel's answer is unknown".to_owned()),
        }
        if self.watched.at_work {
            return None;
        }
        Some(match self.unguarded {
            true => "no guard is at work and the policy says unguarded = true: systemctl start hsm-recall-guard".to_owned(),
            false => "no guard is at work: systemctl start hsm-recall-guard; until then no stub is made".to_owned(),
        })
    }

    fn inward(&self) -> [Finding; 2] {
        [
            guaranteed(
                "whoever opens, maps, copies, cuts or executes a stub waits for the whole file, through every mount, namespace and overlay of this file system",
            ),
            guaranteed("a recall that fails or takes too long is an error, never zeros"),
        ]
    }

    /// Nothing to say where no guard could do better.
    fn at_boot(&self) -> Option<Finding> {
        let at = self.watched.mount_point.as_ref()?.display();
        if !self.trusted || self.watched.refusal.is_some() {
            return None;
        }
        const WHAT: &str = "the time between mount and guard";
        let why = match self.watched.boot {
            Boot::OnRequest => return None,
            Boot::WithTheSystem => {
                return Some(self.not(WHAT, "the file system is there before any guard can start"));
            }
            Boot::Early => format!("/etc/fstab mounts {at} before a guard watches"),
            Boot::FirstUse => format!("systemd mounts {at} before a guard watches"),
            Boot::Unknown => format!("something else than /etc/fstab mounts {at}"),
        };
        let mend = format!("{why}: noauto and hsm recall-guard --mount {at}");
        Some(self.not(WHAT, &mend))
    }

    fn past_the_guard(&self) -> Finding {
        let send = if self.fs_type == "btrfs" { "btrfs send, " } else { "" };
        note(
            CHECK,
            format!(
                "not guaranteed: what is read past the guard ({send}copies of the block device, other \
                 fanotify listeners such as virus scanners), or after both of its processes were killed: \
                 docs/GUARD.md"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::bad;
    use super::*;
    use crate::guard::places::Refusal;

    fn watched(at_work: bool, boot: Boot, refusal: Option<Refusal>) -> Watched {
        let mount_point = Some("/srv".into());
        Watched { findings: Vec::new(), refusal, at_work, boot, mount_point }
    }

    fn known<'k>(watched: &'k Watched, findings: &'k [Finding]) -> Known<'k> {
        Known {
            findings,
            watched,
            pre_content: Some(PreContent::Supported),
            trusted: true,
            unguarded: false,
            has_stubs: false,
            fs_type: "ext4",
        }
    }

    fn told(known: &Known<'_>) -> Vec<String> {
        lines(known).iter().map(|line| format!("{} {}", line.level.as_str(), line.what)).collect()
    }

    #[test]
    fn with_a_guard_that_mounts_only_what_is_outside_it_is_not_guaranteed() {
        let watched = watched(true, Boot::OnRequest, None);
        let told = told(&known(&watched, &[]));
        assert_eq!(told.len(), 4, "{told:#?}");
        assert!(told[..3].iter().all(|line| line.starts_with("good guaranteed: ")), "{told:#?}");
        assert!(told[3].starts_with("note not guaranteed: what is read past"), "{told:#?}");
    }

    #[test]
    fn each_reason_is_named_with_its_way_out() {
        let refusal = Refusal {
            root: "/srv".into(),
            reason: "no permission events on tmpfs".into(),
            instead: "use `hsm recall`".into(),
        };
        let (idle, good_boot) =
            (watched(false, Boot::Early, None), watched(true, Boot::OnRequest, None));
        let refused = watched(true, Boot::Early, Some(refusal));
        let old = Known { pre_content: Some(PreContent::NotInKernel), ..known(&good_boot, &[]) };
        let user = Known { trusted: false, ..known(&good_boot, &[]) };
        let stubs = Known { has_stubs: true, ..known(&idle, &[]) };
        let open = Known { unguarded: true, ..known(&idle, &[]) };
        let table = [
            (&known(&idle, &[]), "note", "until then no stub is made"),
            (&stubs, "warning", "systemctl start hsm-recall-guard"),
            (&open, "warning", "the policy says unguarded = true"),
            (
                &known(&refused, &[]),
                "note",
                "there are no permission events on tmpfs: use `hsm recall`",
            ),
            (&old, "note", "no pre-content events here"),
            (&user, "note", "without root there is no guard"),
        ];
        for (known, level, why) in table {
            let told = told(known);
            let want = format!("{level} not guaranteed: {READERS}, because ");
            assert!(told[1].starts_with(&want) && told[1].contains(why), "{told:#?}");
        }
        assert!(told(&known(&idle, &[]))[2].contains("/etc/fstab mounts /srv before a guard"));
        assert_eq!(told(&known(&refused, &[])).len(), 3, "no word about the boot");
    }

    #[test]
    fn a_bad_check_takes_the_first_promise_away() {
        let watched = watched(true, Boot::OnRequest, None);
        let told = told(&known(&watched, &[bad("punch", "no"), good("lease", "yes")]));
        assert!(told[0].ends_with("because these checks are bad: punch"), "{told:#?}");
    }
}

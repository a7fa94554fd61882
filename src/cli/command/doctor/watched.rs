//! Whether a guard can watch a root, whether one does, and what could be read
//! past it: the file system it is on, how that is mounted at boot, overlays and
//! loop devices over it, and the few kernel settings that matter.
//!
//! Facts only; what follows from them is said in `promise`.

use super::{Finding, bad, good, note, warning};
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::report;
use crate::config::Config;
use crate::guard::fstab::{self, FstabLine};
use crate::guard::places::{self, Refusal, Surroundings};
use crate::guard::protocol::{Status, WatchedRoot};
use crate::os::mounts::MountFacts;
use crate::os::{exposure, process};
use std::path::{Path, PathBuf};

/// How a file system gets mounted, as far as a guard is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// Only when somebody asks, so that a guard can do it without a gap.
    OnRequest,
    /// By fstab, before any guard.
    Early,
    /// By systemd at the first use.
    FirstUse,
    /// By something that fstab does not know.
    Unknown,
    /// It holds the system, so it is there before any program.
    WithTheSystem,
}

/// What was found out.
pub struct Watched {
    pub findings: Vec<Finding>,
    /// Why no guard can watch this root, whatever is allowed.
    pub refusal: Option<Refusal>,
    pub at_work: bool,
    pub boot: Boot,
    pub mount_point: Option<PathBuf>,
}

pub fn check(
    path: &Path,
    mount: Option<&MountFacts>,
    around: Surroundings<'_>,
    guard: &Guard,
) -> Watched {
    let Place { finding, refusal, system } = place(path, around);
    let (lines, at_work) = guard_lines(path, guard);
    let mut findings = vec![finding];
    findings.extend(lines);
    let mount_point = mount.map(|facts| facts.mount.mount_point.clone());
    let fstab = fstab::parse_fstab(&std::fs::read("/etc/fstab").unwrap_or_default());
    let boot = match mount_point.as_deref() {
        _ if system => Boot::WithTheSystem,
        Some(at) => boot_of(at, &fstab),
        None => Boot::Unknown,
    };
    if let (Some(mount_point), None) = (&mount_point, &refusal) {
        findings.extend(boot_line(&boot, mount_point));
    }
    if let Some(facts) = mount {
        findings.extend(exposed(path, facts));
    }
    findings.extend(settings());
    Watched { findings, refusal, at_work, boot, mount_point }
}

/// Whether a guard may watch here.
struct Place {
    finding: Finding,
    /// Of the kind that no option lifts.
    refusal: Option<Refusal>,
    /// Only `--allow-system-fs` makes a guard watch it.
    system: bool,
}

fn place(path: &Path, around: Surroundings<'_>) -> Place {
    let (mut refusal, mut system) = (None, false);
    let finding = match places::gather(&[path.to_owned()], around) {
        Err(error) => note("place", format!("cannot be looked at: {error}")),
        Ok(facts) => {
            refusal = places::judge(&facts, true).refusals.pop();
            let lesser = places::judge(&facts, false).refusals.into_iter().next();
            system = refusal.is_none() && lesser.is_some();
            match refusal.as_ref().or(lesser.as_ref()) {
                Some(refusal) => warning("place", told(refusal)),
                None => good("place", "a file system of its own, which a guard may watch"),
            }
        }
    };
    Place { finding, refusal, system }
}

fn told(refusal: &Refusal) -> String {
    format!("no guard watches here: {}; {}", refusal.reason, refusal.instead)
}

/// The guard of this configuration, as it was asked.
pub enum Guard {
    Absent,
    /// One runs and does not answer.
    Silent(String),
    Present {
        roots: Vec<WatchedRoot>,
        status: Status,
    },
}

impl Guard {
    pub fn ask(context: &Context, config: &Config) -> Self {
        let asked = || {
            let Some(mut client) = context.guard(config)? else { return Ok(Self::Absent) };
            Ok::<_, Error>(Self::Present {
                status: client.status()?,
                roots: client.roots().to_vec(),
            })
        };
        asked().unwrap_or_else(|error| Self::Silent(report::one_line(&error)))
    }
}

/// Whether the guard watches `path`, and how it has fared.
fn guard_lines(path: &Path, guard: &Guard) -> (Vec<Finding>, bool) {
    let (roots, status) = match guard {
        Guard::Absent => return (vec![note("at-work", "no guard is at work")], false),
        Guard::Silent(why) => {
            let what = format!("a guard runs and does not answer, so opens here may hang: {why}");
            return (vec![bad("at-work", what)], false);
        }
        Guard::Present { roots, status } => (roots, status),
    };
    let Some(root) = roots.iter().find(|root| path.starts_with(root.path.to_path())) else {
        let what = "the guard that runs does not watch this root: restart it";
        return (vec![warning("at-work", what)], false);
    };
    let who = format!("watched by pid {}, kept by pid {}", status.pid, status.keeper_pid);
    let mut lines = vec![good("at-work", format!("{who}; {} opens wait", status.waiting))];
    if !root.reads_seen {
        lines.push(warning(
            "reads-seen",
            "this kernel shows the guard opens only: who cuts a stub short by its path is not seen",
        ));
    }
    if status.generation > 1 {
        let deaths = status.generation - 1;
        lines.push(note(
            "deaths",
            format!("the guard died {deaths} times and was replaced: see its log"),
        ));
    }
    if status.refused_by_kernel + status.misread > 0 {
        let what = format!(
            "{} opens were refused by the kernel before the guard saw them, {} events were unreadable",
            status.refused_by_kernel, status.misread
        );
        lines.push(note("unseen", what));
    }
    (lines, true)
}

fn boot_of(mount_point: &Path, lines: &[FstabLine]) -> Boot {
    match fstab::line_for(lines, mount_point) {
        Some(line) if line.is_automount() => Boot::FirstUse,
        Some(line) if line.is_noauto() => Boot::OnRequest,
        Some(_) => Boot::Early,
        None => Boot::Unknown,
    }
}

fn boot_line(boot: &Boot, mount_point: &Path) -> Option<Finding> {
    let at = mount_point.display();
    let close = format!("`hsm recall-guard --mount {at}` mounts it without a gap");
    Some(match boot {
        Boot::WithTheSystem => return None,
        Boot::OnRequest => good("boot", format!("/etc/fstab leaves {at} alone; {close}")),
        Boot::Early => note(
            "boot",
            format!("/etc/fstab mounts {at} at boot, before a guard watches: add noauto; {close}"),
        ),
        Boot::FirstUse => note(
            "boot",
            format!(
                "systemd mounts {at} at its first use, before a guard watches: replace \
                 x-systemd.automount by noauto; {close}"
            ),
        ),
        Boot::Unknown => note("boot", format!("/etc/fstab does not have {at}; {close}")),
    })
}

fn exposed(path: &Path, facts: &MountFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for overlay in exposure::overlays_over(facts.mount.superblock()).unwrap_or_default() {
        let shown = overlay.display();
        findings.push(note(
            "overlay",
            format!("an overlay at {shown} shows files of this file system; a guard watches below it, and hsm must not be run on it"),
        ));
    }
    for file in exposure::loop_files().into_iter().filter(|file| file.starts_with(path)) {
        let shown = file.display();
        findings.push(note("loop", format!("{shown} is in use by a loop device and stays local")));
    }
    findings
}

/// Only those that change something here.
fn settings() -> Vec<Finding> {
    let mut findings = Vec::new();
    if process::kernel_setting("fs/fanotify/watchdog_timeout") == Some(0) {
        findings.push(note(
            "watchdog",
            "the kernel does not report a guard that hangs: sysctl fs.fanotify.watchdog_timeout=120",
        ));
    }
    if process::kernel_setting("fs/lease-break-time") == Some(0) {
        findings.push(bad(
            "lease-time",
            "a lease that is not given back blocks its file for ever: sysctl fs.lease-break-time=45",
        ));
    }
    if !process::sees_all_processes() {
        findings.push(note(
            "processes",
            "in a process namespace of its own: a guard started here cannot tell programs outside it, so rules by program and control group do not hold for them",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command::doctor::Level;

    #[test]
    fn fstab_says_whether_there_is_a_gap_at_boot() {
        let lines = fstab::parse_fstab(
            b"/dev/a /srv/a ext4 defaults\n/dev/b /srv/b ext4 noauto,nofail\n\
              /dev/c /srv/c ext4 noauto,x-systemd.automount\n",
        );
        let table = [
            ("/srv/a", Boot::Early),
            ("/srv/b", Boot::OnRequest),
            ("/srv/c", Boot::FirstUse),
            ("/srv", Boot::Unknown),
        ];
        for (target, want) in table {
            let boot = boot_of(Path::new(target), &lines);
            assert_eq!(boot, want, "{target}");
            let line = boot_line(&boot, Path::new(target)).unwrap();
            assert!(line.what.contains(&format!("hsm recall-guard --mount {target}`")), "{line:?}");
        }
    }

    #[test]
    fn a_guard_is_told_from_none_and_from_one_that_hangs() {
        let path = Path::new("/srv/a");
        let (lines, at_work) = guard_lines(path, &Guard::Absent);
        assert!(!at_work && lines[0].what == "no guard is at work");
        let (lines, at_work) = guard_lines(path, &Guard::Silent("no".to_owned()));
        assert!(!at_work && lines[0].level == Level::Bad, "{lines:?}");
        let status = Status { pid: 2, keeper_pid: 1, generation: 3, ..Status::default() };
        let (lines, at_work) = guard_lines(path, &Guard::Present { roots: vec![], status });
        assert!(!at_work && lines[0].what.ends_with("restart it"), "{lines:?}");
    }
}

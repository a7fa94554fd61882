//! Presets of guard rules: what a well-known program is, by its own name and the
//! units that run it, so that nobody has to find that out again.
//!
//! A preset is a list of ways to tell the program; each way is one rule as a person
//! would write it, and one that matches is enough. A script's program is its
//! interpreter, which many others share: such a program (borg as Debian has it) is
//! told by its units only, and by its name where it is a binary of its own. The names
//! are globs over the program's own name, wherever it lies: good to keep a program
//! out; to let one in by name alone trusts whoever may start a program of that name.

use super::guard::DenyErrno;

/// A program that is known by name.
#[derive(Debug, PartialEq, Eq)]
pub struct GuardPreset {
    pub name: &'static str,
    /// One of these is enough.
    pub ways: &'static [Way],
    /// What it is told where the rule denies and names no error.
    pub errno: DenyErrno,
    /// For people.
    pub what: &'static str,
}

/// All that is given must match; one value of a list is enough.
#[derive(Debug, PartialEq, Eq)]
pub struct Way {
    pub exe: &'static [&'static str],
    pub cgroup: &'static [&'static str],
}

impl GuardPreset {
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// What it stands for, in one line.
    pub fn describe(&self) -> String {
        let listed = |key: &str, globs: &[&str]| match globs {
            [] => None,
            globs => Some(format!("{key} {}", globs.join(" "))),
        };
        let ways = self.ways.iter().map(|way| {
            let both = [listed("exe", way.exe), listed("cgroup", way.cgroup)];
            both.into_iter().flatten().collect::<Vec<_>>().join(" below ")
        });
        ways.collect::<Vec<_>>().join(", or ")
    }
}

/// Every preset. Backups are told `EBUSY`, so that their logs name the file as one that
/// this backup passed over; who has no business with old files is told `EPERM`.
pub const PRESETS: &[GuardPreset] = &[
    GuardPreset {
        name: "restic",
        ways: &[Way { exe: &["restic"], cgroup: &[] }],
        errno: DenyErrno::Ebusy,
        what: "restic, also under resticprofile and autorestic",
    },
    GuardPreset {
        name: "borg",
        ways: &[
            Way { exe: &["borg", "borg-linux*"], cgroup: &[] },
            Way {
                exe: &[],
                cgroup: &[
                    "borgmatic.service",
                    "borgmatic@*.service",
                    "borg.service",
                    "borg@*.service",
                    "borgbackup.service",
                    "borgbackup-*.service",
                    "borgbackup@*.service",
                ],
            },
        ],
        errno: DenyErrno::Ebusy,
        what: "borg by its units, and by name where it is a binary",
    },
    GuardPreset {
        name: "rsync",
        ways: &[Way { exe: &["rsync"], cgroup: &["/system.slice/**"] }],
        errno: DenyErrno::Ebusy,
        what: "rsync as services, timers and cron run it; by hand it still recalls",
    },
    GuardPreset {
        name: "updatedb",
        ways: &[
            Way { exe: &["updatedb", "updatedb.*"], cgroup: &[] },
            Way {
                exe: &[],
                cgroup: &[
                    "updatedb.service",
                    "plocate-updatedb.service",
                    "mlocate-updatedb.service",
                ],
            },
        ],
        errno: DenyErrno::Eperm,
        what: "updatedb of plocate and mlocate",
    },
    GuardPreset {
        name: "tracker",
        ways: &[Way {
            exe: &[
                "tracker-miner-*",
                "tracker-extract*",
                "tracker-store",
                "localsearch*",
                "baloo_file*",
                "recollindex",
            ],
            cgroup: &[],
        }],
        errno: DenyErrno::Eperm,
        what: "the file indexers of GNOME and KDE, and recoll",
    },
    GuardPreset {
        name: "clamd",
        ways: &[
            Way { exe: &["clamd", "clamscan", "clamdscan", "clamonacc"], cgroup: &[] },
            Way {
                exe: &[],
                cgroup: &[
                    "clamav-daemon.service",
                    "clamd.service",
                    "clamd@*.service",
                    "clamav-clamonacc.service",
                    "clamonacc.service",
                ],
            },
        ],
        errno: DenyErrno::Eperm,
        what: "the ClamAV scanners, as daemon and by hand",
    },
];

#[cfg(test)]
mod tests {
    use super::super::guard::{cgroup_globs, exe_globs};
    use super::*;

    #[test]
    fn every_preset_says_something_and_its_globs_compile() {
        for preset in PRESETS {
            assert!(!preset.ways.is_empty() && !preset.what.is_empty(), "{}", preset.name);
            assert_eq!(GuardPreset::named(preset.name), Some(preset));
            for Way { exe, cgroup } in preset.ways {
                assert!(!exe.is_empty() || !cgroup.is_empty(), "{} is for everybody", preset.name);
                let (mut programs, mut groups) = (exe_globs(), cgroup_globs());
                exe.iter().for_each(|glob| programs.add(glob).expect("a glob"));
                cgroup.iter().for_each(|glob| groups.add(glob).expect("a glob"));
            }
        }
    }

    #[test]
    fn a_preset_is_described_as_a_person_would_write_it() {
        let told = |name| GuardPreset::named(name).expect("a preset").describe();
        assert_eq!(told("restic"), "exe restic");
        assert_eq!(told("rsync"), "exe rsync below cgroup /system.slice/**");
        assert!(told("borg").starts_with("exe borg borg-linux*, or cgroup borgmatic.service "));
    }
}

//! Programs, users and units as the log of recalls names them.

use super::accounts::Accounts;
use super::output::{escaped, escaped_path};
use std::path::Path;

/// The systemd unit of a control group: the innermost service or scope, else the
/// group itself.
pub fn unit(cgroup: &str) -> &str {
    let is_unit = |part: &&str| part.ends_with(".service") || part.ends_with(".scope");
    cgroup.rsplit('/').find(is_unit).unwrap_or(cgroup)
}

/// A program for people.
pub fn program(exe: &str) -> String {
    match exe {
        "" => "a program that is gone".to_owned(),
        exe => escaped_path(Path::new(exe)),
    }
}

/// A control group or unit for people.
pub fn unit_text(unit: &str) -> String {
    match unit {
        "" => "no unit".to_owned(),
        unit => escaped(unit.as_bytes()),
    }
}

/// A user for people: by name where `/etc/passwd` has one. The number that is no
/// user's ((uid_t) -1, chown(2)) stands for one that nobody could tell.
pub fn user(accounts: &Accounts, uid: u32) -> String {
    match accounts.user(uid) {
        _ if uid == u32::MAX => "an unknown user".to_owned(),
        Some(name) => escaped(name.as_bytes()),
        None => format!("uid {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_the_innermost_service_or_scope() {
        for (cgroup, want) in [
            ("/system.slice/smbd.service", "smbd.service"),
            ("/system.slice/nfs.service/worker-1", "nfs.service"),
            ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
            ("/user.slice/user-0.slice", "/user.slice/user-0.slice"),
            ("", ""),
        ] {
            assert_eq!(unit(cgroup), want);
        }
    }

    #[test]
    fn the_number_of_nobody_is_an_unknown_user() {
        let none = Accounts::default();
        assert_eq!(user(&none, u32::MAX), "an unknown user");
        assert_eq!(user(&none, 4711), "uid 4711");
    }
}

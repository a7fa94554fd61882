//! This process and the machine it runs on.

use rustix::process::{Resource, Rlimit};
use rustix::thread::CapabilitySet;
use std::io;

/// `PROC_USER_INIT_INO` of Linux' `include/linux/proc_ns.h`.
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

/// `PROC_PID_INIT_INO` of the same file.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The effective user.
pub fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// From here on nothing of this process's memory, in which there may be keys and other
/// people's files, is written to a core file or handed to a program that collects
/// them, and no other process of the same user can look into it (`PR_SET_DUMPABLE` of
/// prctl(2)).
pub fn keep_memory_private() -> io::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none)?;
    let private = rustix::process::DumpableBehavior::NotDumpable;
    Ok(rustix::process::set_dumpable_behavior(private)?)
}

/// Whether `trusted.*` attributes may be read and written (xattr(7)):
/// `CAP_SYS_ADMIN` is effective, and in the machine's own user namespace; the
/// root of a rootless container has it only in its own, where the kernel hides
/// those attributes.
pub fn can_use_trusted_xattrs() -> bool {
    let effective = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    let namespace = std::fs::read_link("/proc/self/ns/user");
    effective && namespace.map_or(true, |link| link.as_os_str() == INITIAL_USER_NAMESPACE)
}

/// Whether this process sees every process of the machine; in a container it
/// sees those of the container, and the others have no number.
pub fn sees_all_processes() -> bool {
    let namespace = std::fs::read_link("/proc/self/ns/pid");
    namespace.map_or(true, |link| link.as_os_str() == INITIAL_PID_NAMESPACE)
}

/// A number of `/proc/sys`, such as `fs/lease-break-time`; `None` where the
/// kernel has no such setting.
pub fn kernel_setting(name: &str) -> Option<i64> {
    first_line(&format!("/proc/sys/{name}")).trim().parse().ok()
}

/// Another one after each boot; empty where the kernel does not say.
pub fn boot_id() -> String {
    first_line("/proc/sys/kernel/random/boot_id")
}

pub fn pid() -> u32 {
    std::process::id()
}

/// Of the process that started this one; 0 once it has ended and nobody took
/// its place.
pub fn parent_pid() -> u32 {
    rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get() as u32)
}

pub fn hostname() -> String {
    first_line("/proc/sys/kernel/hostname")
}

/// Who holds a lock: one line for people.
pub fn holder() -> String {
    format!("pid {} on {}, boot {}", pid(), hostname(), boot_id())
}

fn first_line(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Raises the limit of open files as far as it goes without privilege; returns
/// what it is now.
pub fn raise_nofile_limit() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    now.unwrap_or(u64::MAX)
}

/// Processors this process may use; at least one.
pub fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks the kernel itself: an ordinary user may not set what root may.
    #[test]
    fn the_answer_about_trusted_attributes_is_the_kernels() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let allowed = crate::os::xattrs::set(file.as_file(), "trusted.hsm-test", b"x").is_ok();
        assert_eq!(can_use_trusted_xattrs(), allowed);
    }

    /// In a process of its own: there is no way back.
    #[test]
    fn memory_is_kept_private() {
        let child = crate::os::child::in_child(&[], || {
            let done = keep_memory_private().is_ok();
            let core = rustix::process::getrlimit(Resource::Core);
            let dumped = rustix::process::dumpable_behavior();
            let is_private = matches!(dumped, Ok(rustix::process::DumpableBehavior::NotDumpable));
            i32::from(!(done && is_private && core.current == Some(0)))
        });
        assert_eq!(child.wait().expect("wait"), crate::os::child::ExitKind::Code(0));
    }

    #[test]
    fn the_machine_has_a_boot_and_a_core() {
        assert_eq!(boot_id().len(), 36);
        assert!(holder().contains(&boot_id()));
        assert!(available_cores() >= 1);
        assert!(kernel_setting("fs/lease-break-time").is_some());
        assert_eq!(kernel_setting("fs/no-such-setting"), None);
        let raised = raise_nofile_limit();
        assert_eq!(
            rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            raised
        );
    }
}

//! This process and this machine (stand-in).

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn pid() -> u32 {
    std::process::id()
}

pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

pub fn hostname() -> String {
    String::new()
}

pub fn holder() -> String {
    format!("pid {}, boot {}", pid(), boot_id())
}

pub fn can_use_trusted_xattrs() -> bool {
    is_root()
}

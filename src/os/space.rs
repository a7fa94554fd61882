//! How full a file system is, in the terms `df` uses.
//!
//! What is reserved for root counts as used up: an ordinary writer cannot have
//! it, so a watermark must not rely on it.

use std::io;
use std::os::fd::AsFd;

/// Free space that a recall or a restore leaves to everybody else.
pub const RESERVE_BYTES: u64 = 64 << 20;

/// Space of the file system a descriptor is on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FreeSpace {
    pub total_bytes: u64,
    /// What an ordinary user may still write.
    pub available_bytes: u64,
    /// Used plus available: the total without what is reserved for root.
    pub usable_bytes: u64,
    /// Used of used plus available, as `df` has it: 100 when ordinary users can
    /// write no more.
    pub used_pct: f64,
}

impl FreeSpace {
    /// Of the file system that `fd` is on.
    pub fn of(fd: impl AsFd) -> io::Result<Self> {
        let fs = rustix::fs::fstatvfs(fd)?;
        Ok(Self::from_blocks(fs.f_frsize, fs.f_blocks, fs.f_bfree, fs.f_bavail))
    }

    /// What counts as used up, of `usable_bytes`.
    pub fn used_bytes(&self) -> u64 {
        self.usable_bytes - self.available_bytes
    }

    fn from_blocks(block_bytes: u64, total: u64, free: u64, available: u64) -> Self {
        let used = total.saturating_sub(free);
        let counted = used.saturating_add(available);
        Self {
            total_bytes: total.saturating_mul(block_bytes),
            available_bytes: available.saturating_mul(block_bytes),
            usable_bytes: counted.saturating_mul(block_bytes),
            used_pct: if counted == 0 { 0.0 } else { used as f64 / counted as f64 * 100.0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_for_root_is_not_free() {
        let space = FreeSpace::from_blocks(4096, 1000, 100, 50);
        assert_eq!(space.total_bytes, 4_096_000);
        assert_eq!(space.available_bytes, 204_800);
        assert_eq!(space.usable_bytes, 950 * 4096);
        assert!((space.used_pct - 900.0 / 950.0 * 100.0).abs() < 1e-9);
        assert_eq!(FreeSpace::from_blocks(4096, 1000, 50, 0).used_pct, 100.0);
        assert_eq!(FreeSpace::from_blocks(0, 0, 0, 0).used_pct, 0.0);
    }

    #[test]
    fn a_real_file_system_has_some() {
        let space = FreeSpace::of(std::fs::File::open("/tmp").expect("open")).expect("statfs");
        assert!(space.total_bytes >= space.available_bytes && space.total_bytes > 0);
        assert!((0.0..=100.0).contains(&space.used_pct));
    }
}

//! `hsm recall-guard`: kernel events in, exactly one answer each out.

pub mod admission;
pub mod fstab;
pub mod places;

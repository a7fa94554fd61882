//! Backups beside tiering: what a manifest lists, what the exclude lists mean to the
//! programs that read them, and that backup, manifest and store are everything.

#[path = "support/guard.rs"]
mod guard;
#[path = "support/loopfs.rs"]
mod loopfs;
mod support;

mod backup {
    mod check;
    mod excludes;
    mod listing;
    mod presets;
    pub mod programs;
    mod recipe;
}

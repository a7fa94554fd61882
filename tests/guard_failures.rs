//! The guard when something is wrong around it: stores, space, processes, marks,
//! markers. Nobody ever reads a wrong byte, nobody waits for ever, and stubs
//! stay what they are.

mod guard_failures {
    pub mod deaths;
    pub mod foreign;
    pub mod lifecycle;
    pub mod neighbours;
    pub mod reader;
    pub mod rules;
    pub mod space;
    pub mod stores;

    use super::guard::Guarded;
    use super::support::running::until;
    use super::support::snapshot::allocated;
    use std::time::Duration;

    /// What an answer takes at most, whatever is wrong.
    pub const PATIENT: Duration = Duration::from_secs(60);

    /// What must not change about a stub whose recall failed.
    #[derive(Debug, PartialEq, Eq)]
    pub struct Intact {
        marker: Vec<u8>,
        len: u64,
        modified: std::time::SystemTime,
    }

    impl Intact {
        pub fn of(guarded: &Guarded, name: &str) -> Self {
            let path = guarded.path(name);
            let meta = std::fs::metadata(&path).expect("metadata");
            let marker = xattr::get(&path, "trusted.hsm").expect("attributes").expect("a marker");
            Self { marker, len: meta.len(), modified: meta.modified().expect("an mtime") }
        }
    }

    /// It is the stub that it was before, once the recall has ended that its
    /// reader no longer waits for.
    #[track_caller]
    pub fn intact(guarded: &Guarded, name: &str, before: &Intact) {
        let settled = || {
            let left = allocated(&guarded.path(name));
            (left <= 4096 && Intact::of(guarded, name) == *before).then_some(())
        };
        let now = || (Intact::of(guarded, name), allocated(&guarded.path(name)));
        assert!(until(PATIENT, settled).is_some(), "{name}: {before:?} became {:?}", now());
    }
}
#[path = "support/guard.rs"]
mod guard;
#[path = "support/loopfs.rs"]
mod loopfs;
#[path = "support/planted.rs"]
mod planted;
#[path = "support/s3_place.rs"]
mod s3_place;
#[path = "support/s3_server.rs"]
mod s3_server;
mod support;

/// Not a test: the part of another process (see `support::actor`).
#[test]
fn actor() {
    guard_failures::reader::act();
    guard_failures::neighbours::act();
}

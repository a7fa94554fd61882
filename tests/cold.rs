//! Archive classes: what cannot be read at once is asked for once, waits without
//! holding anybody, and comes back whole.
//!
//! The archive is the server in this process (tests/support/s3_server_cold.rs), which
//! brings nothing before a test releases it; against a real server, where
//! `HSM_TEST_S3_ENDPOINT` names one, only what it does by itself.

#[path = "support/guard.rs"]
mod guard;
#[path = "support/loopfs.rs"]
mod loopfs;
#[allow(dead_code)] // its part of it
#[path = "guard_failures/reader.rs"]
mod reader;
#[path = "support/s3_place.rs"]
mod s3_place;
#[path = "support/s3_server.rs"]
mod s3_server;
mod support;

mod cold {
    mod classes;
    mod guarded;
    mod plans;
    mod recalling;
    mod scene;
    mod troubles;
}

/// Not a test: the part of another process (see `support::actor`).
#[test]
fn actor() {
    reader::act();
}

//! What an administrator does between two runs: plans that are reviewed and
//! applied, the log of a file, the recalls, how the server stands.

#[path = "support/guard.rs"]
mod guard;
#[path = "support/loopfs.rs"]
mod loopfs;
mod support;

mod operations {
    mod exposition;
    mod live;
    mod log;
    mod outputs;
    mod plans;
    mod recalls;
    mod status;
    mod watched;
}

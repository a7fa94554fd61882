//! A tree from the store alone: on a machine that has nothing but the store's URL
//! and key, whole or as stubs, as of any time, and never over what is there.

mod support;

#[path = "support/guard.rs"]
mod guard;
#[path = "support/loopfs.rs"]
mod loopfs;
#[path = "support/s3_place.rs"]
mod s3_place;
#[path = "support/s3_server.rs"]
mod s3_server;

mod restore {
    pub mod deaths;
    pub mod existing;
    pub mod hostile;
    pub mod managed;
    pub mod points;
    pub mod reading;
    pub mod scene;
    pub mod segments;
    pub mod trees;
    pub mod undeleting;
    pub mod users;
}

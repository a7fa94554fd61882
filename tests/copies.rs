//! Two stores for one rule: nothing with `copies = 2` is a stub before both copies are
//! proven, whatever the second store does; and what the first store loses comes back
//! from the second.

#[path = "support/guard.rs"]
mod guard;
#[path = "support/loopfs.rs"]
mod loopfs;
#[path = "support/s3_place.rs"]
mod s3_place;
#[path = "support/s3_server.rs"]
mod s3_server;
mod support;

mod copies {
    mod scene;

    mod bucket;
    mod deaths;
    mod first;
    mod garbage;
    mod guarded;
    mod later;
    mod nodes;
    mod second;
    mod whole;
}

//! What docs/SECURITY.md promises, attacked: by an ordinary user of the tree while root
//! works there, by whoever can write to the store, and by whoever reads what `hsm`
//! leaves behind. Each claim of that page names the test that would fail without it;
//! those that other suites hold are named there too.

mod support;

#[path = "support/guard.rs"]
mod guard;
#[path = "support/loopfs.rs"]
mod loopfs;
#[path = "support/s3_place.rs"]
mod s3_place;
#[path = "support/s3_server.rs"]
mod s3_server;
#[path = "restore/scene.rs"]
#[allow(dead_code)]
mod scene;
#[path = "restore/segments.rs"]
#[allow(dead_code)]
mod segments;

mod security {
    pub mod adopting;
    pub mod catalogs;
    pub mod leaks;
    pub mod modes;
    pub mod ordinary;
    pub mod page;
    pub mod plans;
    pub mod races;
    pub mod sockets;
    pub mod stores;
}

//! The rooms of `hsm` that read what others may have written, and need nothing of the
//! machine: the very files of the crate, under their own names.

#![allow(dead_code, unused_imports, clippy::all)]

#[path = "../../../src/chunk/mod.rs"]
pub mod chunk;
#[path = "../../../src/classes.rs"]
pub mod classes;
#[path = "../../../src/config/mod.rs"]
pub mod config;
#[path = "../../../src/document/mod.rs"]
pub mod document;
#[path = "../../../src/os/fanotify/event.rs"]
pub mod events;
#[path = "../../../src/ids.rs"]
pub mod ids;
#[path = "../../../src/manifest/mod.rs"]
pub mod manifest;
#[path = "../../../src/stub/marker.rs"]
pub mod marker;
#[path = "../../../src/policy/mod.rs"]
pub mod policy;
#[path = "../../../src/units/mod.rs"]
pub mod units;
#[path = "../../../src/stub/dos_attributes.rs"]
pub mod dos_attributes;

//! Garbage collection (in the making).

pub mod protocol;

//! `hsm recall-guard`: a stub that any program opens is whole before the program
//! sees a byte of it.
//!
//! The kernel asks before a file is opened or read (fanotify permission events)
//! and waits for the answer. Six invariants follow, and every file here serves
//! one of them (docs/SEMANTICS.md names their tests):
//!
//! 1. a hole without data exists only in an inode that carries the marker
//!    (`stub`);
//! 2. while a marker exists on a mounted file system, a group with a mark on all
//!    of it exists and a process holds it ([`prepare`], [`keeper`]);
//! 3. when blocks are freed nobody has the file open or mapped, and who comes
//!    waits ([`custody`]);
//! 4. an event on a marked inode is answered *allow* only after the file is
//!    whole ([`inodes`], [`worker`]);
//! 5. an answer goes to the program it is for ([`survivors`],
//!    `os::fanotify::Pending`);
//! 6. nobody gets in by omission: no queue that overflows, no panic, no
//!    forgotten event, and every error denies.
//!
//! An event's way: [`reader`] -> [`inodes`] -> [`porter`] ([`admission`]) ->
//! [`worker`] (`recall`) -> answer -> [`recorder`], and for a file in an archive
//! [`asker`]. Other `hsm` processes come by
//! [`service`] and are a [`client`].

pub mod access;
pub mod admission;
mod already_open;
mod asker;
pub mod client;
mod counters;
mod custody;
mod deadlines;
mod endpoint;
pub mod fstab;
mod inodes;
mod job;
pub mod keeper;
pub mod places;
mod porter;
pub mod prepare;
mod probe;
pub mod protocol;
mod reader;
mod recorder;
mod serve;
mod service;
mod slots;
mod survivors;
mod waiter;
mod watched;
mod worker;

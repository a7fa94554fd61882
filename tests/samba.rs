//! Windows clients on a root that is tiered: a real `smbd` on a high port of the
//! loopback, with the smb.conf of docs/SAMBA.md, the guard at work, and files
//! becoming stubs under the clients' hands. Nobody reads a wrong byte, loses a
//! written one, or an attribute; and nobody who only looks has a file recalled.
//!
//! Needs `smbd` and `smbclient` (Debian: samba, smbclient); what holds files open
//! needs Python's smbprotocol besides, in the environment that
//! `HSM_TEST_SMB_PYTHON` names.

#[path = "support/guard.rs"]
mod guard;
#[path = "support/loopfs.rs"]
mod loopfs;
mod support;
mod samba {
    pub mod client;
    pub mod looking;
    pub mod oplocks;
    pub mod saving;
    pub mod server;
    pub mod storm;
    pub mod writing;
}

//! Clients that have been promised to be alone with a file.
//!
//! A client with an oplock writes into its own memory. `hsm` finds such a file
//! open and leaves it alone. With `kernel oplocks` the kernel tells `smbd` of
//! every program on the server that opens the file, and `smbd` asks the client
//! to write back; without, nobody asks, and the client's bytes come when it
//! likes. Neither may lose one.

use super::server::{Server, bytes};
use serde_json::json;

fn a_file_under_an_oplock_is_left_alone(test: &str, more: &str, oplock: &str) {
    let Some(server) = Server::with(test, more) else { return };
    let Some(mut client) = server.client(test) else { return };
    server.put("held.docx", &bytes(60));
    server.let_go();
    server.guarded.on_names("upload", &[], &["held.docx"]).succeeds();
    let opened = client.open("h", "held.docx", "write", oplock);
    assert_eq!(opened["oplock"], oplock, "{more}");
    assert_eq!(server.guarded.refusals("held.docx"), ["not-open"], "{more}");
    assert!(!server.guarded.is_stub("held.docx"));
    // Asked to write back, if at all, it does so now; a run goes on meanwhile.
    let mut want = bytes(60);
    want[7..12].copy_from_slice(b"first");
    client.write("h", 7, b"first");
    let asked = client.step(json!({ "do": "broken", "handle": "h", "seconds": 0 }));
    if asked["broken"] == true {
        client.step(json!({ "do": "acknowledge", "handle": "h", "level": asked["to"] }));
    }
    server.tier();
    assert!(!server.guarded.is_stub("held.docx"));
    want[100..106].copy_from_slice(b"second");
    client.write("h", 100, b"second");
    client.reads("h", &want);
    client.close("h");
    assert!(server.get("held.docx") == want);
    server.let_go();
    server.tier();
    assert!(server.guarded.is_stub("held.docx"), "nobody has it open any more");
    assert!(server.get("held.docx") == want);
}

#[test]
fn a_file_under_a_batch_oplock_of_smbd_is_left_alone() {
    let test = "a_file_under_a_batch_oplock_of_smbd";
    a_file_under_an_oplock_is_left_alone(test, "    kernel oplocks = no\n", "batch");
}

#[test]
fn a_file_under_an_oplock_that_the_kernel_knows_is_left_alone() {
    let test = "a_file_under_an_oplock_that_the_kernel_knows";
    a_file_under_an_oplock_is_left_alone(test, "    kernel oplocks = yes\n", "exclusive");
}

/// Also the open of a stub may ask for one.
#[test]
fn an_oplock_on_a_stub_is_granted_with_its_bytes() {
    let test = "an_oplock_on_a_stub";
    for more in ["    kernel oplocks = no\n", "    kernel oplocks = yes\n"] {
        let Some(server) = Server::with(test, more) else { return };
        let Some(mut client) = server.client(test) else { return };
        server.stubs(&[("a.docx", 61)]);
        client.open("h", "a.docx", "write", "batch");
        client.reads("h", &bytes(61));
        server.tier();
        let mut want = bytes(61);
        want[..3].copy_from_slice(b"new");
        client.write("h", 0, b"new");
        client.close("h");
        assert!(server.get("a.docx") == want, "{more}");
    }
}

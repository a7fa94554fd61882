//! Clients that have been promised to be alone with a file.
//!
//! A client with an oplock writes into its own memory. `hsm` finds such a file
//! open and leaves it alone. With `kernel oplocks` the kernel tells `smbd` of
//! every program on the server that opens the file, and `smbd` asks the client
//! to write back; without, nobody asks, and the client's bytes come when it
//! likes. Neither may lose one.

use super::server::{Server, bytes};
use serde_json::json;

fn a_file_under_an_oplock_is_left_alone(test: &str, kernel: bool) {
    let word = if kernel { "yes" } else { "no" };
    let Some(server) = Server::with(test, &format!("    kernel oplocks = {word}\n")) else {
        return;
    };
    let Some(mut client) = server.client(test) else { return };
    server.put("held.docx", &bytes(60));
    server.let_go();
    server.guarded.on_names("upload", &[], &["held.docx"]).succeeds();
    let opened = client.open("h", "held.docx", "write", "exclusive");
    assert_eq!(opened["oplock"], "exclusive");
    assert_eq!(server.guarded.refusals("held.docx"), ["not-open"]);
    // Who is asked writes back what it has, and gives the promise up.
    let mut want = bytes(60);
    if kernel {
        let asked = client.step(json!({ "do": "broken", "handle": "h", "seconds": 50 }));
        assert_eq!(asked["broken"], true);
        want[7..12].copy_from_slice(b"first");
        client.write("h", 7, b"first");
        client.step(json!({ "do": "acknowledge", "handle": "h", "level": asked["to"] }));
    }
    server.tier();
    assert!(!server.guarded.is_stub("held.docx"));
    want[100..106].copy_from_slice(b"second");
    client.write("h", 100, b"second");
    client.reads("h", &want);
    let asked = client.step(json!({ "do": "broken", "handle": "h", "seconds": 0 }));
    assert_eq!(asked["broken"], false, "nobody is asked without need");
    client.close("h");
    assert!(server.get("held.docx") == want);
    server.let_go();
    server.tier();
    assert!(server.guarded.is_stub("held.docx"), "nobody has it open any more");
    assert!(server.get("held.docx") == want);
}

/// A new file that its client still writes: nothing of it is uploaded by halves,
/// and no run fails for it.
#[test]
fn a_new_file_under_an_oplock_is_uploaded_when_it_is_whole() {
    let test = "a_new_file_under_an_oplock";
    let Some(server) = Server::new(test) else { return };
    let Some(mut client) = server.client(test) else { return };
    assert_eq!(client.create("h", "new.docx", "create")["oplock"], "batch");
    client.write("h", 0, &bytes(62)[..1000]);
    server.tier();
    client.write("h", 1000, &bytes(62)[1000..]);
    client.close("h");
    server.let_go();
    server.tier();
    assert!(server.guarded.is_stub("new.docx"));
    assert!(server.get("new.docx") == bytes(62));
}

#[test]
fn a_file_under_an_oplock_of_smbd_alone_is_left_alone() {
    let test = "a_file_under_an_oplock_of_smbd_alone";
    a_file_under_an_oplock_is_left_alone(test, false);
}

#[test]
fn a_file_under_an_oplock_that_the_kernel_knows_is_left_alone() {
    let test = "a_file_under_an_oplock_that_the_kernel_knows";
    a_file_under_an_oplock_is_left_alone(test, true);
}

/// Also the open of a stub may ask for one.
#[test]
fn an_oplock_on_a_stub_is_granted_with_its_bytes() {
    let test = "an_oplock_on_a_stub";
    let Some(server) = Server::new(test) else { return };
    let Some(mut client) = server.client(test) else { return };
    server.stubs(&[("a.docx", 61)]);
    assert_eq!(client.open("h", "a.docx", "write", "batch")["oplock"], "batch");
    client.reads("h", &bytes(61));
    server.tier();
    let mut want = bytes(61);
    want[..3].copy_from_slice(b"new");
    client.write("h", 0, b"new");
    client.close("h");
    assert!(server.get("a.docx") == want);
}

/// Why the page forbids kernel oplocks: `smbd` then has a lease on the file, and
/// the kernel cannot ask a guard about `smbd`'s own reads and writes of it, so it
/// refuses them. The client is told; what it was told is written is written.
#[test]
fn kernel_oplocks_make_clients_fail_and_lose_nothing_silently() {
    let test = "kernel_oplocks_make_clients_fail";
    let Some(server) = Server::with(test, "    kernel oplocks = yes\n") else { return };
    let Some(mut client) = server.client(test) else { return };
    server.stubs(&[("a.docx", 63)]);
    client.open("h", "a.docx", "write", "batch");
    let (mut want, mut refused) = (bytes(63), 0);
    for at in 0..20 {
        let written = client.try_write("h", at * 1000, b"a line");
        match written.get("error") {
            None => want[at as usize * 1000..][..6].copy_from_slice(b"a line"),
            Some(error) => {
                assert_eq!(error, "0xc0000022", "STATUS_ACCESS_DENIED: {written}");
                refused += 1;
            }
        }
    }
    client.close("h");
    assert!(refused > 0, "then kernel oplocks need not be forbidden any more");
    server.let_go();
    assert!(server.get("a.docx") == want);
}

/// So `hsm doctor` says it, and has nothing to say of the page's own settings.
#[test]
fn doctor_knows_which_settings_of_samba_do_harm() {
    let more = "    kernel oplocks = yes\n    posix locking = no\n";
    for (more, warnings) in [("", 0), (more, 2)] {
        let Some(server) = Server::with("doctor_knows_which_settings", more) else { return };
        let told = server.doctor();
        let ours: Vec<&str> = told.lines().filter(|line| line.contains(" samba ")).collect();
        let warned = ours.iter().filter(|line| line.contains("warning")).count();
        assert_eq!((warned, ours.len()), (warnings, warnings.max(1)), "{told}");
    }
}

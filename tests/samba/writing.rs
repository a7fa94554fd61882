//! Clients that write to stubs, in place.

use super::server::{Server, bytes};
use serde_json::json;

#[test]
fn a_put_over_a_stub_is_the_file_from_then_on() {
    let Some(server) = Server::new("a_put_over_a_stub") else { return };
    server.stubs(&[("a.docx", 10), ("b.docx", 11)]);
    let shorter = &bytes(12)[..1000];
    server.put("a.docx", shorter);
    let longer = [bytes(13), bytes(14)].concat();
    server.put("b.docx", &longer);
    assert!(server.get("a.docx") == shorter && server.get("b.docx") == longer);
    assert!(!server.is_offline("a.docx") && !server.is_offline("b.docx"));
    server.let_go();
    server.tier();
    assert!(server.guarded.is_stub("b.docx") && server.is_offline("b.docx"));
    assert!(server.get("b.docx") == longer);
}

#[test]
fn a_copy_made_by_the_server_has_the_bytes() {
    let Some(server) = Server::new("a_copy_made_by_the_server") else { return };
    server.stubs(&[("a.docx", 15)]);
    server.smb("scopy a.docx copy.docx");
    assert!(server.get("copy.docx") == bytes(15) && server.get("a.docx") == bytes(15));
    assert!(!server.is_offline("copy.docx"));
    assert!(!server.guarded.is_stub("copy.docx"));
}

#[test]
fn writes_into_a_stub_meet_its_bytes() {
    let Some(server) = Server::new("writes_into_a_stub") else { return };
    let Some(mut client) = server.client("writes_into_a_stub") else { return };
    server.stubs(&[("end.log", 16), ("middle.db", 17), ("cut.doc", 18), ("through.db", 19)]);

    let mut want = bytes(16);
    client.open("h", "end.log", "write", "batch");
    client.write("h", want.len() as u64, b"one line more");
    client.close("h");
    want.extend_from_slice(b"one line more");
    assert!(server.get("end.log") == want);

    let mut want = bytes(17);
    client.open("h", "middle.db", "write", "none");
    client.write("h", 100_001, b"a page");
    client.reads("h", &{
        want[100_001..100_007].copy_from_slice(b"a page");
        want.clone()
    });
    client.close("h");
    assert!(server.get("middle.db") == want);

    client.open("h", "cut.doc", "write", "none");
    client.step(json!({ "do": "truncate", "handle": "h", "size": 5000 }));
    client.close("h");
    assert!(server.get("cut.doc") == bytes(18)[..5000]);

    let mut want = bytes(19);
    client.step(json!({ "do": "open", "handle": "h", "name": "through.db", "access": "write",
        "through": true }));
    client.write("h", 0, b"through");
    want[..7].copy_from_slice(b"through");
    let here = std::fs::read(server.guarded.path("through.db")).expect("it is here");
    assert!(here == want, "before the handle is closed");
    client.close("h");
    for name in ["end.log", "middle.db", "cut.doc", "through.db"] {
        assert!(!server.is_offline(name), "{name}");
    }
}

/// Attributes can be read through a handle, data cannot without a recall.
#[test]
fn a_handle_for_attributes_leaves_a_stub_and_one_for_data_does_not() {
    let test = "a_handle_for_attributes_leaves_a_stub";
    let Some(server) = Server::new(test) else { return };
    let Some(mut client) = server.client(test) else { return };
    server.stubs(&[("a.docx", 20)]);
    let opened = client.open("look", "a.docx", "attributes", "none");
    assert_eq!(opened["attributes"], 0x1020);
    assert_eq!(client.step(json!({ "do": "attributes", "handle": "look" }))["attributes"], 0x1020);
    server.tier();
    assert!(server.guarded.is_stub("a.docx"), "nobody has read it");
    client.close("look");
    client.open("read", "a.docx", "read", "none");
    assert!(!server.guarded.is_stub("a.docx"));
    server.tier();
    assert!(!server.guarded.is_stub("a.docx"), "a client has it open");
    client.reads("read", &bytes(20));
    client.close("read");
}

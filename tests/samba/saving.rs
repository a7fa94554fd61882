//! How programs of the office save, on stubs and with runs in between.
//!
//! Word writes a new file beside the old one, renames the old one away, the new
//! one to its name, and deletes the old; a lock file `~$name` is there while a
//! document is open. Excel and LibreOffice rename over the old file. Acrobat
//! deletes it and renames the new one to its name.

use super::super::support::Ran;
use super::super::support::running::PATIENCE;
use super::client::Client;
use super::server::{Server, bytes};
use serde_json::json;

/// Opens a document with its lock file.
fn open_document(client: &mut Client, lock: &str, name: &str, old: &[u8]) {
    client.create("lock", lock, "create");
    client.write("lock", 0, b"\x05a user who has it open");
    client.open("doc", name, "write", "batch");
    client.reads("doc", old);
}

/// Saves as Word does; `between` is called between any two steps.
fn save_as_word(client: &mut Client, name: &str, new: &[u8], between: &mut dyn FnMut()) {
    client.create("new", "~WRD0001.tmp", "create");
    between();
    client.write("new", 0, new);
    between();
    client.close("new");
    between();
    client.close("doc");
    between();
    client.open("doc", name, "write", "batch");
    client.rename("doc", "~WRL0002.tmp", false);
    between();
    client.close("doc");
    client.open("new", "~WRD0001.tmp", "write", "batch");
    client.rename("new", name, false);
    between();
    client.close("new");
    client.delete("~WRL0002.tmp");
    between();
}

#[test]
fn word_saves_over_a_stub_with_runs_between_its_steps() {
    let test = "word_saves_over_a_stub";
    let Some(server) = Server::new(test) else { return };
    let Some(mut client) = server.client(test) else { return };
    server.stubs(&[("letter.docx", 30)]);
    open_document(&mut client, "~$letter.docx", "letter.docx", &bytes(30));
    save_as_word(&mut client, "letter.docx", &bytes(31), &mut || server.tier());
    client.open("again", "letter.docx", "read", "none");
    client.reads("again", &bytes(31));
    client.close("again");
    client.close("lock");
    client.delete("~$letter.docx");
    server.let_go();
    server.tier();
    assert!(server.guarded.is_stub("letter.docx"));
    assert!(server.get("letter.docx") == bytes(31));
    let listing = server.smb("ls");
    assert!(!listing.contains('~'), "nothing is left behind: {listing}");
}

/// Temporary file, then a rename that replaces.
#[test]
fn excel_replaces_a_stub_by_a_rename() {
    let test = "excel_replaces_a_stub";
    let Some(server) = Server::new(test) else { return };
    let Some(mut client) = server.client(test) else { return };
    server.stubs(&[("sums.xlsx", 32)]);
    client.create("new", "3F2A1B00", "create");
    client.write("new", 0, &bytes(33));
    server.tier();
    client.rename("new", "sums.xlsx", true);
    server.tier();
    client.reads("new", &bytes(33));
    client.close("new");
    assert!(server.get("sums.xlsx") == bytes(33));
    assert!(!server.is_offline("sums.xlsx"), "it is another file than the stub");
    server.let_go();
    server.tier();
    assert!(server.guarded.is_stub("sums.xlsx") && server.is_offline("sums.xlsx"));
    assert!(server.get("sums.xlsx") == bytes(33));
}

/// A stub is renamed and deleted without being recalled.
#[test]
fn acrobat_deletes_a_stub_and_renames_the_new_file_to_its_name() {
    let test = "acrobat_deletes_a_stub";
    let Some(server) = Server::new(test) else { return };
    let Some(mut client) = server.client(test) else { return };
    server.stubs(&[("plan.pdf", 34), ("moved.pdf", 35)]);
    client.create("new", "A9Rk3z1.tmp", "create");
    client.write("new", 0, &bytes(36));
    client.close("new");
    server.let_go();
    server.tier();
    assert!(server.guarded.is_stub("A9Rk3z1.tmp"), "also the new one may be a stub by now");
    client.delete("plan.pdf");
    server.smb("rename A9Rk3z1.tmp plan.pdf; rename moved.pdf away.pdf");
    assert!(server.guarded.is_stub("plan.pdf") && server.guarded.is_stub("away.pdf"));
    // To smbd a rename is a new file to be archived, so it writes the attributes.
    assert!(!server.is_offline("plan.pdf") && !server.is_offline("away.pdf"));
    server.tier();
    assert!(server.guarded.is_stub("plan.pdf") && server.guarded.is_stub("away.pdf"));
    assert!(server.is_offline("plan.pdf") && server.is_offline("away.pdf"));
    assert!(server.get("plan.pdf") == bytes(36) && server.get("away.pdf") == bytes(35));
}

/// Samba's own bin is a rename.
#[test]
fn a_stub_goes_into_the_recycle_bin_as_a_stub() {
    let more = "    vfs objects = acl_xattr recycle\n    recycle:repository = .recycle\n";
    let Some(server) = Server::with("a_stub_goes_into_the_recycle_bin", more) else { return };
    server.stubs(&[("a.docx", 37)]);
    server.smb("del a.docx");
    assert!(server.guarded.is_stub(".recycle/a.docx"));
    server.tier();
    server.smb("rename .recycle\\a.docx back.docx");
    assert!(server.guarded.is_stub("back.docx"));
    assert!(server.get("back.docx") == bytes(37));
}

/// The policy for office documents, two years later.
#[test]
fn lock_files_and_saves_in_progress_are_never_tiered() {
    let test = "lock_files_and_saves_in_progress";
    let Some(server) = Server::new(test) else { return };
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/samba-office.toml");
    server.guarded.sandbox.policy(&std::fs::read_to_string(policy).expect("the policy"));
    let left = ["~$letter.docx", "~WRD0001.tmp", "~WRL2.tmp", "save.tmp", "Stock.laccdb"];
    let cold = ["letter.docx", "plan.pdf", "SUMS.XLSX"];
    for (name, seed) in left.iter().chain(&cold).zip(40..) {
        server.guarded.write(name, &bytes(seed));
    }
    let now_ns = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let later_ns = now_ns.expect("after 1970").as_nanos() + 2 * 31_557_600 * 1_000_000_000;
    let tier = || {
        let mut tier = server.guarded.sandbox.command(["tier"]);
        Ran::within(PATIENCE, tier.env("HSM_TEST_NOW", later_ns.to_string())).succeeds();
    };
    tier();
    tier();
    let stubs = |names: &[&str]| names.iter().filter(|n| server.guarded.is_stub(n)).count();
    assert_eq!((stubs(&cold), stubs(&left)), (cold.len(), 0));
    let mut find = server.guarded.sandbox.command(["find", "--state", "resident"]);
    let found = Ran::within(PATIENCE, find.args(["--type", "file"])).succeeds().stdout();
    let mut found: Vec<&str> = found.lines().filter_map(|line| line.rsplit('/').next()).collect();
    found.sort_unstable();
    let mut wanted = left;
    wanted.sort_unstable();
    assert_eq!(found, wanted, "not even uploaded");
}

/// A file that nobody may share is refused to others, and no run minds.
#[test]
fn a_document_that_is_locked_for_others_is_left_alone_by_a_run() {
    let test = "a_document_that_is_locked_for_others";
    let Some(server) = Server::new(test) else { return };
    let Some(mut client) = server.client(test) else { return };
    server.put("mine.docx", &bytes(50));
    client.step(json!({ "do": "open", "handle": "h", "name": "mine.docx", "access": "write",
        "share": "", "oplock": "none" }));
    server.guarded.on_names("upload", &[], &["mine.docx"]).succeeds();
    assert_eq!(server.guarded.refusals("mine.docx"), ["not-open"]);
    server.tier();
    assert!(!server.guarded.is_stub("mine.docx"));
    client.write("h", 0, b"still mine");
    client.close("h");
    let mut want = bytes(50);
    want[..10].copy_from_slice(b"still mine");
    assert!(server.get("mine.docx") == want);
}

//! Who only looks has nothing recalled, and sees what is offline.

use super::super::guard::GUARDED_POLICY;
use super::super::support::Ran;
use super::super::support::running::{PATIENCE, Running, until};
use super::super::support::snapshot::allocated;
use super::server::{Server, bytes};
use hsm::stub::dos_attributes::{self, DOS_ATTRIBUTES};
use std::process::Stdio;

#[test]
fn a_listing_shows_stubs_as_offline_and_recalls_none() {
    let Some(server) = Server::new("a_listing_shows_stubs_as_offline") else { return };
    server.smb("mkdir plans");
    server.stubs(&[("plans/a.docx", 1), ("plans/b.pdf", 2)]);
    server.put("plans/here.txt", b"resident");
    let names = ["plans/a.docx", "plans/b.pdf", "plans/here.txt"];
    assert_eq!(names.map(|name| server.told(name)), ["Ao", "Ao", "A"]);
    server.smb("cd plans; ls; altname b.pdf; du");
    server.smb("recurse; ls");
    assert!(server.guarded.is_stub("plans/a.docx") && server.guarded.is_stub("plans/b.pdf"));
    assert!(server.get("plans/a.docx") == bytes(1));
    assert!(!server.is_offline("plans/a.docx") && !server.guarded.is_stub("plans/a.docx"));
    assert!(server.is_offline("plans/b.pdf"), "nobody has read that one");
}

/// What Samba keeps in attributes, and the ACLs of both worlds.
#[test]
fn attributes_come_through_a_stub_and_its_recall_byte_by_byte() {
    let Some(server) = Server::new("attributes_come_through_a_stub") else { return };
    server.put("budget.xlsx", &bytes(3));
    server.smb("setmode budget.xlsx +hs; utimes budget.xlsx 2020:01:02-03:04:05 -1 -1 -1");
    let path = server.guarded.path("budget.xlsx");
    let mut acl = std::process::Command::new("setfacl");
    Ran::within(PATIENCE, acl.args(["-m", "u:games:rw,g:users:r"]).arg(&path)).succeeds();
    server.smb("get budget.xlsx /dev/null");
    let names = [DOS_ATTRIBUTES, "security.NTACL", "system.posix_acl_access"];
    let all = |server: &Server| names.map(|name| server.xattr("budget.xlsx", name));
    let before = all(&server);
    assert!(before.iter().all(Option::is_some), "{before:?}");
    let mtime = std::fs::metadata(&path).expect("metadata").modified().expect("an mtime");
    server.let_go();
    server.guarded.stub(&["budget.xlsx"]);
    let during = all(&server);
    let was = dos_attributes::parse(&server.dos_attributes("budget.xlsx")).expect("of Samba");
    assert!(was.is_offline());
    assert_eq!(Some(was.with_offline(false).encode()), before[0]);
    assert_eq!(during[1..], before[1..]);
    assert_eq!(server.told("budget.xlsx"), "AHSo");
    assert_eq!(std::fs::metadata(&path).expect("metadata").modified().expect("an mtime"), mtime);
    assert!(server.get("budget.xlsx") == bytes(3));
    assert_eq!(all(&server), before);
    assert_eq!(std::fs::metadata(&path).expect("metadata").modified().expect("an mtime"), mtime);
    assert_eq!(server.told("budget.xlsx"), "AHS");
}

/// `smbd` never stores the bit: whoever changes an attribute of a stub drops it.
#[test]
fn what_a_client_changes_about_a_stub_stays_and_the_next_run_shows_it_again() {
    let Some(server) = Server::new("what_a_client_changes_about_a_stub") else { return };
    server.stubs(&[("a.docx", 4)]);
    server.smb("setmode a.docx +h");
    assert_eq!(server.told("a.docx"), "AH");
    assert!(server.guarded.is_stub("a.docx"));
    server.tier();
    assert_eq!(server.told("a.docx"), "AHo");
    assert!(server.guarded.is_stub("a.docx"));
    server.smb("setmode a.docx -h");
    server.tier();
    assert_eq!(server.told("a.docx"), "Ao");
    assert!(server.get("a.docx") == bytes(4));
    assert_eq!(server.told("a.docx"), "A");
    let verified = server.guarded.sandbox.command(["verify"]).output().expect("hsm verify");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

/// The copy knows the file, not its placeholder; and a restored stub is one.
#[test]
fn a_restore_brings_the_attributes_without_the_bit_and_stubs_with_it() {
    let Some(server) = Server::new("a_restore_brings_the_attributes") else { return };
    server.put("a.docx", &bytes(5));
    let before = server.dos_attributes("a.docx");
    server.let_go();
    server.guarded.stub(&["a.docx"]);
    // Told anew to the catalog, as a stub.
    let path = server.guarded.path("a.docx");
    let mut chmod = std::process::Command::new("chmod");
    Ran::within(PATIENCE, chmod.arg("0640").arg(&path)).succeeds();
    server.tier();
    assert!(server.is_offline("a.docx") && server.guarded.is_stub("a.docx"));
    for (options, offline) in [(&["--data"], false), (&["--stubs"], true)] {
        let to = server.guarded.away(options[0]);
        let mut restore = server.guarded.sandbox.command(["restore", "--to"]);
        Ran::within(PATIENCE, restore.arg(&to).args(options)).succeeds();
        let restored = to.join(path.strip_prefix("/").expect("an absolute path"));
        let meta = std::fs::metadata(&restored).expect("it is restored");
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&meta) & 0o777, 0o640);
        let found = xattr::get(&restored, DOS_ATTRIBUTES).expect("attributes").expect("Samba's");
        let wanted = dos_attributes::parse(&before).expect("Samba's").with_offline(offline);
        assert_eq!(found, wanted.encode(), "{options:?}");
    }
}

/// Files that Samba has not written are shown only where that is asked for.
#[test]
fn files_without_dos_attributes_are_shown_as_configured() {
    let Some(mut server) = Server::new("files_without_dos_attributes") else { return };
    let names = ["auto.bin", "always.bin", "never.bin"];
    for (name, seed) in names.iter().zip(6..) {
        server.guarded.write(name, &bytes(seed));
    }
    server.put("samba.bin", &bytes(9));
    server.let_go();
    server.guarded.sandbox.policy(GUARDED_POLICY);
    let known = std::fs::read_to_string(server.guarded.sandbox.config()).expect("the config");
    for (name, offline) in [("auto.bin", false), ("always.bin", true), ("never.bin", false)] {
        let word = name.strip_suffix(".bin").expect("a name");
        let text = format!("{known}\n[samba]\noffline = \"{word}\"\n");
        std::fs::write(server.guarded.sandbox.config(), text).expect("the config");
        server.guarded.restart();
        server.guarded.stub(&[name]);
        assert_eq!(server.is_offline(name), offline, "{name}");
    }
    server.guarded.stub(&["samba.bin"]);
    assert!(!server.is_offline("samba.bin"), "never is never");
    let blocks = ["auto.bin", "always.bin"].map(|name| allocated(&server.guarded.path(name)));
    assert_eq!(blocks, [0, 4096], "what it costs on ext4");
    for (name, seed) in names.iter().zip(6..) {
        assert!(server.get(name) == bytes(seed), "{name}");
        assert_eq!(server.xattr(name, DOS_ATTRIBUTES), None, "{name}: as it was");
    }
}

/// With a rule that denies `smbd` when it works for the user of these tests.
fn deny(server: &mut Server, errno: &str) {
    let rule =
        "[[guard.rule]]\nname = \"clients\"\nexe = \"smbd*\"\nuser = \"backup\"\naction = \"deny\"";
    let config = server.guarded.sandbox.config();
    let known = std::fs::read_to_string(&config).expect("the config");
    let (before, _) =
        known.split_once("[[guard.rule]]\nname = \"clients\"").unwrap_or((&known, ""));
    std::fs::write(config, format!("{before}\n{rule}\nerrno = \"{errno}\"\n")).expect("written");
    server.guarded.restart();
}

#[test]
fn a_client_that_may_not_recall_is_refused_and_the_stub_stays() {
    let Some(mut server) = Server::new("a_client_that_may_not_recall") else { return };
    server.stubs(&[("a.docx", 21)]);
    for (errno, status) in [
        ("EPERM", "NT_STATUS_ACCESS_DENIED"),
        ("EIO", "NT_STATUS_IO_DEVICE_ERROR"),
        ("EBUSY", "NT_STATUS_ACCESS_DENIED"),
    ] {
        deny(&mut server, errno);
        let refused = server.try_smb("get a.docx /dev/null");
        let said = refused.stdout() + &refused.stderr();
        assert!(refused.code() != 0 && said.contains(status), "{errno}: {said}");
        assert!(server.guarded.is_stub("a.docx") && server.is_offline("a.docx"), "{errno}");
    }
}

/// To `smbd` the error means that a lease is being broken: it tries again every
/// second, and the client waits.
#[test]
fn a_client_that_is_to_come_again_waits_until_the_file_is_there() {
    let Some(mut server) = Server::new("a_client_that_is_to_come_again") else { return };
    server.stubs(&[("a.docx", 22)]);
    deny(&mut server, "EAGAIN");
    let local = server.guarded.sandbox.path("home/waited");
    let mut get = server.smbclient(&format!("get a.docx {}", local.display()));
    let mut get = Running::start(get.stdout(Stdio::null()).stderr(Stdio::null()));
    let twice = || (server.guarded.said().matches("denied").count() > 1).then_some(());
    until(PATIENCE, twice).expect("it is denied, and tries again");
    assert!(server.guarded.is_stub("a.docx"));
    server.guarded.on_names("recall", &[], &["a.docx"]).succeeds();
    let ended = get.ends_within(PATIENCE).expect("it has waited long enough");
    assert!(ended.success());
    assert!(std::fs::read(local).expect("what was fetched") == bytes(22));
}

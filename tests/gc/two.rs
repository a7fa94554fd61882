//! Two servers on one store: one that was away, one that is lost, copies of one chunk
//! at two places, and what only one of them knows that it needs.

use crate::place::{
    AT_ONCE, all_is_there, collecting, gc, gc_to_the_end, in_process, neighbour, packs, set_gc,
    snapshot_of_log,
};
use crate::support::Sandbox;
use crate::support::snapshot::is_stub;
use crate::support::trees::noise;
use hsm::chunk::Protection;
use hsm::manifest::{Record, SegmentHeader};
use hsm::site::log::put_segment;
use std::fs;
use std::process::Command;

/// `first` says that its versions expired, and dies before it collects anything.
fn expire_and_die(sandbox: &mut Sandbox) {
    sandbox.set_env("HSM_FAULT_ABORT", "gc.written");
    assert_eq!(sandbox.hsm(["gc"]).code(), -1);
    sandbox.set_env("HSM_FAULT_ABORT", "");
}

/// What `away` had is gone by the collections of another server.
fn deleted_while_away() -> (Sandbox, Sandbox) {
    let mut away = collecting(AT_ONCE);
    let there = neighbour(&away, AT_ONCE);
    away.write("again", &noise(1, 200_000));
    away.write("kept", &noise(2, 100_000));
    away.hsm(["tier"]).succeeds();
    fs::remove_file(away.tree().join("again")).unwrap();
    away.write("kept", &noise(3, 100_000));
    away.hsm(["tier"]).succeeds();
    expire_and_die(&mut away);
    there.write("theirs", &noise(4, 100_000));
    there.hsm(["tier"]).succeeds();
    assert!(gc(&there)["condemned_packs"].as_u64() > Some(0));
    assert!(gc(&there)["deleted_packs"].as_u64() > Some(0));
    (away, there)
}

#[test]
fn a_server_that_was_away_relies_on_nothing_that_is_gone() {
    let (away, _there) = deleted_while_away();
    // Its state DB believes in the pack, and saw it today.
    away.write("again", &noise(1, 200_000));
    let summary = away.hsm(["tier", "--json"]).succeeds().summary();
    if summary["uploaded_files"] == 0 {
        assert!(!is_stub(&away.tree().join("again")), "{summary}");
        let summary = away.hsm(["tier", "--json"]).succeeds().summary();
        assert_eq!(summary["uploaded_files"], 1, "{summary}");
    }
    assert!(is_stub(&away.tree().join("again")));
    away.on("recall", &["-r"], &[""]).succeeds();
    assert!(away.read("again") == noise(1, 200_000));
    away.hsm(["verify", "--data"]).succeeds();
    gc_to_the_end(&away);
    all_is_there(&away);
}

#[test]
fn a_check_on_a_server_that_was_away_calls_nothing_lost() {
    let (away, there) = deleted_while_away();
    away.hsm(["verify", "--data"]).succeeds();
    there.hsm(["verify", "--data"]).succeeds();
}

#[test]
fn what_a_plan_condemns_is_sent_again_and_not_relied_on() {
    let mut first = collecting(AT_ONCE);
    let second = neighbour(&first, AT_ONCE);
    first.write("one", &noise(1, 200_000));
    first.hsm(["tier"]).succeeds();
    let of_one = packs(&first.store());
    // The other server knows of the pack by the log.
    second.write("other", &noise(2, 50_000));
    second.hsm(["tier"]).succeeds();
    fs::remove_file(first.tree().join("one")).unwrap();
    first.write("rest", &noise(5, 50_000));
    first.hsm(["tier"]).succeeds();
    expire_and_die(&mut first);
    gc(&second);
    for _ in 0..2 {
        second.write("one", &noise(1, 200_000));
        second.hsm(["tier"]).succeeds();
    }
    assert!(is_stub(&second.tree().join("one")));
    assert!(gc(&second)["deleted_packs"].as_u64() > Some(0));
    assert!(of_one.iter().all(|path| !path.exists()));
    all_is_there(&second);
    assert!(second.read("one") == noise(1, 200_000));
}

#[test]
fn a_retired_server_is_not_waited_for_and_can_write_no_more() {
    let first = collecting(AT_ONCE);
    let mut lost = neighbour(&first, AT_ONCE);
    first.write("one", &noise(1, 100_000));
    first.hsm(["tier"]).succeeds();
    lost.write("theirs", &noise(2, 100_000));
    lost.write("more", &noise(3, 100_000));
    lost.set_env("HSM_FAULT_ABORT", "upload.committed");
    assert_eq!(lost.hsm(["tier"]).code(), -1);
    lost.set_env("HSM_FAULT_ABORT", "");
    first.write("one", &noise(7, 100_000));
    first.hsm(["tier"]).succeeds();
    gc(&first);
    assert_eq!(gc(&first)["waiting"], true);
    let (node, head) = in_process(&lost, None, |site| {
        (site.node_id, site.state.log_head().expect("the head of its log"))
    });
    in_process(&first, None, |site| {
        let by = site.node_id;
        let header = SegmentHeader {
            store: site.store_id,
            node,
            seq: head.next_seq,
            prev: head.prev,
            ack_gen: 0,
            session: "a fence".to_owned(),
            written_ns: site.clock.now_ns(),
        };
        let fence = Record::Fence { by, forget: false };
        put_segment(site.store, &Protection::Plain, &header, &[fence], true).expect("fenced");
    });
    let summary = gc(&first);
    assert!(summary["deleted_packs"].as_u64() > Some(0), "{summary}");
    lost.write("late", &noise(4, 100_000));
    lost.hsm(["tier"]).exits(1).complains(&["was retired by node", "hsm nodes renew"]);
    // What it had counts, as long as nobody says otherwise.
    gc_to_the_end(&first);
    lost.on("recall", &["-r"], &[""]).succeeds();
    assert!(lost.read("theirs") == noise(2, 100_000));
}

#[test]
fn of_two_copies_the_one_that_is_good_is_kept() {
    for damage in [false, true] {
        let first = collecting(AT_ONCE);
        let second = neighbour(&first, AT_ONCE);
        let text = fs::read_to_string(second.config()).unwrap();
        let alone = text.replace("[store]\n", "[store]\ndedup_across_nodes = false\n");
        fs::write(second.config(), alone).unwrap();
        first.write("one", &noise(1, 150_000));
        first.hsm(["tier"]).succeeds();
        let older = packs(&first.store());
        second.write("same", &noise(1, 150_000));
        second.hsm(["tier"]).succeeds();
        let newer = &packs(&first.store()) - &older;
        assert_eq!((older.len(), newer.len()), (1, 1));
        if damage {
            let path = newer.iter().next().unwrap();
            let mut bytes = fs::read(path).unwrap();
            bytes[70_000] ^= 1;
            fs::write(path, bytes).unwrap();
        }
        let ran = first.hsm(["gc", "--json"]).succeeds();
        let kept = if damage {
            ran.complains(&["cannot be read", "hsm verify"]);
            &older
        } else {
            assert_eq!(ran.summary()["condemned_packs"], 1, "one copy is enough");
            &newer
        };
        gc_to_the_end(&first);
        assert_eq!(packs(&first.store()), *kept, "damage: {damage}");
        for server in [&first, &second] {
            server.on("recall", &["-r"], &[""]).succeeds();
        }
        assert!(first.read("one") == noise(1, 150_000));
        assert!(second.read("same") == noise(1, 150_000));
    }
}

/// A stub is set aside, its versions expire, and it is put back as a copy.
#[test]
fn what_a_server_alone_knows_that_it_needs_is_carried_out_of_what_goes() {
    // Whole packs, so that it shows which of them go.
    let lines = format!("{AT_ONCE}repack_below = \"0%\"\n");
    let mut first = collecting(&lines);
    let second = neighbour(&first, &lines);
    first.write("original", &noise(1, 300_000));
    first.write("rest", &noise(2, 50_000));
    first.hsm(["tier"]).succeeds();
    let before = packs(&first.store());
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let status = Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).status();
        assert!(status.expect("cp").success());
    };
    let aside = first.path("aside");
    copy(&first.tree().join("original"), &aside);
    fs::remove_file(first.tree().join("original")).unwrap();
    first.write("rest", &noise(3, 50_000));
    first.hsm(["tier"]).succeeds();
    expire_and_die(&mut first);
    copy(&aside, &first.tree().join("back"));
    first.hsm(["scan"]).succeeds();
    first.on("adopt", &[], &["back"]).succeeds();
    // Its own collection knows; another server's does not.
    assert_eq!(gc(&first)["condemned_packs"], 0, "the pack has what the stub needs");
    second.write("theirs", &noise(4, 50_000));
    second.hsm(["tier"]).succeeds();
    assert!(gc(&second)["condemned_packs"].as_u64() > Some(0));
    first.hsm(["tier"]).succeeds();
    assert!(gc(&second)["deleted_packs"].as_u64() > Some(0));
    assert!(before.iter().any(|path| !path.exists()));
    first.on("recall", &[], &["back"]).succeeds();
    assert!(first.read("back") == noise(1, 300_000));
    first.hsm(["verify", "--data"]).succeeds();
}

#[test]
fn a_snapshot_keeps_what_was_there_and_its_end_lets_it_go() {
    let sandbox = collecting(AT_ONCE);
    sandbox.write("file", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    let first = packs(&sandbox.store());
    snapshot_of_log(&sandbox, "friday");
    sandbox.write("file", &noise(2, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    gc_to_the_end(&sandbox);
    assert!(first.iter().all(|path| path.exists()));
    in_process(&sandbox, None, |site| {
        let end = Record::Unsnapshot { name: "friday".to_owned() };
        hsm::site::log::write_records(site, &[end]).expect("written");
    });
    gc_to_the_end(&sandbox);
    assert!(first.iter().all(|path| !path.exists()));
    all_is_there(&sandbox);
}

/// Its files were recalled from packs that a collection rewrote meanwhile.
#[test]
fn a_server_whose_chunks_another_has_rewritten_finds_them() {
    let first = collecting(AT_ONCE);
    let second = neighbour(&first, AT_ONCE);
    for file in 0..10 {
        first.write(&format!("file{file}"), &noise(file, 60_000));
    }
    first.hsm(["tier"]).succeeds();
    // The same bytes: it relies on the first one's pack.
    second.write("same", &noise(0, 60_000));
    second.hsm(["tier"]).succeeds();
    assert_eq!(packs(&first.store()).len(), 1);
    for file in 0..10 {
        fs::remove_file(first.tree().join(format!("file{file}"))).unwrap();
    }
    first.write("rest", &noise(50, 60_000));
    first.hsm(["tier"]).succeeds();
    let old = packs(&first.store());
    set_gc(&first, AT_ONCE);
    gc_to_the_end(&first);
    assert!(!packs(&first.store()).is_superset(&old), "the old pack is gone");
    second.hsm(["verify", "--data"]).succeeds();
    second.on("recall", &[], &["same"]).succeeds();
    assert!(second.read("same") == noise(0, 60_000));
    second.hsm(["tier"]).succeeds();
    assert!(is_stub(&second.tree().join("same")), "and is tiered again");
    all_is_there(&second);
}

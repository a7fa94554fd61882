//! What an archive was asked for, and who waits.

use super::*;
use crate::classes::{Thaw, Tier};
use crate::ids::{FileIdent, PackId};
use crate::policy::FileState;

const A: PackId = PackId([1; 16]);
const B: PackId = PackId([2; 16]);

fn order(tier: Tier) -> Thaw {
    Thaw { tier, days: 3 }
}

fn wait(fixture: &mut Fixture, ino: u64, packs: &[PackId], now_ns: i64) {
    let path = path("elsewhere");
    let ident = FileIdent { ino, generation: 1 };
    let file = Awaiting { ident, path: &path, bytes: 10, packs };
    fixture.db.await_packs(fixture.root, &file, now_ns).expect("await");
}

#[test]
fn a_pack_is_asked_for_once_however_many_wait() {
    let mut fixture = Fixture::new();
    fixture.db.act_as("recall", crate::clock::Clock::fixed(100));
    let wanted =
        [(A, Some("GLACIER".to_owned()), order(Tier::Bulk)), (B, None, order(Tier::Standard))];
    fixture.db.intend_thaws(&wanted, 5).expect("intend");
    wait(&mut fixture, 7, &[A, B], 6);
    wait(&mut fixture, 8, &[A], 7);
    let thaw = fixture.db.thaw(A).expect("read").expect("asked for");
    assert_eq!((thaw.waiting_files, thaw.waiting_bytes), (2, 20));
    assert_eq!((thaw.order.tier, thaw.asked_ns, thaw.sent), (Tier::Bulk, 5, false));
    assert_eq!(thaw.asked_by, "recall");
    assert!(!thaw.is_ready(9));
    // Waiting for less, since the same time.
    wait(&mut fixture, 7, &[B], 9);
    let files = fixture.db.awaited_files().expect("files");
    assert_eq!(files.len(), 2);
    assert_eq!((files[0].ident.ino, files[0].since_ns, &files[0].packs[..]), (7, 6, &[B][..]));
    assert_eq!(files[0].path, path("elsewhere"), "the state DB does not know it");
}

#[test]
fn a_copy_is_there_until_it_expires_and_then_the_pack_is_forgotten() {
    let mut fixture = Fixture::new();
    fixture.db.act_as("recall", crate::clock::Clock::fixed(100));
    fixture.db.intend_thaws(&[(A, None, order(Tier::Standard))], 5).expect("intend");
    wait(&mut fixture, 7, &[A], 6);
    fixture.db.note_thawing(&[A], 8).expect("sent");
    fixture.db.note_thawed(&[(A, Some(50))], 9).expect("brought");
    let thaw = fixture.db.thaw(A).expect("read").expect("there");
    assert!(thaw.sent && thaw.is_ready(49) && !thaw.is_ready(50));
    let file = FileIdent { ino: 7, generation: 1 };
    let other = FileIdent { ino: 9, generation: 1 };
    fixture.db.await_no_more(fixture.root, [other].into_iter()).expect("another file");
    assert!(fixture.db.thaw(A).expect("read").is_some(), "somebody waits for it");
    fixture.db.await_no_more(fixture.root, [file].into_iter()).expect("whole");
    assert_eq!(fixture.db.thaws().expect("read"), [], "at 100 its copy is gone");
}

#[test]
fn what_nobody_wants_or_looks_at_any_more_is_forgotten_after_a_week() {
    let mut fixture = Fixture::new();
    let week_ns = 7 * 24 * 3600 * 1_000_000_000;
    for (now_ns, left) in [(week_ns, 1), (week_ns + 5, 0)] {
        fixture.db.act_as("recall", crate::clock::Clock::fixed(now_ns));
        fixture.db.intend_thaws(&[(A, None, order(Tier::Standard))], 5).expect("intend");
        fixture.db.await_no_more(fixture.root, std::iter::empty()).expect("look");
        assert_eq!(fixture.db.thaws().expect("read").len(), left, "{now_ns}");
    }
}

#[test]
fn what_is_asked_for_again_begins_anew_and_a_refusal_ends_the_wait() {
    let mut fixture = Fixture::new();
    fixture.db.intend_thaws(&[(A, None, order(Tier::Standard))], 5).expect("intend");
    wait(&mut fixture, 7, &[A], 6);
    fixture.db.note_thawed(&[(A, Some(50))], 9).expect("brought");
    fixture.db.intend_thaws(&[(A, None, order(Tier::Expedited))], 60).expect("again");
    let thaw = fixture.db.thaw(A).expect("read").expect("there");
    assert_eq!((thaw.sent, thaw.ready_ns, thaw.asked_ns), (false, None, 60));
    assert_eq!((thaw.order.tier, thaw.waiting_files), (Tier::Expedited, 1));
    fixture.db.forget_thaws(&[A]).expect("refused");
    assert_eq!(fixture.db.awaited_files().expect("files"), []);
    // Nobody waits for what was never asked for.
    wait(&mut fixture, 7, &[B], 70);
    assert_eq!(fixture.db.awaited_files().expect("files"), []);
}

#[test]
fn a_file_that_was_recalled_waits_no_more() {
    let mut fixture = Fixture::new();
    let seen = file_stat(2);
    fixture.scan(&[("", &[(b"a", seen.clone())])], 1);
    fixture.upload("a", &seen);
    let row = fixture.db.managed_at(fixture.root, &path("a")).expect("read").expect("managed");
    fixture.db.begin_stubs(fixture.root, &[row.ident]).expect("begin");
    fixture.db.finish_stubs(fixture.root, &[(row.ident, row.ctime_ns)], 8).expect("finish");
    fixture.db.intend_thaws(&[(A, None, order(Tier::Standard))], 9).expect("intend");
    let awaited = path("b");
    let file = Awaiting { ident: row.ident, path: &awaited, bytes: 1, packs: &[A] };
    fixture.db.await_packs(fixture.root, &file, 9).expect("await");
    assert_eq!(fixture.db.awaited_files().expect("files")[0].path, path("a"), "where it is now");
    fixture.db.begin_recalls(fixture.root, &[row.ident]).expect("begin");
    let done = [(row.ident, row.ctime_ns + 1, row.mtime_ns)];
    fixture.db.finish_recalls(fixture.root, &done, 10).expect("finish");
    assert_eq!(fixture.db.awaited_files().expect("files"), []);
    let row = fixture.db.managed_at(fixture.root, &path("a")).expect("read").expect("managed");
    assert_eq!(row.state, FileState::Uploaded);
}

//! Single cases of recording a scan.

use super::*;
use crate::policy::FileState;
use std::os::unix::ffi::OsStrExt;

#[test]
fn an_unchanged_directory_writes_nothing() {
    let mut fixture = Fixture::new();
    let files: Vec<(Vec<u8>, Stat)> =
        (0..200_u64).map(|at| (format!("f{at:03}").into_bytes(), file_stat(10 + at))).collect();
    let listed: Vec<(&[u8], Stat)> =
        files.iter().map(|(name, stat)| (&name[..], stat.clone())).collect();
    let first = fixture.scan(&[("", &listed)], 100);
    assert_eq!((first.added, first.changed, first.unchanged), (200, 0, 0));
    let second = fixture.scan(&[("", &listed)], 200);
    assert_eq!((second.added, second.changed, second.unchanged), (0, 0, 200));
    assert!(fixture.entries(None).iter().all(|entry| entry.first_seen_ns == 100));
    assert_eq!(fixture.db.roots().expect("roots")[0].last_complete_scan_ns, Some(200));
}

#[test]
fn every_fact_survives_and_any_change_is_seen() {
    let mut fixture = Fixture::new();
    let mut seen = file_stat(u64::MAX - 1);
    (seen.size_bytes, seen.mtime_ns, seen.uid) = (1 << 62, -5, u32::MAX);
    fixture.scan(&[("", &[(b"\xff\n", seen.clone())])], 1);
    let entry = fixture.entries(None).remove(0);
    assert_eq!(entry.path.as_bytes(), b"\xff\n");
    let facts = (entry.ino, entry.size_bytes, entry.mtime_ns, entry.uid, entry.mode);
    assert_eq!(facts, (u64::MAX - 1, 1 << 62, -5, u32::MAX, 0o640));
    let changes: [fn(&mut Stat); 8] = [
        |stat| stat.mode = 0o600,
        |stat| stat.gid = 7,
        |stat| stat.nlink = 2,
        |stat| stat.allocated_bytes = 0,
        |stat| stat.atime_ns = 99,
        |stat| stat.ctime_ns = 98,
        |stat| stat.kind = FileKind::Fifo,
        |stat| stat.size_bytes = 0,
    ];
    for (at, change) in changes.iter().enumerate() {
        change(&mut seen);
        let changes = fixture.scan(&[("", &[(b"\xff\n", seen.clone())])], 2);
        assert_eq!((changes.changed, changes.added), (1, 0), "change {at}");
    }
}

/// A recall on another root must not wait for the end of a long scan.
#[test]
fn a_scan_lets_other_writers_have_their_turn() {
    let mut fixture = Fixture::new();
    let mut other = StateDb::open(&fixture.dir.path().join("state.db")).expect("open");
    let mut scan = fixture.db.begin_scan(fixture.root, None, 1).expect("begin");
    scan.held_at_most = std::time::Duration::ZERO;
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || other.set_setting("a recall", "has begun"));
        let seen = file_stat(2);
        let entries = [SeenEntry { name: b"f", stat: &seen }];
        let turns = (0..100).take_while(|_| {
            scan.directory(&path(""), &dir_stat(1), &entries, Part::WHOLE).expect("a directory");
            !writer.is_finished()
        });
        assert!(turns.count() < 100, "it never had its turn");
        writer.join().expect("no panic").expect("it could write");
    });
    scan.finish(true, 1).expect("finish");
}

#[test]
fn another_inode_at_a_known_name_is_first_seen_now() {
    let mut fixture = Fixture::new();
    fixture.scan(&[("", &[(b"report.doc", file_stat(2))])], 100);
    fixture.scan(&[("", &[(b"report.doc", file_stat(3))])], 200);
    assert_eq!(fixture.entries(None)[0].first_seen_ns, 200);
}

#[test]
fn a_rename_keeps_the_managed_file_and_gives_up_the_old_path() {
    let mut fixture = Fixture::new();
    let mut seen = file_stat(2);
    fixture.scan(&[("", &[(b"d", dir_stat(9))]), ("d", &[(b"old", seen.clone())])], 1);
    let ident = fixture.upload("d/old", &seen);
    fixture.stub(ident, 50);
    (seen.ctime_ns, seen.allocated_bytes) = (60, 0);
    let changes = fixture.scan(&[("", &[(b"e", dir_stat(9))]), ("e", &[(b"new", seen)])], 2);
    assert_eq!((changes.moved, changes.gone), (1, 0));
    assert_eq!(changes.suspects, [ident], "a rename changes the ctime");
    let row = fixture.managed(ident);
    assert_eq!((text(&row.path).as_str(), row.state), ("e/new", FileState::Stub));
    assert_eq!(row.segment_seq, None, "the catalog does not have the new path");
    let gone = fixture.db.pending_gone(fixture.root, usize::MAX).expect("gone");
    assert_eq!((text(&gone[0].path).as_str(), gone[0].moved), ("d/old", true));

    fixture.db.settle(fixture.root, &[(ident, 12, 60)]).expect("settle");
    let uncatalogued = fixture.db.uncatalogued_files(fixture.root, 10).expect("read");
    assert_eq!(uncatalogued.len(), 1);
    let head = fixture.db.log_head().expect("head");
    let segment = SegmentCommit {
        seq: head.next_seq,
        recatalogued: &[ident],
        gone: &[gone[0].id],
        ..Default::default()
    };
    fixture.db.commit_segment(fixture.root, &segment, 3).expect("commit");
    assert!(fixture.db.uncatalogued_files(fixture.root, 10).expect("read").is_empty());
    assert!(fixture.db.pending_gone(fixture.root, usize::MAX).expect("gone").is_empty());
}

#[test]
fn a_move_that_an_aborted_scan_half_recorded_is_still_found() {
    let mut fixture = Fixture::new();
    let seen = file_stat(2);
    fixture.scan(&[("", &[(b"d", dir_stat(9))]), ("d", &[(b"old", seen.clone())])], 1);
    let ident = fixture.upload("d/old", &seen);
    // The scan that adds the new name never comes to the old one.
    let mut scan = fixture.db.begin_scan(fixture.root, None, 2).expect("begin");
    let new = SeenEntry { name: b"new", stat: &seen };
    scan.directory(&path(""), &dir_stat(1), &[new], Part::WHOLE).expect("a directory");
    scan.finish(false, 2).expect("finish");
    assert_eq!(text(&fixture.managed(ident).path), "d/old");
    let changes = fixture.scan(&[("", &[(b"new", seen.clone())])], 3);
    assert_eq!((changes.moved, changes.gone, changes.removed), (1, 0, 2));
    assert_eq!(text(&fixture.managed(ident).path), "new");
}

#[test]
fn a_file_that_hid_from_one_scan_comes_back() {
    let mut fixture = Fixture::new();
    let mut seen = file_stat(2);
    fixture.scan(&[("", &[(b"a", seen.clone())])], 1);
    let ident = fixture.upload("a", &seen);
    fixture.stub(ident, 50);
    let changes = fixture.scan(&[("", &[])], 2);
    assert_eq!((changes.gone, changes.removed), (1, 1));
    assert_eq!(fixture.db.managed_by_ident(fixture.root, ident).expect("read"), None);
    (seen.ctime_ns, seen.allocated_bytes) = (60, 0);
    let changes = fixture.scan(&[("", &[(b"b", seen)])], 3);
    assert_eq!(changes.suspects, [ident]);
    let row = fixture.managed(ident);
    assert_eq!((text(&row.path).as_str(), row.state), ("b", FileState::Stub));
    assert!(row.content.is_some());
}

#[test]
fn a_reused_inode_number_is_another_file() {
    let mut fixture = Fixture::new();
    let old = file_stat(2);
    fixture.scan(&[("", &[(b"a", old.clone())])], 1);
    let ident = fixture.upload("a", &old);
    let young = Stat { btime_ns: 70, ..old };
    let changes = fixture.scan(&[("", &[(b"a", young)])], 2);
    assert_eq!((changes.gone, changes.moved), (1, 0));
    assert_eq!(fixture.entries(None)[0].file, None);
    let gone = fixture.db.pending_gone(fixture.root, usize::MAX).expect("gone");
    assert_eq!((gone[0].ident, gone[0].moved), (ident, false));
}

#[test]
fn without_birth_times_the_generation_tells_at_the_next_upload() {
    let mut fixture = Fixture::new();
    let old = Stat { btime_ns: 0, ..file_stat(2) };
    fixture.scan(&[("", &[(b"a", old.clone())])], 1);
    let first = fixture.upload("a", &old);
    let young = Stat { ctime_ns: 90, ..old };
    let changes = fixture.scan(&[("", &[(b"a", young.clone())])], 2);
    assert_eq!((changes.gone, changes.dirty), (0, 1));
    let mut intent = intent("a", &young);
    intent.ident.generation = 4;
    fixture.db.begin_uploads(fixture.root, &[intent.clone()], 3).expect("begin");
    assert_eq!(fixture.db.managed_by_ident(fixture.root, first).expect("read"), None);
    assert_eq!(fixture.managed(intent.ident).state, FileState::Uploading);
    assert_eq!(fixture.db.pending_gone(fixture.root, usize::MAX).expect("gone")[0].ident, first);
}

#[test]
fn a_partial_scan_concludes_only_about_its_part_and_buries_nobody() {
    let mut fixture = Fixture::new();
    let (inside, outside) = (file_stat(2), file_stat(3));
    let dirs: Listed<'_> = &[(b"d", dir_stat(8)), (b"d-", dir_stat(9))];
    let tree = [("", dirs), ("d", &[(b"f", inside.clone())]), ("d-", &[(b"g", outside)])];
    fixture.scan(&tree, 1);
    let ident = fixture.upload("d/f", &inside);
    let under = path("d");
    let mut scan = fixture.db.begin_scan(fixture.root, Some(&under), 2).expect("begin");
    scan.directory(&under, &dir_stat(8), &[], Part::WHOLE).expect("a directory");
    let changes = scan.finish(true, 2).expect("finish");
    assert_eq!((changes.removed, changes.gone), (1, 0));
    assert_eq!(fixture.paths(None), ["d", "d-", "d-/g"]);
    assert_eq!(fixture.managed(ident).state, FileState::Uploaded);
    assert_eq!(fixture.db.roots().expect("roots")[0].last_complete_scan_ns, Some(1));
    // It had moved out of that part.
    let moved: Listed<'_> = &[(b"f", inside)];
    let tree = [("", dirs), ("d", &[]), ("d-", moved)];
    let changes = fixture.scan(&tree, 3);
    assert_eq!((changes.moved, changes.gone), (1, 0));
    assert_eq!(text(&fixture.managed(ident).path), "d-/f");
}

#[test]
fn what_is_under_a_new_mount_is_kept() {
    let mut fixture = Fixture::new();
    let seen = file_stat(2);
    let tree: [Dir<'_>; 2] = [("", &[(b"d", dir_stat(8))]), ("d", &[(b"f", seen.clone())])];
    fixture.scan(&tree, 1);
    let ident = fixture.upload("d/f", &seen);
    let mut scan = fixture.db.begin_scan(fixture.root, None, 2).expect("begin");
    scan.directory(&path(""), &dir_stat(1), &[], Part::WHOLE).expect("a directory");
    scan.keep(&path("d")).expect("keep");
    let changes = scan.finish(true, 2).expect("finish");
    assert_eq!((changes.removed, changes.gone), (0, 0));
    assert_eq!(fixture.paths(None), ["d", "d/f"]);
    assert_eq!(fixture.managed(ident).state, FileState::Uploaded);
}

#[test]
fn deletions_of_catalogued_directories_and_symlinks_are_remembered() {
    let mut fixture = Fixture::new();
    let link = stat(FileKind::Symlink, 5);
    let socket = stat(FileKind::Socket, 6);
    let inside: Listed<'_> = &[(b"l\xff", link.clone()), (b"s", socket), (b"n", link)];
    fixture.scan(&[("", &[(b"d", dir_stat(8))]), ("d", inside)], 1);
    let specials = fixture.db.uncatalogued_specials(fixture.root, 10).expect("specials");
    let paths: Vec<&[u8]> = specials.iter().map(|entry| entry.path.as_bytes()).collect();
    assert_eq!(paths, [b"d/l\xff" as &[u8], b"d/n"]);
    let dirs = [path(""), path("d"), path("unknown")];
    let missing = fixture.db.uncatalogued_dirs(fixture.root, &dirs).expect("dirs");
    assert_eq!(missing, dirs);
    let done = [specials[0].path.clone()];
    let segment = SegmentCommit { seq: 1, dirs: &dirs[..2], specials: &done, ..Default::default() };
    fixture.db.commit_segment(fixture.root, &segment, 2).expect("commit");
    let missing = fixture.db.uncatalogued_dirs(fixture.root, &dirs).expect("dirs");
    assert_eq!(missing, dirs[2..]);
    let left = fixture.db.uncatalogued_specials(fixture.root, 10).expect("specials");
    assert_eq!(left.len(), 1);

    fixture.scan(&[("", &[])], 3);
    let gone = fixture.db.pending_gone(fixture.root, usize::MAX).expect("gone");
    let paths: Vec<&[u8]> = gone.iter().map(|row| row.path.as_bytes()).collect();
    assert_eq!(paths, [b"d/l\xff" as &[u8], b"d"]);
    assert!(gone.iter().all(|row| row.content.is_none() && !row.moved));
}

#[test]
fn entries_beneath_a_path_do_not_take_in_its_neighbours() {
    let mut fixture = Fixture::new();
    let dirs: Listed<'_> = &[(b"a", dir_stat(5)), (b"a-", dir_stat(6)), (b"a0", dir_stat(7))];
    let file: Listed<'_> = &[(b"f", file_stat(20))];
    let sub: Listed<'_> = &[(b"f", file_stat(21)), (b"s", dir_stat(8))];
    fixture.scan(&[("", dirs), ("a", sub), ("a-", file), ("a/s", file), ("a0", file)], 1);
    assert_eq!(fixture.paths(Some("a")), ["a", "a/f", "a/s", "a/s/f"]);
    assert_eq!(fixture.paths(Some("a/f")), ["a/f"]);
    assert_eq!(fixture.paths(Some("none")), [] as [&str; 0]);
    let all = ["a", "a-", "a0", "a/f", "a/s", "a-/f", "a/s/f", "a0/f"];
    let mut found = fixture.paths(None);
    found.sort();
    let mut expected = all.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let mut first = None;
    fixture
        .db
        .for_each_entry(fixture.root, None, &mut |entry| {
            first = Some(text(&entry.path));
            ControlFlow::Break(())
        })
        .expect("entries");
    assert_eq!(first.as_deref(), Some("a"));
}

#[test]
fn hard_links_share_one_managed_file() {
    let mut fixture = Fixture::new();
    let mut seen = file_stat(2);
    seen.nlink = 2;
    let both: Listed<'_> = &[(b"a", seen.clone()), (b"b", seen.clone())];
    fixture.scan(&[("", both)], 1);
    let ident = fixture.upload("a", &seen);
    let names = fixture.db.names_of(fixture.root, 2).expect("names");
    assert_eq!(names, [path("a"), path("b")]);
    for name in ["a", "b"] {
        let row = fixture.db.managed_at(fixture.root, &path(name)).expect("read").expect("managed");
        assert_eq!(row.ident, ident);
    }
    let counts = fixture.db.counts(fixture.root).expect("counts");
    assert_eq!(counts.states, [(FileState::Uploaded, 1, 10)]);
    assert_eq!(counts.unmanaged_files, 0);
    // The name it was uploaded by goes; the other one has it.
    (seen.nlink, seen.ctime_ns) = (1, 80);
    let changes = fixture.scan(&[("", &[(b"b", seen)])], 2);
    assert_eq!((changes.moved, changes.gone, changes.dirty), (1, 0, 1));
    assert_eq!(fixture.db.names_of(fixture.root, 2).expect("names"), [path("b")]);
}

#[test]
fn a_scan_of_fifty_thousand_names_commits_on_the_way() {
    let mut fixture = Fixture::new();
    let names: Vec<Vec<u8>> = (0..50_000).map(|at| format!("n{at:06}").into_bytes()).collect();
    let stats: Vec<Stat> = (0..50_000).map(|at| file_stat(100 + at)).collect();
    let seen: Vec<SeenEntry<'_>> =
        names.iter().zip(&stats).map(|(name, stat)| SeenEntry { name, stat }).collect();
    for round in 0..2 {
        let mut scan = fixture.db.begin_scan(fixture.root, None, 1 + round).expect("begin");
        for at in 0..5 {
            let dir = path(&format!("dir{at}"));
            for (number, part) in seen.chunks(20_000).enumerate() {
                let which = Part { first: number == 0, last: number == 2 };
                scan.directory(&dir, &dir_stat(2), part, which).expect("a part");
            }
        }
        if round == 0 {
            drop(scan);
            let kept = fixture.entries(None).len();
            assert!((200_000..250_000).contains(&kept), "{kept} committed before the drop");
            let entries = fixture.db.roots().expect("roots")[0].entries;
            assert_eq!(entries, kept as u64);
        } else {
            let changes = scan.finish(true, 2).expect("finish");
            assert_eq!(changes.added + changes.unchanged, 250_000);
            assert_eq!(fixture.db.roots().expect("roots")[0].entries, 250_000);
        }
    }
}

#[test]
fn a_removed_root_leaves_the_others_alone() {
    let mut fixture = Fixture::new();
    let seen = file_stat(2);
    fixture.scan(&[("", &[(b"a", seen.clone())])], 1);
    fixture.upload("a", &seen);
    let name = std::ffi::OsStr::from_bytes(b"/srv/\xff");
    let other = fixture.db.add_root(Path::new(name), "xfs 5 6 7", 1).expect("a root");
    assert_eq!(fixture.db.add_root(Path::new(name), "xfs 5 6 7", 9).expect("again"), other);
    fixture.db.remove_root(fixture.root).expect("remove");
    let roots = fixture.db.roots().expect("roots");
    assert_eq!(roots.len(), 1);
    assert_eq!((roots[0].id, roots[0].path.as_os_str()), (other, name));
    assert!(fixture.entries(None).is_empty());
    fixture.db.update_root_identity(other, "xfs 9 9 9").expect("update");
    assert_eq!(fixture.db.roots().expect("roots")[0].identity, "xfs 9 9 9");
    assert!(fixture.db.update_root_identity(fixture.root, "x").is_err());
}

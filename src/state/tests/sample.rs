//! A sample of the stubs: only stubs, none twice, from all over the root.

use super::*;
use crate::policy::FileState;
use std::collections::BTreeSet;

/// Files of these inodes are uploaded, every second one is a stub.
fn half_stubbed(inodes: &[u64]) -> Fixture {
    let mut fixture = Fixture::new();
    for (at, ino) in inodes.iter().enumerate() {
        let name = format!("f{ino}");
        let ident = fixture.upload(&name, &file_stat(*ino));
        if at % 2 == 0 {
            fixture.stub(ident, 40);
        }
    }
    fixture
}

#[test]
fn few_stubs_are_all_looked_at() {
    let inodes = [2, 5, 9, 1 << 40, u64::MAX, u64::MAX - 9, 300, 301, 302];
    let fixture = half_stubbed(&inodes);
    for seed in [0, 1, 7, u64::MAX] {
        let rows = fixture.db.sample_stubs(fixture.root, 1000, seed).expect("a sample");
        assert!(rows.iter().all(|row| row.state == FileState::Stub));
        let found: BTreeSet<u64> = rows.iter().map(|row| row.ident.ino).collect();
        assert_eq!(found, [2, 9, u64::MAX, 300, 302].into(), "{seed}");
        assert_eq!(rows.len(), found.len(), "none twice");
    }
    let none = Fixture::new();
    assert_eq!(none.db.sample_stubs(none.root, 1000, 1).expect("a sample"), []);
}

#[test]
fn many_stubs_are_sampled_all_over_and_another_seed_finds_others() {
    let inodes: Vec<u64> = (100..1300).collect();
    let fixture = half_stubbed(&inodes);
    let sample = |seed| -> BTreeSet<u64> {
        let rows = fixture.db.sample_stubs(fixture.root, 60, seed).expect("a sample");
        rows.iter().map(|row| row.ident.ino).collect()
    };
    let (one, other) = (sample(1), sample(30));
    assert_eq!((one.len(), other.len()), (60, 60));
    assert_ne!(one, other);
    assert!(one.first() < Some(&160) && one.last() > Some(&1240), "{one:?}");
    assert_eq!(fixture.db.sample_stubs(fixture.root, 0, 1).expect("a sample"), []);
}

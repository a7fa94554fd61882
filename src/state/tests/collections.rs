//! What is known of other users' collections and of one's own sessions.

use super::*;
use crate::ids::PackId;

#[test]
fn a_plan_counts_until_its_end_and_is_acknowledged_by_word_only() {
    let mut fixture = Fixture::new();
    let db = &mut fixture.db;
    let (kept, gone) = (PackId([1; 16]), PackId([2; 16]));
    assert_eq!((db.last_collection().unwrap(), db.any_condemned().unwrap()), (0, false));
    db.condemn(3, &[kept, gone]).expect("recorded");
    db.condemn(3, &[kept, gone]).expect("once more");
    assert_eq!((db.last_collection().unwrap(), db.last_acknowledged().unwrap()), (3, 0));
    db.acknowledge(3).expect("recorded");
    assert_eq!(db.last_acknowledged().unwrap(), 3);
    assert!(db.any_condemned().unwrap() && db.collection_ended(3).unwrap() == Some(false));
    db.end_collection(3, &[gone]).expect("recorded");
    assert!(!db.any_condemned().unwrap() && db.collection_ended(3).unwrap() == Some(true));
    assert_eq!(db.collection_ended(5).unwrap(), None);
    db.condemn(3, &[kept]).expect("heard of late");
    assert!(!db.any_condemned().unwrap(), "its end is known");
    let heard = db.heard().unwrap();
    db.end_collection(5, &[]).expect("one that was never seen");
    assert_ne!(db.heard().unwrap(), heard);
    assert_eq!((db.last_collection().unwrap(), db.last_acknowledged().unwrap()), (5, 3));
}

#[test]
fn a_session_is_known_once_it_was_begun() {
    let mut fixture = Fixture::new();
    assert!(!fixture.db.has_sessions().unwrap());
    fixture.db.begin_session("a", 1).expect("recorded");
    fixture.db.begin_session("a", 2).expect("once more");
    assert!(fixture.db.is_own_session("a").unwrap() && fixture.db.has_open_session().unwrap());
    fixture.db.end_session().expect("recorded");
    assert!(!fixture.db.has_open_session().unwrap());
    assert!(!fixture.db.is_own_session("b").unwrap());
}

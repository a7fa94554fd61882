//! The table as its users see it: the guard, and the one that comes after it.

use super::*;
use crate::os::child::in_child;
use crate::os::handle::Handle;
use crate::os::wait::readable;
use std::collections::HashSet;
use std::io::Write;
use std::sync::atomic::AtomicU32;

fn entry(event: i32) -> Entry {
    let file = tempfile::tempfile().expect("a temporary file");
    Entry {
        event,
        mask: 1 << 40,
        pid: 4711,
        fs_index: 3,
        handle: Handle::of(&file).expect("handle"),
        arrived_ms: u64::MAX,
    }
}

fn duplicate(table: &SlotTable) -> OwnedFd {
    table.fd().try_clone_to_owned().expect("dup")
}

#[test]
fn who_adopts_the_table_finds_what_is_owed() {
    let table = SlotTable::create(4).expect("create");
    assert_eq!(table.capacity(), 4);
    let (first, second) = (entry(7), entry(9));
    let answered = table.take(&first).expect("room");
    table.take(&second).expect("room");
    table.release(answered);
    table.release(answered);
    let adopted = SlotTable::adopt(duplicate(&table)).expect("adopt");
    drop(table);
    let owed = adopted.in_use();
    assert_eq!(owed.iter().map(|(_, entry)| *entry).collect::<Vec<_>>(), [second]);
    let ids: HashSet<SlotId> = (0..3).map(|n| adopted.take(&entry(n)).expect("room")).collect();
    assert_eq!(ids.len(), 3, "each slot is given once");
    assert!(!ids.contains(&owed[0].0));
    assert_eq!(adopted.take(&first), None, "full");
    adopted.release(owed[0].0);
    assert_eq!(adopted.take(&first), Some(owed[0].0));
}

/// A guard is forked by its keeper, which has not seen what the one before took.
#[test]
fn a_slot_that_another_process_took_is_not_given_again() {
    let keepers = SlotTable::create(2).expect("create");
    let of_the_dead = SlotTable::adopt(duplicate(&keepers)).expect("adopt");
    of_the_dead.take(&entry(7)).expect("room");
    keepers.reclaim();
    keepers.take(&entry(8)).expect("one is free");
    assert_eq!(keepers.take(&entry(9)), None);
    let owed: HashSet<i32> = keepers.in_use().iter().map(|(_, entry)| entry.event).collect();
    assert_eq!(owed, HashSet::from([7, 8]));
}

#[test]
fn a_half_written_slot_is_nobodys() {
    let table = SlotTable::create(1).expect("create");
    table.take(&entry(7)).expect("room");
    table.mapping.slots()[0].state.store(BEING_WRITTEN, Relaxed);
    let adopted = SlotTable::adopt(duplicate(&table)).expect("adopt");
    assert_eq!(adopted.in_use(), []);
    adopted.take(&entry(8)).expect("its place is free");
    assert_eq!(adopted.in_use().len(), 1);
}

#[test]
fn generations_count_up_over_adoptions() {
    let table = SlotTable::create(1).expect("create");
    assert_eq!(table.generation(), 0);
    assert_eq!(table.begin_generation(), 1);
    let adopted = SlotTable::adopt(duplicate(&table)).expect("adopt");
    assert_eq!(adopted.begin_generation(), 2);
    assert_eq!(table.generation(), 2);
}

#[test]
fn notes_are_replaced_as_a_whole() {
    let table = SlotTable::create(1).expect("create");
    assert_eq!(table.notes(), b"");
    let long = [5; NOTES_BYTES];
    table.set_notes(&long).expect("they fit");
    assert_eq!(table.notes(), long);
    table.set_notes(b"short").expect("they fit");
    let error = table.set_notes(&[0; NOTES_BYTES + 1]).expect_err("too long");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    // A writer that dies leaves bytes in the copy that is not valid.
    let unused = 1 - table.mapping.header().notes.load(Relaxed) % 2;
    store_bytes(&table.mapping.header().notes_copies[unused as usize], b"half");
    let adopted = SlotTable::adopt(duplicate(&table)).expect("adopt");
    assert_eq!(adopted.notes(), b"short");
}

#[test]
fn what_is_no_table_is_refused() {
    let refused = |fd: OwnedFd| SlotTable::adopt(fd).expect_err("no table").kind();
    let plain = tempfile::tempfile().expect("a temporary file");
    plain.set_len(bytes_for(4) as u64).expect("size");
    assert_eq!(refused(plain.into()), io::ErrorKind::InvalidData, "a file may shrink");

    let memory = |size: usize, seals| {
        let memory = sealable_memory().expect("memory");
        rustix::fs::ftruncate(&memory, size as u64).expect("size");
        rustix::fs::fcntl_add_seals(&memory, seals).expect("seal");
        memory
    };
    let seals = SealFlags::SHRINK | SealFlags::GROW;
    assert_eq!(refused(memory(bytes_for(4), seals)), io::ErrorKind::InvalidData, "no magic");
    assert_eq!(refused(memory(0, seals)), io::ErrorKind::InvalidData);
    assert_eq!(refused(memory(bytes_for(4) - 1, seals)), io::ErrorKind::InvalidData);
    assert_eq!(refused(memory(bytes_for(4), SealFlags::GROW)), io::ErrorKind::InvalidData);

    let other = SlotTable::create(4).expect("create");
    other.mapping.header().version.store(VERSION + 1, Relaxed);
    assert_eq!(refused(duplicate(&other)), io::ErrorKind::InvalidData, "another version");
    let lying = SlotTable::create(4).expect("create");
    lying.mapping.header().slots.store(5, Relaxed);
    assert_eq!(refused(duplicate(&lying)), io::ErrorKind::InvalidData, "more than there are");

    assert!(SlotTable::create(0).is_err());
    assert!(SlotTable::create(MAX_SLOTS + 1).is_err());
}

#[test]
fn nobody_can_shrink_the_table() {
    let table = SlotTable::create(4).expect("create");
    let error = rustix::fs::ftruncate(table.fd(), 0).expect_err("sealed");
    assert_eq!(error, rustix::io::Errno::PERM);
}

/// The child says through a pipe that it is done, and is killed as it works.
#[test]
fn a_killed_process_leaves_its_entries() {
    let table = SlotTable::create(64).expect("create");
    let entries: Vec<Entry> = (0..8).map(entry).collect();
    let (said, say) = std::io::pipe().expect("a pipe");
    let child = in_child(&[say.as_fd()], || {
        table.begin_generation();
        for entry in &entries {
            table.take(entry).expect("room");
        }
        (&say).write_all(b"x").expect("the parent listens");
        loop {
            // Half of the time a slot is being written.
            let id = table.take(&entries[0]).expect("room");
            table.release(id);
        }
    });
    assert_eq!(readable(&[said.as_fd()], None).expect("poll"), [true]);
    child.kill(rustix::process::Signal::KILL).expect("kill");
    child.wait().expect("wait");
    let adopted = SlotTable::adopt(duplicate(&table)).expect("adopt");
    assert_eq!(adopted.generation(), 1);
    let mut left: Vec<Entry> = adopted.in_use().into_iter().map(|(_, entry)| entry).collect();
    assert!(left.len() == 8 || left.len() == 9, "{}", left.len());
    left.truncate(8);
    assert_eq!(left, entries);
}

#[test]
fn threads_share_the_table_and_never_a_slot() {
    let table = SlotTable::create(3).expect("create");
    let entries: Vec<Entry> = (0..4).map(entry).collect();
    let owners: [AtomicU32; 3] = Default::default();
    std::thread::scope(|scope| {
        for entry in &entries {
            let (table, owners) = (&table, &owners);
            scope.spawn(move || {
                for _ in 0..2000 {
                    let Some(id) = table.take(entry) else { continue };
                    assert_eq!(owners[id.0 as usize].fetch_add(1, Relaxed), 0);
                    assert!(table.in_use().contains(&(id, *entry)));
                    owners[id.0 as usize].fetch_sub(1, Relaxed);
                    table.release(id);
                }
            });
        }
    });
    assert_eq!(table.in_use(), []);
}

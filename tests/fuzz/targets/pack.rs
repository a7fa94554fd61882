//! Packs: the footer alone, the walk over a whole one, and each chunk that either names.
//! The first byte says whose sums are put right, which no mutation finds.
#![no_main]

use hsm_fuzz::chunk::{self, ChunkSlot, Decoder, MAX_CHUNK_LEN, Protection};
use hsm_fuzz::ids::{PackId, StoreId};
use libfuzzer_sys::fuzz_target;

const TRAILER: usize = 40;
const ENTRY: usize = 52;

fuzz_target!(|bytes: &[u8]| {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    let mut pack = bytes.to_vec();
    if mode & 1 != 0 {
        mend_footer(&mut pack);
    }
    if mode & 2 != 0 {
        mend_headers(&mut pack);
    }
    if let Ok(slots) = chunk::parse_index(&pack) {
        let mut end = 64;
        for slot in &slots {
            assert!(slot.is_possible() && slot.offset == end + 56);
            end = slot.offset + u64::from(slot.stored_len);
        }
        open(&slots, &pack);
    }
    let (slots, _) = chunk::salvage(&pack);
    for slot in &slots {
        assert!(slot.offset + u64::from(slot.stored_len) <= pack.len() as u64);
    }
    open(&slots, &pack);
});

fn open(slots: &[ChunkSlot], pack: &[u8]) {
    let (mut decoder, mut plain) = (Decoder::new(), vec![]);
    for slot in slots.iter().take(4) {
        let range = slot.offset as usize..(slot.offset + u64::from(slot.stored_len)) as usize;
        let Some(stored) = pack.get(range) else { continue };
        let slot = ChunkSlot { plain_len: slot.plain_len.min(1 << 20), ..*slot };
        let (store, id) = (StoreId([1; 16]), PackId([2; 16]));
        let opened = chunk::open_chunk(
            &Protection::Plain,
            store,
            id,
            &slot,
            stored,
            &mut decoder,
            &mut plain,
        );
        if opened.is_ok() {
            assert_eq!(plain.len(), slot.plain_len as usize);
        }
        assert!(plain.len() <= MAX_CHUNK_LEN as usize);
    }
}

fn mend_footer(pack: &mut [u8]) {
    let len = pack.len();
    let Some(at) = len.checked_sub(TRAILER) else { return };
    let count = u32::from_le_bytes(pack[at + 20..at + 24].try_into().expect("four bytes"));
    if let Some(index) = (count as usize).checked_mul(ENTRY).and_then(|index| at.checked_sub(index))
    {
        let sum = crc32fast::hash(&pack[index..at]);
        pack[at + 24..at + 28].copy_from_slice(&sum.to_le_bytes());
    }
    let sum = crc32fast::hash(&pack[at..len - 4]);
    pack[len - 4..].copy_from_slice(&sum.to_le_bytes());
}

fn mend_headers(pack: &mut [u8]) {
    mend(pack, 0, 64);
    let mut at = 64;
    while pack.len() >= at + 56 {
        mend(pack, at, 56);
        let stored = u32::from_le_bytes(pack[at + 8..at + 12].try_into().expect("four bytes"));
        at = at.saturating_add(56).saturating_add(stored as usize);
    }
}

fn mend(pack: &mut [u8], at: usize, len: usize) {
    let Some(header) = pack.get_mut(at..at + len) else { return };
    let sum = crc32fast::hash(&header[..len - 4]);
    header[len - 4..].copy_from_slice(&sum.to_le_bytes());
}

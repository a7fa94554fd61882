//! Packs from end to end: round trips, damage, foreign keys, hostile bytes.

use super::*;
use crate::ids::{ChunkId, PackId, StoreId};
use proptest::prelude::*;

const STORE: StoreId = StoreId([0x51; 16]);
const PACK: PackId = PackId([0x9a; 16]);

fn encrypted(key: u8) -> Protection {
    Protection::encrypted(&MasterKey::generate([key; 32]), STORE)
}

fn build(pack: PackId, protection: &Protection, chunks: &[Vec<u8>]) -> (Vec<u8>, Vec<ChunkSlot>) {
    let mut builder = PackBuilder::new(pack, protection, STORE, 1 << 16);
    let (mut encoder, mut stored) = (Encoder::new(DEFAULT_LEVEL), vec![]);
    for plain in chunks {
        let codec = encoder.encode(plain, &mut stored);
        builder.push(protection.chunk_id(plain), codec, plain.len() as u32, &stored);
    }
    assert_eq!((builder.id(), builder.chunk_count()), (pack, chunks.len()));
    builder.finish()
}

fn open(
    pack: PackId,
    protection: &Protection,
    bytes: &[u8],
    slot: &ChunkSlot,
) -> Result<Vec<u8>, Error> {
    let range = slot.offset as usize..slot.offset as usize + slot.stored_len as usize;
    let (mut decoder, mut out) = (Decoder::new(), vec![]);
    open_chunk(protection, STORE, pack, slot, &bytes[range], &mut decoder, &mut out)?;
    Ok(out)
}

fn sample_chunks() -> Vec<Vec<u8>> {
    let noise = (0..3000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    vec![b"hello".to_vec(), b"text ".repeat(2000), noise, vec![0], vec![]]
}

#[test]
fn a_pack_is_found_by_index_and_by_walking() {
    for protection in [Protection::Plain, encrypted(1)] {
        let chunks = sample_chunks();
        let (bytes, slots) = build(PACK, &protection, &chunks);
        assert_eq!(parse_index(&bytes).expect("an index"), slots);
        assert_eq!(scan_forward(&bytes).expect("headers"), slots);
        let header = PackHeader::parse(&bytes).expect("a header");
        let fingerprint = protection.fingerprint();
        assert_eq!(header, PackHeader { pack: PACK, store: STORE, fingerprint });
        for (slot, plain) in slots.iter().zip(&chunks) {
            assert_eq!(&open(PACK, &protection, &bytes, slot).expect("opens"), plain);
        }
    }
}

#[test]
fn a_footer_alone_is_enough_and_a_shorter_tail_says_what_is_missing() {
    let (bytes, slots) = build(PACK, &Protection::Plain, &sample_chunks());
    let trailer = Trailer::parse(&bytes[bytes.len() - TRAILER_LEN..]).expect("a trailer");
    assert_eq!(trailer.pack_len, bytes.len() as u64);
    let footer = &bytes[bytes.len() - trailer.footer_len() as usize..];
    assert_eq!(parse_index(footer).expect("an index"), slots);
    match parse_index(&footer[1..]) {
        Err(Error::Truncated { needed, have, .. }) => {
            assert_eq!((needed, have), (trailer.footer_len(), trailer.footer_len() - 1));
        }
        other => panic!("expected Truncated, got {other:?}"),
    }
}

#[test]
fn an_empty_pack_is_whole() {
    let (bytes, slots) = build(PACK, &Protection::Plain, &[]);
    assert!(slots.is_empty());
    assert_eq!(bytes.len(), PACK_HEADER_LEN + TRAILER_LEN);
    assert!(parse_index(&bytes).expect("an index").is_empty());
    assert!(scan_forward(&bytes).expect("headers").is_empty());
}

#[test]
fn another_key_another_pack_and_another_place_open_nothing() {
    let (mine, chunks) = (encrypted(1), sample_chunks());
    let (bytes, slots) = build(PACK, &mine, &chunks);
    let slot = slots[0];
    assert!(open(PACK, &encrypted(2), &bytes, &slot).is_err(), "another key");
    assert!(open(PACK, &Protection::Plain, &bytes, &slot).is_err(), "no key");
    assert!(open(PackId([1; 16]), &mine, &bytes, &slot).is_err(), "another pack");
    // The same ciphertext under another chunk's name or at another offset.
    let renamed = ChunkSlot { id: slots[1].id, ..slot };
    assert!(open(PACK, &mine, &bytes, &renamed).is_err(), "another chunk");
    let mut shifted = vec![0; 8];
    shifted.extend_from_slice(&bytes);
    let moved = ChunkSlot { offset: slot.offset + 8, ..slot };
    assert!(open(PACK, &mine, &shifted, &moved).is_err(), "another offset");
}

#[test]
fn a_chunk_swapped_in_from_another_pack_is_detected() {
    // The same place, the same length, the same chunk: only the pack differs.
    let mine = encrypted(1);
    let (one, slots) = build(PACK, &mine, &[b"same bytes".to_vec()]);
    let (mut two, _) = build(PackId([7; 16]), &mine, &[b"same bytes".to_vec()]);
    let range = slots[0].offset as usize..slots[0].offset as usize + slots[0].stored_len as usize;
    assert!(open(PackId([7; 16]), &mine, &two, &slots[0]).is_ok());
    two[range.clone()].copy_from_slice(&one[range]);
    assert!(open(PackId([7; 16]), &mine, &two, &slots[0]).is_err());
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    for protection in [Protection::Plain, encrypted(1)] {
        let chunks: Vec<Vec<u8>> = vec![b"hello".to_vec(), b"text ".repeat(40)];
        let (good, slots) = build(PACK, &protection, &chunks);
        let stored: Vec<bool> = {
            let mut is_stored = vec![false; good.len()];
            for slot in &slots {
                let start = slot.offset as usize;
                is_stored[start..start + slot.stored_len as usize].fill(true);
            }
            is_stored
        };
        let footer_start = good.len() - Trailer::parse(&good).expect("whole").footer_len() as usize;
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            if stored[at] {
                let opened: Vec<_> =
                    slots.iter().map(|slot| open(PACK, &protection, &bad, slot)).collect();
                // One bit of a zstd frame means nothing (RFC 8878, 3.1.1.1.1.3);
                // beside it a flip must show, and wrong bytes never come out.
                let unused = !protection.is_encrypted() && at == slots[1].offset as usize + 4;
                assert_eq!(opened.iter().all(Result::is_ok), unused, "stored byte {at}");
                let right = |(got, plain): (&Result<Vec<u8>, _>, &Vec<u8>)| {
                    got.as_ref().map_or(true, |bytes| bytes == plain)
                };
                assert!(opened.iter().zip(&chunks).all(right), "stored byte {at}");
            } else if at < footer_start {
                assert!(scan_forward(&bad).is_err(), "header byte {at}");
                assert_eq!(parse_index(&bad).expect("untouched"), slots);
            } else {
                assert!(parse_index(&bad).is_err(), "footer byte {at}");
            }
        }
    }
}

#[test]
fn a_pack_cut_short_gives_back_its_whole_chunks() {
    let (bytes, slots) = build(PACK, &Protection::Plain, &sample_chunks());
    for len in 0..bytes.len() {
        assert!(parse_index(&bytes[..len]).is_err(), "cut at {len}");
        let (found, _) = salvage(&bytes[..len]);
        let whole = slots
            .iter()
            .filter(|slot| slot.offset as usize + slot.stored_len as usize <= len)
            .count();
        assert_eq!(found, slots[..whole], "cut at {len}");
    }
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let (good, slots) = build(PACK, &Protection::Plain, &sample_chunks());
    let newer = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] = 9;
        bytes
    };
    let says = |error: Error| {
        let text = error.to_string();
        assert!(text.contains("version 9 is newer than version 1"), "{text}");
    };
    says(PackHeader::parse(&newer(8)).expect_err("newer"));
    says(Trailer::parse(&newer(good.len() - TRAILER_LEN + 8)).expect_err("newer"));
    let at = slots[0].offset as usize - HEADER_LEN;
    says(ChunkHeader::parse(&newer(at + 4)[at..], at as u64).expect_err("newer"));
}

#[test]
fn a_damaged_header_is_named_with_its_offset() {
    let (mut bytes, slots) = build(PACK, &Protection::Plain, &sample_chunks());
    let at = slots[1].offset as usize - HEADER_LEN;
    bytes[at + 9] ^= 1;
    let error = scan_forward(&bytes).expect_err("damaged");
    assert_eq!(
        error.to_string(),
        format!("read chunk header at offset {at}: its checksum is wrong")
    );
}

#[test]
fn a_slot_that_promises_too_much_allocates_nothing() {
    let slot = ChunkSlot {
        id: ChunkId([0; 32]),
        offset: 0,
        stored_len: 4,
        plain_len: u32::MAX,
        codec: Codec::Zstd,
    };
    let (mut decoder, mut out) = (Decoder::new(), vec![]);
    let result =
        open_chunk(&Protection::Plain, STORE, PACK, &slot, &[0; 4], &mut decoder, &mut out);
    assert!(result.is_err());
    assert_eq!(out.capacity(), 0);
}

#[test]
#[should_panic(expected = "as its encoder made it")]
fn a_chunk_that_could_not_be_read_back_is_not_packed() {
    let mut builder = PackBuilder::new(PACK, &Protection::Plain, STORE, 100);
    builder.push(ChunkId([0; 32]), Codec::Raw, 10, b"nine chars");
    builder.push(ChunkId([0; 32]), Codec::Raw, 10, b"");
}

#[test]
fn a_reused_buffer_makes_the_same_pack() {
    let chunks = sample_chunks();
    let (fresh, _) = build(PACK, &Protection::Plain, &chunks);
    let mut builder = PackBuilder::in_buffer(PACK, &Protection::Plain, STORE, vec![1; 5000]);
    let (mut encoder, mut stored) = (Encoder::new(DEFAULT_LEVEL), vec![]);
    for plain in &chunks {
        let codec = encoder.encode(plain, &mut stored);
        builder.push(Protection::Plain.chunk_id(plain), codec, plain.len() as u32, &stored);
    }
    assert!(builder.len_bytes() < fresh.len());
    assert_eq!(builder.finish().0, fresh);
}

/// Runs every decoder of this room; none may panic.
fn decode_everything(bytes: &[u8]) {
    let _ = PackHeader::parse(bytes);
    let _ = ChunkHeader::parse(bytes, 3);
    let _ = Trailer::parse(bytes);
    let _ = parse_index(bytes);
    let _ = take_varint(bytes);
    let (slots, _) = salvage(bytes);
    let text = String::from_utf8_lossy(bytes);
    let _ = MasterKey::parse(&text);
    let _ = text.parse::<Chunking>();
    let (mut decoder, mut out) = (Decoder::new(), vec![]);
    for protection in [Protection::Plain, encrypted(1)] {
        let _ = protection.open(b"context", bytes);
        for slot in &slots {
            let range = slot.offset as usize..slot.offset as usize + slot.stored_len as usize;
            let stored = &bytes[range];
            let _ = open_chunk(&protection, STORE, PACK, slot, stored, &mut decoder, &mut out);
        }
        for codec in [Codec::Raw, Codec::Zstd] {
            let slot = ChunkSlot {
                id: ChunkId([0; 32]),
                offset: u64::MAX,
                stored_len: bytes.len() as u32,
                plain_len: bytes.len() as u32 * 7,
                codec,
            };
            let _ = open_chunk(&protection, STORE, PACK, &slot, bytes, &mut decoder, &mut out);
        }
    }
}

proptest! {
    #[test]
    fn any_pack_survives(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 0..12),
        key: Option<u8>,
    ) {
        let protection = key.map_or(Protection::Plain, encrypted);
        let (bytes, slots) = build(PACK, &protection, &chunks);
        prop_assert_eq!(&parse_index(&bytes).expect("an index"), &slots);
        prop_assert_eq!(&scan_forward(&bytes).expect("headers"), &slots);
        for (slot, plain) in slots.iter().zip(&chunks) {
            prop_assert_eq!(&open(PACK, &protection, &bytes, slot).expect("opens"), plain);
        }
    }

    #[test]
    fn random_bytes_panic_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        decode_everything(&bytes);
    }

    #[test]
    fn mutated_packs_panic_nothing(
        key: Option<u8>,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        fix_checksums: bool,
    ) {
        let protection = key.map_or(Protection::Plain, encrypted);
        let (mut bytes, slots) = build(PACK, &protection, &sample_chunks());
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if fix_checksums {
            forge(&mut bytes, &slots);
        }
        decode_everything(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        decode_everything(&bytes);
    }
}

/// Makes every checksum right again, as an attacker would.
fn forge(bytes: &mut [u8], slots: &[ChunkSlot]) {
    let mut seal = |covered: std::ops::Range<usize>| {
        let crc = crc32fast::hash(&bytes[covered.clone()]).to_le_bytes();
        bytes[covered.end..covered.end + 4].copy_from_slice(&crc);
    };
    seal(0..60);
    for slot in slots {
        let at = slot.offset as usize - HEADER_LEN;
        seal(at..at + 52);
    }
    let trailer = bytes.len() - TRAILER_LEN;
    let index = trailer - slots.len() * 52..trailer;
    let crc = crc32fast::hash(&bytes[index]).to_le_bytes();
    bytes[trailer + 24..trailer + 28].copy_from_slice(&crc);
    let crc = crc32fast::hash(&bytes[trailer..trailer + 36]).to_le_bytes();
    bytes[trailer + 36..].copy_from_slice(&crc);
}

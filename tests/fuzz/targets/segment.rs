//! Catalog objects, as they lie in a store, and the lines in them: those are what a
//! mutation can change, so the frame around them is made anew. What is read is what is
//! written again.
#![no_main]

use hsm_fuzz::chunk::{MasterKey, Protection};
use hsm_fuzz::ids::StoreId;
use hsm_fuzz::manifest::{
    Collected, Collection, Content, StoreDescriptor, decode_checkpoint, decode_segment,
    encode_checkpoint, encode_segment,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    match mode {
        b'r' => raw(bytes),
        b's' => segment(&framed(b"HSMSEG1\n\0", bytes)),
        b'c' => checkpoint(&framed(b"HSMCKP1\n\0", bytes)),
        _ => others(bytes),
    }
});

fn framed(preamble: &[u8; 9], text: &[u8]) -> Vec<u8> {
    [preamble, &zstd::bulk::compress(text, 1).expect("memory does not fail")[..]].concat()
}

fn raw(object: &[u8]) {
    segment(object);
    checkpoint(object);
    let keyed = Protection::encrypted(&MasterKey::generate([7; 32]), StoreId([1; 16]));
    let _ = decode_segment(object, &keyed);
}

fn segment(object: &[u8]) {
    if let Ok((header, records)) = decode_segment(object, &Protection::Plain) {
        let again = encode_segment(&header, &records, &Protection::Plain).expect("it was read");
        let read = decode_segment(&again, &Protection::Plain).expect("it was written");
        assert!(read == (header, records));
    }
}

fn checkpoint(object: &[u8]) {
    if let Ok((header, records)) = decode_checkpoint(object, &Protection::Plain) {
        let again = encode_checkpoint(&header, &records, &Protection::Plain).expect("it was read");
        let read = decode_checkpoint(&again, &Protection::Plain).expect("it was written");
        assert!(read == (header, records));
    }
}

fn others(bytes: &[u8]) {
    if let Ok(content) = Content::decode(bytes) {
        assert!(content.fault().is_none());
        assert_eq!(Content::decode(&content.encode()).expect("written"), content);
    }
    if let Ok(plan) = Collection::decode(bytes) {
        assert_eq!(Collection::decode(&plan.encode()).expect("written"), plan);
    }
    if let Ok(end) = Collected::decode(bytes) {
        assert_eq!(Collected::decode(&end.encode()).expect("written"), end);
    }
    if let Ok(descriptor) = StoreDescriptor::parse(bytes) {
        assert_eq!(StoreDescriptor::parse(&descriptor.encode()).expect("written"), descriptor);
    }
}

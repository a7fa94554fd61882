//! A marker that is read is written again as the same bytes.
#![no_main]

use hsm_fuzz::marker::Marker;
use libfuzzer_sys::fuzz_target;

/// Beside the marker, and not in it: nothing was punched yet.
const FLAG_INTACT: u8 = 2;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(marker) = Marker::decode(bytes) {
        let again = marker.encode();
        assert_eq!(Marker::decode(&again).as_ref(), Ok(&marker));
        assert!(again[..] == *bytes || bytes[3] & FLAG_INTACT != 0);
    }
    // What no mutation finds: the right sum.
    if bytes.len() == 64 {
        let mut summed = bytes.to_vec();
        let sum = crc32fast::hash(&summed[..60]);
        summed[60..].copy_from_slice(&sum.to_le_bytes());
        if let Ok(marker) = Marker::decode(&summed) {
            assert!(marker.encode()[4..60] == summed[4..60]);
        }
    }
});

//! What a kernel writes into a buffer of events: every event lies in it.
#![no_main]

use hsm_fuzz::events::{METADATA_LEN, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (events, bad) = parse(bytes);
    assert!(events.len() * METADATA_LEN <= bytes.len());
    assert!(bad.is_some() || events.is_empty() == bytes.is_empty());
});

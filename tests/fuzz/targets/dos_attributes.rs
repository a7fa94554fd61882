//! Samba's attribute: what is read is written again byte for byte, and one bit can be
//! set and taken back.
#![no_main]

use hsm_fuzz::dos_attributes::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(found) = parse(bytes) {
        assert_eq!(found.encode(), bytes);
        let there = found.is_offline();
        let changed = found.clone().with_offline(!there);
        assert_eq!(changed.is_offline(), !there);
        assert_eq!(parse(&changed.encode()).as_ref(), Ok(&changed));
        assert_eq!(changed.with_offline(there).attributes(), found.attributes());
    }
});

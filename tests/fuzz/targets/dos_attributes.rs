//! Samba's attribute: what is read is written again byte for byte, and one bit can be
//! set and taken back.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[cfg(has_dos_attributes)]
fn read(bytes: &[u8]) {
    if let Ok(found) = hsm_fuzz::dos_attributes::parse(bytes) {
        assert_eq!(found.encode(), bytes);
        let there = found.is_offline();
        let changed = found.clone().with_offline(!there);
        assert_eq!(changed.is_offline(), !there);
        assert_eq!(hsm_fuzz::dos_attributes::parse(&changed.encode()).as_ref(), Ok(&changed));
        assert_eq!(changed.with_offline(there).attributes(), found.attributes());
    }
}

#[cfg(not(has_dos_attributes))]
fn read(_: &[u8]) {}

fuzz_target!(|bytes: &[u8]| read(bytes));

//! Little-endian fields and variable-length integers in bytes nobody vouches
//! for.
//!
//! The `*_at` functions read from a slice whose length the caller has already
//! fixed (an array reference, or the result of [`exact`]); everything whose
//! length comes from outside goes through [`exact`] or [`take_varint`].

use super::Error;

/// The first `len` bytes of `bytes`; `offset` is where they lie in the object,
/// for the message.
pub(super) fn exact<'a>(
    bytes: &'a [u8],
    len: usize,
    what: &'static str,
    offset: u64,
) -> Result<&'a [u8], Error> {
    bytes.get(..len).ok_or(Error::Truncated {
        what,
        offset,
        needed: len as u64,
        have: bytes.len() as u64,
    })
}

pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes makes an array of N")
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// Appends `value` seven bits at a time, lowest first, high bit set on all but
/// the last byte (LEB128, DWARF 5 section 7.6).
pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Splits a varint off `bytes`. `None` when it is cut short, longer than a
/// `u64`, or not the shortest form (each value has one encoding).
pub(crate) fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if at == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * at);
        if byte & 0x80 == 0 {
            let shortest = at == 0 || byte != 0;
            return shortest.then(|| (value, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_padded_or_endless_varint_is_refused() {
        assert_eq!(take_varint(&[0x80, 0x00]), None);
        assert_eq!(take_varint(&[0xff; 10]), None);
        assert_eq!(take_varint(&[0x80]), None);
        assert_eq!(take_varint(&[]), None);
    }

    proptest! {
        #[test]
        fn a_varint_survives(value: u64, rest: [u8; 3]) {
            let mut bytes = vec![];
            put_varint(value, &mut bytes);
            bytes.extend_from_slice(&rest);
            prop_assert_eq!(take_varint(&bytes), Some((value, &rest[..])));
        }
    }
}

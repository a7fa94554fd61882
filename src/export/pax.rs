//! Extended header records: what a ustar block has no room for (pax(1), "pax
//! Extended Header").
//!
//! A record is its own length, a key and a value of any bytes. A record is
//! written only where the block cannot say it, as GNU tar does. Keys beyond
//! POSIX are those that GNU tar reads: `SCHILY.xattr.*` and `SCHILY.acl.*`
//! (star(5)), `GNU.sparse.*` (tar(5), "PAX 1.0").

use super::acl;
use super::header::{LARGE_MAX, SMALL_MAX, fits_name};
use crate::manifest::FileRecord;

/// Records of one member, ready to be written.
#[derive(Debug, Default)]
pub(super) struct Records(Vec<u8>);

impl Records {
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds `length key=value\n`; the length counts itself.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + digits(rest);
        if digits(length) != digits(rest) {
            length = rest + digits(length);
        }
        self.0.extend_from_slice(format!("{length} ").as_bytes());
        self.0.extend_from_slice(key);
        self.0.push(b'=');
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    /// A name or link target, if its field cannot hold it.
    pub fn add_name(&mut self, key: &str, name: &[u8]) {
        if !fits_name(name) {
            self.add(key.as_bytes(), name);
        }
    }

    pub fn add_size(&mut self, size_bytes: u64) {
        if size_bytes > LARGE_MAX {
            self.add(b"size", size_bytes.to_string().as_bytes());
        }
    }

    /// Owner, times and device numbers, as far as the block cannot say them.
    pub fn add_stat(&mut self, record: &FileRecord, device: (u32, u32)) {
        let numbers: [(&[u8], u32); 4] = [
            (b"uid", record.uid),
            (b"gid", record.gid),
            (b"SCHILY.devmajor", device.0),
            (b"SCHILY.devminor", device.1),
        ];
        for (key, value) in numbers {
            if u64::from(value) > SMALL_MAX {
                self.add(key, value.to_string().as_bytes());
            }
        }
        let seconds = u64::try_from(record.mtime_ns.div_euclid(NS_PER_S));
        let plain = seconds.is_ok_and(|s| s <= LARGE_MAX) && record.mtime_ns % NS_PER_S == 0;
        if !plain {
            self.add(b"mtime", decimal(record.mtime_ns).as_bytes());
        }
    }

    /// Attributes with their raw values; ACLs once more as the text that
    /// `tar --acls` wants.
    pub fn add_xattrs(&mut self, xattrs: &[(Vec<u8>, Vec<u8>)]) {
        for (name, value) in xattrs {
            let key = match name.as_slice() {
                b"system.posix_acl_access" => Some("SCHILY.acl.access"),
                b"system.posix_acl_default" => Some("SCHILY.acl.default"),
                _ => None,
            };
            if let (Some(key), Some(text)) = (key, acl::text(value)) {
                self.add(key.as_bytes(), text.as_bytes());
            }
        }
        for (name, value) in xattrs {
            let mut key = b"SCHILY.xattr.".to_vec();
            // A key ends at its first "=" (GNU tar, xattr_encode_keyword).
            for byte in name {
                match byte {
                    b'%' => key.extend_from_slice(b"%25"),
                    b'=' => key.extend_from_slice(b"%3D"),
                    byte => key.push(*byte),
                }
            }
            self.add(&key, value);
        }
    }
}

const NS_PER_S: i64 = 1_000_000_000;

fn digits(number: usize) -> usize {
    number.to_string().len()
}

/// Seconds with as many decimals as it takes.
fn decimal(time_ns: i64) -> String {
    let sign = if time_ns < 0 { "-" } else { "" };
    let abs = time_ns.unsigned_abs();
    let (seconds, nanos) = (abs / NS_PER_S.unsigned_abs(), abs % NS_PER_S.unsigned_abs());
    let text = format!("{sign}{seconds}.{nanos:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        let record = |value_len: usize| {
            let mut records = Records::default();
            records.add(b"k", &vec![b'v'; value_len]);
            String::from_utf8(records.bytes().to_vec()).expect("ASCII")
        };
        assert_eq!(record(1), "6 k=v\n");
        // Where counting the digits adds a digit.
        for len in [4, 5, 6, 93, 94, 95, 96, 991, 992, 993, 994] {
            let text = record(len);
            let said: usize = text.split(' ').next().expect("a length").parse().expect("digits");
            assert_eq!(said, text.len(), "a value of {len} bytes");
        }
    }

    #[test]
    fn times_are_exact_on_both_sides_of_the_epoch() {
        for (time_ns, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (1_500_000_000, "1.5"),
            (-1, "-0.000000001"),
            (-1_500_000_000, "-1.5"),
            (-20_000_000_000, "-20"),
            (i64::MIN, "-9223372036.854775808"),
        ] {
            assert_eq!(decimal(time_ns), text);
        }
    }

    #[test]
    fn an_attributes_name_cannot_break_out_of_its_key() {
        let mut records = Records::default();
        records.add_xattrs(&[(b"user.a=b%c".to_vec(), b"1\n2\0".to_vec())]);
        assert_eq!(records.bytes(), b"36 SCHILY.xattr.user.a%3Db%25c=1\n2\0\n");
    }
}

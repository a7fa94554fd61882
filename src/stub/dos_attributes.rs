//! The attribute in which Samba keeps what Windows calls a file's attributes:
//! read, changed in one bit, and written again with all else byte for byte.
//!
//! `user.DOSATTRIB` holds one of six forms (librpc/idl/xattr.idl and
//! librpc/ndr/ndr_xattr.c of Samba; little endian, numbers aligned to their
//! size, times to 4):
//!
//! | form | written by | layout |
//! | --- | --- | --- |
//! | text | Samba 3.0 to 3.4 | `0x` and hex digits, sometimes a zero byte |
//! | 1, 2, 3 | to 4.10 | the same text and its zero byte, padding, version twice, in 2 and 3 a word of flags, the attributes, the rest |
//! | 4, 5 | 4.11 and later, ksmbd | an empty text, its zero byte, padding, version twice, flags, attributes, the rest |
//!
//! The attributes stand twice in 1 to 3, and a text that grows moves what
//! follows. So only the form that Samba itself writes is read: what would not be
//! written again as the same bytes is refused, and whoever asked leaves it
//! alone. Whoever may write to the file may write this attribute, too: it is
//! believed in nothing.
//!
//! Pure: no file is touched here.

/// The attribute's name.
pub const DOS_ATTRIBUTES: &str = "user.DOSATTRIB";

/// `FILE_ATTRIBUTE_OFFLINE` (MS-FSCC 2.6): the data are not here, do not read
/// them without need. `smbd` reports it and never stores it.
pub const OFFLINE: u32 = 0x1000;

/// `XATTR_DOSINFO_ATTRIB`: the attributes are among what is valid.
const VALID_ATTRIBUTES: u32 = 1;

/// `smbd` reads no more than 256 bytes; a name of version 2 may be longer.
const MOST_BYTES: usize = 4096;

/// One attribute's value, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DosAttributes {
    form: Form,
    attributes: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Text {
        /// With a zero byte at its end.
        terminated: bool,
    },
    Versioned {
        version: u16,
        /// Of what is valid, in version 2 of something else; version 1 has none.
        flags: Option<u32>,
        /// What stands behind the attributes.
        rest: Vec<u8>,
    },
}

/// Bytes that Samba does not write, or not in a version that is known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("DOS attributes of version {0}, which this hsm does not know")]
    Version(u16),
    #[error("not in the form in which Samba writes DOS attributes")]
    Form,
}

/// Reads a value of `user.DOSATTRIB`. What it accepts, [`DosAttributes::encode`]
/// gives back byte by byte.
pub fn parse(bytes: &[u8]) -> Result<DosAttributes, Unreadable> {
    if bytes.len() > MOST_BYTES {
        return Err(Unreadable::Form);
    }
    let found = match bytes.iter().position(|byte| *byte == 0) {
        None => text(bytes, false)?,
        Some(end) if end + 1 == bytes.len() => text(&bytes[..end], true)?,
        Some(end) => versioned(bytes, end + 1)?,
    };
    // One rule for text in capitals, padding that is not zero, two attributes
    // that differ, and whatever else could not be written again as it was.
    if found.encode() == bytes { Ok(found) } else { Err(Unreadable::Form) }
}

fn text(digits: &[u8], terminated: bool) -> Result<DosAttributes, Unreadable> {
    let digits = std::str::from_utf8(digits).ok().and_then(|text| text.strip_prefix("0x"));
    let attributes = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let attributes = attributes.ok_or(Unreadable::Form)?;
    Ok(DosAttributes { form: Form::Text { terminated }, attributes })
}

/// `at` is the first byte after the text.
fn versioned(bytes: &[u8], at: usize) -> Result<DosAttributes, Unreadable> {
    let mut at = at.next_multiple_of(2);
    let version = u16::from_le_bytes(take(bytes, &mut at)?);
    let again = u16::from_le_bytes(take(bytes, &mut at)?);
    if !(1..=5).contains(&version) {
        return Err(Unreadable::Version(version));
    }
    if again != version {
        return Err(Unreadable::Form);
    }
    at = at.next_multiple_of(4);
    let flags = match version {
        1 => None,
        _ => Some(u32::from_le_bytes(take(bytes, &mut at)?)),
    };
    let attributes = u32::from_le_bytes(take(bytes, &mut at)?);
    let rest = bytes[at..].to_vec();
    if !is_rest_of(version, &rest) {
        return Err(Unreadable::Form);
    }
    Ok(DosAttributes { form: Form::Versioned { version, flags, rest }, attributes })
}

/// Sizes and times, in version 2 with a name and its zero byte at the end.
fn is_rest_of(version: u16, rest: &[u8]) -> bool {
    match version {
        1 | 3 => rest.len() == 36,
        2 => {
            let name = rest.get(44..).and_then(|name| name.split_last());
            name.is_some_and(|(last, name)| *last == 0 && !name.contains(&0))
        }
        4 => rest.len() == 16,
        _ => rest.len() == 8,
    }
}

fn take<const N: usize>(bytes: &[u8], at: &mut usize) -> Result<[u8; N], Unreadable> {
    let end = *at + N;
    let taken = bytes.get(*at..end).and_then(|part| part.try_into().ok());
    *at = end;
    taken.ok_or(Unreadable::Form)
}

impl DosAttributes {
    /// A file that is offline and nothing else is known of: version 5 without a
    /// time of creation, for which `smbd` goes on asking the file system. It
    /// never writes this itself.
    pub fn only_offline() -> Self {
        let flags = Some(VALID_ATTRIBUTES);
        let form = Form::Versioned { version: 5, flags, rest: vec![0; 8] };
        Self { form, attributes: OFFLINE }
    }

    /// The bits of MS-FSCC 2.6.
    pub fn attributes(&self) -> u32 {
        self.attributes
    }

    pub fn is_offline(&self) -> bool {
        self.attributes & OFFLINE != 0
    }

    /// All else as it is.
    pub fn with_offline(self, offline: bool) -> Self {
        let others = self.attributes & !OFFLINE;
        Self { attributes: if offline { others | OFFLINE } else { others }, ..self }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = if self.has_text() { self.text() } else { vec![] };
        let Form::Versioned { version, flags, rest } = &self.form else {
            bytes.extend((self.form == Form::Text { terminated: true }).then_some(0));
            return bytes;
        };
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        for word in flags.iter().chain([&self.attributes]) {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(rest);
        bytes
    }

    fn text(&self) -> Vec<u8> {
        format!("{:#x}", self.attributes).into_bytes()
    }

    fn has_text(&self) -> bool {
        match &self.form {
            Form::Text { .. } | Form::Versioned { version: 1 | 2, .. } => true,
            Form::Versioned { version, flags, .. } => {
                *version == 3 && flags.is_some_and(|flags| flags & VALID_ATTRIBUTES != 0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made by Samba 4.17's own marshalling, all but the first two, which are
    /// what Samba 3 wrote; of a file that is hidden, archived and offline or
    /// not. Each line: version, without and with the bit.
    const SAMBA: [(u16, &str, &str); 8] = [
        (0, "30783232", "307831303232"),
        (0, "3078323200", "30783130323200"),
        (
            1,
            "30783232000001000100000022000000000000000700000000000000001000000000000054\
             ddc3badc79dd010000000000000000",
            "30783130323200000100010022100000000000000700000000000000001000000000000054\
             ddc3badc79dd010000000000000000",
        ),
        (
            2,
            "30783232000002000200000001000000220000000000000007000000000000000010000000\
             00000054ddc3badc79dd01000000000000000054ddc3badc79dd01612e62696e00",
            "30783130323200000200020001000000221000000000000007000000000000000010000000\
             00000054ddc3badc79dd01000000000000000054ddc3badc79dd01612e62696e00",
        ),
        (
            3,
            "30783232000003000300000011000000220000000000000007000000000000000010000000\
             00000054ddc3badc79dd010000000000000000",
            "30783130323200000300030011000000221000000000000007000000000000000010000000\
             00000054ddc3badc79dd010000000000000000",
        ),
        (
            3,
            "00000300030000001000000022000000000000000700000000000000001000000000000054\
             ddc3badc79dd010000000000000000",
            "00000300030000001000000022100000000000000700000000000000001000000000000054\
             ddc3badc79dd010000000000000000",
        ),
        (
            4,
            "0000040004000000110000002200000054ddc3badc79dd0154ddc3badc79dd01",
            "0000040004000000110000002210000054ddc3badc79dd0154ddc3badc79dd01",
        ),
        (
            5,
            "0000050005000000110000002200000054ddc3badc79dd01",
            "0000050005000000110000002210000054ddc3badc79dd01",
        ),
    ];

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text).expect("hex")
    }

    #[test]
    fn every_form_of_samba_is_read_and_changed_in_one_bit() {
        for (version, without, with) in SAMBA {
            let (plain, offline) = (parse(&bytes(without)), parse(&bytes(with)));
            let (plain, offline) = (plain.expect(without), offline.expect(with));
            assert_eq!((plain.attributes(), offline.attributes()), (0x22, 0x1022), "{version}");
            assert_eq!(hex::encode(plain.clone().with_offline(true).encode()), with);
            assert_eq!(hex::encode(offline.clone().with_offline(false).encode()), without);
            assert_eq!(plain.clone().with_offline(false), plain);
            assert_eq!(offline.clone().with_offline(true), offline);
        }
    }

    #[test]
    fn what_samba_does_not_write_is_refused() {
        let five = "0000050005000000110000002200000054ddc3badc79dd01";
        let odd = [
            "",
            "00",
            "0000",
            "3078",
            "30783a",
            "307800",
            "302a3232",
            "58783232",
            "3078303232",   // a zero in front
            "3078324100",   // a capital digit
            "30782b323200", // a sign
            "3078323200000000",
            "00ff050005000000110000002200000054ddc3badc79dd01", // padding
            "0000050005000001110000002200000054ddc3badc79dd01",
            "0000050004000000110000002200000054ddc3badc79dd01", // two versions
            "0000050005000000110000002200000054ddc3badc79dd",   // too short
            "0000050005000000110000002200000054ddc3badc79dd0100", // too long
            "3078323200000500050000001100000022000000010101010101010101", // a text before 5
            "30783230000003000300000011000000220000000000000007000000000000000010000000\
             00000054ddc3badc79dd010000000000000000", // two attributes that differ
            "30783232000002000200000001000000220000000000000007000000000000000010000000\
             00000054ddc3badc79dd01000000000000000054ddc3badc79dd01612e62696e", // open name
        ];
        for text in odd {
            assert_eq!(parse(&bytes(text)), Err(Unreadable::Form), "{text}");
        }
        assert!(parse(&bytes(five)).is_ok());
        for version in [0u16, 6, 0xffff] {
            let mut newer = bytes(five);
            newer[2..4].copy_from_slice(&version.to_le_bytes());
            newer[4..6].copy_from_slice(&version.to_le_bytes());
            assert_eq!(parse(&newer), Err(Unreadable::Version(version)));
        }
        assert_eq!(parse(&vec![b'0'; MOST_BYTES + 1]), Err(Unreadable::Form));
    }

    #[test]
    fn the_one_that_is_made_is_read_back() {
        let made = DosAttributes::only_offline();
        assert_eq!(hex::encode(made.encode()), "000005000500000001000000001000000000000000000000");
        assert_eq!(parse(&made.encode()), Ok(made));
    }

    fn any_form() -> impl Strategy<Value = Form> {
        let name = proptest::collection::vec(1u8.., 0..40);
        let fixed = |len: usize| proptest::collection::vec(any::<u8>(), len);
        let two = (any::<u32>(), fixed(44), name).prop_map(|(flags, mut rest, name)| {
            rest.extend(name);
            rest.push(0);
            Form::Versioned { version: 2, flags: Some(flags), rest }
        });
        let flagged = |version, len| {
            (any::<u32>(), fixed(len)).prop_map(move |(flags, rest)| Form::Versioned {
                version,
                flags: Some(flags),
                rest,
            })
        };
        prop_oneof![
            any::<bool>().prop_map(|terminated| Form::Text { terminated }),
            fixed(36).prop_map(|rest| Form::Versioned { version: 1, flags: None, rest }),
            two,
            flagged(3, 36),
            flagged(4, 16),
            flagged(5, 8),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(form in any_form(), attributes: u32) {
            let written = DosAttributes { form, attributes };
            prop_assert_eq!(parse(&written.encode()), Ok(written));
        }

        #[test]
        fn the_bit_comes_and_goes_and_leaves_all_else(form in any_form(), attributes: u32) {
            let before = DosAttributes { form, attributes: attributes & !OFFLINE };
            let shown = before.clone().with_offline(true);
            prop_assert_eq!(shown.attributes(), before.attributes() | OFFLINE);
            let found = parse(&shown.encode()).expect("it was written here");
            prop_assert!(found.is_offline());
            prop_assert_eq!(found.with_offline(false).encode(), before.encode());
        }

        #[test]
        fn no_bytes_make_it_panic_and_what_is_read_is_written_the_same(bytes: Vec<u8>) {
            if let Ok(found) = parse(&bytes) {
                prop_assert_eq!(found.encode(), bytes);
            }
        }

        /// Near what Samba writes, where most mistakes would be.
        #[test]
        fn a_changed_byte_is_refused_or_kept(
            form in any_form(), attributes: u32, at: proptest::sample::Index, byte: u8, cut: bool,
        ) {
            let mut bytes = DosAttributes { form, attributes }.encode();
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] = byte;
            }
            if let Ok(found) = parse(&bytes) {
                prop_assert_eq!(found.encode(), bytes);
            }
        }
    }
}

//! The block of 512 bytes before each member: POSIX ustar (pax(1), "ustar
//! Interchange Format").
//!
//! Its fields are short and its names ASCII. What does not fit is cut here and
//! said whole in a pax record, so every field has a `fits`; readers that know
//! no pax records find a shortened name and a number of zero, never a wrong one.

pub(super) const BLOCK: usize = 512;

/// Seven octal digits: mode, uid, gid, device numbers.
pub(super) const SMALL_MAX: u64 = 0o7_777_777;
/// Eleven octal digits: size and mtime.
pub(super) const LARGE_MAX: u64 = 0o77_777_777_777;

const NAME: std::ops::Range<usize> = 0..100;
const LINK: std::ops::Range<usize> = 157..257;
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// What the block says.
#[derive(Debug, Clone, Default)]
pub(super) struct Header<'h> {
    pub name: &'h [u8],
    /// `0` file, `1` hard link, `2` symlink, `3` `4` devices, `5` directory,
    /// `6` FIFO, `x` pax records about the next member.
    pub kind: u8,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size_bytes: u64,
    pub mtime_s: i64,
    pub link: &'h [u8],
    pub device: (u32, u32),
}

/// Whether a name or link target stands in the block as it is.
pub(super) fn fits_name(name: &[u8]) -> bool {
    name.len() <= NAME.len() && name.iter().all(|byte| (0x20..0x7f).contains(byte))
}

impl Header<'_> {
    pub fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        put_name(&mut block[NAME], self.name);
        put_octal(&mut block[100..108], u64::from(self.mode), SMALL_MAX);
        put_octal(&mut block[108..116], u64::from(self.uid), SMALL_MAX);
        put_octal(&mut block[116..124], u64::from(self.gid), SMALL_MAX);
        put_octal(&mut block[124..136], self.size_bytes, LARGE_MAX);
        put_octal(&mut block[136..148], u64::try_from(self.mtime_s).unwrap_or(0), LARGE_MAX);
        block[156] = self.kind;
        put_name(&mut block[LINK], self.link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        put_octal(&mut block[329..337], u64::from(self.device.0), SMALL_MAX);
        put_octal(&mut block[337..345], u64::from(self.device.1), SMALL_MAX);
        // The sum of all bytes, its own field taken for spaces.
        block[CHECKSUM].fill(b' ');
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        put_octal(&mut block[148..155], sum, SMALL_MAX);
        block
    }
}

/// The name, or its end without what is not plain ASCII.
fn put_name(field: &mut [u8], name: &[u8]) {
    let tail = &name[name.len().saturating_sub(field.len())..];
    for (to, byte) in field.iter_mut().zip(tail) {
        *to = if (0x20..0x7f).contains(byte) { *byte } else { b'_' };
    }
}

/// Octal digits and a NUL; 0 for what has too many digits.
fn put_octal(field: &mut [u8], value: u64, most: u64) {
    let digits = field.len() - 1;
    let value = if value <= most { value } else { 0 };
    let text = format!("{value:0digits$o}");
    field[..digits].copy_from_slice(text.as_bytes());
    field[digits] = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_its_fields_where_posix_puts_them() {
        let header = Header {
            name: b"dir/file",
            kind: b'0',
            mode: 0o4755,
            uid: 1000,
            gid: 0o7_777_777,
            size_bytes: 0o77_777_777_777,
            mtime_s: 1_700_000_000,
            link: b"",
            device: (8, 1),
        };
        let block = header.block();
        assert_eq!(&block[..9], b"dir/file\0");
        assert_eq!(&block[100..108], b"0004755\0");
        assert_eq!(&block[108..116], b"0001750\0");
        assert_eq!(&block[116..124], b"7777777\0");
        assert_eq!(&block[124..136], b"77777777777\0");
        assert_eq!(&block[136..148], b"14524770400\0");
        assert_eq!(&block[257..265], b"ustar\x0000");
        assert_eq!(&block[329..345], b"0000010\x000000001\0");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum::<u32>()
            - block[148..156].iter().map(|byte| u32::from(*byte)).sum::<u32>()
            + 8 * 32;
        assert_eq!(block[148..156], *format!("{sum:06o}\0 ").as_bytes());
    }

    #[test]
    fn what_does_not_fit_is_cut_and_never_wrong() {
        let long = [b"x/".repeat(60).as_slice(), "ü\n".as_bytes()].concat();
        assert!(!fits_name(&long) && !fits_name(b"a\n") && !fits_name("ü".as_bytes()));
        assert!(fits_name(&[b'a'; 100]) && !fits_name(&[b'a'; 101]));
        let header = Header { name: &long, uid: 1 << 21, mtime_s: -1, ..Header::default() };
        let block = header.block();
        assert_eq!(&block[90..100], b"/x/x/x/___");
        assert_eq!(&block[108..116], b"0000000\0");
        assert_eq!(&block[136..148], b"00000000000\0");
    }
}

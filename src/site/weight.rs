//! How much a record adds to a segment, so that none outgrows what a reader
//! accepts.

use crate::manifest::{FileRecord, Record};

/// Records of this much go into one segment at most; what is written at once
/// and is more becomes several.
pub(super) const LARGEST_SEGMENT_BYTES: usize = 32 << 20;

/// Of a record, its names, numbers and ids.
const FIXED_BYTES: usize = 300;

/// About the bytes of a record in its segment.
pub fn weight(record: &Record) -> usize {
    match record {
        Record::File(file) => file_weight(file),
        Record::Pack(pack) => FIXED_BYTES + pack.chunks.len() * 110,
        Record::Gone { path, .. } | Record::Expired { path, .. } => {
            FIXED_BYTES + path.as_bytes().len()
        }
        _ => FIXED_BYTES,
    }
}

pub fn file_weight(file: &FileRecord) -> usize {
    let attributes =
        file.xattrs.iter().map(|(name, value)| (name.len() + value.len()) * 4 / 3 + 10);
    FIXED_BYTES + file.path_bytes().len() + file.pieces.len() * 80 + attributes.sum::<usize>()
}

/// Where a segment must end before all of `records` are in it; a record that is
/// too large by itself is alone.
pub fn overflow(records: &[Record]) -> Option<usize> {
    let mut bytes = 0;
    let full = records.iter().position(|record| {
        bytes += weight(record);
        bytes > LARGEST_SEGMENT_BYTES
    })?;
    let cut = full.max(1);
    (cut < records.len()).then_some(cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Name;

    fn record(path_bytes: usize) -> Record {
        let name = |len| Name::from_bytes(&vec![b'x'; len]);
        Record::Gone { root: name(1), path: name(path_bytes), content: None, when_ns: 0 }
    }

    #[test]
    fn too_much_for_one_segment_is_cut_and_a_giant_stands_alone() {
        const GIANT: usize = LARGEST_SEGMENT_BYTES + 1;
        assert_eq!(overflow(&[]), None);
        assert_eq!(overflow(&[record(9)]), None);
        assert_eq!(overflow(&[record(GIANT)]), None);
        assert_eq!(overflow(&[record(GIANT), record(9)]), Some(1));
        assert_eq!(overflow(&[record(9), record(GIANT)]), Some(1));
        let half = || record(LARGEST_SEGMENT_BYTES / 2);
        assert_eq!(overflow(&[record(9), half(), half(), record(9)]), Some(2));
    }
}

//! POSIX ACLs as text, which is how archives hold them.
//!
//! The kernel hands an ACL out as the attributes `system.posix_acl_access` and
//! `system.posix_acl_default`: a version and entries of tag, permissions and
//! id, little-endian (linux/posix_acl_xattr.h). GNU tar, bsdtar and star keep
//! the text of acl(5) in `SCHILY.acl.access` and `SCHILY.acl.default`. Ids stay
//! numbers: the names are those of another machine.

const VERSION: u32 = 2;

/// The ACL of an attribute's value; `None` if it is none that this knows.
pub(super) fn text(value: &[u8]) -> Option<String> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION || entries.len() % 8 != 0 {
        return None;
    }
    let mut lines = Vec::new();
    for entry in entries.chunks_exact(8) {
        let number = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        // ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ, ACL_GROUP, ACL_MASK, ACL_OTHER.
        let who = match number(0) {
            0x01 => "user:".to_owned(),
            0x02 => format!("user:{id}"),
            0x04 => "group:".to_owned(),
            0x08 => format!("group:{id}"),
            0x10 => "mask:".to_owned(),
            0x20 => "other:".to_owned(),
            _ => return None,
        };
        let bit = |bit: u16, letter: char| if number(2) & bit != 0 { letter } else { '-' };
        lines.push(format!("{who}:{}{}{}", bit(4, 'r'), bit(2, 'w'), bit(1, 'x')));
    }
    Some(lines.join("\n") + "\n")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The attribute's value for entries of tag, permissions and id.
    pub fn value(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for (tag, perm, id) in entries {
            value.extend(tag.to_le_bytes());
            value.extend(perm.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        value
    }

    #[test]
    fn every_entry_has_its_line() {
        let none = u32::MAX;
        let acl = value(&[
            (1, 7, none),
            (2, 5, 1000),
            (4, 4, none),
            (8, 0, 100),
            (16, 6, none),
            (32, 1, none),
        ]);
        let lines = "user::rwx\nuser:1000:r-x\ngroup::r--\ngroup:100:---\nmask::rw-\nother::--x\n";
        assert_eq!(text(&acl).as_deref(), Some(lines));
    }

    #[test]
    fn what_is_no_acl_has_no_text() {
        let acl = value(&[(1, 7, 0)]);
        for bad in [&acl[..3], &acl[..11], &[b"\x03", &acl[1..]].concat(), &value(&[(3, 7, 0)])] {
            assert_eq!(text(bad), None, "{bad:?}");
        }
    }
}

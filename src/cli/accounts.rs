//! User and group names of passwd(5) and group(5).
//!
//! Read from the files, not through the name service: that would be foreign
//! code in a process that frees blocks, and a name that a directory server
//! resolves differently tomorrow is no rule. Accounts of a directory service
//! are written as numbers.

use super::error::Error;
use crate::policy::Names;
use std::collections::HashMap;

/// Every local account.
#[derive(Debug, Default)]
pub struct Accounts {
    users: HashMap<String, u32>,
    groups: HashMap<String, u32>,
}

impl Accounts {
    /// What the files say; none where one cannot be read.
    pub fn read() -> Self {
        let table = |file| parse(&std::fs::read_to_string(file).unwrap_or_default());
        Self { users: table("/etc/passwd"), groups: table("/etc/group") }
    }

    /// The first name that a user has.
    pub fn user(&self, uid: u32) -> Option<&str> {
        let named = self.users.iter().filter(|(_, number)| **number == uid);
        named.map(|(name, _)| name.as_str()).min()
    }

    /// Passes the lookups on to `use_them`, as the policy wants them.
    pub fn with_names<T>(&self, use_them: impl FnOnce(&Names<'_>) -> T) -> T {
        use_them(&Names {
            uid: &|name| self.users.get(name).copied(),
            gid: &|name| self.groups.get(name).copied(),
        })
    }
}

/// The user that a person means by a name or a number.
pub fn uid(owner: &str) -> Result<u32, Error> {
    let known = || Accounts::read().users.get(owner).copied();
    owner
        .parse()
        .ok()
        .or_else(known)
        .ok_or_else(|| Error::Usage(format!("no user {owner:?} in /etc/passwd; give its number")))
}

/// Both files have the name first and the number third.
fn parse(text: &str) -> HashMap<String, u32> {
    let account = |line: &str| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_have_their_name_first_and_their_number_third() {
        let users = parse("root:x:0:0::/root:/bin/sh\n# note\nana:x:1007:100::/home/ana:/bin/sh\n");
        assert_eq!(users.get("ana"), Some(&1007));
        assert_eq!(users.get("an"), None);
        assert_eq!(users.len(), 2);
    }

    #[test]
    fn a_number_needs_no_account() {
        assert_eq!(uid("4711").unwrap(), 4711);
        assert!(uid("nobody-of-this-name").unwrap_err().to_string().contains("give its number"));
    }
}

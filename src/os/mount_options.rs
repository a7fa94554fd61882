//! What the words of a fourth field of fstab(5) are for.
//!
//! Some describe the mount (`noatime`), some the file system (`subvol=x`), `ro`
//! both, and some only tell mount(8) or systemd when and for whom to mount
//! (`noauto`, `x-systemd.requires=..`). mount(8) sorts them; who mounts without
//! it has to do the same. Later words win over earlier ones.

use rustix::mount::MountAttrFlags as Attr;

/// Name, and value if there was a `=`.
pub type MountOption = (String, Option<String>);

/// Whom an option is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Mount {
        set: Attr,
        clear: Attr,
    },
    FileSystem,
    Both {
        set: Attr,
        clear: Attr,
    },
    /// Has no effect here.
    Elsewhere,
}

/// Reads `ro,noatime,subvol=x`. A comma inside double quotes belongs to the
/// value (SELinux contexts have them); the quotes go.
pub fn parse(text: &str) -> Vec<MountOption> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => words.push(String::new()),
            _ => words.last_mut().expect("there is always one").push(letter),
        }
    }
    let named = words.iter().map(|word| word.trim()).filter(|word| !word.is_empty());
    let option = |word: &str| match word.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (word.to_owned(), None),
    };
    named.map(option).collect()
}

/// By its name. Whatever is not known is the file system's, which refuses what
/// it does not know either.
pub fn place(name: &str) -> Place {
    let set = |set| Place::Mount { set, clear: Attr::empty() };
    let clear = |clear| Place::Mount { set: Attr::empty(), clear };
    // Access times are one setting of several values, of which 0 is relatime.
    let atime = |set| Place::Mount { set, clear: Attr::MOUNT_ATTR__ATIME };
    let careful = Attr::MOUNT_ATTR_NOEXEC | Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR_NODEV;
    match name {
        "ro" => Place::Both { set: Attr::MOUNT_ATTR_RDONLY, clear: Attr::empty() },
        "rw" => Place::Both { set: Attr::empty(), clear: Attr::MOUNT_ATTR_RDONLY },
        "nosuid" => set(Attr::MOUNT_ATTR_NOSUID),
        "suid" => clear(Attr::MOUNT_ATTR_NOSUID),
        "nodev" => set(Attr::MOUNT_ATTR_NODEV),
        "dev" => clear(Attr::MOUNT_ATTR_NODEV),
        "noexec" => set(Attr::MOUNT_ATTR_NOEXEC),
        "exec" => clear(Attr::MOUNT_ATTR_NOEXEC),
        "nosymfollow" => set(Attr::MOUNT_ATTR_NOSYMFOLLOW),
        "symfollow" => clear(Attr::MOUNT_ATTR_NOSYMFOLLOW),
        "nodiratime" => set(Attr::MOUNT_ATTR_NODIRATIME),
        "diratime" => clear(Attr::MOUNT_ATTR_NODIRATIME),
        "noatime" => atime(Attr::MOUNT_ATTR_NOATIME),
        "strictatime" => atime(Attr::MOUNT_ATTR_STRICTATIME),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => atime(Attr::empty()),
        // Mounted by a user, it would be as careful as this (mount(8)).
        "user" | "users" | "owner" | "group" => set(careful),
        "defaults" | "auto" | "noauto" | "nouser" | "nousers" | "noowner" | "nogroup"
        | "nofail" | "_netdev" | "comment" => Place::Elsewhere,
        _ if name.starts_with("x-") || name.starts_with("X-") => Place::Elsewhere,
        _ => Place::FileSystem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_commas_outside_quotes() {
        let option = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        assert_eq!(
            parse("ro, noatime,,subvol=a=b,context=\"u:r:s0,c1\""),
            [
                option("ro", None),
                option("noatime", None),
                option("subvol", Some("a=b")),
                option("context", Some("u:r:s0,c1")),
            ]
        );
        assert_eq!(parse(""), []);
    }

    #[test]
    fn each_word_has_its_place() {
        assert_eq!(place("subvol"), Place::FileSystem);
        assert_eq!(place("noauto"), Place::Elsewhere);
        assert_eq!(place("x-systemd.automount"), Place::Elsewhere);
        let nodev = Attr::MOUNT_ATTR_NODEV;
        assert_eq!(place("nodev"), Place::Mount { set: nodev, clear: Attr::empty() });
        assert!(matches!(place("ro"), Place::Both { set: Attr::MOUNT_ATTR_RDONLY, .. }));
    }
}

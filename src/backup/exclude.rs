//! Names of stubs as the exclude lists of backup programs want them.
//!
//! Each program reads its list in its own way, and where a name is understood otherwise
//! than it was meant, other files are left out of a backup. So each name is written such
//! that it means exactly itself, and what a program cannot be told is left out of the
//! list: the program reads that file, which is safe. tests/backup.rs gives hostile names
//! to the programs themselves.

/// A program that takes a list of what to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// `restic backup --exclude-file`: Go's `filepath.Match` by line, after environment
    /// variables were put in and white space was cut off at both ends.
    Restic,
    /// `borg create --exclude-from`: `pf:`, a full path that is looked up in a table. The
    /// list is read as UTF-8 text with any kind of line end, cut at both ends.
    Borg,
    /// `rsync --from0 --exclude-from`: names from the top of the transfer on, ended by
    /// NUL. A backslash is one of the name unless there is a wildcard.
    Rsync,
    /// `tar --anchored --no-wildcards -X`: lines, cut off white space at their ends.
    Tar,
}

/// rsync drops a filter of `MAXPATHLEN` + 1024 bytes or more (exclude.c).
const RSYNC_BYTES: usize = 5000;

impl Tool {
    pub const ALL: [Self; 4] = [Self::Restic, Self::Borg, Self::Rsync, Self::Tar];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restic => "restic",
            Self::Borg => "borg",
            Self::Rsync => "rsync",
            Self::Tar => "tar",
        }
    }

    /// Whether its names begin at the directory that is backed up.
    pub fn is_relative(self) -> bool {
        matches!(self, Self::Rsync | Self::Tar)
    }

    /// How the list is given to it.
    pub fn option(self) -> &'static str {
        match self {
            Self::Restic => "restic backup --exclude-file FILE",
            Self::Borg => "borg create --exclude-from FILE",
            Self::Rsync => "rsync --from0 --exclude-from FILE",
            Self::Tar => "tar --anchored --no-wildcards -X FILE",
        }
    }

    /// The entry for an absolute path, with its end; `None` where it cannot be said.
    /// `base` is what [`Self::is_relative`] names begin at: without its slash at the end,
    /// and above the path.
    pub fn entry(self, path: &[u8], base: &[u8]) -> Option<Vec<u8>> {
        let inside = || path.strip_prefix(base).expect("the base is above the path");
        match self {
            Self::Restic => restic(path),
            Self::Borg => borg(path),
            Self::Rsync => rsync(inside()),
            Self::Tar if base.is_empty() => tar(path.to_vec()),
            Self::Tar => tar([b".", inside()].concat()),
        }
    }
}

fn restic(path: &[u8]) -> Option<Vec<u8>> {
    if path.contains(&b'\n') {
        return None;
    }
    // White space at the end would be cut off: as a class it is not at the end.
    let space = last_char(path).filter(|c| c.is_whitespace()).map_or(0, char::len_utf8);
    let (body, space) = path.split_at(path.len() - space);
    let mut entry = Vec::with_capacity(path.len() + 8);
    for byte in body {
        match byte {
            b'\\' | b'*' | b'?' | b'[' => entry.extend([b'\\', *byte]),
            b'$' => entry.extend(b"$$"),
            byte => entry.push(*byte),
        }
    }
    if !space.is_empty() {
        entry.push(b'[');
        entry.extend(space);
        entry.push(b']');
    }
    entry.push(b'\n');
    Some(entry)
}

fn borg(path: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(path).ok()?;
    // Python's white space is Unicode's and four control characters more.
    let cut = text.ends_with(|c: char| c.is_whitespace() || c.is_control());
    let unsayable = cut || text.contains(['\n', '\r']);
    (!unsayable).then(|| format!("pf:{text}\n").into_bytes())
}

/// `inside` begins with a slash.
fn rsync(inside: &[u8]) -> Option<Vec<u8>> {
    let is_wild = |byte: &u8| matches!(byte, b'*' | b'?' | b'[');
    let wild = inside.iter().any(is_wild);
    let mut entry = Vec::with_capacity(inside.len() + 8);
    for byte in inside {
        if wild && (is_wild(byte) || *byte == b'\\') {
            entry.push(b'\\');
        }
        entry.push(*byte);
    }
    entry.push(0);
    (entry.len() <= RSYNC_BYTES).then_some(entry)
}

fn tar(mut name: Vec<u8>) -> Option<Vec<u8>> {
    let cut = name.last().is_some_and(|byte| matches!(byte, b' ' | 9..=13));
    let unsayable = cut || name.contains(&b'\n');
    name.push(b'\n');
    (!unsayable).then_some(name)
}

/// The character that the bytes end with, if they end with one.
fn last_char(bytes: &[u8]) -> Option<char> {
    (1..=4.min(bytes.len())).find_map(|len| {
        let tail = std::str::from_utf8(&bytes[bytes.len() - len..]).ok()?;
        tail.chars().next_back()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tool: Tool, path: &[u8]) -> Option<Vec<u8>> {
        tool.entry(path, b"")
    }

    #[test]
    fn every_name_means_itself() {
        let table: [(Tool, &[u8], &[u8]); 12] = [
            (Tool::Restic, b"/s/a*b?c[d]e\\f$HOME", b"/s/a\\*b\\?c\\[d]e\\\\f$$HOME\n"),
            (Tool::Restic, b"/s/#! x \t ", b"/s/#! x \t[ ]\n"),
            (Tool::Restic, "/s/a\u{a0}".as_bytes(), "/s/a[\u{a0}]\n".as_bytes()),
            (Tool::Restic, b"/s/a\r", b"/s/a[\r]\n"),
            (Tool::Restic, b"/s/\xff\xa0", b"/s/\xff\xa0\n"),
            (Tool::Borg, b"/s/a*$[x]{now}", b"pf:/s/a*$[x]{now}\n"),
            (Tool::Borg, "/s/ü".as_bytes(), "pf:/s/ü\n".as_bytes()),
            (Tool::Rsync, b"/s/a\\b", b"/s/a\\b\0"),
            (Tool::Rsync, b"/s/a\\b*[c\n", b"/s/a\\\\b\\*\\[c\n\0"),
            (Tool::Rsync, b"/s/\xff ", b"/s/\xff \0"),
            (Tool::Tar, b"/s/a\\*?[x", b"/s/a\\*?[x\n"),
            (Tool::Tar, b"/s/\xff\x85", b"/s/\xff\x85\n"),
        ];
        for (tool, path, want) in table {
            assert_eq!(
                entry(tool, path).as_deref(),
                Some(want),
                "{tool:?} {}",
                path.escape_ascii()
            );
        }
    }

    #[test]
    fn what_a_program_cannot_be_told_is_read_by_it() {
        let table: [(Tool, &[u8]); 10] = [
            (Tool::Restic, b"/s/a\nb"),
            (Tool::Borg, b"/s/a\nb"),
            (Tool::Borg, b"/s/a\rb"),
            (Tool::Borg, b"/s/\xff"),
            (Tool::Borg, b"/s/a "),
            (Tool::Borg, b"/s/a\x1f"),
            (Tool::Tar, b"/s/a\nb"),
            (Tool::Tar, b"/s/a "),
            (Tool::Tar, b"/s/a\r"),
            (Tool::Rsync, &[b'*'; 4000]),
        ];
        for (tool, path) in table {
            assert_eq!(entry(tool, path), None, "{tool:?} {}", path.escape_ascii());
        }
    }

    #[test]
    fn names_begin_where_the_transfer_does() {
        assert_eq!(Tool::Rsync.entry(b"/srv/a/b", b"/srv").as_deref(), Some(&b"/a/b\0"[..]));
        assert_eq!(Tool::Tar.entry(b"/srv/a/b", b"/srv").as_deref(), Some(&b"./a/b\n"[..]));
    }
}

//! fstab(5): what an administrator has written about a mount point.
//!
//! Pure text. `hsm recall-guard --mount TARGET` takes source, type and options
//! from here, and `doctor` asks whether a file system is mounted at boot before
//! any guard is there. A source written as `UUID=` or `LABEL=` stays that text.

use crate::os::mounts::unescape;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// One line that is no comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FstabLine {
    /// A device, a host's directory, or `UUID=...`, `LABEL=...`.
    pub source: OsString,
    /// Without a slash at its end; `none` or `swap` for a swap area.
    pub target: PathBuf,
    pub fs_type: String,
    /// In the order of the text; `defaults` if there are none.
    pub options: Vec<String>,
}

impl FstabLine {
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|own| own == option)
    }

    /// Whether `mount -a` and the boot leave it alone.
    pub fn is_noauto(&self) -> bool {
        self.has("noauto")
    }

    /// Whether systemd mounts it at its first use, whoever that is.
    pub fn is_automount(&self) -> bool {
        self.has("x-systemd.automount")
    }

    /// The fourth field again; which of its words are for whom,
    /// `os::mount_options` knows.
    pub fn options_text(&self) -> String {
        self.options.join(",")
    }
}

/// Every line that has the three fields that it needs, in the order of the text;
/// what else is there belongs to someone else.
pub fn parse_fstab(text: &[u8]) -> Vec<FstabLine> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// The line for a mount point; of several the last, as `mount TARGET` does.
pub fn line_for<'l>(lines: &'l [FstabLine], target: &Path) -> Option<&'l FstabLine> {
    let target: PathBuf = target.components().collect();
    lines.iter().rev().find(|line| line.target == target)
}

fn parse_line(line: &[u8]) -> Option<FstabLine> {
    let mut fields =
        line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r')).filter(|field| !field.is_empty());
    let source = fields.next().filter(|field| !field.starts_with(b"#"))?;
    let target = PathBuf::from(unescape(fields.next()?));
    let fs_type = String::from_utf8_lossy(fields.next()?).into_owned();
    let options = String::from_utf8_lossy(fields.next().unwrap_or(b"defaults")).into_owned();
    Some(FstabLine {
        source: unescape(source),
        target: target.components().collect(),
        fs_type,
        options: split_options(&options),
    })
}

/// At commas, except those in double quotes (`context="a,b"`).
fn split_options(text: &str) -> Vec<String> {
    let mut quoted = false;
    let parts = text.split(|letter| {
        quoted ^= letter == '"';
        letter == ',' && !quoted
    });
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    const TEXT: &[u8] = b"\
# /etc/fstab: static file system information.
UUID=0a3407de-014b-458b-b5c1-848e92a327a3 / ext4 errors=remount-ro 0 1

/dev/sdb1\t/srv/my\\040data/\txfs\tnoauto,noatime,x-systemd.requires=hsm-recall-guard.service,nofail  0  2
   LABEL=big\\134one /srv/big btrfs defaults,subvol=a,context=\"x,y\",x-systemd.automount
server:/export /mnt/nfs nfs4 _netdev,rw 0 0
/dev/sda2 none swap sw 0 0
/dev/sdc1 /srv/big ext4
half a
\xff\xfe /srv/\xff ext4 ro\r
";

    #[test]
    fn every_kind_of_line_is_read() {
        let lines = parse_fstab(TEXT);
        let told: Vec<String> = lines
            .iter()
            .map(|line| {
                let (source, target) = (line.source.display(), line.target.display());
                format!("{source}|{target}|{}|{}", line.fs_type, line.options.join("+"))
            })
            .collect();
        let want = [
            "UUID=0a3407de-014b-458b-b5c1-848e92a327a3|/|ext4|errors=remount-ro",
            "/dev/sdb1|/srv/my data|xfs|noauto+noatime+x-systemd.requires=hsm-recall-guard.service+nofail",
            "LABEL=big\\one|/srv/big|btrfs|defaults+subvol=a+context=\"x,y\"+x-systemd.automount",
            "server:/export|/mnt/nfs|nfs4|_netdev+rw",
            "/dev/sda2|none|swap|sw",
            "/dev/sdc1|/srv/big|ext4|defaults",
            "\u{fffd}\u{fffd}|/srv/\u{fffd}|ext4|ro",
        ];
        assert_eq!(told, want);
        assert_eq!(lines[6].target, Path::new(&OsString::from_vec(b"/srv/\xff".to_vec())));
        assert_eq!(parse_fstab(b""), []);
    }

    #[test]
    fn the_last_line_for_a_target_counts() {
        let lines = parse_fstab(TEXT);
        let type_of =
            |target: &str| line_for(&lines, Path::new(target)).map(|line| line.fs_type.as_str());
        assert_eq!(type_of("/srv/big/"), Some("ext4"));
        assert_eq!(type_of("/srv/my data"), Some("xfs"));
        assert_eq!(type_of("/srv"), None);
    }

    #[test]
    fn words_for_the_boot_are_told() {
        let lines = parse_fstab(TEXT);
        assert!(lines[1].is_noauto() && !lines[1].is_automount());
        assert!(!lines[2].is_noauto() && lines[2].is_automount());
        assert_eq!(
            lines[2].options_text(),
            "defaults,subvol=a,context=\"x,y\",x-systemd.automount"
        );
    }
}

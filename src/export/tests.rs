//! Archives unpacked by GNU tar, and compared with what they were made of.

use super::acl::tests::value as acl_value;
use super::*;
use crate::ids::ChunkId;
use crate::manifest::{Content, FileRecord, Name, Piece};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Output};

const NS: i64 = 1_000_000_000;
const KIB: u64 = 1 << 10;

/// A record as a catalog has it, of the test's own user.
fn record(kind: char) -> FileRecord {
    FileRecord {
        root: Name::from_bytes(b"/srv/data"),
        path: Name::from_bytes(b"x"),
        kind,
        mode: 0o644,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime_ns: 1_700_000_000 * NS,
        ctime_ns: 0,
        ino: 1,
        generation: 0,
        nlink: 1,
        size_bytes: 0,
        xattrs: Vec::new(),
        target: None,
        link: None,
        rdev: None,
        content: None,
        pieces: Vec::new(),
        chunking: None,
    }
}

/// Runs of data (true) and holes of these lengths.
fn file(runs: &[(bool, u64)]) -> FileRecord {
    let id = ChunkId([7; 32]);
    let piece = |(data, len): &(bool, u64)| Piece { len: *len, chunk: data.then_some(id) };
    let content = Content::new(runs.iter().map(piece)).expect("good pieces");
    FileRecord {
        size_bytes: content.size_bytes,
        content: Some(content.id()),
        pieces: content.pieces,
        ..record('f')
    }
}

fn plain(len: u64) -> FileRecord {
    file(&[(true, len)])
}

/// Bytes of which no two runs of 251 are alike.
fn noise(len: u64) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ (at / 251) as u8).collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// An archive on its way to GNU tar.
struct Bench {
    dir: tempfile::TempDir,
    archive: Option<TarWriter<File>>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(dir.path().join("out")).expect("a place to unpack");
        let file = File::create(dir.path().join("a.tar")).expect("an archive");
        Self { dir, archive: Some(TarWriter::new(file)) }
    }

    /// Data in pieces of no particular size.
    fn add(&mut self, name: &[u8], record: &FileRecord, data: &[u8]) {
        let archive = self.archive.as_mut().expect("not finished yet");
        let mut member = archive.begin(name, record).expect("begin").expect("not a socket");
        assert_eq!(member.wants_bytes(), data.len() as u64);
        for part in data.chunks(70_001) {
            member.write(part).expect("write");
        }
        member.end().expect("end");
    }

    fn finish(&mut self) -> PathBuf {
        let archive = self.archive.take().expect("once");
        archive.finish().expect("finish");
        self.dir.path().join("a.tar")
    }

    /// Unpacks with everything that GNU tar can bring back.
    fn unpack(mut self) -> Unpacked {
        let archive = self.finish();
        assert_eq!(fs::metadata(&archive).expect("an archive").len() % 10_240, 0);
        let out = self.dir.path().join("out");
        let mut tar = Command::new("tar");
        tar.args(["-x", "-p", "--sparse", "--acls", "--xattrs", "--xattrs-include=*"]);
        tar.args(["--numeric-owner", "-C"]).arg(&out).arg("-f").arg(&archive);
        let ran = tar.env("LC_ALL", "C.UTF-8").output().expect("tar runs");
        assert!(ran.status.success(), "{}", stderr(&ran));
        Unpacked { out, warnings: stderr(&ran), _dir: self.dir }
    }
}

fn stderr(ran: &Output) -> String {
    String::from_utf8_lossy(&ran.stderr).into_owned()
}

struct Unpacked {
    out: PathBuf,
    warnings: String,
    _dir: tempfile::TempDir,
}

impl Unpacked {
    fn path(&self, name: &[u8]) -> PathBuf {
        self.out.join(OsStr::from_bytes(name))
    }

    fn stat(&self, name: &[u8]) -> fs::Metadata {
        let path = self.path(name);
        fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn mtime_ns(&self, name: &[u8]) -> i64 {
        let stat = self.stat(name);
        stat.mtime() * NS + stat.mtime_nsec()
    }

    fn bytes(&self, name: &[u8]) -> Vec<u8> {
        fs::read(self.path(name)).expect("a file")
    }

    fn xattr(&self, name: &[u8], attribute: &str) -> Option<Vec<u8>> {
        xattr::get(self.path(name), attribute).expect("an attribute can be asked for")
    }
}

#[test]
fn names_of_any_bytes_come_back() {
    let long = [b"deep/".repeat(100).as_slice(), b"end"].concat();
    let names: [&[u8]; 9] = [
        b"plain",
        b"new\nline",
        b"\xff\xfe not UTF-8",
        "ümläut/日本".as_bytes(),
        b"-C",
        b"back\\slash \x01\x7f",
        &long,
        &[b'n'; 255],
        &[b'h'; 100],
    ];
    let mut bench = Bench::new();
    for (name, nth) in names.iter().zip(1..) {
        bench.add(name, &plain(nth), &noise(nth));
    }
    let found = bench.unpack();
    for (name, nth) in names.iter().zip(1..) {
        assert_eq!(found.bytes(name), noise(nth), "{}", name.escape_ascii());
    }
    // What GNU tar does not know it says, once for the one name it concerns.
    let warnings: Vec<&str> = found.warnings.lines().collect();
    assert!(warnings.iter().all(|line| line.contains("hdrcharset")), "{warnings:?}");
}

#[test]
fn a_name_is_never_absolute() {
    let mut bench = Bench::new();
    bench.add(b"/", &record('d'), b"");
    bench.add(b"///etc/x", &plain(1), b"x");
    let archive = bench.finish();
    let listed = Command::new("tar").arg("-tf").arg(archive).output().expect("tar");
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "./\netc/x\n");
}

#[test]
fn modes_times_and_owners_come_back() {
    let times = [0, 1, 1_700_000_000 * NS + 123_456_789, -NS - 500_000_000, 9_000_000_000 * NS];
    let mut bench = Bench::new();
    for (nth, mtime_ns) in times.into_iter().enumerate() {
        let mode = [0o644, 0o4755, 0o2750, 0o000, 0o7777][nth];
        let mut record = FileRecord { mtime_ns, mode, ..plain(3) };
        if is_root() {
            (record.uid, record.gid) =
                [(0, 0), (1000, 100), (2_097_151, 1), (2_097_152, 5), (4_294_967_294, 3_000_000)]
                    [nth];
        }
        bench.add(format!("f{nth}").as_bytes(), &record, b"abc");
    }
    let dir = FileRecord { mode: 0o1777, mtime_ns: 5 * NS + 5, ..record('d') };
    bench.add(b"dir", &dir, b"");
    bench.add(b"dir/inner", &plain(0), b"");
    let found = bench.unpack();
    for (nth, mtime_ns) in times.into_iter().enumerate() {
        let name = format!("f{nth}");
        let stat = found.stat(name.as_bytes());
        assert_eq!(found.mtime_ns(name.as_bytes()), mtime_ns, "{name}");
        assert_eq!(stat.permissions().mode() & 0o7777, [0o644, 0o4755, 0o2750, 0, 0o7777][nth]);
        if is_root() {
            let owners =
                [(0, 0), (1000, 100), (2_097_151, 1), (2_097_152, 5), (4_294_967_294, 3_000_000)];
            assert_eq!((stat.uid(), stat.gid()), owners[nth], "{name}");
        }
    }
    assert_eq!(found.mtime_ns(b"dir"), 5 * NS + 5, "a directory's own, not of what is in it");
    assert_eq!(found.stat(b"dir").permissions().mode() & 0o7777, 0o1777);
    let odd: Vec<&str> = found
        .warnings
        .lines()
        .filter(|line| !line.contains(": time stamp ") && !line.contains("implausibly old"))
        .collect();
    assert_eq!(odd, [""; 0]);
}

#[test]
fn everything_that_is_no_regular_file_comes_back() {
    let long = b"../".repeat(60);
    let link = |target: &[u8]| FileRecord {
        target: Some(Name::from_bytes(target)),
        mode: 0o777,
        ..record('l')
    };
    let mut bench = Bench::new();
    bench.add(b"short", &link(b"a/b"), b"");
    bench.add(b"long", &link(&long), b"");
    bench.add(b"odd", &link(b"\xff\n/etc/passwd"), b"");
    bench.add(b"fifo", &FileRecord { mode: 0o600, ..record('p') }, b"");
    if is_root() {
        let rdev = Some(rustix::fs::makedev(10, 300_000));
        bench.add(b"char", &FileRecord { rdev, ..record('c') }, b"");
        bench.add(b"block", &FileRecord { rdev, ..record('b') }, b"");
    }
    let writer = bench.archive.as_mut().expect("not finished");
    assert!(writer.begin(b"socket", &record('s')).expect("no error").is_none());
    let found = bench.unpack();
    for (name, target) in
        [(&b"short"[..], &b"a/b"[..]), (b"long", &long), (b"odd", b"\xff\n/etc/passwd")]
    {
        let read = fs::read_link(found.path(name)).expect("a symlink");
        assert_eq!(read.as_os_str().as_bytes(), target);
    }
    assert!(found.stat(b"fifo").file_type().is_fifo());
    if is_root() {
        for (name, is_block) in [(&b"char"[..], false), (b"block", true)] {
            let stat = found.stat(name);
            assert_eq!(stat.file_type().is_block_device(), is_block);
            assert_eq!(stat.rdev(), rustix::fs::makedev(10, 300_000));
        }
    }
    assert!(fs::symlink_metadata(found.path(b"socket")).is_err());
}

#[test]
fn names_of_one_file_become_one_file() {
    let hard = FileRecord { link: Some(42), nlink: 3, ..plain(1000) };
    let name = [b"d/".repeat(80).as_slice(), b"\xffsecond"].concat();
    let mut bench = Bench::new();
    bench.add(b"first", &hard, &noise(1000));
    bench.add(&name, &hard, b"");
    bench.add(b"third", &hard, b"");
    // All three have come: this is another file with a number used again.
    bench.add(b"fourth", &hard, &noise(1000));
    // The same inode before it was written to: another content, another file.
    let before = FileRecord { link: Some(42), nlink: 3, ..plain(10) };
    bench.add(b"before", &before, &noise(10));
    let elsewhere = FileRecord { root: Name::from_bytes(b"/srv/other"), ..before.clone() };
    bench.add(b"elsewhere", &elsewhere, &noise(10));
    let sparse = FileRecord { link: Some(43), nlink: 2, ..file(&[(true, 9), (false, 1 << 20)]) };
    bench.add(b"sparse", &sparse, &noise(9));
    bench.add(b"sparse too", &sparse, b"");
    let found = bench.unpack();
    assert_eq!(found.stat(b"sparse too").nlink(), 2);
    assert_eq!(found.bytes(b"sparse too")[..9], noise(9));
    let inode = |name: &[u8]| found.stat(name).ino();
    assert_eq!((inode(b"first"), found.stat(b"first").nlink()), (inode(&name), 3));
    assert_eq!(inode(b"third"), inode(b"first"));
    assert_eq!(found.bytes(b"third"), noise(1000));
    for (name, len) in [(&b"fourth"[..], 1000), (b"before", 10), (b"elsewhere", 10)] {
        assert_eq!((found.stat(name).nlink(), found.bytes(name)), (1, noise(len)));
    }
}

#[test]
fn the_same_name_twice_is_no_link_to_itself() {
    let hard = FileRecord { link: Some(42), nlink: 2, ..plain(10) };
    let mut bench = Bench::new();
    bench.add(b"first", &hard, &noise(10));
    bench.add(b"first", &hard, &noise(10));
    bench.add(b"second", &hard, b"");
    let found = bench.unpack();
    assert_eq!(found.bytes(b"first"), noise(10));
    assert_eq!(found.stat(b"second").nlink(), 2);
}

#[test]
fn attributes_and_acls_come_back() {
    let mut xattrs = vec![
        (b"user.plain".to_vec(), b"value".to_vec()),
        (b"user.a=b %41".to_vec(), b"= \n\0\xff binary".to_vec()),
        (b"user.empty".to_vec(), Vec::new()),
        (b"user.large".to_vec(), noise(2000)),
    ];
    let none = u32::MAX;
    let access =
        acl_value(&[(1, 6, none), (2, 7, 12_345), (4, 4, none), (16, 7, none), (32, 0, none)]);
    let default = acl_value(&[(1, 7, none), (4, 5, none), (8, 5, 7), (16, 5, none), (32, 5, none)]);
    xattrs.push((b"system.posix_acl_access".to_vec(), access.clone()));
    if is_root() {
        xattrs.push((b"trusted.x".to_vec(), b"t".to_vec()));
        // cap_net_bind_service=ep, revision 2 (linux/capability.h).
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        xattrs.push((b"security.capability".to_vec(), capability.to_vec()));
    }
    let mut bench = Bench::new();
    let file = FileRecord { xattrs, mode: 0o670, ..plain(5) };
    bench.add(b"file", &file, b"12345");
    let acls = vec![(b"system.posix_acl_default".to_vec(), default.clone())];
    bench.add(b"dir", &FileRecord { xattrs: acls, mode: 0o755, ..record('d') }, b"");
    let found = bench.unpack();
    for (name, value) in &file.xattrs {
        let name = std::str::from_utf8(name).expect("text");
        assert_eq!(found.xattr(b"file", name).as_ref(), Some(value), "{name}");
    }
    assert_eq!(found.xattr(b"dir", "system.posix_acl_default"), Some(default));
    assert_eq!(found.stat(b"file").permissions().mode() & 0o7777, 0o670);
}

#[test]
fn acls_need_nothing_but_acls() {
    let none = u32::MAX;
    let access =
        acl_value(&[(1, 6, none), (2, 7, 12_345), (4, 4, none), (16, 7, none), (32, 0, none)]);
    let xattrs = vec![(b"system.posix_acl_access".to_vec(), access.clone())];
    let mut bench = Bench::new();
    bench.add(b"file", &FileRecord { xattrs, mode: 0o670, ..plain(1) }, b"x");
    let archive = bench.finish();
    let out = bench.dir.path().join("out");
    let mut tar = Command::new("tar");
    let ran = tar.args(["-x", "-p", "--acls", "-C"]).arg(&out).arg("-f").arg(archive).output();
    assert!(ran.expect("tar").status.success());
    let found = xattr::get(out.join("file"), "system.posix_acl_access").expect("asked");
    assert_eq!(found, Some(access));
}

#[test]
fn holes_come_back_as_holes() {
    let cases: [(&str, &[(bool, u64)]); 6] = [
        ("around", &[(false, 512 * KIB), (true, 5000), (false, 512 * KIB)]),
        ("between", &[(true, 4096), (false, 1 << 20), (true, 1), (false, 1 << 20), (true, 777)]),
        ("only", &[(false, 3 << 20)]),
        ("end", &[(true, 100 * KIB), (true, 100 * KIB), (false, 1 << 20)]),
        ("ümlaut", &[(false, 1 << 20), (true, 10)]),
        ("tiny", &[(false, 1), (true, 1)]),
    ];
    let mut bench = Bench::new();
    for (name, runs) in cases {
        bench.add(name.as_bytes(), &file(runs), &noise(data_bytes(runs)));
    }
    // Enough runs for a map of several blocks.
    let many: Vec<(bool, u64)> =
        (0..400).flat_map(|_| [(true, 3), (false, 64 * KIB - 3)]).collect();
    bench.add(b"many/runs", &file(&many), &noise(1200));
    let not_sparse = [(true, 50_000), (true, 50_001)];
    bench.add(b"whole", &file(&not_sparse), &noise(100_001));
    let found = bench.unpack();
    for (name, runs) in cases.into_iter().chain([("many/runs", many.as_slice())]) {
        let want = with_zeros(runs);
        assert!(found.bytes(name.as_bytes()) == want, "{name}");
        if want.len() > 1 << 20 {
            let allocated = found.stat(name.as_bytes()).blocks() * 512;
            assert!(allocated < want.len() as u64 - 512 * KIB, "{allocated} bytes allocated");
        }
    }
    assert_eq!(found.bytes(b"whole"), noise(100_001));
    assert_eq!(found.warnings, "");
}

/// Noise in the runs of data, zeros in the holes.
fn with_zeros(runs: &[(bool, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut data = noise(data_bytes(runs));
    for (is_data, len) in runs {
        let len = usize::try_from(*len).expect("small");
        match is_data {
            true => bytes.extend(data.drain(..len)),
            false => bytes.resize(bytes.len() + len, 0),
        }
    }
    bytes
}

fn data_bytes(runs: &[(bool, u64)]) -> u64 {
    runs.iter().filter(|(data, _)| *data).map(|(_, len)| len).sum()
}

#[test]
fn runs_of_any_length_come_back() {
    let mut state = 1_u64;
    let mut die = |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % sides
    };
    let mut files = Vec::new();
    for _ in 0..200 {
        let runs = (0..=die(12)).map(|_| (die(2) == 0, 1 + die(1400))).collect::<Vec<_>>();
        files.push(runs);
    }
    let mut bench = Bench::new();
    for (nth, runs) in files.iter().enumerate() {
        bench.add(nth.to_string().as_bytes(), &file(runs), &noise(data_bytes(runs)));
    }
    let found = bench.unpack();
    for (nth, runs) in files.iter().enumerate() {
        assert!(found.bytes(nth.to_string().as_bytes()) == with_zeros(runs), "{runs:?}");
    }
}

#[test]
fn a_sparse_file_beyond_the_size_of_a_header_comes_back() {
    const GIB: u64 = 1 << 30;
    let runs = [(true, 4096), (false, 9 * GIB), (true, 100), (false, 2 * GIB), (true, 5)];
    let sparse = FileRecord { mtime_ns: 7, ..file(&runs) };
    let long = b"dir/".repeat(40);
    let mut bench = Bench::new();
    bench.add(&[&long, &b"disk.img"[..]].concat(), &sparse, &noise(4201));
    bench.add(b"after", &plain(3), b"abc");
    let found = bench.unpack();
    let name = [&long, &b"disk.img"[..]].concat();
    let stat = found.stat(&name);
    assert_eq!((stat.len(), found.mtime_ns(&name)), (11 * GIB + 4201, 7));
    assert!(stat.blocks() * 512 < 1 << 20, "{} blocks", stat.blocks());
    let mut file = File::open(found.path(&name)).expect("a file");
    let data = noise(4201);
    for (at, bytes) in
        [(0, &data[..4096]), (9 * GIB + 4096, &data[4096..4196]), (11 * GIB + 4196, &data[4196..])]
    {
        let mut read = vec![0; bytes.len()];
        file.seek(SeekFrom::Start(at)).expect("seek");
        file.read_exact(&mut read).expect("read");
        assert_eq!(read, bytes, "at {at}");
    }
    assert_eq!(found.bytes(b"after"), b"abc");
}

/// A file in which large writes, all zeros in these tests, become holes.
struct Holey(File);

impl Write for Holey {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() < 1 << 20 {
            return self.0.write(bytes);
        }
        self.0.seek_relative(i64::try_from(bytes.len()).expect("small"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn data_beyond_the_size_of_a_header_is_counted() {
    const PIECE: u64 = 64 << 20;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("a.tar");
    let mut tar = TarWriter::new(Holey(File::create(&path).expect("an archive")));
    // 8 GiB is one byte more than eleven octal digits can say.
    let large = file(&[(true, PIECE); 128]);
    let mut member = tar.begin(b"large", &large).expect("begin").expect("a file");
    assert_eq!(member.wants_bytes(), 8 << 30);
    let zeros = vec![0; usize::try_from(PIECE).expect("small")];
    for _ in 0..128 {
        member.write(&zeros).expect("write");
    }
    member.end().expect("end");
    let after = plain(3);
    let mut member = tar.begin(b"after", &after).expect("begin").expect("a file");
    member.write(b"abc").expect("write");
    member.end().expect("end");
    tar.finish().expect("finish");
    let ran = Command::new("tar").arg("-tvf").arg(&path).output().expect("tar");
    assert!(ran.status.success(), "{}", stderr(&ran));
    let listed = String::from_utf8_lossy(&ran.stdout).into_owned();
    let sizes: Vec<&str> =
        listed.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(sizes, ["8589934592", "3"], "{listed}");
}

#[test]
fn pythons_reader_agrees() {
    let mut bench = Bench::new();
    bench.add("ümlaut".as_bytes(), &plain(10), &noise(10));
    bench.add(b"dir/holes", &file(&[(false, 100_000), (true, 7), (false, 3)]), &noise(7));
    bench.add(b"link", &FileRecord { link: Some(1), nlink: 2, ..plain(1) }, b"x");
    bench.add(b"other", &FileRecord { link: Some(1), nlink: 2, ..plain(1) }, b"");
    let archive = bench.finish();
    let script = "import sys, tarfile, zlib\n\
        sys.stdout.reconfigure(encoding='utf-8')\n\
        archive = tarfile.open(sys.argv[1], encoding='utf-8')\n\
        for m in archive.getmembers():\n\
        \x20   data = zlib.crc32(archive.extractfile(m).read())\n\
        \x20   print(m.name, m.size, m.islnk(), m.linkname, data)\n";
    let ran = Command::new("python3").args(["-c", script]).arg(archive).output().expect("python3");
    assert!(ran.status.success(), "{}", stderr(&ran));
    let holes = [vec![0; 100_000], noise(7), vec![0; 3]].concat();
    let sum = |bytes: &[u8]| crc32fast::hash(bytes);
    let want = format!(
        "ümlaut 10 False  {}\ndir/holes 100010 False  {}\nlink 1 False  {x}\nother 0 True link {x}\n",
        sum(&noise(10)),
        sum(&holes),
        x = sum(b"x"),
    );
    assert_eq!(String::from_utf8_lossy(&ran.stdout), want);
}

#[test]
fn too_much_or_too_little_data_ends_the_archive() {
    let ten = plain(10);
    for data in [&b"123456789"[..], b"12345678901"] {
        let mut tar = TarWriter::new(Vec::new());
        let mut member = tar.begin(b"f\n", &ten).expect("begin").expect("a file");
        let error = match member.write(data) {
            Err(error) => error,
            Ok(()) => member.end().expect_err("one byte is missing"),
        };
        assert_eq!(error.to_string(), "archive f\\n: its data is not of 10 bytes");
        let error = tar.begin(b"g", &ten).expect_err("no member follows half a member");
        assert_eq!(error.to_string(), "the archive ends in the middle of a file");
        assert!(matches!(tar.finish(), Err(Error::Broken)));
    }
}

#[test]
fn a_bad_record_is_left_out_and_the_archive_goes_on() {
    let mut tar = TarWriter::new(Vec::new());
    let short = FileRecord { size_bytes: 11, ..plain(10) };
    let error = tar.begin(b"f", &short).expect_err("sizes differ");
    let want = "archive f: its record cannot be used: its pieces do not add up to its size";
    assert_eq!(error.to_string(), want);
    tar.begin(b"a\0b", &plain(1)).expect_err("a name ends at its NUL");
    let none = FileRecord { content: None, ..plain(1) };
    tar.begin(b"f", &none).expect_err("no content");
    assert_eq!(tar.written_bytes(), 0);
    assert_eq!(tar.finish().expect("an empty archive"), vec![0; 10_240]);
}

#[test]
fn a_reader_that_went_away_is_told_as_what_it_is() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut tar = TarWriter::new(Gone);
    let Err(Error::Write { source }) = tar.begin(b"f", &plain(1)) else { panic!("it was written") };
    assert_eq!(source.kind(), io::ErrorKind::BrokenPipe);
}

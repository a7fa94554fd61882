//! An `smbd` over the root of a guarded file system, for one test.

use super::super::guard::Guarded;
use super::super::loopfs::FsKind;
use super::super::support::running::{PATIENCE, Running, until};
use super::super::support::{Ran, skip};
use super::client::Client;
use hsm::stub::dos_attributes::DOS_ATTRIBUTES;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An ordinary user of every Debian, with a password in Samba only.
pub const USER: &str = "backup";
pub const PASSWORD: &str = "loopback";
pub const SHARE: &str = "projects";

pub struct Server {
    // First: gone before the file system is unmounted.
    smbd: Running,
    port: u16,
    conf: PathBuf,
    pub guarded: Guarded,
}

/// The very file that the page tells people to use.
fn documented() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SAMBA.md");
    let page = std::fs::read_to_string(page).expect("docs/SAMBA.md");
    let (_, after) = page.split_once("```ini\n[global]\n").expect("an smb.conf in the page");
    let (conf, _) = after.split_once("```").expect("its end");
    assert!(conf.contains("path = /srv/projects"), "the share of the page");
    format!("[global]\n{conf}")
}

/// `false`, loudly, where something is missing.
fn is_possible(test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |program: &str| std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    for program in ["smbd", "smbpasswd", "smbclient"] {
        if !has(program) {
            skip(test, &format!("needs {program}"));
            return false;
        }
    }
    true
}

impl Server {
    pub fn new(test: &str) -> Option<Self> {
        Self::with(test, "")
    }

    /// With more lines for the share, after those of the page.
    pub fn with(test: &str, more: &str) -> Option<Self> {
        if !is_possible(test) {
            return None;
        }
        let guarded = Guarded::new(test, FsKind::Ext4)?;
        let user = Ran::within(PATIENCE, Command::new("id").args(["-u", USER])).succeeds();
        let uid: u32 = user.stdout().trim().parse().expect("a number");
        chown(guarded.root(), Some(uid), None).expect("the user's own tree");
        // The way to it, which is a temporary directory's.
        let above = guarded.fs.path().parent().expect("its directory");
        std::fs::set_permissions(above, PermissionsExt::from_mode(0o711)).expect("chmod");
        let port = free_port();
        let conf = configure(&guarded, port, more);
        let mut password = Command::new("smbpasswd");
        password.arg("-c").arg(&conf).args(["-s", "-a", USER]).stdin(Stdio::piped());
        let mut child = password.stdout(Stdio::null()).spawn().expect("smbpasswd starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        write!(stdin, "{PASSWORD}\n{PASSWORD}\n").expect("written");
        drop(stdin);
        assert!(child.wait().expect("it ends").success(), "smbpasswd");
        let mut smbd = Command::new("smbd");
        smbd.args(["--foreground", "--no-process-group", "-s"]).arg(&conf);
        smbd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut smbd = Running::start(&mut smbd);
        let listens = || {
            assert_eq!(smbd.ends_within(std::time::Duration::ZERO), None, "smbd ends at once");
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        };
        until(PATIENCE, listens).expect("smbd listens");
        Some(Self { smbd, port, conf, guarded })
    }

    /// One smbclient with these commands.
    pub fn smbclient(&self, commands: &str) -> Command {
        let mut client = Command::new("smbclient");
        client.arg("-s").arg(&self.conf).arg(format!("//127.0.0.1/{SHARE}"));
        client.args(["-p", &self.port.to_string(), "-U", &format!("{USER}%{PASSWORD}")]);
        client.args(["-t", "60", "-c", commands]).stdin(Stdio::null());
        client
    }

    pub fn try_smb(&self, commands: &str) -> Ran {
        Ran::within(PATIENCE, &mut self.smbclient(commands))
    }

    #[track_caller]
    pub fn smb(&self, commands: &str) -> String {
        self.try_smb(commands).succeeds().stdout()
    }

    /// A client that holds files open; `None`, loudly, without smbprotocol.
    pub fn client(&self, test: &str) -> Option<Client> {
        Client::start(test, self.port)
    }

    /// Sends bytes as a file.
    #[track_caller]
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let local = self.guarded.sandbox.path("home/put");
        std::fs::write(&local, bytes).expect("a file to send");
        self.smb(&format!("put {} {name}", local.display()));
    }

    #[track_caller]
    pub fn get(&self, name: &str) -> Vec<u8> {
        let local = self.guarded.sandbox.path("home/got");
        let _ = std::fs::remove_file(&local);
        self.smb(&format!("get {name} {}", local.display()));
        std::fs::read(&local).expect("what was fetched")
    }

    /// The attributes as a listing tells them: Archive, Hidden, System, offline.
    /// (smbclient's allinfo opens the file to read it.)
    #[track_caller]
    pub fn told(&self, name: &str) -> String {
        let said = self.smb(&format!("ls {name}"));
        let last = name.rsplit('/').next().expect("a name");
        let line = said.lines().find(|line| line.trim_start().starts_with(last));
        let line = line.unwrap_or_else(|| panic!("no {name} in {said}"));
        line.split_whitespace().nth(1).expect("attributes").to_owned()
    }

    #[track_caller]
    pub fn is_offline(&self, name: &str) -> bool {
        self.told(name).contains('o')
    }

    /// Puts the files through Samba, with bytes made of these numbers, and makes
    /// stubs of them.
    #[track_caller]
    pub fn stubs(&self, files: &[(&str, u64)]) {
        for (name, seed) in files {
            self.put(name, &bytes(*seed));
        }
        self.let_go();
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        self.guarded.stub(&names);
    }

    /// Waits until no `smbd` has a file of the root open: one closes them only a
    /// moment after its client has gone.
    #[track_caller]
    pub fn let_go(&self) {
        let root = self.guarded.root();
        let gone = until(PATIENCE, || (!is_open_below(&root, self.smbd.pid())).then_some(()));
        assert!(gone.is_some(), "smbd keeps files of {} open", root.display());
    }

    /// A whole run.
    #[track_caller]
    pub fn tier(&self) {
        Ran::within(PATIENCE, &mut self.guarded.sandbox.command(["tier"])).succeeds();
    }

    /// What `hsm doctor` says, where this is the machine's smb.conf.
    #[track_caller]
    pub fn doctor(&self) -> String {
        let mut doctor = self.guarded.sandbox.command(["doctor"]);
        Ran::within(PATIENCE, doctor.env("SMB_CONF_PATH", &self.conf)).succeeds().stdout()
    }

    pub fn xattr(&self, name: &str, attribute: &str) -> Option<Vec<u8>> {
        xattr::get(self.guarded.path(name), attribute).expect("attributes")
    }

    pub fn dos_attributes(&self, name: &str) -> Vec<u8> {
        self.xattr(name, DOS_ATTRIBUTES).unwrap_or_else(|| panic!("{name}: Samba has not written"))
    }
}

/// What the file of this number holds.
pub fn bytes(seed: u64) -> Vec<u8> {
    super::super::support::trees::noise(seed, 300_000 + (seed % 1000) as usize)
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

/// The documented configuration, at other places.
fn configure(guarded: &Guarded, port: u16, more: &str) -> PathBuf {
    let dir = guarded.sandbox.path("home/samba");
    let mut places = String::new();
    for (key, name) in [
        ("private dir", "private"),
        ("lock directory", "lock"),
        ("state directory", "state"),
        ("cache directory", "cache"),
        ("pid directory", "pid"),
        ("ncalrpc dir", "ncalrpc"),
    ] {
        let place = dir.join(name);
        std::fs::create_dir_all(&place).expect("a directory");
        places += &format!("    {key} = {}\n", place.display());
    }
    let root = guarded.root();
    let text = documented().replace("/srv/projects", root.to_str().expect("a plain path"));
    let text = format!(
        "[global]\n    smb ports = {port}\n    interfaces = 127.0.0.1/8\n    \
         bind interfaces only = yes\n    load printers = no\n    disable spoolss = yes\n    \
         idmap config * : backend = tdb\n    idmap config * : range = 100000-200000\n    \
         log file = {log}\n{places}{text}\n[{SHARE}]\n{more}\n",
        log = dir.join("log").display(),
    );
    let conf = dir.join("smb.conf");
    std::fs::write(&conf, text).expect("smb.conf");
    // A mistyped key is only a warning to smbd.
    let check = Command::new("testparm").args(["-s", "--suppress-prompt"]).arg(&conf).output();
    if let Ok(check) = check {
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert!(check.status.success() && !said.contains("Unknown parameter"), "{said}");
    }
    conf
}

/// Whether a process of this group has a file below `root` open.
fn is_open_below(root: &Path, group: u32) -> bool {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    processes.filter(|entry| group_of(&entry.path()) == Some(group)).any(|entry| {
        let open = std::fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .any(|target| target.starts_with(root) && target.is_file())
    })
}

/// The fifth field of proc_pid_stat(5), the third after the name.
fn group_of(process: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(process.join("stat")).ok()?;
    let (_, after) = text.rsplit_once(')')?;
    after.split_whitespace().nth(2)?.parse().ok()
}

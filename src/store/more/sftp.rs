//! A tree of files on an SSH server.
//!
//! The system's own `ssh` makes the connection (its configuration, keys, agent
//! and known hosts hold, and nobody is asked for a password), and SFTP goes over
//! it. With OpenSSH's extensions (PROTOCOL, section 4) a file is synced before it
//! gets its name, created only if it is new by a hard link, which the server's
//! kernel decides, and replaced by `posix-rename`. There is no way to sync a
//! directory over SFTP: a name may be lost with the server's power in the seconds
//! after it was given, unless the server's file system writes names in order.

use super::tree::{Answer, Node, Tree};
use super::trouble::Trouble;
use crate::store::ErrorKind;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use openssh::{KnownHosts, SessionBuilder};
use openssh_sftp_client::metadata::MetaData;
use openssh_sftp_client::{Sftp, SftpOptions};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::io::AsyncSeekExt as _;
use tokio::sync::Mutex;

/// What a request may carry; servers cut longer ones.
const PIECE_BYTES: u32 = 256 << 10;

#[derive(Debug)]
pub(super) struct Remote {
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
    /// Absolute, without a slash at its end.
    pub root: String,
    pub connect_timeout: Duration,
    /// For tests; `None` is what `ssh` reads anyway.
    pub config_file: Option<String>,
}

/// One connection, made anew when it breaks.
pub(super) struct SshTree {
    remote: Remote,
    current: Mutex<Option<Arc<Sftp>>>,
}

impl std::fmt::Debug for SshTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.remote.fmt(f)
    }
}

impl SshTree {
    pub fn new(remote: Remote) -> Self {
        Self { remote, current: Mutex::new(None) }
    }

    fn path(&self, path: &str) -> String {
        match path.is_empty() {
            true => self.remote.root.clone(),
            false => format!("{}/{path}", self.remote.root),
        }
    }

    async fn sftp(&self) -> Answer<Arc<Sftp>> {
        let mut current = self.current.lock().await;
        if let Some(sftp) = &*current {
            return Ok(Arc::clone(sftp));
        }
        let sftp = Arc::new(connect(&self.remote).await?);
        *current = Some(Arc::clone(&sftp));
        Ok(sftp)
    }

    /// Does `work` on the connection, which is given up if it broke in it.
    async fn on<V>(
        &self,
        work: impl AsyncFnOnce(&Sftp) -> std::result::Result<V, openssh_sftp_client::Error>,
    ) -> Answer<V> {
        let sftp = self.sftp().await?;
        let done = work(&sftp).await.map_err(Trouble::from);
        if done.as_ref().is_err_and(|trouble| trouble.kind == ErrorKind::Transient) {
            let mut current = self.current.lock().await;
            if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &sftp)) {
                *current = None;
            }
        }
        done
    }

    async fn make_dirs(&self, path: &str) -> Answer<()> {
        let mut missing = vec![];
        let mut dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        while !self.is_there(dir).await? {
            missing.push(dir);
            if dir.is_empty() {
                break;
            }
            dir = dir.rsplit_once('/').map_or("", |(dir, _)| dir);
        }
        for dir in missing.into_iter().rev() {
            let full = self.path(dir);
            let made = self.on(async |sftp| sftp.fs().create_dir(&full).await).await;
            // Another writer may have made it just now.
            if made.is_err() && !self.is_there(dir).await? {
                return made;
            }
        }
        Ok(())
    }

    async fn is_there(&self, path: &str) -> Answer<bool> {
        match self.stat(path).await {
            Ok(_) => Ok(true),
            Err(trouble) if trouble.kind == ErrorKind::NotFound => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }
}

async fn connect(remote: &Remote) -> Answer<Sftp> {
    let mut builder = SessionBuilder::default();
    builder
        .known_hosts_check(KnownHosts::Strict)
        .connect_timeout(remote.connect_timeout)
        .server_alive_interval(Duration::from_secs(15));
    if let Some(user) = &remote.user {
        builder.user(user.clone());
    }
    if let Some(port) = remote.port {
        builder.port(port);
    }
    if let Some(file) = &remote.config_file {
        builder.config_file(file);
    }
    let session = builder.connect(&remote.host).await?;
    Ok(Sftp::from_session(session, SftpOptions::default()).await?)
}

fn node_of(name: &str, found: &MetaData) -> Node {
    let modified = found.modified().and_then(|time| {
        let since = time.as_system_time().duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(since.as_nanos()).ok()
    });
    Node {
        name: name.to_owned(),
        is_dir: found.file_type().is_some_and(|kind| kind.is_dir()),
        size_bytes: found.len().unwrap_or(0),
        modified_ns: modified.unwrap_or(0),
    }
}

impl Tree for SshTree {
    const CREATES_ATOMICALLY: bool = true;

    async fn stat(&self, path: &str) -> Answer<Node> {
        let full = self.path(path);
        let found = self.on(async |sftp| sftp.fs().symlink_metadata(&full).await).await?;
        Ok(node_of(path, &found))
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Answer<Bytes> {
        let full = self.path(path);
        let length = usize::try_from(range.end - range.start).expect("objects fit into memory");
        self.on(async |sftp| {
            let mut file = sftp.open(&full).await?;
            file.seek(std::io::SeekFrom::Start(range.start)).await?;
            let mut bytes = BytesMut::with_capacity(length);
            while bytes.len() < length {
                let wanted = PIECE_BYTES.min((length - bytes.len()) as u32);
                let empty = bytes.split_off(bytes.len());
                match file.read(wanted, empty).await? {
                    Some(piece) => bytes.unsplit(piece),
                    None => break,
                }
            }
            file.close().await?;
            Ok(bytes.freeze())
        })
        .await
    }

    async fn list(&self, dir: &str) -> Answer<Vec<Node>> {
        let full = self.path(dir);
        self.on(async |sftp| {
            let mut entries = Box::pin(sftp.fs().open_dir(&full).await?.read_dir());
            let mut nodes = Vec::new();
            while let Some(entry) = entries.next().await {
                let entry = entry?;
                // No key of ours is not UTF-8.
                match entry.filename().to_str() {
                    None | Some("." | "..") => {}
                    Some(name) => nodes.push(node_of(name, &entry.metadata())),
                }
            }
            Ok(nodes)
        })
        .await
    }

    async fn write(&self, path: &str, body: Bytes) -> Answer<()> {
        self.make_dirs(path).await?;
        let full = self.path(path);
        self.on(async |sftp| {
            let mut file = sftp.options().write(true).create_new(true).open(&full).await?;
            file.write_all(&body).await?;
            if sftp.support_fsync() {
                file.sync_all().await?;
            }
            file.close().await
        })
        .await
    }

    async fn publish(&self, from: &str, to: &str, create_new: bool) -> Answer<()> {
        let (old, new) = (self.path(from), self.path(to));
        if !create_new {
            return self.on(async |sftp| sftp.fs().rename(&old, &new).await).await;
        }
        let linked = self.on(async |sftp| sftp.fs().hard_link(&old, &new).await).await;
        match linked {
            Ok(()) => {
                // The object is there; a second name that stays is swept.
                let _ = self.remove(from).await;
                Ok(())
            }
            // The server's only word for it is "failure".
            Err(trouble) if trouble.kind == ErrorKind::Other && self.is_there(to).await? => {
                Err(Trouble { kind: ErrorKind::AlreadyExists, source: trouble.source })
            }
            Err(trouble) => Err(trouble),
        }
    }

    async fn remove(&self, path: &str) -> Answer<()> {
        let full = self.path(path);
        self.on(async |sftp| sftp.fs().remove_file(&full).await).await
    }

    async fn remove_dir(&self, path: &str) -> Answer<()> {
        let full = self.path(path);
        self.on(async |sftp| sftp.fs().remove_dir(&full).await).await
    }
}

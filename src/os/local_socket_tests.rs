//! Sockets in temporary directories, both ends in this process.

use super::*;
use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
fn a_path_longer_than_an_address_works() {
    let top = tempfile::tempdir().expect("a temporary directory");
    let parent = top.path().join("d".repeat(120));
    std::fs::create_dir(&parent).expect("make a directory");
    let dir = parent.join("run");
    let listener = listen(&dir, "guard.sock").expect("listen");
    assert_eq!(std::fs::metadata(&dir).expect("stat").mode() & 0o777, 0o700);
    let socket = std::fs::metadata(dir.join("guard.sock")).expect("stat");
    assert_eq!(socket.mode() & 0o777, 0o600);
    let mut ours = connect(&dir, "guard.sock").expect("connect");
    let (mut theirs, _) = listener.accept().expect("accept");
    ours.write_all(b"hello").expect("write");
    let mut read = [0; 5];
    theirs.read_exact(&mut read).expect("read");
    assert_eq!(&read, b"hello");
}

#[test]
fn who_enters_the_directory_may_connect_where_that_is_wanted() {
    let top = tempfile::tempdir().expect("a temporary directory");
    let dir = top.path().join("run");
    let _listener = listen_to_all(&dir, "s").expect("listen");
    assert_eq!(std::fs::metadata(dir.join("s")).expect("stat").mode() & 0o777, 0o666);
    // What a link leads to is left alone, and so is what is no socket.
    let (secret, way) = (dir.join("secret"), top.path().join("way"));
    std::fs::write(&secret, "").expect("write");
    std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("chmod");
    std::os::unix::fs::symlink(&secret, dir.join("link")).expect("a link");
    std::os::unix::fs::symlink(&dir, &way).expect("a link");
    for (dir, name) in [(&dir, "link"), (&dir, "secret"), (&way, "secret"), (&way, "new")] {
        listen_to_all(dir, name).expect_err(name);
    }
    assert_eq!(std::fs::metadata(&secret).expect("stat").mode() & 0o777, 0o600);
}

#[test]
fn the_peer_is_named_by_the_kernel() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.path().join("run");
    let listener = listen(&dir, "s").expect("listen");
    let ours = connect(&dir, "s").expect("connect");
    let (theirs, _) = listener.accept().expect("accept");
    let us = Peer {
        pid: std::process::id() as i32,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    };
    assert_eq!(peer(&theirs).expect("credentials"), us);
    assert_eq!(peer(&ours).expect("credentials"), us);
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let top = tempfile::tempdir().expect("a temporary directory");
    let dir = top.path().join("run");
    let first = listen(&dir, "s").expect("listen");
    let error = listen(&dir, "s").expect_err("somebody listens");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    drop(first);
    let refused = connect(&dir, "s").expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    let second = listen(&dir, "s").expect("listen");
    connect(&dir, "s").expect("connect");
    drop(second);
    let absent = connect(&dir, "other").expect_err("there is none");
    assert_eq!(absent.kind(), io::ErrorKind::NotFound);
}

#[test]
fn nothing_but_a_socket_is_replaced() {
    let top = tempfile::tempdir().expect("a temporary directory");
    let dir = top.path().join("run");
    std::fs::create_dir(&dir).expect("make a directory");
    std::fs::set_permissions(&dir, Permissions::from_mode(0o700)).expect("chmod");
    std::fs::write(dir.join("s"), b"precious").expect("write");
    let error = listen(&dir, "s").expect_err("a file is there");
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(dir.join("s")).expect("read"), b"precious");
    for name in ["", "a/b", "../s"] {
        let error = listen(&dir, name).expect_err("no name");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
    }
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let top = tempfile::tempdir().expect("a temporary directory");
    for mode in [0o770, 0o702, 0o1777] {
        std::fs::set_permissions(top.path(), Permissions::from_mode(mode)).expect("chmod");
        let error = listen(top.path(), "s").expect_err("shared");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{mode:o}");
    }
    std::fs::set_permissions(top.path(), Permissions::from_mode(0o755)).expect("chmod");
    listen(top.path(), "s").expect("only readable for others");
    let link = top.path().join("link");
    std::os::unix::fs::symlink(top.path(), &link).expect("symlink");
    assert!(listen(&link, "t").is_err(), "a link is not followed");
}

#[test]
fn descriptors_travel_with_their_message() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files: Vec<File> = (0..MAX_FDS)
        .map(|n| {
            std::fs::write(dir.path().join(n.to_string()), n.to_string()).expect("write");
            File::open(dir.path().join(n.to_string())).expect("open")
        })
        .collect();
    let fds: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
    send_with_fds(&ours, b"take", &fds).expect("send");
    send_with_fds(&ours, b"nothing", &[]).expect("send");
    let mut buffer = [0; 4];
    let (count, received) = recv_with_fds(&theirs, &mut buffer).expect("receive");
    assert_eq!((&buffer[..count], received.len()), (&b"take"[..], MAX_FDS));
    for (n, fd) in received.into_iter().enumerate() {
        let flags = rustix::io::fcntl_getfd(&fd).expect("flags");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        assert_eq!(std::io::read_to_string(File::from(fd)).expect("read"), n.to_string());
    }
    let mut buffer = [0; 16];
    let (count, received) = recv_with_fds(&theirs, &mut buffer).expect("receive");
    assert_eq!((&buffer[..count], received.len()), (&b"nothing"[..], 0));
    drop(ours);
    assert_eq!(recv_with_fds(&theirs, &mut buffer).expect("the end").0, 0);
    let error = send_with_fds(&theirs, b"x", &[]).expect_err("nobody reads");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    let too_many = vec![theirs.as_fd(); MAX_FDS + 1];
    let error = send_with_fds(&theirs, b"x", &too_many).expect_err("too many");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

/// What a peer that knows no limit sends.
#[test]
fn more_descriptors_than_agreed_are_an_error() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let fds = vec![ours.as_fd(); MAX_FDS + 4];
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES * 2];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    rustix::net::sendmsg(&ours, &[IoSlice::new(b"x")], &mut control, SendFlags::empty())
        .expect("send");
    let error = recv_with_fds(&theirs, &mut [0; 4]).expect_err("too many");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

/// Longer than a socket buffer, so that it goes in pieces.
#[test]
fn a_long_message_arrives_whole() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let long = vec![7; 4 << 20];
    std::thread::scope(|scope| {
        scope.spawn(|| send_with_fds(&ours, &long, &[ours.as_fd()]).expect("send"));
        let (mut got, mut fds) = (0, 0);
        let mut buffer = vec![0; 1 << 20];
        while got < long.len() {
            let (count, some) = recv_with_fds(&theirs, &mut buffer).expect("receive");
            assert!(count > 0 && buffer[..count].iter().all(|byte| *byte == 7));
            got += count;
            fds += some.len();
        }
        assert_eq!(fds, 1);
    });
}

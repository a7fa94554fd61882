//! Readers of stubs, in processes of their own: what they got, and when.

use crate::support::actor::{Actor, leave, order, report, wait_for_word};
use crate::support::trees::noise;
use rustix::fs::{SeekFrom, seek};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// What one reader got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// The digest of all bytes.
    Bytes(String),
    /// It was let in while its file began with a hole. The bytes might still
    /// have come with the read, but who copies by `SEEK_DATA` had copied zeros.
    Hole,
    Errno(i32),
}

impl Got {
    /// What a reader of these bytes gets.
    pub fn all_of(bytes: &[u8]) -> Self {
        Self::Bytes(digest(bytes))
    }

    fn from_line(line: &str) -> Self {
        match line.split_once(' ') {
            Some(("errno", number)) => Self::Errno(number.parse().expect("a number")),
            Some(("digest", digest)) => Self::Bytes(digest.to_owned()),
            None if line == "hole" => Self::Hole,
            _ => panic!("not an answer: {line}"),
        }
    }
}

pub struct Reader {
    pub actor: Actor,
    begun: Instant,
}

impl Reader {
    /// One process that opens the file and reads all of it.
    pub fn of(path: &Path) -> Self {
        Self::many(path, 1)
    }

    /// One process with so many threads that begin together.
    pub fn many(path: &Path, threads: usize) -> Self {
        let path = path.to_str().expect("a plain path").to_owned();
        let actor = Actor::start(&[("READ", path), ("THREADS", threads.to_string())]);
        Self { actor, begun: Instant::now() }
    }

    /// A process that tries to open the file until it is there.
    pub fn polling(path: &Path) -> Self {
        let path = path.to_str().expect("a plain path").to_owned();
        let mut actor = Actor::start(&[("READ", path), ("POLL", "1".to_owned())]);
        assert_eq!(actor.says(Duration::from_secs(20)), "polling");
        Self { actor, begun: Instant::now() }
    }

    /// A process that opens the file, and reads it when it is told to.
    pub fn holding(path: &Path) -> Self {
        let path = path.to_str().expect("a plain path").to_owned();
        let mut actor = Actor::start(&[("READ", path), ("HOLD", "1".to_owned())]);
        assert_eq!(actor.says(Duration::from_secs(20)), "open");
        Self { actor, begun: Instant::now() }
    }

    /// What one of the threads got.
    #[track_caller]
    pub fn next(&mut self, limit: Duration) -> Got {
        Got::from_line(&self.actor.says(limit))
    }

    #[track_caller]
    pub fn got(mut self, limit: Duration) -> Got {
        self.next(limit)
    }

    /// The same, and how long it took.
    #[track_caller]
    pub fn got_after(mut self, limit: Duration) -> (Got, Duration) {
        let got = self.next(limit);
        (got, self.begun.elapsed())
    }
}

/// A file of noise, told by its seed.
pub const LEN: usize = 1 << 20;

pub fn content(seed: u64) -> Vec<u8> {
    noise(seed, LEN)
}

pub fn right(seed: u64) -> Got {
    Got::all_of(&content(seed))
}

/// The part of the other process.
pub fn act() {
    let Some(path) = order("READ") else { return };
    let path = Path::new(&path);
    if order("POLL").is_some() {
        report("polling");
        report(&poll(path));
    } else if order("HOLD").is_some() {
        let file = File::open(path).expect("it can be opened");
        report("open");
        wait_for_word();
        report(&answer(read(Ok(file))));
    } else {
        let threads = order("THREADS").and_then(|text| text.parse().ok()).unwrap_or(1);
        let barrier = Barrier::new(threads);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    barrier.wait();
                    report(&answer(read(File::open(path))));
                });
            }
        });
    }
    leave(Ok(()));
}

fn poll(path: &Path) -> String {
    loop {
        match read(File::open(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return answer(result),
        }
    }
}

/// `None` for a file that begins with a hole.
fn read(file: io::Result<File>) -> io::Result<Option<Vec<u8>>> {
    let mut file = file?;
    if seek(&file, SeekFrom::Data(0)) != Ok(0) {
        return Ok(None);
    }
    seek(&file, SeekFrom::Start(0))?;
    let mut bytes = vec![];
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn answer(result: io::Result<Option<Vec<u8>>>) -> String {
    match result {
        Ok(Some(bytes)) => format!("digest {}", digest(&bytes)),
        Ok(None) => "hole".to_owned(),
        Err(error) => format!("errno {}", error.raw_os_error().unwrap_or(-1)),
    }
}

fn digest(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    hex::encode(digest.as_ref())
}

//! `GET /metrics`, for a scraper: on a Unix socket or on the loopback.
//!
//! One thread of its own, one request at a time, HTTP/1.0 and nothing of it that
//! is not needed. It reads counters and takes the table's lock for an instant; it
//! opens nothing, and neither the reader nor a worker ever waits for it. A client
//! that is slow, sends too much or nothing loses its connection at a deadline for
//! the whole request. Whatever goes wrong here is logged and ends here: no
//! monitoring may cost a guard.
//!
//! Who may ask: on a Unix socket who may enter its directory (the socket itself
//! lets everybody), on the loopback every user of the machine. They learn paths of
//! roots and numbers.

use super::counters::Counters;
use super::serve::Guarding;
use crate::clock::Stopwatch;
use crate::config::MetricsAt;
use crate::metrics::{CONTENT_TYPE, Exposition, Kind, seconds};
use crate::os::local_socket;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// For the whole of a request, and again for its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// A scraper's request has a few hundred.
const LONGEST_REQUEST: usize = 8 << 10;
/// After a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(200);

/// Listens from now on; a guard that cannot says so and does without.
pub fn start(guarding: &Arc<Guarding>, at: &MetricsAt) {
    let guarding = Arc::clone(guarding);
    let started = listen(at).and_then(|listener| {
        let serve = move || listener.serve(&|| exposition(&guarding));
        std::thread::Builder::new().name("metrics".to_owned()).spawn(serve)
    });
    match started {
        Ok(_) => tracing::info!("metrics at {at}"),
        Err(error) => tracing::warn!(%error, "no metrics at {at}"),
    }
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

fn listen(at: &MetricsAt) -> io::Result<Listener> {
    match at {
        MetricsAt::Tcp(address) => TcpListener::bind(address).map(Listener::Tcp),
        MetricsAt::Unix(path) => {
            let dir = path.parent().unwrap_or(Path::new("/"));
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            local_socket::listen_to_all(dir, name).map(Listener::Unix)
        }
    }
}

/// A connection that can be given up.
trait Timed: Read + Write {
    fn limit(&self, limit: Duration) -> io::Result<()>;
}

impl Timed for UnixStream {
    fn limit(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit)).and_then(|()| self.set_write_timeout(Some(limit)))
    }
}

impl Timed for TcpStream {
    fn limit(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit)).and_then(|()| self.set_write_timeout(Some(limit)))
    }
}

impl Listener {
    fn accept(&self) -> io::Result<Box<dyn Timed>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept()?.0),
            Self::Tcp(listener) => Box::new(listener.accept()?.0),
        })
    }

    fn serve(&self, text: &dyn Fn() -> String) {
        loop {
            match self.accept().and_then(|mut stream| answer(&mut *stream, text)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tracing::debug!("who asked for metrics was too slow");
                }
                Err(error) => {
                    tracing::debug!(%error, "metrics were not told");
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }
}

fn answer(stream: &mut dyn Timed, text: &dyn Fn() -> String) -> io::Result<()> {
    let request = read_request(stream)?;
    let (status, kind, body) = match wanted(&request) {
        Ok(()) => ("200 OK", CONTENT_TYPE, text()),
        Err(status) => (status, "text/plain; charset=utf-8", format!("{status}\n")),
    };
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let clockwork = Stopwatch::start();
    let answer = [head.as_bytes(), body.as_bytes()].concat();
    let mut rest = &answer[..];
    while !rest.is_empty() {
        limit(stream, &clockwork)?;
        match stream.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    stream.flush()
}

/// Everything up to the empty line, or what there was when the client stopped.
fn read_request(stream: &mut dyn Timed) -> io::Result<Vec<u8>> {
    let clockwork = Stopwatch::start();
    let mut request = vec![];
    let mut bytes = [0; 1024];
    while !is_whole(&request) && request.len() < LONGEST_REQUEST {
        limit(stream, &clockwork)?;
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => request.extend_from_slice(&bytes[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(request)
}

/// What is left of the deadline for the next step.
fn limit(stream: &mut dyn Timed, clockwork: &Stopwatch) -> io::Result<()> {
    match PATIENCE.checked_sub(clockwork.elapsed()).filter(|left| !left.is_zero()) {
        Some(left) => stream.limit(left),
        None => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn is_whole(request: &[u8]) -> bool {
    request.windows(4).any(|end| end == b"\r\n\r\n") || request.windows(2).any(|end| end == b"\n\n")
}

/// The error is the status line's.
fn wanted(request: &[u8]) -> Result<(), &'static str> {
    if !is_whole(request) {
        return Err("400 Bad Request");
    }
    let line = request.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| "400 Bad Request")?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [method, target, version] = words[..] else { return Err("400 Bad Request") };
    if !version.starts_with("HTTP/1.") {
        return Err("400 Bad Request");
    }
    if target.split('?').next() != Some("/metrics") {
        return Err("404 Not Found");
    }
    if method == "GET" { Ok(()) } else { Err("405 Method Not Allowed") }
}

fn exposition(guarding: &Guarding) -> String {
    let mut to = Exposition::new();
    let (name, help) = ("hsm_build_info", "The version of hsm that runs.");
    to.family(name, help, Kind::Gauge).sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let status = guarding.status();
    let help = "1 for the first guard, one more for each that took over from a dead one.";
    to.one("hsm_guard_generation", help, Kind::Gauge, f64::from(status.generation));
    let help = "When this guard began.";
    to.one("hsm_guard_start_timestamp_seconds", help, Kind::Gauge, seconds(guarding.started_ns));
    let help = "Programs that wait for a file.";
    to.one("hsm_guard_waiting_programs", help, Kind::Gauge, status.waiting as f64);
    let help = "Events that the kernel denied because it could make no descriptor.";
    let refused = status.refused_by_kernel as f64;
    to.one("hsm_guard_refused_by_kernel_total", help, Kind::Counter, refused);
    let help = "Reads of the kernel's queue that brought no event.";
    to.one("hsm_guard_misread_total", help, Kind::Counter, status.misread as f64);
    recalls(&mut to, &guarding.counters);
    let rows = guarding.watched.rows();
    let labels: Vec<String> = rows.iter().map(|row| label(&row.path)).collect();
    let help = "1 while the guard watches the root.";
    let mut watched = to.family("hsm_guard_root_watched", help, Kind::Gauge);
    let found: Vec<_> = rows.iter().map(|row| guarding.watched.root(row.id)).collect();
    for (label, root) in labels.iter().zip(&found) {
        watched.sample(&[("root", label)], f64::from(u8::from(root.is_some())));
    }
    let help = "1 where the guard has proven itself, so that stubs may be made.";
    let mut trusted = to.family("hsm_guard_root_trusted", help, Kind::Gauge);
    for (label, root) in labels.iter().zip(&found) {
        let is_trusted = root.as_ref().is_some_and(|root| root.is_trusted());
        trusted.sample(&[("root", label)], f64::from(u8::from(is_trusted)));
    }
    to.into_text()
}

/// A label is text; what is none is written so that two paths stay two.
fn label(path: &Path) -> String {
    let text = path.to_str().map(str::to_owned);
    text.unwrap_or_else(|| path.as_os_str().as_bytes().escape_ascii().to_string())
}

fn recalls(to: &mut Exposition, counters: &Counters) {
    let help = "Files recalled for programs.";
    to.one("hsm_guard_recalls_total", help, Kind::Counter, counters.recalls() as f64);
    let help = "Bytes fetched and written for programs.";
    let bytes = counters.recalled_bytes() as f64;
    to.one("hsm_guard_recalled_bytes_total", help, Kind::Counter, bytes);
    let help = "How long programs waited for files that were recalled.";
    let waited = counters.waited_ms() as f64 / 1000.0;
    to.one("hsm_guard_recall_wait_seconds_total", help, Kind::Counter, waited);
    let help = "Programs that saw an error instead of their file.";
    let mut denied = to.family("hsm_guard_denied_total", help, Kind::Counter);
    for (errno, count) in counters.denied() {
        denied.sample(&[("errno", errno)], count as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;

    const TEXT: &str = "# a text\n";

    /// What a client hears that does this with its end.
    fn hear(client: impl FnOnce(&mut UnixStream) + Send) -> (io::Result<()>, String) {
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        std::thread::scope(|scope| {
            let heard = scope.spawn(move || {
                client(&mut theirs);
                let mut heard = String::new();
                let _ = theirs.read_to_string(&mut heard);
                heard
            });
            let answered = answer(&mut ours, &|| TEXT.to_owned());
            drop(ours);
            (answered, heard.join().expect("no panic"))
        })
    }

    fn status(request: &[u8]) -> String {
        let (answered, heard) = hear(|to| {
            to.write_all(request).expect("written");
            to.shutdown(Shutdown::Write).expect("shut down");
        });
        answered.expect("answered");
        heard.lines().next().expect("a status line").to_owned()
    }

    #[test]
    fn a_scraper_gets_the_text() {
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
        let (answered, heard) = hear(|to| to.write_all(request).expect("written"));
        answered.expect("answered");
        let (head, body) = heard.split_once("\r\n\r\n").expect("a head and a body");
        assert_eq!(body, TEXT);
        assert!(head.starts_with("HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4;"));
        assert!(head.contains("\r\nContent-Length: 9\r\n"), "{head}");
    }

    #[test]
    fn everything_else_is_refused() {
        for (request, want) in [
            (&b"GET / HTTP/1.0\r\n\r\n"[..], "404 Not Found"),
            (b"GET /metrics/../etc HTTP/1.0\r\n\r\n", "404 Not Found"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
            (b"GET /metrics\r\n\r\n", "400 Bad Request"),
            (b"GET /metrics SPDY/9\r\n\r\n", "400 Bad Request"),
            (b"\xff\xfe HTTP/1.0\r\n\r\n", "400 Bad Request"),
            (b"GET /metrics HTTP/1.0\r\n", "400 Bad Request"),
            (b"", "400 Bad Request"),
        ] {
            assert_eq!(status(request), format!("HTTP/1.0 {want}"), "{request:?}");
        }
        assert_eq!(status(b"GET /metrics?x=y HTTP/1.0\n\n"), "HTTP/1.0 200 OK");
    }

    #[test]
    fn who_sends_without_an_end_is_cut_off() {
        let (answered, heard) = hear(|to| {
            to.write_all(b"GET /metrics HTTP/1.0\r\n").expect("written");
            // Until it is refused: a line at a time.
            while to.write_all(&[b'x'; 512]).is_ok() {}
        });
        assert!(answered.is_ok() || heard.is_empty(), "{heard}");
        assert!(!heard.contains(TEXT));
    }

    #[test]
    fn who_says_nothing_is_given_up_within_the_deadline() {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        let clockwork = Stopwatch::start();
        let error = answer(&mut ours, &|| TEXT.to_owned()).expect_err("given up");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let took = clockwork.elapsed();
        assert!((PATIENCE..PATIENCE * 3).contains(&took), "{took:?}");
        drop(theirs);
    }

    #[test]
    fn who_dribbles_is_given_up_at_the_same_deadline() {
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        let clockwork = Stopwatch::start();
        let dribble = std::thread::spawn(move || {
            // A byte each time that it is waited for, and never the last one.
            while theirs.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let error = answer(&mut ours, &|| TEXT.to_owned()).expect_err("given up");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(clockwork.elapsed() < PATIENCE * 3);
        drop(ours);
        dribble.join().expect("no panic");
    }
}

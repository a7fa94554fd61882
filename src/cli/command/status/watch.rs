//! `hsm status --watch`: the same lines, drawn again every two seconds.
//!
//! It draws over what is there, line by line, on the terminal's second screen, so
//! nothing flickers and the first screen comes back at the end. To look at a tree
//! of millions takes longer than two seconds: a thread of its own looks, again
//! only after ten times as long as it took, and the view says of when it is.

use super::lines;
use super::survey::{Sources, Survey};
use crate::cli::command::Outcome;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::report;
use crate::clock::Stopwatch;
use crate::monitor::Stop;
use crate::os::terminal::{self, Keys, Size};
use crate::units::format_time;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const REDRAW: Duration = Duration::from_secs(2);
/// Looking takes at most this part of the time.
const PAUSE_PER_LOOK: u32 = 10;
/// Widest drawing of a root's space.
const BAR: usize = 60;

/// Second screen, no cursor, no wrapping of long lines (ECMA-48, xterm's ctlseqs).
const BEGIN: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const END: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

/// A usage error where there is no terminal to draw on and to read keys from.
pub fn require_terminal() -> Result<(), Error> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        return Ok(());
    }
    Err(Error::Usage("--watch needs a terminal; without one: hsm status, or --json".to_owned()))
}

/// What the thread that looks has found last.
type Found = Arc<Mutex<Option<Result<Survey, Vec<String>>>>>;

pub fn run(context: &Context, sources: &Sources) -> Result<Outcome, Error> {
    let terminal = |source| Error::io("use the terminal", Path::new("/dev/tty"))(source);
    let found = Found::default();
    look_again_and_again(sources.clone(), Arc::clone(&found));
    let keys = Keys::take(io::stdin()).map_err(terminal)?;
    let _screen = Screen::begin().map_err(Error::Output)?;
    while !context.stop.requested() {
        let frame = frame(&found, terminal::size(io::stdout()), context.now_ns());
        draw(&frame).map_err(Error::Output)?;
        if quits(&keys, &context.stop).map_err(terminal)? {
            break;
        }
    }
    Ok(Outcome::done())
}

/// Runs beside the view until the process ends; it only reads.
fn look_again_and_again(sources: Sources, found: Found) {
    std::thread::spawn(move || {
        loop {
            let clockwork = Stopwatch::start();
            let survey = Survey::take(&sources).map_err(|error| report::lines(&error));
            *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(survey);
            std::thread::sleep(REDRAW.max(clockwork.elapsed() * PAUSE_PER_LOOK));
        }
    });
}

/// Whether the person has had enough, before it is time to draw again.
fn quits(keys: &Keys<io::Stdin>, stop: &Stop) -> io::Result<bool> {
    let clockwork = Stopwatch::start();
    loop {
        let left = REDRAW.saturating_sub(clockwork.elapsed());
        if left.is_zero() || stop.requested() {
            return Ok(false);
        }
        match keys.next_within(left) {
            Ok(Some(b'q' | b'Q')) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}

/// The lines of one drawing: as many as fit.
fn frame(found: &Found, size: Size, now_ns: i64) -> Vec<String> {
    let found = found.lock().unwrap_or_else(PoisonError::into_inner);
    let (of, body) = match &*found {
        None => (String::new(), vec!["looking ...".to_owned()]),
        Some(Err(trouble)) => (String::new(), trouble.clone()),
        Some(Ok(survey)) => {
            let of = format!("as of {}  ", format_time(survey.at_ns));
            (of, lines::lines(survey, BAR.min(size.columns.saturating_sub(20))))
        }
    };
    let mut frame =
        vec![format!("hsm status  {}  {of}q quits", format_time(now_ns)), String::new()];
    let room = size.rows.saturating_sub(frame.len());
    let hidden = body.len().saturating_sub(room);
    if hidden == 0 {
        frame.extend(body);
    } else {
        let shown = room.saturating_sub(1);
        frame.extend(body.iter().take(shown).cloned());
        frame.push(format!("... and {} more lines", body.len() - shown));
    }
    frame.truncate(size.rows);
    frame
}

/// In one write: a terminal shows no half of it.
fn draw(frame: &[String]) -> io::Result<()> {
    let mut text = HOME.to_owned();
    for (at, line) in frame.iter().enumerate() {
        if at > 0 {
            text.push_str("\r\n");
        }
        text.push_str(line);
        text.push_str(REST_OF_LINE);
    }
    text.push_str(REST_OF_SCREEN);
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// The second screen, while it lives.
struct Screen;

impl Screen {
    fn begin() -> io::Result<Self> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(BEGIN.as_bytes())?;
        stdout.flush()?;
        Ok(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut stdout = io::stdout().lock();
        // A terminal that is gone needs no mending.
        let _ = stdout.write_all(END.as_bytes()).and_then(|()| stdout.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let trouble: Vec<String> = (0..9).map(|line| format!("line {line}")).collect();
        let found: Found = Arc::new(Mutex::new(Some(Err(trouble))));
        let size = |rows| Size { columns: 80, rows };
        let whole = frame(&found, size(11), 0);
        assert_eq!((whole.len(), whole.last().map(String::as_str)), (11, Some("line 8")));
        let cut = frame(&found, size(10), 0);
        assert_eq!((cut.len(), cut.last().map(String::as_str)), (10, Some("... and 2 more lines")));
        assert_eq!(frame(&found, size(1), 0).len(), 1, "a line more would scroll");
    }
}

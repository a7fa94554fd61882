//! `hsm status --watch`: the same lines, drawn again every two seconds.
//!
//! It draws over what is there, line by line, on the terminal's second screen, so
//! nothing flickers and the first screen comes back at the end. To look at a tree
//! of millions takes longer than two seconds: a thread of its own looks, again
//! only after ten times as long as it took, and the view says of when it is.

use super::lines::{self, Line, Tone};
use super::survey::{Sources, Survey};
use super::view::{self, Paint, View};
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
    let mut view = View::new(Paint::of(&|name| std::env::var_os(name)));
    while !context.stop.requested() {
        let size = terminal::size(io::stdout());
        let (head, body) = content(&found, size, context.now_ns());
        draw(&view.frame(&head, &body, size)).map_err(Error::Output)?;
        if quits(&keys, &mut view, size, &context.stop).map_err(terminal)? {
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

/// Whether the person has had enough, before it is time to draw again: after a
/// while, or because a key moved the view.
fn quits(keys: &Keys<io::Stdin>, view: &mut View, size: Size, stop: &Stop) -> io::Result<bool> {
    let clockwork = Stopwatch::start();
    loop {
        let left = REDRAW.saturating_sub(clockwork.elapsed());
        if left.is_zero() || stop.requested() {
            return Ok(false);
        }
        match keys.next_within(left) {
            Ok(Some(b'q' | b'Q')) => return Ok(true),
            Ok(Some(key)) if view.moves(key, size) => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}

/// What there is to see: the head, and what may be longer than the screen.
fn content(found: &Found, size: Size, now_ns: i64) -> (Line, Vec<Line>) {
    let found = found.lock().unwrap_or_else(PoisonError::into_inner);
    let (at_ns, body) = match &*found {
        None => (now_ns, vec![Line::plain("looking ...")]),
        Some(Err(trouble)) => {
            let line = |text: &String| Line::new(text.clone(), Tone::Trouble);
            (now_ns, trouble.iter().map(line).collect())
        }
        Some(Ok(survey)) => {
            (survey.at_ns, lines::lines(survey, BAR.min(size.columns.saturating_sub(20))))
        }
    };
    let made = "hsm status  q quits  ".to_owned() + &format_time(now_ns);
    // Only what was looked at a while ago says so.
    let behind = now_ns.saturating_sub(at_ns) > view::FRESH_NS;
    let of = if behind { format!("  as of {}", format_time(at_ns)) } else { String::new() };
    (Line::new(made + &of, Tone::Title), body)
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

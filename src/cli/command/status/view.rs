//! Lines on a screen of some size: broken where they are too long, moved by keys
//! where they are too many, coloured where that helps.
//!
//! Pure: lines and a size in, the lines of one drawing out. A terminal that is
//! told to draw a character too many scrolls or cuts, so none is.

use super::lines::{Line, Tone};
use crate::os::terminal::Size;
use std::ffi::OsString;

/// A survey that is younger is of now.
pub const FRESH_NS: i64 = 5 * 1_000_000_000;

/// Whether colours are used (<https://no-color.org>, and terminals that have none).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    Colours,
    None,
}

impl Paint {
    pub fn of(env: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let says_no = env("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = env("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        if says_no || is_dumb { Self::None } else { Self::Colours }
    }

    /// In the terminal's own colours (ECMA-48 SGR), which its person has chosen.
    fn on(self, text: String, tone: Tone) -> String {
        let code = match (self, tone) {
            (Self::None, _) | (_, Tone::Plain) => return text,
            (_, Tone::Title) => "1",
            (_, Tone::Warning) => "33",
            (_, Tone::Trouble) => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// What a person looks at: how far down, and the key that is only begun.
#[derive(Debug)]
pub struct View {
    paint: Paint,
    top: usize,
    /// Lines of the body, of the last drawing.
    lines: usize,
    /// Bytes of an escape sequence so far.
    begun: Vec<u8>,
}

impl View {
    pub fn new(paint: Paint) -> Self {
        Self { paint, top: 0, lines: 0, begun: vec![] }
    }

    /// The lines of one drawing: never more than the screen has, never wider.
    pub fn frame(&mut self, head: &Line, body: &[Line], size: Size) -> Vec<String> {
        // The last column stays free: erasing what is behind a full line takes its end.
        let columns = size.columns.saturating_sub(1).max(1);
        let broken = |line: &Line| {
            let parts = broken(line, columns);
            parts.into_iter().map(|part| self.paint.on(part, line.tone)).collect::<Vec<_>>()
        };
        let mut frame = broken(head);
        let rows: Vec<String> = body.iter().flat_map(broken).collect();
        frame.push(String::new());
        self.lines = rows.len();
        let room = size.rows.saturating_sub(frame.len());
        if rows.len() <= room {
            self.top = 0;
            frame.extend(rows);
        } else {
            let shown = room.saturating_sub(1);
            self.top = self.top.min(rows.len() - shown);
            let left = rows.len() - shown - self.top;
            frame.extend(rows.into_iter().skip(self.top).take(shown));
            let what = match (self.top, left) {
                (_, 0) => "-- the end: k or up".to_owned(),
                (0, left) => format!("-- {left} more lines: j or down"),
                (_, left) => format!("-- {left} more lines"),
            };
            frame.extend(broken_at(&what, 0, columns).into_iter().next());
        }
        frame.truncate(size.rows);
        frame
    }

    /// Takes a byte of a key; whether it moved the view. j, k, space, b, g, G as in
    /// less(1), arrows and page keys as xterm sends them.
    pub fn moves(&mut self, byte: u8, size: Size) -> bool {
        let page = size.rows.saturating_sub(4).max(1);
        let before = self.top;
        self.begun.push(byte);
        match self.begun.as_slice() {
            b"\x1b" | b"\x1b[" | b"\x1bO" | b"\x1b[5" | b"\x1b[6" => return false,
            b"j" | b"\x1b[B" | b"\x1bOB" => self.top += 1,
            b"k" | b"\x1b[A" | b"\x1bOA" => self.top = self.top.saturating_sub(1),
            b" " | b"\x1b[6~" => self.top += page,
            b"b" | b"\x1b[5~" => self.top = self.top.saturating_sub(page),
            b"g" => self.top = 0,
            b"G" => self.top = self.lines,
            _ => {}
        }
        self.begun.clear();
        self.top = self.top.min(self.lines);
        self.top != before
    }
}

/// A line in parts of so many characters, broken at spaces where there are any.
fn broken(line: &Line, columns: usize) -> Vec<String> {
    broken_at(&line.text, line.indent, columns)
}

fn broken_at(text: &str, indent: usize, columns: usize) -> Vec<String> {
    // Where little room is left beside it, an indent helps nobody.
    let indent = if indent * 2 < columns { indent } else { 0 };
    let mut rest: Vec<char> = text.chars().collect();
    let mut parts = vec![];
    while rest.len() > columns {
        let least = if parts.is_empty() { 0 } else { indent };
        let first_word = rest.iter().skip(least).position(|letter| *letter != ' ');
        let from = first_word.map_or(columns, |at| least + at);
        let space = (from + 1..=columns).rev().find(|at| rest[*at] == ' ');
        let (end, next) = space.map_or((columns, columns), |at| (at, at + 1));
        let tail: Vec<char> = rest[next..].iter().copied().skip_while(|c| *c == ' ').collect();
        parts.push(rest[..end].iter().collect::<String>().trim_end().to_owned());
        rest = std::iter::repeat_n(' ', indent).chain(tail).collect();
    }
    parts.push(rest.into_iter().collect());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View::new(Paint::None)
    }

    fn body(lines: usize) -> Vec<Line> {
        (0..lines).map(|line| Line::plain(format!("line {line}"))).collect()
    }

    fn size(columns: usize, rows: usize) -> Size {
        Size { columns, rows }
    }

    fn last(frame: &[String]) -> Option<&str> {
        frame.last().map(String::as_str)
    }

    #[test]
    fn what_does_not_fit_is_counted_and_reached_by_keys() {
        let (mut view, head) = (view(), Line::plain("head"));
        let whole = view.frame(&head, &body(9), size(80, 11));
        assert_eq!((whole.len(), last(&whole)), (11, Some("line 8")));
        let cut = view.frame(&head, &body(9), size(80, 10));
        assert_eq!((cut.len(), last(&cut)), (10, Some("-- 2 more lines: j or down")));
        assert!(view.moves(b'j', size(80, 10)));
        let moved = view.frame(&head, &body(9), size(80, 10));
        assert_eq!((moved[2].as_str(), last(&moved)), ("line 1", Some("-- 1 more lines")));
        // An arrow comes in three bytes.
        assert!(!view.moves(0x1b, size(80, 10)) && !view.moves(b'[', size(80, 10)));
        assert!(view.moves(b'B', size(80, 10)));
        let end = view.frame(&head, &body(9), size(80, 10));
        assert_eq!(end[8], "line 8");
        assert_eq!(last(&end), Some("-- the end: k or up"));
        assert!(view.moves(b'G', size(80, 10)), "as far as there are lines");
        view.frame(&head, &body(9), size(80, 10));
        assert!(view.moves(b'g', size(80, 10)));
        assert!(!view.moves(b'k', size(80, 10)) && !view.moves(b'x', size(80, 10)));
        // What is there became shorter.
        view.moves(b' ', size(80, 10));
        assert_eq!(last(&view.frame(&head, &body(3), size(80, 10))), Some("line 2"));
        assert_eq!(view.frame(&head, &body(9), size(80, 1)).len(), 1, "a line more would scroll");
    }

    #[test]
    fn a_long_line_is_broken_at_spaces_and_goes_on_under_its_text() {
        let line = Line { text: "  week   one two three".into(), tone: Tone::Plain, indent: 9 };
        assert_eq!(broken(&line, 22), ["  week   one two three"]);
        assert_eq!(broken(&line, 20), ["  week   one two", "         three"]);
        assert_eq!(broken(&line, 10), ["  week", "one two", "three"]);
        let path = Line { text: "  /a/path/without/a/space".into(), tone: Tone::Plain, indent: 4 };
        assert_eq!(broken(&path, 12), ["  /a/path/wi", "    thout/a/", "    space"]);
        for columns in 1..40 {
            let parts = broken(&line, columns);
            assert!(parts.iter().all(|part| part.chars().count() <= columns), "{parts:?}");
            let words = parts.join(" ");
            let letters = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
            assert_eq!(letters(&words), letters(&line.text), "nothing is lost");
        }
    }

    #[test]
    fn colours_are_for_terminals_that_have_them_and_people_who_want_them() {
        let of = |term: Option<&str>, no: Option<&str>| {
            let (term, no) = (term.map(OsString::from), no.map(OsString::from));
            Paint::of(&move |name| match name {
                "TERM" => term.clone(),
                "NO_COLOR" => no.clone(),
                _ => None,
            })
        };
        assert_eq!(of(Some("xterm"), None), Paint::Colours);
        assert_eq!(of(Some("xterm"), Some("")), Paint::Colours);
        assert_eq!(of(Some("xterm"), Some("1")), Paint::None);
        assert_eq!(of(Some("dumb"), None), Paint::None);
        assert_eq!(of(None, None), Paint::None);
        let mut view = View::new(Paint::Colours);
        let (head, line) = (Line::plain("head"), Line::new("  bad", Tone::Trouble));
        assert_eq!(view.frame(&head, &[line], size(9, 9))[2], "\x1b[31m  bad\x1b[0m");
    }
}

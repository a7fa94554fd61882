//! Adds a root to a config that a person may have edited.
//!
//! The text is changed at one place and nowhere else, so that comments, order
//! and spacing stay. The result is read again before it is returned: if the
//! list of roots is not the old one and the new root, the text is refused.

use super::template::quote;
use super::{Config, ConfigError};
use crate::document::{Document, Place};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::DeValue;

/// The config `text` with `root` added to its roots; unchanged if it is there.
///
/// # Errors
/// The mistakes of the config, before or after the change (a root inside
/// another one, for example). `name` is the file's path, for the errors.
pub fn add_root(name: &str, text: &str, root: &str) -> Result<String, Vec<ConfigError>> {
    let before = roots_of(name, text)?;
    let wanted: PathBuf = Path::new(root).components().collect();
    if before.contains(&wanted) {
        return Ok(text.to_owned());
    }
    let changed = insert(name, text, &quote(root))?;
    let after = roots_of(name, &changed)?;
    let kept = after.len() == before.len() + 1
        && before.iter().chain([&wanted]).all(|root| after.contains(root));
    if !kept {
        let place = Place { file: name.into(), line: 1, column: 1 };
        let what = format!("cannot add {} to the list of roots", quote(root));
        return Err(vec![ConfigError::at(place, what, "add it by hand")]);
    }
    Ok(changed)
}

/// A config without the key `roots` has none yet.
fn roots_of(name: &str, text: &str) -> Result<Vec<PathBuf>, Vec<ConfigError>> {
    let without_roots = {
        let doc = Document::new(name, text);
        doc.parse().is_some_and(|table| table.get("roots").is_none())
    };
    let config = if without_roots {
        Config::parse(name, &format!("roots = []\n{text}"))
    } else {
        Config::parse(name, text)
    };
    config.map(|config| config.roots)
}

fn insert(name: &str, text: &str, quoted: &str) -> Result<String, Vec<ConfigError>> {
    let doc = Document::new(name, text);
    let Some(table) = doc.parse() else { return Err(doc.into_problems()) };
    let Some(value) = table.get("roots") else {
        // The top of the file is above every table, whatever follows.
        return Ok(format!("roots = [\n  {quoted},\n]\n{text}"));
    };
    let span = value.span();
    Ok(match value.get_ref() {
        DeValue::Array(values) => {
            let elements: Vec<Range<usize>> = values.iter().map(|value| value.span()).collect();
            into_list(text, span, &elements, quoted)
        }
        _ => format!(
            "{}[{}, {quoted}]{}",
            &text[..span.start],
            &text[span.clone()],
            &text[span.end..]
        ),
    })
}

/// Puts the new element behind the last one, in the list's own style.
fn into_list(text: &str, list: Range<usize>, elements: &[Range<usize>], quoted: &str) -> String {
    let close = list.end - 1;
    let Some(last) = elements.last() else {
        // Behind the bracket, before any comment that the empty list holds.
        let at = list.start + 1;
        let end = if text[at..close].contains('\n') { "," } else { "" };
        let start = if end.is_empty() { "" } else { "\n  " };
        return format!("{}{start}{quoted}{end}{}", &text[..at], &text[at..]);
    };
    let (comma, line_end) = tail_of(text, last.end, close);
    let Some(line_end) = line_end else {
        return format!("{}, {quoted}{}", &text[..last.end], &text[last.end..]);
    };
    let line_start = text[..last.start].rfind('\n').map_or(0, |at| at + 1);
    let before = &text[line_start..last.start];
    let indent = if before.trim().is_empty() { before } else { "  " };
    let comma = if comma { "" } else { "," };
    format!(
        "{}{comma}{}\n{indent}{quoted},{}",
        &text[..last.end],
        &text[last.end..line_end],
        &text[line_end..]
    )
}

/// What follows the last element up to the closing bracket: whether a comma
/// does, outside comments, and the end of its line if the bracket is below it.
fn tail_of(text: &str, from: usize, close: usize) -> (bool, Option<usize>) {
    let (mut comma, mut comment, mut line_end) = (false, false, None);
    for (at, byte) in text.bytes().enumerate().take(close).skip(from) {
        match byte {
            b'\n' => {
                line_end.get_or_insert(at - usize::from(text[..at].ends_with('\r')));
                comment = false;
            }
            b'#' => comment = true,
            b',' if !comment => comma = true,
            _ => {}
        }
    }
    (comma, line_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "state_dir = \"/s\"\n[store]\nurl = \"s3://b\"\n";

    fn added(roots: &str, root: &str) -> String {
        let changed = add_root("c.toml", &format!("{roots}{REST}"), root)
            .unwrap_or_else(|problems| panic!("{roots}\n{problems:#?}"));
        changed.strip_suffix(REST).expect("the rest is untouched").to_owned()
    }

    #[test]
    fn a_root_joins_the_list_in_its_style() {
        let table = [
            ("", "roots = [\n  \"/n\",\n]\n"),
            ("roots = []\n", "roots = [\"/n\"]\n"),
            ("roots = [ ] # none\n", "roots = [\"/n\" ] # none\n"),
            ("roots = [\n]\n", "roots = [\n  \"/n\",\n]\n"),
            ("roots = [ # none yet\n]\n", "roots = [\n  \"/n\", # none yet\n]\n"),
            ("roots = \"/a\"\n", "roots = [\"/a\", \"/n\"]\n"),
            ("roots = [\"/a\"]\n", "roots = [\"/a\", \"/n\"]\n"),
            ("roots = [\"/a\", ] # x\n", "roots = [\"/a\", \"/n\", ] # x\n"),
            ("roots = ['/a',\n'/b']\n", "roots = ['/a',\n'/b', \"/n\"]\n"),
            (
                "# my trees\nroots = [\n  \"/a\",  # films, [old]\n  \"/b\"   # homes, \"x\",\n  # end\n]\n",
                "# my trees\nroots = [\n  \"/a\",  # films, [old]\n  \"/b\",   # homes, \"x\",\n  \"/n\",\n  # end\n]\n",
            ),
            (
                "roots = [\n\t\"/a\", # one\n\t\"/b\", # two\n]\n",
                "roots = [\n\t\"/a\", # one\n\t\"/b\", # two\n\t\"/n\",\n]\n",
            ),
            ("roots = [\"/a\",\n]\n", "roots = [\"/a\",\n  \"/n\",\n]\n"),
            (
                "roots = [\n  \"/a\"\n  , # late\n]\n",
                "roots = [\n  \"/a\"\n  \"/n\",\n  , # late\n]\n",
            ),
        ];
        for (before, want) in &table[..table.len() - 1] {
            assert_eq!(added(before, "/n"), *want, "{before}");
        }
        let (odd, _) = table[table.len() - 1];
        let changed = add_root("c.toml", &format!("{odd}{REST}"), "/n");
        assert!(changed.is_err(), "a comma on the next line is left to a person");
    }

    #[test]
    fn a_root_that_is_there_changes_nothing() {
        let text = format!("roots = [\"/a/\"]\n{REST}");
        assert_eq!(add_root("c.toml", &text, "/a"), Ok(text.clone()));
    }

    #[test]
    fn a_strange_name_is_quoted() {
        let changed = added("roots = []\n", "/a \"b\"\\\n/ü");
        let config = Config::parse("c.toml", &format!("{changed}{REST}")).expect("it parses");
        assert_eq!(config.roots, [Path::new("/a \"b\"\\\n/ü")]);
    }

    #[test]
    fn what_cannot_be_a_root_is_refused() {
        let text = format!("roots = [\"/a\"]\n{REST}");
        for (root, want) in [
            ("/a/b", "lies inside another root"),
            ("/", "cannot be a root"),
            ("a", "not absolute"),
            ("/s", "lies inside the root"),
        ] {
            let problems = add_root("c.toml", &text, root).expect_err(root);
            assert!(problems[0].what.contains(want), "{root}: {problems:?}");
        }
        assert!(add_root("c.toml", "roots = [", "/n").is_err());
        assert!(add_root("c.toml", "[store\n", "/n").is_err());
    }
}

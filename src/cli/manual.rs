//! Man pages and shell completions out of the one clap definition.
//!
//! The files under `man/` and `completions/` are this module's output, byte
//! for byte; tests/generated.rs fails when one is stale. `hsm generate` writes
//! them again. The date is a constant, so that the output depends on nothing
//! but the definition.

use super::args::Cli;
use super::exit;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use std::io;

/// The day the manual was last read through, in the pages' footer.
const DATE: &str = "2026-11-21";

/// A generated file: its name and its bytes.
pub type Page = (String, Vec<u8>);

/// `hsm.1` and one page per command and nested command.
pub fn man_pages() -> Vec<Page> {
    let mut top = Cli::command();
    top.build();
    let mut pages = Vec::new();
    add_pages(&top, &mut pages);
    pages
}

/// `hsm.bash`, `_hsm` (zsh) and `hsm.fish`.
pub fn completions() -> Vec<Page> {
    [(Shell::Bash, "hsm.bash"), (Shell::Zsh, "_hsm"), (Shell::Fish, "hsm.fish")]
        .map(|(shell, name)| {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut visible(), "hsm", &mut text);
            (name.to_owned(), text)
        })
        .into()
}

/// The definition without hidden commands, which completions would show.
fn visible() -> Command {
    let whole = Cli::command();
    let shown = whole.get_subcommands().filter(|nested| !nested.is_hide_set()).cloned();
    Command::new("hsm")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .args(whole.get_arguments().cloned())
        .subcommands(shown)
}

fn add_pages(command: &Command, pages: &mut Vec<Page>) {
    pages.push(page(command).expect("writing to memory cannot fail"));
    for nested in command.get_subcommands().filter(|nested| !nested.is_hide_set()) {
        add_pages(nested, pages);
    }
}

fn page(command: &Command) -> io::Result<Page> {
    let name = command.get_display_name().unwrap_or("hsm").to_owned();
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .date(DATE)
        .source(concat!("hsm ", env!("CARGO_PKG_VERSION")))
        .manual("hsm manual");
    let mut roff = Vec::new();
    man.render_title(&mut roff)?;
    man.render_name_section(&mut roff)?;
    man.render_synopsis_section(&mut roff)?;
    man.render_description_section(&mut roff)?;
    man.render_options_section(&mut roff)?;
    if command.get_subcommands().any(|nested| !nested.is_hide_set()) {
        man.render_subcommands_section(&mut roff)?;
    }
    if let Some(extra) = command.get_after_long_help() {
        sections(&extra.to_string(), &mut roff);
    }
    if name != "hsm" {
        sections(exit::TABLE, &mut roff);
        roff.extend_from_slice(b".SH \"SEE ALSO\"\n\\fBhsm\\fR(1)\n");
    }
    Ok((format!("{name}.1"), without_idle_breaks(&roff)))
}

/// Drops `.br` next to a blank line or `.sp`, which `mandoc -T lint` calls
/// skipped.
fn without_idle_breaks(roff: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = roff.split_inclusive(|byte| *byte == b'\n').collect();
    let is_space = |at: Option<usize>| {
        let line = at.and_then(|at| lines.get(at));
        line.is_some_and(|line| matches!(*line, b"\n" | b".sp\n"))
    };
    let is_idle = |at: usize| {
        lines[at] == b".br\n" && (is_space(at.checked_sub(1)) || is_space(Some(at + 1)))
    };
    (0..lines.len()).filter(|at| !is_idle(*at)).flat_map(|at| lines[at].to_vec()).collect()
}

/// Text under headings that end in a colon, shown as typed: `Examples:` and
/// `Exit codes:` of the help become sections of the page.
fn sections(text: &str, roff: &mut Vec<u8>) {
    let mut open = false;
    for line in text.lines() {
        if let Some(heading) = line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            close(open, roff);
            roff.extend_from_slice(format!(".SH \"{}\"\n.nf\n", heading.to_uppercase()).as_bytes());
            open = true;
        } else if line.starts_with("  ") || line.is_empty() {
            roff.extend_from_slice(literal(line.trim_start()).as_bytes());
        } else {
            close(open, roff);
            roff.extend_from_slice(format!(".PP\n{}", literal(line)).as_bytes());
            open = false;
        }
    }
    close(open, roff);
}

fn close(open: bool, roff: &mut Vec<u8>) {
    if open {
        roff.extend_from_slice(b".fi\n");
    }
}

/// One line as roff prints it unchanged (groff(7), "Escape sequences").
fn literal(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with(['.', '\'']) { format!("\\&{text}\n") } else { format!("{text}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_become_sections_and_examples_stay_as_typed() {
        let mut roff = Vec::new();
        sections("Examples:\n  hsm find -0 'a'\nMore words.", &mut roff);
        assert_eq!(
            String::from_utf8(roff).unwrap(),
            ".SH \"EXAMPLES\"\n.nf\nhsm find \\-0 \\(aqa\\(aq\n.fi\n.PP\nMore words.\n"
        );
    }

    #[test]
    fn only_breaks_beside_a_space_are_dropped() {
        let text = b"a\n.br\n\n.br\nb\n.br\nc\n";
        assert_eq!(without_idle_breaks(text), b"a\n\nb\n.br\nc\n");
    }

    #[test]
    fn completions_show_no_hidden_command() {
        for (name, text) in completions() {
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("recall"), "{name}");
            assert!(!text.contains("generate"), "{name}");
        }
    }

    #[test]
    fn every_visible_command_has_a_page_and_hidden_ones_have_none() {
        let names: Vec<String> = man_pages().into_iter().map(|(name, _)| name).collect();
        assert!(names.contains(&"hsm.1".to_owned()));
        assert!(names.contains(&"hsm-recall.1".to_owned()));
        assert!(names.contains(&"hsm-policy-check.1".to_owned()));
        assert!(!names.iter().any(|name| name.contains("generate")));
    }
}

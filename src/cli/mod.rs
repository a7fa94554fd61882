//! The command line: the only room that prints, reads arguments and the
//! environment, and knows exit codes.
//!
//! [`run`] is the whole program. It parses, makes a [`context::Context`], runs
//! one command, and turns its end into lines on stderr, a `summary` record with
//! `--json`, and an exit code. Everything a command needs to know about the
//! machine or the person comes through the context; nothing below this room
//! reads a variable or prints a line.

pub mod accounts;
pub mod args;
pub mod command;
pub mod context;
pub mod error;
pub mod exit;
pub mod job;
mod key_file;
pub mod listing;
pub mod locate;
pub mod manual;
pub mod opened;
mod output;
mod programs;
pub mod progress;
pub mod report;
pub mod restoring;
pub mod second;
pub mod selection;
pub mod table;
mod underneath;
mod whole_file;

use crate::os::process;
use args::Cli;
use clap::Parser;
use command::Outcome;
use context::Context;
use error::Error;
use exit::Exit;
use output::Output;
use serde_json::{Map, json};
use std::ffi::OsString;
use std::io::Write;

/// Runs `hsm` with these arguments, the first being the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    // The guard speaks as a service does: what it begins and ends, too.
    let at_least = u8::from(matches!(cli.command, args::Command::RecallGuard(_)));
    log_to_stderr(cli.global.verbose.max(at_least));
    if let Err(error) = process::keep_memory_private() {
        tracing::warn!(%error, "a crash of this process may leave its memory in a file");
    }
    let out = Output::stdout(cli.global.json, cli.global.quiet);
    let ended = Context::new(cli.global.clone(), command::name(&cli.command), out.clone())
        .and_then(|context| command::run(&context, &cli.command).map(|end| context.conclude(end)));
    conclude(&out, command::name(&cli.command), ended)
}

/// Help and version go to stdout and are no error; a mistake goes to stderr.
fn usage(error: &clap::Error) -> Exit {
    // A reader that went away has seen enough of the help.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}

/// Says how the run ended, everywhere it has to be said.
fn conclude(out: &Output, command: &str, ended: Result<Outcome, Error>) -> Exit {
    let (mut exit, mut fields) = match &ended {
        Ok(outcome) => (outcome.exit, outcome.summary.clone()),
        Err(error) => (report::exit(error), Map::new()),
    };
    if let Err(error) = &ended {
        tell(error);
        fields.insert("error".into(), report::json(error));
    }
    let mut summary = Map::new();
    summary.insert("type".into(), json!("summary"));
    summary.insert("command".into(), json!(command));
    summary.insert("exit".into(), json!(exit.code()));
    summary.append(&mut fields);
    if let Err(error) = out.record(&summary).and_then(|()| out.flush())
        && ended.is_ok()
    {
        tell(&error);
        exit = match report::exit(&error) {
            Exit::Done => exit,
            worse => worse,
        };
    }
    exit
}

fn tell(error: &Error) {
    let mut stderr = std::io::stderr().lock();
    for line in report::lines(error) {
        // Nobody is left to tell when stderr is gone.
        let _ = writeln!(stderr, "{line}");
    }
}

/// `-v` shows what is done, `-vv` every request; without them only warnings.
fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    let logger = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(verbose > 1)
        .finish();
    // A second run in one process (a test) keeps the first one's logger.
    let _ = tracing::subscriber::set_global_default(logger);
}

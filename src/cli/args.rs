//! The command line, one definition for parsing, `--help`, man pages and
//! completions.
//!
//! What every command shares is here; what one command takes is in its own
//! file under `command/`, next to the code that uses it. Times stay text here,
//! because "90d ago" needs a clock, which only a running command has.

use super::command;
use super::error::Error;
use super::exit;
use crate::units;
use clap::{ArgAction, Args, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Tiers cold files of a Linux server to an object store
///
/// hsm copies the files that a policy selects to an object store, proves each
/// copy, frees the blocks of the cold ones and leaves a stub: same name, size,
/// times, owner and attributes, no data. `hsm recall` makes a stub an ordinary
/// file again. At every moment a file's bytes exist, whole and verified, in at
/// least one place that hsm can name.
///
/// A first tour: `hsm demo`. For real: `hsm init`, then `hsm plan`, then
/// `hsm tier` from a timer.
#[derive(Debug, Parser)]
#[command(
    name = "hsm",
    version,
    max_term_width = 100,
    after_long_help = exit::TABLE,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Write one JSON object per line; the last one is the summary
    ///
    /// A file name is {"text": ...}, or {"bytes": base64} where it is not UTF-8.
    #[arg(long, global = true)]
    pub json: bool,

    /// Print only the data asked for and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Tell more on stderr; twice for details of every request
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,

    /// Use this configuration file; the variable HSM_CONFIG does the same
    ///
    /// Without either: /etc/hsm/config.toml for root, hsm/config.toml in the XDG
    /// configuration directory (~/.config) for others.
    #[arg(long, global = true, value_name = "FILE", env = "HSM_CONFIG", hide_env = true)]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Init(command::init::InitArgs),
    Scan(command::scan::ScanArgs),
    Plan(command::plan::PlanArgs),
    Apply(command::apply::ApplyArgs),
    Tier(command::tier::TierArgs),
    Upload(command::upload::UploadArgs),
    Stub(command::stub::StubArgs),
    Recall(command::recall::RecallArgs),
    RecallGuard(command::recall_guard::RecallGuardArgs),
    Adopt(command::adopt::AdoptArgs),
    Restore(command::restore::RestoreArgs),
    Pull(command::pull::PullArgs),
    Undelete(command::undelete::UndeleteArgs),
    Cat(command::cat::CatArgs),
    Export(command::export::ExportArgs),
    Verify(command::verify::VerifyArgs),
    Status(command::status::StatusArgs),
    Report(command::report::ReportArgs),
    Ls(command::ls::LsArgs),
    Find(command::find::FindArgs),
    Du(command::du::DuArgs),
    Explain(command::explain::ExplainArgs),
    Log(command::log::LogArgs),
    Recalls(command::recalls::RecallsArgs),
    History(command::history::HistoryArgs),
    Snapshot(command::snapshot::SnapshotArgs),
    Manifest(command::manifest::ManifestArgs),
    Nodes(command::nodes::NodesArgs),
    Rebuild(command::rebuild::RebuildArgs),
    Pin(command::pin::PinArgs),
    Unpin(command::unpin::UnpinArgs),
    Gc(command::gc::GcArgs),
    Doctor(command::doctor::DoctorArgs),
    Policy(command::policy::PolicyArgs),
    Demo(command::demo::DemoArgs),
    Generate(command::generate::GenerateArgs),
    StubsLeft(command::stubs_left::StubsLeftArgs),
}

/// `--dry-run`, on every command that changes something.
#[derive(Debug, Clone, Args)]
pub struct DryRun {
    /// Print what would be done and write nothing, not even to the state DB
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `--policy`, on every command that evaluates rules.
#[derive(Debug, Clone, Args)]
pub struct PolicyFiles {
    /// Use these rules in place of policies.d (repeatable; read in order of name)
    #[arg(long = "policy", value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Names from a file beside those on the command line.
#[derive(Debug, Clone, Args)]
pub struct FilesFrom {
    /// Read paths from FILE, one per line; - is standard input
    #[arg(long, value_name = "FILE")]
    pub files_from: Option<PathBuf>,

    /// Paths read end with NUL instead of a newline; without --files-from they
    /// come from standard input
    #[arg(short = '0', long)]
    pub null: bool,
}

impl FilesFrom {
    /// The paths named on the command line, then those of the file.
    pub fn gather(&self, named: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
        let mut paths = named.to_vec();
        let stdin = PathBuf::from("-");
        let source = match &self.files_from {
            Some(file) => file,
            None if self.null => &stdin,
            None => return Ok(paths),
        };
        let mut text = Vec::new();
        if source.as_os_str() == "-" {
            std::io::stdin().read_to_end(&mut text).map(drop)
        } else {
            std::fs::read(source).map(|read| text = read)
        }
        .map_err(Error::io("read the list of paths from", source))?;
        paths.extend(split_paths(&text, if self.null { 0 } else { b'\n' }));
        Ok(paths)
    }
}

fn split_paths(text: &[u8], end: u8) -> impl Iterator<Item = PathBuf> {
    text.split(move |byte| *byte == end)
        .filter(|name| !name.is_empty())
        .map(|name| PathBuf::from(OsString::from_vec(name.to_vec())))
}

/// A size on the command line: `64MiB`, `10GB`, `4096`.
pub fn size(text: &str) -> Result<u64, String> {
    units::parse_size(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_and_a_long_description() {
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            let extra = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            assert!(extra.contains("Examples:\n"), "{name} shows no example");
            assert!(extra.contains("hsm "), "{name} has no example command");
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
            assert!(long.len() > about.len() + 40, "{name} is not explained");
        }
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        let before = Cli::try_parse_from(["hsm", "--json", "status"]).unwrap();
        let after = Cli::try_parse_from(["hsm", "status", "--json"]).unwrap();
        assert!(before.global.json && after.global.json);
        assert!(Cli::try_parse_from(["hsm", "-q", "-v", "status"]).is_err());
    }

    #[test]
    fn names_with_newlines_need_nul() {
        let lines: Vec<_> = split_paths(b"a\nb\n", b'\n').collect();
        assert_eq!(lines, [PathBuf::from("a"), PathBuf::from("b")]);
        let nul: Vec<_> = split_paths(b"a\nb\0c\0", 0).collect();
        assert_eq!(nul, [PathBuf::from("a\nb"), PathBuf::from("c")]);
    }
}

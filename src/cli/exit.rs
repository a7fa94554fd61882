//! The exit codes of `hsm`, a promise to scripts: a number never changes its
//! meaning, and a run in which one file failed is never a success.
//!
//! The numbers are listed in the help of every command and in hsm(1).

use std::process::ExitCode;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for is done.
    Done,
    /// The command could not do its work.
    Failed,
    /// The command line, a time or a size on it cannot be understood.
    Usage,
    /// The run finished, but some files failed; each was named.
    SomeFailed,
    /// `verify`, `rebuild` or `manifest` found problems.
    Problems,
    /// There is no configuration or no state DB yet.
    NotInitialised,
    /// Another run holds the lock of this root.
    Locked,
    /// Ctrl-C or SIGTERM; what was done is kept and the next run continues.
    Interrupted,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::SomeFailed => 3,
            Self::Problems => 4,
            Self::NotInitialised => 10,
            Self::Locked => 11,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// The table as help and man pages show it.
pub const TABLE: &str = "\
Exit codes:
  0    done
  1    failed
  2    usage
  3    finished, but some files failed
  4    verify, rebuild or manifest found problems
  10   not initialised
  11   locked by another run
  130  interrupted";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_table_lists_every_code() {
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::SomeFailed,
            Exit::Problems,
            Exit::NotInitialised,
            Exit::Locked,
            Exit::Interrupted,
        ];
        let listed: Vec<u8> = TABLE
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().next().expect("a number").parse().expect("u8"))
            .collect();
        assert_eq!(listed, all.map(Exit::code));
    }
}

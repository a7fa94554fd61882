//! Checks of this node's own files: the state DB, the locks, the key file.

use super::{Finding, bad, good, note, warning};
use crate::cli::accounts::Accounts;
use crate::cli::context::Context;
use crate::cli::key_file;
use crate::cli::report;
use crate::config::{Config, GuardAction, GuardPreset, GuardRule};
use crate::guard::admission::Admission;
use crate::state::StateDb;
use std::collections::BTreeSet;

/// The findings, and the state DB if it can be opened.
pub fn check(context: &Context, config: &Config) -> (Vec<Finding>, Option<StateDb>) {
    let mut findings = vec![key(config), rules(config)];
    findings.extend(presets(config));
    let state = match context.state_read_only(config) {
        Ok(state) => state,
        Err(error) => {
            findings.push(bad("state-db", report::one_line(&error)));
            return (findings, None);
        }
    };
    findings.push(match state.check() {
        Ok(()) => good("state-db", format!("sound, node {}", state.node_id())),
        Err(error) => bad("state-db", report::one_line(&error.into())),
    });
    findings.push(unfinished(&state));
    (findings, Some(state))
}

fn key(config: &Config) -> Finding {
    let Some(encryption) = &config.encryption else {
        return note("key", "the store is not encrypted");
    };
    match key_file::read(&encryption.key_file) {
        Ok(key) => {
            let name = hex::encode(key.fingerprint());
            good("key", format!("{name}, readable by its owner only; keep a copy elsewhere"))
        }
        Err(error) => bad("key", report::one_line(&error)),
    }
}

/// Whether the guard would understand its section on this machine.
fn rules(config: &Config) -> Finding {
    let guard = &config.guard;
    match Accounts::read().with_names(|names| Admission::new(guard, names.uid)) {
        Ok(_) if guard.rules.is_empty() && guard.budget.is_none() => {
            note("guard-rules", "none: every program may have files recalled, without a limit")
        }
        Ok(_) => {
            let budget = guard.budget.as_ref().map_or("no budget", |_| "a budget");
            let names: BTreeSet<&str> = guard.rules.iter().map(|rule| rule.name.as_str()).collect();
            good("guard-rules", format!("{} rules, {budget}", names.len()))
        }
        Err(error) => bad("guard-rules", format!("the guard would not start: {error}")),
    }
}

/// What the presets of the guard's rules stand for.
fn presets(config: &Config) -> Vec<Finding> {
    let same = |a: &GuardRule, b: &GuardRule| (&a.name, a.preset) == (&b.name, b.preset);
    let line = |rule: &GuardRule| {
        let preset = GuardPreset::named(rule.preset?)?;
        let action = match rule.action {
            GuardAction::Recall => "recall".to_owned(),
            GuardAction::Deny(errno) => format!("deny ({})", errno.as_str()),
        };
        let whose = if rule.user.is_empty() { "" } else { ", of the users named" };
        let what = format!(
            "rule {:?}: {} is {}{whose}: {action}; {}",
            rule.name,
            preset.name,
            preset.describe(),
            preset.what
        );
        Some(note("guard-preset", what))
    };
    config.guard.rules.chunk_by(same).filter_map(|ways| line(&ways[0])).collect()
}

/// Files in a transient state while no run is at work, or those of the run
/// that is.
fn unfinished(state: &StateDb) -> Finding {
    let counted = state.roots().and_then(|roots| {
        roots.iter().try_fold(0, |sum, root| Ok(sum + state.transient(root.id)?.len()))
    });
    match counted {
        Ok(0) => good("unfinished", "no run ended early"),
        Ok(n) => warning(
            "unfinished",
            format!(
                "{n} files of a run at work, or of one that ended early; the next recovers them"
            ),
        ),
        Err(error) => bad("unfinished", error.to_string()),
    }
}

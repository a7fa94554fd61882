//! Answers each condition of stubbing for one file, without changing anything.
//!
//! The same conditions are checked again, by other code, at the moment of
//! action; this is for a person who asks "why is it not a stub?".

use super::conditions as named;
use super::freshness::is_fresh;
use super::plan::{Planner, state_of};
use super::stubbing::Refusal;
use crate::ids::ChunkId;
use crate::os::lease::WriteLease;
use crate::os::tree::{RootDir, is_leased};
use crate::policy::{FileState, Pin, PolicySet};
use crate::state::{EntryRow, StateDb};
use crate::stub::{self, Expected, Glance, MarkerSpace, Placement};
use crate::units::{Copies, format_size};

/// One condition and its answer; `None` is only known when it is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub condition: &'static str,
    pub holds: Option<bool>,
    pub detail: String,
}

/// What is asked about.
pub struct Question<'a> {
    pub state: &'a StateDb,
    pub policy: &'a PolicySet,
    pub planner: &'a Planner<'a>,
    pub root: &'a RootDir,
    pub row: &'a EntryRow,
    pub now_ns: i64,
    /// Whether a guard watches over the stubs of the root, or why not.
    pub guarded: Result<(), String>,
}

/// Every condition, in the order in which stubbing checks them.
pub fn examine(question: &Question<'_>) -> Vec<Finding> {
    named::ALL.into_iter().map(|condition| answer(question, condition)).collect()
}

fn answer(question: &Question<'_>, condition: &'static str) -> Finding {
    let result = match condition {
        named::NOT_OPEN if is_marked(question) => {
            return unknown(condition, "not asked of a stub: to open it could recall it");
        }
        named::GUARDED => guarded(question),
        named::UPLOADED => uploaded(question),
        named::COPY_PROVEN => copy_proven(question),
        named::SECOND_COPY => second_copy(question),
        named::NOT_PINNED => pin(question, Pin::Pinned, "hsm unpin"),
        named::NOT_EXCLUDED => pin(question, Pin::Excluded, "hsm unpin"),
        named::RULE_MATCHES => rule_matches(question),
        named::LARGE_ENOUGH => large_enough(question),
        named::ONE_NAME => one_name(question),
        named::NOT_RECENTLY_RECALLED => not_recently_recalled(question),
        named::MUTABLE => mutable(question),
        named::NOT_OPEN => not_open(question),
        named::UNCHANGED => unchanged(question),
        _ => return unknown(condition, "hashed again when it is stubbed"),
    };
    match result {
        Ok(detail) => Finding { condition, holds: Some(true), detail },
        Err(detail) => Finding { condition, holds: Some(false), detail },
    }
}

/// Looked at from outside, as no examination may recall a file.
fn is_marked(question: &Question<'_>) -> bool {
    let found = || {
        let fd = question.root.open_path(&question.row.path).ok()?;
        stub::glance(&fd, MarkerSpace::for_this_process()).ok()
    };
    found().is_some_and(|found| found != Glance::Sure(Placement::Resident))
}

fn unknown(condition: &'static str, detail: &str) -> Finding {
    Finding { condition, holds: None, detail: detail.to_owned() }
}

type Answer = Result<String, String>;

fn guarded(question: &Question<'_>) -> Answer {
    match &question.guarded {
        Ok(()) => Ok("a guard watches".into()),
        Err(_) if question.policy.unguarded() => {
            Ok("the policy accepts stubs without a guard".into())
        }
        Err(why) => Err(why.clone()),
    }
}

fn uploaded(question: &Question<'_>) -> Answer {
    match state_of(question.row) {
        FileState::Uploaded => Ok("it is uploaded".into()),
        FileState::Stub => Ok("it is a stub already".into()),
        other => Err(format!("it is {}", other.as_str())),
    }
}

fn copy_proven(question: &Question<'_>) -> Answer {
    let content = question.row.file.as_ref().and_then(|file| file.content);
    let content = content.ok_or("it has no copy")?;
    let text = |error: crate::state::Error| error.to_string();
    let (content, _) =
        question.state.content(content).map_err(text)?.ok_or("its chunk list is missing")?;
    let ids: Vec<ChunkId> = content.chunk_ids().collect();
    let mut stale = 0;
    for (id, place) in ids.iter().zip(question.state.find_lasting_chunks(&ids).map_err(text)?) {
        match place {
            Some(place) if place.evidence.is_some() => {
                stale += u64::from(!is_fresh(place.seen_ns, question.now_ns));
            }
            _ => return Err(format!("chunk {id} is in no proven pack; run hsm verify")),
        }
    }
    Ok(match stale {
        0 => format!("{} chunks in proven packs", ids.len()),
        _ => format!("{} chunks proven; the store is asked again before stubbing", ids.len()),
    })
}

fn second_copy(question: &Question<'_>) -> Answer {
    let text = |error: crate::state::Error| error.to_string();
    let content = question.row.file.as_ref().and_then(|file| file.content);
    let recorded = content.map_or(Ok(Copies::One), |id| question.state.copies_wanted(id));
    let wanted = recorded.map_err(text)?.max(question.planner.copies(question.row));
    if wanted == Copies::One {
        return Ok("one copy is enough for its rule".into());
    }
    let content = content.ok_or("it has no copy")?;
    let (content, _) =
        question.state.content(content).map_err(text)?.ok_or("its chunk list is missing")?;
    let ids: Vec<ChunkId> = content.chunk_ids().collect();
    let places = question.state.find_lasting_chunks(&ids).map_err(text)?;
    let missing = places.iter().filter(|p| p.as_ref().is_none_or(|p| p.second.is_none())).count();
    match missing {
        0 => Ok(format!("{} chunks proven in the second store", ids.len())),
        _ => Err(format!("{missing} chunks wait for their second copy; hsm upload makes it")),
    }
}

fn pin(question: &Question<'_>, forbidden: Pin, mend: &str) -> Answer {
    let own = question.planner.pin(&question.row.path);
    let policy = question.planner.policy_pin(question.row);
    match () {
        () if own == forbidden => Err(format!("it is {own} ({mend})")),
        () if policy == forbidden => Err(format!("it is {policy} by the policy")),
        () => Ok(format!("it is not {forbidden}")),
    }
}

fn rule_matches(question: &Question<'_>) -> Answer {
    match question.planner.tiering_rule(question.row) {
        Ok(name) => Ok(format!("rule {name:?} tiers it")),
        Err(Some(name)) => Err(format!("rule {name:?} matches first and does not tier")),
        Err(None) => Err("no rule matches".into()),
    }
}

fn large_enough(question: &Question<'_>) -> Answer {
    let least = question.policy.defaults().min_stub_size_bytes;
    let size = question.row.size_bytes;
    let text = format!("{}, stubs begin at {}", format_size(size), format_size(least));
    if size >= least && size > 0 { Ok(text) } else { Err(text) }
}

fn one_name(question: &Question<'_>) -> Answer {
    match question.row.nlink {
        1 => Ok("it has one name".into()),
        names => {
            let text = format!("it has {names} names (hard links)");
            match question.planner.tiering_rule(question.row) {
                Ok(_) => Ok(format!("{text}, which the rule allows")),
                Err(_) => Err(format!("{text}; nlink_max in a rule allows that")),
            }
        }
    }
}

fn not_recently_recalled(question: &Question<'_>) -> Answer {
    let Some(recalled_ns) = question.row.file.as_ref().and_then(|file| file.recalled_ns) else {
        return Ok("it was never recalled".into());
    };
    let wait = question.policy.defaults().min_age_after_recall;
    let age_ns = question.now_ns.saturating_sub(recalled_ns).max(0);
    let text = format!(
        "recalled {} ago, stubs wait {}",
        crate::units::format_duration(std::time::Duration::from_nanos(age_ns.unsigned_abs())),
        crate::units::format_duration(wait)
    );
    if i128::from(age_ns) >= wait.as_nanos().cast_signed() { Ok(text) } else { Err(text) }
}

fn mutable(question: &Question<'_>) -> Answer {
    let stat = question.root.stat(&question.row.path).map_err(|error| error.to_string())?;
    named::mutable(&stat)
        .map(|()| "it may be changed".into())
        .map_err(|Refusal { detail, .. }| detail)
}

fn not_open(question: &Question<'_>) -> Answer {
    let file = question.root.open_read(&question.row.path).map_err(|error| match error {
        error if is_leased(&error) => named::LEASED.to_owned(),
        error => error.to_string(),
    })?;
    match WriteLease::acquire(&file) {
        Ok(Some(_)) => Ok("no program has it open".into()),
        Ok(None) => Err("a program has it open or mapped".into()),
        Err(error) => Err(format!("no lease to be had: {error}")),
    }
}

fn unchanged(question: &Question<'_>) -> Answer {
    let Some(file) = question.row.file.as_ref() else { return Err("it was never uploaded".into()) };
    let expected = Expected {
        ident: file.ident,
        size_bytes: file.size_bytes,
        mtime_ns: file.mtime_ns,
        ctime_ns: file.ctime_ns,
    };
    let fd = question.root.open_path(&question.row.path).map_err(|error| error.to_string())?;
    stub::check_unchanged(&fd, &expected)
        .map(|()| "as it was uploaded".into())
        .map_err(|changed| changed.to_string())
}

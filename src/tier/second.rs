//! The second copies that rules ask for: which contents, and the packs that lack one.
//!
//! An upload puts the packs of such files into both stores while it has their bytes.
//! What is left comes here, before anything is stubbed: packs of one copy that a
//! deduplicated file relies on, files whose rule was raised, and whatever the second
//! store missed while it was away. Its trouble never stops a run: files wait, the run
//! says how many, and none of them becomes a stub meanwhile.

use super::Error;
use crate::ids::{ContentId, PackId};
use crate::monitor::Phase;
use crate::site::guard::causes;
use crate::site::{Site, mirror, second};
use crate::state::EntryRow;
use crate::units::Copies;
use std::collections::{BTreeSet, HashSet};

/// Contents looked at in one transaction.
const BATCH: usize = 1000;

/// What was done for second copies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecondStats {
    pub copied_packs: u64,
    pub copied_bytes: u64,
    /// Files that still wait, in all roots.
    pub waiting_files: u64,
    /// The logs could not be brought to the second store, or contradict it.
    pub log_behind: bool,
}

/// Writes down of which of these files two copies are wanted.
pub fn want(
    site: &mut Site<'_>,
    entries: impl Iterator<Item = Result<EntryRow, Error>>,
    copies: &dyn Fn(&EntryRow) -> Copies,
) -> Result<(), Error> {
    let mut wanted: Vec<ContentId> = vec![];
    for entry in entries {
        let entry = entry?;
        let Some(content) = entry.file.as_ref().and_then(|file| file.content) else { continue };
        if copies(&entry) == Copies::Two && site.state.copies_wanted(content)? == Copies::One {
            wanted.push(content);
        }
        if wanted.len() >= BATCH {
            site.state.want_twice(&std::mem::take(&mut wanted))?;
        }
    }
    site.state.want_twice(&wanted)?;
    crate::fault::point("second.wanted");
    Ok(())
}

/// Makes the second copies that are missing, then brings the logs over. Where no rule
/// wants two copies, what is there already has its logs brought up to date.
pub fn replicate(site: &mut Site<'_>, is_wanted: bool) -> Result<SecondStats, Error> {
    let mut stats = SecondStats::default();
    if let Some(why) = site.second.as_ref().and_then(|second| second.away.clone()) {
        site.monitor.notice(&format!("the second store is not used in this run: {why}"));
    }
    site.state.drop_unwanted()?;
    site.monitor.begin(Phase::Uploading, 0, 0);
    let copied = copy_waiting(site, &mut stats);
    site.monitor.end();
    copied?;
    let is_behind = !mirror_logs(site);
    stats.log_behind = is_wanted && is_behind;
    stats.waiting_files = site.state.waiting_for_second()?.files;
    Ok(stats)
}

fn copy_waiting(site: &mut Site<'_>, stats: &mut SecondStats) -> Result<(), Error> {
    let mut failed: HashSet<PackId> = HashSet::new();
    let mut after = None;
    loop {
        let contents = site.state.waiting_contents(after, BATCH)?;
        let Some(last) = contents.last() else { return Ok(()) };
        after = Some(*last);
        let mut held = vec![];
        for content in contents {
            if site.stop.requested() {
                break;
            }
            if copy_content(site, content, &mut failed, stats)? {
                held.push(content);
            }
        }
        site.state.set_held(&held, true)?;
        crate::fault::point("second.held");
        if site.stop.requested() {
            return Ok(());
        }
    }
}

/// True once every pack of the content has its second copy.
fn copy_content(
    site: &mut Site<'_>,
    id: ContentId,
    failed: &mut HashSet<PackId>,
    stats: &mut SecondStats,
) -> Result<bool, Error> {
    let Some((content, _)) = site.state.content(id)? else { return Ok(false) };
    let ids: Vec<_> = content.chunk_ids().collect();
    let (mut lacking, mut whole) = (BTreeSet::new(), true);
    for place in site.state.find_lasting_chunks(&ids)? {
        match place {
            Some(place) if place.second.is_none() => drop(lacking.insert(place.pack)),
            Some(_) => {}
            None => whole = false,
        }
    }
    for pack in lacking {
        if failed.contains(&pack) || site.second_here().is_none() || site.stop.requested() {
            whole = false;
            continue;
        }
        match site.copy_to_second(pack) {
            Ok(sent_bytes) => {
                stats.copied_packs += u64::from(sent_bytes > 0);
                stats.copied_bytes += sent_bytes;
                site.monitor.advance(0, sent_bytes);
            }
            Err(second::Error::State(error)) => return Err(error.into()),
            Err(error) => {
                whole = false;
                failed.insert(pack);
                give_up(site, &error);
            }
        }
    }
    Ok(whole)
}

fn give_up(site: &mut Site<'_>, error: &second::Error) {
    let why = causes(error).join(": ");
    match error {
        second::Error::Second { source, .. } if second::is_of_store(source) => {
            site.second_is_away(&why);
        }
        _ => site.monitor.notice(&format!("no second copy: {why}")),
    }
}

/// Brings the logs to the second store; false where it has not all of them now. Then
/// nothing counts as being in both stores for the rest of the run.
pub fn mirror_logs(site: &mut Site<'_>) -> bool {
    if site.second_here().is_none() {
        return site.second.is_none();
    }
    match mirror::mirror(site) {
        Ok(done) => {
            let Some(first) = done.astray.first() else { return true };
            let others = done.astray.len() - 1;
            site.second_is_away(&format!(
                "its {first} (and {others} more) is not what the first store has: was one of \
                 the two put back from a backup? See docs/SECOND-STORE.md"
            ));
            false
        }
        Err(error) => {
            let why = causes(&error).join(": ");
            site.second_is_away(&format!("bring the logs there: {why}"));
            false
        }
    }
}

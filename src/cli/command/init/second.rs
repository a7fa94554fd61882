//! The second store of `hsm init --second-store`: makes it or goes on with it.
//!
//! It gets the first store's descriptor with a mark of its own, by which every later
//! run knows it. An empty place where a second store is known to have been is refused:
//! it is likelier not mounted than meant to begin anew, and `--anew` says so.

use super::InitArgs;
use super::checks::Plan;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::second::{self, Known, SETTING, belongs};
use crate::config::{Checksums, Config, StoreSection};
use crate::ids::CopyId;
use crate::manifest::StoreDescriptor;
use crate::state::StateDb;
use crate::store::{self, DESCRIPTOR_KEY, ErrorKind, Key, PutOptions, Store};

/// What `init` is to do about a second store.
pub struct PlannedSecond {
    pub section: StoreSection,
    /// The configuration does not name it yet.
    pub is_new: bool,
    pub anew: bool,
}

pub fn plan(args: &InitArgs, written: Option<&Config>) -> Result<Option<PlannedSecond>, Error> {
    let Some(url) = &args.second_store else { return Ok(None) };
    let anew = args.anew;
    match written.and_then(|config| config.second_store.as_ref()) {
        Some(section) if section.url == *url => {
            Ok(Some(PlannedSecond { section: section.clone(), is_new: false, anew }))
        }
        Some(section) => Err(Error::refused(
            format!("the configuration names another second store: {}", section.url),
            "hsm init --second-store with that URL; or change [second_store] first",
        )),
        None => Ok(Some(PlannedSecond { section: section(url), is_new: true, anew })),
    }
}

fn section(url: &str) -> StoreSection {
    StoreSection {
        url: url.to_owned(),
        endpoint: None,
        region: None,
        path_style: false,
        storage_class: None,
        sse: None,
        checksums: Checksums::Always,
        bandwidth: None,
        concurrency: None,
        dedup_across_nodes: true,
        profile: None,
    }
}

/// Makes the second store, or joins it; true if it was made. The state DB knows it on
/// return.
pub fn settle(
    context: &Context,
    plan: &Plan,
    first: &StoreDescriptor,
    state: &mut StateDb,
) -> Result<Option<bool>, Error> {
    let Some(planned) = &plan.second else { return Ok(None) };
    let known = second::known(state)?;
    let mut options = second::options(&planned.section, &context.stop);
    options.create = known.is_none() || planned.anew;
    let store = store::open(&options)?;
    let (copy, made) = descriptor(context, planned, &*store, first, known.as_ref())?;
    let capabilities = store::probe(&*store, context.now_ns())?;
    if known.is_none_or(|known| known.copy != copy) {
        // What was proven was proven elsewhere.
        state.forget_all_seconds()?;
    }
    let known = Known { copy, capabilities };
    let text = serde_json::to_string(&known).expect("ids and flags make JSON");
    state.set_setting(SETTING, &text)?;
    Ok(Some(made))
}

fn descriptor(
    context: &Context,
    planned: &PlannedSecond,
    store: &dyn Store,
    first: &StoreDescriptor,
    known: Option<&Known>,
) -> Result<(CopyId, bool), Error> {
    let key = Key::new(DESCRIPTOR_KEY).expect("the descriptor's key is a key");
    let url = &planned.section.url;
    let join = |bytes: &[u8]| {
        let descriptor = StoreDescriptor::parse(bytes)?;
        match (belongs(&descriptor, first.store_id), descriptor.copy) {
            (Ok(()), Some(copy)) => Ok(copy),
            (Err(why), _) => {
                Err(Error::refused(format!("{url}: {why}"), "an empty place for the second store"))
            }
            (Ok(()), None) => unreachable!("what belongs has a mark"),
        }
    };
    match store.get(&key, None) {
        Ok(bytes) => return Ok((join(&bytes)?, false)),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    if known.is_some() && !planned.anew {
        let what = format!("{url} is empty, but a second store was begun before");
        let hint = "mount it; or, if what was in it is lost, hsm init --second-store URL --anew";
        return Err(Error::refused(what, hint));
    }
    let made = StoreDescriptor { created_ns: context.now_ns(), ..first.copied(CopyId::fresh()) };
    let options = PutOptions { create_new: true, ..PutOptions::default() };
    match store.put(&key, made.encode().into(), &options) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    let copy = join(&store.get(&key, None)?)?;
    Ok((copy, Some(copy) == made.copy))
}

//! The writing half of `init`, one durable step after the other; each is
//! harmless when it is found done already.

use super::checks::Plan;
use super::{config_file, second};
use crate::chunk::{Chunking, MasterKey};
use crate::cli::context::{self, CAPABILITIES_SETTING, Context};
use crate::cli::error::Error;
use crate::cli::key_file;
use crate::cli::output::escaped_path;
use crate::config::ChunkingSection;
use crate::ids::{NodeId, StoreId};
use crate::manifest::StoreDescriptor;
use crate::os::lock::RunLock;
use crate::os::private;
use crate::state::StateDb;
use crate::store::{self, DESCRIPTOR_KEY, ErrorKind, Key, PutOptions, Store};
use std::path::Path;

/// What came of it.
pub struct Done {
    pub store_id: StoreId,
    pub node_id: NodeId,
    pub made_store: bool,
    pub made_key: bool,
    /// `None` where there is no second store.
    pub made_second: Option<bool>,
}

/// Keeps a second `init` of this state directory out; take it before the plan
/// that is executed is made.
pub fn lock(plan: &Plan) -> Result<RunLock, Error> {
    let locks = plan.state_dir.join("locks");
    for dir in [&plan.state_dir, &locks] {
        private::make_dir(dir).map_err(Error::io("make the directory", dir))?;
    }
    context::acquire(&locks.join("init.lock"))
}

pub fn execute(context: &Context, plan: &Plan) -> Result<Done, Error> {
    let mut options = context.store_options(&plan.store);
    // A store that is known to exist is never made again: a directory that is
    // missing or empty now is one that is not mounted.
    let is_known = context::state_file(&plan.state_dir).exists();
    options.create = !is_known;
    let store = store::open(&options)?;
    let settled = settle_descriptor(context, plan, &*store, is_known)?;
    let capabilities = store::probe(&*store, context.now_ns())?;
    let mut state = settle_state(context, plan, settled.descriptor.store_id)?;
    let text = serde_json::to_string(&capabilities).expect("flags make JSON");
    state.set_setting(CAPABILITIES_SETTING, &text)?;
    let made_second = second::settle(context, plan, &settled.descriptor, &mut state)?;
    for root in &plan.new_roots {
        state.add_root(&root.path, &root.identity, context.now_ns())?;
    }
    make_dir(&plan.policy_dir)?;
    config_file::settle(plan)?;
    Ok(Done {
        store_id: settled.descriptor.store_id,
        node_id: state.node_id(),
        made_store: settled.made_store,
        made_key: settled.made_key,
        made_second,
    })
}

struct Settled {
    descriptor: StoreDescriptor,
    made_store: bool,
    made_key: bool,
}

/// Joins the store that is there, or makes one. Two first runs that race end
/// up in the one store whose descriptor was written first.
fn settle_descriptor(
    context: &Context,
    plan: &Plan,
    store: &dyn Store,
    is_known: bool,
) -> Result<Settled, Error> {
    let key = Key::new(DESCRIPTOR_KEY).expect("the descriptor's key is a key");
    match store.get(&key, None) {
        Ok(bytes) => return join(plan, &bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    if is_known {
        return Err(Error::refused(
            format!("{} is empty, but the state DB belongs to a store", plan.store.url),
            "mount the store; or move the state DB aside to begin with an empty one",
        ));
    }
    let (master, made_key) = settle_key(plan)?;
    let descriptor = StoreDescriptor::new(
        StoreId::fresh(),
        context.now_ns(),
        Chunking::Fixed { size_bytes: chunk_bytes(plan) },
        master.as_ref(),
    );
    let options = PutOptions { create_new: true, ..PutOptions::default() };
    match store.put(&key, descriptor.encode().into(), &options) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return join(plan, &store.get(&key, None)?);
        }
        Err(error) => return Err(error.into()),
    }
    // A store that ignores the condition may have kept another's: look.
    let kept = StoreDescriptor::parse(&store.get(&key, None)?)?;
    kept.protection(master.as_ref())?;
    Ok(Settled { made_store: kept.store_id == descriptor.store_id, descriptor: kept, made_key })
}

fn join(plan: &Plan, bytes: &[u8]) -> Result<Settled, Error> {
    let descriptor = StoreDescriptor::parse(bytes)?;
    if descriptor.copy.is_some() {
        return Err(Error::refused(
            format!("{} is a second store of another one", plan.store.url),
            "the first store, or an empty place",
        ));
    }
    let master = match &plan.key_file {
        Some(_) if plan.make_key => None,
        Some(path) => Some(key_file::read(path)?),
        None => None,
    };
    if plan.key_file.is_some() && descriptor.key_check.is_none() {
        return Err(Error::refused(
            format!("the store {} exists and is not encrypted", plan.store.url),
            "hsm init without --encrypt and --key-file, or another store",
        ));
    }
    descriptor.protection(master.as_ref())?;
    Ok(Settled { descriptor, made_store: false, made_key: false })
}

fn settle_key(plan: &Plan) -> Result<(Option<MasterKey>, bool), Error> {
    let Some(path) = &plan.key_file else { return Ok((None, false)) };
    if !plan.make_key {
        return Ok((Some(key_file::read(path)?), false));
    }
    make_dir(path.parent().unwrap_or(Path::new("/")))?;
    Ok((Some(key_file::create(path)?), true))
}

/// Opens the state DB or makes it; one of another store is refused.
fn settle_state(context: &Context, plan: &Plan, store_id: StoreId) -> Result<StateDb, Error> {
    let path = context::state_file(&plan.state_dir);
    if !path.exists() {
        return Ok(StateDb::create(&path, store_id, NodeId::fresh(), context.now_ns())?);
    }
    let state = StateDb::open(&path)?;
    if state.store_id() != store_id {
        let what = format!(
            "the state DB {} belongs to the store {}, not to {store_id}",
            escaped_path(&path),
            state.store_id()
        );
        return Err(Error::refused(what, "the store it belongs to, or another --state-dir"));
    }
    Ok(state)
}

/// The configuration's chunk size, for a store made after it was edited.
fn chunk_bytes(plan: &Plan) -> u32 {
    plan.written
        .as_ref()
        .map_or(ChunkingSection::default(), |config| config.chunking.clone())
        .size_bytes
}

fn make_dir(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(Error::io("make the directory", path))
}

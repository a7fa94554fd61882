//! Opens everything an operation works with: configuration, locks, state DB,
//! store, keys.
//!
//! The store's descriptor is read before anything else is asked of it: a store
//! that is not the one this state DB belongs to, or whose key is missing or
//! wrong, stops the command before it can do harm.

use super::context::{self, Context};
use super::error::Error;
use super::key_file;
use super::report;
use super::second;
use crate::catalog::CatalogDb;
use crate::chunk::{Chunking, Protection};
use crate::config::{Config, OfflineBit};
use crate::errand::Errand;
use crate::ids::{NodeId, StoreId};
use crate::manifest::StoreDescriptor;
use crate::os::{private, process};
use crate::site::{Ground, Guard, Leases, Site};
use crate::state::{RootRow, StateDb};
use crate::store::{self, Capabilities, DESCRIPTOR_KEY, ErrorKind, Key, Store, StoreOptions};
use std::path::Path;

/// Whether a command writes the catalog. This node's log has one writer at a
/// time, so such commands exclude each other also on different roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Catalog {
    Written,
    Untouched,
}

/// Runs `work` on the opened site, with the roots locked for this run.
pub fn with_site<T>(
    context: &Context,
    config: &Config,
    roots: &[RootRow],
    catalog: Catalog,
    work: impl FnOnce(&mut Site<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let _locks = context.lock(config, roots)?;
    let _catalog = match catalog {
        Catalog::Written => Some(context::acquire(&config.state_dir.join("locks/catalog.lock"))?),
        Catalog::Untouched => None,
    };
    let mut guard = context.guard(config)?;
    let state = context.state(config)?;
    let second = second::open(config, &state, &context.stop)?;
    let (store, descriptor) = match first(context, config, &state) {
        Ok(first) => first,
        // A writer needs the first store, and is told what is wrong with it.
        Err(error) if catalog == Catalog::Written => return Err(error),
        Err(error) => second::stand_in(context, config, second.as_ref(), error)?,
    };
    let protection = protection(config, &*store, &descriptor, state.store_id())?;
    let capabilities = context::capabilities(&state)?.unwrap_or_default();
    let cores = process::available_cores();
    let mut site = Site {
        store_id: state.store_id(),
        node_id: state.node_id(),
        state_path: context::state_file(&config.state_dir),
        state,
        store: &*store,
        second: second.as_ref().map(|second| second.open.second()),
        capabilities,
        protection: &protection,
        monitor: &context.progress,
        stop: context.stop.clone(),
        errand: Errand::new(context.stop.clone()),
        clock: context.clock,
        workers: config.upload.threads.unwrap_or(cores).max(1),
        memory_bytes: config.upload.memory_bytes,
        connections: config.store.concurrency.unwrap_or(4).max(1),
        offline: config.samba.offline,
        custody: &Leases,
        guard: guard.as_mut().map(|guard| guard as &mut dyn Guard),
    };
    let done = work(&mut site);
    if let Err(error) = &done
        && report::is_damaged_copy(error)
        && let Err(error) = CatalogDb::discard(&site.catalog_path())
    {
        tracing::warn!("the damaged copy of the catalog stays: {error}");
    }
    done
}

/// Where a store is, on a machine that may know nothing else of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct StorePlace<'a> {
    pub url: &'a str,
    pub key: Option<&'a Path>,
    /// Of an S3 store; what is not given is the configuration's, if that is of the
    /// same store, or the AWS chain's.
    pub endpoint: Option<&'a str>,
    pub region: Option<&'a str>,
    pub path_style: bool,
}

/// A site for what only reads the store, such as a restore: that of the
/// configuration, whether or not its state DB is still there, or that of `place` on a
/// machine that may know nothing else. No root is locked. Without a state DB of this
/// server an empty one is made for this run.
pub fn with_reading_site<T>(
    context: &Context,
    place: Option<StorePlace<'_>>,
    work: impl FnOnce(&mut Site<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let Some(place) = place else {
        let config = context.config()?;
        if context::state_file(&config.state_dir).try_exists().unwrap_or(true) {
            return with_site(context, &config, &[], Catalog::Untouched, work);
        }
        let key = config.encryption.as_ref().map(|section| section.key_file.as_path());
        let place = StorePlace { url: &config.store.url, key, ..StorePlace::default() };
        return with_reading_site(context, Some(place), work);
    };
    with_store(context, place, |store, protection, store_id| {
        let dir =
            private::temporary_dir("hsm-").map_err(Error::io("make", &std::env::temp_dir()))?;
        let state_path = context::state_file(dir.path());
        let node_id = NodeId::fresh();
        let state = StateDb::create(&state_path, store_id, node_id, context.now_ns())?;
        let cores = process::available_cores();
        work(&mut Site {
            store_id,
            node_id,
            state_path,
            state,
            store,
            second: None,
            capabilities: Capabilities::default(),
            protection,
            monitor: &context.progress,
            stop: context.stop.clone(),
            errand: Errand::new(context.stop.clone()),
            clock: context.clock,
            workers: cores,
            memory_bytes: 256 << 20,
            connections: 8,
            offline: OfflineBit::default(),
            custody: &Leases,
            guard: None,
        })
    })
}

/// The same without the store, for what only looks at the tree.
pub fn with_ground<T>(
    context: &Context,
    config: &Config,
    roots: &[RootRow],
    work: impl FnOnce(&mut Ground<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let _locks = context.lock(config, roots)?;
    let mut guard = context.guard(config)?;
    let mut state = context.state(config)?;
    work(&mut Ground {
        state: &mut state,
        monitor: &context.progress,
        stop: &context.stop,
        clock: context.clock,
        custody: &Leases,
        guard: guard.as_mut().map(|guard| guard as &mut dyn Guard),
    })
}

/// A store alone, named by URL, on a machine that may know nothing else of it.
pub fn with_store<T>(
    context: &Context,
    place: StorePlace<'_>,
    work: impl FnOnce(&dyn Store, &Protection, StoreId) -> Result<T, Error>,
) -> Result<T, Error> {
    let configured = context.config().ok().and_then(|config| {
        let options = match &config.second_store {
            _ if config.store.url == place.url => context.store_options(&config.store),
            Some(second) if second.url == place.url => second::options(second, &context.stop),
            _ => return None,
        };
        Some((options, config.encryption))
    });
    let (mut options, encryption) = configured.unwrap_or_else(|| {
        let stop = context.stop.clone();
        (StoreOptions { stop, ..StoreOptions::new(place.url) }, None)
    });
    options.endpoint = place.endpoint.map(str::to_owned).or(options.endpoint);
    options.region = place.region.map(str::to_owned).or(options.region);
    options.path_style = place.path_style.then_some(true).or(options.path_style);
    let store = store::open(&options)?;
    let descriptor = descriptor(&*store)?;
    // Who has the key of this store knows that it is encrypted, whatever it says.
    let key = place.key.or(encryption.as_ref().map(|section| section.key_file.as_path()));
    let master = key.map(key_file::read).transpose()?;
    let protection = descriptor.protection(master.as_ref())?;
    work(&*store, &protection, descriptor.store_id)
}

/// The store's own description. Without one there is no store: an empty mount
/// point, or a URL that leads elsewhere, and never a store that lost something.
pub fn descriptor(store: &dyn Store) -> Result<StoreDescriptor, Error> {
    let key = Key::new(DESCRIPTOR_KEY).expect("the descriptor's key is a key");
    match store.get(&key, None) {
        Ok(bytes) => Ok(StoreDescriptor::parse(&bytes)?),
        Err(error) if error.is_not_found() => Err(no_store(store).into()),
        Err(error) => Err(error.into()),
    }
}

/// What a place without a descriptor is.
pub fn no_store(store: &dyn Store) -> store::Error {
    store::Error::new(ErrorKind::Unreachable, "get", DESCRIPTOR_KEY, store.location())
        .with_detail("there is no hsm store here: is its file system mounted? is its URL right?")
}

/// The first store of the configuration with its description.
fn first(
    context: &Context,
    config: &Config,
    state: &StateDb,
) -> Result<(Box<dyn Store>, StoreDescriptor), Error> {
    let store = context.store(config, Some(state))?;
    let descriptor = descriptor(&*store)?;
    require_first(&*store, &descriptor)?;
    Ok((store, descriptor))
}

/// What was written into a second store alone would be nowhere else.
pub fn require_first(store: &dyn Store, descriptor: &StoreDescriptor) -> Result<(), Error> {
    if descriptor.copy.is_none() {
        return Ok(());
    }
    let what = format!("{} is a second store, not a first one", store.location());
    Err(Error::refused(what, "correct store.url in the configuration"))
}

/// The keys of the store; an error if it is another store than `expected`.
pub fn protection(
    config: &Config,
    store: &dyn Store,
    descriptor: &StoreDescriptor,
    expected: StoreId,
) -> Result<Protection, Error> {
    if descriptor.store_id != expected {
        let what = format!(
            "{} is the store {}, but this state DB belongs to the store {expected}",
            store.location(),
            descriptor.store_id
        );
        return Err(Error::refused(what, "correct store.url in the configuration"));
    }
    let master = match &config.encryption {
        Some(section) => Some(key_file::read(&section.key_file)?),
        None => None,
    };
    Ok(descriptor.protection(master.as_ref())?)
}

/// How files are cut where no rule says otherwise.
pub fn chunking(config: &Config) -> Chunking {
    Chunking::Fixed { size_bytes: config.chunking.size_bytes }
}

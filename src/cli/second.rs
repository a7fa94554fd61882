//! Opens the second store, or stands something in for it.
//!
//! Nothing that is wrong with the second store keeps a command from the first: it is
//! told, and nothing is put into it or concluded from it. It is known by its own mark
//! in its descriptor, which the state DB has, too: an empty mount point, another store
//! and a second store that was begun anew are never taken for it.
//!
//! Where the first store cannot be reached and the second can, what only reads goes on
//! with the second.

use super::context::{self, Context};
use super::error::Error;
use super::opened;
use crate::config::{Config, StoreSection};
use crate::ids::{CopyId, StoreId};
use crate::manifest::StoreDescriptor;
use crate::monitor::Stop;
use crate::site::second::OpenSecond;
use crate::state::StateDb;
use crate::store::{self, AbsentStore, AccessKey, Capabilities, Store, StoreOptions, Variables};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::sync::Arc;

/// The state DB's setting that names the second store, as JSON of [`Known`].
pub const SETTING: &str = "second_store";

/// Before the name of each variable that is for the second store.
const PREFIX: &str = "HSM_SECOND_";
const KEY_ID: &str = "HSM_SECOND_AWS_ACCESS_KEY_ID";
const SECRET: &str = "HSM_SECOND_AWS_SECRET_ACCESS_KEY";
const TOKEN: &str = "HSM_SECOND_AWS_SESSION_TOKEN";

/// The second store as `hsm init` found it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Known {
    pub copy: CopyId,
    pub capabilities: Capabilities,
}

/// What the state DB knows of the second store.
pub fn known(state: &StateDb) -> Result<Option<Known>, Error> {
    Ok(state.setting(SETTING)?.and_then(|text| serde_json::from_str(&text).ok()))
}

/// A second store that is open, or what stands in for it.
pub struct Opened {
    pub open: OpenSecond,
    descriptor: Option<StoreDescriptor>,
}

/// The options of the second store: credentials of its own where the environment has
/// them.
pub fn options(section: &StoreSection, stop: &Stop) -> StoreOptions {
    let mut options = context::store_options(section, stop);
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let (Some(id), Some(secret)) = (set(KEY_ID), set(SECRET)) {
        options.access_key = Some(AccessKey { id, secret });
        options.session_token = set(TOKEN);
    }
    let own = |(name, value): (OsString, OsString)| {
        Some((name.to_str()?.strip_prefix(PREFIX)?.into(), value))
    };
    let variables = Variables::among(std::env::vars_os().filter_map(own));
    if !variables.is_empty() {
        options.variables = variables;
    }
    options
}

/// The second store of the configuration, if it names one.
pub fn open(config: &Config, state: &StateDb, stop: &Stop) -> Result<Option<Opened>, Error> {
    let Some(section) = &config.second_store else { return Ok(None) };
    let known = known(state)?;
    let store_id = state.store_id();
    Ok(Some(match try_open(section, known.as_ref(), store_id, stop) {
        Ok((store, descriptor)) => {
            let capabilities = known.map(|known| known.capabilities).unwrap_or_default();
            let memory = Arc::default();
            Opened {
                open: OpenSecond { store, capabilities, away: None, memory },
                descriptor: Some(descriptor),
            }
        }
        Err(why) => {
            let store = Box::new(AbsentStore::new(section.url.as_str(), why.as_str()));
            let (capabilities, memory) = (Capabilities::default(), Arc::default());
            let open = OpenSecond { store, capabilities, away: Some(why), memory };
            Opened { open, descriptor: None }
        }
    }))
}

fn try_open(
    section: &StoreSection,
    known: Option<&Known>,
    store_id: StoreId,
    stop: &Stop,
) -> Result<(Box<dyn Store>, StoreDescriptor), String> {
    let Some(known) = known else {
        return Err(format!("it was never begun; run hsm init --second-store {}", section.url));
    };
    let mut options = options(section, stop);
    options.conditional_create = Some(known.capabilities.conditional_create);
    let store = store::open(&options).map_err(|error| error.to_string())?;
    let descriptor = opened::descriptor(&*store).map_err(|error| error.to_string())?;
    belongs(&descriptor, store_id)?;
    match descriptor.copy {
        Some(copy) if copy == known.copy => Ok((store, descriptor)),
        _ => Err(format!(
            "{} is another second store than before; run hsm init --second-store {} to go on with it",
            section.url, section.url
        )),
    }
}

/// Whether this is a second store beside the store with this id.
pub fn belongs(descriptor: &StoreDescriptor, store_id: StoreId) -> Result<(), String> {
    let is = descriptor.store_id;
    match descriptor.copy {
        _ if is != store_id => {
            Err(format!("it belongs to the store {is}, and this server to the store {store_id}"))
        }
        None => Err("it is a first store, and cannot be a second one as well".to_owned()),
        Some(_) => Ok(()),
    }
}

/// The first store for what only reads, where it cannot be opened: `error` says why.
/// Without a second store that can be read instead, that is the end.
pub fn stand_in(
    context: &Context,
    config: &Config,
    second: Option<&Opened>,
    error: Error,
) -> Result<(Box<dyn Store>, StoreDescriptor), Error> {
    let Some((store, descriptor)) = stand_in_quietly(config, second, &error) else {
        return Err(error);
    };
    context.progress.warn(&format!("only the second store is read: {}", told(&error)));
    Ok((store, descriptor))
}

/// The same where nobody is to be told yet.
pub fn stand_in_quietly(
    config: &Config,
    second: Option<&Opened>,
    error: &Error,
) -> Option<(Box<dyn Store>, StoreDescriptor)> {
    let Error::Store(source) = error else { return None };
    if source.kind() == store::ErrorKind::Stopped {
        return None;
    }
    let descriptor = second?.descriptor.clone()?;
    Some((Box::new(AbsentStore::new(config.store.url.as_str(), told(error))), descriptor))
}

fn told(error: &Error) -> String {
    super::report::lines(error).first().cloned().unwrap_or_else(|| error.to_string())
}

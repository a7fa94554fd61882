//! What `init` is going to do, decided before anything is written: reads the
//! configuration and the state DB that may be there, opens the roots, refuses
//! what cannot work.

use super::InitArgs;
use super::paths::{self, Own};
use super::second::PlannedSecond;
use crate::cli::context::{self, Context};
use crate::cli::error::Error;
use crate::cli::locate;
use crate::cli::output::escaped_path;
use crate::config::{Checksums, Config, StoreSection};
use crate::os::RootDir;
use crate::state::StateDb;
use std::path::{Path, PathBuf};

/// Everything that `execute` needs to know.
pub struct Plan {
    pub config_file: PathBuf,
    /// The configuration that is there already.
    pub written: Option<Config>,
    pub store: StoreSection,
    pub second: Option<PlannedSecond>,
    pub state_dir: PathBuf,
    pub policy_dir: PathBuf,
    /// Where the key is or will be; `None` for a store without encryption.
    pub key_file: Option<PathBuf>,
    /// `--encrypt` was given and the key file does not exist.
    pub make_key: bool,
    pub new_roots: Vec<NewRoot>,
    pub known_roots: Vec<PathBuf>,
}

#[derive(Debug)]
pub struct NewRoot {
    pub path: PathBuf,
    pub identity: String,
}

pub fn plan(context: &Context, args: &InitArgs) -> Result<Plan, Error> {
    let paths = context.paths();
    let written = match context.config() {
        Ok(config) => Some(config),
        Err(Error::NotInitialised(_)) => None,
        Err(error) => return Err(error),
    };
    let state_dir = state_dir(args, written.as_ref(), &paths.state_dir)?;
    let store = store_section(args, written.as_ref(), &state_dir)?;
    let key_file = key_file(args, written.as_ref(), &paths.config_file)?;
    let make_key = args.encrypt && key_file.as_ref().is_some_and(|key| !key.exists());
    let policy_dir = written.as_ref().map_or(paths.policy_dir, |config| config.policy_dir.clone());
    let second = super::second::plan(args, written.as_ref())?;
    let mut plan = Plan {
        config_file: std::path::absolute(&paths.config_file)
            .map_err(Error::io("make absolute", &paths.config_file))?,
        written,
        store,
        second,
        state_dir,
        policy_dir,
        key_file,
        make_key,
        new_roots: Vec::new(),
        known_roots: Vec::new(),
    };
    add_roots(&mut plan, &args.roots)?;
    if plan.second.is_some() {
        super::config_file::check(&plan)?;
    }
    Ok(plan)
}

fn state_dir(args: &InitArgs, written: Option<&Config>, default: &Path) -> Result<PathBuf, Error> {
    match (&args.state_dir, written) {
        (Some(named), Some(config)) if locate::resolve(named)? != config.state_dir => {
            Err(contradiction("state directory", &escaped_path(&config.state_dir)))
        }
        (_, Some(config)) => Ok(config.state_dir.clone()),
        (Some(named), None) => locate::resolve(named),
        (None, None) => locate::resolve(default),
    }
}

fn store_section(
    args: &InitArgs,
    written: Option<&Config>,
    state_dir: &Path,
) -> Result<StoreSection, Error> {
    if let Some(config) = written {
        return match &args.store {
            Some(url) if *url != config.store.url => Err(contradiction("store", &config.store.url)),
            _ => Ok(config.store.clone()),
        };
    }
    let embedded = || format!("file://{}", state_dir.join("store").display());
    let url = args.store.clone().unwrap_or_else(embedded);
    Ok(StoreSection {
        url,
        endpoint: args.endpoint.clone(),
        region: args.region.clone(),
        path_style: args.path_style,
        storage_class: None,
        sse: None,
        checksums: Checksums::Always,
        bandwidth: None,
        concurrency: None,
        dedup_across_nodes: true,
        profile: None,
    })
}

/// `--encrypt` alone makes `store.key` beside the configuration.
fn key_file(
    args: &InitArgs,
    written: Option<&Config>,
    config_file: &Path,
) -> Result<Option<PathBuf>, Error> {
    if let Some(config) = written {
        let key_file = config.encryption.as_ref().map(|encryption| encryption.key_file.clone());
        return match (&key_file, args.encrypt || args.key_file.is_some()) {
            (None, true) => Err(contradiction("encryption", "none")),
            _ => Ok(key_file),
        };
    }
    let named = args.key_file.as_deref().map(locate::resolve).transpose()?;
    match (named, args.encrypt) {
        (Some(named), false) if !named.exists() => Err(Error::refused(
            format!("there is no key file {}", escaped_path(&named)),
            "the key file of this store, or --encrypt to make a new one",
        )),
        (Some(named), _) => Ok(Some(named)),
        (None, true) => locate::resolve(&config_file.with_file_name("store.key")).map(Some),
        (None, false) => Ok(None),
    }
}

fn contradiction(what: &str, current: &str) -> Error {
    Error::refused(
        format!("the configuration says otherwise: its {what} is {current}"),
        "hsm init without that option, or --config FILE for another configuration",
    )
}

fn add_roots(plan: &mut Plan, named: &[PathBuf]) -> Result<(), Error> {
    let mut all = recorded_roots(&plan.state_dir)?;
    let recorded = all.clone();
    for root in named {
        let path = match root.canonicalize() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let what = format!("there is no directory {}", escaped_path(root));
                let hint = "hsm init again, once it was made or what belongs there is mounted";
                return Err(Error::refused(what, hint));
            }
            found => found.map_err(Error::io("find the root", root))?,
        };
        if !all.contains(&path) {
            all.push(path);
        }
    }
    let own = own_places(plan)?;
    for path in all {
        if let Some(objection) = paths::objection(&path, &roots_beside(plan, &recorded), &own) {
            let hint = "hsm init with directories that neither hold nor lie in one another, \
                        the store, the state directory, the key or the configuration";
            return Err(Error::refused(objection, hint));
        }
        if recorded.contains(&path) {
            plan.known_roots.push(path);
        } else {
            let opened = RootDir::open(&path).map_err(Error::io("open the root", &path))?;
            plan.new_roots.push(NewRoot { identity: opened.identity().to_string(), path });
        }
    }
    Ok(())
}

/// Every root that is settled so far, old or new.
fn roots_beside(plan: &Plan, recorded: &[PathBuf]) -> Vec<PathBuf> {
    let new = plan.new_roots.iter().map(|root| root.path.clone());
    recorded.iter().cloned().chain(new).collect()
}

/// Where hsm writes or must be able to read without a recall.
fn own_places(plan: &Plan) -> Result<Vec<Own>, Error> {
    let mut own = vec![Own { what: "state directory", path: plan.state_dir.clone() }];
    if let Some(dir) = paths::store_dir(&plan.store.url) {
        own.push(Own { what: "store", path: locate::resolve(dir)? });
    }
    let second = plan.second.as_ref().and_then(|s| paths::store_dir(&s.section.url));
    if let Some(dir) = second {
        own.push(Own { what: "second store", path: locate::resolve(dir)? });
    }
    if let Some(key) = &plan.key_file {
        own.push(Own { what: "key file", path: key.clone() });
    }
    let config = locate::resolve(&plan.config_file)?;
    own.push(Own { what: "configuration", path: config });
    Ok(own)
}

fn recorded_roots(state_dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let path = context::state_file(state_dir);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let state = StateDb::open_read_only(&path)?;
    Ok(state.roots()?.into_iter().map(|root| root.path).collect())
}

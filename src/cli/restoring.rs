//! What `restore` and `undelete` have in common: the same engine on the same site,
//! and the same words about what it did.
//!
//! Where the target is in a tree that the configured hsm manages, that tree is locked
//! meanwhile, and stubs are taken in at once: the state DB and the catalog know them
//! like every other. Elsewhere a stub is bound by its marker alone, which only root's
//! can be.

use super::context::{self, Context};
use super::error::Error;
use super::job::{own_places, store_dir};
use super::opened::{Catalog as Writing, with_site};
use super::output::{Name, escaped_path};
use super::selection::Source;
use crate::config::Config;
use crate::ids::NodeId;
use crate::os::process;
use crate::os::relpath::RelPath;
use crate::restore::{
    self, Difference, Managed, Mode, Options, Planned, RestoreStats, Step, Target,
};
use crate::site::{Catalog, Pick, Site};
use crate::state::RootRow;
use crate::tier::rescan::open_root;
use crate::tier::taking_in::{self, TakenIn};
use crate::units::format_size;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Where a restore goes.
pub struct Ground {
    /// The configured hsm, where it is of the same store.
    config: Option<Config>,
    /// Its roots that the target is in, or that are in the target.
    roots: Vec<RootRow>,
    /// The target is in a root, but the restore is from another store.
    foreign: bool,
}

impl Ground {
    /// Looks at the configuration, where there is one.
    pub fn survey(context: &Context, source: &Source, target: &Target) -> Result<Self, Error> {
        let nothing = || Self { config: None, roots: vec![], foreign: false };
        let found = context.config();
        let own = found.as_ref().map(own_places).unwrap_or_default();
        refuse_own_places(
            target,
            own.into_iter().chain(source.store.as_deref().and_then(store_dir)),
        )?;
        let config = match found {
            Ok(config) => config,
            Err(Error::NotInitialised(_)) => return Ok(nothing()),
            // Whoever names a store needs no hsm here, not even a good one.
            Err(_) if source.store.is_some() => return Ok(nothing()),
            Err(error) => return Err(error),
        };
        if !context::state_file(&config.state_dir).try_exists().unwrap_or(true) {
            return Ok(nothing());
        }
        let known = context.state_read_only(&config).and_then(|state| Ok(state.roots()?));
        let mut roots = match known {
            Ok(roots) => roots,
            Err(_) if source.store.is_some() => return Ok(nothing()),
            Err(error) => return Err(error),
        };
        let dir = target.dir();
        roots.retain(|root| root.path.starts_with(&dir) || dir.starts_with(&root.path));
        if source.store.as_ref().is_some_and(|url| *url != config.store.url) {
            return Ok(Self { foreign: !roots.is_empty(), ..nothing() });
        }
        Ok(Self { config: Some(config), roots, foreign: false })
    }

    /// These roots of the configured hsm.
    pub fn of(config: Config, roots: Vec<RootRow>) -> Self {
        Self { config: Some(config), roots, foreign: false }
    }

    /// Runs `work` on the store; with the roots locked where there are any.
    pub fn with_site<T>(
        &self,
        context: &Context,
        source: &Source,
        mode: Mode,
        work: impl FnOnce(&mut Site<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match &self.config {
            Some(_) => self.with_own_site(context, mode, work),
            None => source.with_site(context, work),
        }
    }

    /// The same for what is about the configured hsm alone.
    pub fn with_own_site<T>(
        &self,
        context: &Context,
        mode: Mode,
        work: impl FnOnce(&mut Site<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let what = || "this needs a configuration".to_owned();
        let config = self.config.as_ref().ok_or_else(|| Error::NotInitialised(what()))?;
        let taken_in = mode == Mode::Stubs && !self.roots.is_empty();
        let catalog = if taken_in { Writing::Written } else { Writing::Untouched };
        with_site(context, config, &self.roots, catalog, work)
    }

    /// Whose files were restored to this target before, where that is in a managed
    /// tree: by now this node's own log may name them too, and the same command again
    /// must not take that for where to go on.
    pub fn node_before(&self, site: &Site<'_>, target: &Target) -> Result<Option<String>, Error> {
        if self.roots.is_empty() {
            return Ok(None);
        }
        Ok(site.state.setting(&setting(target))?)
    }

    /// Remembers it.
    pub fn note_node(
        &self,
        site: &mut Site<'_>,
        target: &Target,
        node: NodeId,
    ) -> Result<(), Error> {
        if self.roots.is_empty() || node == site.node_id {
            return Ok(());
        }
        Ok(site.state.set_setting(&setting(target), &node.to_string())?)
    }

    /// Refuses stubs that nobody could recall.
    pub fn allow_stubs(&self, target: &Target, picks: &[Pick], url: &str) -> Result<(), Error> {
        let dir = target.dir();
        if self.foreign {
            return Err(Error::refused(
                format!("{} is in a root of the configured store", escaped_path(&dir)),
                "leave out --store if it is the same store, or restore to another directory",
            ));
        }
        let in_a_root = |pick: &Pick| {
            let place = target.place(&pick.root.path, &pick.under).ok();
            let full = place.map(|place| target.full(&place));
            full.is_some_and(|full| self.roots.iter().any(|root| full.starts_with(&root.path)))
        };
        if process::can_use_trusted_xattrs() || picks.iter().all(in_a_root) {
            return Ok(());
        }
        Err(Error::refused(
            format!(
                "an ordinary user's stubs count only together with a state DB, and none manages {}",
                escaped_path(&dir)
            ),
            format!("hsm init --store {url} {}, or restore the data", escaped_path(&dir)),
        ))
    }

    /// Restores, and takes in the stubs of managed trees.
    pub fn restore(
        &self,
        site: &mut Site<'_>,
        catalog: &mut Catalog,
        picks: &[Pick],
        target: &mut Target,
        options: Options,
    ) -> Result<RestoreStats, Error> {
        let stubs = options.mode == Mode::Stubs;
        if stubs && site.guard.is_none() {
            let text = "no guard is at work here: what opens one of these stubs before hsm recall \
                        reads zeros";
            site.monitor.notice(text);
        }
        let Some(config) = self.config.as_ref().filter(|_| stubs && !self.roots.is_empty()) else {
            return self.by_roots(site, catalog, picks, target, &options);
        };
        let taking_in = taking_in::announce(site)?;
        let restored = self.by_roots(site, catalog, picks, target, &options);
        let places = self.taken_in(target, picks);
        let taken = taking_in.finish(site, &places, &own_places(config));
        let stats = restored?;
        taken?;
        Ok(stats)
    }

    /// What lies in a managed root is made by the way into it that no guard sees.
    fn by_roots(
        &self,
        site: &mut Site<'_>,
        catalog: &mut Catalog,
        picks: &[Pick],
        target: &mut Target,
        options: &Options,
    ) -> Result<RestoreStats, Error> {
        let (mut rest, mut totals) = (picks.to_vec(), RestoreStats::default());
        for row in &self.roots {
            let inside = |pick: &Pick| {
                let place = target.place(&pick.root.path, &pick.under).ok();
                place.is_some_and(|place| target.full(&place).starts_with(&row.path))
            };
            let (here, elsewhere): (Vec<Pick>, Vec<Pick>) = rest.into_iter().partition(inside);
            rest = elsewhere;
            if !here.is_empty() {
                let mut target = target.within(&open_root(row)?)?;
                let options = self.managed(&target, options.clone());
                totals.add(&restore::run(site, catalog, &here, &mut target, options)?);
            }
        }
        if !rest.is_empty() {
            let options = self.managed(target, options.clone());
            totals.add(&restore::run(site, catalog, &rest, target, options)?);
        }
        Ok(totals)
    }

    fn managed(&self, target: &Target, options: Options) -> Options {
        let managed =
            |row: &RootRow| Some(Managed { root: row.id, dir: target.relative(&row.path)? });
        Options { managed: self.roots.iter().filter_map(managed).collect(), ..options }
    }

    fn taken_in(&self, target: &Target, picks: &[Pick]) -> Vec<TakenIn> {
        let place = |pick: &Pick| {
            let place = target.place(&pick.root.path, &pick.under).ok()?;
            Some(target.full(&place))
        };
        let places: Vec<_> = picks.iter().filter_map(place).collect();
        let of_root = |row: &RootRow| {
            let inside = |full: &std::path::PathBuf| match full.strip_prefix(&row.path) {
                Ok(path) => RelPath::new(path.as_os_str().as_encoded_bytes()).ok(),
                // The whole root is in what was restored.
                Err(_) => row.path.starts_with(full).then(RelPath::root),
            };
            TakenIn { row: row.clone(), under: places.iter().filter_map(inside).collect() }
        };
        self.roots.iter().map(of_root).collect()
    }
}

/// Files of others do not belong among the objects of a store, nor beside a state DB.
fn refuse_own_places(target: &Target, own: impl Iterator<Item = PathBuf>) -> Result<(), Error> {
    let dir = target.dir();
    for place in own {
        if dir.starts_with(place.canonicalize().unwrap_or(place)) {
            let what = format!("{} is in hsm's own store or state directory", escaped_path(&dir));
            return Err(Error::refused(what, "another directory for --to"));
        }
    }
    Ok(())
}

fn setting(target: &Target) -> String {
    format!("restored to {}", hex::encode(target.dir().as_os_str().as_encoded_bytes()))
}

/// What a plan says of one path.
pub fn show_step(context: &Context, planned: &Planned<'_>) -> Result<(), Error> {
    let record = &planned.version.record;
    let (word, why) = match planned.step {
        Step::Make => ("restore", None),
        Step::Replace(_) => ("replace", None),
        Step::There(_) => ("there", None),
        Step::Differs(difference) => ("differs", Some(Difference::to_string(difference))),
    };
    let size = format_size(record.size_bytes);
    let note = why.as_ref().map(|why| format!("  ({why})")).unwrap_or_default();
    let path = escaped_path(&planned.path);
    context.out.line(format!("{word:<8} {} {size:>10}  {path}{note}", record.kind))?;
    context.out.record(&json!({
        "type": "step", "path": Name::of(&planned.path), "action": word, "why": why,
        "kind": record.kind, "size_bytes": record.size_bytes,
        "version": planned.version.from_seq,
    }))
}

/// One line about what was done, or would be.
pub fn summary_line(stats: &RestoreStats, target: &Path) -> String {
    let mut said = vec![];
    let mut say = |count: u64, text: String| {
        if count > 0 {
            said.push(text);
        }
    };
    let s = stats;
    say(s.files, format!("{} files ({})", s.files, format_size(s.bytes)));
    say(s.stubs, format!("{} stubs ({})", s.stubs, format_size(s.stub_bytes)));
    say(s.links, format!("{} second names", s.links));
    say(s.others, format!("{} links and special files", s.others));
    say(s.directories, format!("{} directories", s.directories));
    say(s.replaced, format!("{} replaced", s.replaced));
    say(s.there, format!("{} were there already", s.there));
    say(s.sockets, format!("{} sockets left out", s.sockets));
    say(s.devices, format!("{} devices left out (only root can make them)", s.devices));
    if said.is_empty() {
        said.push("nothing to restore".to_owned());
    }
    format!("{}: {}", escaped_path(target), said.join(", "))
}

/// The figures of a summary.
pub fn figures(outcome: super::command::Outcome, s: &RestoreStats) -> super::command::Outcome {
    outcome
        .with("restored_files", s.files)
        .with("restored_bytes", s.bytes)
        .with("stubs", s.stubs)
        .with("stub_bytes", s.stub_bytes)
        .with("directories", s.directories)
        .with("links", s.links)
        .with("other_files", s.others)
        .with("replaced", s.replaced)
        .with("already_there", s.there)
        .with("sockets", s.sockets)
        .with("devices_left_out", s.devices)
        .with("refused_attributes", s.refused_attributes)
}

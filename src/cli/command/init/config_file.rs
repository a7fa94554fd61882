//! The configuration file: written from the template the first time; later
//! only its list of roots changes, so that comments and settings of the
//! administrator stay as they are. The file is replaced whole, by a rename.

use super::checks::Plan;
use crate::cli::error::Error;
use crate::cli::output::escaped_path;
use crate::config::{self, Config, TemplateValues};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Makes the file name every root of the plan.
pub fn settle(plan: &Plan) -> Result<(), Error> {
    let (old, text) = texts(plan)?;
    if old.as_ref() == Some(&text) {
        return Ok(());
    }
    let path = &plan.config_file;
    replace(path, &text).map_err(Error::io("write", path))
}

/// Refuses a plan of which no sound configuration comes, before anything is made.
pub fn check(plan: &Plan) -> Result<(), Error> {
    texts(plan).map(drop)
}

/// The configuration as it is and as it is to be.
fn texts(plan: &Plan) -> Result<(Option<String>, String), Error> {
    let path = &plan.config_file;
    let name = path.to_string_lossy();
    let new = plan.new_roots.iter().map(|root| root.path.as_path());
    let roots = plan.known_roots.iter().map(|root| root.as_path()).chain(new);
    let roots =
        roots.map(|root| text_of(root).map(str::to_owned)).collect::<Result<Vec<_>, _>>()?;
    let old = match &plan.written {
        None => None,
        Some(_) => Some(std::fs::read_to_string(path).map_err(Error::io("read", path))?),
    };
    let text = match &old {
        None => fresh(plan, &roots)?,
        Some(old) => roots
            .iter()
            .try_fold(old.clone(), |text, root| config::add_root(&name, &text, root))
            .map_err(Error::Config)?,
    };
    let text = match plan.second.as_ref().filter(|second| second.is_new) {
        // A table of its own: it may follow whatever ends the file.
        Some(second) => {
            let url = toml::Value::String(second.section.url.clone());
            format!("{}\n\n[second_store]\nurl = {url}\n", text.trim_end())
        }
        None => text,
    };
    Config::parse(&name, &text).map_err(Error::Config)?;
    Ok((old, text))
}

fn fresh(plan: &Plan, roots: &[String]) -> Result<String, Error> {
    Ok(Config::template(&TemplateValues {
        roots,
        state_dir: text_of(&plan.state_dir)?,
        policy_dir: text_of(&plan.policy_dir)?,
        store_url: &plan.store.url,
        endpoint: plan.store.endpoint.as_deref(),
        region: plan.store.region.as_deref(),
        path_style: plan.store.path_style,
        storage_class: plan.store.storage_class.as_deref(),
        key_file: plan.key_file.as_deref().map(text_of).transpose()?,
    }))
}

/// TOML is UTF-8, so every path in it must be.
fn text_of(path: &Path) -> Result<&str, Error> {
    path.to_str().ok_or_else(|| {
        let what = format!("{} is not UTF-8, as the configuration must be", escaped_path(path));
        Error::refused(what, "another path")
    })
}

/// Atomic and durable; readable by all, as there are no secrets in it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_whole_and_readable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/config.toml");
        replace(&path, "one").unwrap();
        replace(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }
}

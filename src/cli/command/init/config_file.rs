//! The configuration file: written from the template the first time; later
//! only its list of roots changes, so that comments and settings of the
//! administrator stay as they are. The file is replaced whole, by a rename.

use super::checks::Plan;
use crate::cli::error::Error;
use crate::cli::output::escaped_path;
use crate::config::{Config, Template};
use serde::Deserialize;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Makes the file name every root of the plan.
pub fn settle(plan: &Plan) -> Result<(), Error> {
    let path = &plan.config_file;
    let new: Vec<PathBuf> = plan.new_roots.iter().map(|root| root.path.clone()).collect();
    let all: Vec<PathBuf> = plan.known_roots.iter().chain(&new).cloned().collect();
    let text = match &plan.written {
        None => Config::template(&Template {
            store: &plan.store,
            state_dir: &plan.state_dir,
            policy_dir: &plan.policy_dir,
            key_file: plan.key_file.as_deref(),
            roots: &all,
        }),
        Some(config) => {
            let missing: Vec<PathBuf> =
                all.iter().filter(|root| !config.roots.contains(root)).cloned().collect();
            if missing.is_empty() {
                return Ok(());
            }
            let old = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
            with_roots(&old, &missing).ok_or_else(|| by_hand(path, &missing))?
        }
    };
    Config::parse(&path.to_string_lossy(), &text).map_err(Error::Config)?;
    replace(path, &text).map_err(Error::io("write", path))
}

fn by_hand(path: &Path, missing: &[PathBuf]) -> Error {
    let names: Vec<String> = missing.iter().map(|root| escaped_path(root)).collect();
    Error::refused(
        format!("the roots in {} cannot be changed without spoiling it", escaped_path(path)),
        format!("add {} to its list of roots by hand", names.join(", ")),
    )
}

/// The same text with `more` at the end of the list `roots`; `None` where there
/// is no such list of texts.
fn with_roots(text: &str, more: &[PathBuf]) -> Option<String> {
    #[derive(Deserialize)]
    struct Listed {
        roots: toml::Spanned<Vec<String>>,
    }
    let listed: Listed = toml::from_str(text).ok()?;
    let span = listed.roots.span();
    let inside = text.get(span.clone())?.strip_prefix('[')?.strip_suffix(']')?;
    let added: Vec<String> = more.iter().map(|root| quoted(root)).collect::<Option<_>>()?;
    let separator = match () {
        () if listed.roots.get_ref().is_empty() => "",
        () if inside.trim_end().ends_with(',') => " ",
        () => ", ",
    };
    let list = format!("[{}{separator}{}]", inside.trim_end(), added.join(", "));
    let changed = format!("{}{list}{}", &text[..span.start], &text[span.end..]);
    // A comment at the end of the list would have swallowed what was added.
    let read_back: Listed = toml::from_str(&changed).ok()?;
    let wanted = listed.roots.get_ref().len() + more.len();
    (read_back.roots.get_ref().len() == wanted).then_some(changed)
}

/// A TOML string of a path.
fn quoted(path: &Path) -> Option<String> {
    Some(toml::Value::String(path.to_str()?.to_owned()).to_string())
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

    fn added(text: &str) -> Option<String> {
        with_roots(text, &[PathBuf::from("/srv/new")])
    }

    #[test]
    fn a_root_joins_the_list_and_everything_else_stays() {
        let text = "# mine\nroots = [\"/srv/a\"] # two\nstate_dir = \"/x\"\n";
        let wanted = "# mine\nroots = [\"/srv/a\", \"/srv/new\"] # two\nstate_dir = \"/x\"\n";
        assert_eq!(added(text).as_deref(), Some(wanted));
        assert_eq!(added("roots = []").as_deref(), Some("roots = [\"/srv/new\"]"));
        let lines = "roots = [\n  \"/srv/a\",\n]\n";
        assert_eq!(added(lines).as_deref(), Some("roots = [\n  \"/srv/a\", \"/srv/new\"]\n"));
    }

    #[test]
    fn a_comment_at_the_end_of_the_list_does_not_swallow_the_root() {
        let text = "roots = [\n  \"/srv/a\", # the first\n]\n";
        assert_eq!(added(text), None);
    }

    #[test]
    fn a_path_is_quoted_as_toml_wants_it() {
        assert_eq!(quoted(Path::new("/srv/a")).as_deref(), Some("\"/srv/a\""));
        let odd = quoted(Path::new("/srv/\"b\"\n")).expect("UTF-8");
        let back: toml::Table = toml::from_str(&format!("x = {odd}")).expect("a TOML string");
        assert_eq!(back["x"].as_str(), Some("/srv/\"b\"\n"));
    }

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

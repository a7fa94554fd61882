//! The variables of the environment in which the other stores' tools keep their
//! credentials, handed down by whoever may read the environment.
//!
//! Only the names below are taken. A value never gets into a debug form, and from
//! there into a log.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

/// What names of wanted variables begin with.
const WANTED: [&str; 6] =
    ["OS_", "ST_", "AZURE_STORAGE_", "GOOGLE_APPLICATION_CREDENTIALS", "WEBDAV_", "HSM_SSH_CONFIG"];

/// Variables by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Keeps those that a store may ask for; an empty value is none.
    pub fn among(all: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let text = |value: OsString| value.into_string().ok().filter(|text| !text.is_empty());
        let wanted = |name: &OsStr| {
            WANTED.iter().any(|start| name.as_encoded_bytes().starts_with(start.as_bytes()))
        };
        let kept = all.into_iter().filter(|(name, _)| wanted(name));
        Self(kept.filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The first of these that is set.
    pub(crate) fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Variables {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self::among(pairs.map(|(name, value)| (name.into(), value.into())))
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_store_may_ask_for_is_kept_and_no_value_is_shown() {
        let variables = Variables::from([
            ("OS_PASSWORD", "hush"),
            ("ST_USER", ""),
            ("PATH", "/bin"),
            ("LOGNAME_ST_", "x"),
        ]);
        assert_eq!(variables.get("OS_PASSWORD"), Some("hush"));
        assert_eq!(variables.first(&["ST_USER", "PATH", "LOGNAME_ST_"]), None);
        assert_eq!(format!("{variables:?}"), r#"{"OS_PASSWORD"}"#);
    }
}

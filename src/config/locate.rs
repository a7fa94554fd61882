//! Where config, policies and state are, from the environment alone.
//!
//! Root uses the places of the FHS, others those of the XDG Base Directory
//! specification 0.8, which says that a variable with a relative path is to be
//! ignored. `HSM_CONFIG` overrides the config file, and the policies beside it.

use std::ffi::OsString;
use std::path::PathBuf;

/// The places that hold unless the config says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigPaths {
    pub config_file: PathBuf,
    pub policy_dir: PathBuf,
    pub state_dir: PathBuf,
}

/// The places for this process; `env` reads one environment variable. Who has
/// neither `HOME` nor XDG variables is sent to the system's places.
pub fn locate(env: &dyn Fn(&str) -> Option<OsString>, is_root: bool) -> ConfigPaths {
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let below_home = |tail: &str| absolute("HOME").map(|home| home.join(tail));
    let (config_home, state_home) = if is_root {
        (None, None)
    } else {
        (
            absolute("XDG_CONFIG_HOME").or_else(|| below_home(".config")),
            absolute("XDG_STATE_HOME").or_else(|| below_home(".local/state")),
        )
    };
    let config_dir = config_home.map_or_else(|| "/etc/hsm".into(), |home| home.join("hsm"));
    let state_dir = state_home.map_or_else(|| "/var/lib/hsm".into(), |home| home.join("hsm"));
    let named = env("HSM_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let config_file = named.unwrap_or_else(|| config_dir.join("config.toml"));
    let policy_dir = config_file.with_file_name("policies.d");
    ConfigPaths { config_file, policy_dir, state_dir }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(vars: &[(&str, &str)], is_root: bool) -> [String; 3] {
        let env = |name: &str| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        let paths = locate(&env, is_root);
        [paths.config_file, paths.policy_dir, paths.state_dir]
            .map(|path| path.display().to_string())
    }

    #[test]
    fn places_follow_who_asks_and_what_the_environment_says() {
        let system = ["/etc/hsm/config.toml", "/etc/hsm/policies.d", "/var/lib/hsm"];
        let home =
            ["/h/.config/hsm/config.toml", "/h/.config/hsm/policies.d", "/h/.local/state/hsm"];
        type Row<'r> = (&'r [(&'r str, &'r str)], bool, [&'r str; 3]);
        let table: &[Row<'_>] = &[
            (&[("HOME", "/root"), ("XDG_CONFIG_HOME", "/x")], true, system),
            (&[("HOME", "/h")], false, home),
            (&[("HOME", "/h"), ("XDG_CONFIG_HOME", "c"), ("XDG_STATE_HOME", "")], false, home),
            (
                &[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("XDG_STATE_HOME", "/s")],
                false,
                ["/c/hsm/config.toml", "/c/hsm/policies.d", "/s/hsm"],
            ),
            (&[], false, system),
            (&[("HSM_CONFIG", "/a/b.toml")], true, ["/a/b.toml", "/a/policies.d", "/var/lib/hsm"]),
            (&[("HSM_CONFIG", "")], true, system),
            (
                &[("HSM_CONFIG", "b.toml"), ("HOME", "/h")],
                false,
                ["b.toml", "policies.d", "/h/.local/state/hsm"],
            ),
        ];
        for (vars, is_root, want) in table {
            assert_eq!(found(vars, *is_root), *want, "{vars:?} {is_root}");
        }
    }
}

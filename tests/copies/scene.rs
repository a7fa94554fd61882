//! Two stores, and what must hold of stubs beside them.

use crate::support::snapshot::{Snapshot, assert_same, is_stub, snapshot};
use crate::support::trees::noise;
use crate::support::{EAGER_POLICY, Sandbox};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Everything twice.
pub fn twice() -> String {
    EAGER_POLICY.replace("action = \"tier\"", "action = \"tier\"\ncopies = 2")
}

/// What is below `twice` twice, everything else once.
pub fn some_twice() -> String {
    let rule =
        "[[rule]]\nname = \"precious\"\ninclude = \"twice/**\"\naction = \"tier\"\ncopies = 2\n\n";
    EAGER_POLICY.replacen("[[rule]]", &format!("{rule}[[rule]]"), 1)
}

pub fn second(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("second")
}

pub fn begin_second(sandbox: &Sandbox, more: &[&str]) {
    let url = format!("file://{}", second(sandbox).display());
    let mut args = vec!["init", "--second-store", &url];
    args.extend(more);
    sandbox.hsm(args).succeeds();
}

/// Two directory stores and a rule that wants both.
pub fn doubled() -> Sandbox {
    let sandbox = Sandbox::new();
    begin_second(&sandbox, &[]);
    sandbox.policy(&twice());
    sandbox
}

pub fn grow(sandbox: &Sandbox, generation: u64) {
    for file in 0..6 {
        let bytes = noise(generation * 100 + file, 90_000);
        sandbox.write(&format!("gen{generation}/d{}/f{file}", file % 2), &bytes);
    }
    sandbox.write(&format!("gen{generation}/big"), &noise(generation, 5 << 20));
}

/// Objects below a directory of a store by name.
pub fn objects(store: &Path, below: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    walkdir::WalkDir::new(store.join(below))
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let name = entry.path().strip_prefix(store).expect("below").to_owned();
            (name, fs::read(entry.path()).expect("an object"))
        })
        .collect()
}

pub fn packs(store: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    objects(store, "packs")
}

pub fn stubs(sandbox: &Sandbox) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(sandbox.tree()).into_iter().filter_map(Result::ok);
    let stubs = files.filter(|entry| entry.file_type().is_file() && is_stub(entry.path()));
    stubs.map(|entry| entry.into_path()).collect()
}

/// The property: whatever is a stub has all its packs in both stores, the same bytes.
pub fn no_stub_without_two_copies(sandbox: &Sandbox, what: &str) {
    let (first, there) = (packs(&sandbox.store()), packs(&second(sandbox)));
    if !stubs(sandbox).is_empty() {
        assert!(!there.is_empty(), "{what}: stubs, and nothing in the second store");
    }
    let db = rusqlite::Connection::open(sandbox.state_db()).expect("the state DB");
    let sql = "SELECT hex(p.pack_id) FROM second_copy s JOIN pack p ON p.id = s.pack";
    let mut select = db.prepare(sql).expect("its tables");
    let proven = select.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    for pack in proven.map(|pack| pack.expect("a pack").to_lowercase()) {
        let names = |name: &Path| {
            let name = name.file_name().expect("a name").to_string_lossy().replace('-', "");
            name == pack
        };
        let of = |store: &BTreeMap<PathBuf, Vec<u8>>| {
            store.iter().find(|(name, _)| names(name)).map(|(_, bytes)| bytes.clone())
        };
        assert!(of(&there).is_some(), "{what}: pack {pack} is proven and not there");
        assert!(of(&first) == of(&there), "{what}: pack {pack} differs");
    }
}

pub fn all_recalled(sandbox: &Sandbox, before: &Snapshot) {
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_same(before, &snapshot(&sandbox.tree()));
}

/// The directory is away, as a file system that is not mounted.
pub struct Away(PathBuf, PathBuf);

impl Away {
    pub fn of(dir: &Path) -> Self {
        let aside = dir.with_extension("aside");
        fs::rename(dir, &aside).expect("it moves");
        Self(dir.to_owned(), aside)
    }

    pub fn back(self) {
        fs::rename(&self.1, &self.0).expect("it moves back");
    }
}

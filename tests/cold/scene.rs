//! A tree whose copy is in an archive.

use crate::s3_place::Place;
use crate::s3_server::Vault;
use crate::support::snapshot::is_stub;
use crate::support::trees::noise;
use crate::support::{EAGER_POLICY, Ran, Sandbox};
use serde_json::Value;

pub struct Scene {
    pub place: Place,
    pub sandbox: Sandbox,
}

/// Everything goes to this class.
pub fn policy(class: &str) -> String {
    EAGER_POLICY.replace("action =", &format!("storage_class = \"{class}\"\naction ="))
}

impl Scene {
    /// Initialised, with every file of the tree for this class.
    pub fn of_class(class: &str) -> Self {
        let place = Place::cold();
        let sandbox = place.sandbox();
        place.init(&sandbox, &[]);
        sandbox.policy(&policy(class));
        Self { place, sandbox }
    }

    /// With a stub `a` and a stub `b`, each in a pack of its own.
    pub fn tiered(class: &str) -> Self {
        let scene = Self::of_class(class);
        for (seed, name) in [(1, "a"), (2, "b")] {
            scene.sandbox.write(name, &content(seed));
            scene.sandbox.hsm(["tier"]).succeeds();
        }
        assert!(scene.is_stub("a") && scene.is_stub("b"));
        scene
    }

    pub fn vault(&self) -> &Vault {
        self.place.server().vault()
    }

    pub fn is_stub(&self, name: &str) -> bool {
        is_stub(&self.sandbox.tree().join(name))
    }

    pub fn recall(&self, options: &[&str], names: &[&str]) -> Ran {
        self.sandbox.on("recall", options, names)
    }

    /// Of `hsm status --json`, of one type.
    pub fn status(&self, kind: &str) -> Vec<Value> {
        let text = self.sandbox.hsm(["status", "--json"]).succeeds().stdout();
        let records = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        records.filter(|record: &Value| record["type"] == kind).collect()
    }

    /// How many thaws are on their way.
    pub fn pending(&self) -> usize {
        self.status("thaw").iter().filter(|thaw| thaw["ready"] == false).count()
    }
}

pub fn content(seed: u64) -> Vec<u8> {
    noise(seed, 200_000)
}

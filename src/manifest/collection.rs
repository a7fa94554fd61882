//! What collectors and writers tell each other: which packs a garbage collection
//! condemned, and which of them it gave up in the end.
//!
//! Both are small JSON objects that hold pack ids and nothing of the files, so they
//! need no key to be read. A plan is never changed; its end is an object of its own.
//! The protocol is in docs/FORMATS.md.

use super::Error;
use crate::ids::{NodeId, PackId, StoreId};
use serde::{Deserialize, Serialize};

const WHAT: &str = "garbage collection";
const VERSION: u32 = 1;

/// Packs in one plan at most: about 4 MiB. What is more is for the next.
pub const MAX_PACKS: usize = 100_000;

/// Far above such a plan. What is larger is another's, and not even looked at.
const MAX_LEN: usize = 16 << 20;

/// `gc/<generation>.plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    pub store: StoreId,
    /// Who collects.
    pub node: NodeId,
    /// Counted up from 1.
    pub generation: u64,
    pub written_ns: i64,
    /// Packs of which nothing was needed, or nothing that is not elsewhere.
    pub packs: Vec<PackId>,
}

/// `gc/<generation>.done`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    pub store: StoreId,
    pub node: NodeId,
    pub generation: u64,
    pub written_ns: i64,
    /// Of the plan's packs, those that are given up: they are deleted from now on, by
    /// anybody. The others are as good as any.
    pub deleted: Vec<PackId>,
}

#[derive(Serialize)]
struct Envelope<'b, T> {
    magic: &'static str,
    v: u32,
    #[serde(flatten)]
    body: &'b T,
}

macro_rules! object {
    ($name:ident, $magic:literal) => {
        impl $name {
            /// The whole object.
            pub fn encode(&self) -> Vec<u8> {
                let body = Envelope { magic: $magic, v: VERSION, body: self };
                serde_json::to_vec(&body).expect("ids and numbers are JSON")
            }

            /// Reads an object; another magic or a newer version is an error.
            pub fn decode(object: &[u8]) -> Result<Self, Error> {
                check(object, $magic)?;
                serde_json::from_slice(object).map_err(malformed)
            }
        }
    };
}

object!(Collection, "hsm-gc-plan");
object!(Collected, "hsm-gc-done");

fn malformed(error: serde_json::Error) -> Error {
    Error::Malformed { what: WHAT, why: error.to_string() }
}

fn check(object: &[u8], magic: &str) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Head {
        magic: String,
        v: u32,
    }
    if object.len() > MAX_LEN {
        return Err(Error::TooLarge { what: WHAT, max: MAX_LEN });
    }
    let head: Head = serde_json::from_slice(object).map_err(malformed)?;
    if head.magic != magic {
        return Err(Error::Malformed { what: WHAT, why: format!("its magic is {:?}", head.magic) });
    }
    if head.v != VERSION {
        return Err(Error::Newer { what: WHAT, found: head.v.to_string(), known: VERSION });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Collection {
        Collection {
            store: StoreId([1; 16]),
            node: NodeId([2; 16]),
            generation: 3,
            written_ns: 4,
            packs: vec![PackId([5; 16])],
        }
    }

    #[test]
    fn a_hostile_plan_is_refused_by_its_length() {
        let (from, to) =
            ("\"packs\":[", format!("\"x\":[{}0],\"packs\":[", "0,".repeat(MAX_LEN / 2)));
        let bomb = String::from_utf8(plan().encode()).expect("text").replace(from, &to);
        let refused = Collection::decode(bomb.as_bytes());
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    }

    #[test]
    fn plans_and_ends_are_read_back_and_told_apart() {
        let object = plan().encode();
        assert_eq!(Collection::decode(&object).expect("a plan"), plan());
        assert!(Collected::decode(&object).is_err(), "a plan is no end");
        let Collection { store, node, generation, written_ns, packs } = plan();
        let done = Collected { store, node, generation, written_ns, deleted: packs };
        assert_eq!(Collected::decode(&done.encode()).expect("an end"), done);
        for cut in 0..object.len() {
            assert!(Collection::decode(&object[..cut]).is_err(), "{cut}");
        }
        let newer = String::from_utf8(object).expect("text").replace("\"v\":1", "\"v\":2");
        assert!(matches!(Collection::decode(newer.as_bytes()), Err(Error::Newer { .. })));
    }
}

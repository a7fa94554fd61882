//! File names in JSON. A Linux name is bytes; one that is not UTF-8 must
//! survive the catalog unchanged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Bytes written as `{"text": "..."}` when they are UTF-8, else as
/// `{"bytes": "<base64>"}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Name(Vec<u8>);

impl Name {
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NameForm<T> {
    Text(T),
    Bytes(String),
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => NameForm::Text(text).serialize(to),
            Err(_) => NameForm::<&str>::Bytes(STANDARD.encode(&self.0)).serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match NameForm::<String>::deserialize(from)? {
            NameForm::Text(text) => Ok(Self(text.into_bytes())),
            NameForm::Bytes(text) => STANDARD.decode(text).map(Self).map_err(D::Error::custom),
        }
    }
}

/// Extended attributes: pairs of name (a string, or `{"bytes": ..}` when it is
/// not UTF-8) and base64 value.
pub(super) mod xattrs {
    use super::*;

    type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Key {
        Text(String),
        Bytes { bytes: String },
    }

    pub fn serialize<S: Serializer>(pairs: &Pairs, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(pairs.iter().map(|(name, value)| {
            let key = match std::str::from_utf8(name) {
                Ok(text) => Key::Text(text.to_owned()),
                Err(_) => Key::Bytes { bytes: STANDARD.encode(name) },
            };
            (key, STANDARD.encode(value))
        }))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Pairs, D::Error> {
        from.deserialize_seq(List)
    }

    /// More than a file can have: the kernel lists at most 64 KiB of names
    /// (`XATTR_LIST_MAX` of `include/uapi/linux/limits.h`).
    const MAX_PAIRS: usize = 64 << 10;

    struct List;

    impl<'de> Visitor<'de> for List {
        type Value = Pairs;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a list of attributes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Pairs, A::Error> {
            let bytes = |text: &str| STANDARD.decode(text).map_err(A::Error::custom);
            let mut pairs: Pairs = vec![];
            while let Some((key, value)) = list.next_element::<(Key, String)>()? {
                if pairs.len() == MAX_PAIRS {
                    return Err(A::Error::custom("more attributes than a file can have"));
                }
                let name = match key {
                    Key::Text(text) => text.into_bytes(),
                    Key::Bytes { bytes: text } => bytes(&text)?,
                };
                pairs.push((name, bytes(&value)?));
            }
            Ok(pairs)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_stays_readable_and_other_bytes_survive() {
        let json = |bytes: &[u8]| serde_json::to_string(&Name::from_bytes(bytes)).expect("json");
        assert_eq!(json("Müller.txt".as_bytes()), r#"{"text":"Müller.txt"}"#);
        assert_eq!(json(b"\xffx"), r#"{"bytes":"/3g="}"#);
        for wrong in [r#""plain""#, "{}", r#"{"bytes":"?"}"#, r#"{"text":"a","bytes":"YQ=="}"#] {
            assert!(serde_json::from_str::<Name>(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_name_survives(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let name = Name::from_bytes(&bytes);
            let json = serde_json::to_string(&name).expect("json");
            prop_assert!(!json.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<Name>(&json).expect("a name"), name);
        }
    }
}

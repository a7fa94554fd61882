//! The name of a store's storage class.
//!
//! Stores define classes of their own, so a name is checked for its spelling
//! only; what is known of the well-known ones is in `classes`.

use super::Error;

/// The class, as the store spells it.
pub fn parse_storage_class(text: &str) -> Result<String, Error> {
    let bad = |why| Error::StorageClass { text: text.to_owned(), why };
    let spelled = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if text.is_empty() || !text.chars().all(spelled) {
        return Err(bad("not spelled as stores do"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_spelled_in_capitals() {
        for text in ["STANDARD", "STANDARD_IA", "GLACIER_IR", "DEEP_ARCHIVE", "REDUCED-2"] {
            assert_eq!(parse_storage_class(text).as_deref(), Ok(text));
        }
        for text in ["", "standard", "STANDARD IA"] {
            assert!(parse_storage_class(text).is_err(), "{text}");
        }
    }
}

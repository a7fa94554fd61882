//! The name of a store's storage class.
//!
//! Stores define classes of their own, so a name is checked for its spelling
//! only, with one exception: S3's archive classes answer a GET with
//! `InvalidObjectState` until a restore of hours has been asked for. A copy
//! there can be neither verified nor recalled, so they are refused.

use super::Error;

/// The class, as the store spells it.
pub fn parse_storage_class(text: &str) -> Result<String, Error> {
    let bad = |why| Error::StorageClass { text: text.to_owned(), why };
    let spelled = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if text.is_empty() || !text.chars().all(spelled) {
        return Err(bad("not spelled as stores do"));
    }
    if matches!(text, "GLACIER" | "DEEP_ARCHIVE") {
        return Err(bad("its objects cannot be read back at once, so a recall would fail"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_can_be_read_back_are_accepted() {
        for text in ["STANDARD", "STANDARD_IA", "GLACIER_IR", "REDUCED-2"] {
            assert_eq!(parse_storage_class(text).as_deref(), Ok(text));
        }
        for text in ["", "standard", "GLACIER", "DEEP_ARCHIVE", "STANDARD IA"] {
            assert!(parse_storage_class(text).is_err(), "{text}");
        }
    }
}

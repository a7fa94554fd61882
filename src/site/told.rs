//! An error that another process had, as the texts of its chain.
//!
//! What is told about a file must read the same whether this process worked on
//! it or the guard did.

use super::guard::{Failure, causes};
use crate::os::relpath::RelPath;
use std::error::Error;
use std::fmt;

/// One link of the chain.
#[derive(Debug)]
pub struct Told {
    text: String,
    cause: Option<Box<Told>>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Told {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl Failure {
    pub fn new(path: &RelPath, doing: &str, error: &dyn Error) -> Self {
        Self { path: path.clone(), doing: doing.to_owned(), causes: causes(error) }
    }

    /// The error, to be told like one of this process.
    pub fn error(&self) -> Told {
        let mut told = None;
        for text in self.causes.iter().rev() {
            told = Some(Told { text: text.clone(), cause: told.map(Box::new) });
        }
        told.unwrap_or_else(|| Told { text: "the guard does not say why".to_owned(), cause: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_with_its_causes() {
        let path = RelPath::new("a/b").expect("a path");
        let inner = std::io::Error::other("the disk is on fire");
        let error = crate::stub::Error::Punch(inner);
        let failure = Failure::new(&path, "stub", &error);
        assert_eq!(failure.causes, ["free the blocks", "the disk is on fire"]);
        let told = failure.error();
        assert_eq!(told.to_string(), "free the blocks");
        assert_eq!(told.source().expect("a cause").to_string(), "the disk is on fire");
        assert!(told.source().expect("a cause").source().is_none());
        let silent = Failure { causes: vec![], ..failure };
        assert_eq!(silent.error().to_string(), "the guard does not say why");
    }
}

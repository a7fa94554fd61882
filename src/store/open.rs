//! From a URL to a store with its wrappers around it.
//!
//! Order matters: the retry is outermost, so that each try pays for its
//! bandwidth. A directory is not retried: its failures do not heal in seconds,
//! and the kernel retries what a network file system can.

use super::StoreOptions;
use super::retrying::RetryPlan;
use super::{
    DirectoryStore, Error, ErrorKind, Limited, Result, Retrying, S3Store, Store, SwiftStore,
};
use std::path::PathBuf;

enum Location {
    Directory(PathBuf),
    Bucket {
        bucket: String,
        prefix: String,
    },
    Container {
        container: String,
        prefix: String,
    },
    #[cfg(feature = "more-stores")]
    More {
        scheme: String,
        rest: String,
    },
}

/// Opens the store at `options.url`. A directory must be there; a bucket is
/// not asked anything yet.
pub fn open(options: &StoreOptions) -> Result<Box<dyn Store>> {
    let limit = options.bandwidth_bytes_per_s;
    match parse(&options.url)? {
        Location::Directory(path) => {
            let store = DirectoryStore::open(&path, options.create)?;
            Ok(match limit {
                Some(rate) => Box::new(Limited::new(store, rate, options.stop.clone())),
                None => Box::new(store),
            })
        }
        Location::Bucket { bucket, prefix } => {
            let store = S3Store::connect(&bucket, &prefix, options)?;
            Ok(wrapped(store, options))
        }
        #[cfg(feature = "more-stores")]
        Location::More { scheme, rest } => {
            Ok(wrapped(super::more::connect(&scheme, &rest, options)?, options))
        }
        Location::Container { container, prefix } => {
            Ok(wrapped(SwiftStore::connect(&container, &prefix, options)?, options))
        }
    }
}

/// A remote store with its wrappers.
fn wrapped(store: impl Store + 'static, options: &StoreOptions) -> Box<dyn Store> {
    let plan = RetryPlan { retries: options.retries, ..RetryPlan::default() };
    let stop = options.stop.clone();
    match options.bandwidth_bytes_per_s {
        Some(rate) => Box::new(Retrying::new(Limited::new(store, rate, stop.clone()), plan, stop)),
        None => Box::new(Retrying::new(store, plan, stop)),
    }
}

/// Schemes that only a build with the feature `more-stores` can open.
const MORE: [&str; 5] = ["sftp", "webdav+https", "webdav+http", "azblob", "gcs"];

#[cfg(feature = "more-stores")]
fn more(_url: &str, scheme: &str, rest: &str) -> Result<Location> {
    Ok(Location::More { scheme: scheme.to_owned(), rest: rest.to_owned() })
}

#[cfg(not(feature = "more-stores"))]
fn more(url: &str, scheme: &str, _rest: &str) -> Result<Location> {
    Err(Error::new(ErrorKind::Unsupported, "open", "", url).with_detail(format!(
        "this hsm was built without {scheme} stores: build it with \
         cargo install --path . --features more-stores"
    )))
}

fn parse(url: &str) -> Result<Location> {
    let refuse =
        |detail: &str| Err(Error::new(ErrorKind::BadRequest, "open", "", url).with_detail(detail));
    if let Some(path) = url.strip_prefix("file://") {
        if !path.starts_with('/') {
            return refuse("a directory store is written file:///absolute/path");
        }
        return Ok(Location::Directory(PathBuf::from(path)));
    }
    if let Some((scheme, rest)) = url.split_once("://")
        && MORE.contains(&scheme)
    {
        return more(url, scheme, rest);
    }
    let (is_swift, rest) = match (url.strip_prefix("s3://"), url.strip_prefix("swift://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => {
            return refuse(
                "a store is written file:///path, s3://bucket/prefix or swift://container/prefix",
            );
        }
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return refuse("the bucket's or container's name is missing");
    }
    let prefix = prefix.trim_end_matches('/');
    if !prefix.is_empty() && super::Key::new(prefix).is_err() {
        return refuse("the prefix is not usable as the start of object keys");
    }
    let prefix = prefix.to_owned();
    Ok(match is_swift {
        false => Location::Bucket { bucket: bucket.to_owned(), prefix },
        true => Location::Container { container: bucket.to_owned(), prefix },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_no_store_is_refused_with_the_form_it_should_have() {
        for url in [
            "",
            "/srv/store",
            "file://srv",
            "ftp://x/y",
            "s3://",
            "s3:///x",
            "s3://b/a//b",
            "swift://",
        ] {
            let error = parse(url).err().expect("not a store");
            assert_eq!(error.kind(), ErrorKind::BadRequest, "{url}");
        }
        let error = parse("/srv/store").err().expect("not a store");
        assert!(error.to_string().contains("file:///path, s3://bucket/prefix"));
    }

    #[test]
    fn a_prefix_may_end_in_a_slash() {
        let Ok(Location::Bucket { bucket, prefix }) = parse("s3://media/cold/") else {
            panic!("a bucket")
        };
        assert_eq!((bucket.as_str(), prefix.as_str()), ("media", "cold"));
    }
}

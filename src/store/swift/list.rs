//! Listing a container: every page, in order, or an error.
//!
//! A page says neither how long it may be nor whether another follows, and one
//! shorter than the limit may still not be the last (sharded containers), so the
//! listing ends with the page that is empty (API reference, "Show container
//! details and list objects"). Keys that do not ascend are an error: a listing
//! that looks complete and is not would let a live object be taken for a lost one.

use super::http::Question;
use super::{SwiftStore, escaped};
use crate::store::{Access, Error, ErrorKind, Key, ObjectInfo, Result};
use hyper::Method;
use serde::Deserialize;

#[derive(Deserialize)]
struct Listed {
    name: String,
    bytes: u64,
    hash: Option<String>,
    /// UTC, as `2014-01-15T16:41:49.390270`, without a zone.
    last_modified: String,
}

impl SwiftStore {
    pub(super) fn list_objects(
        &self,
        prefix: &str,
        start_after: Option<&Key>,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> Result<()> {
        let mut marker = start_after.map(|key| format!("{}{key}", self.prefix));
        loop {
            let page = self.list_page(prefix, marker.as_deref());
            let page = self.wait_for("list", prefix, page)?;
            if page.is_empty() {
                return Ok(());
            }
            for object in page {
                if marker.as_ref().is_some_and(|last| object.name <= *last) {
                    return Err(self.incomplete(prefix, "the names do not ascend"));
                }
                if let Some(info) = self.info_of(&object) {
                    visit(info);
                }
                marker = Some(object.name);
            }
        }
    }

    async fn list_page(&self, prefix: &str, marker: Option<&str>) -> Result<Vec<Listed>> {
        let mut path = format!("{}?format=json", self.container_path());
        let full = format!("{}{prefix}", self.prefix);
        for (name, value) in [("prefix", Some(full.as_str())), ("marker", marker)] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                path = format!("{path}&{name}={}", escaped(value));
            }
        }
        let answer = self.ask("list", prefix, &path, Question::new(Method::GET)).await?;
        match answer.status {
            200 => serde_json::from_slice(&answer.body)
                .map_err(|error| self.incomplete(prefix, &error.to_string())),
            204 => Ok(Vec::new()),
            // A container lists nothing rather than answering 404.
            404 => Err(self.no_container("list", prefix)),
            _ => Err(self.answered(&answer, "list", prefix)),
        }
    }

    fn incomplete(&self, prefix: &str, detail: &str) -> Error {
        self.error(ErrorKind::Integrity, "list", prefix)
            .with_detail(format!("the object store gave an unusable listing: {detail}"))
    }

    /// `None` for names that are no key of ours.
    fn info_of(&self, object: &Listed) -> Option<ObjectInfo> {
        let key = Key::new(object.name.strip_prefix(&self.prefix)?).ok()?;
        let modified = chrono::NaiveDateTime::parse_from_str(
            object.last_modified.trim_end_matches('Z'),
            "%Y-%m-%dT%H:%M:%S%.f",
        );
        Some(ObjectInfo {
            key,
            size_bytes: object.bytes,
            modified_ns: modified
                .ok()
                .and_then(|time| time.and_utc().timestamp_nanos_opt())
                .unwrap_or(0),
            etag: object.hash.clone(),
            access: Access::Now,
            storage_class: None,
            sha256: None,
        })
    }
}

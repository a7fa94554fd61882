//! Listing a bucket: every page, in order, or an error.
//!
//! `ListObjectsV2` without `encoding-type` (servers encode differently). A page
//! that says it is not the last but gives no way on, and keys that do not
//! ascend, are errors: a listing that looks complete and is not would let a
//! live object be taken for a lost one.

use super::{S3Store, bare_etag, nanos_of};
use crate::classes;
use crate::store::{Access, Error, ErrorKind, Key, ObjectInfo, Result};
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::Object;
use std::sync::atomic::Ordering;

impl S3Store {
    pub(super) fn list_objects(
        &self,
        prefix: &str,
        start_after: Option<&Key>,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> Result<()> {
        let mut last = start_after.map(|key| self.full_key(key));
        let mut token: Option<String> = None;
        loop {
            let start = start_after.map(|key| self.full_key(key));
            let page = self.list_page(prefix, start, token.clone());
            let page = self.wait_for("list", prefix, page)?;
            self.bucket_seen.store(true, Ordering::Relaxed);
            for object in page.contents() {
                let Some(full) = object.key() else {
                    return Err(self.incomplete(prefix, "an object has no key"));
                };
                if last.as_deref().is_some_and(|last| full <= last) {
                    return Err(self.incomplete(prefix, "the keys do not ascend"));
                }
                last = Some(full.to_owned());
                if let Some(info) = self.info_of(full, object) {
                    visit(info);
                }
            }
            if !page.is_truncated().unwrap_or(false) {
                return Ok(());
            }
            match page.next_continuation_token {
                Some(next) if token.as_ref() != Some(&next) => token = Some(next),
                _ => return Err(self.incomplete(prefix, "a page leads nowhere")),
            }
        }
    }

    async fn list_page(
        &self,
        prefix: &str,
        start_after: Option<String>,
        token: Option<String>,
    ) -> Result<ListObjectsV2Output> {
        let full_prefix = format!("{}{prefix}", self.prefix);
        self.client
            .list_objects_v2()
            .bucket(&self.bucket)
            .set_prefix((!full_prefix.is_empty()).then_some(full_prefix))
            .set_start_after(start_after)
            .set_continuation_token(token)
            .send()
            .await
            .map_err(|error| match self.sdk_error(error, "list", prefix) {
                // A bucket lists nothing rather than answering 404.
                error if error.is_not_found() => {
                    self.error(ErrorKind::Unreachable, "list", prefix).with_source(error)
                }
                error => error,
            })
    }

    fn incomplete(&self, prefix: &str, detail: &str) -> Error {
        self.error(ErrorKind::Integrity, "list", prefix)
            .with_detail(format!("{} gave an unusable listing: {detail}", self.server))
    }

    /// `None` for names that are no key of ours, such as `folder/` markers.
    fn info_of(&self, full: &str, object: &Object) -> Option<ObjectInfo> {
        let key = Key::new(full.strip_prefix(&self.prefix)?).ok()?;
        let class = object.storage_class().map(|class| class.as_str().to_owned());
        let archived = class.as_deref().is_some_and(classes::is_archive);
        Some(ObjectInfo {
            key,
            size_bytes: u64::try_from(object.size()?).ok()?,
            modified_ns: nanos_of(object.last_modified()),
            etag: bare_etag(object.e_tag()),
            storage_class: class.filter(|class| class != "STANDARD"),
            sha256: None,
            access: if archived { Access::Archived } else { Access::Now },
        })
    }
}

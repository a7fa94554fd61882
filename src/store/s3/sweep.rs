//! Multipart uploads that nobody will finish: invisible, but billed.
//!
//! Only uploads below the store's own prefix and begun before the given time
//! are aborted, so that neither another program's nor a running upload is hit.

use super::{S3Store, nanos_of};
use crate::store::{ErrorKind, Key, PROBE_PREFIX, Result, SweepStats};

const LAYOUT: [&str; 4] = ["packs/", "nodes/", "gc/", PROBE_PREFIX];

impl S3Store {
    pub(super) async fn abort_stale_uploads(&self, older_than_ns: i64) -> Result<SweepStats> {
        let mut stats = SweepStats::default();
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let page = self
                .client
                .list_multipart_uploads()
                .bucket(&self.bucket)
                .set_prefix((!self.prefix.is_empty()).then(|| self.prefix.clone()))
                .set_key_marker(key_marker.clone())
                .set_upload_id_marker(id_marker.clone())
                .send()
                .await
                .map_err(|error| self.sdk_error(error, "sweep", ""))?;
            for upload in page.uploads() {
                let (Some(full), Some(id)) = (upload.key(), upload.upload_id()) else { continue };
                let begun_ns = nanos_of(upload.initiated());
                if begun_ns == 0 || begun_ns >= older_than_ns || !self.is_own(full) {
                    continue;
                }
                self.abort_upload(full, id).await;
                stats.removed += 1;
            }
            let next = (page.next_key_marker, page.next_upload_id_marker);
            if !page.is_truncated.unwrap_or(false) {
                return Ok(stats);
            }
            if next == (key_marker, id_marker) || next.0.is_none() {
                return Err(self
                    .error(ErrorKind::Integrity, "sweep", "")
                    .with_detail("a page of multipart uploads leads nowhere"));
            }
            (key_marker, id_marker) = next;
        }
    }

    /// Without a prefix the bucket may be shared: only what the layout
    /// (docs/FORMATS.md) has is ours.
    fn is_own(&self, full: &str) -> bool {
        let Some(key) = full.strip_prefix(&self.prefix) else { return false };
        let in_layout = LAYOUT.iter().any(|folder| key.starts_with(folder));
        Key::new(key).is_ok() && (!self.prefix.is_empty() || in_layout)
    }
}

//! Archive classes: how an object's headers say whether it can be read, and the
//! order that brings a copy (RestoreObject, "Restoring an archived object", Amazon
//! S3 User Guide).
//!
//! An object of INTELLIGENT_TIERING is archived when `x-amz-archive-status` says
//! so; its order has no days, as it comes back for good.

use super::S3Store;
use crate::classes::{self, Thaw, Tier};
use crate::store::{Access, ErrorKind, Key, Result, Thawing};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::{GlacierJobParameters, RestoreRequest};

impl S3Store {
    pub(super) async fn thaw_object(&self, key: &Key, order: Thaw) -> Result<Thawing> {
        match self.order_thaw(key, order, true).await {
            // It is no archive for a while: the one whose objects come back for good.
            Err(error) if error.kind() == ErrorKind::BadRequest => {
                match self.comes_back_for_good(key).await {
                    true => self.order_thaw(key, order, false).await,
                    false => Err(error),
                }
            }
            answer => answer,
        }
    }

    async fn comes_back_for_good(&self, key: &Key) -> bool {
        let info = self.head_object(key).await;
        info.is_ok_and(|info| info.storage_class.as_deref() == Some("INTELLIGENT_TIERING"))
    }

    async fn order_thaw(&self, key: &Key, order: Thaw, for_days: bool) -> Result<Thawing> {
        let tier = match order.tier {
            Tier::Expedited => aws_sdk_s3::types::Tier::Expedited,
            Tier::Standard => aws_sdk_s3::types::Tier::Standard,
            Tier::Bulk => aws_sdk_s3::types::Tier::Bulk,
        };
        let job = GlacierJobParameters::builder().tier(tier).build();
        let job = job.map_err(|error| {
            self.error(ErrorKind::BadRequest, "thaw", key.as_str()).with_source(error)
        })?;
        let days = i32::try_from(order.days).unwrap_or(i32::MAX);
        let request = RestoreRequest::builder()
            .set_days(for_days.then_some(days))
            .glacier_job_parameters(job)
            .build();
        let sent = self
            .client
            .restore_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .restore_request(request)
            .send()
            .await;
        let Err(error) = sent else { return Ok(Thawing::Ordered) };
        match error.as_service_error().and_then(|error| error.code()) {
            Some("RestoreAlreadyInProgress") => Ok(Thawing::UnderWay),
            // "Restore is not allowed for the object's current storage class".
            Some("ObjectAlreadyInActiveTierError" | "InvalidObjectState") => {
                Ok(Thawing::NotArchived)
            }
            _ => {
                let error = self.sdk_error(error, "thaw", key.as_str());
                Err(match error.kind() {
                    ErrorKind::Denied => error.needing("s3:RestoreObject"),
                    _ => self.blaming_the_bucket(error, key).await,
                })
            }
        }
    }
}

/// By `x-amz-restore`, `x-amz-archive-status` and the class.
pub(super) fn access_of(head: &HeadObjectOutput) -> Access {
    let class = head.storage_class().map(|class| class.as_str());
    access(class, head.archive_status().is_some(), head.restore())
}

fn access(class: Option<&str>, is_archived: bool, restore: Option<&str>) -> Access {
    match restore.map(parse) {
        Some(Access::Now) | None if is_archived || class.is_some_and(classes::is_archive) => {
            Access::Archived
        }
        Some(access) => access,
        None => Access::Now,
    }
}

/// `ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`. What
/// says neither yes nor no says nothing.
fn parse(restore: &str) -> Access {
    if restore.contains("ongoing-request=\"true\"") {
        return Access::Thawing;
    }
    if !restore.contains("ongoing-request=\"false\"") {
        return Access::Now;
    }
    let date = restore.split_once("expiry-date=\"").and_then(|(_, rest)| rest.split('"').next());
    let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
    let until_ns = date.and_then(|date| i64::try_from(date.as_nanos()).ok());
    Access::Thawed { until_ns }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_whether_it_can_be_read() {
        let done = "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2012 00:00:00 GMT\"";
        let thawed = Access::Thawed { until_ns: Some(1_356_048_000_000_000_000) };
        let going = "ongoing-request=\"true\"";
        let cases = [
            (None, false, None, Access::Now),
            (Some("STANDARD_IA"), false, None, Access::Now),
            (Some("COLDLINE"), false, None, Access::Now),
            (Some("GLACIER"), false, None, Access::Archived),
            (Some("DEEP_ARCHIVE"), false, Some("nonsense"), Access::Archived),
            (Some("GLACIER"), false, Some(going), Access::Thawing),
            (Some("GLACIER"), false, Some(done), thawed),
            (Some("COLDLINE"), false, Some(going), Access::Thawing),
            (
                Some("GLACIER"),
                false,
                Some("ongoing-request=\"false\""),
                Access::Thawed { until_ns: None },
            ),
            (Some("INTELLIGENT_TIERING"), false, None, Access::Now),
            (Some("INTELLIGENT_TIERING"), true, None, Access::Archived),
            (Some("INTELLIGENT_TIERING"), true, Some(going), Access::Thawing),
        ];
        for (class, is_archived, restore, wanted) in cases {
            let found = access(class, is_archived, restore);
            assert_eq!(found, wanted, "{class:?} {is_archived} {restore:?}");
        }
    }
}

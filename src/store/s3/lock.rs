//! Objects that nobody may delete before a date, by S3 Object Lock; and whether
//! the bucket has that, and versions.
//!
//! The lock is set in COMPLIANCE mode: in GOVERNANCE mode whoever may bypass it
//! (the account's root user, an administrator, a thief of their keys) deletes
//! the object all the same, and what a sealed snapshot promises would hang on a
//! permission that `hsm` cannot see. The price: a date once set can be moved
//! away and never nearer, by nobody.
//!
//! A lock holds the object's version. A delete without a version still answers
//! that all went well and hides the object behind a delete marker; removing the
//! marker brings it back ("Using S3 Object Lock", Amazon S3 User Guide).

use super::S3Store;
use crate::store::{ErrorKind, Key, Protections, Result};
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    BucketVersioningStatus, ObjectLockEnabled, ObjectLockMode, ObjectLockRetention,
    ObjectLockRetentionMode,
};

impl S3Store {
    pub(super) async fn lock_object(&self, key: &Key, until_ns: i64) -> Result<bool> {
        // Servers differ in how finely they keep a date; never before `until_ns`.
        let wanted_s = until_ns.div_euclid(NS_PER_S) + i64::from(until_ns % NS_PER_S != 0);
        let (mode, locked_s) = self.lock_of(key).await?;
        if mode == Some(ObjectLockMode::Compliance) && locked_s >= wanted_s {
            return Ok(true);
        }
        let retention = ObjectLockRetention::builder()
            .mode(ObjectLockRetentionMode::Compliance)
            .retain_until_date(DateTime::from_secs(wanted_s.max(locked_s)))
            .build();
        let answer = self
            .client
            .put_object_retention()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .retention(retention)
            .send()
            .await
            .map_err(|error| self.sdk_error(error, "lock", key.as_str()));
        match answer {
            Ok(_) => Ok(true),
            // A bucket without locks says "InvalidRequest", in words that differ
            // from server to server: the bucket itself is asked.
            Err(error)
                if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::BadRequest)
                    && self.has_object_lock().await? != Some(true) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The lock that the object has; its date in whole seconds, rounded up.
    async fn lock_of(&self, key: &Key) -> Result<(Option<ObjectLockMode>, i64)> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.full_key(key));
        let info = match request.send().await {
            Ok(info) => info,
            Err(error) => {
                let error = self.sdk_error(error, "lock", key.as_str());
                return Err(self.blaming_the_bucket(error, key).await);
            }
        };
        let until_s = info
            .object_lock_retain_until_date()
            .map_or(i64::MIN, |date| date.secs() + i64::from(date.subsec_nanos() > 0));
        Ok((info.object_lock_mode, until_s))
    }

    pub(super) async fn ask_protections(&self) -> Result<Protections> {
        let object_lock = self.has_object_lock().await?;
        let versioning = match object_lock {
            // Locks hold versions: a bucket that has them keeps those for ever.
            Some(true) => Some(true),
            _ => self.has_versioning().await?,
        };
        Ok(Protections { versioning, object_lock })
    }

    async fn has_versioning(&self) -> Result<Option<bool>> {
        let answer = self.client.get_bucket_versioning().bucket(&self.bucket).send().await;
        match answer.map_err(|error| self.sdk_error(error, "ask about versions", "")) {
            Ok(answer) => Ok(Some(answer.status() == Some(&BucketVersioningStatus::Enabled))),
            Err(error) => silent(error),
        }
    }

    async fn has_object_lock(&self) -> Result<Option<bool>> {
        let answer = self.client.get_object_lock_configuration().bucket(&self.bucket).send().await;
        match answer.map_err(|error| self.sdk_error(error, "ask about object locks", "")) {
            Ok(answer) => {
                let found = answer.object_lock_configuration();
                let enabled = found.and_then(|found| found.object_lock_enabled());
                Ok(Some(enabled == Some(&ObjectLockEnabled::Enabled)))
            }
            // "ObjectLockConfigurationNotFoundError"; a missing bucket has its
            // own code, and with it another kind.
            Err(error) if error.is_not_found() => Ok(Some(false)),
            Err(error) => silent(error),
        }
    }
}

const NS_PER_S: i64 = 1_000_000_000;

/// `None` for a server that does not know the question, may not answer it, or
/// answers 200 with what S3 never says.
fn silent<T>(error: crate::store::Error) -> Result<Option<T>> {
    use ErrorKind::{BadRequest, Denied, Other, Unsupported};
    match error.kind() {
        Unsupported | BadRequest | Denied | Other => Ok(None),
        _ => Err(error),
    }
}

//! Reading from a bucket: one object, a range of it, or what is known of it.
//!
//! A body is read into one buffer whose size is known before and bounded, and whose
//! length must come out right: a server that ignores a range, or has less than it
//! should, is caught here and not by a decoder. A connection that breaks inside
//! a body is transient: it says nothing about the object. Each piece of a body is
//! told to the thread's errand, so that a slow server is not taken for a dead one.

use super::thaw::access_of;
use super::{S3Store, bare_etag, nanos_of};
use crate::errand::Errand;
use crate::store::{Error, ErrorKind, Key, MAX_READ_BYTES, ObjectInfo, Result, Sha256Sum};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use bytes::Bytes;
use std::ops::Range;
use std::sync::atomic::Ordering;

/// More than the length of a pack's run; what is longer grows as it comes.
const RESERVED_ON_TRUST: usize = 64 << 20;

impl S3Store {
    pub(super) async fn get_object(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let wanted = match &range {
            Some(range) if range.is_empty() => {
                return Err(self
                    .error(ErrorKind::BadRequest, "get", key.as_str())
                    .with_detail(format!("range {range:?} is empty")));
            }
            Some(range) => Some(range.end - range.start),
            None => None,
        };
        let header = range.map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        let request = self.client.get_object().bucket(&self.bucket).key(self.full_key(key));
        let answer = match request.set_range(header).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let error = self.sdk_error(error, "get", key.as_str());
                return Err(self.blaming_the_bucket(error, key).await);
            }
        };
        self.bucket_seen.store(true, Ordering::Relaxed);
        let announced = answer.content_length().and_then(|len| u64::try_from(len).ok());
        let Some(len) = wanted.or(announced) else {
            return self.wrong_length(key, "no length was announced".to_owned());
        };
        if announced.is_some_and(|announced| announced != len) {
            let announced = announced.unwrap_or(0);
            return self.wrong_length(key, format!("{announced} bytes announced, {len} wanted"));
        }
        if len > MAX_READ_BYTES {
            let detail = format!("{len} bytes announced: nothing of hsm's is that large");
            return self.wrong_length(key, detail);
        }
        self.collect(key, answer.body, len).await
    }

    async fn collect(&self, key: &Key, mut body: ByteStream, len: u64) -> Result<Bytes> {
        let size = usize::try_from(len).expect("it is bounded");
        let mut bytes = Vec::with_capacity(size.min(RESERVED_ON_TRUST));
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| {
                self.error(ErrorKind::Transient, "get", key.as_str())
                    .with_detail(format!(
                        "the connection broke after {} of {len} bytes",
                        bytes.len()
                    ))
                    .with_source(error)
            })?;
            Errand::arrive(piece.len());
            if bytes.len() + piece.len() > size {
                return self.wrong_length(key, format!("more than {len} bytes came"));
            }
            bytes.extend_from_slice(&piece);
        }
        if bytes.len() != size {
            return self.wrong_length(key, format!("{} of {len} bytes came", bytes.len()));
        }
        Ok(bytes.into())
    }

    fn wrong_length<T>(&self, key: &Key, detail: String) -> Result<T> {
        Err(self.error(ErrorKind::Integrity, "get", key.as_str()).with_detail(detail))
    }

    pub(super) async fn head_object(&self, key: &Key) -> Result<ObjectInfo> {
        let answer = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let error = self.sdk_error(error, "head", key.as_str());
                return Err(self.blaming_the_bucket(error, key).await);
            }
        };
        self.bucket_seen.store(true, Ordering::Relaxed);
        let Some(size_bytes) = answer.content_length().and_then(|len| u64::try_from(len).ok())
        else {
            return Err(self
                .error(ErrorKind::Integrity, "head", key.as_str())
                .with_detail("no size was given"));
        };
        Ok(ObjectInfo {
            key: key.clone(),
            size_bytes,
            modified_ns: nanos_of(answer.last_modified()),
            etag: bare_etag(answer.e_tag()),
            storage_class: answer.storage_class().map(|class| class.as_str().to_owned()),
            sha256: answer.checksum_sha256().and_then(Sha256Sum::parse),
            access: access_of(&answer),
        })
    }

    /// The answer to a HEAD has no body to tell a missing object from a missing
    /// bucket, and not every server tells them apart in others. So the bucket
    /// is asked for before the first object is called missing.
    pub(super) async fn blaming_the_bucket(&self, error: Error, key: &Key) -> Error {
        if !error.is_not_found() || self.bucket_seen.load(Ordering::Relaxed) {
            return error;
        }
        let operation = error.operation();
        match self.client.head_bucket().bucket(&self.bucket).send().await {
            Ok(_) => {
                self.bucket_seen.store(true, Ordering::Relaxed);
                error
            }
            Err(about_bucket) => match self.sdk_error(about_bucket, operation, key.as_str()) {
                about_bucket if about_bucket.is_not_found() => self
                    .error(ErrorKind::Unreachable, operation, key.as_str())
                    .with_detail(format!(
                        "{} knows no bucket {} (create the bucket, or correct the store's URL)",
                        self.server, self.bucket
                    )),
                about_bucket => about_bucket,
            },
        }
    }
}

//! Writing to a bucket: in one request, or in parts sent side by side.
//!
//! The SHA-256 of every body is computed before it is sent and declared with
//! it. A multipart object appears only when all parts are joined; whatever ends
//! an upload early aborts it, and what even that misses (a crash) is `sweep`'s.
//! The 404 `NoSuchUpload` of a lost upload is transient: the next try starts a
//! new one.

use super::connect::timeouts;
use super::{S3Store, bare_etag};
use crate::classes;
use crate::store::sums::sha256;
use crate::store::{Checksums, ErrorKind, Key, PutReceipt, Result, Sha256Sum};
use aws_sdk_s3::config::Builder as ConfigOverride;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, StorageClass};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::task::JoinSet;

/// The size parts come close to (STORES: 8 to 16 MiB saturate a connection).
const PART_BYTES: usize = 16 << 20;

/// A body may be sent as slowly as this before its request times out; stalls
/// are found sooner.
const SLOWEST_BYTES_PER_S: u64 = 16 << 10;

/// Equal parts of about [`PART_BYTES`], so that an object a little over a
/// multiple costs no extra request for its tail.
pub(super) fn part_size(len: usize) -> usize {
    let parts = ((len + PART_BYTES / 2) / PART_BYTES).max(1);
    len.div_ceil(parts)
}

impl S3Store {
    pub(super) fn put_object(
        &self,
        key: &Key,
        body: &Bytes,
        class: Option<StorageClass>,
        condition: bool,
    ) -> Result<PutReceipt> {
        // Whatever is archived cannot be read back: its proof is the sum of the whole
        // object, which one in parts may not have.
        let whole = class.as_ref().is_some_and(|class| classes::is_archive(class.as_str()));
        let part_bytes = if whole { body.len() } else { part_size(body.len()) };
        if part_bytes >= body.len() {
            let sum = sha256(body);
            return self.runtime.block_on(self.put_whole(key, body, sum, class, condition));
        }
        self.runtime.block_on(async {
            let upload = self.create_upload(key, class).await?;
            let done = self.put_parts(key, body, part_bytes, &upload, condition).await;
            if done.is_err() {
                self.abort_upload(&self.full_key(key), &upload).await;
            }
            done
        })
    }

    /// Room for sending this much over a slow line.
    pub(super) fn send_timeouts(&self, len: usize) -> ConfigOverride {
        let sending = Duration::from_secs(len as u64 / SLOWEST_BYTES_PER_S);
        ConfigOverride::new()
            .timeout_config(timeouts(self.connect_timeout, self.read_timeout + sending))
    }

    pub(super) async fn put_whole(
        &self,
        key: &Key,
        body: &Bytes,
        sum: [u8; 32],
        class: Option<StorageClass>,
        condition: bool,
    ) -> Result<PutReceipt> {
        let (sse, sse_key) = self.sse.clone().unzip();
        let answer = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .checksum_sha256(STANDARD.encode(sum))
            .set_storage_class(class)
            .set_server_side_encryption(sse)
            .set_ssekms_key_id(sse_key.flatten())
            .set_if_none_match(condition.then(|| "*".to_owned()))
            .body(ByteStream::from(body.clone()))
            .customize()
            .config_override(self.send_timeouts(body.len()))
            .send()
            .await
            .map_err(|error| self.put_error(error, key))?;
        Ok(PutReceipt {
            key: key.clone(),
            size_bytes: body.len() as u64,
            etag: bare_etag(answer.e_tag()),
            server_sha256: answer.checksum_sha256().and_then(Sha256Sum::parse),
            sent_sha256: Some(Sha256Sum::Whole(sum)),
        })
    }

    fn put_error<E>(
        &self,
        error: aws_sdk_s3::error::SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
        key: &Key,
    ) -> crate::store::Error
    where
        E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        match self.sdk_error(error, "put", key.as_str()) {
            // What is missing when one writes is the bucket.
            error if error.is_not_found() => {
                self.error(ErrorKind::Unreachable, "put", key.as_str()).with_source(error)
            }
            error => error,
        }
    }

    pub(super) async fn create_upload(
        &self,
        key: &Key,
        class: Option<StorageClass>,
    ) -> Result<String> {
        let (sse, sse_key) = self.sse.clone().unzip();
        let names_sum = self.checksums == Checksums::Always;
        let answer = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .set_checksum_algorithm(names_sum.then_some(ChecksumAlgorithm::Sha256))
            .set_storage_class(class)
            .set_server_side_encryption(sse)
            .set_ssekms_key_id(sse_key.flatten())
            .send()
            .await
            .map_err(|error| self.put_error(error, key))?;
        answer.upload_id.ok_or_else(|| {
            self.error(ErrorKind::Integrity, "put", key.as_str())
                .with_detail("the multipart upload was given no id")
        })
    }

    async fn put_parts(
        &self,
        key: &Key,
        body: &Bytes,
        part_bytes: usize,
        upload: &str,
        condition: bool,
    ) -> Result<PutReceipt> {
        let mut waiting: VecDeque<(i32, Bytes)> = (1..)
            .zip((0..body.len()).step_by(part_bytes))
            .map(|(number, start)| (number, body.slice(start..body.len().min(start + part_bytes))))
            .collect();
        let mut sums = vec![[0; 32]; waiting.len()];
        let mut done = Vec::with_capacity(waiting.len());
        // Dropped on an early return, which ends the parts still in flight.
        let mut in_flight = JoinSet::new();
        loop {
            while in_flight.len() < self.concurrency
                && let Some((number, part)) = waiting.pop_front()
            {
                let sum = sha256(&part);
                sums[usize::try_from(number - 1).expect("numbers start at 1")] = sum;
                let request = self.part_request(key, upload, number, &part, sum);
                let sending = self.send_timeouts(part.len());
                in_flight.spawn(async move {
                    let answer = request.customize().config_override(sending).send().await;
                    (number, sum, answer)
                });
            }
            let Some(finished) = in_flight.join_next().await else { break };
            let (number, sum, answer) = finished.expect("a request does not panic");
            let answer = answer.map_err(|error| self.put_error(error, key))?;
            done.push(self.completed(number, sum, answer.e_tag));
        }
        done.sort_unstable_by_key(CompletedPart::part_number);
        let answer = self.complete_upload(key, upload, done, condition).await?;
        let declared = self.checksums == Checksums::Always;
        Ok(PutReceipt {
            key: key.clone(),
            size_bytes: body.len() as u64,
            sent_sha256: declared.then(|| Sha256Sum::of_parts(&sums)),
            ..answer
        })
    }

    pub(super) fn part_request(
        &self,
        key: &Key,
        upload: &str,
        number: i32,
        part: &Bytes,
        sum: [u8; 32],
    ) -> aws_sdk_s3::operation::upload_part::builders::UploadPartFluentBuilder {
        let declared = self.checksums == Checksums::Always;
        self.client
            .upload_part()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .upload_id(upload)
            .part_number(number)
            .set_checksum_sha256(declared.then(|| STANDARD.encode(sum)))
            .body(ByteStream::from(part.clone()))
    }

    pub(super) fn completed(
        &self,
        number: i32,
        sum: [u8; 32],
        etag: Option<String>,
    ) -> CompletedPart {
        let declared = self.checksums == Checksums::Always;
        CompletedPart::builder()
            .part_number(number)
            .set_e_tag(etag)
            .set_checksum_sha256(declared.then(|| STANDARD.encode(sum)))
            .build()
    }

    pub(super) async fn complete_upload(
        &self,
        key: &Key,
        upload: &str,
        parts: Vec<CompletedPart>,
        condition: bool,
    ) -> Result<PutReceipt> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let answer = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .upload_id(upload)
            .multipart_upload(parts)
            .set_if_none_match(condition.then(|| "*".to_owned()))
            .send()
            .await
            .map_err(|error| self.put_error(error, key))?;
        Ok(PutReceipt {
            key: key.clone(),
            size_bytes: 0,
            etag: bare_etag(answer.e_tag()),
            server_sha256: answer.checksum_sha256().and_then(Sha256Sum::parse),
            sent_sha256: None,
        })
    }

    /// Best effort: what stays is `sweep`'s.
    pub(super) async fn abort_upload(&self, full_key: &str, upload: &str) {
        let aborted = self
            .client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(full_key)
            .upload_id(upload)
            .send()
            .await;
        if let Err(error) = aborted {
            let error = self.sdk_error(error, "abort", full_key);
            tracing::warn!("a multipart upload stays behind until the next sweep: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equal_and_cover_the_object() {
        for len in [0, 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 4096, 7 * PART_BYTES - 3] {
            let part = part_size(len);
            assert!(part <= PART_BYTES * 3 / 2, "{len}");
            assert!(part * len.div_ceil(part.max(1)) >= len, "{len}");
        }
        assert_eq!(part_size(2 * PART_BYTES + 4096), PART_BYTES + 2048);
        assert!(part_size(2 * PART_BYTES) >= 5 << 20, "S3's least part size");
    }
}

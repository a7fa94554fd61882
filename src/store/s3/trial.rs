//! Finding out what this server really does, for [`probe`](crate::store::probe).
//!
//! Each trial sends what the backend itself never would, straight to the server:
//! a sum that is not the body's (after the right one was accepted), a second
//! creation of the same name. Only an answer that refuses it counts; "not
//! implemented" and "ok" both mean no.

use super::S3Store;
use crate::store::sums::sha256;
use crate::store::{Checksums, ErrorKind, Key, Precaution, PutReceipt, Result};
use bytes::Bytes;

const FIRST: &[u8] = b"hsm probe: what was sent first";
const SECOND: &[u8] = b"hsm probe: what must not replace it";

impl S3Store {
    pub(super) fn try_out(&self, precaution: Precaution, scratch: &Key) -> Result<bool> {
        self.runtime.block_on(async {
            match precaution {
                Precaution::DeclaredSum => {
                    let (right, wrong) = (sha256(FIRST), sha256(SECOND));
                    self.put_whole(scratch, &FIRST.into(), right, None, false).await?;
                    let sent = self.put_whole(scratch, &FIRST.into(), wrong, None, false).await;
                    refused(sent, &[ErrorKind::Integrity, ErrorKind::BadRequest])
                }
                Precaution::DeclaredPartSum if self.checksums != Checksums::Always => Ok(false),
                Precaution::DeclaredPartSum => {
                    let (right, wrong) = (sha256(FIRST), sha256(SECOND));
                    self.put_one_part(scratch, FIRST, right, false).await?;
                    let sent = self.put_one_part(scratch, FIRST, wrong, false).await;
                    refused(sent, &[ErrorKind::Integrity, ErrorKind::BadRequest])
                }
                Precaution::CreateNew => {
                    let sum = sha256(FIRST);
                    self.put_whole(scratch, &FIRST.into(), sum, None, false).await?;
                    let sum = sha256(SECOND);
                    let sent = self.put_whole(scratch, &SECOND.into(), sum, None, true).await;
                    if !refused(sent, &[ErrorKind::AlreadyExists])? {
                        return Ok(false);
                    }
                    let sent = self.put_one_part(scratch, SECOND, sum, true).await;
                    refused(sent, &[ErrorKind::AlreadyExists])
                }
            }
        })
    }

    /// A multipart upload of one part, which may be of any size.
    async fn put_one_part(
        &self,
        key: &Key,
        body: &'static [u8],
        sum: [u8; 32],
        condition: bool,
    ) -> Result<PutReceipt> {
        let upload = self.create_upload(key, None).await?;
        let sent = self.send_one_part(key, &upload, body, sum, condition).await;
        if sent.is_err() {
            self.abort_upload(&self.full_key(key), &upload).await;
        }
        sent
    }

    async fn send_one_part(
        &self,
        key: &Key,
        upload: &str,
        body: &'static [u8],
        sum: [u8; 32],
        condition: bool,
    ) -> Result<PutReceipt> {
        let body = Bytes::from_static(body);
        let part = self
            .part_request(key, upload, 1, &body, sum)
            .send()
            .await
            .map_err(|error| self.sdk_error(error, "put", key.as_str()))?;
        let parts = vec![self.completed(1, sum, part.e_tag)];
        self.complete_upload(key, upload, parts, condition).await
    }
}

/// Whether the server refused, for one of the reasons that count.
fn refused(sent: Result<PutReceipt>, reasons: &[ErrorKind]) -> Result<bool> {
    match sent {
        Ok(_) => Ok(false),
        Err(error) if reasons.contains(&error.kind()) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::BadRequest) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

//! From the SDK's errors to [`ErrorKind`], with what a person needs to mend it.
//!
//! The S3 error code decides before the HTTP status (Amazon S3 API reference,
//! "Error responses"); a status alone decides where there is no body, as in
//! every answer to HEAD. No 4xx but 404 for the object itself becomes
//! [`ErrorKind::NotFound`]: a missing bucket is a store that is not there.

use super::S3Store;
use crate::store::{Error, ErrorKind};
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

impl S3Store {
    /// The room's error for a failed request.
    pub(super) fn sdk_error<E>(
        &self,
        error: SdkError<E, HttpResponse>,
        operation: &'static str,
        subject: &str,
    ) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        match error {
            SdkError::ServiceError(service) => {
                let meta = service.err().meta();
                let code = meta.code().unwrap_or("");
                let kind = kind_of(status, code);
                let mut detail = format!("{} answered {status}", self.server);
                for part in [code, meta.message().unwrap_or("")] {
                    if !part.is_empty() {
                        detail += ": ";
                        detail += part;
                    }
                }
                if let Some(hint) = hint(status, code) {
                    detail = format!("{detail} ({hint})");
                }
                self.error(kind, operation, subject).with_detail(detail)
            }
            SdkError::TimeoutError(_) => self
                .error(ErrorKind::Unreachable, operation, subject)
                .with_detail(format!("{} did not answer in time", self.server))
                .with_source(error),
            SdkError::ConstructionFailure(_) => {
                self.error(ErrorKind::BadRequest, operation, subject).with_source(error)
            }
            error => self.transport_error(error, status, operation, subject),
        }
    }

    /// No usable answer came: was there nobody, or did the line break?
    fn transport_error<E>(
        &self,
        error: SdkError<E, HttpResponse>,
        status: u16,
        operation: &'static str,
        subject: &str,
    ) -> Error
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let chain = chain_text(&error);
        let (kind, detail) = if chain.contains("credential") {
            let detail = "no usable AWS credentials (environment, profile files, instance role)";
            (ErrorKind::Denied, detail.to_owned())
        } else if status != 0 {
            let detail = format!("{} answered {status} with what S3 never sends", self.server);
            (kind_of(status, "").transient_if_unclear(), detail)
        } else if chain.contains("(Connect)") || chain.contains("dns") {
            (ErrorKind::Unreachable, format!("cannot connect to {}", self.server))
        } else {
            (ErrorKind::Transient, format!("the connection to {} broke", self.server))
        };
        let source = error.into_source().unwrap_or_else(|error| Box::new(error));
        self.error(kind, operation, subject).with_detail(detail).with_source(source)
    }
}

impl ErrorKind {
    /// For an answer that could not be read: trying again may help.
    fn transient_if_unclear(self) -> Self {
        match self {
            Self::Throttled | Self::Denied => self,
            _ => Self::Transient,
        }
    }
}

fn kind_of(status: u16, code: &str) -> ErrorKind {
    match code {
        "NoSuchKey" | "NoSuchVersion" | "NotFound" => ErrorKind::NotFound,
        "NoSuchBucket" => ErrorKind::Unreachable,
        "NoSuchUpload"
        | "RequestTimeout"
        | "OperationAborted"
        | "ConditionalRequestConflict"
        | "InternalError"
        | "IncompleteBody" => ErrorKind::Transient,
        "PreconditionFailed" => ErrorKind::AlreadyExists,
        "SlowDown"
        | "ServiceUnavailable"
        | "Busy"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "SlowDownRead"
        | "SlowDownWrite" => ErrorKind::Throttled,
        "BadDigest"
        | "XAmzContentSHA256Mismatch"
        | "XAmzContentChecksumMismatch"
        | "InvalidRange"
        | "InvalidDigest" => ErrorKind::Integrity,
        "InvalidObjectState" => ErrorKind::Archived,
        "QuotaExceeded"
        | "XMinioStorageFull"
        | "InsufficientStorage"
        | "EntityTooLarge"
        | "XMinioAdminBucketQuotaExceeded" => ErrorKind::Full,
        "NotImplemented" | "GlacierExpeditedRetrievalNotAvailable" => ErrorKind::Unsupported,
        _ => kind_of_status(status),
    }
}

fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        404 | 410 => ErrorKind::NotFound,
        401 | 403 => ErrorKind::Denied,
        408 | 409 => ErrorKind::Transient,
        412 => ErrorKind::AlreadyExists,
        416 => ErrorKind::Integrity,
        429 | 503 => ErrorKind::Throttled,
        405 | 501 => ErrorKind::Unsupported,
        507 => ErrorKind::Full,
        500..=599 => ErrorKind::Transient,
        300..=499 => ErrorKind::BadRequest,
        _ => ErrorKind::Other,
    }
}

fn hint(status: u16, code: &str) -> Option<&'static str> {
    Some(match (status, code) {
        (_, "NoSuchBucket") => "create the bucket, or correct the store's URL",
        (_, "RequestTimeTooSkewed") => "this machine's clock is wrong",
        (_, "PermanentRedirect" | "AuthorizationHeaderMalformed") | (301 | 307, _) => {
            "the bucket is in another region: set the store's region"
        }
        (_, "SignatureDoesNotMatch" | "InvalidAccessKeyId") => "the credentials are wrong",
        (_, "ExpiredToken" | "TokenRefreshRequired") => "the credentials have expired",
        (_, "GlacierExpeditedRetrievalNotAvailable") => "ask for the tier Standard or Bulk",
        _ => return None,
    })
}

/// Every cause's text, to find what the SDK's types hide.
fn chain_text(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        text += &format!("{error}\n");
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_object_is_not_found() {
        assert_eq!(kind_of(404, "NoSuchKey"), ErrorKind::NotFound);
        assert_eq!(kind_of(404, "NoSuchBucket"), ErrorKind::Unreachable);
        for (status, code) in
            [(403, "AccessDenied"), (500, "InternalError"), (503, "SlowDown"), (301, ""), (0, "")]
        {
            assert_ne!(kind_of(status, code), ErrorKind::NotFound, "{status} {code}");
        }
    }

    #[test]
    fn a_code_says_more_than_its_status() {
        assert_eq!(kind_of(400, "RequestTimeout"), ErrorKind::Transient);
        assert_eq!(kind_of(400, "BadDigest"), ErrorKind::Integrity);
        assert_eq!(kind_of(403, "InvalidObjectState"), ErrorKind::Archived);
        assert_eq!(kind_of(403, "QuotaExceeded"), ErrorKind::Full);
        assert_eq!(kind_of(409, "ConditionalRequestConflict"), ErrorKind::Transient);
        assert_eq!(kind_of(412, "PreconditionFailed"), ErrorKind::AlreadyExists);
        assert_eq!(kind_of(507, ""), ErrorKind::Full);
        assert_eq!(kind_of(429, ""), ErrorKind::Throttled);
        assert_eq!(kind_of(502, ""), ErrorKind::Transient);
    }
}

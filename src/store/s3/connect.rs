//! Building the client: endpoint, region, credentials, timeouts.
//!
//! With a key and an endpoint of one's own nothing outside the options is read.
//! Otherwise the AWS chain decides what is not given (AWS_* variables, profile
//! files, web identity, container and instance roles). TLS roots are the
//! system's; `SSL_CERT_FILE` and `SSL_CERT_DIR` replace them (rustls-native-certs).

use super::S3Store;
use crate::store::{Result, StoreOptions, sockets};
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, Credentials, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The region of servers that do not care, and what the SDK signs for them.
const DEFAULT_REGION: &str = "us-east-1";

/// A transfer that moves no byte for this long has stalled.
const STALL: Duration = Duration::from_secs(60);

/// The SDK's defaults of this date; pinned, so that an update of the crate
/// changes no behaviour by itself.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

pub(super) fn connect(bucket: &str, prefix: &str, options: &StoreOptions) -> Result<S3Store> {
    let runtime = sockets::start("hsm-s3", &options.url)?;
    let config = configure(&runtime, options);
    let region = config.region().map_or(DEFAULT_REGION, Region::as_ref).to_owned();
    let server = options.endpoint.clone().unwrap_or_else(|| format!("AWS S3 in {region}"));
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let class = options.storage_class.as_deref().filter(|class| *class != "STANDARD");
    Ok(S3Store {
        client: aws_sdk_s3::Client::from_conf(config),
        runtime,
        bucket: bucket.to_owned(),
        prefix,
        server,
        storage_class: class.map(StorageClass::from),
        sse: options.sse.as_deref().map(encryption),
        checksums: options.checksums,
        concurrency: options.concurrency.max(1),
        read_timeout: options.read_timeout,
        connect_timeout: options.connect_timeout,
        condition_proven: options.conditional_create == Some(true),
        sends_condition: AtomicBool::new(options.conditional_create != Some(false)),
        bucket_seen: AtomicBool::new(false),
    })
}

fn configure(runtime: &Runtime, options: &StoreOptions) -> aws_sdk_s3::Config {
    let region = options.region.clone().map(Region::new);
    let fallback = Region::from_static(DEFAULT_REGION);
    let mut builder = match &options.access_key {
        Some(key) => Builder::new()
            .behavior_version(behavior())
            .region(region.unwrap_or(fallback))
            .credentials_provider(Credentials::new(
                &key.id,
                &key.secret,
                options.session_token.clone(),
                None,
                "given",
            )),
        None => {
            let mut loader = aws_config::defaults(behavior());
            if let Some(region) = region {
                loader = loader.region(region);
            }
            if let Some(profile) = &options.profile {
                loader = loader.profile_name(profile);
            }
            let chain = runtime.block_on(loader.load());
            Builder::from(&chain).region(chain.region().cloned().unwrap_or(fallback))
        }
    };
    if let Some(endpoint) = &options.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    builder
        .force_path_style(options.path_style.unwrap_or(options.endpoint.is_some()))
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts(options.connect_timeout, options.read_timeout))
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled().grace_period(STALL).build(),
        )
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build()
}

/// The SDK's read timeout runs from the first byte sent to the first byte of
/// the answer, so a body's sending is part of it.
pub(super) fn timeouts(connect: Duration, read: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(connect).read_timeout(read).build()
}

/// `aws:kms:KEY` is `aws:kms` under a key of one's own.
fn encryption(text: &str) -> (ServerSideEncryption, Option<String>) {
    match text.strip_prefix("aws:kms:").filter(|key| *key != "dsse") {
        Some(key) => (ServerSideEncryption::AwsKms, Some(key.to_owned())),
        None => (ServerSideEncryption::from(text), None),
    }
}

//! One HTTP request and its whole answer, with a limit for each step.
//!
//! The client is the one that the S3 client is built on (hyper, rustls with the
//! system's certificates), without its signing and its retries: those are
//! [`Retrying`](crate::store::Retrying)'s. Redirects are not followed, since a
//! token would go with them.

use crate::errand::Errand;
use crate::store::StoreOptions;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
use hyper::{Method, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;

/// A body may be sent as slowly as this before its request times out.
const SLOWEST_BYTES_PER_S: u64 = 16 << 10;

/// An answer that moves no byte for this long has stalled.
const STALL: Duration = Duration::from_secs(60);

/// Idle connections are closed before servers do so (Swift's proxy: 60 s), since
/// a request into a closing connection is lost.
const IDLE: Duration = Duration::from_secs(20);

/// Room for an answer that is no object: a page of a listing, a catalog.
pub(super) const PAGE_BYTES: u64 = 64 << 20;

/// Why there is no usable answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// Nobody there.
    Connect(Box<dyn std::error::Error + Send + Sync>),
    /// The line broke, or what came is not HTTP.
    Cut(Box<dyn std::error::Error + Send + Sync>),
    /// Nothing came for too long.
    Silent,
    /// More came than was announced or makes sense.
    TooLong,
    /// It cannot be sent at all.
    Request(String),
}

/// A whole answer.
pub(super) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// What is asked; header values of secrets are marked so that no log shows them.
#[derive(Clone)]
pub(super) struct Question {
    pub method: Method,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The longest body that is taken.
    pub limit_bytes: u64,
}

impl Question {
    pub fn new(method: Method) -> Self {
        Self { method, headers: HeaderMap::new(), body: Bytes::new(), limit_bytes: PAGE_BYTES }
    }

    /// `None` if the value cannot be sent as a header.
    pub fn with(mut self, name: &'static str, value: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(name.starts_with("x-auth"));
        self.headers.insert(name, value);
        Some(self)
    }
}

#[derive(Debug)]
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    read_timeout: Duration,
}

impl Http {
    pub fn new(options: &StoreOptions) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(options.connect_timeout));
        tcp.set_keepalive(Some(STALL));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self { client, read_timeout: options.read_timeout }
    }

    /// Sends a question and collects the answer. Each piece of its body is told
    /// to the thread's errand.
    pub async fn ask(&self, url: &str, question: Question) -> Result<Answer, Broken> {
        let sending = Duration::from_secs(question.body.len() as u64 / SLOWEST_BYTES_PER_S);
        let limit_bytes = question.limit_bytes;
        let mut request = Request::new(Full::new(question.body));
        *request.method_mut() = question.method;
        // For a body of no bytes hyper would say no length, which Swift refuses.
        let length = HeaderValue::from(request.body().size_hint().lower());
        *request.headers_mut() = question.headers;
        if matches!(*request.method(), Method::PUT | Method::POST) {
            request.headers_mut().insert(CONTENT_LENGTH, length);
        }
        *request.uri_mut() =
            url.parse().map_err(|_| Broken::Request(format!("bad URL {url:?}")))?;
        let answer =
            tokio::time::timeout(self.read_timeout + sending, self.client.request(request))
                .await
                .map_err(|_| Broken::Silent)?
                .map_err(|error| match error.is_connect() {
                    true => Broken::Connect(error.into()),
                    false => Broken::Cut(error.into()),
                })?;
        let (head, mut body) = answer.into_parts();
        // A refusal explains itself, whatever was asked for.
        let limit_bytes = if head.status.is_success() { limit_bytes } else { PAGE_BYTES };
        let mut bytes = Vec::with_capacity(announced(&head.headers).min(limit_bytes) as usize);
        while let Some(frame) =
            tokio::time::timeout(STALL, body.frame()).await.map_err(|_| Broken::Silent)?
        {
            let frame = frame.map_err(|error| Broken::Cut(error.into()))?;
            let Ok(piece) = frame.into_data() else { continue };
            Errand::arrive(piece.len());
            if (bytes.len() + piece.len()) as u64 > limit_bytes {
                return Err(Broken::TooLong);
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: bytes.into() })
    }
}

/// A length that a hostile server may have made up; at most so much is reserved
/// before it came.
fn announced(headers: &HeaderMap) -> u64 {
    const RESERVE_BYTES: u64 = 64 << 20;
    let length =
        headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or(0).min(RESERVE_BYTES)
}

/// The system's roots; `SSL_CERT_FILE` and `SSL_CERT_DIR` replace them. Without
/// any, an `https` server is refused and an `http` one still works.
fn tls() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

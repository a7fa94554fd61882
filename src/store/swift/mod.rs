//! A store in an OpenStack Swift container.
//!
//! Objects are sent in one request each, with their MD5, which Swift checks before
//! it shows them (API reference, "Create or replace object"); packs are far below
//! its limit for that, so no segments. What Swift does not have: an object server
//! looks whether a name is free before it writes, so two writers of one name at
//! once may both be told yes, and [`Precaution::CreateNew`] is not honoured; and
//! its listings are those of container servers, which may lag behind objects for
//! as long as one of them is away (docs/STORES.md says what follows for `gc`).
//!
//! Async code, as in `s3`, stays in this room: a read that nobody wants any more
//! is dropped, which no blocking client can do.

mod errors;
mod http;
mod list;
mod login;
mod session;
#[cfg(test)]
mod tests;

use super::sums::md5_hex;
use super::{
    Access, Error, ErrorKind, Key, ObjectInfo, PROBE_PREFIX, Precaution, Protections, PutOptions,
    PutReceipt, Result, Store, StoreOptions, SweepStats, sockets,
};
use crate::fault;
use bytes::Bytes;
use http::{Answer, Http, Question};
use hyper::Method;
use login::Login;
use session::Sessions;
use std::ops::Range;
use tokio::runtime::Runtime;

/// The longest object that Swift takes in one request (its `max_file_size`; a
/// cluster may have set it lower, which its 413 says).
const LONGEST_OBJECT_BYTES: u64 = 5 << 30;

/// A container, or the part of it below a prefix, as a store.
#[derive(Debug)]
pub struct SwiftStore {
    runtime: Runtime,
    http: Http,
    sessions: Sessions,
    container: String,
    /// Empty, or ending in `/`.
    prefix: String,
}

impl SwiftStore {
    /// A store for `container` below `prefix` (no slash at its end). Nothing is
    /// asked of the server yet.
    pub fn connect(container: &str, prefix: &str, options: &StoreOptions) -> Result<Self> {
        let login = Login::find(options)?;
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self {
            runtime: sockets::start("hsm-swift", &options.url)?,
            http: Http::new(options),
            sessions: Sessions::new(login),
            container: container.to_owned(),
            prefix,
        })
    }

    fn error(&self, kind: ErrorKind, operation: &'static str, subject: &str) -> Error {
        Error::new(kind, operation, subject, self.location())
    }

    fn object_path(&self, key: &Key) -> String {
        format!("/{}/{}", escaped(&self.container), escaped(&format!("{}{key}", self.prefix)))
    }

    fn container_path(&self) -> String {
        format!("/{}", escaped(&self.container))
    }

    /// As for S3: blocks on a request that changes nothing while it is wanted.
    fn wait_for<T>(
        &self,
        operation: &'static str,
        subject: &str,
        request: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        sockets::while_wanted(&self.runtime, request)
            .unwrap_or_else(|| Err(self.error(ErrorKind::Stopped, operation, subject)))
    }

    /// Asks the account at `path`; with a new token if the one at hand is
    /// refused, once.
    async fn ask(
        &self,
        operation: &'static str,
        subject: &str,
        path: &str,
        question: Question,
    ) -> Result<Answer> {
        let mut refused = None;
        loop {
            let session = self.sessions.get(&self.http, refused.as_ref()).await;
            let session = session.map_err(|why| self.no_session(why, operation, subject))?;
            let url = format!("{}{path}", session.account_url);
            let asked = question.clone().with("x-auth-token", &session.token).ok_or_else(|| {
                self.error(ErrorKind::Denied, operation, subject)
                    .with_detail("the login gave a token that no header can hold")
            })?;
            let answer = self.http.ask(&url, asked).await;
            let answer = answer.map_err(|why| self.broken(why, operation, subject))?;
            if answer.status != 401 || refused.is_some() {
                return Ok(answer);
            }
            refused = Some(session);
        }
    }

    fn check_length(&self, key: &Key, size_bytes: u64) -> Result<()> {
        if size_bytes <= LONGEST_OBJECT_BYTES {
            return Ok(());
        }
        Err(self
            .error(ErrorKind::BadRequest, "put", key.as_str())
            .with_detail(format!("{size_bytes} bytes: Swift takes objects of 5 GiB at most")))
    }

    async fn put_object(
        &self,
        key: &Key,
        body: &Bytes,
        declared: Option<&str>,
        create_new: bool,
    ) -> Result<PutReceipt> {
        let fail = |kind| self.error(kind, "put", key.as_str());
        let size_bytes = body.len() as u64;
        self.check_length(key, size_bytes)?;
        let plain = Question { body: body.clone(), ..Question::new(Method::PUT) };
        let sent = plain
            .with("content-type", "application/octet-stream")
            .and_then(|sent| match declared {
                Some(sum) => sent.with("etag", sum),
                None => Some(sent),
            })
            .and_then(|sent| match create_new {
                true => sent.with("if-none-match", "*"),
                false => Some(sent),
            })
            .expect("sums are hex digits");
        let answer = self.ask("put", key.as_str(), &self.object_path(key), sent).await?;
        match answer.status {
            201 => {}
            // What is missing when one writes is the container.
            404 => return Err(self.no_container("put", key.as_str())),
            _ => return Err(self.answered(&answer, "put", key.as_str())),
        }
        let (etag, ours) = (bare_etag(&answer), md5_hex(body));
        if declared.is_some() && etag.as_ref().is_some_and(|etag| *etag != ours) {
            return Err(fail(ErrorKind::Integrity)
                .with_detail(format!("the store holds another MD5 than {ours}, which was sent")));
        }
        Ok(PutReceipt {
            key: key.clone(),
            size_bytes,
            etag,
            server_sha256: None,
            sent_sha256: None,
        })
    }

    async fn get_object(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let mut question = Question::new(Method::GET);
        question.limit_bytes = LONGEST_OBJECT_BYTES;
        if let Some(range) = &range {
            if range.is_empty() {
                return Err(self
                    .error(ErrorKind::BadRequest, "get", key.as_str())
                    .with_detail(format!("range {range:?} is empty")));
            }
            question.limit_bytes = range.end - range.start;
            let header = format!("bytes={}-{}", range.start, range.end - 1);
            question = question.with("range", &header).expect("digits are a header");
        }
        let answer = self.ask("get", key.as_str(), &self.object_path(key), question).await?;
        if !answer.is_success() {
            return Err(self.blaming_the_container(&answer, "get", key).await);
        }
        let wrong = |detail: String| {
            Err(self.error(ErrorKind::Integrity, "get", key.as_str()).with_detail(detail))
        };
        let Some(range) = range else {
            return match answer.header("content-length").map(str::parse::<u64>) {
                Some(Ok(len)) if len == answer.body.len() as u64 => Ok(answer.body),
                _ => wrong(format!("{} bytes came, and not as announced", answer.body.len())),
            };
        };
        let wanted = format!("bytes {}-{}/", range.start, range.end - 1);
        let given = answer.header("content-range").unwrap_or("no range");
        if answer.status != 206 || !given.starts_with(&wanted) {
            return wrong(format!("{given} was given, {range:?} wanted"));
        }
        if answer.body.len() as u64 != range.end - range.start {
            return wrong(format!("{} bytes came for {range:?}", answer.body.len()));
        }
        Ok(answer.body)
    }

    async fn head_object(&self, key: &Key) -> Result<ObjectInfo> {
        let question = Question::new(Method::HEAD);
        let answer = self.ask("head", key.as_str(), &self.object_path(key), question).await?;
        if !answer.is_success() {
            return Err(self.blaming_the_container(&answer, "head", key).await);
        }
        let size = answer.header("content-length").and_then(|size| size.parse().ok());
        Ok(ObjectInfo {
            key: key.clone(),
            size_bytes: size.ok_or_else(|| {
                self.error(ErrorKind::Integrity, "head", key.as_str())
                    .with_detail("no size was given")
            })?,
            modified_ns: modified_ns(&answer),
            etag: bare_etag(&answer),
            access: Access::Now,
            storage_class: None,
            sha256: None,
        })
    }

    /// The error of an answer about an object. A 404 is only the object's if the
    /// container is there.
    async fn blaming_the_container(
        &self,
        answer: &Answer,
        operation: &'static str,
        key: &Key,
    ) -> Error {
        let error = self.answered(answer, operation, key.as_str());
        if !error.is_not_found() {
            return error;
        }
        match self.head_container(operation, key.as_str()).await {
            Ok(_) => error,
            Err(about_container) => about_container,
        }
    }

    async fn head_container(&self, operation: &'static str, subject: &str) -> Result<Answer> {
        let question = Question::new(Method::HEAD);
        let answer = self.ask(operation, subject, &self.container_path(), question).await?;
        match answer.status {
            404 => Err(self.no_container(operation, subject)),
            _ if !answer.is_success() => Err(self.answered(&answer, operation, subject)),
            _ => Ok(answer),
        }
    }

    fn no_container(&self, operation: &'static str, subject: &str) -> Error {
        self.error(ErrorKind::Unreachable, operation, subject).with_detail(format!(
            "the account has no container {} (create it with: swift post {}; or correct the \
             store's URL)",
            self.container, self.container
        ))
    }

    async fn delete_object(&self, key: &Key) -> Result<()> {
        let question = Question::new(Method::DELETE);
        let answer = self.ask("delete", key.as_str(), &self.object_path(key), question).await?;
        if answer.is_success() {
            return Ok(());
        }
        match self.blaming_the_container(&answer, "delete", key).await {
            error if error.is_not_found() => Ok(()),
            error => Err(error),
        }
    }

    /// Whether an object whose declared MD5 is not its own is refused.
    async fn refuses_wrong_sum(&self, scratch: &Key) -> Result<bool> {
        let body = Bytes::from_static(b"hsm probe: a body");
        let right = md5_hex(&body);
        self.put_object(scratch, &body, Some(&right), false).await?;
        let wrong = md5_hex(b"hsm probe: another body");
        match self.put_object(scratch, &body, Some(&wrong), false).await {
            Ok(_) => Ok(false),
            Err(error) => match error.kind() {
                ErrorKind::Integrity | ErrorKind::BadRequest => Ok(true),
                _ => Err(error),
            },
        }
    }
}

impl Store for SwiftStore {
    fn location(&self) -> String {
        let prefix = self.prefix.trim_end_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        format!("swift://{}{slash}{prefix}", self.container)
    }

    fn put(&self, key: &Key, body: Bytes, options: &PutOptions) -> Result<PutReceipt> {
        fault::effect("store.put").map_err(|error| {
            self.error(ErrorKind::Other, "put", key.as_str()).with_source(error)
        })?;
        // The probe finds out whether the ETag is an MD5 that the server itself
        // has computed: it must not have been told.
        let sum = (!key.as_str().starts_with(PROBE_PREFIX)).then(|| md5_hex(&body));
        self.runtime.block_on(self.put_object(key, &body, sum.as_deref(), options.create_new))
    }

    fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        self.wait_for("get", key.as_str(), self.get_object(key, range))
    }

    fn head(&self, key: &Key) -> Result<ObjectInfo> {
        self.wait_for("head", key.as_str(), self.head_object(key))
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&Key>,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> Result<()> {
        self.list_objects(prefix, start_after, visit)
    }

    fn delete(&self, key: &Key) -> Result<()> {
        fault::effect("store.delete").map_err(|error| {
            self.error(ErrorKind::Other, "delete", key.as_str()).with_source(error)
        })?;
        self.runtime.block_on(self.delete_object(key))
    }

    /// An upload that was cut leaves nothing that could be swept.
    fn sweep(&self, _older_than_ns: i64) -> Result<SweepStats> {
        self.wait_for("sweep", "", self.head_container("sweep", ""))?;
        Ok(SweepStats::default())
    }

    fn lock_until(&self, _key: &Key, _until_ns: i64) -> Result<bool> {
        Ok(false)
    }

    fn protections(&self) -> Result<Protections> {
        let asked = self.head_container("ask about protections", "");
        let answer = self.wait_for("ask about protections", "", asked)?;
        let is_on =
            |name| answer.header(name).is_some_and(|value| !value.eq_ignore_ascii_case("false"));
        let versioned = ["x-versions-enabled", "x-versions-location", "x-history-location"];
        Ok(Protections { versioning: Some(versioned.into_iter().any(is_on)), object_lock: None })
    }

    /// Swift checks MD5 sums only, and its condition does not hold against a
    /// writer that races it.
    fn honours(&self, precaution: Precaution, scratch: &Key) -> Result<bool> {
        match precaution {
            Precaution::DeclaredSum => self.runtime.block_on(self.refuses_wrong_sum(scratch)),
            Precaution::DeclaredPartSum | Precaution::CreateNew => Ok(false),
        }
    }
}

fn bare_etag(answer: &Answer) -> Option<String> {
    Some(answer.header("etag")?.trim_matches('"').to_ascii_lowercase())
}

/// `X-Timestamp` is exact; every HTTP server has `Last-Modified`, in seconds.
fn modified_ns(answer: &Answer) -> i64 {
    let exact = answer.header("x-timestamp").and_then(|text| text.parse::<f64>().ok());
    let exact = exact.filter(|seconds| *seconds > 0.0).map(|seconds| (seconds * 1e9) as i64);
    let rough = || {
        let time = chrono::DateTime::parse_from_rfc2822(answer.header("last-modified")?).ok()?;
        time.timestamp_nanos_opt()
    };
    exact.or_else(rough).unwrap_or(0)
}

/// Text as part of a URL's path or query: everything but unreserved letters
/// (RFC 3986) and the slash between segments becomes `%XX`.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                escaped.push(char::from(byte));
            }
            byte => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

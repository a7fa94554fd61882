//! A real S3 endpoint inside the test's own process: s3s over s3s-fs on a port
//! of the loopback interface, ready in milliseconds, with a service in front
//! that can misbehave on command.
//!
//! Included by path into the library's tests and into tests in this directory,
//! so it names nothing of `hsm`. What the server underneath lacks: storage
//! classes other than two, versioning, listing of multipart uploads.
#![allow(dead_code)]

#[path = "s3_server_cold.rs"]
mod cold;

#[allow(unused_imports)] // each suite uses its part
pub use cold::{Clerk, Vault};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder as ConnectionBuilder;
use md5::Digest as _;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

pub const BUCKET: &str = "hsm-test";
pub const ACCESS_KEY_ID: &str = "hsm-test-key";
pub const SECRET_ACCESS_KEY: &str = "hsm-test-secret";

/// How the server misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misdeed {
    /// 503 SlowDown, and the request is not looked at.
    SlowDown,
    /// 403 AccessDenied, likewise.
    Forbid,
    /// 507, likewise.
    Full,
    /// The request is carried out, the connection cut before the answer.
    CutAfter,
    /// The connection is cut before the request is carried out.
    CutBefore,
    /// The body of a GET has one flipped bit.
    FlipBody,
    /// The body of a GET ends in the middle although its length was announced.
    TruncateBody,
    /// The body of a GET ends in the middle, and so says its length.
    ShortenBody,
    /// The object is gone: 404 NoSuchKey.
    Forget,
    /// The request is taken and never answered.
    Stall,
    /// The body of a GET comes in small pieces, 100 ms apart, all of it.
    Drip,
    /// The server dies: this request and all after it are cut, until
    /// [`S3Server::revive`].
    Die,
    /// A finished upload answers 200 and has stored other bytes, which later
    /// answers describe as they are.
    StoreOther,
    /// Sums are neither checked nor returned.
    IgnoreSums,
    /// No ETag is told.
    HideEtag,
    /// `If-None-Match` is answered 501.
    RefuseConditions,
    /// `If-None-Match` is ignored.
    IgnoreConditions,
}

/// A request as it came, headers in lower case.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub uri: String,
    pub headers: Vec<(String, String)>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

struct Rule {
    method: Option<Method>,
    /// Part of the URI's path; empty for all.
    path: String,
    /// So many matching requests are answered as they should be first.
    skip: u32,
    times: u32,
    misdeed: Misdeed,
}

#[derive(Default)]
struct Shared {
    rules: Mutex<Vec<Rule>>,
    answers: Mutex<HashMap<String, (u16, String)>>,
    seen: Mutex<Vec<Seen>>,
    dead: AtomicBool,
    /// The server has archive classes.
    vault: Option<Arc<Vault>>,
}

/// The server; it dies with this value.
pub struct S3Server {
    pub endpoint: String,
    root: tempfile::TempDir,
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl S3Server {
    /// Starts a server with one empty bucket, [`BUCKET`].
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// The same with archive classes, and for anybody: a class that the server
    /// underneath refuses is taken out of the request, which was signed with it.
    pub fn start_cold() -> Self {
        Self::start_with(Some(Arc::default()))
    }

    fn start_with(vault: Option<Arc<Vault>>) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(root.path().join(BUCKET)).expect("the bucket's directory");
        let files = s3s_fs::FileSystem::new(root.path()).expect("a directory to serve");
        let mut builder = S3ServiceBuilder::new(files);
        if vault.is_none() {
            builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        }
        let shared = Arc::new(Shared { vault, ..Shared::default() });
        let front = Front {
            service: builder.build(),
            shared: Arc::clone(&shared),
            bucket: root.path().join(BUCKET),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("s3-server")
            .enable_all()
            .build()
            .expect("a runtime");
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let front = front.clone();
                tokio::spawn(async move {
                    let builder = ConnectionBuilder::new(TokioExecutor::new());
                    // An error is a connection cut, by us or by the client.
                    let _ = builder.serve_connection(TokioIo::new(socket), front).await;
                });
            }
        });
        Self { endpoint, root, shared, runtime: Some(runtime) }
    }

    /// Of a server that was started cold.
    pub fn vault(&self) -> &Vault {
        self.shared.vault.as_ref().expect("a cold server")
    }

    /// The next `times` requests of `method` (all without one) meet `misdeed`.
    pub fn misbehave(&self, method: Option<&str>, times: u32, misdeed: Misdeed) {
        self.misbehave_at(method, "", 0, times, misdeed);
    }

    /// The same for requests whose path contains `path` (a listing's path is
    /// the bucket), after `skip` of them.
    pub fn misbehave_at(
        &self,
        method: Option<&str>,
        path: &str,
        skip: u32,
        times: u32,
        misdeed: Misdeed,
    ) {
        let method = method.map(|name| name.parse().expect("a method"));
        let rule = Rule { method, path: path.to_owned(), skip, times, misdeed };
        self.shared.rules.lock().expect("no panic").push(rule);
    }

    /// A server that died answers again, with the objects it had.
    pub fn revive(&self) {
        self.behave();
        self.shared.dead.store(false, Ordering::SeqCst);
    }

    /// From now on requests with this query, such as `versioning`, are answered
    /// with this: for what the server underneath lacks.
    pub fn answer(&self, query: &str, status: u16, body: &str) {
        let mut answers = self.shared.answers.lock().expect("no panic");
        answers.insert(query.to_owned(), (status, body.to_owned()));
    }

    pub fn behave(&self) {
        self.shared.rules.lock().expect("no panic").clear();
    }

    /// The requests since the last call.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.seen.lock().expect("no panic"))
    }

    /// The file in which the server keeps an object.
    pub fn object_path(&self, key: &str) -> PathBuf {
        self.root.path().join(BUCKET).join(key)
    }

    /// Takes the bucket away.
    pub fn remove_bucket(&self) {
        std::fs::remove_dir_all(self.root.path().join(BUCKET)).expect("remove the bucket");
    }

    /// Parts of multipart uploads that were neither finished nor aborted.
    pub fn unfinished_parts(&self) -> usize {
        let entries = std::fs::read_dir(self.root.path()).expect("the root");
        entries
            .filter(|entry| {
                let name = entry.as_ref().expect("an entry").file_name();
                name.to_string_lossy().starts_with(".upload_id-")
            })
            .count()
    }

    /// Stops listening and cuts every connection.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Clone)]
struct Front {
    service: S3Service,
    shared: Arc<Shared>,
    bucket: PathBuf,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<s3s::Body>, io::Error>> + Send>>;

impl hyper::service::Service<Request<Incoming>> for Front {
    type Response = Response<s3s::Body>;
    type Error = io::Error;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let front = self.clone();
        Box::pin(async move { front.answer(request.map(s3s::Body::from)).await })
    }
}

impl Front {
    /// Notes the request and finds what is to go wrong with it.
    fn enter(&self, request: &Request<s3s::Body>) -> Vec<Misdeed> {
        let headers = request.headers().iter().map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        self.shared.seen.lock().expect("no panic").push(Seen {
            method: request.method().to_string(),
            uri: request.uri().to_string(),
            headers: headers.collect(),
        });
        let mut misdeeds = Vec::new();
        for rule in self.shared.rules.lock().expect("no panic").iter_mut() {
            let meant = rule.method.as_ref().is_none_or(|m| m == request.method())
                && request.uri().path().contains(&rule.path);
            if meant && rule.skip > 0 {
                rule.skip -= 1;
            } else if meant && rule.times > 0 {
                rule.times -= 1;
                misdeeds.push(rule.misdeed);
            }
        }
        if misdeeds.contains(&Misdeed::Die) {
            self.shared.dead.store(true, Ordering::SeqCst);
        }
        misdeeds
    }

    async fn answer(
        &self,
        mut request: Request<s3s::Body>,
    ) -> Result<Response<s3s::Body>, io::Error> {
        let misdeeds = self.enter(&request);
        let does = |misdeed| misdeeds.contains(&misdeed);
        let method = request.method().clone();
        let query = request.uri().query().unwrap_or("").to_owned();
        let object = self.object_of(request.uri().path());
        let conditional = request.headers().contains_key("if-none-match");
        let refusals = [Misdeed::SlowDown, Misdeed::Forbid, Misdeed::Full, Misdeed::Forget];
        if misdeeds.iter().any(|misdeed| refusals.contains(misdeed)) {
            // A refusal in the middle of a body resets the connection, and the
            // client may never see it.
            let read = request.body_mut().store_all_limited(1 << 30).await;
            read.map_err(io::Error::other)?;
        }
        if does(Misdeed::SlowDown) {
            return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"));
        }
        if does(Misdeed::Forbid) {
            return Ok(refusal(StatusCode::FORBIDDEN, "AccessDenied"));
        }
        if does(Misdeed::Full) {
            return Ok(refusal(StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage"));
        }
        if does(Misdeed::Forget) {
            return Ok(refusal(StatusCode::NOT_FOUND, "NoSuchKey"));
        }
        if self.shared.dead.load(Ordering::SeqCst) {
            return Err(io::Error::other("the server is dead"));
        }
        if does(Misdeed::Stall) {
            std::future::pending::<()>().await;
        }
        if does(Misdeed::CutBefore) {
            return Err(io::Error::other("cut before the request was carried out"));
        }
        if conditional && does(Misdeed::RefuseConditions) {
            return Ok(refusal(StatusCode::NOT_IMPLEMENTED, "NotImplemented"));
        }
        if conditional && does(Misdeed::IgnoreConditions) {
            // The condition is signed, so it cannot be taken out of the
            // request; without the object it holds.
            let _ = std::fs::remove_file(&object);
        }
        let own = self.shared.answers.lock().expect("no panic").get(&query).cloned();
        if let Some((status, body)) = own {
            let read = request.body_mut().store_all_limited(1 << 20).await;
            read.map_err(io::Error::other)?;
            let mut answer = Response::new(s3s::Body::from(body));
            *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
            return Ok(answer);
        }
        let key = request.uri().path().to_owned();
        let class = match &self.shared.vault {
            Some(vault) => match at_the_vault(vault, &mut request).await? {
                Ok(class) => class,
                Err(answer) => return Ok(*answer),
            },
            None => None,
        };
        let answered = self.service.call(request).await;
        let mut answer = answered.map_err(|error| io::Error::other(format!("{error:?}")))?;
        let finishes = method == Method::PUT && !query.contains("uploadId")
            || method == Method::POST && query.contains("uploadId");
        if let Some(vault) = &self.shared.vault {
            leave_the_vault(vault, &method, &key, &query, class, &mut answer);
        }
        if does(Misdeed::CutAfter) {
            return Err(io::Error::other("cut before the answer"));
        }
        if does(Misdeed::IgnoreSums) {
            answer = without_sums(answer, &object);
        }
        if does(Misdeed::HideEtag) {
            answer.headers_mut().remove("etag");
        }
        if finishes && answer.status().is_success() && does(Misdeed::StoreOther) {
            let mut bytes = std::fs::read(&object)?;
            flip_bit(&mut bytes);
            std::fs::write(&object, bytes)?;
            // Without its notes the server describes what is stored.
            let _ = std::fs::remove_file(self.notes_of(&object));
        }
        if method == Method::GET && answer.status().is_success() {
            answer = spoil_body(answer, &misdeeds).await?;
        }
        Ok(answer)
    }

    fn object_of(&self, path: &str) -> PathBuf {
        let key = path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
        self.bucket.join(key)
    }

    /// Where the server underneath keeps sums and metadata of an object.
    fn notes_of(&self, object: &Path) -> PathBuf {
        let key = object.strip_prefix(&self.bucket).expect("an object of the bucket");
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let key = encode(key.to_str().expect("keys are text"));
        let name = format!(".bucket-{}.object-{key}.internal.json", encode(BUCKET));
        self.bucket.with_file_name(name)
    }
}

fn refusal(status: StatusCode, code: &str) -> Response<s3s::Body> {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <Error><Code>{code}</Code><Message>injected by the test</Message></Error>"
    );
    let mut answer = Response::new(s3s::Body::from(xml));
    *answer.status_mut() = status;
    answer
}

/// What the vault answers by itself; else the class that the object is put in.
async fn at_the_vault(
    vault: &Vault,
    request: &mut Request<s3s::Body>,
) -> Result<Result<Option<String>, Box<Response<s3s::Body>>>, io::Error> {
    let (method, key) = (request.method().clone(), request.uri().path().to_owned());
    let query = request.uri().query().unwrap_or("").to_owned();
    if method == Method::POST
        && query.split('&').any(|part| part.trim_end_matches('=') == "restore")
    {
        let body = request.body_mut().store_all_limited(1 << 20).await.map_err(io::Error::other)?;
        let (status, code) = vault.order(&key, &String::from_utf8_lossy(&body));
        let status = StatusCode::from_u16(status).expect("a status");
        if !status.is_success() {
            return Ok(Err(Box::new(refusal(status, code))));
        }
        let mut answer = Response::new(s3s::Body::empty());
        *answer.status_mut() = status;
        return Ok(Err(Box::new(answer)));
    }
    if method == Method::GET && vault.is_locked(&key) {
        return Ok(Err(Box::new(refusal(StatusCode::FORBIDDEN, "InvalidObjectState"))));
    }
    let headers = request.headers_mut();
    headers.remove("authorization");
    let class = headers.remove("x-amz-storage-class");
    Ok(Ok(class.and_then(|class| class.to_str().ok().map(str::to_owned))))
}

fn leave_the_vault(
    vault: &Vault,
    method: &Method,
    key: &str,
    query: &str,
    class: Option<String>,
    answer: &mut Response<s3s::Body>,
) {
    if !answer.status().is_success() {
        return;
    }
    let creates = *method == Method::PUT && !query.contains("uploadId")
        || *method == Method::POST && query.contains("uploads");
    if creates {
        vault.keep(key, class.as_deref());
    } else if *method == Method::DELETE {
        vault.keep(key, None);
    } else if *method == Method::HEAD {
        let about =
            [("x-amz-storage-class", vault.class_of(key)), ("x-amz-restore", vault.header_of(key))];
        for (name, value) in about {
            if let Some(value) = value {
                answer.headers_mut().insert(name, value.parse().expect("a header"));
            }
        }
    }
}

fn flip_bit(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
}

/// The server underneath leaves a refused object behind: answer that all is
/// well.
fn without_sums(mut answer: Response<s3s::Body>, object: &PathBuf) -> Response<s3s::Body> {
    if answer.status() == StatusCode::BAD_REQUEST
        && let Ok(bytes) = std::fs::read(object)
    {
        answer = Response::new(s3s::Body::empty());
        let etag = format!("\"{}\"", hex::encode(md5::Md5::digest(bytes)));
        answer.headers_mut().insert("etag", etag.parse().expect("a header"));
    }
    for name in ["x-amz-checksum-sha256", "x-amz-checksum-type"] {
        answer.headers_mut().remove(name);
    }
    answer
}

async fn spoil_body(
    answer: Response<s3s::Body>,
    misdeeds: &[Misdeed],
) -> Result<Response<s3s::Body>, io::Error> {
    let does = |misdeed| misdeeds.contains(&misdeed);
    let spoilt = [Misdeed::FlipBody, Misdeed::TruncateBody, Misdeed::ShortenBody, Misdeed::Drip];
    if !misdeeds.iter().any(|misdeed| spoilt.contains(misdeed)) {
        return Ok(answer);
    }
    let (mut head, mut body) = answer.into_parts();
    let bytes = body.store_all_limited(1 << 30).await.map_err(io::Error::other)?;
    let half = bytes.slice(..bytes.len() / 2);
    let body = if does(Misdeed::Drip) {
        s3s::Body::http_body(Dripping { left: bytes, next: None })
    } else if does(Misdeed::TruncateBody) {
        s3s::Body::http_body(Truncated { half: Some(half), announced: bytes.len() as u64 })
    } else if does(Misdeed::ShortenBody) {
        head.headers.insert("content-length", half.len().into());
        s3s::Body::from(half)
    } else {
        let mut bytes = bytes.to_vec();
        flip_bit(&mut bytes);
        s3s::Body::from(bytes)
    };
    Ok(Response::from_parts(head, body))
}

/// Announces more than it sends, then breaks.
struct Truncated {
    half: Option<Bytes>,
    announced: u64,
}

impl HttpBody for Truncated {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(match self.half.take() {
            Some(half) => Ok(Frame::data(half)),
            None => Err(io::Error::other("cut in the middle of the body")),
        }))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}

/// Sends pieces of [`DRIP_BYTES`], each [`DRIP_PACE`] after the one before.
struct Dripping {
    left: Bytes,
    next: Option<Pin<Box<tokio::time::Sleep>>>,
}

const DRIP_BYTES: usize = 16 << 10;
const DRIP_PACE: std::time::Duration = std::time::Duration::from_millis(100);

impl HttpBody for Dripping {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let next = self.next.get_or_insert_with(|| Box::pin(tokio::time::sleep(DRIP_PACE)));
        std::task::ready!(next.as_mut().poll(context));
        self.next = None;
        let len = self.left.len().min(DRIP_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(len)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

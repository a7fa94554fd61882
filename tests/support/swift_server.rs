//! A double of Swift and of its two logins inside the test's own process, for what
//! a real server does not do on command: refuse tokens, cut lines, lie.
//!
//! Stricter than the real one: every request but a login needs a token of its
//! own making, a wrong MD5 is refused, pages of listings have ten names, and
//! whatever it does not know is 400. Included by path, so it names nothing of
//! `hsm`.
#![allow(dead_code)]

use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder as ConnectionBuilder;
use md5::Digest as _;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

const PAGE: usize = 10;

/// How the server misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misdeed {
    /// This answer, and the request is not looked at.
    Status(u16),
    /// The connection is cut before the request is carried out.
    Cut,
    /// The request is carried out, the connection cut before the answer.
    CutAfter,
    /// The request is taken and never answered.
    Stall,
    /// Other bytes are stored than were sent, and described as they are.
    StoreOther,
    /// Sums are stored and shown as they were declared, or made up.
    EchoSums,
    /// The body of a GET ends in the middle, and so says its length.
    Shorten,
    /// The same although its length was announced.
    Truncate,
    /// A range is not looked at.
    IgnoreRange,
    /// A listing has its names in another order.
    Disorder,
}

struct Object {
    body: Bytes,
    etag: String,
}

#[derive(Default)]
struct Shared {
    objects: Mutex<Option<BTreeMap<String, Object>>>,
    rules: Mutex<Vec<(String, u32, Misdeed)>>,
    tokens: Mutex<HashSet<String>>,
    logins: Mutex<u32>,
    seen: Mutex<HashMap<String, u32>>,
    stalled: Mutex<u32>,
}

/// The server; it dies with this value.
pub struct SwiftServer {
    address: String,
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl SwiftServer {
    /// Starts a server with one empty container.
    pub fn start(container: &str) -> Self {
        let shared = Arc::new(Shared::default());
        *shared.objects.lock().expect("no panic") = Some(BTreeMap::new());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("swift-server")
            .enable_all()
            .build()
            .expect("a runtime");
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let front = Front {
            shared: Arc::clone(&shared),
            account: format!("{address}/v1/AUTH_test"),
            container: container.to_owned(),
        };
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
        Self { address, shared, runtime: Some(runtime) }
    }

    pub fn auth_url_v1(&self) -> String {
        format!("{}/auth/v1.0", self.address)
    }

    pub fn auth_url_v3(&self) -> String {
        format!("{}/v3", self.address)
    }

    /// The next `times` requests of `method` (`""`: of any) meet `misdeed`;
    /// logins never do.
    pub fn misbehave(&self, method: &str, times: u32, misdeed: Misdeed) {
        self.shared.rules.lock().expect("no panic").push((method.to_owned(), times, misdeed));
    }

    pub fn behave(&self) {
        self.shared.rules.lock().expect("no panic").clear();
    }

    /// Every token is refused from now on.
    pub fn forget_tokens(&self) {
        self.shared.tokens.lock().expect("no panic").clear();
    }

    /// How often somebody was let in.
    pub fn logins(&self) -> u32 {
        *self.shared.logins.lock().expect("no panic")
    }

    /// Requests of this method so far, logins aside.
    pub fn seen(&self, method: &str) -> u32 {
        self.shared.seen.lock().expect("no panic").get(method).copied().unwrap_or(0)
    }

    /// Requests that hang.
    pub fn stalled(&self) -> u32 {
        *self.shared.stalled.lock().expect("no panic")
    }

    pub fn remove_container(&self) {
        *self.shared.objects.lock().expect("no panic") = None;
    }

    /// Stops listening and cuts every connection.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for SwiftServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A body that may end before its length.
struct Said {
    bytes: Option<Bytes>,
    length: u64,
}

impl HttpBody for Said {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let whole = self.bytes.as_ref().is_some_and(|bytes| bytes.len() as u64 == self.length);
        match self.bytes.take() {
            Some(bytes) if whole && bytes.is_empty() => Poll::Ready(None),
            Some(bytes) => {
                self.length -= if whole { bytes.len() as u64 } else { 0 };
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            None if self.length > 0 => Poll::Ready(Some(Err(io::Error::other("cut")))),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

fn said(status: u16, headers: &[(&str, String)], body: impl Into<Bytes>) -> Response<Said> {
    let bytes = body.into();
    let length = bytes.len() as u64;
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, value);
    }
    answer.body(Said { bytes: Some(bytes), length }).expect("an answer")
}

#[derive(Clone)]
struct Front {
    shared: Arc<Shared>,
    account: String,
    container: String,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Said>, io::Error>> + Send>>;

impl hyper::service::Service<Request<Incoming>> for Front {
    type Response = Response<Said>;
    type Error = io::Error;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let front = self.clone();
        Box::pin(async move { front.answer(request).await })
    }
}

/// A request with its body.
struct Asked {
    method: Method,
    path: String,
    query: HashMap<String, String>,
    headers: hyper::HeaderMap,
    body: Bytes,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

async fn read(request: Request<Incoming>) -> Result<Asked, io::Error> {
    let (head, mut body) = request.into_parts();
    let mut bytes = Vec::new();
    while let Some(frame) =
        std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    let pairs = head.uri.query().unwrap_or("").split('&').filter_map(|pair| pair.split_once('='));
    Ok(Asked {
        method: head.method,
        path: unescaped(head.uri.path()),
        query: pairs.map(|(name, value)| (name.to_owned(), unescaped(value))).collect(),
        headers: head.headers,
        body: bytes.into(),
    })
}

fn unescaped(text: &str) -> String {
    let (bytes, mut found, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            found.push(u8::from_str_radix(&text[at + 1..at + 3], 16).expect("two digits"));
            at += 3;
        } else {
            found.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(found).expect("UTF-8")
}

impl Front {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Said>, io::Error> {
        let asked = read(request).await?;
        if asked.path == "/auth/v1.0" || asked.path == "/v3/auth/tokens" {
            return Ok(self.log_in(&asked));
        }
        *self.shared.seen.lock().expect("no panic").entry(asked.method.to_string()).or_default() +=
            1;
        let mut misdeed = None;
        for (method, times, kind) in self.shared.rules.lock().expect("no panic").iter_mut() {
            if *times > 0 && (method.is_empty() || *method == asked.method.as_str()) {
                *times -= 1;
                misdeed = Some(*kind);
                break;
            }
        }
        let does = |kind| misdeed == Some(kind);
        match misdeed {
            Some(Misdeed::Status(status)) => return Ok(said(status, &[], "as told")),
            Some(Misdeed::Cut) => return Err(io::Error::other("cut")),
            Some(Misdeed::Stall) => {
                *self.shared.stalled.lock().expect("no panic") += 1;
                std::future::pending::<()>().await;
            }
            _ => {}
        }
        let token = asked.header("x-auth-token").unwrap_or("");
        if !self.shared.tokens.lock().expect("no panic").contains(token) {
            return Ok(said(401, &[], "<h1>Unauthorized</h1>"));
        }
        let mut answer = self.carry_out(&asked, misdeed);
        if does(Misdeed::CutAfter) {
            return Err(io::Error::other("cut"));
        }
        let body = answer.body_mut();
        if let Some(bytes) = &mut body.bytes
            && (does(Misdeed::Shorten) || does(Misdeed::Truncate))
        {
            bytes.truncate(bytes.len() / 2);
            if does(Misdeed::Shorten) {
                body.length = bytes.len() as u64;
            }
        }
        Ok(answer)
    }

    fn log_in(&self, asked: &Asked) -> Response<Said> {
        let (good, is_v3) = match asked.method.as_str() {
            "GET" => {
                let good = asked.header("x-auth-user") == Some("test:tester")
                    && asked.header("x-auth-key") == Some("testing");
                (good, false)
            }
            _ => {
                let body: serde_json::Value =
                    serde_json::from_slice(&asked.body).unwrap_or_default();
                let user = &body["auth"]["identity"]["password"]["user"];
                let scope = &body["auth"]["scope"]["project"]["name"];
                let good = user["name"] == "ann"
                    && user["password"] == "testing"
                    && user["domain"]["id"] == "default"
                    && scope == "media";
                (good, true)
            }
        };
        if !good {
            return said(401, &[], "no");
        }
        let mut logins = self.shared.logins.lock().expect("no panic");
        *logins += 1;
        let token = format!("token-{}-{}", *logins, if is_v3 { "v3" } else { "v1" });
        self.shared.tokens.lock().expect("no panic").insert(token.clone());
        if !is_v3 {
            let headers = [("x-auth-token", token), ("x-storage-url", self.account.clone())];
            return said(200, &headers, "");
        }
        let at = |region: &str, url: &str| {
            serde_json::json!({
                "interface": "public", "region": region, "region_id": region, "url": url
            })
        };
        let catalog = serde_json::json!({ "token": { "catalog": [{
            "type": "object-store",
            "endpoints": [at("far", "http://127.0.0.1:9/"), at("near", &self.account)],
        }] } });
        said(201, &[("x-subject-token", token)], catalog.to_string())
    }

    fn carry_out(&self, asked: &Asked, misdeed: Option<Misdeed>) -> Response<Said> {
        let container = format!("/v1/AUTH_test/{}", self.container);
        let mut objects = self.shared.objects.lock().expect("no panic");
        let missing = || said(404, &[], "<html><h1>Not Found</h1></html>");
        let Some(rest) = asked.path.strip_prefix(&container) else { return missing() };
        let Some(objects) = objects.as_mut() else { return missing() };
        let Some(name) = rest.strip_prefix('/') else {
            return match asked.method {
                Method::HEAD => said(204, &[], ""),
                Method::GET => list(objects, asked, misdeed),
                _ => said(400, &[], "not in this double"),
            };
        };
        match asked.method {
            Method::PUT => put(objects, name, asked, misdeed),
            Method::DELETE => match objects.remove(name) {
                Some(_) => said(204, &[], ""),
                None => missing(),
            },
            Method::GET | Method::HEAD => match objects.get(name) {
                Some(object) => show(object, asked, misdeed),
                None => missing(),
            },
            _ => said(400, &[], "not in this double"),
        }
    }
}

fn put(
    objects: &mut BTreeMap<String, Object>,
    name: &str,
    asked: &Asked,
    misdeed: Option<Misdeed>,
) -> Response<Said> {
    match asked.header("if-none-match") {
        None => {}
        Some("*") if objects.contains_key(name) => return said(412, &[], ""),
        Some("*") => {}
        Some(_) => return said(400, &[], "If-None-Match only supports *"),
    }
    let sum = |body: &[u8]| hex::encode(md5::Md5::digest(body));
    let declared = asked.header("etag").map(str::to_owned);
    let mut body = asked.body.clone();
    let etag = match misdeed {
        Some(Misdeed::EchoSums) => declared.unwrap_or("0123456789abcdef".repeat(2)),
        Some(Misdeed::StoreOther) => {
            body = Bytes::from_static(b"other bytes");
            sum(&body)
        }
        _ => {
            if declared.is_some_and(|declared| declared != sum(&body)) {
                return said(422, &[], "<html><h1>Unprocessable Entity</h1></html>");
            }
            sum(&body)
        }
    };
    objects.insert(name.to_owned(), Object { body, etag: etag.clone() });
    said(201, &[("etag", etag)], "")
}

fn show(object: &Object, asked: &Asked, misdeed: Option<Misdeed>) -> Response<Said> {
    let all = object.body.len();
    let headers = [
        ("etag", object.etag.clone()),
        ("x-timestamp", "1700000000.12345".to_owned()),
        ("last-modified", "Tue, 14 Nov 2023 22:13:21 GMT".to_owned()),
    ];
    if asked.method == Method::HEAD {
        let mut headers = headers.to_vec();
        headers.push(("content-length", all.to_string()));
        return said(200, &headers, "");
    }
    let range = asked.header("range").filter(|_| misdeed != Some(Misdeed::IgnoreRange));
    let Some(range) = range else { return said(200, &headers, object.body.clone()) };
    let (from, to) = range.strip_prefix("bytes=").and_then(|it| it.split_once('-')).expect("a-b");
    let (from, to): (usize, usize) = (from.parse().expect("a"), to.parse().expect("b"));
    if from >= all {
        return said(416, &[], "");
    }
    let to = to.min(all - 1);
    let mut headers = headers.to_vec();
    headers.push(("content-range", format!("bytes {from}-{to}/{all}")));
    said(206, &headers, object.body.slice(from..=to))
}

fn list(
    objects: &BTreeMap<String, Object>,
    asked: &Asked,
    misdeed: Option<Misdeed>,
) -> Response<Said> {
    let of = |name: &str| asked.query.get(name).map_or("", String::as_str);
    let (prefix, marker) = (of("prefix"), of("marker"));
    let names = objects.iter().filter(|(name, _)| {
        name.starts_with(prefix) && (marker.is_empty() || name.as_str() > marker)
    });
    let mut page: Vec<_> = names
        .take(PAGE)
        .map(|(name, object)| {
            serde_json::json!({
                "name": name, "bytes": object.body.len(), "hash": object.etag,
                "last_modified": "2023-11-14T22:13:20.123450", "content_type": "x/y",
            })
        })
        .collect();
    if misdeed == Some(Misdeed::Disorder) {
        page.reverse();
    }
    said(200, &[], serde_json::Value::from(page).to_string())
}

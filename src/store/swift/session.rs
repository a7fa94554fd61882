//! Logging in: a token and the account's URL, kept until the store refuses them.
//!
//! A token ends after hours or at any time the store likes. So nothing is
//! concluded from its age: the first 401 to a request throws it away, one new
//! login follows, and a second 401 is an error. Threads that meet the 401
//! together log in once.

use super::http::{Answer, Broken, Http, Question};
use super::login::Login;
use bytes::Bytes;
use hyper::Method;
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::Mutex;

/// What a login gave.
#[derive(PartialEq, Eq)]
pub(super) struct Session {
    pub token: String,
    /// Without a slash at its end.
    pub account_url: String,
}

/// Why there is no session.
#[derive(Debug)]
pub(super) enum LoginError {
    /// The server could not be asked.
    Broken(Broken),
    /// It answered with this status.
    Answered(u16),
    /// It answered with what cannot be used.
    Unusable(String),
}

#[derive(Debug)]
pub(super) struct Sessions {
    login: Login,
    current: Mutex<Option<Arc<Session>>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({})", self.account_url)
    }
}

impl Sessions {
    pub fn new(login: Login) -> Self {
        Self { login, current: Mutex::new(None) }
    }

    pub fn login(&self) -> &Login {
        &self.login
    }

    /// The session in force, begun if there is none. `refused` is one that the
    /// store has answered with 401.
    pub async fn get(
        &self,
        http: &Http,
        refused: Option<&Arc<Session>>,
    ) -> Result<Arc<Session>, LoginError> {
        let mut current = self.current.lock().await;
        if let Some(session) = &*current
            && refused.is_none_or(|refused| !Arc::ptr_eq(refused, session))
        {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(begin(http, &self.login).await?);
        *current = Some(Arc::clone(&session));
        Ok(session)
    }
}

async fn begin(http: &Http, login: &Login) -> Result<Session, LoginError> {
    let answer = http.ask(login.url(), question(login)?).await.map_err(LoginError::Broken)?;
    if !answer.is_success() {
        return Err(LoginError::Answered(answer.status));
    }
    let session = match login {
        Login::V1 { .. } => of_headers(&answer),
        Login::V3 { region, interface, .. } => of_catalog(&answer, region.as_deref(), interface),
    };
    let session = session.map_err(LoginError::Unusable)?;
    stays_encrypted(login.url(), &session).map_err(LoginError::Unusable)?;
    Ok(session)
}

/// A token from an encrypted login does not go over the network in the clear.
pub(super) fn stays_encrypted(login_url: &str, session: &Session) -> Result<(), String> {
    let url = &session.account_url;
    if login_url.starts_with("https:") && !url.starts_with("https:") {
        return Err(format!("the login is encrypted, but the object store's URL {url} is not"));
    }
    Ok(())
}

fn question(login: &Login) -> Result<Question, LoginError> {
    let asked = match login {
        Login::V1 { user, key, .. } => Question::new(Method::GET)
            .with("x-auth-user", user)
            .and_then(|question| question.with("x-auth-key", key)),
        Login::V3 { body, .. } => Question::new(Method::POST)
            .with("content-type", "application/json")
            .map(|question| Question { body: Bytes::from(body.clone()), ..question }),
    };
    asked.ok_or(LoginError::Unusable("user or key have letters that no header can hold".to_owned()))
}

/// Auth v1: all is in the headers (Swift documentation, "TempAuth").
fn of_headers(answer: &Answer) -> Result<Session, String> {
    let token = answer.header("x-auth-token").or(answer.header("x-storage-token"));
    let token = token.ok_or("it gave no x-auth-token: is this the URL of an auth v1?")?;
    let url = answer.header("x-storage-url").ok_or("it gave no x-storage-url")?;
    Ok(Session { token: token.to_owned(), account_url: account_url(url)? })
}

#[derive(Deserialize)]
struct Issued {
    token: Token,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    catalog: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(default)]
    interface: String,
    #[serde(alias = "region_id", default)]
    region: Option<String>,
    url: String,
}

/// Identity API v3: the token is a header, the endpoints are in the body.
fn of_catalog(answer: &Answer, region: Option<&str>, interface: &str) -> Result<Session, String> {
    let token = answer.header("x-subject-token").ok_or("it gave no x-subject-token")?;
    // An endpoint may name its region twice, as `region` and `region_id`.
    let issued: serde_json::Value =
        serde_json::from_slice(&answer.body).map_err(|error| format!("its JSON: {error}"))?;
    let url = endpoint(&without_region_ids(issued)?, region, interface)?;
    Ok(Session { token: token.to_owned(), account_url: account_url(&url)? })
}

fn without_region_ids(mut issued: serde_json::Value) -> Result<Issued, String> {
    let services = issued.pointer_mut("/token/catalog").and_then(|list| list.as_array_mut());
    for service in services.into_iter().flatten() {
        let endpoints = service.get_mut("endpoints").and_then(|list| list.as_array_mut());
        for endpoint in endpoints.into_iter().flatten().filter_map(|it| it.as_object_mut()) {
            if endpoint.contains_key("region") {
                endpoint.remove("region_id");
            }
        }
    }
    serde_json::from_value(issued).map_err(|error| format!("its JSON: {error}"))
}

/// The one object store of this region and interface.
fn endpoint(issued: &Issued, region: Option<&str>, interface: &str) -> Result<String, String> {
    let stores = issued.token.catalog.iter().filter(|service| service.kind == "object-store");
    let all: Vec<&Endpoint> = stores.flat_map(|service| &service.endpoints).collect();
    let fits = |it: &&&Endpoint| {
        it.interface.strip_suffix("URL").unwrap_or(&it.interface) == interface
            && region.is_none_or(|wanted| it.region.as_deref() == Some(wanted))
    };
    let mut fitting: Vec<&str> = all.iter().filter(fits).map(|it| it.url.as_str()).collect();
    fitting.dedup();
    match fitting.as_slice() {
        [url] => Ok((*url).to_owned()),
        [] if all.is_empty() => {
            Err("its catalog has no object store for this project: is the project the right one?"
                .to_owned())
        }
        _ => {
            let of = |it: &&Endpoint| {
                format!("{} in {}", it.interface, it.region.as_deref().unwrap_or("no region"))
            };
            let known: Vec<String> = all.iter().map(of).collect();
            Err(format!(
                "{} object stores for the interface {interface} and {}; there are: {} (set region \
                 in [store], or OS_REGION_NAME and OS_INTERFACE)",
                fitting.len(),
                region.map_or("any region".to_owned(), |region| format!("the region {region}")),
                known.join(", ")
            ))
        }
    }
}

fn account_url(url: &str) -> Result<String, String> {
    let is_http = url.starts_with("https://") || url.starts_with("http://");
    match url.parse::<hyper::Uri>() {
        Ok(uri) if is_http && uri.host().is_some() => Ok(url.trim_end_matches('/').to_owned()),
        _ => Err(format!("the object store's URL is unusable: {url:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn chosen(region: Option<&str>, interface: &str) -> Result<String, String> {
        let at = |interface: &str, region: &str, url: &str| json!({ "interface": interface, "region": region, "region_id": region, "url": url });
        let issued = json!({ "token": { "catalog": [
            { "type": "identity", "endpoints": [at("public", "one", "http://k")] },
            { "type": "object-store", "endpoints": [
                at("public", "one", "https://one/v1/AUTH_a"),
                at("internal", "one", "http://one.inside/v1/AUTH_a"),
                at("public", "two", "https://two/v1/AUTH_a"),
            ] },
        ] } });
        endpoint(&without_region_ids(issued).expect("a catalog"), region, interface)
    }

    #[test]
    fn region_and_interface_choose_one_endpoint_or_none() {
        assert_eq!(chosen(Some("two"), "public").as_deref(), Ok("https://two/v1/AUTH_a"));
        assert_eq!(chosen(None, "internal").as_deref(), Ok("http://one.inside/v1/AUTH_a"));
        let error = chosen(None, "public").expect_err("two regions");
        assert!(error.contains("public in two") && error.contains("OS_REGION_NAME"), "{error}");
        assert!(chosen(Some("three"), "public").is_err());
        let none = without_region_ids(json!({ "token": {} })).expect("an empty catalog");
        assert!(endpoint(&none, None, "public").expect_err("none").contains("project"));
    }

    #[test]
    fn only_http_urls_lead_to_an_account() {
        assert_eq!(
            account_url("http://h:8080/v1/AUTH_x/").as_deref(),
            Ok("http://h:8080/v1/AUTH_x")
        );
        for url in ["file:///etc", "h:8080", "http://"] {
            assert!(account_url(url).is_err(), "{url}");
        }
    }
}

//! Who logs in where, out of the configuration and the environment. Pure.
//!
//! The variables are those of the `swift` and `openstack` clients, so that an
//! `openrc` file does for both: `ST_AUTH`, `ST_USER` and `ST_KEY` for auth v1
//! (TempAuth and its like), `OS_*` for Keystone v3 with a password or an
//! application credential. The configuration may name the URL and the region,
//! never a secret.

use crate::store::{Error, ErrorKind, Result, StoreOptions, Variables};
use serde_json::{Value, json};
use std::fmt;

/// A login that can be done again when its token is no longer taken.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// `GET` with name and key, for a token and the account's URL.
    V1 { url: String, user: String, key: String },
    /// `POST` of `body`, for a token and a catalog of endpoints.
    V3 { url: String, body: String, region: Option<String>, interface: String },
}

impl Login {
    pub(super) fn find(options: &StoreOptions) -> Result<Self> {
        let refuse = |detail: String| {
            Error::new(ErrorKind::Denied, "open", "", &options.url).with_detail(detail)
        };
        let variables = &options.variables;
        let url = |name: &str| options.endpoint.as_deref().or_else(|| variables.get(name));
        let is_v1 = v1_user(variables).is_some();
        let is_v3 = variables.first(&["OS_APPLICATION_CREDENTIAL_SECRET", "OS_PASSWORD"]).is_some();
        let only_v1 = options.endpoint.as_deref().is_some_and(|url| url.contains("/v1"));
        let only_v3 = options.endpoint.as_deref().is_some_and(|url| url.contains("/v3"));
        match (is_v1 && !only_v3, is_v3 && !only_v1) {
            (true, true) => Err(refuse(
                "both ST_USER and OS_* credentials are set: unset those of the other login".into(),
            )),
            (true, false) => v1(url("ST_AUTH"), variables).map_err(refuse),
            (false, true) => v3(url("OS_AUTH_URL"), options).map_err(refuse),
            (false, false) => Err(refuse(
                "no Swift credentials: set ST_USER and ST_KEY, or OS_USERNAME, OS_PASSWORD and \
                 OS_PROJECT_NAME, or OS_APPLICATION_CREDENTIAL_ID and _SECRET"
                    .into(),
            )),
        }
    }

    pub(super) fn url(&self) -> &str {
        match self {
            Self::V1 { url, .. } | Self::V3 { url, .. } => url,
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.url())
    }
}

fn v1_user(variables: &Variables) -> Option<(&str, &str)> {
    Some((variables.get("ST_USER")?, variables.get("ST_KEY")?))
}

fn v1(url: Option<&str>, variables: &Variables) -> std::result::Result<Login, String> {
    let (user, key) = v1_user(variables).expect("asked before");
    let url = checked_url(url, "ST_AUTH")?;
    Ok(Login::V1 { url, user: user.to_owned(), key: key.to_owned() })
}

fn v3(url: Option<&str>, options: &StoreOptions) -> std::result::Result<Login, String> {
    let variables = &options.variables;
    let url = checked_url(url, "OS_AUTH_URL")?;
    if url.ends_with("/v2.0") {
        return Err("Keystone v2 is not spoken: name the URL that ends in /v3".to_owned());
    }
    let url = match url.strip_suffix("/auth/tokens").unwrap_or(&url) {
        url if url.ends_with("/v3") => format!("{url}/auth/tokens"),
        url => format!("{url}/v3/auth/tokens"),
    };
    let auth = match variables.get("OS_APPLICATION_CREDENTIAL_SECRET") {
        Some(secret) => application_credential(variables, secret)?,
        None => password(variables)?,
    };
    let interface = variables.first(&["OS_INTERFACE", "OS_ENDPOINT_TYPE"]).unwrap_or("public");
    Ok(Login::V3 {
        url,
        body: json!({ "auth": auth }).to_string(),
        region: options
            .region
            .clone()
            .or_else(|| variables.get("OS_REGION_NAME").map(str::to_owned)),
        // Older openrc files say publicURL.
        interface: interface.strip_suffix("URL").unwrap_or(interface).to_owned(),
    })
}

/// Only what is an HTTP URL with a host, without a slash at its end.
fn checked_url(url: Option<&str>, name: &str) -> std::result::Result<String, String> {
    let url = url.ok_or(format!("no URL to log in at: set endpoint in [store], or {name}"))?;
    let is_http = url.starts_with("https://") || url.starts_with("http://");
    match url.parse::<hyper::Uri>() {
        Ok(uri) if is_http && uri.host().is_some() && !url.contains('@') => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        _ => Err(format!("{name} or the endpoint in [store] is not http[s]://host[:port]/path")),
    }
}

/// `{"name": .., "domain": ..}` or `{"id": ..}` of a user or a project.
fn named(
    variables: &Variables,
    ids: &[&str],
    names: &[&str],
    domain: &str,
) -> std::result::Result<Value, String> {
    if let Some(id) = variables.first(ids) {
        return Ok(json!({ "id": id }));
    }
    let name = variables.first(names).ok_or(format!("{} is not set", names[0]))?;
    let set = |part: &str| {
        let own = format!("OS_{domain}_DOMAIN_{part}");
        let default = format!("OS_DEFAULT_DOMAIN{}", if part == "ID" { "" } else { "_NAME" });
        variables.first(&[own.as_str(), default.as_str()]).map(str::to_owned)
    };
    let domain = match (set("ID"), set("NAME")) {
        (Some(id), _) => json!({ "id": id }),
        (None, Some(name)) => json!({ "name": name }),
        (None, None) => json!({ "id": "default" }),
    };
    Ok(json!({ "name": name, "domain": domain }))
}

fn user(variables: &Variables) -> std::result::Result<Value, String> {
    named(variables, &["OS_USER_ID"], &["OS_USERNAME"], "USER")
}

fn password(variables: &Variables) -> std::result::Result<Value, String> {
    let mut user = user(variables)?;
    user["password"] = variables.get("OS_PASSWORD").into();
    let project = named(
        variables,
        &["OS_PROJECT_ID", "OS_TENANT_ID"],
        &["OS_PROJECT_NAME", "OS_TENANT_NAME"],
        "PROJECT",
    )?;
    Ok(json!({
        "identity": { "methods": ["password"], "password": { "user": user } },
        "scope": { "project": project },
    }))
}

/// It knows its project itself.
fn application_credential(
    variables: &Variables,
    secret: &str,
) -> std::result::Result<Value, String> {
    let mut credential = match variables.get("OS_APPLICATION_CREDENTIAL_ID") {
        Some(id) => json!({ "id": id }),
        None => {
            let name = variables
                .get("OS_APPLICATION_CREDENTIAL_NAME")
                .ok_or("OS_APPLICATION_CREDENTIAL_ID is not set")?;
            json!({ "name": name, "user": user(variables)? })
        }
    };
    credential["secret"] = secret.into();
    Ok(json!({
        "identity": {
            "methods": ["application_credential"],
            "application_credential": credential,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<const N: usize>(endpoint: &str, pairs: [(&str, &str); N]) -> Result<Login> {
        let mut options = StoreOptions::new("swift://c");
        options.endpoint = (!endpoint.is_empty()).then(|| endpoint.to_owned());
        options.variables = Variables::from(pairs);
        Login::find(&options)
    }

    fn body(login: Login) -> (String, Value) {
        let Login::V3 { url, body, .. } = login else { panic!("not a v3 login") };
        (url, serde_json::from_str(&body).expect("json"))
    }

    #[test]
    fn the_credentials_choose_the_login_and_the_url_decides_between_two() {
        let both = [
            ("ST_USER", "test:tester"),
            ("ST_KEY", "testing"),
            ("OS_USERNAME", "ann"),
            ("OS_PASSWORD", "pw"),
            ("OS_PROJECT_NAME", "media"),
        ];
        let v1 = find("https://swift/auth/v1.0", both).expect("v1");
        assert!(matches!(&v1, Login::V1 { user, .. } if user == "test:tester"));
        let (url, _) = body(find("https://keystone:5000/v3/", both).expect("v3"));
        assert_eq!(url, "https://keystone:5000/v3/auth/tokens");
        let error = find("https://somewhere", both).expect_err("which?").to_string();
        assert!(error.contains("unset"), "{error}");
        assert!(!format!("{v1:?}").contains("testing"));
        let named =
            find("", [("ST_AUTH", "http://s/auth/v1.0"), ("ST_USER", "u"), ("ST_KEY", "k")]);
        assert_eq!(named.expect("v1").url(), "http://s/auth/v1.0");
    }

    #[test]
    fn a_password_login_names_user_and_project_with_their_domains() {
        let (url, body) = body(
            find(
                "",
                [
                    ("OS_AUTH_URL", "https://k:5000"),
                    ("OS_USERNAME", "ann"),
                    ("OS_PASSWORD", "p\"w"),
                    ("OS_USER_DOMAIN_NAME", "people"),
                    ("OS_PROJECT_ID", "p1"),
                ],
            )
            .expect("v3"),
        );
        assert_eq!(url, "https://k:5000/v3/auth/tokens");
        let user = json!({ "name": "ann", "domain": { "name": "people" }, "password": "p\"w" });
        assert_eq!(body["auth"]["identity"]["password"]["user"], user);
        assert_eq!(body["auth"]["scope"], json!({ "project": { "id": "p1" } }));
    }

    #[test]
    fn an_application_credential_has_no_scope() {
        let (_, body) = body(
            find(
                "https://k/v3",
                [("OS_APPLICATION_CREDENTIAL_ID", "c1"), ("OS_APPLICATION_CREDENTIAL_SECRET", "s")],
            )
            .expect("v3"),
        );
        let credential = &body["auth"]["identity"]["application_credential"];
        assert_eq!(credential, &json!({ "id": "c1", "secret": "s" }));
        assert_eq!(body["auth"]["scope"], Value::Null);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (endpoint, pairs, missing) in [
            ("https://k/v3", vec![], "no Swift credentials"),
            ("", vec![("ST_USER", "u"), ("ST_KEY", "k")], "ST_AUTH"),
            ("", vec![("OS_PASSWORD", "p")], "OS_AUTH_URL"),
            ("https://k/v3", vec![("OS_PASSWORD", "p")], "OS_USERNAME"),
            ("https://k/v3", vec![("OS_PASSWORD", "p"), ("OS_USERNAME", "u")], "OS_PROJECT_NAME"),
            ("https://k/v3", vec![("OS_APPLICATION_CREDENTIAL_SECRET", "s")], "CREDENTIAL_ID"),
            ("https://k/v2.0", vec![("OS_PASSWORD", "p")], "/v3"),
            ("ftp://k", vec![("OS_PASSWORD", "p")], "http"),
        ] {
            let mut options = StoreOptions::new("swift://c");
            options.endpoint = (!endpoint.is_empty()).then(|| endpoint.to_owned());
            let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
            options.variables = Variables::among(pairs);
            let error = Login::find(&options).expect_err(missing);
            assert_eq!(error.kind(), ErrorKind::Denied);
            assert!(error.to_string().contains(missing), "{missing}: {error}");
        }
    }
}

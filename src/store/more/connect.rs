//! From a URL and what the environment has to one of this room's stores.

use super::dav::Dav;
use super::flat::FlatStore;
use super::sftp::{Remote, SshTree};
use super::tree::TreeStore;
use super::trouble::Trouble;
use crate::store::{Error, ErrorKind, Result, Store, StoreOptions, sockets};
use opendal::{Operator, services};

/// Opens the store; `scheme` and `rest` are the URL's. Nothing is asked of the
/// server yet.
pub(crate) fn connect(scheme: &str, rest: &str, options: &StoreOptions) -> Result<Box<dyn Store>> {
    let runtime = sockets::start("hsm-store", &options.url)?;
    let location = options.url.trim_end_matches('/').to_owned();
    let refuse = |trouble: Trouble| {
        let detail = trouble.to_string();
        Error::new(trouble.kind, "open", "", &options.url).with_detail(detail)
    };
    let read_timeout = options.read_timeout;
    let (first, path) = rest.split_once('/').unwrap_or((rest, ""));
    if first.is_empty() {
        return Err(refuse(Trouble::new(ErrorKind::BadRequest, "no host, container or bucket")));
    }
    // Once for the process, and again without effect.
    opendal::install_default();
    // The operators' clients belong to the runtime.
    let _inside = runtime.enter();
    Ok(match scheme {
        "sftp" => {
            let remote = remote(first, path, options).map_err(refuse)?;
            let (tree, create) = (SshTree::new(remote), options.create);
            drop(_inside);
            Box::new(TreeStore { runtime, tree, location, read_timeout, create })
        }
        "webdav+http" | "webdav+https" => {
            let operator = webdav(scheme, first, path, options).map_err(refuse)?;
            let (tree, create) = (Dav { operator }, options.create);
            drop(_inside);
            Box::new(TreeStore { runtime, tree, location, read_timeout, create })
        }
        _ => {
            let is_azure = scheme == "azblob";
            let operator = match is_azure {
                true => azblob(first, path, options),
                false => gcs(first, path, options),
            };
            let operator = operator.map_err(refuse)?;
            let holder = if is_azure { "container" } else { "bucket" };
            drop(_inside);
            let starts_after = !is_azure;
            Box::new(FlatStore { runtime, operator, location, holder, read_timeout, starts_after })
        }
    })
}

/// `user@host:port/absolute/path`, the first and the last port optional.
fn remote(first: &str, path: &str, options: &StoreOptions) -> std::result::Result<Remote, Trouble> {
    let bad = |text: &str| Trouble::new(ErrorKind::BadRequest, text);
    let (user, host) = match first.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, first),
    };
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().map_err(|_| bad("the port is no number"))?)),
        None => (host, None),
    };
    // A host that begins with a dash would be an option of ssh.
    if host.is_empty() || host.starts_with('-') || user.as_ref().is_some_and(|u| u.starts_with('-'))
    {
        return Err(bad("a store by SFTP is written sftp://user@host[:port]/directory"));
    }
    let path = path.trim_end_matches('/');
    if path.is_empty() || path.split('/').any(|part| part == "..") {
        return Err(bad("the directory is missing or leads upwards"));
    }
    Ok(Remote {
        user,
        host: host.to_owned(),
        port,
        root: format!("/{path}"),
        connect_timeout: options.connect_timeout,
        config_file: options.variables.get("HSM_SSH_CONFIG").map(str::to_owned),
    })
}

fn webdav(
    scheme: &str,
    host: &str,
    path: &str,
    options: &StoreOptions,
) -> std::result::Result<Operator, Trouble> {
    let http = scheme.strip_prefix("webdav+").expect("the scheme of WebDAV");
    let mut service = services::Webdav::default()
        .endpoint(&format!("{http}://{host}"))
        .root(&format!("/{}", path.trim_end_matches('/')));
    if let Some(user) = options.variables.get("WEBDAV_USERNAME") {
        service = service.username(user);
    }
    if let Some(password) = options.variables.get("WEBDAV_PASSWORD") {
        service = service.password(password);
    }
    if let Some(token) = options.variables.get("WEBDAV_TOKEN") {
        service = service.token(token);
    }
    Ok(Operator::new(service)?)
}

/// The names of the variables are those of the `az` command.
fn azblob(
    container: &str,
    prefix: &str,
    options: &StoreOptions,
) -> std::result::Result<Operator, Trouble> {
    let variables = &options.variables;
    let missing = |text: &str| Trouble::new(ErrorKind::Denied, text);
    let account = variables
        .first(&["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"])
        .ok_or(missing("AZURE_STORAGE_ACCOUNT is not set"))?;
    let public = format!("https://{account}.blob.core.windows.net");
    let mut service = services::Azblob::default()
        .container(container)
        .root(&format!("/{}", prefix.trim_end_matches('/')))
        .endpoint(options.endpoint.as_deref().unwrap_or(&public))
        .account_name(account);
    if let Some(key) = variables.first(&["AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"]) {
        service = service.account_key(key);
    } else if let Some(token) = variables.get("AZURE_STORAGE_SAS_TOKEN") {
        service = service.sas_token(token);
    }
    Ok(Operator::new(service)?)
}

/// `GOOGLE_APPLICATION_CREDENTIALS` names a file, or the instance has an account.
fn gcs(
    bucket: &str,
    prefix: &str,
    options: &StoreOptions,
) -> std::result::Result<Operator, Trouble> {
    let mut service =
        services::Gcs::default().bucket(bucket).root(&format!("/{}", prefix.trim_end_matches('/')));
    let credentials = options.variables.get("GOOGLE_APPLICATION_CREDENTIALS");
    if let Some(file) = credentials {
        service = service.credential_path(file);
    }
    if let Some(endpoint) = &options.endpoint {
        service = service.endpoint(endpoint);
        // A server of one's own without an account file is an emulator.
        if credentials.is_none() {
            service = service.skip_signature().disable_vm_metadata().disable_config_load();
        }
    }
    Ok(Operator::new(service)?)
}

//! Reads the config's text section by section.

use super::guard::MetricsAt;
use super::{
    Checksums, ChunkingSection, Config, ConfigError, EncryptionSection, StoreSection,
    UploadSection, cold, gc, guard, samba,
};
use crate::document::{Document, Item, Section};
use crate::units;
use std::path::{Component, Path, PathBuf};

const TOP_KEYS: [&str; 13] = [
    "roots",
    "state_dir",
    "policy_dir",
    "store",
    "second_store",
    "encryption",
    "chunking",
    "upload",
    "gc",
    "cold",
    "prices",
    "guard",
    "samba",
];
const STORE_KEYS: [&str; 11] = [
    "url",
    "endpoint",
    "region",
    "path_style",
    "storage_class",
    "sse",
    "checksums",
    "bandwidth",
    "concurrency",
    "dedup_across_nodes",
    "profile",
];
/// What makes no sense of a second store.
const FIRST_STORE_ONLY: &str = "dedup_across_nodes";
/// What people write where no secret may stand.
const SECRET_KEYS: [&str; 9] = [
    "access_key",
    "access_key_id",
    "secret_key",
    "secret_access_key",
    "session_token",
    "password",
    "passphrase",
    "key",
    "token",
];

pub(super) fn parse(name: &str, text: &str) -> Result<Config, Vec<ConfigError>> {
    let doc = Document::new(name, text);
    let config = doc.parse().and_then(|table| read(&Section::top(&doc, &table, &TOP_KEYS), name));
    let problems = doc.into_problems();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems),
    }
}

fn read(top: &Section<'_, '_>, name: &str) -> Option<Config> {
    let store = match top.item("store") {
        Some(item) => read_store(&item, "[store]", &STORE_KEYS),
        None => {
            top.problem("there is no [store]", "add [store] with url = \"s3://bucket/prefix\"");
            None
        }
    };
    let second_store = top.item("second_store").and_then(|item| read_second(&item));
    let encryption = top.item("encryption").and_then(|item| read_encryption(&item));
    let state_dir = required(top, "state_dir", "/var/lib/hsm").and_then(|item| path(&item));
    let policy_dir = match top.item("policy_dir") {
        Some(item) => path(&item),
        None => Some(Path::new(name).with_file_name("policies.d")),
    };
    let roots = read_roots(top);
    let (chunking, upload) = (read_chunking(top), read_upload(top));
    let guard = guard::read(top, state_dir.as_deref().unwrap_or(Path::new("/")));
    let config = Config {
        store: store?,
        second_store,
        state_dir: state_dir?,
        roots,
        encryption,
        chunking,
        upload,
        guard,
        gc: gc::read(top),
        samba: samba::read(top),
        cold: cold::read(top),
        prices: cold::read_prices(top),
        policy_dir: policy_dir?,
    };
    refuse_inside_roots(top, &config);
    refuse_one_store_twice(top, &config);
    Some(config)
}

/// The value of a key that must be there.
pub(super) fn required<'d, 't>(
    section: &Section<'d, 't>,
    key: &str,
    example: &str,
) -> Option<Item<'d, 't>> {
    let item = section.item(key);
    if item.is_none() {
        section.problem(
            format!("{} has no {key:?}", section.title()),
            format!("add {key} = \"{example}\""),
        );
    }
    item
}

/// An absolute path without `..`; a slash at its end is dropped.
pub(super) fn path(item: &Item<'_, '_>) -> Option<PathBuf> {
    let text = item.text()?;
    let path = Path::new(text);
    let bad = |why: &str, mend: &str| {
        item.problem(format!("bad path {text:?}: {why}"), mend);
        None
    };
    if text.starts_with('~') {
        return bad("\"~\" is not expanded here", "write the whole path, such as /home/ann/data");
    }
    if !path.is_absolute() {
        return bad("not absolute", "begin it with a slash");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return bad("it contains \"..\"", "write the path that it leads to");
    }
    Some(path.components().collect())
}

fn read_roots(top: &Section<'_, '_>) -> Vec<PathBuf> {
    let Some(item) = required(top, "roots", "/srv/data") else { return Vec::new() };
    // Before the first root is added, the list is empty on purpose.
    if matches!(item.value(), toml::de::DeValue::Array(values) if values.is_empty()) {
        return Vec::new();
    }
    let mut roots: Vec<PathBuf> = Vec::new();
    for item in item.one_or_more() {
        let Some(root) = path(&item) else { continue };
        if root.parent().is_none() {
            item.problem("\"/\" cannot be a root", "name the directories that hold data");
            continue;
        }
        if let Some(other) = roots.iter().find(|other| root.starts_with(other)) {
            let what = if *other == root { "is listed twice" } else { "lies inside another root" };
            item.problem(format!("root {} {what}", root.display()), "remove one of the two");
        } else if let Some(other) = roots.iter().find(|other| other.starts_with(&root)) {
            let what = format!("root {} contains the root {}", root.display(), other.display());
            item.problem(what, "remove one of the two");
        }
        roots.push(root);
    }
    roots
}

fn read_second(item: &Item<'_, '_>) -> Option<StoreSection> {
    let keys: Vec<&str> = STORE_KEYS.into_iter().filter(|key| *key != FIRST_STORE_ONLY).collect();
    read_store(item, "[second_store]", &keys)
}

/// Two copies in one place are one.
fn refuse_one_store_twice(top: &Section<'_, '_>, config: &Config) {
    let Some(second) = &config.second_store else { return };
    let place = |section: &StoreSection| {
        let url = section.url.trim_end_matches('/').to_owned();
        match url.strip_prefix("file://") {
            Some(directory) => (None, Path::new(directory).components().collect::<PathBuf>()),
            None => (section.endpoint.clone(), PathBuf::from(url)),
        }
    };
    let section = top.item("second_store").and_then(|item| item.open_section("[second_store]"));
    let Some(item) = section.as_ref().and_then(|section| section.item("url")) else { return };
    let ((host, first), (second_host, second)) = (place(&config.store), place(second));
    let mend = "name another place: what happens to one store must not happen to the other";
    if host == second_host && first == second {
        item.problem("the second store is the first one", mend);
    } else if host == second_host && (first.starts_with(&second) || second.starts_with(&first)) {
        item.problem("one of the two stores lies inside the other", mend);
    }
}

fn read_store(item: &Item<'_, '_>, title: &str, keys: &[&str]) -> Option<StoreSection> {
    let store = item.open_section(title)?;
    refuse_secrets(&store, keys);
    let url = required(&store, "url", "s3://bucket/prefix").and_then(|item| read_url(&item));
    let checksums = store.item("checksums").and_then(|item| {
        let known =
            [Checksums::Always, Checksums::WhenRequired].map(|known| (known.as_str(), known));
        item.word("checksums", &known)
    });
    let concurrency = store.integer("concurrency", 1..=256);
    let read = StoreSection {
        url: url.clone().unwrap_or_default(),
        endpoint: store.item("endpoint").and_then(|item| read_endpoint(&item)),
        region: store.text("region").map(str::to_owned),
        path_style: store.flag("path_style").unwrap_or(false),
        storage_class: store
            .item("storage_class")
            .and_then(|item| item.quantity(units::parse_storage_class(item.text()?))),
        sse: store.item("sse").and_then(|item| read_sse(&item)),
        checksums: checksums.unwrap_or_default(),
        bandwidth: store.rate("bandwidth"),
        concurrency: concurrency.and_then(|count| usize::try_from(count).ok()),
        dedup_across_nodes: store.flag(FIRST_STORE_ONLY).unwrap_or(true),
        profile: store.text("profile").map(str::to_owned),
    };
    url.map(|_| read)
}

/// A secret in the config would be in every backup of /etc.
fn refuse_secrets(store: &Section<'_, '_>, keys: &[&str]) {
    let mut known: Vec<&str> = keys.to_vec();
    for (key, place, _) in store.entries() {
        if SECRET_KEYS.contains(&key.trim_start_matches("aws_")) {
            known.push(key);
            store.doc().problem_at(
                place,
                format!("{key:?} in {}: the config holds no secrets", store.title()),
                "use the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ST_KEY, OS_PASSWORD) or ~/.aws/credentials, and change the key that stood here",
            );
        }
    }
    store.only(&known);
}

fn read_url(item: &Item<'_, '_>) -> Option<String> {
    const MEND: &str =
        "write file:///absolute/directory, s3://bucket/prefix or swift://container/prefix";
    let url = item.text()?;
    if has_credentials(url) {
        // The text is not shown: messages end up in logs.
        item.problem("the store url holds credentials, the config holds no secrets", MEND);
        return None;
    }
    let why = if let Some(rest) = after_scheme(url, &["s3", "swift", "azblob", "gcs"]) {
        let bucket = rest.split('/').next().unwrap_or("");
        bucket.is_empty().then_some("no bucket")
    } else if let Some(rest) = after_scheme(url, &["sftp", "webdav+https", "webdav+http"]) {
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        match (host.is_empty(), path.is_empty()) {
            (true, _) => Some("no host"),
            (false, true) => Some("no directory"),
            _ => None,
        }
    } else if let Some(directory) = url.strip_prefix("file://") {
        let parts = Path::new(directory).components();
        match directory.starts_with('/') {
            false => Some("the directory is not absolute, it needs three slashes"),
            true if parts.clone().any(|part| part == Component::ParentDir) => {
                Some("it contains \"..\"")
            }
            true if parts.count() < 2 => Some("\"/\" cannot be a store"),
            true => None,
        }
    } else {
        Some("unknown scheme")
    };
    if let Some(why) = why {
        item.problem(format!("bad store url {url:?}: {why}"), MEND);
        return None;
    }
    Some(url.to_owned())
}

/// What follows one of these schemes.
fn after_scheme<'u>(url: &'u str, schemes: &[&str]) -> Option<&'u str> {
    let (scheme, rest) = url.split_once("://")?;
    schemes.contains(&scheme).then_some(rest)
}

/// Whether a URL has a user part before its host; a user alone is no secret
/// where it says whose key SSH takes.
fn has_credentials(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or("");
    let has_user = match url.starts_with("sftp:") {
        true => host.split_once('@').is_some_and(|(user, _)| user.contains(':')),
        false => host.contains('@'),
    };
    !url.starts_with("file:") && has_user
}

fn read_endpoint(item: &Item<'_, '_>) -> Option<String> {
    let url = item.text()?;
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    const MEND: &str = "write https://host[:port]";
    if has_credentials(url) {
        item.problem("the endpoint holds credentials, the config holds no secrets", MEND);
        return None;
    }
    let good = host.is_some_and(|host| !host.is_empty());
    if !good {
        item.problem(format!("bad endpoint {url:?}"), MEND);
    }
    good.then(|| url.to_owned())
}

fn read_sse(item: &Item<'_, '_>) -> Option<String> {
    let text = item.text()?;
    let key = text.strip_prefix("aws:kms:");
    let good = matches!(text, "AES256" | "aws:kms") || key.is_some_and(|key| !key.is_empty());
    if !good {
        item.problem(
            format!("unknown server-side encryption {text:?}"),
            "write \"AES256\", \"aws:kms\" or \"aws:kms:<key id>\"",
        );
    }
    good.then(|| text.to_owned())
}

fn read_encryption(item: &Item<'_, '_>) -> Option<EncryptionSection> {
    let section = item.section("[encryption]", &["key_file"])?;
    let key_file = required(&section, "key_file", "/etc/hsm/store.key")?;
    path(&key_file).map(|key_file| EncryptionSection { key_file })
}

fn read_chunking(top: &Section<'_, '_>) -> ChunkingSection {
    let read = || {
        let section = top.item("chunking")?.section("[chunking]", &["size"])?;
        let bytes = section.size("size")?;
        let size = u32::try_from(bytes).ok().filter(|size| (64 << 10..=64 << 20).contains(size));
        if size.is_none_or(|size| size % 2 != 0) {
            let item = section.item("size").expect("it has been read");
            item.problem(
                format!("a chunk of {bytes} bytes is not possible"),
                "write an even number from 64KiB to 64MiB; 4MiB is the default",
            );
        }
        size.map(|size_bytes| ChunkingSection { size_bytes })
    };
    read().unwrap_or_default()
}

fn read_upload(top: &Section<'_, '_>) -> UploadSection {
    let mut upload = UploadSection::default();
    let section =
        top.item("upload").and_then(|item| item.section("[upload]", &["threads", "memory"]));
    let Some(section) = section else { return upload };
    upload.threads =
        section.integer("threads", 1..=1024).and_then(|count| usize::try_from(count).ok());
    if let Some(bytes) = section.size("memory") {
        if bytes < 64 << 20 {
            let item = section.item("memory").expect("it has been read");
            item.problem(format!("{bytes} bytes of memory are too few"), "write 64MiB or more");
        }
        upload.memory_bytes = bytes;
    }
    upload
}

/// What `hsm` needs to find files again must not be among them.
fn refuse_inside_roots(top: &Section<'_, '_>, config: &Config) {
    let inside = |path: &Path| config.roots.iter().find(|root| path.starts_with(root));
    let refuse = |section: &Section<'_, '_>, key: &str, what: &str, path: &Path| {
        if let Some(root) = inside(path) {
            let item = section.item(key);
            let place = item.map_or_else(|| section.place(), |item| item.place());
            let (path, root) = (path.display(), root.display());
            section.doc().problem_at(
                place,
                format!("{what} {path} lies inside the root {root}"),
                "put it elsewhere: what is inside a root may become a stub",
            );
        }
    };
    refuse(top, "state_dir", "the state directory", &config.state_dir);
    let nested = |key: &str| top.item(key).and_then(|item| item.open_section(key));
    if let Some(section) = nested("guard") {
        refuse(&section, "run_dir", "the run directory", &config.guard.run_dir);
        if let Some(MetricsAt::Unix(socket)) = &config.guard.metrics {
            refuse(&section, "metrics", "the socket", socket);
        }
    }
    if let (Some(section), Some(encryption)) = (nested("encryption"), &config.encryption) {
        refuse(&section, "key_file", "the key file", &encryption.key_file);
    }
    let stores = [("store", "the store", Some(&config.store))];
    let second = [("second_store", "the second store", config.second_store.as_ref())];
    for (key, name, store) in stores.into_iter().chain(second) {
        let directory = store.and_then(|store| store.url.strip_prefix("file://"));
        let (Some(section), Some(directory)) = (nested(key), directory) else { continue };
        refuse(&section, "url", name, Path::new(directory));
        let holds_root = config.roots.iter().find(|root| root.starts_with(directory));
        if let (Some(root), Some(item)) = (holds_root, section.item("url")) {
            let what = format!("{name} {directory} contains the root {}", root.display());
            item.problem(what, "put the store elsewhere");
        }
    }
}

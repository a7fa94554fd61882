//! Configurations, good and bad, and the messages about the bad ones.

use super::*;
use std::path::Path;

fn problems(text: &str) -> String {
    match Config::parse("/etc/hsm/config.toml", text) {
        Ok(_) => "no problem".to_owned(),
        Err(problems) => problems.iter().map(|problem| format!("{problem}\n")).collect(),
    }
}

const SMALL: &str =
    "roots = [\"/srv/a/\"]\nstate_dir = \"/var/lib/hsm\"\n[store]\nurl = \"s3://b/p\"\n";

#[test]
fn a_small_config_has_sensible_defaults() {
    let config = Config::parse("/etc/hsm/config.toml", SMALL).expect("a good config");
    assert_eq!(config.roots, [Path::new("/srv/a")]);
    assert_eq!(config.policy_dir, Path::new("/etc/hsm/policies.d"));
    assert_eq!(config.store.checksums, Checksums::Always);
    assert_eq!((config.store.bandwidth, config.store.path_style), (None, false));
    assert_eq!(config.chunking.size_bytes, 4 << 20);
    assert_eq!((config.upload.threads, config.upload.memory_bytes), (None, 256 << 20));
    assert_eq!(config.encryption, None);
}

#[test]
fn every_key_is_read() {
    let text = r#"
roots = ["/srv/a", "/srv/ab"]
state_dir = "/state"
policy_dir = "/pol"
[store]
url = "file:///backup/store"
endpoint = "http://localhost:9000"
region = "garage"
path_style = true
storage_class = "GLACIER_IR"
sse = "aws:kms:alias/x"
checksums = "when-required"
bandwidth = "10MiB/s"
concurrency = 8
[encryption]
key_file = "/etc/hsm/key"
[chunking]
size = "1MiB"
[upload]
threads = 3
memory = "128MiB"
"#;
    let config = Config::parse("c.toml", text).expect("a good config");
    let want = Config {
        store: StoreSection {
            url: "file:///backup/store".into(),
            endpoint: Some("http://localhost:9000".into()),
            region: Some("garage".into()),
            path_style: true,
            storage_class: Some("GLACIER_IR".into()),
            sse: Some("aws:kms:alias/x".into()),
            checksums: Checksums::WhenRequired,
            bandwidth: Some(10 << 20),
            concurrency: Some(8),
        },
        state_dir: "/state".into(),
        roots: vec!["/srv/a".into(), "/srv/ab".into()],
        encryption: Some(EncryptionSection { key_file: "/etc/hsm/key".into() }),
        chunking: ChunkingSection { size_bytes: 1 << 20 },
        upload: UploadSection { threads: Some(3), memory_bytes: 128 << 20 },
        policy_dir: "/pol".into(),
    };
    assert_eq!(config, want);
}

#[test]
fn all_problems_come_at_once() {
    let text = r#"
roots = ["/srv/a", "/srv/a/b", "srv", "~/x", "/srv", "/", "/x/../y", "/srv/a"]
statedir = "/var/lib/hsm"
policy_dir = 3
[store]
url = "s4://b"
endpoint = "https://me:secret@host"
secret_key = "abc"
aws_access_key_id = "abc"
storage_clas = "STANDARD"
sse = "AES"
checksums = "when_required"
bandwidth = "0"
concurrency = 1000
[encryption]
keyfile = "/k"
[chunking]
size = "1KiB"
[upload]
memory = "1MiB"
threads = 0
"#;
    insta::assert_snapshot!(problems(text), @r#"
/etc/hsm/config.toml:1:1: the file has no "state_dir"; add state_dir = "/var/lib/hsm"
/etc/hsm/config.toml:2:20: root /srv/a/b lies inside another root; remove one of the two
/etc/hsm/config.toml:2:32: bad path "srv": not absolute; begin it with a slash
/etc/hsm/config.toml:2:39: bad path "~/x": "~" is not expanded here; write the whole path, such as /home/ann/data
/etc/hsm/config.toml:2:46: root /srv contains the root /srv/a; remove one of the two
/etc/hsm/config.toml:2:54: "/" cannot be a root; name the directories that hold data
/etc/hsm/config.toml:2:59: bad path "/x/../y": it contains ".."; write the path that it leads to
/etc/hsm/config.toml:2:70: root /srv/a is listed twice; remove one of the two
/etc/hsm/config.toml:3:1: unknown key "statedir" in the file; did you mean "state_dir"?
/etc/hsm/config.toml:4:14: expected a text in quotes, found a whole number
/etc/hsm/config.toml:6:7: bad store url "s4://b": unknown scheme; write file:///absolute/directory or s3://bucket/prefix
/etc/hsm/config.toml:7:12: the endpoint holds credentials, the config holds no secrets; write https://host[:port]
/etc/hsm/config.toml:8:1: "secret_key" in [store]: the config holds no secrets; use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or ~/.aws/credentials, and change the key that stood here
/etc/hsm/config.toml:9:1: "aws_access_key_id" in [store]: the config holds no secrets; use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or ~/.aws/credentials, and change the key that stood here
/etc/hsm/config.toml:10:1: unknown key "storage_clas" in [store]; did you mean "storage_class"?
/etc/hsm/config.toml:11:7: unknown server-side encryption "AES"; write "AES256", "aws:kms" or "aws:kms:<key id>"
/etc/hsm/config.toml:12:13: unknown checksums "when_required"; did you mean "when-required"?
/etc/hsm/config.toml:13:13: bad rate "0": zero would stop all traffic; write bytes per second: 500KiB, 10MiB/s, 12.5MB/s
/etc/hsm/config.toml:14:15: 1000 is out of range; write a number from 1 to 256
/etc/hsm/config.toml:15:1: [encryption] has no "key_file"; add key_file = "/etc/hsm/store.key"
/etc/hsm/config.toml:16:1: unknown key "keyfile" in [encryption]; did you mean "key_file"?
/etc/hsm/config.toml:18:8: a chunk of 1024 bytes is not possible; write an even number from 64KiB to 64MiB; 4MiB is the default
/etc/hsm/config.toml:20:10: 1048576 bytes of memory are too few; write 64MiB or more
/etc/hsm/config.toml:21:11: 0 is out of range; write a number from 1 to 1024
"#);
    insta::assert_snapshot!(problems(""), @r#"
/etc/hsm/config.toml:1:1: the file has no "roots"; add roots = "/srv/data"
/etc/hsm/config.toml:1:1: the file has no "state_dir"; add state_dir = "/var/lib/hsm"
/etc/hsm/config.toml:1:1: there is no [store]; add [store] with url = "s3://bucket/prefix"
"#);
    for (url, why) in [
        ("s3://", "no bucket"),
        ("file://dir", "the directory is not absolute, it needs three slashes"),
        ("file:///", "\"/\" cannot be a store"),
        ("file:///a/../b", "it contains \"..\""),
    ] {
        let found = problems(&SMALL.replace("s3://b/p", url));
        assert!(found.contains(&format!("bad store url {url:?}: {why};")), "{found}");
    }
}

#[test]
fn nothing_that_hsm_needs_lies_inside_a_root() {
    let text = r#"
roots = ["/srv", "/media/a"]
state_dir = "/srv/hsm"
policy_dir = "/srvs/policies.d"
[store]
url = "file:///srv/store"
[encryption]
key_file = "/media/a/key"
"#;
    insta::assert_snapshot!(problems(text), @r#"
/etc/hsm/config.toml:3:13: the state directory /srv/hsm lies inside the root /srv; put it elsewhere: what is inside a root may become a stub
/etc/hsm/config.toml:6:7: the store /srv/store lies inside the root /srv; put it elsewhere: what is inside a root may become a stub
/etc/hsm/config.toml:8:12: the key file /media/a/key lies inside the root /media/a; put it elsewhere: what is inside a root may become a stub
"#);
    let around =
        text.replace("/srv/store", "/media").replace("/srv/hsm", "/h").replace("/a/key", "/k");
    insta::assert_snapshot!(problems(&around), @r#"
/etc/hsm/config.toml:6:7: the store /media contains the root /media/a; put the store elsewhere
"#);
}

#[test]
fn a_secret_is_refused_and_never_repeated() {
    let text = SMALL.replace("s3://b/p", "s3://me:hush@b/p")
        + "endpoint = \"http://me:hush@host\"\npassword = \"hush\"\n";
    let found = problems(&text);
    assert_eq!(found.lines().count(), 3, "{found}");
    assert!(!found.contains("hush"), "{found}");
    assert_eq!(problems(&SMALL.replace("s3://b/p", "file:///b/a@b")), "no problem");
}

#[test]
fn the_template_reads_back_as_what_it_was_made_of() {
    let roots = ["/srv/a \"b\"".to_owned(), "/srv/ü\\x".to_owned()];
    let least = TemplateValues {
        roots: &roots[..1],
        state_dir: "/var/lib/hsm",
        policy_dir: "/etc/hsm/policies.d",
        store_url: "file:///backup/store",
        ..TemplateValues::default()
    };
    let config = Config::parse("c.toml", &Config::template(&least)).expect("it reads back");
    assert_eq!(config.roots, [Path::new(&roots[0])]);
    assert_eq!(config.store.url, "file:///backup/store");
    assert_eq!((config.encryption, config.store.endpoint), (None, None));

    let most = TemplateValues {
        roots: &roots,
        endpoint: Some("https://minio:9000"),
        region: Some("eu"),
        path_style: true,
        storage_class: Some("STANDARD_IA"),
        key_file: Some("/etc/hsm/key"),
        ..least.clone()
    };
    let text = Config::template(&most);
    let config = Config::parse("c.toml", &text).expect("it reads back");
    assert_eq!(config.roots.len(), 2);
    assert_eq!(config.store.endpoint.as_deref(), Some("https://minio:9000"));
    assert_eq!(config.store.region.as_deref(), Some("eu"));
    assert_eq!(config.store.storage_class.as_deref(), Some("STANDARD_IA"));
    assert!(config.store.path_style);
    assert_eq!(config.encryption, Some(EncryptionSection { key_file: "/etc/hsm/key".into() }));
    let empty = TemplateValues { roots: &[], ..least };
    let text = Config::template(&empty);
    let grown = add_root("c.toml", &text, "/srv/n").expect("a root is added");
    assert_eq!(Config::parse("c.toml", &grown).expect("it parses").roots, [Path::new("/srv/n")]);
    assert_eq!(grown.lines().count(), text.lines().count() + 1, "one line more, none lost");
}

#[test]
fn every_line_of_the_template_that_shows_a_value_is_a_value() {
    let values = TemplateValues {
        roots: &[],
        state_dir: "/s",
        policy_dir: "/p",
        store_url: "s3://b",
        ..TemplateValues::default()
    };
    let text = Config::template(&values);
    let shown = |line: &str| line.starts_with("# [") || line.contains(" = ") && !line.contains("`");
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(value) if shown(line) => format!("{value}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let config = Config::parse("c.toml", &uncommented).expect("every shown value is good");
    assert_eq!(config.store.concurrency, Some(8));
    assert_eq!(config.upload.threads, Some(4));
    assert!(config.encryption.is_some());
}

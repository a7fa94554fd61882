//! Where the S3 suites put their stores: a server in the test's own process, or
//! the real one that `HSM_TEST_S3_ENDPOINT` names.
//!
//! For a real server: `HSM_TEST_S3_BUCKET` (default `hsm-test`, made if it is
//! missing), the credentials and region of the usual `AWS_*` variables, and
//! `HSM_TEST_S3_CLASS`, a storage class that it knows beside STANDARD. Every
//! store lies below a prefix of its own, which is emptied at the end.

#![allow(dead_code)]

use super::s3_server::{ACCESS_KEY_ID, BUCKET, S3Server, SECRET_ACCESS_KEY};
use super::support::Sandbox;
use hsm::store::{AccessKey, ObjectInfo, Store, StoreOptions};

pub struct Place {
    /// `None` for a real server.
    pub server: Option<S3Server>,
    pub endpoint: String,
    pub url: String,
    region: String,
    key: AccessKey,
}

impl Place {
    pub fn in_process() -> Self {
        Self::at(S3Server::start())
    }

    fn at(server: S3Server) -> Self {
        Self {
            endpoint: server.endpoint.clone(),
            url: format!("s3://{BUCKET}/servers/one"),
            region: "us-east-1".to_owned(),
            key: AccessKey { id: ACCESS_KEY_ID.into(), secret: SECRET_ACCESS_KEY.into() },
            server: Some(server),
        }
    }

    /// With archive classes: see `S3Server::vault`.
    pub fn cold() -> Self {
        Self::at(S3Server::start_cold())
    }

    /// `None`, loudly, where no real server is named.
    pub fn real(test: &str) -> Option<Self> {
        Self::real_bucket(test, "", false)
    }

    /// The same in a bucket beside it that can lock objects (and so keeps every
    /// version; what is left of a test there goes with the bucket).
    pub fn real_with_locks(test: &str) -> Option<Self> {
        Self::real_bucket(test, "-locks", true)
    }

    fn real_bucket(test: &str, suffix: &str, locks: bool) -> Option<Self> {
        let Ok(endpoint) = std::env::var("HSM_TEST_S3_ENDPOINT") else {
            eprintln!("SKIPPED {test} on a real server: HSM_TEST_S3_ENDPOINT names none");
            return None;
        };
        let or = |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
        let bucket = or("HSM_TEST_S3_BUCKET", BUCKET) + suffix;
        let unique = hsm::ids::PackId::fresh(hsm::clock::Clock::system().now_ns());
        let place = Self {
            server: None,
            endpoint,
            url: format!("s3://{bucket}/hsm-test/{unique}"),
            region: or("AWS_REGION", "us-east-1"),
            key: AccessKey {
                id: or("AWS_ACCESS_KEY_ID", "test"),
                secret: or("AWS_SECRET_ACCESS_KEY", "test"),
            },
        };
        make_bucket(&place, &bucket, locks);
        Some(place)
    }

    pub fn server(&self) -> &S3Server {
        self.server.as_ref().expect("a server in this process")
    }

    /// A storage class beside STANDARD.
    pub fn class(&self) -> String {
        match self.server {
            Some(_) => "REDUCED_REDUNDANCY".to_owned(),
            None => std::env::var("HSM_TEST_S3_CLASS").unwrap_or("REDUCED_REDUNDANCY".to_owned()),
        }
    }

    /// A sandbox that has the credentials and has not seen `init`.
    pub fn sandbox(&self) -> Sandbox {
        let mut sandbox = Sandbox::empty();
        sandbox.set_env("AWS_ACCESS_KEY_ID", &self.key.id);
        sandbox.set_env("AWS_SECRET_ACCESS_KEY", &self.key.secret);
        sandbox.set_env("AWS_REGION", &self.region);
        sandbox.set_env("AWS_EC2_METADATA_DISABLED", "true");
        sandbox
    }

    pub fn init(&self, sandbox: &Sandbox, more: &[&str]) {
        let mut options = vec!["--store", &self.url, "--endpoint", &self.endpoint];
        options.extend(["--path-style"]);
        options.extend(more);
        sandbox.init_with(&options);
    }

    /// The store as the library sees it.
    pub fn store(&self) -> Box<dyn Store> {
        let mut options = StoreOptions::new(&self.url);
        options.endpoint = Some(self.endpoint.clone());
        options.region = Some(self.region.clone());
        options.access_key = Some(self.key.clone());
        hsm::store::open(&options).expect("the store")
    }

    pub fn objects(&self, prefix: &str) -> Vec<ObjectInfo> {
        let mut found = vec![];
        self.store().list(prefix, None, &mut |object| found.push(object)).expect("a listing");
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.server.is_some() || std::thread::panicking() {
            return;
        }
        let store = self.store();
        for object in self.objects("") {
            store.delete(&object.key).expect("an object of ours");
        }
    }
}

fn make_bucket(place: &Place, bucket: &str, locks: bool) {
    with_client(place, async |client| {
        // Tests run side by side: another may have made it just now.
        let create = client.create_bucket().bucket(bucket);
        let create = create.set_object_lock_enabled_for_bucket(locks.then_some(true));
        let made = create.send().await;
        let there = client.head_bucket().bucket(bucket).send().await;
        assert!(there.is_ok(), "no bucket {bucket}: {made:?}, {there:?}");
    });
}

/// Asks the server past `hsm`.
pub fn with_client<T>(place: &Place, ask: impl AsyncFnOnce(&aws_sdk_s3::Client) -> T) -> T {
    use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
    let config = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(place.region.clone()))
        .endpoint_url(&place.endpoint)
        .force_path_style(true)
        .credentials_provider(Credentials::new(
            &place.key.id,
            &place.key.secret,
            None,
            None,
            "given",
        ))
        .build();
    let client = aws_sdk_s3::Client::from_conf(config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(ask(&client))
}

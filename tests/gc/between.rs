//! A store that does something else in between, and whose clock may be wrong.

use crate::place::open_store;
use crate::support::Sandbox;
use bytes::Bytes;
use hsm::store::{
    Key, ObjectInfo, Precaution, Protections, PutOptions, PutReceipt, Result, Store, SweepStats,
};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

type Act<'t> = Box<dyn FnOnce() + Send + 't>;

/// A store that does something else right before its `at`th call.
pub struct Between<'t> {
    inner: Box<dyn Store>,
    calls: AtomicU64,
    at: u64,
    act: Mutex<Option<Act<'t>>>,
    /// So far its clock is ahead.
    ahead_ns: i64,
}

impl<'t> Between<'t> {
    pub fn new(sandbox: &Sandbox, at: u64, act: impl FnOnce() + Send + 't) -> Self {
        let act: Act<'t> = Box::new(act);
        let (calls, act) = (AtomicU64::new(0), Mutex::new(Some(act)));
        Self { inner: open_store(sandbox), calls, at, act, ahead_ns: 0 }
    }

    /// One that only has another time.
    pub fn ahead(sandbox: &Sandbox, ahead_ns: i64) -> Self {
        Self { ahead_ns, ..Self::new(sandbox, 0, || {}) }
    }

    fn enter(&self) -> &dyn Store {
        if self.calls.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            let act = self.act.lock().expect("no holder panics").take();
            act.expect("the call comes once")();
        }
        &*self.inner
    }

    /// Whether its call has come.
    pub fn has_acted(&self) -> bool {
        self.act.lock().expect("no holder panics").is_none()
    }
}

impl Store for Between<'_> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put(&self, key: &Key, body: Bytes, options: &PutOptions) -> Result<PutReceipt> {
        self.enter().put(key, body, options)
    }

    /// When a segment is read makes no difference, once it was listed.
    fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let is_log = key.as_str().starts_with("nodes/");
        if is_log { self.inner.get(key, range) } else { self.enter().get(key, range) }
    }

    fn head(&self, key: &Key) -> Result<ObjectInfo> {
        let mut info = self.enter().head(key)?;
        info.modified_ns += self.ahead_ns;
        Ok(info)
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&Key>,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> Result<()> {
        self.enter().list(prefix, start_after, visit)
    }

    fn delete(&self, key: &Key) -> Result<()> {
        self.enter().delete(key)
    }

    fn sweep(&self, older_than_ns: i64) -> Result<SweepStats> {
        self.enter().sweep(older_than_ns)
    }

    fn lock_until(&self, key: &Key, until_ns: i64) -> Result<bool> {
        self.inner.lock_until(key, until_ns)
    }

    fn protections(&self) -> Result<Protections> {
        self.inner.protections()
    }

    fn honours(&self, precaution: Precaution, scratch: &Key) -> Result<bool> {
        self.inner.honours(precaution, scratch)
    }
}

//! A store that fails on command, for tests; and that is stricter than any real
//! one, so that code which passes over it relies on nothing.
//!
//! What it forbids although real stores allow it: replacing an object, and
//! using a name again after its object was deleted. `hsm` writes every object
//! once; [`Faulty::lenient`] lifts this for tests of stores as such.

use super::{
    Error, ErrorKind, Key, ObjectInfo, Precaution, Protections, PutOptions, PutReceipt, Result,
};
use super::{Store, SweepStats, Thawing};
use crate::classes::Thaw;
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

/// The calls that faults hang on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Put,
    Get,
    Head,
    List,
    Delete,
    Sweep,
    Lock,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happens but the error.
    Fail(ErrorKind),
    /// It happens, and the answer is lost: an error all the same. A listing
    /// visits its first half.
    FailAfter(ErrorKind),
    /// A get answers with one flipped bit; a put answers `Ok` and stores one.
    FlipBit,
    /// A put answers `Ok` and stores nothing.
    Lose,
    /// A put answers `Ok` and stores all but the last byte.
    CutShort,
}

/// A store with planned failures around `inner`.
#[derive(Debug)]
pub struct Faulty<S> {
    inner: S,
    lenient: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    planned: HashMap<(Operation, u64), Fault>,
    always: HashMap<Operation, Fault>,
    counts: HashMap<Operation, u64>,
    used: HashSet<Key>,
    log: Vec<(Operation, String)>,
}

impl<S: Store> Faulty<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, lenient: false, state: Mutex::default() }
    }

    /// Objects may be replaced and names used again.
    pub fn lenient(inner: S) -> Self {
        Self { inner, lenient: true, state: Mutex::default() }
    }

    /// The `nth` call of `operation` from now on (the next is 1) goes wrong.
    pub fn on(&self, operation: Operation, nth: u64, fault: Fault) {
        let mut state = self.state();
        let at = state.counts.get(&operation).copied().unwrap_or(0) + nth;
        state.planned.insert((operation, at), fault);
    }

    /// Every call of `operation` goes wrong, but those planned otherwise.
    pub fn every(&self, operation: Operation, fault: Fault) {
        self.state().always.insert(operation, fault);
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        let mut state = self.state();
        state.planned.clear();
        state.always.clear();
    }

    /// Calls of `operation` so far.
    pub fn count(&self, operation: Operation) -> u64 {
        self.state().counts.get(&operation).copied().unwrap_or(0)
    }

    /// Every call so far with its key or prefix, in order.
    pub fn log(&self) -> Vec<(Operation, String)> {
        self.state().log.clone()
    }

    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }

    /// Counts the call and says what goes wrong with it.
    fn enter(&self, operation: Operation, subject: &str) -> Option<Fault> {
        let mut state = self.state();
        state.log.push((operation, subject.to_owned()));
        let count = state.counts.entry(operation).or_default();
        *count += 1;
        let at = (operation, *count);
        state.planned.remove(&at).or_else(|| state.always.get(&operation).copied())
    }

    fn error(&self, kind: ErrorKind, operation: &'static str, subject: &str) -> Error {
        Error::new(kind, operation, subject, self.inner.location()).with_detail("injected")
    }

    /// Runs `call` as the fault has it; faults of other operations are errors
    /// of the test.
    fn run<T>(
        &self,
        fault: Option<Fault>,
        operation: &'static str,
        subject: &str,
        call: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        match fault {
            None => call(),
            Some(Fault::Fail(kind)) => Err(self.error(kind, operation, subject)),
            Some(Fault::FailAfter(kind)) => {
                call()?;
                Err(self.error(kind, operation, subject))
            }
            Some(other) => panic!("{other:?} means nothing for {operation}"),
        }
    }

    fn check_name_is_fresh(&self, key: &Key, create_new: bool) -> Result<()> {
        if self.lenient {
            return Ok(());
        }
        let exists = match self.inner.head(key) {
            Ok(_) => true,
            Err(error) if error.is_not_found() => false,
            Err(error) => return Err(error),
        };
        let refuse = |detail: &str| {
            Err(Error::new(ErrorKind::BadRequest, "put", key.as_str(), self.inner.location())
                .with_detail(detail))
        };
        match (exists, self.state().used.contains(key)) {
            (true, _) if !create_new => refuse("an object is never replaced"),
            (false, true) => refuse("the name of a deleted object is never used again"),
            _ => Ok(()),
        }
    }
}

/// With the lowest bit of the middle byte turned.
fn with_flipped_bit(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    bytes.into()
}

impl<S: Store> Store for Faulty<S> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put(&self, key: &Key, body: Bytes, options: &PutOptions) -> Result<PutReceipt> {
        let fault = self.enter(Operation::Put, key.as_str());
        self.check_name_is_fresh(key, options.create_new)?;
        let honest = PutReceipt {
            key: key.clone(),
            size_bytes: body.len() as u64,
            etag: None,
            server_sha256: None,
            sent_sha256: None,
        };
        match fault {
            Some(Fault::Lose) => Ok(honest),
            Some(Fault::FlipBit) => {
                self.inner.put(key, with_flipped_bit(&body), options).map(|_| honest)
            }
            Some(Fault::CutShort) => {
                let short = body.slice(..body.len().saturating_sub(1));
                self.inner.put(key, short, options).map(|_| honest)
            }
            fault => self.run(fault, "put", key.as_str(), || self.inner.put(key, body, options)),
        }
    }

    fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        match self.enter(Operation::Get, key.as_str()) {
            Some(Fault::FlipBit) => {
                self.inner.get(key, range).map(|bytes| with_flipped_bit(&bytes))
            }
            fault => self.run(fault, "get", key.as_str(), || self.inner.get(key, range)),
        }
    }

    fn head(&self, key: &Key) -> Result<ObjectInfo> {
        let fault = self.enter(Operation::Head, key.as_str());
        self.run(fault, "head", key.as_str(), || self.inner.head(key))
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&Key>,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> Result<()> {
        let fault = self.enter(Operation::List, prefix);
        if let Some(Fault::FailAfter(kind)) = fault {
            let mut all = Vec::new();
            self.inner.list(prefix, start_after, &mut |info| all.push(info))?;
            let half = all.len() / 2;
            all.into_iter().take(half).for_each(visit);
            return Err(self.error(kind, "list", prefix));
        }
        self.run(fault, "list", prefix, || self.inner.list(prefix, start_after, visit))
    }

    fn delete(&self, key: &Key) -> Result<()> {
        let fault = self.enter(Operation::Delete, key.as_str());
        self.run(fault, "delete", key.as_str(), || {
            self.inner.delete(key)?;
            self.state().used.insert(key.clone());
            Ok(())
        })
    }

    fn sweep(&self, older_than_ns: i64) -> Result<SweepStats> {
        let fault = self.enter(Operation::Sweep, "");
        self.run(fault, "sweep", "", || self.inner.sweep(older_than_ns))
    }

    fn lock_until(&self, key: &Key, until_ns: i64) -> Result<bool> {
        let fault = self.enter(Operation::Lock, key.as_str());
        self.run(fault, "lock", key.as_str(), || self.inner.lock_until(key, until_ns))
    }

    fn protections(&self) -> Result<Protections> {
        self.inner.protections()
    }

    fn honours(&self, precaution: Precaution, scratch: &Key) -> Result<bool> {
        self.inner.honours(precaution, scratch)
    }

    fn pack_class(&self, wanted: Option<&str>) -> Option<String> {
        self.inner.pack_class(wanted)
    }

    fn thaw(&self, key: &Key, order: Thaw) -> Result<Thawing> {
        self.inner.thaw(key, order)
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::{collect_keys, key, prepared_directory};
    use super::*;

    fn put(store: &dyn Store, name: &str, create_new: bool) -> Result<PutReceipt> {
        let options = PutOptions { create_new, storage_class: None };
        store.put(&key(name), Bytes::from_static(b"0123456789"), &options)
    }

    #[test]
    fn it_forbids_what_real_stores_allow() {
        let (_dir, store) = prepared_directory();
        let store = Faulty::new(store);
        put(&store, "packs/a", false).expect("a new name");
        assert_eq!(put(&store, "packs/a", false).expect_err("again").kind(), ErrorKind::BadRequest);
        let kind = put(&store, "packs/a", true).expect_err("again").kind();
        assert_eq!(kind, ErrorKind::AlreadyExists);
        store.delete(&key("packs/a")).expect("delete");
        assert_eq!(put(&store, "packs/a", true).expect_err("reused").kind(), ErrorKind::BadRequest);
    }

    #[test]
    fn each_lie_of_a_put_is_found_only_by_reading() {
        let (_dir, store) = prepared_directory();
        let store = Faulty::new(store);
        for (fault, name, left) in [
            (Fault::Lose, "packs/a", None),
            (Fault::FlipBit, "packs/b", Some(10)),
            (Fault::CutShort, "packs/c", Some(9)),
        ] {
            store.on(Operation::Put, 1, fault);
            assert_eq!(put(&store, name, true).expect("a lie").size_bytes, 10);
            let stored = store.get(&key(name), None).ok();
            assert_ne!(stored.as_deref(), Some(&b"0123456789"[..]));
            assert_eq!(stored.map(|bytes| bytes.len()), left);
        }
    }

    #[test]
    fn faults_hit_the_planned_call_only_and_every_call_is_logged() {
        let (_dir, store) = prepared_directory();
        let store = Faulty::new(store);
        store.on(Operation::List, 2, Fault::FailAfter(ErrorKind::Transient));
        put(&store, "l/a", true).expect("put");
        put(&store, "l/b", true).expect("put");
        assert_eq!(collect_keys(&store, "l/", None).expect("whole").len(), 2);
        let mut seen = 0;
        store.list("l/", None, &mut |_| seen += 1).expect_err("half of it");
        assert_eq!(seen, 1);
        assert_eq!(collect_keys(&store, "l/", None).expect("whole again").len(), 2);
        assert_eq!(store.log()[0], (Operation::Put, "l/a".to_owned()));
    }
}

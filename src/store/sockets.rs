//! The runtime that drives a remote backend's sockets, and the wait for an answer.
//!
//! A server may take a request and never answer. Who reads from one waits only as
//! long as somebody wants it: reads end when the stop of the thread's [`Errand`]
//! is requested, writes do not, since whether they happened would be unknown.

use super::{Error, ErrorKind, Result};
use crate::errand::Errand;
use std::pin::pin;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Between two looks whether an answer is still wanted.
const STOP_LOOKS: Duration = Duration::from_millis(50);

/// Starts the threads of the store at `url`.
pub(super) fn start(thread_name: &'static str, url: &str) -> Result<Runtime> {
    let threads =
        Builder::new_multi_thread().worker_threads(2).thread_name(thread_name).enable_all().build();
    threads.map_err(|error| {
        Error::new(ErrorKind::Other, "open", "", url)
            .with_detail("cannot start the threads of the store's client")
            .with_source(error)
    })
}

/// Blocks on a request that changes nothing, unless the thread's errand is to
/// stop: then the request is dropped, its connection with it, and there is no
/// answer. The future is polled on the calling thread, so it finds the errand
/// there as well.
pub(super) fn while_wanted<T>(runtime: &Runtime, request: impl Future<Output = T>) -> Option<T> {
    runtime.block_on(async {
        let mut request = pin!(request);
        while !Errand::stop_requested() {
            if let Ok(answer) = tokio::time::timeout(STOP_LOOKS, request.as_mut()).await {
                return Some(answer);
            }
        }
        None
    })
}
